//! System calls of the resident program, with the few structures they need. Results are the value or the errno.

use crate::{restricted, wire::RESERVED};
use core::{arch::asm, ffi::CStr, mem, ptr};

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod number {
    pub(super) const CLOSE: usize = 3; pub(super) const MMAP: usize = 9; pub(super) const MUNMAP: usize = 11;
    pub(super) const SIGACTION: usize = 13; pub(super) const SIGPROCMASK: usize = 14; pub(super) const IOCTL: usize = 16;
    pub(super) const SENDMSG: usize = 46; pub(super) const RECVMSG: usize = 47; pub(crate) const CLONE: usize = 56;
    pub(super) const EXECVE: usize = 59; pub(super) const WAIT4: usize = 61; pub(super) const KILL: usize = 62;
    pub(super) const FLOCK: usize = 73; pub(super) const CHDIR: usize = 80; pub(super) const SETSID: usize = 112;
    pub(super) const PRCTL: usize = 157; pub(super) const EXIT_GROUP: usize = 231; pub(super) const OPENAT: usize = 257;
    pub(super) const UNLINKAT: usize = 263; pub(super) const PPOLL: usize = 271; pub(super) const SIGNALFD4: usize = 289;
    pub(super) const GETPPID: usize = 110; pub(super) const FCNTL: usize = 72;
    pub(super) const DUP3: usize = 292; pub(super) const READ: usize = 0; pub(super) const NEWFSTATAT: usize = 262;
    pub(super) const SECCOMP: usize = 317; pub(super) const READLINKAT: usize = 267;
    pub(super) const PRLIMIT64: usize = 302; pub(super) const PREAD64: usize = 17; pub(super) const MADVISE: usize = 28;
}
#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
mod number {
    pub(super) const CLOSE: usize = 57; pub(super) const MMAP: usize = 222; pub(super) const MUNMAP: usize = 215;
    pub(super) const SIGACTION: usize = 134; pub(super) const SIGPROCMASK: usize = 135; pub(super) const IOCTL: usize = 29;
    pub(super) const SENDMSG: usize = 211; pub(super) const RECVMSG: usize = 212; pub(crate) const CLONE: usize = 220;
    pub(super) const EXECVE: usize = 221; pub(super) const WAIT4: usize = 260; pub(super) const KILL: usize = 129;
    pub(super) const FLOCK: usize = 32; pub(super) const CHDIR: usize = 49; pub(super) const SETSID: usize = 157;
    pub(super) const PRCTL: usize = 167; pub(super) const EXIT_GROUP: usize = 94; pub(super) const OPENAT: usize = 56;
    pub(super) const UNLINKAT: usize = 35; pub(super) const PPOLL: usize = 73; pub(super) const SIGNALFD4: usize = 74;
    pub(super) const GETPPID: usize = 173; pub(super) const FCNTL: usize = 25;
    pub(super) const DUP3: usize = 24; pub(super) const READ: usize = 63; pub(super) const NEWFSTATAT: usize = 79;
    pub(super) const SECCOMP: usize = 277; pub(super) const READLINKAT: usize = 78;
    pub(super) const PRLIMIT64: usize = 261; pub(super) const PREAD64: usize = 67; pub(super) const MADVISE: usize = 233;
}
pub(crate) use number::CLONE;
// The newer calls have one number on every architecture.
const OPEN_TREE: usize = 428;
const MOVE_MOUNT: usize = 429;
const PIDFD_OPEN: usize = 434;
const CLOSE_RANGE: usize = 436;
const OPENAT2: usize = 437;
const MOUNT_SETATTR: usize = 442;
const LANDLOCK_RESTRICT_SELF: usize = 446;

pub(crate) const O_CLOEXEC: usize = 0o2000000;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_NOCTTY: usize = 0o400;
const O_PATH: u64 = 0o10000000;
#[cfg(target_arch = "x86_64")]
const O_NOFOLLOW: u64 = 0o400000;
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: u64 = 0o100000;
const AT_FDCWD: usize = -100_isize as usize;
const AT_EMPTY_PATH: usize = 0x1000;
const OPEN_TREE_CLONE: usize = 1;

pub(crate) type Result<T> = core::result::Result<T, i32>;

