//! A directory as a stranger to this host sees it: a mount in which nothing belongs to root, to whom every file of the system
//! would be open otherwise. The kernel decides then, for each file and at each open, by what everybody may read; looking
//! through the directory for what to cover takes ten times as long, and sees only what is there now.
//!
//! Sources: "idmapped mounts" in mount_setattr(2), user_namespaces(7).

use crate::{
    program::Program,
    sys::{
        call,
        launch::{self, adopt},
    },
};
use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Root is nobody, and everybody else himself.
const OWNERS: &str = "0 65534 1\n1 1 65533\n65535 65535 4294901760\n";

/// A detached, read-only mount of `path` in which nothing belongs to root.
///
/// # Errors
/// On file systems without such mounts (overlayfs, network file systems), and for whoever is not root of the whole machine.
pub(crate) fn view(path: &Path) -> io::Result<OwnedFd> {
    let owners = owners()?;
    let source = CString::new(path.as_os_str().as_bytes())?;
    let errno = io::Error::from_raw_os_error;
    let mount = adopt(call::clone_mount(libc::AT_FDCWD, &source, true).map_err(errno)?);
    call::map_owners(mount.as_raw_fd(), owners.as_raw_fd()).map_err(errno)?;
    Ok(mount)
}

/// A user namespace in which root is nobody. It outlives the process that it was made for.
fn owners() -> io::Result<File> {
    // Without a step it ends at once.
    let started = launch::launch(&mut Program::new(Vec::new(), Vec::new()), libc::CLONE_NEWUSER as u64)?;
    let file = |name: &str| format!("/proc/{}/{name}", started.pid);
    let namespace = fs::write(file("uid_map"), OWNERS)
        .and_then(|()| fs::write(file("gid_map"), OWNERS))
        .and_then(|()| File::open(file("ns/user")));
    started.reap();
    namespace
}
