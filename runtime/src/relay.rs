//! What stands between a command and where it writes: a pipe, and a thread that passes on what comes. With it the command's
//! output can be counted, and a file that it writes to stays out of its hands.

mod input;
mod lent;

pub(crate) use input::Source;
pub(crate) use lent::Lent;

use crate::{
    error::{Error, Result},
    file_limit::unsignalled,
    limits::Budget,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    mem,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// A standard input that is passed on.
#[derive(Debug)]
pub(crate) enum Input {
    /// A file or a socket.
    Source(Source),
    /// A pipe.
    Lent(Lent),
}

impl Input {
    /// Ends it: whoever shares it goes on where the command stopped reading.
    pub(crate) fn finish(self) {
        match self {
            Self::Source(source) => source.finish(),
            Self::Lent(lent) => lent.finish(),
        }
    }
}

/// Bytes copied at once: what a pipe that can be written takes without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

/// The same for a file, which always takes what it is given.
const BLOCK: usize = 64 << 10;

/// How long, in milliseconds, a reader may refuse what is left after the sandbox has ended.
const PATIENCE: u16 = 5000;

/// One stream that is passed on.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Copying(Copying),
    /// The command has printed too much. It is not told so by a reader that goes: the pipe stays and fills, and the kill that
    /// was asked for is how it ends.
    Spent(#[allow(dead_code, reason = "held open")] Arc<File>),
    /// Where it went takes no more, for another reason than that nobody reads any longer.
    Failed(io::Error),
    Ended,
}

#[derive(Debug)]
struct Copying {
    from: Arc<File>,
    to: File,
    piece: Box<[u8]>,
    budget: Option<Arc<Budget>>,
    over: Arc<OwnedFd>,
    /// The budget is spent.
    spent: bool,
}

/// A stream's thread, and its copier.
struct Tapped {
    /// What the command writes to.
    inside: OwnedFd,
    tap: Tap,
    thread: JoinHandle<()>,
}

impl Tap {
    /// Stands between a command and `to`. `over` hangs up when the sandbox has ended.
    fn start(to: OwnedFd, piece: usize, budget: Option<Arc<Budget>>, over: Arc<OwnedFd>) -> Result<Tapped> {
        let (read, write) = io::pipe().map_err(Error::io("make a pipe"))?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::errno("prepare a pipe"))?;
        let from = Arc::new(File::from(OwnedFd::from(read)));
        let piece = vec![0; piece].into();
        let copying = Copying { from: Arc::clone(&from), to: to.into(), piece, budget, over, spent: false };
        let tap = Self(Arc::new(Mutex::new(State::Copying(copying))));
        let own = tap.clone();
        let run = move || {
            let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
            while matches!(poll(&mut fds, PollTimeout::NONE), Ok(_) | Err(Errno::EINTR)) && own.copy() {}
        };
        let thread =
            thread::Builder::new().name("output".into()).spawn(run).map_err(Error::io("start to copy output"))?;
        Ok(Tapped { inside: write.into(), tap, thread })
    }

    /// Copies what has been written so far; false when nothing more can come.
    fn copy(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Copying(copying) = &mut *state else { return false };
        *state = match unsignalled(|| copying.copy()) {
            Ok(true) => return true,
            Ok(false) if copying.spent => State::Spent(Arc::clone(&copying.from)),
            // The command's next write fails, as it would with a reader that has gone.
            Ok(false) => State::Ended,
            Err(error) => State::Failed(error),
        };
        false
    }

    /// Copies what has been written so far. An error is told once.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.copy();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Failed(_) => match mem::replace(&mut *state, State::Ended) {
                State::Failed(error) => Err(error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Copying {
    /// False when nothing more can come.
    fn copy(&mut self) -> io::Result<bool> {
        while !self.spent {
            match (&*self.from).read(&mut self.piece) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    let allowed = self.budget.as_ref().map_or(length, |budget| budget.take(length));
                    self.spent = allowed < length;
                    if !self.pass_on(&self.piece[..allowed])? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Waits for the reader as the command itself would; once the sandbox has ended, only for a while. False when nobody
    /// reads any longer.
    fn pass_on(&self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            let ready = {
                let reader = PollFd::new(self.to.as_fd(), PollFlags::POLLOUT);
                let mut fds = [reader, PollFd::new(self.over.as_fd(), PollFlags::empty())];
                let ready = poll(&mut fds, PollTimeout::NONE);
                let [reader, _] = &mut fds;
                let waits = reader.revents().is_none_or(|ready| ready.is_empty());
                ready.is_ok()
                    && (!waits
                        || poll(std::slice::from_mut(reader), PollTimeout::from(PATIENCE)).is_ok_and(|ready| ready > 0))
            };
            match (&self.to).write(bytes) {
                _ if !ready => return Ok(false),
                Ok(length) => bytes = &bytes[length..],
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The threads of a sandbox's taps. Dropping it waits until everything that was written has been passed on.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// Hangs up for the taps when dropped.
    over: Mutex<Option<(Arc<OwnedFd>, OwnedFd)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Taps {
    /// Puts a tap between a command and `to`, which is a `file` or else a stream; what the command writes to, and the tap.
    pub(crate) fn add(&self, to: OwnedFd, file: bool, budget: Option<Arc<Budget>>) -> Result<(OwnedFd, Tap)> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.is_none() {
            let (theirs, ours) = io::pipe().map_err(Error::io("make a pipe"))?;
            *over = Some((Arc::new(theirs.into()), ours.into()));
        }
        let Some((theirs, _)) = &*over else { return Err(Error::Ended { why: "it is being shut down" }) };
        let tapped = Tap::start(to, if file { BLOCK } else { PIECE }, budget, Arc::clone(theirs))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(tapped.thread);
        Ok((tapped.inside, tapped.tap))
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        drop(self.over.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                // Copying does not panic; what was written is lost if it did.
            }
        }
    }
}