pub(crate) fn call(number: usize, arguments: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every wrapper below passes pointers to live memory of the size the call expects.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f);
    }
    if result < 0 { Err(-result as i32) } else { Ok(result as usize) }
}

/// The program's arguments as the kernel left them.
pub(crate) struct Arguments {
    count: usize,
    first: *const *const u8,
}

impl Arguments {
    /// # Safety
    /// `first` points at `count` pointers to NUL-terminated strings that live for ever.
    pub(crate) unsafe fn new(count: usize, first: *const *const u8) -> Self {
        Self { count, first }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&'static [u8]> {
        (index < self.count).then(|| {
            // SAFETY: promised to `new`.
            unsafe { CStr::from_ptr((*self.first.add(index)).cast()).to_bytes() }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        if call(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]).is_err() {
            core::hint::spin_loop();
        }
    }
}

pub(crate) fn set_not_dumpable() {
    if call(number::PRCTL, [4, 0, 0, 0, 0, 0]).is_err() {
        exit(71);
    }
}

pub(crate) fn close(fd: i32) {
    // The descriptor is gone whatever close(2) answers.
    if call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]).is_err() {}
}

/// Closes every descriptor but standard input, output and error.
pub(crate) fn close_others() -> Result<usize> {
    close_from(3)
}

pub(crate) fn close_from(first: i32) -> Result<usize> {
    call(CLOSE_RANGE, [first as usize, u32::MAX as usize, 0, 0, 0, 0])
}

pub(crate) fn duplicate(from: i32, to: i32) -> Result<usize> {
    call(number::DUP3, [from as usize, to as usize, 0, 0, 0, 0])
}

/// A copy of a descriptor above those of standard streams.
pub(crate) fn duplicate_away(from: i32) -> Result<i32> {
    call(number::FCNTL, [from as usize, 1030 /* F_DUPFD_CLOEXEC */, 3, 0, 0, 0]).map(|fd| fd as i32)
}

pub(crate) fn open(path: &CStr, flags: usize) -> Result<i32> {
    call(number::OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags, 0, 0, 0]).map(|fd| fd as i32)
}

pub(crate) fn ioctl(fd: i32, request: usize, argument: usize) -> Result<usize> {
    call(number::IOCTL, [fd as usize, request, argument, 0, 0, 0])
}

pub(crate) fn setsid() -> Result<usize> {
    call(number::SETSID, [0; 6])
}

pub(crate) fn chdir(path: &CStr) -> Result<usize> {
    call(number::CHDIR, [path.as_ptr() as usize, 0, 0, 0, 0, 0])
}

