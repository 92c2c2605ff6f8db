//! A command in a session, seen from the process that asked for it.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use holdpoint_approval_web::plan::{Digest, FileId};
use holdpoint_runtime::Limit;
use nix::errno::Errno;

use super::name::Name;
use super::rights::Rights;
use super::wire::{Ask, Hello, Run, Terminal, Told, receive, send};
use crate::confine::Confinement;
use crate::error::Error;
use crate::identity;
use crate::load::Loaded;
use crate::process::{Execution, not_executed, own_status, shown};
use crate::report;
use crate::terminal;

/// A place for one command in a session.
#[derive(Debug)]
pub(crate) struct Seat {
    name: Name,
    stream: UnixStream,
    hello: Hello,
    rights: Rights,
}

impl Seat {
    /// The other end of `stream` is the keeper of `name` and has said `hello`.
    pub(crate) fn new(name: Name, stream: UnixStream, hello: Hello, rights: Rights) -> Self {
        Self { name, stream, hello, rights }
    }

    /// What the command may do less than others of the session.
    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The session as hooks know it.
    pub(crate) fn id(&self) -> &str {
        &self.hello.id
    }

    /// Agree that the sandbox is the one that the policy of this moment asks for.
    ///
    /// # Errors
    /// [`Error::Session`] when it is not: nothing runs under a policy that does not hold any more.
    pub(crate) fn agree(&self, loaded: &Loaded, confinement: Option<&Confinement>) -> Result<Agreed<'_>, Error> {
        let made_of = confinement.map(Confinement::digest).filter(|digest| *digest == self.hello.made_of);
        let root = &loaded.workspace.root;
        let workspace = identity::of_directory(root).ok().filter(|found| *found == self.hello.workspace);
        match (made_of, workspace) {
            (Some(made_of), Some(workspace)) => Ok(Agreed { seat: self, made_of, workspace }),
            _ => Err(self.stale()),
        }
    }

    fn stale(&self) -> Error {
        let why = format!(
            "what the sandbox of session {} may do was settled when it was started, and has changed in the configuration, \
             the environment or the workspace since",
            self.name
        );
        Error::Session { why, next: self.hello.terms.start_again(&self.name) }
    }

    fn gone(&self, why: &str) -> Error {
        let next = format!("start it again: {}", self.hello.terms.start(&self.name));
        Error::Session { why: format!("session {} has ended: {why}; nothing was run", self.name), next }
    }
}

/// A place in a sandbox that is known to be the right one.
#[derive(Debug)]
pub(crate) struct Agreed<'a> {
    seat: &'a Seat,
    made_of: Digest,
    workspace: FileId,
}

impl Agreed<'_> {
    /// Run a command, which has been judged.
    ///
    /// # Errors
    /// [`Error::Session`], [`Error::NotFound`], [`Error::NotExecutable`]: the command has not started.
    pub(crate) fn spawn(&self, execution: &Execution<'_>) -> Result<Running, Error> {
        let Seat { name, stream, .. } = self.seat;
        let own = terminal::interactive().then(terminal::size);
        let run = Run {
            made_of: self.made_of,
            workspace: self.workspace,
            program: execution.program.clone().into(),
            argv: execution.argv.iter().map(|word| word.clone().into()).collect(),
            env: execution.env.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect(),
            cwd: execution.cwd.into(),
            // `2> errors.log` at the prompt still means that file.
            rights: self.seat.rights.clone(),
            umask: umask(),
            terminal: own.map(|(rows, columns)| Terminal { rows, columns, error: io::stderr().is_terminal() }),
        };
        let streams = standard_streams().map_err(|error| Error::io("pass the standard streams", error))?;
        let fds: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
        let lost = |error: io::Error| self.seat.gone(&error.to_string());
        send(stream, &Ask::Run(Box::new(run)), &fds).map_err(lost)?;
        match receive::<Told>(stream).map_err(lost)? {
            Some((Told::Started, mut fds)) => {
                let stream = stream.try_clone().map_err(|error| Error::io("keep the session's socket", error))?;
                Ok(Running {
                    name: name.clone(),
                    stream,
                    terminal: fds.pop().map(File::from),
                    reached: Vec::new(),
                    ended: false,
                })
            }
            Some((Told::Stale, _)) => Err(self.seat.stale()),
            Some((Told::NotExecuted { errno: Some(errno), .. }, _))
                if errno == Errno::EACCES as i32 && self.seat.rights.narrows_reads() =>
            {
                let why = "it may not be read; what --may-read names has to hold the program too".into();
                Err(Error::NotExecutable { program: shown(execution), why })
            }
            Some((Told::NotExecuted { errno: Some(errno), .. }, _)) => {
                Err(not_executed(execution, &io::Error::from_raw_os_error(errno)))
            }
            Some((Told::NotExecuted { errno: None, why }, _)) => {
                Err(Error::NotExecutable { program: shown(execution), why })
            }
            Some((Told::NotStarted { why }, _)) => {
                Err(Error::Internal { what: format!("run {}", shown(execution)), why })
            }
            Some((Told::NotGiven { why, unsupported: false }, _)) => {
                let leave_out = "change what this command may do less than its session, or leave it out";
                let (why, next) = why.split_once("; ").unwrap_or((&why, leave_out));
                Err(Error::Usage { why: why.into(), next: next.into() })
            }
            Some((Told::NotGiven { why, unsupported: true }, _)) => {
                let what = "what this command may do less than its session".into();
                let next = "leave it out, or use `holdpoint run` with a profile that may do less".into();
                Err(Error::Unenforceable { what, why, next })
            }
            Some((Told::Gone { why }, _)) => Err(self.seat.gone(&why)),
            Some(_) => Err(self.seat.gone("its answer makes no sense")),
            None => Err(self.seat.gone("it was killed")),
        }
    }
}

