//! Starting a prepared program: `clone3` into new namespaces, sharing this process's memory until it executes something
//! else, with every signal blocked so that no handler of the embedding program runs in the child.

use super::clone::clone_with_entry;
use crate::program::{Program, interpret};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow, pthread_sigmask},
        wait::{Id, WaitPidFlag, waitid},
    },
};
use std::{
    cell::Cell,
    io, mem,
    os::fd::{AsFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// Bytes of stack for the interpreter, which neither recurses nor keeps large values.
const STACK: usize = 128 * 1024;

/// `CLONE_INTO_CGROUP`, which does not fit into the type that libc gives it.
const INTO_GROUP: u64 = 1 << 33;

/// A started process: how to wait for it and by what number the host knows it.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: i32,
}

impl Started {
    /// Waits until it has ended and takes it off the list, unless that has been done (waitid(2)).
    pub(crate) fn reap(&self) {
        while let Err(Errno::EINTR) = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {}
    }
}

/// Starts `program` in new namespaces (`CLONE_NEW*` bits). Returns when the child has executed its last step or has
/// ended with a failure, which then stands in the program. The cost does not depend on the caller's size, and other
/// threads go on meanwhile (clone(2), `CLONE_VM | CLONE_VFORK`).
pub(crate) fn launch(program: &mut Program, namespaces: u64) -> io::Result<Started> {
    let mut stack = STACK_BEFORE.take().map_or_else(Stack::new, Ok)?;
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain numbers.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = namespaces | (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.base() as u64;
    arguments.stack_size = STACK as u64;
    if let Some(group) = program.group {
        arguments.flags |= INTO_GROUP;
        arguments.cgroup = group as u64;
    }
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let data = ptr::from_mut(program).cast::<u8>();
    let start = |number: libc::c_long, arguments: [usize; 5]| {
        // SAFETY: the stack is ours and fresh; `run` neither returns, allocates, locks nor unwinds; program and stack live
        // until this call returns, which CLONE_VFORK delays until the child has done with them.
        unsafe { clone_with_entry(number as usize, arguments, run, data) }
    };
    let mut pid = start(libc::SYS_clone3, [(&raw const arguments) as usize, size_of::<libc::clone_args>(), 0, 0, 0]);
    if pid == -libc::ENOSYS as isize && arguments.flags & INTO_GROUP == 0 {
        // Containers answer so because their filters cannot read what `clone3` is asked for. Only that enters a group.
        let flags = (arguments.flags | arguments.exit_signal) as usize;
        let top = (arguments.stack + arguments.stack_size) as usize;
        pid = start(libc::SYS_clone, [flags, top, arguments.pidfd as usize, 0, 0]);
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    STACK_BEFORE.set(Some(stack));
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    // SAFETY: the kernel put a new descriptor there and nobody else knows it.
    Ok(Started { pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) }, pid: pid as i32 })
}

/// As [`launch`], from inside a running program: the child of a child. Returns the errno of a failed clone.
pub(crate) fn launch_nested(program: &mut Program) -> super::Result<()> {
    let top = (program.stack.as_mut_ptr() as usize + program.stack.capacity()) & !15;
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as usize;
    let data = ptr::from_mut(program).cast::<u8>();
    // SAFETY: as in `launch`; the stack is the program's own, and nothing else runs on it.
    let pid = unsafe { clone_with_entry(libc::SYS_clone as usize, [flags, top, 0, 0, 0], run, data) };
    program.pid = pid as i32;
    if pid < 0 { Err(-pid as i32) } else { Ok(()) }
}

/// Owns a descriptor that was just received over a socket.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the descriptor for this receiver; nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

unsafe extern "C" fn run(data: *mut u8) -> ! {
    // SAFETY: `launch` passes a live program that nobody else touches meanwhile.
    interpret(unsafe { &mut *data.cast::<Program>() })
}

thread_local! {
    /// That of the launch before, which its child has left: to unmap one interrupts every processor that runs a thread of ours.
    static STACK_BEFORE: Cell<Option<Stack>> = const { Cell::new(None) };
}

/// Memory for the child's stack with a guard page below.
struct Stack(*mut libc::c_void);

const GUARD: usize = 64 * 1024;

impl Stack {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: new memory at an address the kernel chooses.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), GUARD + STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(base);
        // SAFETY: the first pages of what was just mapped.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    fn base(&mut self) -> *mut u8 {
        self.0.cast::<u8>().wrapping_add(GUARD)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; the child has left it.
        unsafe { libc::munmap(self.0, GUARD + STACK) };
    }
}