pub(crate) fn execute(program: &CStr, arguments: *const *const u8, variables: *const *const u8) -> i32 {
    match call(number::EXECVE, [program.as_ptr() as usize, arguments as usize, variables as usize, 0, 0, 0]) {
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

/// Sets soft and hard limit of a resource, lowering only: a hard limit below `value` stays.
pub(crate) fn limit(resource: usize, value: u64) -> Result<usize> {
    let mut now = [0u64; 2];
    call(number::PRLIMIT64, [0, resource, 0, now.as_mut_ptr() as usize, 0, 0])?;
    let new = match resource {
        // Of processor time the signal at the soft limit says which limit it was; the hard one ends who does not listen.
        0 => [value.min(now[0]), value.saturating_add(1).min(now[1])],
        _ => [value.min(now[1]); 2],
    };
    call(number::PRLIMIT64, [0, resource, new.as_ptr() as usize, 0, 0, 0])
}

/// Puts the caller, and all it starts, under one more ruleset.
pub(crate) fn restrict(ruleset: i32) -> Result<usize> {
    call(LANDLOCK_RESTRICT_SELF, [ruleset as usize, 0, 0, 0, 0, 0])
}

pub(crate) fn kill(pid: i32, signal: i32) -> Result<usize> {
    call(number::KILL, [pid as usize, signal as usize, 0, 0, 0, 0])
}

/// The next child that ended, if any: its pid and wait status.
pub(crate) fn reap() -> Option<(i32, i32)> {
    let mut status = 0i32;
    match wait_now(&mut status) {
        Ok(pid) if pid > 0 => Some((pid, status)),
        _ => None,
    }
}

/// Reaps every child that ended. True when none is left.
pub(crate) fn reap_all() -> bool {
    loop {
        match wait_now(&mut 0) {
            Ok(pid) if pid > 0 => {}
            other => return other == Err(10 /* ECHILD */),
        }
    }
}

/// 0 when no child has ended.
fn wait_now(status: &mut i32) -> Result<i32> {
    call(number::WAIT4, [usize::MAX, core::ptr::from_mut(status) as usize, 1 /* WNOHANG */, 0, 0, 0]).map(|pid| pid as i32)
}

pub(crate) fn open_pidfd(pid: i32) -> Result<i32> {
    call(PIDFD_OPEN, [pid as usize, 0, 0, 0, 0, 0]).map(|fd| fd as i32)
}

/// Maps `length` bytes of `fd` privately, or zeroed memory when `fd` is -1.
pub(crate) fn map(fd: i32, length: usize) -> Result<*mut u8> {
    let flags = if fd < 0 { 0x22 } else { 0x02 };
    call(number::MMAP, [0, length, 3, flags, fd as usize, 0]).map(|address| address as *mut u8)
}

pub(crate) fn unmap(address: *mut u8, length: usize) {
    if call(number::MUNMAP, [address as usize, length, 0, 0, 0, 0]).is_err() {}
}

/// Reads up to `length` bytes of `fd` from `from` on.
pub(crate) fn read_at(fd: i32, to: *mut u8, length: usize, from: usize) -> Result<usize> {
    call(number::PREAD64, [fd as usize, to as usize, length, from, 0, 0])
}

/// Gives the content of mapped memory back: it reads as zero from here on (MADV_DONTNEED).
pub(crate) fn forget(address: *mut u8, length: usize) {
    if call(number::MADVISE, [address as usize, length, 4, 0, 0, 0]).is_err() {}
}

/// Installs a filter of `length` bytes that has a listener, and returns that. Once a call has been taken up by the
/// supervisor, only a fatal signal ends its wait (Linux 5.19), so that no call is judged twice.
pub(crate) fn install_trap(program: *mut u8, length: usize) -> Result<i32> {
    #[repr(C)]
    struct Program {
        instructions: u16,
        first: *mut u8,
    }
    const SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: usize = 1 << 3;
    const WAIT_KILLABLE_RECV: usize = 1 << 5;
    let program = Program { instructions: (length / 8) as u16, first: program };
    let install = |flags| call(number::SECCOMP, [SET_MODE_FILTER, flags, &raw const program as usize, 0, 0, 0]);
    match install(NEW_LISTENER | WAIT_KILLABLE_RECV) {
        Err(22 /* EINVAL */) => install(NEW_LISTENER),
        done => done,
    }
    .map(|fd| fd as i32)
}

const ALL: u64 = u64::MAX;

pub(crate) fn block_signals() {
    mask(ALL);
}

pub(crate) fn unblock_signals() {
    mask(0);
}

fn mask(set: u64) {
    if call(number::SIGPROCMASK, [2 /* SIG_SETMASK */, &raw const set as usize, 0, 8, 0, 0]).is_err() {}
}

/// Gives every signal its default action: what the embedding process ignored would otherwise stay ignored.
pub(crate) fn default_actions() {
    let default = [0usize; 4];
    for signal in 1..65 {
        // SIGKILL and SIGSTOP answer EINVAL.
        if call(number::SIGACTION, [signal, default.as_ptr() as usize, 0, 8, 0, 0]).is_err() {}
    }
}

/// Makes every orphan below this process its child (PR_SET_CHILD_SUBREAPER in prctl(2)).
pub(crate) fn adopt_orphans() -> Result<usize> {
    call(number::PRCTL, [36, 1, 0, 0, 0, 0])
}

pub(crate) fn parent() -> i32 {
    call(number::GETPPID, [0; 6]).unwrap_or(0) as i32
}

/// Waits until a child has ended. False when there is none.
pub(crate) fn reap_waiting() -> bool {
    loop {
        match call(number::WAIT4, [usize::MAX, 0, 0, 0, 0, 0]) {
            Ok(_) => return true,
            Err(4 /* EINTR */) => {}
            Err(_) => return false,
        }
    }
}

/// Children vanish when they end.
pub(crate) fn ignore_children() {
    let ignore = [1usize, 0, 0, 0];
    if call(number::SIGACTION, [17, ignore.as_ptr() as usize, 0, 8, 0, 0]).is_err() {}
}

/// A descriptor that becomes readable when a child ends.
pub(crate) fn child_signals() -> Result<i32> {
    let set: u64 = 1 << (17 - 1);
    call(number::SIGNALFD4, [usize::MAX, &raw const set as usize, 8, O_CLOEXEC | 0o4000, 0, 0]).map(|fd| fd as i32)
}

/// Empties a descriptor opened non-blocking.
pub(crate) fn drain(fd: i32) {
    let mut buffer = [0u8; 1280];
    while matches!(call(number::READ, [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]), Ok(n) if n > 0) {}
}

/// Blocks until each descriptor in `fds` was asked; true where something is to be read or the other side is gone.
pub(crate) fn wait_readable<const N: usize>(fds: [i32; N]) -> [bool; N] {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Poll {
        fd: i32,
        events: i16,
        returned: i16,
    }
    let mut polls = fds.map(|fd| Poll { fd, events: 1, returned: 0 });
    // Neither interrupted nor short of memory: who waits like that would do so for ever, and hear of nothing.
    while let Err(errno) = call(number::PPOLL, [polls.as_mut_ptr() as usize, N, 0, 0, 8, 0]) {
        if errno != 4 /* EINTR */ && errno != 12 /* ENOMEM */ {
            restricted::end(71);
        }
    }
    polls.map(|poll| poll.returned != 0)
}

/// Does nothing for so many milliseconds.
pub(crate) fn pause(milliseconds: i64) {
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    if call(number::PPOLL, [0, 0, time.as_ptr() as usize, 0, 8, 0]).is_err() {}
}

#[repr(C)]
struct Vector {
    base: *mut u8,
    length: usize,
}

#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    vectors: *mut Vector,
    count: usize,
    control: *mut u8,
    control_length: usize,
    flags: i32,
}

/// Room for a control message with eight descriptors.
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; 8],
}

