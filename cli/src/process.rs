//! A started command: in its sandbox, or bare when the profile says `sandbox = "none"`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};

use holdpoint_policy::Loss;
use holdpoint_runtime::{self as runtime, Enforced, Limit, Opening, Sandbox, Trap};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::confine::Confinement;
use crate::error::{Error, MORE_PROCESSES, plain};
use crate::program::executed_by;
use crate::session::{Agreed, Running};
use crate::terminal;

/// What is to be executed.
#[derive(Debug)]
pub(crate) struct Execution<'a> {
    /// The program: a path, or a name to be looked up in the command's own `PATH`.
    pub(crate) program: OsString,
    /// Program and arguments as they were asked for.
    pub(crate) argv: &'a [OsString],
    /// Where it starts.
    pub(crate) cwd: &'a Path,
    /// The workspace.
    pub(crate) root: &'a Path,
    /// Its whole environment.
    pub(crate) env: &'a [(OsString, OsString)],
}

/// Where a command is to be executed.
#[derive(Debug)]
pub(crate) enum Prepared<'a> {
    /// In a sandbox of its own, which stands: what can fail before the command is started has been done.
    Fresh(Box<Sandbox>),
    /// In one that is made together with the command, which takes less time.
    AtOnce(&'a Confinement, Option<Opening>),
    /// In one that lives already.
    Session(Agreed<'a>),
    /// In none.
    Bare,
}

impl<'a> Prepared<'a> {
    /// What is started when the command is.
    pub(crate) fn at_once(confinement: Option<&'a Confinement>, opening: Option<Opening>) -> Self {
        confinement.map_or(Self::Bare, |confinement| Self::AtOnce(confinement, opening))
    }

    /// Start the sandbox, if there is to be one.
    ///
    /// # Errors
    /// [`Error::Unenforceable`] when it cannot be had as asked for.
    pub(crate) fn new(confinement: Option<&Confinement>, opening: Option<Opening>) -> Result<Self, Error> {
        Ok(match confinement {
            Some(confinement) => Self::Fresh(Box::new(confinement.start(opening)?)),
            None => Self::Bare,
        })
    }

    /// Whether there is no sandbox to hold any limit.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self, Self::Bare)
    }

    /// Execute.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotExecutable`], what ended the sandbox, or why there is none.
    pub(crate) fn spawn(self, execution: &Execution<'_>) -> Result<Process, Error> {
        match self {
            Self::Fresh(sandbox) => inside(sandbox, execution),
            Self::AtOnce(confinement, opening) => together(confinement, opening, execution),
            Self::Session(agreed) => agreed.spawn(execution).map(Process::InSession),
            Self::Bare => bare(execution),
        }
    }
}

/// What does not hold although the sandbox stands, because the profile allows it to be missing: one line for a person.
pub(crate) fn missing(enforced: &Enforced) -> Option<String> {
    let missing = enforced.protections.iter().filter(|line| !line.holds);
    let missing: Vec<String> = missing.map(|line| format!("{} ({})", line.protection, line.detail)).collect();
    (!missing.is_empty()).then(|| format!("WARNING: not enforced here: {}", missing.join("; ")))
}

fn inside(sandbox: Box<Sandbox>, execution: &Execution<'_>) -> Result<Process, Error> {
    let mut command = sandbox.command(&execution.program);
    describe(&mut command, execution);
    let child = command.spawn().map_err(|error| not_spawned(execution, error))?;
    Ok(Process::Inside { sandbox, child })
}

fn together(confinement: &Confinement, opening: Option<Opening>, execution: &Execution<'_>) -> Result<Process, Error> {
    let opening = opening.unwrap_or_else(Opening::begin);
    let started = confinement
        .patiently(|| confinement.builder.run_in(opening, &execution.program, |command| describe(command, execution)));
    let (sandbox, child) = started.map_err(|error| match error {
        error @ (runtime::Error::Spawn { .. } | runtime::Error::Ended { .. }) => not_spawned(execution, error),
        error => not_started(error),
    })?;
    Ok(Process::Inside { sandbox: Box::new(sandbox), child })
}

