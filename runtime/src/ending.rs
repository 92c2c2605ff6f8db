//! How everything inside is ended from outside, at once and by whoever finds that it must be.

use crate::{socket, sys::opens};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// As [`Ending::end`]. Whoever is killed cannot be kept from ending by what it has to do or by what it lacks.
pub(crate) fn end(first: Option<BorrowedFd<'_>>, control: &OwnedFd) {
    if let Some(first) = first {
        opens::kill(first);
    }
    socket::hang_up(control);
}

/// The way to end everything inside.
#[derive(Debug)]
pub(crate) struct Ending {
    control: Arc<OwnedFd>,
    /// The pidfd of pid 1, without which the kernel lets nothing live (pid_namespaces(7)). Without a namespace there is none:
    /// then its supervisor ends what is inside when its socket is closed.
    first: Option<OwnedFd>,
}

impl Ending {
    pub(crate) fn new(control: Arc<OwnedFd>, first: Option<OwnedFd>) -> Self {
        Self { control, first }
    }

    /// Ends everything inside. What the caller does afterwards is not reported by pid 1 any more: it has been killed, while of
    /// its closed socket it would hear when it has time to.
    pub(crate) fn end(&self) {
        end(self.first.as_ref().map(OwnedFd::as_fd), &self.control);
    }

    /// The socket of pid 1 or who stands in for it.
    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }

    /// Whether there are namespaces whose end is everybody's in them.
    pub(crate) fn is_of_namespaces(&self) -> bool {
        self.first.is_some()
    }
}