/// Receives one packet; returns its length and how many descriptors came with it.
pub(crate) fn receive(socket: i32, buffer: &mut [u8], fds: &mut [i32; 8]) -> Result<(usize, usize)> {
    let mut vector = Vector { base: buffer.as_mut_ptr(), length: buffer.len() };
    let mut control = Control { length: 0, level: 0, kind: 0, fds: [-1; 8] };
    let mut message = Message {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        count: 1,
        control: (&raw mut control).cast(),
        control_length: mem::size_of::<Control>(),
        flags: 0,
    };
    let length = call(number::RECVMSG, [socket as usize, &raw mut message as usize, 0x4000_0000 /* CMSG_CLOEXEC */, 0, 0, 0])?;
    let received = if message.control_length >= 20 && control.level == 1 && control.kind == 1 {
        (control.length - 16) / 4
    } else {
        0
    };
    fds[..received].copy_from_slice(&control.fds[..received]);
    Ok((length, received))
}

/// Sends `value` as one packet with `fds`. A receiver that has gone is not an error.
pub(crate) fn send<T: Copy>(socket: i32, value: &T, fds: &[i32]) {
    let mut vector = Vector { base: ptr::from_ref(value).cast_mut().cast(), length: mem::size_of::<T>() };
    let mut control = Control { length: 16 + fds.len() * 4, level: 1, kind: 1, fds: [-1; 8] };
    control.fds[..fds.len()].copy_from_slice(fds);
    let message = Message {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        count: 1,
        control: if fds.is_empty() { ptr::null_mut() } else { (&raw mut control).cast() },
        control_length: if fds.is_empty() { 0 } else { (control.length + 7) & !7 },
        flags: 0,
    };
    if call(number::SENDMSG, [socket as usize, &raw const message as usize, 0x4000 /* NOSIGNAL */, 0, 0, 0]).is_err() {}
}