fn describe(command: &mut runtime::Command<'_>, execution: &Execution<'_>) {
    command
        .arg0(&execution.argv[0])
        .args(&execution.argv[1..])
        .envs(execution.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(execution.cwd);
    if terminal::interactive() {
        let (rows, columns) = terminal::size();
        command.terminal(rows, columns);
        // `2> errors.log` at the prompt still means that file.
        if !io::stderr().is_terminal() {
            command.stderr(runtime::Stdio::inherit());
        }
    }
}

fn bare(execution: &Execution<'_>) -> Result<Process, Error> {
    let mut command = process::Command::new(&execution.program);
    command.arg0(&execution.argv[0]).args(&execution.argv[1..]).current_dir(execution.cwd);
    command.env_clear().envs(execution.env.iter().map(|(name, value)| (name, value)));
    // On a terminal the command shares our group, so that the keys for interrupt and suspend reach it.
    let group = !io::stdin().is_terminal();
    if group {
        command.process_group(0);
    }
    let child = command.spawn().map_err(|error| not_executed(execution, &error))?;
    Ok(Process::Bare { child, group })
}

/// A started command.
#[derive(Debug)]
pub(crate) enum Process {
    /// In a sandbox; when that is dropped, nothing inside is left.
    Inside {
        /// Where it runs.
        sandbox: Box<Sandbox>,
        /// The command.
        child: runtime::Child,
    },
    /// In the sandbox of a session, which goes on when the command has ended.
    InSession(Running),
    /// Without one.
    Bare {
        /// The command.
        child: process::Child,
        /// Whether it leads a process group of its own.
        group: bool,
    },
}

impl Process {
    /// What was applied for this command alone; of a session it was said when that was started.
    pub(crate) fn enforced(&self) -> Option<&Enforced> {
        match self {
            Self::Inside { sandbox, .. } => Some(sandbox.enforced()),
            Self::InSession(_) | Self::Bare { .. } => None,
        }
    }

    /// The limits of the sandbox that were reached while the command ran.
    pub(crate) fn limits_reached(&self) -> Vec<Limit> {
        match self {
            Self::Inside { sandbox, .. } => sandbox.limits_reached().into_keys().collect(),
            Self::InSession(running) => running.limits_reached().to_vec(),
            Self::Bare { .. } => Vec::new(),
        }
    }

    /// The master side of the command's own terminal, if it has one.
    pub(crate) fn take_terminal(&mut self) -> Option<File> {
        match self {
            Self::Inside { child, .. } => child.terminal.take(),
            Self::InSession(running) => running.take_terminal(),
            Self::Bare { .. } => None,
        }
    }

    /// Readable when the command has ended; a bare one is announced by SIGCHLD instead.
    pub(crate) fn end_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Inside { child, .. } => Some(child.pidfd()),
            Self::InSession(running) => Some(running.fd()),
            Self::Bare { .. } => None,
        }
    }

    /// Whether a signal from the terminal's keys has reached the command already.
    pub(crate) fn shares_terminal(&self) -> bool {
        matches!(self, Self::Bare { group: false, .. })
    }

    /// Hand a signal on.
    pub(crate) fn signal(&self, signal: Signal) {
        // An error means that there is nobody left to hand it to; the end is noticed elsewhere.
        match self {
            Self::Inside { child, .. } => drop(child.signal(signal as i32)),
            Self::InSession(running) => running.signal(signal as i32),
            Self::Bare { child, group } => drop(send(child, *group, signal)),
        }
    }

    /// How it ended, if it did, once [`end_fd`](Self::end_fd) or SIGCHLD has something to say.
    ///
    /// # Errors
    /// [`Error::Internal`] when that is not to be known; [`Error::Io`] when not all that it printed could be written.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let unknown = |why: &dyn std::fmt::Display| Error::Internal {
            what: "learn how the command ended".into(),
            why: why.to_string(),
        };
        match self {
            // The report follows the end of the process at once.
            Self::Inside { child, .. } => child.wait().map(Some).map_err(|error| match error {
                runtime::Error::Io { doing, source } => Error::io(doing, source),
                error => unknown(&error),
            }),
            Self::InSession(running) => running.ended(),
            Self::Bare { child, .. } => child.try_wait().map_err(|error| unknown(&error)),
        }
    }

    /// Kill everything that is the command's own and wait until it is gone. Gives what it has left for programs outside; the
    /// keeper of a session tells that itself.
    pub(crate) fn end(self) -> Vec<Trap> {
        match self {
            Self::Inside { sandbox, .. } => {
                sandbox.end();
                let traps = sandbox.traps();
                sandbox.leave();
                return traps;
            }
            Self::InSession(running) => running.end(),
            Self::Bare { mut child, group } => {
                send(&child, group, Signal::SIGKILL).ok();
                drop(child.wait());
            }
        }
        Vec::new()
    }
}

