//! Single system calls, as the prepared program makes them. Nothing here allocates, locks or panics.

use super::Result;
use std::{ffi::CStr, mem, os::fd::RawFd, ptr};

/// Which inode a path meant when the plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

fn errno() -> i32 {
    // SAFETY: the location is always valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn fd(result: libc::c_long) -> Result<RawFd> {
    check(result).map(|fd| fd as RawFd)
}

macro_rules! syscall {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: every pointer comes from a reference that lives across the call and has the size that the call reads.
        check(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: a plain number; the descriptor is gone whatever close(2) answers.
    unsafe { libc::close(fd) };
}

/// Opens the place `path` below `root` for nothing but naming it: no links of any kind are followed on the way and the
/// walk cannot leave `root` (openat2(2); CVE-2026-87766 is what happens otherwise).
pub(crate) fn open_place(root: RawFd, path: &CStr) -> Result<RawFd> {
    open_beneath(root, path, libc::O_PATH | libc::O_NOFOLLOW)
}

fn open_beneath(root: RawFd, path: &CStr, flags: i32) -> Result<RawFd> {
    // SAFETY: open_how is plain numbers; zero is valid for each.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_SYMLINKS;
    fd(syscall!(SYS_openat2, root, path.as_ptr(), &raw const how, size_of::<libc::open_how>())?)
}

/// Writes `text` to the existing file `path`; `root` is `AT_FDCWD` for the host's view.
pub(crate) fn write_file(root: RawFd, path: &CStr, text: &[u8]) -> Result<()> {
    let file = fd(syscall!(SYS_openat, root, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC, 0)?)?;
    let written = syscall!(SYS_write, file, text.as_ptr(), text.len());
    close(file);
    written.map(drop)
}

/// Sets this process's mask for the modes of what it makes and gives the one before (umask(2)).
pub(crate) fn set_umask(mask: i32) -> i32 {
    // SAFETY: takes and gives a number, and cannot fail.
    unsafe { libc::umask(mask.cast_unsigned() as libc::mode_t) as i32 }
}

/// Creates `path` below `root` unless it exists; its parent must exist. The umask is taken from the mode.
pub(crate) fn make_directory(root: RawFd, path: &CStr, mode: u32) -> Result<()> {
    exists_is_fine(syscall!(SYS_mkdirat, root, path.as_ptr(), mode))
}

/// Creates the empty file `path` below `root` unless it exists; as [`make_directory`].
pub(crate) fn make_file(root: RawFd, path: &CStr, mode: u32) -> Result<()> {
    exists_is_fine(syscall!(SYS_mknodat, root, path.as_ptr(), libc::S_IFREG | mode, 0))
}

/// Creates the symbolic link `path` below `root`.
pub(crate) fn make_link(root: RawFd, path: &CStr, target: &CStr) -> Result<()> {
    exists_is_fine(syscall!(SYS_symlinkat, target.as_ptr(), root, path.as_ptr()))
}

fn exists_is_fine(result: Result<libc::c_long>) -> Result<()> {
    match result {
        Ok(_) | Err(libc::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A new, detached file system of the given kind (fsopen(2), fsconfig(2), fsmount(2)).
pub(crate) fn new_filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<RawFd> {
    let context = fd(syscall!(SYS_fsopen, kind.as_ptr(), 1 /* FSOPEN_CLOEXEC */)?)?;
    let configured = configure(context, options, attributes);
    close(context);
    configured
}

fn configure(context: RawFd, options: &[(&CStr, &CStr)], attributes: u64) -> Result<RawFd> {
    const SET_STRING: i32 = 1;
    const SET_FLAG: i32 = 0;
    const CREATE: i32 = 6;
    for (key, value) in options {
        if value.is_empty() {
            syscall!(SYS_fsconfig, context, SET_FLAG, key.as_ptr(), ptr::null::<u8>(), 0)?;
        } else {
            syscall!(SYS_fsconfig, context, SET_STRING, key.as_ptr(), value.as_ptr(), 0)?;
        }
    }
    syscall!(SYS_fsconfig, context, CREATE, ptr::null::<u8>(), ptr::null::<u8>(), 0)?;
    fd(syscall!(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, attributes)?)
}

/// A detached copy of the mount at `path` (open_tree(2)); the path itself is not followed when it is a link.
pub(crate) fn clone_mount(root: RawFd, path: &CStr, recursive: bool) -> Result<RawFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    fd(syscall!(SYS_open_tree, root, path.as_ptr(), flags)?)
}

/// Adds to the flags of a mount and, when `recursive`, of all below it.
pub(crate) fn set_attributes(mount: RawFd, set: u64, recursive: bool) -> Result<()> {
    change_mount(mount, c"", libc::AT_EMPTY_PATH | recursively(recursive), &attributes(set))
}

/// Gives a detached tree of mounts the owners of a user namespace and makes it read-only.
pub(crate) fn map_owners(mount: RawFd, namespace: RawFd) -> Result<()> {
    let set = libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let attributes = libc::mount_attr { userns_fd: namespace as u64, ..attributes(set) };
    change_mount(mount, c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE, &attributes)
}

fn attributes(set: u64) -> libc::mount_attr {
    libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 }
}

fn recursively(recursive: bool) -> i32 {
    if recursive { libc::AT_RECURSIVE } else { 0 }
}

/// Changes the mount at `path` below a directory (mount_setattr(2)). Fails with `EINVAL` where there is none.
fn change_mount(directory: RawFd, path: &CStr, flags: i32, attributes: &libc::mount_attr) -> Result<()> {
    let size = size_of::<libc::mount_attr>();
    syscall!(SYS_mount_setattr, directory, path.as_ptr(), flags, ptr::from_ref(attributes), size).map(drop)
}

/// One descriptor beside a packet (cmsg(3)).
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fd: RawFd,
}

impl Control {
    fn of(fd: RawFd) -> Self {
        // SAFETY: plain numbers.
        let mut control: Self = unsafe { mem::zeroed() };
        control.header.cmsg_level = libc::SOL_SOCKET;
        control.header.cmsg_type = libc::SCM_RIGHTS;
        control.header.cmsg_len = (mem::offset_of!(Self, fd) + size_of::<RawFd>()) as _;
        control.fd = fd;
        control
    }

    fn brings_one(&self) -> bool {
        self.header.cmsg_level == libc::SOL_SOCKET && self.header.cmsg_type == libc::SCM_RIGHTS
    }
}

/// Hands a packet of eight bytes and room for one descriptor to `transfer`.
fn with_message(control: &mut Control, transfer: impl FnOnce(*mut libc::msghdr) -> Result<i64>) -> Result<()> {
    let mut packet = [0u8; 8];
    let mut vector = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
    // SAFETY: plain numbers and pointers.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    transfer(&raw mut message).map(drop)
}

/// Takes the one descriptor that waits in a socket, with the packet that brings it (unix(7)).
pub(crate) fn receive_descriptor(socket: RawFd) -> Result<RawFd> {
    // SAFETY: plain numbers.
    let mut control: Control = unsafe { mem::zeroed() };
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    with_message(&mut control, |message| syscall!(SYS_recvmsg, socket, message, flags))?;
    if control.brings_one() { Ok(control.fd) } else { Err(libc::EBADMSG) }
}

/// Leaves a copy of a descriptor in a socket, with a packet that brings it (unix(7)).
pub(crate) fn send_descriptor(socket: RawFd, fd: RawFd) -> Result<()> {
    with_message(&mut Control::of(fd), |message| syscall!(SYS_sendmsg, socket, message, libc::MSG_NOSIGNAL))
}

/// Makes every mount of this namespace private, so that nothing done here shows outside.
pub(crate) fn make_all_private() -> Result<()> {
    set_propagation(libc::MS_PRIVATE)
}

fn set_propagation(propagation: u64) -> Result<()> {
    let attributes = libc::mount_attr { propagation, ..attributes(0) };
    change_mount(libc::AT_FDCWD, c"/", libc::AT_RECURSIVE, &attributes)
}

/// Attaches a detached mount to what is called `name` in an open directory, to a link itself when it is one: only
/// MOVE_MOUNT_T_SYMLINKS would follow it (move_mount(2)).
pub(crate) fn attach(mount: RawFd, directory: RawFd, name: &CStr) -> Result<()> {
    const FROM_FD: u32 = 0x04;
    syscall!(SYS_move_mount, mount, c"".as_ptr(), directory, name.as_ptr(), FROM_FD).map(drop)
}

/// Mounts what `source` names on what is called `name` in an open directory (mount(2), `MS_BIND`). That takes two thirds of
/// the time of a detached copy that is attached, but follows links, so whoever must know that none had come since looks
/// afterwards.
fn bind(source: &CStr, directory: RawFd, name: &CStr, recursive: bool) -> Result<()> {
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    syscall!(SYS_fchdir, directory)?;
    syscall!(SYS_mount, source.as_ptr(), name.as_ptr(), ptr::null::<u8>(), flags, ptr::null::<u8>()).map(drop)
}

/// Mounts what is called `name` in an open directory on itself, with more flags. Fails with `ESTALE` or `EINVAL` when it is a
/// link.
pub(crate) fn pin(directory: RawFd, name: &CStr, set: u64, recursive: bool) -> Result<()> {
    bind(name, directory, name, recursive)?;
    if set == 0 {
        return is_mount(directory, name);
    }
    // Refuses what is no mount, as a link to what was mounted on itself is not.
    change_mount(directory, name, libc::AT_SYMLINK_NOFOLLOW | recursively(recursive), &attributes(set))
}

/// Covers what is called `name` in an open directory `with` a file or directory. Fails with `ESTALE` when it is a link.
pub(crate) fn cover(with: &CStr, directory: RawFd, name: &CStr) -> Result<()> {
    bind(with, directory, name, false)?;
    is_mount(directory, name)
}

/// Fails with `ESTALE` when what is called `name` is not a mount itself (statx(2), `STATX_ATTR_MOUNT_ROOT`).
fn is_mount(directory: RawFd, name: &CStr) -> Result<()> {
    const MOUNT_ROOT: u64 = 0x2000;
    // SAFETY: statx is plain numbers.
    let mut found: libc::statx = unsafe { mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_DONT_SYNC;
    syscall!(SYS_statx, directory, name.as_ptr(), flags, 0, &raw mut found)?;
    if found.stx_attributes & MOUNT_ROOT == 0 { Err(libc::ESTALE) } else { Ok(()) }
}

/// Makes a detached mount the root of this process and of its mount namespace (pivot_root(2), the `pivot_root(".", ".")` form).
/// The one before lies on it, reachable only by the descriptor that this returns, until [`leave_host`].
pub(crate) fn enter_root(root: RawFd) -> Result<RawFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let host = fd(syscall!(SYS_openat, libc::AT_FDCWD, c"/".as_ptr(), flags)?)?;
    syscall!(SYS_move_mount, root, c"".as_ptr(), libc::AT_FDCWD, c"/".as_ptr(), 0x04)?;
    syscall!(SYS_fchdir, root)?;
    syscall!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr())?;
    Ok(host)
}

