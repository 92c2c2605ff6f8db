//! One walk over a tree: reads directories, opens nothing else, follows no symlink, and stats no file it does not have to.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use nix::sys::statfs::fstatfs;

use super::globs::{Globs, Place, States, lowercase};
use super::{Mask, SurveyError};
use crate::reserve::is_marked;

/// A directory with a longer path is masked instead of read: the paths of its entries could not be given to the kernel.
const LONGEST_DIRECTORY: usize = 4_095 - 256;
/// A tree with more entries than this outside of every root is not searched.
pub(crate) const MOST_OUTSIDE: usize = 2_000_000;
/// Symlinked directories that are searched again under their second name.
const MOST_ALIASES: usize = 20_000;
/// File systems whose directory entries carry the inode number that `stat` gives: ext, xfs, btrfs, tmpfs, f2fs, zfs.
const EXACT: [i64; 6] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1];

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink,
    /// FIFO, socket, device: matched and masked like a file, never opened.
    Other,
}

/// One file on one file system.
pub(crate) type Inode = (u64, u64);

/// What the walks found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) masks: Vec<Mask>,
    /// Directories that were read and are not masked.
    pub(crate) directories: Vec<PathBuf>,
    /// Entries whose name is worth protecting, in the workspace.
    pub(crate) named: Vec<PathBuf>,
    /// Symlinks whose own name is denied.
    pub(crate) links: Vec<PathBuf>,
    /// Symlinks that give a directory, once they lead to one, a second name by which patterns apply to it.
    pub(crate) aliasing: Vec<PathBuf>,
    /// Directories below masks, and those that absolute patterns search outside of every root.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) beyond: Vec<PathBuf>,
    /// Inodes of denied files.
    pub(crate) denied: HashSet<Inode>,
    pub(crate) warnings: Vec<String>,
    /// Directories masked after they may have been read already.
    pub(crate) later: Vec<PathBuf>,
    /// Every other regular file: its inode, and the index of its directory.
    files: Vec<(Inode, u32)>,
    exact: HashMap<u64, bool>,
    /// Directories to read once more under another name, and all that were.
    queue: Vec<(PathBuf, States)>,
    aliases: HashSet<(PathBuf, States)>,
}

/// How a directory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything counts.
    Full,
    /// Read a second time under another name: only the patterns that the other name brought forward.
    Alias,
    /// Inside a denied directory: only inodes, so that a hard link elsewhere is found.
    Denied,
}

struct Pending {
    path: PathBuf,
    states: States,
    protect: States,
    place: Place,
    mode: Mode,
    /// Below `node_modules`, where editor and agent directories come with packages and mean nothing.
    vendored: bool,
}

/// Where a walk starts and what it looks for.
pub(crate) struct Walk<'a> {
    pub(crate) globs: &'a Globs,
    /// Patterns of paths to protect; empty outside of a writable workspace.
    pub(crate) protect: &'a Globs,
    /// Whether to note protected names.
    pub(crate) writable: bool,
    /// Symlink targets count only below these.
    pub(crate) roots: &'a [PathBuf],
    /// Whether the root is a git directory, whatever it is called.
    pub(crate) git: bool,
    /// Gives up after so many entries.
    pub(crate) most: usize,
}

