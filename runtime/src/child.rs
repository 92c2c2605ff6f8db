//! A running command.

use crate::{
    error::{Error, Result},
    limits::Hits,
    relay::{Input, Tap},
    socket,
    sys::wire::{ENDED, NOBODY_LEFT, Reply, Request, SIGNAL},
    tree::Leader,
};
use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A command that runs in a [`Sandbox`](crate::Sandbox). Dropping it leaves the command running; dropping the sandbox ends it.
#[derive(Debug)]
pub struct Child {
    origin: Origin,
    id: u32,
    pid: i32,
    pidfd: OwnedFd,
    reply: OwnedFd,
    status: Option<ExitStatus>,
    /// The other end of a piped standard input.
    pub stdin: Option<File>,
    /// The other end of a piped standard output.
    pub stdout: Option<File>,
    /// The other end of a piped standard error.
    pub stderr: Option<File>,
    /// The master side of the command's own terminal.
    pub terminal: Option<File>,
}

/// The sandbox a command came from, and what its bounds mean for the command.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) control: Arc<OwnedFd>,
    /// Its root as the host names it.
    pub(crate) root: PathBuf,
    pub(crate) hits: Arc<Hits>,
    /// To be set when nobody is left in it.
    pub(crate) emptied: Arc<AtomicBool>,
    /// Its standard input, where that is passed on.
    pub(crate) input: Option<Input>,
    /// What it prints, as far as that is passed on.
    pub(crate) taps: Vec<Tap>,
}

/// What a finished command left, as [`std::process::Output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Child {
    pub(crate) fn new(
        origin: Origin,
        id: u32,
        pid: i32,
        pidfd: OwnedFd,
        reply: OwnedFd,
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
        terminal: Option<OwnedFd>,
    ) -> Self {
        let file = |fd: Option<OwnedFd>| fd.map(File::from);
        let (stdin, stdout, stderr, terminal) = (file(stdin), file(stdout), file(stderr), file(terminal));
        Self { origin, id, pid, pidfd, reply, status: None, stdin, stdout, stderr, terminal }
    }

    /// The process's number inside the sandbox.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid
    }

    /// Waits for the command to end. Closes the pipe to its standard input first, as the standard library does.
    ///
    /// # Errors
    /// [`Error::Ended`] when the sandbox ended before the command reported: how the command ended is not known. [`Error::Io`]
    /// when a file that it printed to takes no more; called again, this gives how it ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        match self.status {
            Some(status) => Ok(status),
            None => self.take_status(true)?.ok_or(Error::Ended { why: "the command's outcome is not known" }),
        }
    }

    /// The status if the command has ended.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        match self.status {
            Some(status) => Ok(Some(status)),
            None => match self.take_status(false) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Ok(None) => Err(Error::Ended { why: "the command's outcome is not known" }),
                done => done,
            },
        }
    }

    fn take_status(&mut self, wait: bool) -> Result<Option<ExitStatus>> {
        match socket::receive(self.reply.as_fd(), wait)? {
            Some((Reply { kind: ENDED, value, stage }, _)) => {
                self.status = Some(ExitStatus::from_raw(value));
                self.origin.emptied.fetch_or(stage == NOBODY_LEFT, Ordering::Release);
                if let Some(input) = self.origin.input.take() {
                    input.finish();
                }
                for tap in &self.origin.taps {
                    tap.settle().map_err(Error::io("write what the command printed"))?;
                }
                Ok(self.status)
            }
            // Nobody is left to report it, but how everything inside was ended is known.
            None if self.origin.hits.end().is_some() => {
                self.status = Some(ExitStatus::from_raw(libc::SIGKILL));
                Ok(self.status)
            }
            _ => Ok(None),
        }
    }

    /// Waits for the end and collects piped output.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::Io`] when a pipe cannot be read.
    pub fn wait_with_output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = thread::scope(|scope| {
            let errors = scope.spawn(|| drain(stderr));
            let output = drain(stdout);
            (output, errors.join().unwrap_or_else(|_| Err(io::Error::other("the reader of standard error failed"))))
        });
        let read = Error::io("read the command's output");
        let (stdout, stderr) = stdout.and_then(|stdout| Ok((stdout, stderr?))).map_err(read)?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Sends a signal to the command's process group.
    ///
    /// # Errors
    /// [`Error::Ended`] when the sandbox is no more.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let request = Request { op: SIGNAL, id: self.id, value: signal, ..Request::default() };
        socket::send(self.origin.control.as_fd(), &request, &[], &[])
    }

    /// Kills the command's process group. What has left the group goes on: see [`kill_tree`](Self::kill_tree).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Kills the command and everything it has started, in whatever process group, and nothing else. Only what has both
    /// left the command's session and outlived its own parent is not found any more; it ends with the
    /// [`Sandbox`](crate::Sandbox).
    ///
    /// # Errors
    /// As [`signal`](Self::signal), and [`Error::Io`] when something starts processes faster than they can be stopped:
    /// what was found is killed all the same.
    pub fn kill_tree(&self) -> Result<()> {
        self.leader().kill_tree()
    }

    fn leader(&self) -> Leader<'_> {
        Leader { control: &self.origin.control, root: &self.origin.root, pid: self.pid, pidfd: self.pidfd() }
    }

    /// The pidfd of the command's first process (pidfd_open(2)): readable when it has ended, so any executor can wait.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

fn drain(pipe: Option<File>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