/// Takes the root away that was there before [`enter_root`].
pub(crate) fn leave_host(root: RawFd) -> Result<()> {
    syscall!(SYS_fchdir, root)?;
    syscall!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH)?;
    syscall!(SYS_chdir, c"/".as_ptr()).map(drop)
}

/// Which inode an open place is.
pub(crate) fn identity(fd: RawFd) -> Result<Identity> {
    // SAFETY: stat is plain numbers.
    let mut status: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `status` has the size that the call fills.
    check(libc::c_long::from(unsafe { libc::fstat(fd, &raw mut status) }))?;
    Ok(Identity { device: status.st_dev, inode: status.st_ino })
}

/// Waits for one byte; false at the end of the pipe.
pub(crate) fn read_byte(pipe: RawFd) -> bool {
    let mut byte = 0u8;
    syscall!(SYS_read, pipe, &raw mut byte, 1) == Ok(1)
}

/// Waits until a child has ended and takes it off the list (waitpid(2)).
pub(crate) fn collect(child: i32) -> Result<()> {
    syscall!(SYS_wait4, child, ptr::null_mut::<i32>(), libc::__WALL, ptr::null_mut::<u8>()).map(drop)
}

/// Joins the given namespaces of the process behind a pidfd, all or none (setns(2), Linux 5.8).
pub(crate) fn join_namespaces(process: RawFd, namespaces: i32) -> Result<()> {
    syscall!(SYS_setns, process, namespaces).map(drop)
}