/// Our own, looked at without changing it for a moment (proc_pid_status(5)).
fn umask() -> Option<u32> {
    u32::from_str_radix(&own_status("Umask:")?, 8).ok()
}

/// Ours, or `/dev/null` for one that whoever started us has closed.
fn standard_streams() -> io::Result<[OwnedFd; 3]> {
    let open = |own: io::Result<OwnedFd>| {
        own.or_else(|_| File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from))
    };
    Ok([
        open(io::stdin().as_fd().try_clone_to_owned())?,
        open(io::stdout().as_fd().try_clone_to_owned())?,
        open(io::stderr().as_fd().try_clone_to_owned())?,
    ])
}

/// A command that runs in a session. When this process ends or drops it, the command ends too, and nothing else does.
#[derive(Debug)]
pub(crate) struct Running {
    name: Name,
    stream: UnixStream,
    terminal: Option<File>,
    reached: Vec<Limit>,
    ended: bool,
}

impl Running {
    /// The master side of the command's own terminal, if it has one.
    pub(crate) fn take_terminal(&mut self) -> Option<File> {
        self.terminal.take()
    }

    /// Readable when the command has ended, the session has, or the keeper has something to say.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The limits of the session that were reached while the command ran.
    pub(crate) fn limits_reached(&self) -> &[Limit] {
        &self.reached
    }

    /// Hand a signal on.
    pub(crate) fn signal(&self, signal: i32) {
        // An error means that the session is gone, which is noticed elsewhere.
        send(&self.stream, &Ask::Signal(signal), &[]).ok();
    }

    /// How it ended, if that is what [`fd`](Self::fd) has to say; what the keeper says otherwise is passed on to the person.
    ///
    /// # Errors
    /// [`Error::Internal`] when the session ended first: then nobody knows. [`Error::Io`] when not all that it printed could be
    /// written.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let why = match receive::<Told>(&self.stream) {
            Ok(Some((Told::Ended { status, reached }, _))) => {
                (self.ended, self.reached) = (true, reached);
                return Ok(Some(ExitStatus::from_raw(status)));
            }
            Ok(Some((Told::Said(text), _))) => {
                report::tell(&text);
                return Ok(None);
            }
            Ok(Some((Told::NotWritten { what, why }, _))) => return Err(Error::Io { what, why }),
            Ok(Some((Told::Gone { why }, _))) => why,
            Ok(Some(_)) => "its answer makes no sense".into(),
            Ok(None) => "it was killed, and all that ran in it".into(),
            Err(error) => error.to_string(),
        };
        self.ended = true;
        let why = format!("session {} has ended: {why}", self.name);
        Err(Error::Internal { what: "learn how the command ended".into(), why })
    }

    /// Kill the command and what it has started, unless it has ended, and wait until the keeper says so.
    pub(crate) fn end(mut self) {
        if !self.ended && send(&self.stream, &Ask::Kill, &[]).is_ok() {
            while let Ok(None) = self.ended() {}
        }
    }
}
