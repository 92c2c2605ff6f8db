//! Where a child waits for the rest of its program, which its parent is still preparing in the memory that both share.

use super::{
    call,
    launch::{self, Started},
};
use crate::program::{Fault, Program};
use nix::unistd::{pipe2, write};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// Opened once, by the parent. A pipe, because its end also tells the child when its parent is gone.
#[derive(Debug)]
pub(crate) struct Gate {
    waits: OwnedFd,
    opens: OwnedFd,
    /// The rest, which the gate owns: what launches the child holds the gate as long as the child needs it.
    rest: AtomicPtr<Program>,
}

impl Gate {
    pub(crate) fn new() -> nix::Result<Self> {
        let (waits, opens) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        Ok(Self { waits, opens, rest: AtomicPtr::default() })
    }

    /// What the child needs of it.
    pub(crate) fn descriptors(&self) -> [RawFd; 2] {
        [self.waits.as_raw_fd(), self.opens.as_raw_fd()]
    }

    /// Starts `program`, whose last step waits here, as [`launch::launch`] does. Returns when the child has executed the last
    /// step of the rest or has ended, and where it failed if it did.
    pub(crate) fn launch(&self, mut program: Program, namespaces: u64) -> (io::Result<Started>, Option<Fault>) {
        let started = launch::launch(&mut program, namespaces);
        let rest = self.rest.load(Ordering::Acquire);
        // SAFETY: `open` left it to the child, which has done with it, and nobody else reads it.
        let fault = program.fault().or_else(|| unsafe { rest.as_ref() }.and_then(Program::fault));
        (started, fault)
    }

    /// Lets the child go on with `rest`. To be called once.
    pub(crate) fn open(&self, rest: Program) -> io::Result<()> {
        let before = self.rest.swap(Box::into_raw(Box::new(rest)), Ordering::Release);
        debug_assert!(before.is_null(), "a gate is opened once");
        write(&self.opens, &[1])?;
        Ok(())
    }

    /// Tells the child to end: there is nothing to go on with.
    pub(crate) fn close(&self) {
        if write(&self.opens, &[0]).is_err() {
            // It has ended already.
        }
    }

    /// Waits in the child and goes on with `interpret`; returns when there is nothing to go on with, or nobody to go on for.
    pub(crate) fn pass(&self, interpret: impl FnOnce(&mut Program)) {
        // Our copy would keep the end of the parent's from us.
        call::close(self.opens.as_raw_fd());
        if call::read_byte(self.waits.as_raw_fd()) {
            // SAFETY: `open` gave it to the child alone, and `launch` keeps the gate until the child has done with it.
            if let Some(rest) = unsafe { self.rest.load(Ordering::Acquire).as_mut() } {
                interpret(rest);
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let rest = self.rest.swap(ptr::null_mut(), Ordering::Acquire);
        if !rest.is_null() {
            // SAFETY: `open` took it out of a box, and no child is on its way: `launch` borrows the gate while one is.
            drop(unsafe { Box::from_raw(rest) });
        }
    }
}
