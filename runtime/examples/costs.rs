//! What commands cost a program that embeds the runtime, one `name TAB number` a line, for `cargo xtask bench`.
//!
//! `costs start ROUNDS MIB`: milliseconds for `/bin/true`, spawned bare, in a fresh sandbox and in a living one, by a process
//! that holds MIB MiB of memory.
//! `costs rate COUNT DIRECTORY PROGRAM CODE`: commands per second in a living sandbox, from two threads; each ends with CODE.
//! `costs smallest FILE`: writes a program that ends at once, with 64, and prints nothing.
//! `costs inside ROUNDS DIRECTORY COMMAND…`: milliseconds for a command in a directory, bare and in a living sandbox.
//! `costs guard ROUNDS DIRECTORY COMMAND…`: the same in two living sandboxes, one of which judges each program before it is
//! executed and allows it, and how many that were in one round.
//! `costs strict ROUNDS DIRECTORY COMMAND…`: the same in two that deny reads of `**/*.secret`, one of them strictly.
#![allow(clippy::print_stdout, reason = "a table is what this example is for")]

use holdpoint_runtime::{Access, Builder, Exec, ExecAnswer, Sandbox};
use std::{
    env,
    error::Error,
    fs::{self, Permissions},
    hint::black_box,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["start", rounds, mib] => start(rounds.parse()?, mib.parse()?),
        ["rate", count, directory, program, code] => rate(count.parse()?, Path::new(directory), program, code.parse()?),
        ["smallest", file] => smallest(Path::new(file)),
        [what @ ("inside" | "guard" | "strict"), rounds, directory, program, words @ ..] => {
            let work = Work { directory, program, words };
            match *what {
                "inside" => inside(rounds.parse()?, &work),
                "guard" => guard(rounds.parse()?, &work),
                _ => strict(rounds.parse()?, &work),
            }
        }
        _ => Err("usage: costs start ROUNDS MIB | rate COUNT DIRECTORY PROGRAM CODE | smallest FILE | inside|guard|strict ROUNDS DIRECTORY COMMAND…".into()),
    }
}

fn builder(workspace: &Path) -> Builder {
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace, Access::ReadWrite);
    builder
}

fn start(rounds: usize, mib: usize) -> Result<()> {
    let held = black_box(vec![1_u8; mib << 20]);
    let workspace = tempfile::tempdir()?;
    let builder = builder(workspace.path());
    let living = builder.start()?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(timed(bare)?);
        times[1].push(timed(|| quiet(&builder.start()?, "/bin/true"))?);
        times[2].push(timed(|| quiet(&living, "/bin/true"))?);
    }
    drop(held);
    print(["bare spawn", "fresh sandbox", "next command in a living sandbox"].into_iter().zip(&mut times));
    Ok(())
}

fn bare() -> Result<ExitStatus> {
    let mut command = std::process::Command::new("/bin/true");
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?)
}

/// The same inside: nothing of what is measured then depends on where our own streams lead.
fn quiet(sandbox: &Sandbox, program: &str) -> Result<ExitStatus> {
    let null = holdpoint_runtime::Stdio::null;
    Ok(sandbox.command(program).stdin(null()).stdout(null()).stderr(null()).status()?)
}

fn rate(count: usize, directory: &Path, program: &str, code: i32) -> Result<()> {
    const WORKERS: usize = 2;
    let builder = builder(directory);
    let sandboxes = (0..WORKERS).map(|_| builder.start()).collect::<std::result::Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let worker =
        |living: &Sandbox| (0..count).all(|_| quiet(living, program).is_ok_and(|status| status.code() == Some(code)));
    let done = thread::scope(|scope| {
        let workers: Vec<_> = sandboxes.iter().map(|living| scope.spawn(move || worker(living))).collect();
        workers.into_iter().all(|worker| worker.join().unwrap_or(false))
    });
    if !done {
        return Err("a command failed".into());
    }
    println!("commands per second\t{:.0}", (WORKERS * count) as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// The resident program: no libc, a few kilobytes, and without a role nothing to do.
fn smallest(file: &Path) -> Result<()> {
    fs::write(file, include_bytes!(concat!(env!("OUT_DIR"), "/resident")))?;
    Ok(fs::set_permissions(file, Permissions::from_mode(0o755))?)
}

/// A command in a directory.
struct Work<'a> {
    directory: &'a str,
    program: &'a str,
    words: &'a [&'a str],
}

impl Work<'_> {
    fn builder(&self) -> Builder {
        let mut builder = builder(Path::new(self.directory));
        // What programs need of the host's home is where the toolchain is.
        for toolchain in ["CARGO_HOME", "RUSTUP_HOME"].into_iter().filter_map(env::var_os) {
            builder.toolchain(toolchain);
        }
        builder
    }

    fn variables() -> impl Iterator<Item = (String, String)> {
        env::vars().filter(|(name, _)| ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"].contains(&name.as_str()))
    }

    fn bare(&self) -> Result<ExitStatus> {
        let mut command = std::process::Command::new(self.program);
        command.args(self.words).current_dir(self.directory).env_clear().envs(Self::variables());
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?)
    }

    fn within(&self, sandbox: &Sandbox) -> Result<ExitStatus> {
        let mut command = sandbox.command(self.program);
        command.args(self.words).current_dir(self.directory).envs(Self::variables());
        let null = holdpoint_runtime::Stdio::null;
        Ok(command.stdout(null()).stderr(null()).status()?)
    }
}

fn inside(rounds: usize, work: &Work<'_>) -> Result<()> {
    let sandbox = work.builder().start()?;
    in_turns(rounds, [("bare", &|| work.bare()), ("inside", &|| work.within(&sandbox))])
}

fn guard(rounds: usize, work: &Work<'_>) -> Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let allow = move |_: &Exec| {
        counter.fetch_add(1, Ordering::Relaxed);
        ExecAnswer::Allow
    };
    let (free, guarded) = (work.builder().start()?, work.builder().on_exec(allow).start()?);
    in_turns(rounds, [("free", &|| work.within(&free)), ("guarded", &|| work.within(&guarded))])?;
    println!("executions\t{:.1}", count.load(Ordering::Relaxed) as f64 / rounds as f64);
    Ok(())
}

fn strict(rounds: usize, work: &Work<'_>) -> Result<()> {
    let mut builder = work.builder();
    let masked = builder.deny_read("**/*.secret").start()?;
    let strict = builder.deny_read_strict(true).start()?;
    in_turns(rounds, [("masked", &|| work.within(&masked)), ("strict", &|| work.within(&strict))])
}

/// Something to time, with its name.
type Subject<'a> = (&'static str, &'a dyn Fn() -> Result<ExitStatus>);

/// Times both in every round, in changing order.
fn in_turns(rounds: usize, subjects: [Subject<'_>; 2]) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for index in [round % 2, 1 - round % 2] {
            times[index].push(timed(subjects[index].1)?);
        }
    }
    print(subjects.map(|(name, _)| name).into_iter().zip(&mut times));
    Ok(())
}

fn print<'a>(rows: impl Iterator<Item = (&'static str, &'a mut Vec<Duration>)>) {
    for (name, times) in rows {
        times.sort();
        println!("{name}\t{:.4}", times[times.len() / 2].as_secs_f64() * 1e3);
    }
}

fn timed(run: impl FnOnce() -> Result<ExitStatus>) -> Result<Duration> {
    let start = Instant::now();
    match run()? {
        status if status.success() => Ok(start.elapsed()),
        status => Err(format!("the command ended with {status}").into()),
    }
}
