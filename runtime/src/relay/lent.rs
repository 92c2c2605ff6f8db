//! What stands between a command and a pipe that others go on reading when it has ended, as the shell does whose script comes
//! through the same pipe. Whoever has the reading end of a pipe can open the other through `/proc/self/fd` (proc(5)), and write
//! what the shell then runs; so the command gets a pipe of its own. What it does not read stays where it is: tee(2) shows what is
//! in a pipe and takes nothing out.

use super::input::{is_passing, ready};
use crate::error::{Error, Result};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee},
    poll::PollFlags,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread::{self, JoinHandle},
};

/// What one buffer of a pipe holds at most: a page.
const PIECE: usize = 4096;

/// What is passed on piece by piece.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Hangs up for the thread when dropped.
    stop: OwnedFd,
    thread: JoinHandle<()>,
}

/// The pipes of one that is passed on.
struct Passing {
    /// What others share.
    from: OwnedFd,
    /// What the command reads from, and its other end. It holds one piece, so it can be written when that was read as a whole.
    read: OwnedFd,
    write: File,
    /// Where a piece is looked at.
    look: (File, OwnedFd),
    null: File,
}

impl Lent {
    /// Stands between the pipe `from` and a command; what the command reads from, and what is to be [finished](Self::finish).
    pub(crate) fn start(from: OwnedFd) -> Result<(OwnedFd, Lent)> {
        let prepared = || {
            let (read, write) = io::pipe()?;
            fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIECE as i32))?;
            fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let (see, show) = io::pipe()?;
            let (stopped, stop) = io::pipe()?;
            let inside = read.try_clone()?.into();
            let passing = Passing {
                from,
                read: read.into(),
                write: OwnedFd::from(write).into(),
                look: (OwnedFd::from(see).into(), show.into()),
                null: OpenOptions::new().write(true).open("/dev/null")?,
            };
            let run = move || drop(passing.pass_on(stopped.as_fd()));
            Ok((inside, Lent { stop: stop.into(), thread: thread::Builder::new().name("input".into()).spawn(run)? }))
        };
        prepared().map_err(Error::io("start to pass on the standard input"))
    }

    /// Ends it: what the command has read is gone from the pipe, and nothing else.
    pub(crate) fn finish(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            // It does not panic; others would read once more what the command has read.
        }
    }
}

impl Passing {
    /// Until nothing more can come, or `stopped` hangs up.
    fn pass_on(mut self, stopped: BorrowedFd<'_>) -> io::Result<()> {
        let mut piece = [0; PIECE];
        while ready(self.from.as_fd(), PollFlags::POLLIN, stopped) {
            let shown = match tee(&self.from, &self.look.1, PIECE, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                shown => shown?,
            };
            if shown == 0 {
                break;
            }
            let piece = &mut piece[..shown];
            self.look.0.read_exact(piece)?;
            // The command itself may have filled it.
            if !self.give(piece, stopped)? {
                break;
            }
            let all = ready(self.write.as_fd(), PollFlags::POLLOUT, stopped);
            let left = if all { 0 } else { self.left()? };
            self.take(shown.saturating_sub(left))?;
            if !all {
                break;
            }
        }
        Ok(())
    }

    /// Writes a piece for the command; false when `stopped` hangs up before there is room for it.
    fn give(&mut self, piece: &[u8], stopped: BorrowedFd<'_>) -> io::Result<bool> {
        while ready(self.write.as_fd(), PollFlags::POLLOUT, stopped) {
            match self.write.write(piece) {
                // No longer than what a pipe takes as a whole (`PIPE_BUF`, pipe(7)).
                Ok(_) => return Ok(true),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// How much of the piece nobody has read.
    fn left(&self) -> nix::Result<usize> {
        match tee(&self.read, &self.look.1, PIECE, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Err(Errno::EAGAIN) => Ok(0),
            left => left,
        }
    }

    /// Takes out what was read.
    fn take(&self, mut length: usize) -> nix::Result<()> {
        while length > 0 {
            match splice(&self.from, None, &self.null, None, length, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(taken) => length -= taken,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
