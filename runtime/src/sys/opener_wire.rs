//! What the strict judge (`strict/`) and the resident opener say to each other, as both compile it. Only `core`: the
//! resident program includes this file. A packet is an [`Ask`] and the bytes of a path, or a [`Told`] and those of a name.

/// Another opener is to serve the socket that comes along.
pub(crate) const FORK: u32 = 1;
/// Resolve the path as `open` does. What can be opened without anybody noticing is opened at once.
pub(crate) const OPEN: u32 = 2;
/// Open what the last [`OPEN`] found.
pub(crate) const OPEN_FOUND: u32 = 3;
/// Make what the last [`OPEN`] did not find.
pub(crate) const CREATE: u32 = 4;
/// Resolve the path up to its last name, into place `place`.
pub(crate) const PLACE: u32 = 5;
/// Rename what stands in place 0 to place 1 (`flags` of renameat2(2)).
pub(crate) const RENAME: u32 = 6;
/// Give what stands in place 0 the name in place 1 as well.
pub(crate) const LINK: u32 = 7;
/// Remove the name in place 0 (`flags` of unlinkat(2)).
pub(crate) const UNLINK: u32 = 8;
/// Change the mode of what stands in place 0.
pub(crate) const CHMOD: u32 = 9;

/// Of [`Ask::follow`]: a symbolic link as last name is followed.
pub(crate) const FOLLOW: u32 = 1;
/// Of [`Ask::follow`]: the place itself is wanted, and may be no name in a directory (`..`, a link of `/proc/PID/fd`).
pub(crate) const OBJECT: u32 = 2;
/// Of [`Ask::follow`]: an empty path means the descriptor that comes along.
pub(crate) const EMPTY: u32 = 4;

/// What is asked. With it comes the directory from which a relative path starts.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Ask {
    pub(crate) op: u32,
    pub(crate) place: u32,
    pub(crate) flags: u64,
    pub(crate) mode: u64,
    pub(crate) resolve: u64,
    pub(crate) umask: u32,
    pub(crate) follow: u32,
    /// What `/proc/self` and `/proc/thread-self` mean to the caller; 0 when not known yet.
    pub(crate) process: i32,
    pub(crate) thread: i32,
    /// Of [`OPEN_FOUND`]: whether opening may wait, for the other end of a pipe or the holder of a lease.
    pub(crate) wait: u32,
    pub(crate) _room: u32,
}

/// `value` is an errno, or 0 for what needs no descriptor.
pub(crate) const ANSWERED: u32 = 1;
/// Opened; descriptor: the file.
pub(crate) const OPENED: u32 = 2;
/// Found and not opened yet; descriptor: the place.
pub(crate) const FOUND: u32 = 3;
/// Not there; descriptor: the directory in which it would be made; the name follows.
pub(crate) const ABSENT: u32 = 4;
/// The path leads over `/proc/self`: ask again with the caller's numbers.
pub(crate) const WHO: u32 = 5;

/// What the opener did or found.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) what: u32,
    pub(crate) value: i32,
    /// Of what was opened or found, as stat(2) has it.
    pub(crate) mode: u32,
    pub(crate) _room: u32,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// [`ABSENT`] as it travels.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Absent {
    pub(crate) told: Told,
    /// Up to a NUL.
    pub(crate) name: [u8; 264],
}

/// Whether the opener says once more when it has let go of what it opened: a file that is open for writing cannot be
/// executed, and a pipe has an end only when nobody holds it.
pub(crate) fn needs_release(flags: u64, mode: u32) -> bool {
    flags & 3 != 0 || !matches!(mode & 0o170000, 0o100000 | 0o040000)
}
