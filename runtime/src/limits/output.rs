//! The bound on what a command may write to its standard output and error: what is [passed on](crate::relay) is counted.

use super::hit::{Hits, Limit};
use crate::{
    socket,
    sys::wire::{Request, SIGNAL},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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
    pub(crate) fn take(&self, wanted: usize) -> usize {
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
