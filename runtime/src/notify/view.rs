//! What a name means to a caller: its sandbox's root, its own working directory and descriptors, its own `/proc/self`.

use super::Target;
use crate::{proc, sys::notify};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlink, readlinkat},
    sys::{
        stat::{Mode, SFlag, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

type Result<T> = std::result::Result<T, Errno>;

/// As many symbolic links as the kernel follows (path_resolution(7)).
pub(crate) const LINKS: usize = 40;
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// The files of one sandbox as its processes see them.
#[derive(Debug)]
pub(crate) struct View {
    root: OwnedFd,
}

impl View {
    /// The view of the process with this number on the host.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/root");
        Ok(Self { root: openat(AT_FDCWD, path.as_str(), PLACE | OFlag::O_DIRECTORY, Mode::empty())? })
    }

    /// Names, without opening it, what `path` means to the caller relative to the open directory `directory`
    /// (`AT_FDCWD`: its working directory). The errno is what the kernel would tell the caller.
    pub(crate) fn find(&self, target: Target, directory: i32, path: &Path, follow: bool) -> Result<OwnedFd> {
        if path.as_os_str().is_empty() {
            return Err(Errno::ENOENT);
        }
        let start = if path.is_absolute() { None } else { Some(target.directory(directory)?) };
        let whole = start.as_ref().map(|start| start.join(path));
        let whole = whole.as_deref().unwrap_or(path);
        let flags = if follow { PLACE } else { PLACE | OFlag::O_NOFOLLOW };
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match openat2(&self.root, whole, how) {
            Ok(found) => Ok(found),
            // `/proc/self` is nobody to us, and links that are no text (proc_pid_fd(5)) are not followed there.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::EXDEV) => {
                let start = match start {
                    Some(_) => target.open_directory(directory)?,
                    None => self.duplicate()?,
                };
                self.walk(target, start, path, follow)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Names the place at a path on which there is no link.
    pub(crate) fn place(&self, path: &Path) -> Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS;
        openat2(&self.root, path, OpenHow::new().flags(PLACE | OFlag::O_NOFOLLOW).resolve(resolve))
    }

    fn duplicate(&self) -> Result<OwnedFd> {
        openat(&self.root, ".", PLACE, Mode::empty())
    }

    /// One component after the other. `..` of the sandbox's root is itself, for it is the root of its mount namespace.
    fn walk(&self, target: Target, start: OwnedFd, path: &Path, follow: bool) -> Result<OwnedFd> {
        let mut at = start;
        let mut ahead = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            let next = openat(&at, name.as_os_str(), PLACE | OFlag::O_NOFOLLOW, Mode::empty())?;
            let is_link = SFlag::from_bits_truncate(fstat(&next)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK;
            if !is_link || (ahead.is_empty() && !follow) {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::ELOOP);
            }
            let text = match (fstatfs(&at)?.filesystem_type() == PROC_SUPER_MAGIC, name.as_bytes()) {
                (true, b"self") => target.own_name()?.0,
                (true, b"thread-self") => target.own_name()?.1,
                (false, _) | (true, b"mounts" | b"net") => PathBuf::from(readlinkat(&next, "")?),
                (true, _) => {
                    at = openat(&at, name.as_os_str(), PLACE, Mode::empty())?;
                    continue;
                }
            };
            if text.is_absolute() {
                at = self.duplicate()?;
            }
            ahead.extend(components(&text));
        }
        Ok(at)
    }
}

/// What is to be walked, the next one last.
pub(crate) fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

/// The path of an open place, as it is called inside the sandbox whose view it was found in.
pub(crate) fn path_of(place: BorrowedFd<'_>) -> Result<PathBuf> {
    Ok(PathBuf::from(readlink(format!("/proc/self/fd/{}", place.as_raw_fd()).as_str())?))
}

impl Target {
    /// The path of the caller's open directory, or of its working directory.
    fn directory(self, directory: i32) -> Result<PathBuf> {
        Ok(PathBuf::from(readlink(self.link(directory).as_str())?))
    }

    /// Names what the caller's descriptor is open to, a file or a directory.
    pub(crate) fn open_descriptor(self, fd: i32) -> Result<OwnedFd> {
        openat(AT_FDCWD, self.link(fd).as_str(), PLACE, Mode::empty())
    }

    /// The number of the caller's process on the host.
    pub(crate) fn process(self) -> Option<i32> {
        if notify::leads(self.thread) {
            return Some(self.thread);
        }
        let status = proc::text(format!("/proc/{}/status", self.thread)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
    }

    fn open_directory(self, directory: i32) -> Result<OwnedFd> {
        openat(AT_FDCWD, self.link(directory).as_str(), PLACE | OFlag::O_DIRECTORY, Mode::empty())
    }

    fn link(self, directory: i32) -> String {
        match directory {
            libc::AT_FDCWD => format!("/proc/{}/cwd", self.thread),
            fd => format!("/proc/{}/fd/{fd}", self.thread),
        }
    }

    /// What `/proc/self` and `/proc/thread-self` say to the caller, in its own numbers.
    fn own_name(self) -> Result<(PathBuf, PathBuf)> {
        let status = proc::text(format!("/proc/{}/status", self.thread)).map_err(|_| Errno::ESRCH)?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next_back().map(OsString::from)
        };
        let (process, thread) = number("NStgid:").zip(number("NSpid:")).ok_or(Errno::ESRCH)?;
        let process = PathBuf::from(process);
        let thread = process.join("task").join(thread);
        Ok((process, thread))
    }
}
