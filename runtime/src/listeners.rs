//! Sockets of the host whose names lie where a sandbox shows the host's files. A read-only mount keeps nobody from connecting to
//! one, and Landlock does not yet (unix(7)); in the workspace the survey finds them, elsewhere nobody looks through the trees.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::PathBuf,
};

/// Those with a path that leads there now, without symlinks; none where `/proc` does not tell (proc(5), `/proc/net/unix`).
pub(crate) fn with_a_path() -> Vec<PathBuf> {
    let list = fs::read("/proc/self/net/unix").unwrap_or_default();
    // A path stands there once more for each connection that was accepted by it.
    let paths: HashSet<&[u8]> = list.split(|&byte| byte == b'\n').filter_map(path).collect();
    let real = paths.into_iter().filter_map(|path| fs::canonicalize(OsStr::from_bytes(path)).ok());
    real.filter(|path| path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())).collect()
}

/// What stands after the seven fields of a line, if it is a path; an abstract name begins with `@`.
fn path(line: &[u8]) -> Option<&[u8]> {
    let start = line.windows(2).position(|two| two == b" /")? + 1;
    line.get(start..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_listener_is_found_by_its_real_path_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("a name");
        fs::create_dir(&real).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let _listener = UnixListener::bind(link.join("socket @1")).unwrap();
        let gone = real.join("gone");
        let _gone = UnixListener::bind(&gone).unwrap();
        fs::remove_file(&gone).unwrap();
        let found = with_a_path();
        assert!(found.contains(&real.join("socket @1")), "{found:?}");
        assert!(!found.contains(&gone));
    }
}
