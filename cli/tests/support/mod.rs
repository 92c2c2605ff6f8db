//! A person's machine in a temporary directory, and the real program run on it, never longer than a limit.
#![allow(unreachable_pub, reason = "it is part of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use holdpoint_approval_web::client::{Client, Hold};

/// A profile under which nobody is asked about anything; the sandbox and the hooks still count.
const FREE: &str = "
[profile.free]
approval_policy = \"full-auto\"
";

/// Longer than anything here takes; only a hang reaches it.
pub const HANG: Duration = Duration::from_secs(60);

/// A home directory, a workspace and a state directory of one test.
pub struct Machine {
    dir: tempfile::TempDir,
}

/// What a finished program left.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Machine {
    pub fn new() -> Self {
        Self::in_place(tempfile::tempdir().unwrap())
    }

    /// A machine of which nothing lies below `/tmp`.
    pub fn outside_tmp() -> Self {
        Self::in_place(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn in_place(dir: tempfile::TempDir) -> Self {
        let machine = Self { dir };
        for path in [machine.home(), machine.workspace()] {
            fs::create_dir(path).unwrap();
        }
        machine.configure("");
        machine
    }

    /// The machine with this configuration of the person's own, beside the profile `free`.
    pub fn with(config: &str) -> Self {
        let machine = Self::new();
        machine.configure(config);
        machine
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    pub fn workspace(&self) -> PathBuf {
        self.root().join("work")
    }

    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/holdpoint")
    }

    pub fn config(&self) -> PathBuf {
        self.home().join(".config/holdpoint/config.toml")
    }

    pub fn configure(&self, config: &str) {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        fs::write(self.config(), format!("{config}{FREE}")).unwrap();
    }

    /// Write a file of the workspace.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.workspace().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.workspace().join(name)).unwrap()
    }

    /// Every name in the workspace, sorted, except what git keeps.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut todo = vec![self.workspace()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(self.workspace()).unwrap().to_string_lossy().into_owned());
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                }
            }
        }
        names.sort();
        names
    }

    /// `holdpoint` with these arguments, on this machine and nothing else of the real one.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command.args(args).current_dir(self.workspace()).env_clear();
        command.env("HOME", self.home()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// As [`command`](Self::command), with what this line of a shell has set for itself before.
    pub fn command_after<S: AsRef<OsStr>>(&self, line: &str, args: impl IntoIterator<Item = S>) -> Command {
        let command = self.command(args);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{line}; exec \"$@\""), "sh"]).arg(command.get_program()).args(command.get_args());
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(self.workspace());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    pub fn holdpoint(&self, args: &[&str]) -> Done {
        finish(self.command(args).spawn().unwrap())
    }

    /// Run a command that nobody has to be asked about.
    pub fn run(&self, argv: &[&str]) -> Done {
        self.holdpoint(&[&["run", "--profile", "free", "--"], argv].concat())
    }

    /// Start `holdpoint serve` and wait until it answers.
    pub fn serve(&self) -> Background {
        let server = Background(self.command(["serve"]).spawn().unwrap());
        self.client();
        server
    }

    /// A client of whatever server runs, as soon as one does.
    pub fn client(&self) -> Client {
        eventually("a server", || {
            // A server that just starts may have its socket and not listen yet.
            if self.state().exists() { Client::connect(&self.state()).ok().flatten() } else { None }
        })
    }

    /// The one hold that is pending, as soon as there is one.
    pub fn held(&self, client: &Client) -> Hold {
        eventually("a hold", || client.list(false).unwrap().into_iter().find(|hold| hold.state.name() == "pending"))
    }
}

/// A program that runs beside the test and ends with it.
pub struct Background(pub Child);

impl Background {
    /// Wait for its end.
    pub fn finish(mut self) -> Done {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        collect(&mut self.0, stdout, stderr)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Wait for a program, kill it and fail the test when it hangs.
pub fn finish(mut child: Child) -> Done {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    collect(&mut child, stdout, stderr)
}

fn collect(
    child: &mut Child,
    stdout: Option<impl Read + Send + 'static>,
    stderr: Option<impl Read + Send + 'static>,
) -> Done {
    let (out, err) = (drain(stdout), drain(stderr));
    let end = Instant::now() + HANG;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            let said = err.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
            panic!("it hangs; it said {}", String::from_utf8_lossy(&said));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |from: mpsc::Receiver<Vec<u8>>| {
        String::from_utf8_lossy(&from.recv_timeout(Duration::from_secs(10)).expect("something keeps its output open"))
            .into_owned()
    };
    let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
    Done { code, out: text(out), err: text(err) }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        tell.send(bytes).ok();
    });
    told
}

/// The program with this standard input.
pub fn with_input(mut command: Command, input: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || stdin.write_all(&input));
    finish(child)
}

/// What `look` finds, as soon as it finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + HANG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "there never was {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether this kernel's Landlock keeps commands apart that nothing else does: signals and abstract sockets, since ABI 6.
pub fn keeps_apart() -> bool {
    let features = holdpoint_runtime::probe::probe().features;
    let landlock = features.into_iter().find(|feature| feature.name == "landlock").unwrap();
    let abi = landlock.detail.strip_prefix("ABI ").and_then(|rest| rest.split(':').next()?.parse::<u32>().ok());
    abi.is_some_and(|abi| abi >= 6)
}

/// Whether any process has this word among its arguments.
pub fn somebody_runs(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        arguments.split(|b| *b == 0).any(|argument| argument == word.as_bytes())
    })
}

/// The result printed by `--json`: exactly one line, one object.
pub fn json(done: &Done) -> serde_json::Value {
    assert_eq!(done.out.lines().count(), 1, "one result on one line: {done:?}");
    serde_json::from_str(&done.out).unwrap()
}

pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}
