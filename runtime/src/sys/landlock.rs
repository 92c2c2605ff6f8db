//! The two Landlock calls that the prepared program makes itself; the ruleset is built by the `landlock` crate before
//! (landlock(7), linux/landlock.h).

use super::{Result, call};
use std::{ffi::CStr, os::fd::RawFd};

#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent: i32,
}

/// Allows `access` below `path`, which exists only inside the new root.
pub(crate) fn allow(ruleset: RawFd, root: RawFd, path: &CStr, access: u64) -> Result<()> {
    const PATH_BENEATH: i32 = 1;
    let parent = call::open_place(root, path)?;
    let rule = PathBeneath { allowed_access: access, parent };
    const { assert!(size_of::<PathBeneath>() == 12) };
    // SAFETY: the rule has the layout and size that the call reads.
    let added = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0) };
    let errno = if added < 0 { std::io::Error::last_os_error().raw_os_error() } else { None };
    call::close(parent);
    errno.map_or(Ok(()), Err)
}

/// Puts this process, and all it starts, under the ruleset.
pub(crate) fn restrict(ruleset: RawFd) -> Result<()> {
    // SAFETY: two numbers.
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
    if restricted < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(()) }
}

/// The Landlock ABI of this kernel, 0 when there is none.
pub(crate) fn abi() -> i32 {
    const VERSION: u32 = 1;
    // SAFETY: asks for a number only.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    i32::try_from(abi).unwrap_or(0).max(0)
}
