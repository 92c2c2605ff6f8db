//! What the strict judge asks of the kernel: what it says of the flags of an open (open(2), openat2(2)), and who still lives.

use super::{Result, launch::adopt};
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

/// No descriptor: found out only after the flags were looked at.
const NOWHERE: i32 = -1;

/// The errno of flags that openat(2) refuses.
pub(crate) fn check(flags: i32) -> Result<()> {
    // SAFETY: the path is a constant.
    judged(unsafe { libc::syscall(libc::SYS_openat, NOWHERE, c".".as_ptr(), flags, 0) })
}

/// The errno of what openat2(2) refuses.
pub(crate) fn check_how(flags: u64, mode: u64, resolve: u64) -> Result<()> {
    // SAFETY: plain numbers.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    (how.flags, how.mode, how.resolve) = (flags, mode, resolve);
    // SAFETY: the path is a constant, the structure lives across the call and has the size given.
    judged(unsafe { libc::syscall(libc::SYS_openat2, NOWHERE, c".".as_ptr(), &raw const how, size_of_val(&how)) })
}

fn judged(result: libc::c_long) -> Result<()> {
    debug_assert!(result < 0);
    match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
        libc::EBADF => Ok(()),
        errno => Err(errno),
    }
}

/// A descriptor of the process with this number, readable when it has ended (pidfd_open(2)).
pub(crate) fn process(number: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
    if fd < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(adopt(fd as i32)) }
}

/// Kills it, if it still lives.
pub(crate) fn kill(process: BorrowedFd<'_>) {
    let nothing = ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor that lives across the call, and no pointer.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, nothing, 0) };
}
