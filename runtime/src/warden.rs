//! The warden's host side. The warden joins the namespaces of a running sandbox with the one capability that mounting needs
//! and covers or replaces the paths it is told. It is started when it is needed, not with the sandbox.

use crate::{
    compile,
    error::{Error, Result},
    host::Failed,
    program::{self, LIFTED},
    sandbox, socket,
    sys::{
        launch,
        wire::{DONE, MASK, PROTECT, REPLACE, Reply, Request},
    },
    watch::Late,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// One sandbox's warden, running or not yet. It ends with the sandbox.
#[derive(Debug, Default)]
pub(crate) struct Warden {
    socket: Option<OwnedFd>,
}

impl Warden {
    /// Its end of the conversation, if it runs: readable out of turn when it is gone.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether it ran and has ended. Between two questions it says nothing.
    pub(crate) fn is_gone(&self) -> bool {
        self.socket().is_some_and(|socket| {
            let mut wait = [PollFd::new(socket, PollFlags::POLLIN)];
            poll(&mut wait, PollTimeout::ZERO).is_err() || wait[0].any().unwrap_or(true)
        })
    }

    /// Starts it in the sandbox whose pid 1 has the pidfd `first`, and waits until it listens.
    pub(crate) fn start(&mut self, resident: &OwnedFd, first: &OwnedFd) -> Result<()> {
        let (ours, given) = socket::pair()?;
        let lift = |fd: &OwnedFd| program::lift(fd.as_fd(), LIFTED);
        let (resident, first, theirs) = (lift(resident)?, lift(first)?, lift(&given)?);
        // Held here, it would keep the end of a warden from us that dies with its sandbox before it listens.
        drop(given);
        let mut program = compile::warden(resident.as_raw_fd(), first.as_raw_fd(), theirs.as_raw_fd());
        let started = launch::launch(&mut program, 0).map_err(Error::io("start the warden"))?;
        // What was started here has started the warden inside and ended.
        started.reap();
        if let Some(failure) = program.failure {
            let source = io::Error::from_raw_os_error(failure.errno);
            return Err(Error::Io { doing: "start the warden", source });
        }
        drop(theirs);
        match socket::receive(ours.as_fd(), true)? {
            Some((Reply { kind: DONE, .. }, _)) => {
                self.socket = Some(ours);
                Ok(())
            }
            _ => Err(Error::Ended { why: "its warden did not start" }),
        }
    }

    /// Has a path covered that appeared.
    pub(crate) fn cover(&mut self, resident: &OwnedFd, first: &OwnedFd, late: Late, path: &Path) -> io::Result<()> {
        let op = match late {
            Late::Mask => MASK,
            Late::Protect => PROTECT,
        };
        self.ask(resident, first, op, path, &[])
    }

    /// Has the host's directory `by` shown, read-only, in the place of `path`.
    pub(crate) fn replace(&mut self, resident: &OwnedFd, first: &OwnedFd, path: &Path, by: &Path) -> io::Result<()> {
        let mount = stand_in(by).map_err(io::Error::other)?;
        self.ask(resident, first, REPLACE, path, &[mount.as_raw_fd()])
    }

    /// Has something done at `path`; starts the warden if it does not run yet.
    fn ask(&mut self, resident: &OwnedFd, first: &OwnedFd, op: u32, path: &Path, fds: &[RawFd]) -> io::Result<()> {
        if self.socket.is_none() {
            self.start(resident, first).map_err(io::Error::other)?;
        }
        let Some(socket) = self.socket() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut text = path.as_os_str().as_bytes().to_vec();
        text.push(0);
        let asked = socket::send(socket, &Request { op, ..Request::default() }, &text, fds);
        match asked.and_then(|()| socket::receive(socket, true)).map_err(io::Error::other)? {
            Some((Reply { value: 0, .. }, _)) => Ok(()),
            Some((Reply { value, .. }, _)) => Err(io::Error::from_raw_os_error(value)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A detached, read-only mount of a directory of the host. Who may do that in the sandbox's namespaces cannot in the host's, and
/// who is not root cannot do it there without namespaces of his own.
fn stand_in(path: &Path) -> Result<OwnedFd> {
    let (ours, theirs) = socket::pair()?;
    let mut program = compile::stand_in(path, theirs.as_raw_fd())?;
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    sandbox::run(&mut program, namespaces).map_err(Failed::into_error)?.reap();
    let mut packet = [0; 8];
    let received = socket::receive_packet(ours.as_fd(), &mut packet, false).map_err(Error::errno("take a mount"))?;
    received.and_then(|(_, fds)| fds.into_iter().next()).ok_or(Error::Ended { why: "a mount for it was not made" })
}
