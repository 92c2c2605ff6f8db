//! In which order a launch first uses the functions of a program: each gets a breakpoint at its beginning, and loses it there
//! (ptrace(2)).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::PTRACE_EVENT_EXEC;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::process;

/// The instruction that stops a program, `int3`.
const STOP: u8 = 0xCC;
/// A launch that takes longer does not come to its end.
const LIMIT: Duration = Duration::from_secs(60);

/// What somebody who has read the documentation has, without the questions.
const CONFIG: &str = concat!(
    include_str!("../../../docs/examples/production-adjacent.toml"),
    "[profile.followed]\nextends = \"production-adjacent\"\napproval_policy = \"full-auto\"\n",
);

/// A program's functions by their address; one can have several names.
type Functions = BTreeMap<u64, Vec<String>>;

/// The linker script that puts what a launch of `binary` uses before all else. `binary` has its symbols.
pub(super) fn script(binary: &Path) -> Result<String> {
    let functions = functions(binary)?;
    let home = tempfile::tempdir()?;
    let workspace = home.path().join("work");
    fs::create_dir(&workspace)?;
    let mut order = launch(binary, &functions, &workspace, &["--approval", "full-auto"])?;
    // What is used only where there is more to do comes after.
    for words in [&["init", "--quiet"][..], &["config", "user.name", "somebody"]] {
        process::run(Command::new("git").arg("-C").arg(&workspace).args(words))?;
    }
    let config = home.path().join("holdpoint.toml");
    let files =
        [("work/AGENTS.md", "Rules.\n"), ("work/.env", "KEY=value\n"), (".gitconfig", "[user]\n\tname = Somebody\n")];
    for (path, text) in files.into_iter().chain([("holdpoint.toml", CONFIG)]) {
        fs::write(home.path().join(path), text)?;
    }
    let [config, shown] = [&config, &workspace].map(|path| path.to_string_lossy());
    let flags = ["--config", &config, "--profile", "followed", "--workspace", &shown];
    order.extend(launch(binary, &functions, &workspace, &flags)?);
    let mut listed = HashSet::new();
    let mut script = String::from("SECTIONS\n{\n  .text.launch :\n  {\n");
    for name in order.iter().filter(|name| listed.insert(name.as_str())) {
        writeln!(script, "    *(.text.{name})")?;
    }
    script.push_str("  }\n}\nINSERT BEFORE .text;\n");
    Ok(script)
}

/// What nm(1) lists of a program's code.
fn functions(binary: &Path) -> Result<Functions> {
    let listed = process::record(Command::new("nm").args(["--print-size", "--defined-only"]).arg(binary), LIMIT)?;
    let mut functions = Functions::new();
    for line in listed.stdout.lines() {
        let [address, size, "t" | "T" | "w" | "W", name] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        if u64::from_str_radix(size, 16)? > 0 {
            functions.entry(u64::from_str_radix(address, 16)?).or_default().push(name.to_owned());
        }
    }
    if functions.is_empty() {
        bail!("nm names no function of {}: {}", binary.display(), listed.stderr);
    }
    Ok(functions)
}

/// The names of the functions that one launch in `workspace` uses, in the order of their first use.
fn launch(binary: &Path, functions: &Functions, workspace: &Path, flags: &[&str]) -> Result<Vec<String>> {
    let home = workspace.parent().context("a home around the workspace")?;
    // Waits to be followed.
    let mut child = Command::new("sh")
        .args(["-c", "read go && exec \"$@\"", "sh"])
        .arg(binary)
        .arg("run")
        .args(flags)
        .args(["--", "true"])
        .current_dir(workspace)
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let everything = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    ptrace::seize(pid, everything | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL)?;
    let (done, over) = channel::<()>();
    let watch = thread::spawn(move || {
        if over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            kill(pid, Signal::SIGKILL).ok();
        }
    });
    child.stdin.take().context("a pipe to the shell")?.write_all(b"go\n")?;
    let followed = follow(pid, binary, functions);
    if followed.is_err() {
        // Nobody would let it go on.
        kill(pid, Signal::SIGKILL).ok();
    }
    drop(done);
    watch.join().ok();
    let (code, order) = followed?;
    if code != 0 {
        bail!("`holdpoint run {}` ended with {code} when it was followed", flags.join(" "));
    }
    Ok(order)
}

