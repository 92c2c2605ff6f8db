//! The time a command may take.

use super::hit::{Hits, Limit};
use crate::{
    error::{Error, Result},
    tree::Leader,
};
use nix::poll::PollTimeout;
use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A command that must have ended by some time.
struct Running {
    pid: i32,
    pidfd: OwnedFd,
    control: Arc<OwnedFd>,
    root: PathBuf,
    until: Instant,
}

impl Running {
    fn leader(&self) -> Leader<'_> {
        Leader { control: &self.control, root: &self.root, pid: self.pid, pidfd: self.pidfd.as_fd() }
    }

    fn has_ended(&self) -> bool {
        self.leader().has_ended(PollTimeout::ZERO)
    }
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
                        if !late.has_ended() {
                            hits.reached(Limit::WallTime);
                            if late.leader().kill_tree().is_err() {
                                // Everything inside has ended; or what was found is killed, and it starts more all the time.
                            }
                        }
                    }
                }
                running.retain(|command| !command.has_ended());
            }
        };
        let thread = thread::Builder::new().name("deadlines".into()).spawn(run);
        let thread = thread.map_err(Error::io("start to watch the time"))?;
        Ok(Self { limit, started: Some(started), thread: Some(thread) })
    }

    /// Counts the time of a command from now on. It is the one with this number inside, started by the init whose socket
    /// `control` is, and sees `root`, as the host names that.
    pub(crate) fn watch(&self, pid: i32, pidfd: OwnedFd, control: Arc<OwnedFd>, root: PathBuf) {
        let until = Instant::now().checked_add(self.limit);
        if let (Some(started), Some(until)) = (&self.started, until)
            && started.send(Running { pid, pidfd, control, root, until }).is_err()
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
