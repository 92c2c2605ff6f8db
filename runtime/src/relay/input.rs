//! What stands between a command and a file or a socket that it reads as its standard input: a pipe, and a thread that fills it.

use crate::error::{Error, Result};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    thread::{self, JoinHandle},
};

const BLOCK: usize = 64 << 10;

/// What is passed on. Others may share the position in a file: it is [moved](Self::finish) by what the command has read.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    /// Where it stood; none in what has no position.
    began: Option<u64>,
    /// What the command reads from.
    pipe: File,
    /// Hangs up for the thread when dropped.
    stop: OwnedFd,
    /// Gives how much it has written.
    thread: JoinHandle<u64>,
}

impl Source {
    /// Stands between `file` and a command; what the command reads from, and the source.
    pub(crate) fn start(file: OwnedFd) -> Result<(OwnedFd, Source)> {
        let mut file = File::from(file);
        let began = file.stream_position().ok();
        let prepared = || {
            let (read, write) = io::pipe()?;
            fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let (stopped, stop) = io::pipe()?;
            let inside = read.try_clone()?.into();
            let (own, write) = (file.try_clone()?, File::from(OwnedFd::from(write)));
            let run = move || pass_on(&own, began, write, stopped.as_fd());
            let thread = thread::Builder::new().name("input".into()).spawn(run)?;
            Ok((inside, OwnedFd::from(read).into(), stop.into(), thread))
        };
        let (inside, pipe, stop, thread) = prepared().map_err(Error::io("start to pass on the standard input"))?;
        Ok((inside, Source { file, began, pipe, stop, thread }))
    }

    /// Ends it: whoever shares the file goes on where the command stopped reading.
    pub(crate) fn finish(self) {
        let Source { mut file, began, pipe, stop, thread } = self;
        drop(stop);
        let Ok(written) = thread.join() else { return };
        let left = drain(&pipe).unwrap_or(written);
        if let Some(began) = began.filter(|_| written > left)
            && file.seek(SeekFrom::Start(began + written - left)).is_err()
        {
            // What has no position cannot be read on from one.
        }
    }
}

/// Reads away what is in the pipe at this moment; how much it was. It need not have an end: what the command has left behind may
/// have opened the pipe anew, and write to it.
fn drain(pipe: &File) -> io::Result<u64> {
    // Opened anew: what is set for this descriptor is set for no other.
    let own = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let own = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(own)?;
    let size = fcntl(&own, FcntlArg::F_GETPIPE_SZ)?;
    let mut rest = own.take(size.unsigned_abs().into());
    let mut block = vec![0; BLOCK];
    let mut left = 0;
    loop {
        match rest.read(&mut block) {
            Ok(length @ 1..) => left += length as u64,
            Ok(0) => return Ok(left),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(left),
            Err(error) => return Err(error),
        }
    }
}

/// Writes what `file` holds from `began` on, or what comes from it, as long as somebody reads and `stopped` does not hang up; how
/// much it was.
fn pass_on(mut file: &File, began: Option<u64>, mut pipe: File, stopped: BorrowedFd<'_>) -> u64 {
    let mut written = 0;
    let mut block = vec![0; BLOCK];
    loop {
        let read = match began {
            Some(began) => file.read_at(&mut block, began + written),
            None if !ready(file.as_fd(), PollFlags::POLLIN, stopped) => return written,
            None => file.read(&mut block),
        };
        let mut bytes = match read {
            Ok(length @ 1..) => &block[..length],
            Err(error) if is_passing(&error) => continue,
            _ => return written,
        };
        while !bytes.is_empty() {
            if !ready(pipe.as_fd(), PollFlags::POLLOUT, stopped) {
                return written;
            }
            match pipe.write(bytes) {
                Ok(length) => {
                    bytes = &bytes[length..];
                    written += length as u64;
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => return written,
            }
        }
    }
}

/// Waits until `end` is ready for `what`; false when `stopped` has hung up before.
pub(super) fn ready(end: BorrowedFd<'_>, what: PollFlags, stopped: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(end, what), PollFd::new(stopped, PollFlags::empty())];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => fds[1].revents().is_some_and(|hung_up| hung_up.is_empty()),
        Err(errno) => errno == Errno::EINTR,
    }
}

pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
