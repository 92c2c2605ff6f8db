//! The instructions of a prepared program.

use super::Program;
use crate::sys::{arguments::Arguments, call::Identity, gate::Gate, processors::Processors, seccomp::Calls};
use std::{
    ffi::{CStr, CString},
    fmt,
    os::fd::RawFd,
    sync::Arc,
};

/// An index into [`Program::slots`].
pub(crate) type Slot = usize;

/// Where a path of a step begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    /// The host's view, absolute path.
    Host,
    /// Below the mount in this slot, relative path.
    Slot(Slot),
}

/// One instruction. Each is one kernel operation, or a few that make sense only together.
#[derive(Debug)]
pub(crate) enum Step {
    /// Goes on with another program once the gate is open; the last step of an opening.
    Await(Arc<Gate>),
    /// May run on these.
    Processors(Processors),
    /// Writes a file that exists.
    Write {
        root: Root,
        path: CString,
        text: CString,
    },
    /// Joins namespaces (`CLONE_NEW*` bits) of the process with the pidfd `first`.
    Join {
        first: RawFd,
        namespaces: i32,
    },
    /// Enters a copy of the mount namespace that follows the original; its root goes to the slot.
    OwnMounts(Slot),
    LoopbackUp,
    Hostname(CString),
    SessionKeyring,
    PrivateMounts,
    /// Gives what is made from here on the mode that is asked for; the umask until now goes to the slot.
    ExactModes(Slot),
    /// Sets the umask from the slot.
    Umask(Slot),
    Filesystem {
        kind: &'static CStr,
        options: Vec<(&'static CStr, CString)>,
        attributes: u64,
        to: Slot,
    },
    /// Makes the mount in the slot `root` the root; that of the host goes to the slot `host`.
    EnterRoot {
        root: Slot,
        host: Slot,
    },
    /// A detached copy of a mount below the host's root; `expect` is what the path meant when the plan was made.
    CloneMount {
        host: Slot,
        source: CString,
        recursive: bool,
        expect: Option<Identity>,
        to: Slot,
    },
    /// Takes a mount that was made outside and waits in the socket; `path` is where it will stand.
    Receive {
        socket: RawFd,
        path: CString,
        to: Slot,
    },
    /// Leaves a mount in the socket, for whoever is to have it.
    Send {
        socket: RawFd,
        mount: Slot,
    },
    /// Waits until the caller says that it has done what the next steps need.
    Hear {
        socket: RawFd,
    },
    Attributes {
        mount: Slot,
        set: u64,
        recursive: bool,
    },
    /// Attaches the slot's mount at `target`, whose directory is `at`, and closes the slot.
    Attach {
        mount: Slot,
        at: Slot,
        target: CString,
    },
    /// Opens a place, only to name it by the slot from here on.
    Open {
        root: Root,
        path: CString,
        to: Slot,
    },
    /// Mounts `target`, whose directory is `at`, on itself with more flags: it cannot be renamed or removed from inside any
    /// more.
    Pin {
        at: Slot,
        target: CString,
        set: u64,
        recursive: bool,
    },
    /// As [`Step::Pin`], for a symbolic link, which becomes read-only.
    PinLink {
        at: Slot,
        target: CString,
    },
    /// Covers `target`, whose directory is `at`, with `cover`, which nobody can read and whose path is that in the new root.
    Mask {
        at: Slot,
        cover: &'static CStr,
        target: CString,
        /// It comes and goes as others please; when it is gone, there is nothing to cover.
        fleeting: bool,
    },
    Directory {
        root: Slot,
        path: CString,
        mode: u32,
    },
    File {
        root: Slot,
        path: CString,
        mode: u32,
    },
    Link {
        root: Slot,
        path: CString,
        target: CString,
    },
    /// Leaves nothing of the host's root to be reached from the one in the slot.
    LeaveHost(Slot),
    Limit {
        /// `RLIMIT_*`, which C libraries give different types.
        resource: i64,
        soft: u64,
        hard: u64,
    },
    /// Starts another program and waits until it has executed its last step.
    Spawn(Box<Program>),
    /// Starts another program that executes nothing, and waits until it has ended and is collected.
    Through(Box<Program>),
    NullStandard,
    NewSession,
    NoNewPrivileges,
    /// Empties the bounding set but for these capabilities.
    Bounding {
        keep: u64,
    },
    /// Sets permitted, effective, inheritable and ambient capabilities.
    Capabilities(u64),
    LandlockAllow {
        ruleset: RawFd,
        root: Slot,
        path: CString,
        access: u64,
    },
    LandlockRestrict {
        ruleset: RawFd,
    },
    Seccomp(Calls),
    /// Refuses the calls that take disk space without writing it: see `limits/disk.rs`.
    NoPreallocation,
    /// Leaves the caller's control groups out of sight.
    OwnGroups,
    /// Puts a descriptor at a fixed number for the program to be executed.
    Descriptor {
        from: Descriptor,
        to: RawFd,
    },
    /// Moves a slot's descriptor out of the way of fixed numbers.
    Lift(Slot),
    CloseFrom(RawFd),
    /// Closes ranges of descriptors, first and last of each.
    Close(Vec<(u32, u32)>),
    Execute {
        program: Descriptor,
        arguments: Arguments,
    },
}

/// A descriptor known before the launch, or one that a step opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Descriptor {
    Known(RawFd),
    Slot(Slot),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.steps).finish()
    }
}

