//! Where a child waits for the rest of its program, which its parent is still preparing in the memory that both share.

use super::call;
use crate::program::Program;
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
    next: AtomicPtr<Program>,
}

impl Gate {
    pub(crate) fn new() -> nix::Result<Self> {
        let (waits, opens) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        Ok(Self { waits, opens, next: AtomicPtr::default() })
    }

    /// What the child needs of it.
    pub(crate) fn descriptors(&self) -> [RawFd; 2] {
        [self.waits.as_raw_fd(), self.opens.as_raw_fd()]
    }

    /// Lets the child go on with `program`; `wait` returns when the child has done with it.
    pub(crate) fn open<T>(&self, program: &mut Program, wait: impl FnOnce() -> T) -> io::Result<T> {
        self.next.store(ptr::from_mut(program), Ordering::Release);
        write(&self.opens, &[1])?;
        Ok(wait())
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
            // SAFETY: `open` borrows the program exclusively until the child has done with it.
            if let Some(program) = unsafe { self.next.load(Ordering::Acquire).as_mut() } {
                interpret(program);
            }
        }
    }
}