/// Enters a copy of the present mount namespace, in which what is mounted in the original later appears too, and nothing the
/// other way round (mount_namespaces(7)). Returns the root of the copy.
pub(crate) fn own_mounts() -> Result<RawFd> {
    set_propagation(libc::MS_SHARED)?;
    syscall!(SYS_unshare, libc::CLONE_NEWNS)?;
    set_propagation(libc::MS_SLAVE)?;
    fd(syscall!(SYS_openat, libc::AT_FDCWD, c"/".as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)?)
}

/// Brings the loopback interface of this network namespace up (netdevice(7)).
pub(crate) fn loopback_up() -> Result<()> {
    // SAFETY: ifreq is plain numbers.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = fd(syscall!(SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?)?;
    let done = syscall!(SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw const request);
    close(socket);
    done.map(drop)
}

/// Sets the host name of this UTS namespace.
pub(crate) fn set_hostname(name: &CStr) -> Result<()> {
    syscall!(SYS_sethostname, name.as_ptr(), name.count_bytes()).map(drop)
}

/// Says where this thread may run (sched_setaffinity(2)).
pub(crate) fn set_processors(set: &libc::cpu_set_t) -> Result<()> {
    syscall!(SYS_sched_setaffinity, 0, size_of_val(set), ptr::from_ref(set)).map(drop)
}