/// Opens `path` (absolute) without following any link. Only a place, not the contents.
pub(crate) fn open_place(path: &CStr) -> Result<i32> {
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    // RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
    let how = How { flags: O_PATH | O_NOFOLLOW | O_CLOEXEC as u64, mode: 0, resolve: 0x02 | 0x04 };
    call(OPENAT2, [AT_FDCWD, path.as_ptr() as usize, &raw const how as usize, mem::size_of::<How>(), 0, 0]).map(|fd| fd as i32)
}

/// Which word of `struct stat` is `st_mode`: after dev, ino and nlink on x86_64, after dev and ino elsewhere.
const MODE: usize = if cfg!(target_arch = "x86_64") { 6 } else { 4 };

/// The type bits of an open place.
pub(crate) fn kind(fd: i32) -> Result<u32> {
    let mut status = [0u32; 64];
    call(number::NEWFSTATAT, [fd as usize, c"".as_ptr() as usize, status.as_mut_ptr() as usize, AT_EMPTY_PATH, 0, 0])?;
    Ok(status[MODE] & 0o170000)
}

/// A detached copy of the mount at `path` below `fd`.
pub(crate) fn clone_mount(fd: i32, path: &CStr) -> Result<i32> {
    let flags = OPEN_TREE_CLONE | O_CLOEXEC | if path.is_empty() { AT_EMPTY_PATH } else { 0 };
    call(OPEN_TREE, [fd as usize, path.as_ptr() as usize, flags, 0, 0, 0]).map(|fd| fd as i32)
}

pub(crate) fn make_read_only(mount: i32) -> Result<usize> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = Attributes { set: 1, clear: 0, propagation: 0, user_namespace: 0 };
    call(MOUNT_SETATTR, [mount as usize, c"".as_ptr() as usize, AT_EMPTY_PATH, &raw const attributes as usize, mem::size_of::<Attributes>(), 0])
}

/// Attaches a detached mount on an open place.
pub(crate) fn attach(mount: i32, place: i32) -> Result<usize> {
    // MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    let empty = c"".as_ptr() as usize;
    call(MOVE_MOUNT, [mount as usize, empty, place as usize, empty, 0x04 | 0x40, 0])
}

/// Whether `name` in `directory` carries the mark of a reservation: a socket or file, sticky, writable by nobody, or the link.
pub(crate) fn is_reservation(directory: i32, name: *const u8) -> bool {
    const NO_FOLLOW: usize = 0x100;
    let mut status = [0u32; 64];
    let found = call(number::NEWFSTATAT, [directory as usize, name as usize, status.as_mut_ptr() as usize, NO_FOLLOW, 0, 0]);
    let mode = status[MODE];
    found.is_ok()
        && match mode & 0o170000 {
            0o140000 | 0o100000 => mode & 0o7222 == 0o1000,
            0o120000 => leads_nowhere(directory, name),
            _ => false,
        }
}

fn leads_nowhere(directory: i32, link: *const u8) -> bool {
    let mut text = [0u8; RESERVED.len() + 1];
    let arguments = [directory as usize, link as usize, text.as_mut_ptr() as usize, text.len(), 0, 0];
    call(number::READLINKAT, arguments).is_ok_and(|length| &text[..length] == RESERVED)
}

/// True when nobody else holds a lock on the directory.
pub(crate) fn lock_alone(fd: i32) -> bool {
    call(number::FLOCK, [fd as usize, 2 | 4, 0, 0, 0, 0]).is_ok()
}

/// Removes a control group. Its last process is counted out a moment after it has ended.
pub(crate) fn remove_group(directory: i32, name: *const u8) {
    const REMOVE_DIRECTORY: usize = 0x200;
    const BUSY: i32 = 16;
    for _ in 0..2000 {
        if call(number::UNLINKAT, [directory as usize, name as usize, REMOVE_DIRECTORY, 0, 0, 0]) != Err(BUSY) {
            break;
        }
        wait_millisecond();
    }
}

fn wait_millisecond() {
    let time = [0usize, 1_000_000];
    if call(number::PPOLL, [0, 0, time.as_ptr() as usize, 0, 8, 0]).is_err() {}
}

pub(crate) fn remove(directory: i32, name: *const u8) {
    // Gone meanwhile: somebody's choice, not ours to undo.
    if call(number::UNLINKAT, [directory as usize, name as usize, 0, 0, 0, 0]).is_err() {}
}