/// Says what the step does, to complete "could not …".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Await(_) => f.write_str("wait for the plan"),
            Self::Processors(_) => f.write_str("choose processors"),
            Self::Write { path, .. } => write!(f, "write {}", show(path)),
            Self::Join { .. } => f.write_str("join the sandbox's namespaces"),
            Self::OwnMounts(_) => f.write_str("copy the mount view"),
            Self::LoopbackUp => f.write_str("bring the loopback interface of the empty network up"),
            Self::Hostname(_) => f.write_str("set the host name"),
            Self::SessionKeyring => f.write_str("join a fresh session keyring"),
            Self::PrivateMounts => f.write_str("make the mount view private"),
            Self::ExactModes(_) | Self::Umask(_) => f.write_str("set the umask"),
            Self::Filesystem { kind, .. } => write!(f, "make a new {} file system", show(kind)),
            Self::EnterRoot { .. } | Self::LeaveHost(_) => f.write_str("enter the new root"),
            Self::Receive { path: source, .. } | Self::CloneMount { source, .. } => {
                write!(f, "take /{} into the mount view", show(source))
            }
            Self::Send { .. } => f.write_str("hand a mount over"),
            Self::Hear { .. } => f.write_str("wait for what the caller has to do"),
            Self::Attributes { .. } => f.write_str("set the flags of a mount"),
            Self::Attach { target, .. } => write!(f, "mount /{}", show(target)),
            Self::Open { path, .. } => write!(f, "open /{}", show(path)),
            Self::Pin { target, .. } | Self::PinLink { target, .. } => write!(f, "pin /{}", show(target)),
            Self::Mask { target, .. } => write!(f, "mask /{}", show(target)),
            Self::Directory { path, .. } | Self::File { path, .. } | Self::Link { path, .. } => {
                write!(f, "create /{}", show(path))
            }
            Self::Limit { resource, .. } => write!(f, "set resource limit {resource}"),
            Self::Spawn(_) | Self::Through(_) => f.write_str("start the warden"),
            Self::NullStandard => f.write_str("open /dev/null"),
            Self::NewSession => f.write_str("start a session"),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::Bounding { .. } | Self::Capabilities(_) => f.write_str("drop capabilities"),
            Self::LandlockAllow { path, .. } => write!(f, "allow /{} in Landlock", show(path)),
            Self::LandlockRestrict { .. } => f.write_str("enforce Landlock"),
            Self::Seccomp(_) | Self::NoPreallocation => f.write_str("install the seccomp filter"),
            Self::OwnGroups => f.write_str("enter a control group namespace"),
            Self::Descriptor { .. } | Self::Lift(_) | Self::CloseFrom(_) | Self::Close(_) => {
                f.write_str("arrange descriptors")
            }
            Self::Execute { .. } => f.write_str("execute the resident program"),
        }
    }
}

fn show(text: &CStr) -> String {
    text.to_bytes().escape_ascii().to_string()
}
