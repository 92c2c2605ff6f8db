//! Which names nobody inside can make mean another file: those whose every directory is mounted read-only, is part of nothing
//! that is mounted writable elsewhere inside, and belongs to root alone.

use crate::{
    notify::{LINKS, View, components},
    proc,
};
use nix::{
    fcntl::readlinkat,
    sys::stat::{Mode, SFlag, fstat},
};
use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// The mounts of a sandbox (proc_pid_mountinfo(5)). Masks that come later take files away and make nothing writable.
pub(crate) struct Mounts(Vec<Mount>);

struct Mount {
    device: Vec<u8>,
    /// What of its file system is mounted, and where.
    root: PathBuf,
    point: PathBuf,
    writable: bool,
}

impl Mounts {
    /// Those that a process of the host's sees.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/mountinfo"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other("a line that is no mount"))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
        lines.map(Mount::parse).collect::<Option<_>>().map(Self)
    }

    /// Whether anybody inside could make entries of this directory, by whatever name.
    fn let_write(&self, directory: &Path) -> bool {
        // Of mounts at one place the last one is on top.
        let above = self.0.iter().filter(|mount| directory.starts_with(&mount.point));
        let Some(mount) = above.max_by_key(|mount| mount.point.as_os_str().len()) else { return true };
        let Ok(rest) = directory.strip_prefix(&mount.point) else { return true };
        let place = mount.root.join(rest);
        let same = |other: &&Mount| other.writable && other.device == mount.device && place.starts_with(&other.root);
        mount.writable || self.0.iter().find(same).is_some()
    }

    /// The path that an absolute one leads to, when it is fixed.
    pub(crate) fn fixed(&self, view: &View, path: &Path) -> Option<PathBuf> {
        let (mut at, mut ahead, mut links) = (PathBuf::from("/"), components(path), 0);
        while let Some(name) = ahead.pop() {
            if self.let_write(&at) || !belongs_to_root(view, &at)? {
                return None;
            }
            if name == ".." {
                at.pop();
                continue;
            }
            let next = view.place(&at.join(&name)).ok()?;
            if SFlag::from_bits_truncate(fstat(&next).ok()?.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
                at.push(name);
                continue;
            }
            links += 1;
            if links > LINKS {
                return None;
            }
            let text = PathBuf::from(readlinkat(next.as_fd(), "").ok()?);
            if text.is_absolute() {
                at = PathBuf::from("/");
            }
            ahead.extend(components(&text));
        }
        Some(at)
    }
}

/// Whether nobody but root could write a directory outside either. The first one is the sandbox's own.
fn belongs_to_root(view: &View, directory: &Path) -> Option<bool> {
    let found = fstat(view.place(directory).ok()?).ok()?;
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    let alone = found.st_uid == 0 && !Mode::from_bits_truncate(found.st_mode).intersects(others);
    Some(alone || directory == Path::new("/"))
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').skip(2);
        let (device, root, point, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let writable = options.split(|byte| *byte == b',').any(|option| option == b"rw");
        Some(Self { device: device.to_owned(), root: proc::mounted(root)?, point: proc::mounted(point)?, writable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    #[test]
    fn a_directory_can_be_written_where_any_of_its_mounts_can() {
        let text = b"1 0 0:30 / / ro,nosuid - tmpfs tmpfs rw\n\
                    2 1 254:0 /usr /usr ro,nosuid - ext4 /dev/vda rw\n\
                    3 1 254:0 /usr/local /work\\040shop\xff rw - ext4 /dev/vda rw\n\
                    4 1 254:1 /usr /other rw - ext4 /dev/vdb rw\n";
        let mounts = Mounts::parse(text).unwrap();
        let written = |path: &str| mounts.let_write(Path::new(path));
        assert!(!written("/") && !written("/usr") && !written("/usr/bin"));
        assert!(written("/usr/local") && written("/usr/local/bin") && written("/other"));
        assert!(mounts.let_write(Path::new(OsStr::from_bytes(b"/work shop\xff/bin"))));
        assert!(Mounts::parse(b"nonsense").is_none());
    }
}
