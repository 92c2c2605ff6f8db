//! The system calls with which the opener finds, opens and renames files.

use crate::syscall::{Result, call};
use core::{ffi::CStr, mem};

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod number {
    pub(super) const FCNTL: usize = 72; pub(super) const UMASK: usize = 95; pub(super) const FSTATFS: usize = 138;
    pub(super) const LINKAT: usize = 265; pub(super) const READLINKAT: usize = 267; pub(super) const FCHMODAT: usize = 268;
    pub(super) const GETPID: usize = 39; pub(super) const RENAMEAT2: usize = 316; pub(super) const UNLINKAT: usize = 263; pub(super) const NEWFSTATAT: usize = 262;
}
#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
mod number {
    pub(super) const FCNTL: usize = 25; pub(super) const UMASK: usize = 166; pub(super) const FSTATFS: usize = 44;
    pub(super) const LINKAT: usize = 37; pub(super) const READLINKAT: usize = 78; pub(super) const FCHMODAT: usize = 53;
    pub(super) const GETPID: usize = 172; pub(super) const RENAMEAT2: usize = 276; pub(super) const UNLINKAT: usize = 35; pub(super) const NEWFSTATAT: usize = 79;
}
const OPENAT2: usize = 437;

pub(crate) const O_CREAT: u64 = 0o100;
pub(crate) const O_EXCL: u64 = 0o200;
pub(crate) const O_NOCTTY: u64 = 0o400;
pub(crate) const O_TRUNC: u64 = 0o1000;
pub(crate) const O_NONBLOCK: u64 = 0o4000;
pub(crate) const O_CLOEXEC: u64 = 0o2000000;
pub(crate) const O_PATH: u64 = 0o10000000;
/// The bit that tells `O_TMPFILE` from `O_DIRECTORY`, which it contains.
pub(crate) const TMPFILE: u64 = 0o20000000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: u64 = 0o200000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_NOFOLLOW: u64 = 0o400000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: u64 = 0o40000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_NOFOLLOW: u64 = 0o100000;

pub(crate) const NO_MAGICLINKS: u64 = 0x02;
pub(crate) const NO_SYMLINKS: u64 = 0x04;

pub(crate) const ENOENT: i32 = 2;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENOTDIR: i32 = 20;
pub(crate) const EISDIR: i32 = 21;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENAMETOOLONG: i32 = 36;
pub(crate) const ENOSYS: i32 = 38;
pub(crate) const ELOOP: i32 = 40;

pub(crate) const KIND: u32 = 0o170000;
pub(crate) const DIRECTORY: u32 = 0o040000;
pub(crate) const REGULAR: u32 = 0o100000;
pub(crate) const SYMLINK: u32 = 0o120000;

/// No descriptor; also the start of an absolute path.
pub(crate) const NONE: i32 = -1;
const AT_FDCWD: usize = -100_isize as usize;

/// What stat(2) says of an open place.
#[derive(Clone, Copy, Default)]
pub(crate) struct Status {
    pub(crate) mode: u32,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Status {
    pub(crate) fn kind(&self) -> u32 {
        self.mode & KIND
    }
}

/// `openat2(2)`.
pub(crate) fn open(directory: i32, path: &CStr, flags: u64, mode: u64, resolve: u64) -> Result<i32> {
    let how = [flags, mode, resolve];
    let directory = if directory == NONE { AT_FDCWD } else { directory as usize };
    call(OPENAT2, [directory, path.as_ptr() as usize, how.as_ptr() as usize, mem::size_of_val(&how), 0, 0])
        .map(|fd| fd as i32)
}

pub(crate) fn status(fd: i32) -> Result<Status> {
    const EMPTY_PATH: usize = 0x1000;
    let mut words = [0u64; 32];
    call(number::NEWFSTATAT, [fd as usize, c"".as_ptr() as usize, words.as_mut_ptr() as usize, EMPTY_PATH, 0, 0])?;
    let (device, inode) = (words[0], words[1]);
    // After dev and ino stands nlink, of 64 bits, and then mode on x86_64; mode at once elsewhere.
    let mode = words[if cfg!(target_arch = "x86_64") { 3 } else { 2 }] as u32;
    Ok(Status { mode, device, inode })
}

/// Whether an open place lies on procfs.
pub(crate) fn is_proc(fd: i32) -> bool {
    let mut words = [0u64; 15];
    call(number::FSTATFS, [fd as usize, words.as_mut_ptr() as usize, 0, 0, 0, 0]).is_ok() && words[0] == 0x9fa0
}

/// The text of an open symbolic link; its length.
pub(crate) fn read_link(fd: i32, text: &mut [u8]) -> Result<usize> {
    call(number::READLINKAT, [fd as usize, c"".as_ptr() as usize, text.as_mut_ptr() as usize, text.len(), 0, 0])
}

/// The path of an open place; its length.
pub(crate) fn path_of(place: i32, text: &mut [u8]) -> Result<usize> {
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
    decimal(place as usize, &mut link[14..]);
    let link = CStr::from_bytes_until_nul(&link).map_err(|_| EINVAL)?;
    call(number::READLINKAT, [AT_FDCWD, link.as_ptr() as usize, text.as_mut_ptr() as usize, text.len(), 0, 0])
}

/// Writes a number; returns how many digits it has.
pub(crate) fn decimal(number: usize, text: &mut [u8]) -> usize {
    let mut digits = [0; 20];
    let (mut rest, mut count) = (number, 0);
    loop {
        digits[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    for index in 0..count {
        text[index] = digits[count - 1 - index];
    }
    count
}

pub(crate) fn set_umask(mask: u32) {
    // umask(2) cannot fail.
    if call(number::UMASK, [mask as usize, 0, 0, 0, 0, 0]).is_err() {}
}

/// Sets the flags that can change while a file is open.
pub(crate) fn set_flags(fd: i32, flags: u64) -> Result<usize> {
    const SETFL: usize = 4;
    call(number::FCNTL, [fd as usize, SETFL, flags as usize, 0, 0, 0])
}

pub(crate) fn rename(from: (i32, &CStr), to: (i32, &CStr), flags: u64) -> Result<usize> {
    call(number::RENAMEAT2, [from.0 as usize, from.1.as_ptr() as usize, to.0 as usize, to.1.as_ptr() as usize, flags as usize, 0])
}

/// Gives what the descriptor's name `from` in `/proc/self/fd` stands for another name.
pub(crate) fn link(from: (i32, &CStr), to: (i32, &CStr)) -> Result<usize> {
    const FOLLOW: usize = 0x400;
    call(number::LINKAT, [from.0 as usize, from.1.as_ptr() as usize, to.0 as usize, to.1.as_ptr() as usize, FOLLOW, 0])
}

pub(crate) fn unlink(directory: i32, name: &CStr, flags: u64) -> Result<usize> {
    call(number::UNLINKAT, [directory as usize, name.as_ptr() as usize, flags as usize, 0, 0, 0])
}

pub(crate) fn change_mode(directory: i32, name: &CStr, mode: u64) -> Result<usize> {
    call(number::FCHMODAT, [directory as usize, name.as_ptr() as usize, mode as usize, 0, 0, 0])
}

pub(crate) fn process() -> i32 {
    call(number::GETPID, [0; 6]).map_or(0, |process| process as i32)
}