/// What the kernel says of this process under a name that ends with a colon (proc_pid_status(5)).
pub(crate) fn own_status(name: &str) -> Option<String> {
    let status = fs::read("/proc/self/status").ok()?;
    // The name of this program may be any bytes.
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

fn send(child: &process::Child, group: bool, signal: Signal) -> Result<(), Errno> {
    let pid = Pid::from_raw(child.id().cast_signed());
    if group { killpg(pid, signal) } else { kill(pid, signal) }
}

/// Why there is no sandbox, for the person.
pub(crate) fn not_started(error: runtime::Error) -> Error {
    let doctor = "run `holdpoint doctor` to see what this machine can enforce";
    match error {
        runtime::Error::Unsupported { protection, needs } => {
            let (what, needs) = (protection.to_string(), plain(&needs));
            let (why, fix) = needs.split_once("; ").unwrap_or((&needs, doctor));
            // What is filtered always is in no profile's hands.
            let without = what
                .parse::<Loss>()
                .map(|loss| format!(", or let the profile do without: allow_missing = [\"{loss}\"]"));
            let next = format!("{fix}{}", without.unwrap_or_default());
            Error::Unenforceable { why: why.to_owned(), what, next }
        }
        runtime::Error::Plan { what, path, why } => {
            let why = plain(&why);
            let (why, next) = why.split_once("; ").unwrap_or((&why, ""));
            // Not the configuration: what was asked of this one command.
            if what == "command" {
                return Error::Usage { why: format!("{} {why}", path.display()), next: next.to_owned() };
            }
            Error::Setting { what: format!("{what} {}", path.display()), why: why.to_owned(), next: next.to_owned() }
        }
        other => {
            let full =
                matches!(&other, runtime::Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock);
            let next = if full { MORE_PROCESSES } else { doctor };
            Error::Unenforceable { what: "the sandbox".into(), why: chain(&other), next: next.into() }
        }
    }
}

fn not_spawned(execution: &Execution<'_>, error: runtime::Error) -> Error {
    match error {
        runtime::Error::Spawn { stage: "execute", source, .. } => not_executed(execution, &source),
        // A directory that is denied or not shown.
        error @ runtime::Error::Spawn { stage: "enter", .. } => {
            Error::NotExecutable { program: shown(execution), why: chain(&error) }
        }
        runtime::Error::Spawn { source, .. } | runtime::Error::Io { source, .. }
            if source.kind() == io::ErrorKind::WouldBlock =>
        {
            Error::no_thread(&format!("run {}", shown(execution)), &source)
        }
        other => Error::Internal { what: format!("run {}", shown(execution)), why: chain(&other) },
    }
}

pub(crate) fn not_executed(execution: &Execution<'_>, source: &io::Error) -> Error {
    let program = shown(execution);
    match source.kind() {
        io::ErrorKind::NotFound => {
            if let Some(missing) = executed_by(&execution.program, execution.cwd, execution.root) {
                return Error::NotExecutable { program, why: format!("{missing} is not there") };
            }
            let next = "inside are the system, the workspace, known toolchains, and what `readable_paths` adds";
            Error::NotFound { program, next: next.into() }
        }
        _ => Error::NotExecutable { program, why: plain(&source) },
    }
}

pub(crate) fn shown(execution: &Execution<'_>) -> String {
    PathBuf::from(&execution.argv[0]).display().to_string()
}

/// An error and what it came from, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    plain(&text)
}
