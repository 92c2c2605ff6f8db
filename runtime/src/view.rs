//! What of the host's system every sandbox sees.

use crate::plan::{Access, Masked, Mount};
use std::{
    ffi::CStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// System directories, where they exist. Not `/run`, `/srv`, `/sys` or `/boot`: sockets, state and other people's
/// data live there; of `/var` only what belongs to the programs, and without which they fail: what is installed, formats of
/// TeX, dictionaries.
pub const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/etc",
    "/nix/store",
    "/var/lib/dpkg",
    "/var/lib/texmf",
    "/var/lib/aspell",
];

/// Where a system keeps what root alone may read beside what all programs must.
pub(crate) const SETTINGS: &str = "/etc";

/// Files of `/proc` that tell about the whole machine or change it, covered or read-only inside.
pub(crate) const PROC_MASKED: [&str; 12] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/sched_debug",
    "proc/sysrq-trigger",
    "proc/kmsg",
    "proc/vmallocinfo",
    "proc/kpageflags",
    "proc/kpagecount",
    "proc/kpagecgroup",
    "proc/slabinfo",
];

/// Directories of `/proc`, beside `/proc/sys`, that nobody inside may write, whatever his uid outside.
pub(crate) const PROC_READ_ONLY: [&str; 5] = ["proc/irq", "proc/bus", "proc/acpi", "proc/scsi", "proc/pressure"];

/// The directory of `/proc` that tells about the host's file systems, covered by the tree of masks. The tree stays there
/// because before Linux 6.15 only what is attached can be copied (open_tree(2)).
pub(crate) const MASKS: &CStr = c"proc/fs";

/// What covers files that nobody may read, inside the tree of masks.
pub(crate) const COVER_FILE: &CStr = c"/proc/fs/file";
/// As [`COVER_FILE`], for directories.
pub(crate) const COVER_DIRECTORY: &CStr = c"/proc/fs/directory";

/// File systems in memory that every sandbox can write.
pub(crate) const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What every sandbox has of its own, whatever the host has there.
pub(crate) const OWN: [&str; 5] = ["/dev", "/proc", "/sys", "/tmp", "/var/tmp"];

/// Devices that carry nothing from one process to another.
pub(crate) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The system part of a view: directories read-only, links as links.
pub(crate) fn system() -> Vec<Mount> {
    let mut mounts = Vec::new();
    for path in SYSTEM.map(PathBuf::from) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                if let Ok(target) = fs::read_link(&path) {
                    mounts.push(Mount::Link { path, target });
                }
            }
            Ok(found) if found.is_dir() => mounts.push(Mount::Bind { path, access: Access::ReadOnly }),
            _ => {}
        }
    }
    mounts
}

/// What of `/etc` a stranger to this host could not read. Root runs sandboxes as the files' owner, so the mode that keeps
/// strangers out would not keep the sandbox out.
pub(crate) fn private_settings() -> Vec<Masked> {
    let mut masks = Vec::new();
    if nix::unistd::geteuid().is_root() {
        collect_private(Path::new(SETTINGS), 0, &mut masks);
    }
    masks
}

/// Whether `/etc` of a view is to be shown as a stranger sees it: to root alone it looks otherwise.
pub(crate) fn is_private(view: &[Mount]) -> bool {
    let below = |mount: &&Mount| mount.path().starts_with(SETTINGS);
    let read_only = Mount::Bind { path: SETTINGS.into(), access: Access::ReadOnly };
    nix::unistd::geteuid().is_root() && view.iter().filter(below).eq([&read_only])
}

fn collect_private(directory: &Path, depth: usize, masks: &mut Vec<Masked>) {
    const DEPTH: usize = 4;
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // A link's own mode says nothing, and what it points to is judged where it stands.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let Ok(found) = entry.metadata() else { continue };
        let needed = if found.is_dir() { 0o005 } else { 0o004 };
        let open = found.permissions().mode() & needed == needed;
        if !open && found.uid() == 0 {
            masks.push(Masked { path: entry.path(), directory: found.is_dir() });
        } else if found.is_dir() && depth < DEPTH {
            collect_private(&entry.path(), depth + 1, masks);
        }
    }
}
