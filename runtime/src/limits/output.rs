//! The bound on what a command may write to its standard output and error: with one, a pipe stands between the command and
//! where it writes, and a thread counts what it copies.

use super::hit::{Hits, Limit};
use crate::{
    error::{Error, Result},
    socket,
    sys::wire::{Request, SIGNAL},
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Bytes copied at once: what a pipe that can be written takes without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

/// How long, in milliseconds, a reader may refuse what is left after the sandbox has ended.
const PATIENCE: u16 = 5000;

/// What one command may still write, and what happens when that is nothing.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    command: u32,
    control: Arc<OwnedFd>,
    hits: Arc<Hits>,
}

impl Budget {
    pub(crate) fn new(limit: u64, command: u32, control: Arc<OwnedFd>, hits: Arc<Hits>) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(limit), command, control, hits })
    }

    /// How much of `wanted` may be written. Less than asked for is the command's end.
    fn take(&self, wanted: usize) -> usize {
        let asked = wanted as u64;
        let left =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(asked)));
        let left = left.unwrap_or_else(|left| left);
        if left < asked {
            self.hits.reached(Limit::Output);
            kill(&self.control, self.command);
        }
        left.min(asked) as usize
    }
}

/// Kills a command's process group.
fn kill(control: &OwnedFd, command: u32) {
    let request = Request { op: SIGNAL, id: command, value: libc::SIGKILL, ..Request::default() };
    if socket::send(control.as_fd(), &request, &[], &[]).is_err() {
        // Everything inside has ended.
    }
}

/// One stream that is copied and counted.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Copying(Copying),
    /// The command has printed too much. It is not told so by a reader that goes: the pipe stays and fills, and the kill that
    /// was asked for is how it ends.
    Spent(#[allow(dead_code, reason = "held open")] Arc<File>),
    Ended,
}

#[derive(Debug)]
struct Copying {
    from: Arc<File>,
    to: File,
    budget: Arc<Budget>,
    over: Arc<OwnedFd>,
    /// The budget is spent.
    spent: bool,
}

/// A stream's thread, and its copier.
pub(crate) struct Tapped {
    /// What the command writes to.
    pub(crate) inside: OwnedFd,
    pub(crate) tap: Tap,
    pub(crate) thread: JoinHandle<()>,
}

impl Tap {
    /// Stands between a command and `to`. `over` hangs up when the sandbox has ended.
    pub(crate) fn start(to: OwnedFd, budget: Arc<Budget>, over: Arc<OwnedFd>) -> Result<Tapped> {
        let (read, write) = io::pipe().map_err(Error::io("make a pipe"))?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::errno("prepare a pipe"))?;
        let from = Arc::new(File::from(OwnedFd::from(read)));
        let copying = Copying { from: Arc::clone(&from), to: to.into(), budget, over, spent: false };
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
    pub(crate) fn copy(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Copying(copying) = &mut *state else { return false };
        let more = copying.copy();
        if !more {
            *state = match copying.spent {
                true => State::Spent(Arc::clone(&copying.from)),
                // The command's next write fails, as it would with a reader that has gone.
                false => State::Ended,
            };
        }
        more
    }
}

impl Copying {
    fn copy(&mut self) -> bool {
        let mut piece = [0; PIECE];
        while !self.spent {
            match (&*self.from).read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    let allowed = self.budget.take(length);
                    self.spent = allowed < length;
                    if !self.pass_on(&piece[..allowed]) {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Waits for the reader as the command itself would; once the sandbox has ended, only for a while.
    fn pass_on(&mut self, mut bytes: &[u8]) -> bool {
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
            match self.to.write(bytes) {
                _ if !ready => return false,
                Ok(length) => bytes = &bytes[length..],
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return false,
            }
        }
        true
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
    /// Puts a tap between a command and `to`; what the command writes to, and the tap.
    pub(crate) fn add(&self, to: OwnedFd, budget: &Arc<Budget>) -> Result<(OwnedFd, Tap)> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.is_none() {
            let (theirs, ours) = io::pipe().map_err(Error::io("make a pipe"))?;
            *over = Some((Arc::new(theirs.into()), ours.into()));
        }
        let Some((theirs, _)) = &*over else { return Err(Error::Ended { why: "it is being shut down" }) };
        let tapped = Tap::start(to, Arc::clone(budget), Arc::clone(theirs))?;
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
