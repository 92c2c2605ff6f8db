//! A prepared program: everything a new sandbox needs, decided and allocated before the process exists, as a list of
//! steps that the child walks. The child does nothing else, so it can share the memory of a threaded parent.

mod run;
mod step;

pub(crate) use crate::sys::arguments::Arguments;
pub(crate) use run::interpret;
pub(crate) use step::{Descriptor, Root, Slot, Step};

use crate::{
    error::{Error, Result},
    sys::launch,
};
use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Descriptors that steps open and later steps use.
pub(crate) const SLOTS: usize = 8;

/// Descriptors that a program passes on are moved to this number or above, away from where it places them.
pub(crate) const LIFTED: RawFd = 64;

/// Bytes of stack for the interpreter of a program that another one starts.
const STACK: usize = 48 * 1024;

/// Steps with the descriptors they use.
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// Filled by the child, mostly with descriptors.
    pub(crate) slots: [RawFd; SLOTS],
    /// The control group of version 2 in which the process begins.
    pub(crate) group: Option<RawFd>,
    /// Written by the child when a step fails.
    pub(crate) failure: Option<Failure>,
    /// Of a [nested](Self::nested) one: its process, by the number it has inside.
    pub(crate) pid: i32,
    /// Of a nested one: where its interpreter runs.
    pub(crate) stack: Vec<u8>,
    /// Keeps descriptors open that steps name by number.
    _held: Vec<OwnedFd>,
}

/// A copy of a descriptor numbered `above` or more, away from where a program places its own.
pub(crate) fn lift(fd: BorrowedFd<'_>, above: RawFd) -> Result<OwnedFd> {
    let lifted = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(above)).map_err(Error::errno("move a descriptor"))?;
    Ok(launch::adopt(lifted))
}

/// Which step failed, and the errno.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) errno: i32,
}

/// A failure as the caller needs it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What could not be done.
    pub(crate) step: String,
    pub(crate) errno: i32,
    /// Nothing of the host had been touched yet.
    pub(crate) early: bool,
}

impl Program {
    /// Where it failed, if it did.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let Failure { step, errno } = self.failure?;
        let early = !self.steps.iter().take(step + 1).any(|step| matches!(step, Step::CloneMount { .. }));
        let step = self.steps.get(step).map(ToString::to_string).unwrap_or_default();
        Some(Fault { step, errno, early })
    }

    pub(crate) fn new(steps: Vec<Step>, held: Vec<OwnedFd>) -> Self {
        Self { steps, slots: [-1; SLOTS], group: None, failure: None, pid: 0, stack: Vec::new(), _held: held }
    }

    /// One that a step of another starts.
    pub(crate) fn nested(steps: Vec<Step>) -> Box<Self> {
        let stack = Vec::with_capacity(STACK);
        Box::new(Self { stack, ..Self::new(steps, Vec::new()) })
    }
}