impl Walk<'_> {
    /// Walks `root`. `Ok(false)` means that the tree has more than `most` entries.
    pub(crate) fn run(&self, root: &Path, found: &mut Found) -> Result<bool, SurveyError> {
        let first = self.pending(root, self.globs.start(root), self.protect.start(root), Mode::Full);
        Ok(self.drain(first, found)? && self.aliases(found)?)
    }

    /// Walks the directory `target`, which is also known under a name that brought some patterns to `states`.
    pub(crate) fn alias(&self, target: &Path, states: States, found: &mut Found) -> Result<bool, SurveyError> {
        found.queue.push((target.to_owned(), states));
        self.aliases(found)
    }

    fn aliases(&self, found: &mut Found) -> Result<bool, SurveyError> {
        while let Some((target, states)) = found.queue.pop() {
            if states.is_empty() || !found.aliases.insert((target.clone(), states.clone())) {
                continue;
            }
            if found.aliases.len() > MOST_ALIASES {
                let what = "symlinks to directories that patterns lead through";
                return Err(SurveyError::TooMany { what, most: MOST_ALIASES });
            }
            let first = self.pending(&target, states, States::default(), Mode::Alias);
            if !self.drain(first, found)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Masks `path`, and remembers what lies in it so that a hard link of it is found.
    pub(crate) fn deny(&self, path: &Path, found: &mut Found) -> Result<(), SurveyError> {
        let Ok(status) = fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
        let kind = kind_of(&status);
        found.masks.push(Mask { path: path.to_owned(), directory: kind == Kind::Directory });
        match kind {
            Kind::Directory => {
                found.later.push(path.to_owned());
                let first = self.pending(path, States::default(), States::default(), Mode::Denied);
                if !self.drain(first, found)? {
                    let what = "entries in one denied directory";
                    return Err(SurveyError::TooMany { what, most: self.most });
                }
            }
            Kind::File => {
                found.denied.insert((status.st_dev, status.st_ino));
            }
            Kind::Symlink | Kind::Other => {}
        }
        Ok(())
    }

    fn pending(&self, path: &Path, states: States, protect: States, mode: Mode) -> Pending {
        let vendored = path.iter().any(|name| name == "node_modules");
        let place = if self.git { Place::Git } else { Place::of(path) };
        Pending { path: path.to_owned(), states, protect, place, mode, vendored }
    }

    fn drain(&self, first: Pending, found: &mut Found) -> Result<bool, SurveyError> {
        let root = first.path.clone();
        let mut stack = vec![first];
        let mut entries = 0;
        let mut lower = Vec::with_capacity(256);
        while let Some(at) = stack.pop() {
            let directory = match open_directory(&at.path) {
                Ok(directory) => directory,
                Err(Errno::ENOENT) if at.path != root => continue,
                Err(Errno::ENOENT) if at.mode != Mode::Full => continue,
                Err(Errno::ENOTDIR | Errno::ELOOP) if at.path != root => {
                    // It was a directory a moment ago. Its parent has changed since the survey began, so the watch
                    // looks at it again.
                    continue;
                }
                Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSYS)) => {
                    return Err(SurveyError::Read { path: at.path, source: errno.into() });
                }
                Err(errno) if at.path == root && at.mode == Mode::Full => {
                    return Err(SurveyError::Read { path: at.path, source: errno.into() });
                }
                Err(errno) => {
                    if at.mode != Mode::Denied {
                        found.warnings.push(format!(
                            "{} cannot be listed ({}) and is hidden",
                            at.path.display(),
                            errno.desc()
                        ));
                        found.masks.push(Mask { path: at.path, directory: true });
                    }
                    continue;
                }
            };
            if !self.read(directory, &at, &mut stack, found, &mut lower, &mut entries)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads one directory; pushes its directories on the stack.
    fn read(
        &self,
        directory: OwnedFd,
        at: &Pending,
        stack: &mut Vec<Pending>,
        found: &mut Found,
        lower: &mut Vec<u8>,
        entries: &mut usize,
    ) -> Result<bool, SurveyError> {
        let failed = |errno: Errno| SurveyError::Read { path: at.path.clone(), source: errno.into() };
        let device = fstat(&directory).map_err(failed)?.st_dev;
        let exact = match found.exact.get(&device) {
            Some(&exact) => exact,
            None => {
                let exact = fstatfs(&directory).is_ok_and(|fs| EXACT.contains(&fs.filesystem_type().0));
                found.exact.insert(device, exact);
                exact
            }
        };
        let index = u32::try_from(found.directories.len())
            .map_err(|_| SurveyError::TooMany { what: "directories", most: u32::MAX as usize })?;
        if at.mode == Mode::Full {
            found.directories.push(at.path.clone());
        } else if at.mode == Mode::Denied {
            found.hidden.push(at.path.clone());
        } else if !super::holds(self.roots, &at.path) {
            found.beyond.push(at.path.clone());
        }
        let stream = Dir::from_fd(directory).map_err(failed)?;
        // The stream owns its descriptor while it is read, so what needs one uses a second.
        let mut side = None;
        for entry in stream {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return Err(failed(errno)),
            };
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            *entries += 1;
            if *entries > self.most {
                return Ok(false);
            }
            let name = OsStr::from_bytes(bytes);
            let mut inode = (device, entry.ino());
            let mut kind = entry.file_type().map(kind_of_type);
            if kind.is_none() || (!exact && kind == Some(Kind::File) && !self.globs.is_empty()) {
                if side.is_none() {
                    side = open_directory(&at.path).ok();
                }
                let status = match &side {
                    Some(side) => fstatat(side.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW),
                    None => Err(Errno::ENOENT),
                };
                let Ok(status) = status else { continue };
                kind = Some(kind_of(&status));
                inode = (status.st_dev, status.st_ino);
            }
            let Some(kind) = kind else { continue };
            self.entry(at, name, kind, inode, index, stack, found, lower);
        }
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "the inner loop: everything is borrowed apart for speed")]
    fn entry(
        &self,
        at: &Pending,
        name: &OsStr,
        kind: Kind,
        inode: Inode,
        index: u32,
        stack: &mut Vec<Pending>,
        found: &mut Found,
        lower: &mut Vec<u8>,
    ) {
        if at.mode == Mode::Denied {
            match kind {
                Kind::Directory => stack.push(self.child(at, name, States::default(), States::default(), Mode::Denied)),
                Kind::File => {
                    found.denied.insert(inode);
                }
                Kind::Symlink | Kind::Other => {}
            }
            return;
        }
        lowercase(name, lower);
        let names = at.mode == Mode::Full && at.place.names();
        let directory = kind == Kind::Directory;
        let hit = self.globs.hit(&at.states, lower, directory, names).is_some();
        if self.writable && at.mode == Mode::Full {
            let protected = super::protect::is_protected(name.as_bytes(), at.vendored);
            if protected
                || (!self.protect.is_empty() && self.protect.hit(&at.protect, lower, directory, true).is_some())
            {
                found.named.push(at.path.join(name));
            }
        }
        match kind {
            Kind::Directory => {
                let mode = if hit { Mode::Denied } else { at.mode };
                let states = self.globs.step(&at.states, lower, names);
                if at.mode == Mode::Alias && !hit && states.is_empty() {
                    return;
                }
                let child = self.child(at, name, states, self.protect.step(&at.protect, lower, true), mode);
                if hit || child.path.as_os_str().len() > LONGEST_DIRECTORY {
                    found.masks.push(Mask { path: child.path.clone(), directory: true });
                }
                if child.path.as_os_str().len() > LONGEST_DIRECTORY {
                    found.warnings.push(format!("a path below {} is too long and is hidden", at.path.display()));
                } else {
                    stack.push(child);
                }
            }
            Kind::Symlink => self.symlink(at, name, hit, found, lower),
            Kind::File | Kind::Other if hit => {
                found.masks.push(Mask { path: at.path.join(name), directory: false });
                if kind == Kind::File {
                    found.denied.insert(inode);
                }
            }
            Kind::File if at.mode == Mode::Full && !self.globs.is_empty() => found.files.push((inode, index)),
            Kind::File | Kind::Other => {}
        }
    }

    fn child(&self, at: &Pending, name: &OsStr, states: States, protect: States, mode: Mode) -> Pending {
        let vendored = at.vendored || name == "node_modules";
        Pending { path: at.path.join(name), states, protect, place: at.place.enter(name), mode, vendored }
    }

    /// A symlink is never followed by the walk. Denied by its name, its target is the secret; leading to a directory in
    /// the tree, it gives that directory a second name.
    fn symlink(&self, at: &Pending, name: &OsStr, hit: bool, found: &mut Found, lower: &[u8]) {
        let path = at.path.join(name);
        if hit {
            found.links.push(path);
            return;
        }
        let names = at.mode == Mode::Full && at.place.names();
        let as_directory = self.globs.hit(&at.states, lower, true, names).is_some();
        let states = self.globs.progressed(&self.globs.step(&at.states, lower, names));
        if !as_directory && states.is_empty() {
            return;
        }
        let target = path.canonicalize().ok().filter(|target| target.is_dir());
        match target {
            Some(_) if as_directory => found.links.push(path),
            Some(target) => {
                if super::holds(self.roots, &target) {
                    found.queue.push((target, states));
                }
                found.aliasing.push(path);
            }
            // It may lead to a directory later.
            None => found.aliasing.push(path),
        }
    }
}

