//! The entries of a directory as the kernel writes them (getdents64(2)): many in one call, and no copy of any.

use nix::errno::Errno;
use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Where the fields of `struct linux_dirent64` lie.
const LENGTH: usize = 16;
const KIND: usize = 18;
const NAME: usize = 19;

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Its inode number, which on some file systems is not the one that `stat` gives.
    pub(crate) inode: u64,
    /// `DT_REG` and the like; `DT_UNKNOWN` where the file system does not say.
    pub(crate) kind: u8,
    /// Neither `.` nor `..`.
    pub(crate) name: &'a [u8],
}

/// Writes the next entries of an open directory into `buffer`, which should have some 64 KiB; gives how much of it they fill,
/// zero at the end.
pub(crate) fn read(directory: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        // SAFETY: the kernel writes at most the length of the buffer, which lives across the call.
        let read =
            unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        match Errno::result(read) {
            Ok(length) => return Ok(length.unsigned_abs() as usize),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The entries in what [`read`] wrote.
pub(crate) fn entries(mut written: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        loop {
            let length = u16::from_ne_bytes(written.get(LENGTH..KIND)?.try_into().ok()?);
            let (entry, rest) = written.split_at_checked(length.into())?;
            written = rest;
            let inode = u64::from_ne_bytes(entry.get(..8)?.try_into().ok()?);
            let name = CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?.to_bytes();
            if name != b"." && name != b".." {
                return Some(Entry { inode, kind: *entry.get(KIND)?, name });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, os::fd::AsFd, os::unix::fs::MetadataExt};

    #[test]
    fn every_entry_is_read_once_however_small_the_buffer() {
        let place = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for index in 0..200 {
            let name = format!("{index}{}", "x".repeat(index));
            fs::write(place.path().join(&name), "").unwrap();
            expected.insert((name, libc::DT_REG));
        }
        fs::create_dir(place.path().join("directory")).unwrap();
        expected.insert(("directory".into(), libc::DT_DIR));
        for size in [512, 4096, 64 << 10] {
            let directory = fs::File::open(place.path()).unwrap();
            let mut buffer = vec![0; size];
            let mut found = BTreeSet::new();
            loop {
                let length = read(directory.as_fd(), &mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                for entry in entries(&buffer[..length]) {
                    let name = String::from_utf8(entry.name.to_vec()).unwrap();
                    assert_eq!(entry.inode, fs::symlink_metadata(place.path().join(&name)).unwrap().ino());
                    assert!(found.insert((name, entry.kind)));
                }
            }
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_cut_off_ends_the_entries() {
        assert_eq!(entries(&[]).count(), 0);
        assert_eq!(entries(&[0; 40]).count(), 0);
        assert_eq!(entries(&[0xff; 40]).count(), 0);
    }
}
