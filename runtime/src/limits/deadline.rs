//! The time a command may take.

use super::hit::{Hits, Limit};
use crate::{
    error::{Error, Result},
    socket,
    sys::wire::{Request, SIGNAL},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A command that must have ended by some time.
struct Running {
    id: u32,
    pidfd: OwnedFd,
    control: Arc<OwnedFd>,
    until: Instant,
}

/// Kills commands that take too long. Dropping it lets them run.
#[derive(Debug)]
pub(crate) struct Deadlines {
    limit: Duration,
    started: Option<Sender<Running>>,
    thread: Option<JoinHandle<()>>,
}

impl Deadlines {
    pub(crate) fn start(limit: Duration, hits: Arc<Hits>) -> Result<Self> {
        let (started, commands) = mpsc::channel::<Running>();
        let run = move || {
            let mut running: Vec<Running> = Vec::new();
            loop {
                // Every command has the same time, so the oldest is the next to be over.
                let pause =
                    running.first().map_or(Duration::MAX, |first| first.until - Instant::now().min(first.until));
                match commands.recv_timeout(pause) {
                    Ok(command) => running.push(command),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        let late = running.remove(0);
                        if !has_ended(&late.pidfd) {
                            hits.reached(Limit::WallTime);
                            kill(&late.control, late.id);
                        }
                    }
                }
                running.retain(|command| !has_ended(&command.pidfd));
            }
        };
        let thread = thread::Builder::new().name("deadlines".into()).spawn(run);
        let thread = thread.map_err(Error::io("start to watch the time"))?;
        Ok(Self { limit, started: Some(started), thread: Some(thread) })
    }

    /// Counts the time of a command from now on.
    pub(crate) fn watch(&self, id: u32, pidfd: OwnedFd, control: Arc<OwnedFd>) {
        let until = Instant::now().checked_add(self.limit);
        if let (Some(started), Some(until)) = (&self.started, until)
            && started.send(Running { id, pidfd, control, until }).is_err()
        {
            // The thread does not end before its sender is dropped.
        }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        drop(self.started.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // It does not panic; there is nothing to undo if it did.
        }
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Kills a command's process group.
pub(crate) fn kill(control: &OwnedFd, id: u32) {
    let request = Request { op: SIGNAL, id, value: libc::SIGKILL, ..Request::default() };
    if socket::send(control.as_fd(), &request, &[], &[]).is_err() {
        // Everything inside has ended.
    }
}
