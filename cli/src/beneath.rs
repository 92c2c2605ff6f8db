//! Files of one directory tree, reached without ever leaving it: no `..`, no symbolic link on the way unless that is asked
//! for, whatever somebody does to the tree meanwhile. The kernel resolves each path in one go (openat2(2)).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

/// Never waits (a pipe would block) and never acts (a device might).
const TO_READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// A directory tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

/// A directory inside and a name in it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) directory: OwnedFd,
    /// The name.
    pub(crate) name: std::ffi::OsString,
}

impl Tree {
    /// The tree below `root`.
    pub(crate) fn open(root: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { root: open(root, flags, Mode::empty())? })
    }

    fn reach(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        self.resolve(path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    fn resolve(&self, path: &Path, flags: OFlag, links: ResolveFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | links;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        // EAGAIN: something was renamed during the look-up, so that "beneath" could not be told for sure.
        let mut tries = 0;
        loop {
            match openat2(&self.root, path, how) {
                Err(Errno::EAGAIN) if tries < 16 => tries += 1,
                done => return done,
            }
        }
    }

    /// A regular file, opened to be read; `None` when there is nothing of this name.
    pub(crate) fn file(&self, path: &Path) -> Result<Option<File>, Errno> {
        regular(self.reach(path, TO_READ | OFlag::O_NOFOLLOW))
    }

    /// The same where symbolic links may stand on the way or at its end, as long as they lead nowhere else.
    pub(crate) fn linked_file(&self, path: &Path) -> Result<Option<File>, Errno> {
        regular(self.resolve(path, TO_READ, ResolveFlag::empty()))
    }

    /// The tree below one of its directories.
    pub(crate) fn below(&self, path: &Path) -> Result<Self, Errno> {
        Ok(Self { root: self.reach(path, OFlag::O_PATH | OFlag::O_DIRECTORY)? })
    }

    /// The directory a file stands in and its name there; missing directories are made and listed in `made`.
    pub(crate) fn place(&self, path: &Path, made: &mut Vec<Place>) -> Result<Place, Errno> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(Errno::EINVAL)?.to_owned();
        for above in
            parent.ancestors().collect::<Vec<_>>().into_iter().rev().filter(|above| !above.as_os_str().is_empty())
        {
            match self.reach(above, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Ok(_) => {}
                Err(Errno::ENOENT) => {
                    let within = self.place(above, &mut Vec::new())?;
                    mkdirat(&within.directory, within.name.as_os_str(), Mode::from_bits_truncate(0o777))?;
                    made.push(within);
                }
                Err(errno) => return Err(errno),
            }
        }
        // Not O_PATH: it is synchronised later.
        Ok(Place { directory: self.reach(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?, name })
    }
}

fn regular(opened: Result<OwnedFd, Errno>) -> Result<Option<File>, Errno> {
    let file = match opened {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if !is(&fstat(&file)?, libc_mode::REGULAR) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(file.into()))
}

impl AsFd for Place {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The file types of `st_mode` (inode(7)).
mod libc_mode {
    pub(super) const TYPE: u32 = 0o170_000;
    pub(super) const REGULAR: u32 = 0o100_000;
}

fn is(found: &FileStat, kind: u32) -> bool {
    found.st_mode & libc_mode::TYPE == kind
}

/// What a person is told about a path that cannot be used.
pub(crate) fn why(errno: Errno) -> String {
    match errno {
        Errno::ELOOP => "a symbolic link is on the way; name the file itself".into(),
        Errno::EXDEV => "it leads out of the workspace".into(),
        Errno::EINVAL => "it is not a regular file".into(),
        other => other.desc().to_owned(),
    }
}