/// Follows a process and all that shares its memory to their ends; gives its exit code and what they used.
fn follow(first: Pid, binary: &Path, functions: &Functions) -> Result<(i32, Vec<String>)> {
    let binary = binary.canonicalize()?;
    let (mut memory, mut order, mut ended) = (None, Vec::new(), -1);
    loop {
        // Other threads have children of their own.
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::ECHILD) => return Ok((ended, order)),
            Ok(WaitStatus::Exited(pid, code)) if pid == first => ended = code,
            Ok(WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC)) if pid == first => {
                // The shell may only be coming to life itself.
                if fs::read_link(format!("/proc/{pid}/exe"))? == binary {
                    memory = Some(Stopped::plant(first, functions)?);
                }
                ptrace::cont(pid, None)?;
            }
            // Another program, which has no breakpoints.
            Ok(WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC)) => ptrace::detach(pid, None)?,
            Ok(WaitStatus::PtraceEvent(pid, ..)) => goes_on(pid, None)?,
            Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)) => {
                if let Some(memory) = &memory {
                    order.extend(memory.lift(pid, functions)?.into_iter().flatten().cloned());
                }
                goes_on(pid, None)?;
            }
            Ok(WaitStatus::Stopped(pid, signal)) => goes_on(pid, Some(signal))?,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Somebody may end it at any time.
fn goes_on(pid: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::cont(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The memory of a program with breakpoints, and what stood in their places.
struct Stopped {
    memory: File,
    before: BTreeMap<u64, u8>,
}

impl Stopped {
    fn plant(pid: Pid, functions: &Functions) -> Result<Self> {
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
        let mut before = BTreeMap::new();
        for address in functions.keys() {
            let mut byte = [0];
            memory.read_exact_at(&mut byte, *address)?;
            memory.write_all_at(&[STOP], *address)?;
            before.insert(*address, byte[0]);
        }
        Ok(Self { memory, before })
    }

    /// Takes away the breakpoint that has stopped a thread; gives the names of the function there.
    #[cfg(target_arch = "x86_64")]
    fn lift<'a>(&self, thread: Pid, functions: &'a Functions) -> Result<Option<&'a Vec<String>>> {
        let mut registers = ptrace::getregs(thread)?;
        let address = registers.rip - 1;
        let Some(byte) = self.before.get(&address) else { return Ok(None) };
        self.memory.write_all_at(&[*byte], address)?;
        registers.rip = address;
        ptrace::setregs(thread, registers)?;
        Ok(functions.get(&address))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn lift<'a>(&self, _: Pid, _: &'a Functions) -> Result<Option<&'a Vec<String>>> {
        bail!("breakpoints are known for x86_64 alone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_come_in_the_order_of_their_first_use_and_unused_ones_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let (source, binary, workspace) = (home.path().join("p.c"), home.path().join("p"), home.path().join("work"));
        fs::create_dir(&workspace).unwrap();
        let text = "#include <pthread.h>\n\
            void first(void) {}\nvoid second(void) {}\nvoid never(void) {}\n\
            void *thread(void *at) { first(); return at; }\n\
            int main(void) { pthread_t other; second();\n\
            pthread_create(&other, 0, thread, 0); pthread_join(other, 0); second(); return 0; }\n";
        fs::write(&source, text).unwrap();
        let built = Command::new("cc").args(["-O0", "-static", "-no-pie", "-o"]).args([&binary, &source]).status();
        assert!(built.unwrap().success());
        let functions = functions(&binary).unwrap();
        let order = launch(&binary, &functions, &workspace, &[]).unwrap();
        let ours = ["main", "first", "second", "thread", "never"];
        let order: Vec<&str> = order.iter().map(String::as_str).filter(|name| ours.contains(name)).collect();
        assert_eq!(order, ["main", "second", "thread", "first"]);
    }
}
