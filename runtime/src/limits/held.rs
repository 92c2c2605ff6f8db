//! What a process has open. Each of its threads may have a table of descriptors of its own (unshare(2)), and the first thread
//! may have ended while others go on.

use crate::{proc, sys::notify};
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// Shows `found` everything that a process has open, as `/proc` links to it. Whether it may have something else that cannot be
/// looked at: what it keeps to itself (`PR_SET_DUMPABLE`, prctl(2)), or descriptors on their way.
pub(super) fn look(pid: i32, mut found: impl FnMut(&Path, &Metadata)) -> bool {
    tables(pid).into_iter().fold(false, |hidden, thread| hidden | look_at(thread, &mut found))
}

fn look_at(thread: i32, found: &mut impl FnMut(&Path, &Metadata)) -> bool {
    let open = match fs::read_dir(format!("/proc/{thread}/fd")) {
        Ok(open) => open,
        Err(error) => return !has_ended(&error) && !is_dead(thread),
    };
    let mut hidden = false;
    for link in open.flatten().map(|entry| entry.path()) {
        if let Ok(metadata) = fs::metadata(&link) {
            found(&link, &metadata);
            hidden |= metadata.file_type().is_socket() && on_its_way(thread, &link);
        }
    }
    hidden
}

/// One thread for each table that the threads of a process have. Those that share one are rarely apart.
pub(super) fn tables(pid: i32) -> Vec<i32> {
    let mut threads: Vec<i32> = proc::threads(format!("/proc/{pid}")).collect();
    threads.dedup_by(|thread, last| notify::share_files(*last, *thread));
    threads
}

/// Whether only its status is left, of which the kernel makes a secret as well.
fn is_dead(thread: i32) -> bool {
    let stat = proc::text(format!("/proc/{thread}/stat")).unwrap_or_default();
    proc::fields(&stat).and_then(|mut fields| fields.next()).is_none_or(|state| matches!(state, "Z" | "X"))
}

/// Whether an error says that the process is no more.
pub(super) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether a socket holds descriptors that were sent and not yet received: what those are, nobody tells (unix(7)).
fn on_its_way(thread: i32, link: &Path) -> bool {
    let Some(descriptor) = link.file_name() else { return true };
    match proc::text(Path::new(&format!("/proc/{thread}/fdinfo")).join(descriptor)) {
        Ok(info) => info.lines().any(|line| line.strip_prefix("scm_fds:").is_some_and(|count| count.trim() != "0")),
        Err(error) => !has_ended(&error),
    }
}
