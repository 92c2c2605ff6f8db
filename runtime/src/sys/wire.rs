//! The messages between the host side and the resident program, as both compile them. Only `core`: the resident program
//! includes this file. Messages travel as single packets of an `AF_UNIX` `SOCK_SEQPACKET` socket.

/// Where each role of the resident program finds its socket or pipe.
pub(crate) const CONTROL: i32 = 3;
/// The warden's detached tree of masks.
pub(crate) const SECOND: i32 = 4;
/// Without namespaces: the ruleset that keeps commands from signalling their supervisor.
pub(crate) const BELOW: i32 = 4;
/// Without namespaces: the lock on the private directory, held while anything inside lives.
pub(crate) const LOCK: i32 = 5;
/// The sweeper's first directory with reserved names; the others follow.
pub(crate) const FIRST_RESERVED: i32 = 5;
/// Among the sweeper's arguments: the names that follow are in the next directory. No name is a slash.
pub(crate) const NEXT_DIRECTORY: &core::ffi::CStr = c"/";

/// What the symbolic link leads to that holds the name `.git`: to nothing, and nobody can make something there.
pub(crate) const RESERVED: &[u8] = b"/proc/holdpoint/reserved";

/// Among the sweeper's arguments: the names that follow are control groups in the next directory.
pub(crate) const NEXT_GROUPS: &core::ffi::CStr = c"//";

/// Names inside the tree of masks.
pub(crate) const MASK_FILE: &core::ffi::CStr = c"file";
/// See [`MASK_FILE`].
pub(crate) const MASK_DIRECTORY: &core::ffi::CStr = c"directory";

/// Start a command. Descriptors: image, reply socket, standard input, output and error, and the ruleset of its own
/// Landlock layer when it has one.
pub(crate) const RUN: u32 = 1;
/// Send `value` as a signal to the process group of command `id`.
pub(crate) const SIGNAL: u32 = 2;
/// Install the seccomp program that the descriptors bring (`length` bytes) and send its listener to the reply socket.
pub(crate) const TRAP: u32 = 5;
/// Send `value` as a signal to the one process whose number inside is `id`.
pub(crate) const SIGNAL_ONE: u32 = 6;
/// Warden: mask the path that follows the header.
pub(crate) const MASK: u32 = 3;
/// Warden: make the path that follows the header read-only.
pub(crate) const PROTECT: u32 = 4;
/// Warden: put the detached mount that comes along in the place of the path that follows the header.
pub(crate) const REPLACE: u32 = 7;

/// Bit `n` of [`Request::flags`]: descriptor `n` of the command is a private terminal.
pub(crate) const TERMINAL: u32 = 1;

/// Bit `n` of [`Request::flags`], after those of [`TERMINAL`]: descriptor `n` is a terminal that was made outside.
pub(crate) const GIVEN: u32 = 1 << 3;

/// In [`Request::flags`]: pid 1 ends with this command.
pub(crate) const LAST: u32 = 1 << 6;

/// Bit `n` of [`Request::flags`], after that of [`LAST`]: descriptor `n` is the sandbox's own `/dev/null`, whatever comes with it.
pub(crate) const NULL: u32 = 1 << 7;

/// What the host asks.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Request {
    pub(crate) op: u32,
    pub(crate) id: u32,
    /// RUN: bytes of the image.
    pub(crate) length: u64,
    pub(crate) flags: u32,
    pub(crate) value: i32,
    /// Window size of the terminal.
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// The command runs; descriptors: pidfd and, with a terminal, its master side.
pub(crate) const STARTED: u32 = 1;
/// The command did not start; `value` is the errno, `stage` where.
pub(crate) const FAILED: u32 = 2;
/// The command ended; `value` is the wait status, `stage` [`NOBODY_LEFT`] when nothing else is inside.
pub(crate) const ENDED: u32 = 3;
/// The warden did as asked (`value` 0) or failed (`value` errno).
pub(crate) const DONE: u32 = 4;

/// The program is installed; descriptor: its listener.
pub(crate) const LISTENING: u32 = 5;

/// A stage of [`ENDED`]: pid 1 ends with this command, and has no other child left.
pub(crate) const NOBODY_LEFT: u32 = 1;

/// Stages of [`FAILED`].
#[allow(dead_code, reason = "the host has one text for every stage it does not know")]
pub(crate) const STAGE_ROOM: u32 = 0;
pub(crate) const STAGE_TERMINAL: u32 = 1;
pub(crate) const STAGE_DIRECTORY: u32 = 2;
pub(crate) const STAGE_EXECUTE: u32 = 3;
pub(crate) const STAGE_RIGHTS: u32 = 4;

/// The resource limits of [`Image::limits`] by number (linux/resource.h): processor seconds, open files, file size.
#[allow(dead_code, reason = "the host only keeps their order")]
pub(crate) const RESOURCES: [usize; 3] = [0, 7, 1];
/// A limit that stays as the sandbox has it.
pub(crate) const UNCHANGED: u64 = u64::MAX;

/// The umask stays as it is; no mask is that large (umask(2)).
pub(crate) const SAME_UMASK: u32 = u32::MAX;

/// What the resident program answers.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Reply {
    pub(crate) kind: u32,
    pub(crate) value: i32,
    pub(crate) stage: u32,
}

/// How a command image begins: limits, then counts of the NUL-terminated strings that follow (working directory, candidate
/// programs, arguments, environment).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Image {
    /// As [`RESOURCES`]; [`UNCHANGED`] where there is none.
    pub(crate) limits: [u64; 3],
    pub(crate) programs: u32,
    pub(crate) arguments: u32,
    pub(crate) variables: u32,
    /// [`SAME_UMASK`] for that of the sandbox.
    pub(crate) umask: u32,
}
