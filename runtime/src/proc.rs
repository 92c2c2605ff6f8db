//! What `/proc` says of processes (proc(5)). Between its numbers stand names that programs chose: of themselves, of files, of
//! groups. They may be any bytes, and one that is cut to the room it has may end inside a letter.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// A file of `/proc` as text. What is no UTF-8 is replaced, so this is for its numbers and words, not for the names.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The number that a file holds and nothing else, as those below `/proc/sys` do (proc_sys(5)).
pub(crate) fn number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The fields of a process's or thread's `stat` from the third on, its state (proc_pid_stat(5)).
pub(crate) fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    // The name in parentheses may hold spaces and parentheses itself: count from the last one.
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// The threads of the process whose directory this is, the first one also when it has ended.
pub(crate) fn threads(process: impl AsRef<Path>) -> impl Iterator<Item = i32> {
    let threads = fs::read_dir(process.as_ref().join("task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok())
}

/// A path as a list of mounts has it: space, tab, line end and backslash in three octal digits (proc_pid_mountinfo(5)).
pub(crate) fn mounted(field: &[u8]) -> Option<PathBuf> {
    let mut parts = field.split(|byte| *byte == b'\\');
    let mut path = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(3)?;
        path.push(u8::from_str_radix(str::from_utf8(code).ok()?, 8).ok()?);
        path.extend(rest);
    }
    Some(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_whatever_bytes_it_has() {
        let expected = OsString::from_vec(b"/work shop\\/\xff".into());
        assert_eq!(mounted(b"/work\\040shop\\134/\xff"), Some(expected.into()));
        assert_eq!((mounted(b"/cut\\04"), mounted(b"/no\\\xff00")), (None, None));
    }
}
