//! What a command without namespaces may not ask of the kernel, beside what no command may. A network namespace, an IPC
//! namespace, a pid namespace and a mount view would make these harmless; Landlock does not cover them (landlock(7)).

use super::{Rules, condition, syscalls::Trap};
use seccompiler::{SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Refused with EPERM, whatever the arguments.
const REFUSED: &[i64] = &[
    // Sockets that the command was given lead no further.
    libc::SYS_connect,
    libc::SYS_bind,
    // System V and POSIX objects of everybody with the same user.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // A watch tells what happens in directories that cannot be read.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
];

/// What a file is, beside its content: Landlock lets every owner change that, anywhere. Refused with EOPNOTSUPP, as by a
/// file system that knows no attributes.
const ATTRIBUTES: &[i64] = &[
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    463, // setxattrat
    466, // removexattrat
    469, // file_setattr
];

/// As those, but builds do change modes, times and owners: carried out outside, on what may be written.
pub(crate) const MODES: &[Trap] = &[
    #[cfg(target_arch = "x86_64")]
    ("chmod", libc::SYS_chmod, None),
    #[cfg(target_arch = "x86_64")]
    ("chown", libc::SYS_chown, None),
    #[cfg(target_arch = "x86_64")]
    ("lchown", libc::SYS_lchown, None),
    ("fchown", libc::SYS_fchown, None),
    ("fchownat", libc::SYS_fchownat, None),
    ("fchmod", libc::SYS_fchmod, None),
    ("fchmodat", libc::SYS_fchmodat, None),
    ("fchmodat2", 452, None),
    #[cfg(target_arch = "x86_64")]
    ("utime", libc::SYS_utime, None),
    #[cfg(target_arch = "x86_64")]
    ("utimes", libc::SYS_utimes, None),
    #[cfg(target_arch = "x86_64")]
    ("futimesat", libc::SYS_futimesat, None),
    ("utimensat", libc::SYS_utimensat, None),
];

/// Requests that change what a file is (ioctl_fs(2)): FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR.
const REQUESTS: [u64; 2] = [0x4008_6602, 0x401c_5820];

/// Refused with EPERM.
pub(crate) fn refused() -> Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|number| (*number, vec![])).collect();
    let any = |conditions: Vec<SeccompCondition>| {
        conditions.into_iter().map(|condition| Ok(SeccompRule::new(vec![condition])?)).collect::<Result<Vec<_>>>()
    };
    let is = |argument, value| condition(argument, Dword, SeccompCmpOp::Eq, value);
    let is_not = |argument, value| condition(argument, Dword, SeccompCmpOp::Ne, value);
    rules.insert(libc::SYS_ioctl, any(REQUESTS.iter().map(|request| is(1, *request)).collect::<Result<_>>()?)?);
    // Everybody with the same user could be made slower or lose his limits: only oneself, which is 0, may be named.
    for number in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(number, any(vec![is_not(0, 0)?])?);
    }
    rules.insert(libc::SYS_setpriority, any(vec![is_not(1, 0)?, is(0, 2 /* PRIO_USER */)?])?);
    rules.insert(libc::SYS_ioprio_set, any(vec![is_not(1, 0)?, is(0, 3 /* IOPRIO_WHO_USER */)?])?);
    Ok(rules)
}

/// Refused with EOPNOTSUPP.
pub(crate) fn attributes() -> Rules {
    ATTRIBUTES.iter().map(|number| (*number, vec![])).collect()
}

/// Refused with EAFNOSUPPORT: every socket, for TCP Fast Open, MPTCP, UDP and named Unix sockets pass Landlock, and of the
/// pairs those that could be led elsewhere by an address in a message.
pub(crate) fn sockets() -> Result<Rules> {
    let mut pairs =
        vec![SeccompRule::new(vec![condition(0, Dword, SeccompCmpOp::Ne, u64::try_from(libc::AF_UNIX)?)?])?];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
        let same = condition(1, Dword, SeccompCmpOp::MaskedEq(0xf), u64::try_from(kind)?)?;
        pairs.push(SeccompRule::new(vec![same])?);
    }
    Ok([(libc::SYS_socket, vec![]), (libc::SYS_socketpair, pairs)].into())
}
