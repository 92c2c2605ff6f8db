//! The held calls that name files, as their arguments say it (open(2), openat2(2), rename(2), link(2), unlink(2), chmod(2)).

use crate::{notify::Target, sys::notify::Held};
use libc::{AT_FDCWD, c_long};

/// A path in the caller's memory, and the directory it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) directory: i32,
    pub(super) address: u64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open {
        name: Name,
        flags: u64,
        mode: u64,
        resolve: u64,
    },
    /// Only names a file, by flags that stand in registers. Nothing is read through the descriptor: whoever opens what it
    /// names is held again. The kernel hands over no such descriptor of ours, so the caller gets its own.
    Name,
    Rename {
        from: Name,
        to: Name,
        flags: u64,
    },
    Link {
        from: Name,
        to: Name,
        flags: i32,
    },
    Unlink {
        name: Name,
        flags: u64,
    },
    Chmod {
        name: Name,
        mode: u64,
        flags: i32,
    },
}

/// The flags that open(2) knows; it ignores all others, and openat2(2) refuses them.
const KNOWN: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH
    | libc::O_TMPFILE;
/// Files beyond two gibibytes: every 64-bit caller can open them without asking (its libc constant is 0).
const LARGE: u64 = if cfg!(target_arch = "aarch64") { 0o400000 } else { 0o100000 };
const TMPFILE: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;
const FCHMODAT2: c_long = 452;

/// The calls that are judged; `build/syscalls.rs` has them held.
pub(super) const NUMBERS: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

impl Call {
    /// The errno is the kernel's, for arguments that mean nothing.
    pub(super) fn of(held: &Held, target: Target) -> Result<Call, i32> {
        let [a, b, c, d, e, _] = held.arguments;
        let at = |directory: u64, address: u64| Name { directory: directory as i32, address };
        let here = |address: u64| Name { directory: AT_FDCWD, address };
        match held.number {
            libc::SYS_openat => open(at(a, b), c as i32, d),
            libc::SYS_openat2 => open_how(at(a, b), target, c, d),
            libc::SYS_renameat2 => Ok(Call::Rename { from: at(a, b), to: at(c, d), flags: e & 0xffff_ffff }),
            libc::SYS_renameat => Ok(Call::Rename { from: at(a, b), to: at(c, d), flags: 0 }),
            libc::SYS_linkat => Ok(Call::Link { from: at(a, b), to: at(c, d), flags: e as i32 }),
            libc::SYS_unlinkat => Ok(Call::Unlink { name: at(a, b), flags: c & 0xffff_ffff }),
            libc::SYS_fchmodat => Ok(Call::Chmod { name: at(a, b), mode: c, flags: 0 }),
            FCHMODAT2 => Ok(Call::Chmod { name: at(a, b), mode: c, flags: d as i32 }),
            // The opener is in no domain that a command makes for itself, so there are none: as on a kernel without Landlock.
            libc::SYS_landlock_create_ruleset | libc::SYS_landlock_restrict_self => Err(libc::EOPNOTSUPP),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => open(here(a), b as i32, c),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_creat => open(here(a), libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, b),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename => Ok(Call::Rename { from: here(a), to: here(b), flags: 0 }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_link => Ok(Call::Link { from: here(a), to: here(b), flags: 0 }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_unlink => Ok(Call::Unlink { name: here(a), flags: 0 }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chmod => Ok(Call::Chmod { name: here(a), mode: b, flags: 0 }),
            _ => Err(libc::ENOSYS),
        }
    }
}

fn creates(flags: i32) -> bool {
    flags & (libc::O_CREAT | TMPFILE) != 0
}

fn open(name: Name, flags: i32, mode: u64) -> Result<Call, i32> {
    let flags = flags & KNOWN;
    if flags & libc::O_PATH != 0 {
        return Ok(Call::Name);
    }
    crate::sys::opens::check(flags)?;
    let mode = if creates(flags) { mode & 0o7777 } else { 0 };
    Ok(Call::Open { name, flags: u64::from(flags as u32) | LARGE, mode, resolve: 0 })
}

/// Reads `struct open_how`. A longer one of a later kernel is understood as long as the rest of it is zero.
fn open_how(name: Name, target: Target, address: u64, size: u64) -> Result<Call, i32> {
    const KNOWN_SIZE: usize = 24;
    const MOST: u64 = 4096;
    if size < KNOWN_SIZE as u64 {
        return Err(libc::EINVAL);
    }
    if size > MOST {
        return Err(libc::E2BIG);
    }
    let mut bytes = vec![0; size as usize];
    if target.read(address, &mut bytes)? < bytes.len() {
        return Err(libc::EFAULT);
    }
    if bytes[KNOWN_SIZE..].iter().any(|byte| *byte != 0) {
        return Err(libc::E2BIG);
    }
    let word = |index: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte]));
    let (flags, mode, resolve) = (word(0), word(1), word(2));
    crate::sys::opens::check_how(flags, mode, resolve)?;
    if flags & libc::O_PATH as u64 != 0 {
        // These flags stand in memory, where they can change. Callers know how to do without on kernels before 5.6.
        return Err(libc::ENOSYS);
    }
    Ok(Call::Open { name, flags, mode, resolve })
}
