//! Which system calls no sandboxed process may make, as data. Compiled to BPF when the crate is built, so a launch pays
//! nothing for it. The same list holds in every mode: it closes kernel surface and ways around the mount view, it is
//! not what confines files or the network (namespaces, mounts and Landlock do that). `ptrace` is deliberately absent:
//! the pid namespace keeps outsiders out of reach and debuggers must work inside.

/// Refused with EPERM, whatever the arguments.
pub(crate) const REFUSED: &[(&str, i64)] = &[
    // New mounts would undo the masks; without capabilities they fail anyway, this is the second wall.
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("open_tree_attr", 467),
    // Joining somebody else's namespace.
    ("setns", libc::SYS_setns),
    // Keyrings are not namespaced.
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    // Reaching files by handle passes the mount view (CVE class "shocker").
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    // Large kernel surface that builds and tests do not need.
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    // All processes of a user share a number of its groups, and there is inotify.
    ("fanotify_init", libc::SYS_fanotify_init),
    // The machine itself.
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("syslog", libc::SYS_syslog),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("vhangup", libc::SYS_vhangup),
    ("kcmp", libc::SYS_kcmp),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm),
];

/// Answered with ENOSYS so that programs take their older path: `clone3` hides its flags from a filter in memory, and
/// io_uring performs calls that no filter sees.
pub(crate) const ABSENT: &[(&str, i64)] = &[
    CLONE3,
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
];

/// There where namespaces are: nobody inside has the capability for any but a user namespace, and a limit of zero forbids that.
/// Not where a control group of version 2 holds the limits, because with `CLONE_INTO_CGROUP` it starts processes in any other
/// one of the user that can be named, past a read-only mount and past Landlock.
pub(crate) const CLONE3: (&str, i64) = ("clone3", libc::SYS_clone3);

/// Namespace flags that neither `clone` nor `unshare` may carry.
pub(crate) const NAMESPACE_FLAGS: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

/// Terminal requests that push input into the terminal (CVE-2017-5226, CVE-2023-28339). Compared on the low 32 bits:
/// the kernel ignores the rest (CVE-2019-10063).
pub(crate) const TERMINAL_REQUESTS: &[u32] = &[0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];

/// Requests that make or remove a subvolume: in a snapshot every file of the workspace lies once more, before anything can cover
/// it (`BTRFS_IOC_SNAP_CREATE`, `BTRFS_IOC_SUBVOL_CREATE`, `BTRFS_IOC_SNAP_DESTROY`, each with its second version, in linux/btrfs.h;
/// bcachefs has two).
pub(crate) const SUBVOLUME_REQUESTS: &[u32] =
    &[0x5000_9401, 0x5000_940e, 0x5000_940f, 0x5000_9417, 0x5000_9418, 0x5000_943f, 0x4020_bc10, 0x4020_bc11];

/// Requests of fcntl(2) for a lease, and for a directory's (`F_SETDELEG`): whoever opens the file then waits for its holder, and a
/// file can be leased that may only be read.
pub(crate) const LEASES: &[u32] = &[1024, 1040];

/// Requests to a file that take space for it at once (`FS_IOC_RESVSP`, `FS_IOC_RESVSP64`, `FS_IOC_ZERO_RANGE`), as fallocate(2)
/// does for callers of old.
pub(crate) const SPACE_REQUESTS: &[u64] = &[0x4030_5828, 0x4030_582a, 0x4030_5839];

/// The only socket families there are; AF_NETLINK only with NETLINK_ROUTE.
pub(crate) const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// A call that waits for the supervisor, and the value its first argument must have for that.
pub(crate) type Trap = (&'static str, i64, Option<u64>);

/// What the exec guard judges: programs before they run and, as a second look, what every libc and runtime does first when a
/// new program sets up its main thread, before any code of the program itself.
pub(crate) const EXEC: &[Trap] = &[
    ("execve", libc::SYS_execve, None),
    ("execveat", libc::SYS_execveat, None),
    #[cfg(target_arch = "x86_64")]
    ("arch_prctl", libc::SYS_arch_prctl, Some(0x1002 /* ARCH_SET_FS */)),
    #[cfg(target_arch = "aarch64")]
    ("set_tid_address", libc::SYS_set_tid_address, None),
    // Go without cgo knows no thread id; it counts processors first.
    #[cfg(target_arch = "aarch64")]
    ("sched_getaffinity", libc::SYS_sched_getaffinity, None),
];

/// What opens a file by its name, gives it another one or takes one away, or makes it executable: see `strict`. And what
/// would confine a process further without whoever opens for it.
pub(crate) const OPEN: &[Trap] = &[
    #[cfg(target_arch = "x86_64")]
    ("open", libc::SYS_open, None),
    #[cfg(target_arch = "x86_64")]
    ("creat", libc::SYS_creat, None),
    ("openat", libc::SYS_openat, None),
    ("openat2", libc::SYS_openat2, None),
    #[cfg(target_arch = "x86_64")]
    ("rename", libc::SYS_rename, None),
    ("renameat", libc::SYS_renameat, None),
    ("renameat2", libc::SYS_renameat2, None),
    #[cfg(target_arch = "x86_64")]
    ("link", libc::SYS_link, None),
    ("linkat", libc::SYS_linkat, None),
    #[cfg(target_arch = "x86_64")]
    ("unlink", libc::SYS_unlink, None),
    ("unlinkat", libc::SYS_unlinkat, None),
    #[cfg(target_arch = "x86_64")]
    ("chmod", libc::SYS_chmod, None),
    ("fchmodat", libc::SYS_fchmodat, None),
    ("fchmodat2", 452, None),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset, None),
    ("landlock_restrict_self", libc::SYS_landlock_restrict_self, None),
];