impl Found {
    /// Masks every other name of a denied file. Reads those directories again that hold one.
    pub(crate) fn mask_hard_links(&mut self) {
        if self.denied.is_empty() {
            return;
        }
        let mut holders: Vec<u32> =
            self.files.iter().filter(|(inode, _)| self.denied.contains(inode)).map(|&(_, index)| index).collect();
        holders.sort_unstable();
        holders.dedup();
        for index in holders {
            let path = &self.directories[index as usize];
            let Ok(mut stream) = open_directory(path).and_then(Dir::from_fd) else { continue };
            let names: Vec<OsString> = stream
                .iter()
                .flatten()
                .filter(|entry| !matches!(entry.file_type(), Some(Type::Directory | Type::Symlink)))
                .map(|entry| OsString::from_vec(entry.file_name().to_bytes().to_vec()))
                .collect();
            for name in names {
                let Ok(status) = fstatat(&stream, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
                if kind_of(&status) == Kind::File && self.denied.contains(&(status.st_dev, status.st_ino)) {
                    self.masks.push(Mask { path: path.join(&name), directory: false });
                }
            }
        }
    }
}

/// Opens a directory by an absolute path in which no component is a symlink.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

/// What is at `path`, without following it when it is a symlink. What only a reservation put there is not there.
pub(crate) fn kind_at(path: &Path) -> Result<Kind, Errno> {
    match fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(status) if is_marked(&status) => Err(Errno::ENOENT),
        Ok(status) => Ok(kind_of(&status)),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn kind_of(status: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFLNK => Kind::Symlink,
        _ => Kind::Other,
    }
}

fn kind_of_type(kind: Type) -> Kind {
    match kind {
        Type::Directory => Kind::Directory,
        Type::File => Kind::File,
        Type::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}