/// Sets soft and hard limit of a resource (setrlimit(2)), lowering only: a hard limit below what is asked for stays.
pub(crate) fn limit(resource: i64, soft: u64, hard: u64) -> Result<()> {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    syscall!(SYS_prlimit64, 0, resource, ptr::null::<u8>(), &raw mut now)?;
    let hard = hard.min(now.rlim_max);
    let new = libc::rlimit64 { rlim_cur: soft.min(hard), rlim_max: hard };
    syscall!(SYS_prlimit64, 0, resource, &raw const new, ptr::null_mut::<u8>()).map(drop)
}

/// Makes the control groups in which this process is the top of what it sees (cgroup_namespaces(7)).
pub(crate) fn unshare_groups() -> Result<()> {
    syscall!(SYS_unshare, libc::CLONE_NEWCGROUP).map(drop)
}

/// Replaces standard input, output and error by `/dev/null`.
pub(crate) fn null_standard() -> Result<()> {
    let null = fd(syscall!(SYS_openat, libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC, 0)?)?;
    for standard in 0..3 {
        syscall!(SYS_dup3, null, standard, 0)?;
    }
    Ok(())
}

/// A copy of `from` at exactly `to`, kept across `execve`.
pub(crate) fn place_descriptor(from: RawFd, to: RawFd) -> Result<()> {
    syscall!(SYS_dup3, from, to, 0).map(drop)
}

/// A copy of `from` numbered `at_least` or more, closed on `execve`: out of the way of fixed numbers.
pub(crate) fn lift_descriptor(from: RawFd, at_least: RawFd) -> Result<RawFd> {
    fd(syscall!(SYS_fcntl, from, libc::F_DUPFD_CLOEXEC, at_least)?)
}

/// Closes every descriptor from `first` to `last` (close_range(2)).
pub(crate) fn close_range(first: u32, last: u32) -> Result<()> {
    syscall!(SYS_close_range, first, last, 0).map(drop)
}

/// Marks every descriptor from `first` on to be closed by `execve` (close_range(2)).
pub(crate) fn close_from(first: RawFd) -> Result<()> {
    syscall!(SYS_close_range, first, !0u32, libc::CLOSE_RANGE_CLOEXEC).map(drop)
}

/// Leaves the caller's session, so that its terminal's signals do not arrive.
pub(crate) fn new_session() -> Result<()> {
    syscall!(SYS_setsid).map(drop)
}

/// From here on `execve` grants nothing (PR_SET_NO_NEW_PRIVS in prctl(2)).
pub(crate) fn no_new_privileges() -> Result<()> {
    syscall!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)
}

/// Empties the bounding set but for `keep` (capabilities(7)); numbers the kernel does not know end the walk.
pub(crate) fn clear_bounding(keep: u64) -> Result<()> {
    for capability in (0..64).filter(|bit| keep & (1 << bit) == 0) {
        match syscall!(SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0) {
            Ok(_) => {}
            Err(libc::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets the permitted, effective and inheritable capabilities to exactly `mask`, and the ambient ones too.
pub(crate) fn set_capabilities(mask: u64) -> Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    let data = [[low; 3], [high; 3]];
    syscall!(SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)?;
    syscall!(SYS_capset, &raw const header, data.as_ptr())?;
    for capability in (0..64).filter(|bit| mask & (1 << bit) != 0) {
        syscall!(SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0)?;
    }
    Ok(())
}

/// Joins a fresh session keyring, so that the caller's is not readable inside (keyrings(7): they have no namespace).
pub(crate) fn new_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    match syscall!(SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<u8>()) {
        // A kernel without keyrings has none to read; a container's filter that refuses this refuses the rest of them inside.
        Ok(_) | Err(libc::ENOSYS | libc::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Executes the program behind a descriptor (execveat(2)); returns only on failure.
pub(crate) fn execute(program: RawFd, arguments: &[*const libc::c_char]) -> i32 {
    let environment = [ptr::null::<libc::c_char>()];
    let result =
        syscall!(SYS_execveat, program, c"".as_ptr(), arguments.as_ptr(), environment.as_ptr(), libc::AT_EMPTY_PATH);
    result.err().unwrap_or(0)
}

/// Ends this process at once, running no destructor and no handler.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
