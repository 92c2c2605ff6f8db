//! The listener of a seccomp program that holds calls (seccomp_unotify(2)): taking them up and answering them.

use super::Result;
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// Programs that hold calls, by what they trap: exec 1, open 2, modes 4 (`build/syscalls.rs`, `build/restricted.rs`).
pub(crate) const TRAPS: [&[u8]; 8] = [
    &[],
    include_bytes!(concat!(env!("OUT_DIR"), "/trap1.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap2.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap3.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap4.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap5.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap6.bpf")),
    include_bytes!(concat!(env!("OUT_DIR"), "/trap7.bpf")),
];

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Names the wait in every answer; never used again.
    pub(crate) id: u64,
    /// The calling thread's number on the host.
    pub(crate) thread: i32,
    /// The system call.
    pub(crate) number: i64,
    /// Where the caller's code stands.
    pub(crate) instruction: u64,
    pub(crate) arguments: [u64; 6],
}

fn ioctl<T>(listener: BorrowedFd<'_>, request: libc::Ioctl, argument: *mut T) -> Result<i32> {
    // SAFETY: every caller passes the structure that the request reads and writes.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// Lets a caller run at once when it is answered, on the processor of whoever answers (Linux 6.6; five times cheaper).
/// Without it everything works, only slower.
pub(crate) fn wake_in_place(listener: BorrowedFd<'_>) -> Result<()> {
    const SYNC_WAKE_UP: usize = 1;
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, ptr::without_provenance_mut::<u8>(SYNC_WAKE_UP)).map(drop)
}

/// Takes up the next call. `ENOENT` when its caller has just been killed.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Held> {
    // SAFETY: plain numbers; the kernel wants them zeroed.
    let mut taken: libc::seccomp_notif = unsafe { mem::zeroed() };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut taken)?;
    let data = taken.data;
    Ok(Held {
        id: taken.id,
        thread: taken.pid as i32,
        number: data.nr.into(),
        instruction: data.instruction_pointer,
        arguments: data.args,
    })
}

/// Whether the caller still waits: then what was read of it was its own.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id).is_ok()
}

/// Lets the kernel carry out the call with what its arguments point at by then.
pub(crate) fn proceed(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    respond(
        listener,
        libc::seccomp_notif_resp { id, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
    )
}

/// Answers the call with 0.
pub(crate) fn succeed(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 })
}

/// Fails the call with an errno.
pub(crate) fn refuse(listener: BorrowedFd<'_>, id: u64, errno: i32) -> Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 })
}

/// Answers the call with a value.
pub(crate) fn return_value(listener: BorrowedFd<'_>, id: u64, value: i64) -> Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val: value, error: 0, flags: 0 })
}

fn respond(listener: BorrowedFd<'_>, mut answer: libc::seccomp_notif_resp) -> Result<()> {
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer).map(drop)
}

/// Puts a copy of `fd` into the caller and answers the call with its number there, both at once (Linux 5.14).
#[allow(dead_code, reason = "who judges opens uses it")]
pub(crate) fn answer_with(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<()> {
    give(listener, id, fd, close_on_exec, libc::SECCOMP_ADDFD_FLAG_SEND as u32).map(drop)
}

/// Only puts it there; the number. The call waits on.
pub(crate) fn place(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<i32> {
    give(listener, id, fd, close_on_exec, 0)
}

fn give(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool, flags: u32) -> Result<i32> {
    let mut given = libc::seccomp_notif_addfd {
        id,
        flags,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut given)
}

/// Whether a thread is the first of its process, whose number is the process's.
pub(crate) fn leads(thread: i32) -> bool {
    // SAFETY: plain numbers; signal 0 is only a question (tgkill(2)).
    unsafe { libc::syscall(libc::SYS_tgkill, thread, thread, 0) == 0 }
}

/// Whether two threads are known to have one table of descriptors (kcmp(2)); not every kernel tells.
pub(crate) fn share_files(one: i32, other: i32) -> bool {
    const KCMP_FILES: i32 = 2;
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0 }
}

/// A descriptor of a process (pidfd_open(2)).
pub(crate) fn open_process(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers; the result is a new descriptor that nobody else knows.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd as i32)),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }
}

/// Kills a process by its descriptor.
pub(crate) fn kill(process: &OwnedFd) -> Result<()> {
    let nothing = ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor that lives, a signal and no further information.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, nothing, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}
