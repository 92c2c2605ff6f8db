//! One walk over a tree: reads directories, opens nothing else, follows no symlink, and stats no file it does not have to.
//!
//! Its cost is the kernel's for reading names, so large trees are read by several threads, and a name that no pattern and
//! no rule is about is looked at once and never copied.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::iter;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::libc::{DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, Statfs, TMPFS_MAGIC, fstatfs};

use super::found::{Found, Listed};
use super::globs::{Globs, Place, States, lowercase};
use super::{Mask, SurveyError};
use crate::reserve::is_marked;
use crate::sys::entries;
use crate::threads::work_off;

/// A directory with a longer path is masked instead of read: the paths of its entries could not be given to the kernel.
const LONGEST_DIRECTORY: usize = 4_095 - 256;
/// A tree with more entries than this outside of every root is not searched.
pub(crate) const MOST_OUTSIDE: usize = 2_000_000;
/// Symlinked directories that are searched again under their second name.
const MOST_ALIASES: usize = 20_000;
/// What the kernel fills with entries at once.
const BUFFER: usize = 64 << 10;
/// The same for a directory that is read alone, and has few.
const SMALL_BUFFER: usize = 4 << 10;
/// ext, xfs, btrfs, tmpfs, f2fs, zfs; two have no name in every C library.
const LOCAL: [FsType; 6] =
    [EXT4_SUPER_MAGIC, FsType(0x5846_5342), BTRFS_SUPER_MAGIC, TMPFS_MAGIC, F2FS_SUPER_MAGIC, FsType(0x2FC1_2FC1)];

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink,
    /// A socket or a FIFO: matched and masked like a file, never opened.
    Channel,
    /// A device: the same.
    Other,
}

/// One file on one file system.
pub(crate) type Inode = (u64, u64);

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
    /// Whether the walk started here.
    top: bool,
    states: States,
    protect: States,
    place: Place,
    mode: Mode,
    /// Below a directory that a package manager fills.
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
        let kind = Kind::of(&status);
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
                found.denied.push((status.st_dev, status.st_ino));
            }
            Kind::Symlink | Kind::Channel | Kind::Other => {}
        }
        Ok(())
    }

    fn pending(&self, path: &Path, states: States, protect: States, mode: Mode) -> Pending {
        let place = if self.git { Place::Git } else { Place::of(path) };
        // What the root itself lies in says nothing about the work in it.
        Pending { path: path.to_owned(), top: true, states, protect, place, mode, vendored: false }
    }

    /// Reads everything from `first` down. `Ok(false)` as for [`run`](Self::run).
    fn drain(&self, first: Pending, found: &mut Found) -> Result<bool, SurveyError> {
        let entries = AtomicUsize::new(0);
        let read = |at, todo: &mut Vec<Pending>, reader: &mut Reader| {
            let more = reader.read(self, at, todo).map_err(Some)?;
            // More than enough is no error of the walk: whoever asked knows what it means.
            if entries.fetch_add(more, Ordering::Relaxed) + more > self.most { Err(None) } else { Ok(()) }
        };
        match work_off(first, read) {
            Ok(readers) => readers.into_iter().for_each(|reader| found.append(reader.found)),
            Err(None) => return Ok(false),
            Err(Some(error)) => return Err(error),
        }
        Ok(true)
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

/// One thread's part of a walk.
#[derive(Default)]
struct Reader {
    found: Found,
    buffer: Vec<u8>,
    lower: Vec<u8>,
    files: Vec<Inode>,
    /// Which of the file systems that were met are [`is_local`].
    local: HashMap<u64, bool>,
}

impl Reader {
    /// Reads one directory, adds those in it to `todo` and gives how many entries it has.
    fn read(&mut self, walk: &Walk<'_>, at: Pending, todo: &mut Vec<Pending>) -> Result<usize, SurveyError> {
        let directory = match open_directory(&at.path) {
            Ok(directory) => directory,
            Err(errno) => return self.unreadable(at, errno).map(|()| 0),
        };
        let failed = |errno: Errno| SurveyError::Read { path: at.path.clone(), source: errno.into() };
        let device = fstat(&directory).map_err(failed)?.st_dev;
        let look = || fstatfs(&directory).is_ok_and(|status| is_local(&status));
        let local = *self.local.entry(device).or_insert_with(look);
        self.found.foreign |= !local;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let mut count = 0;
        loop {
            let length = entries::read(directory.as_fd(), &mut buffer).map_err(failed)?;
            if length == 0 {
                break;
            }
            for entry in entries::entries(&buffer[..length]) {
                count += 1;
                let known = known_kind(entry.kind).filter(|kind| local || *kind != Kind::File || walk.globs.is_empty());
                let (kind, inode) = match known {
                    Some(kind) => (kind, (device, entry.inode)),
                    None => match fstatat(&directory, OsStr::from_bytes(entry.name), AtFlags::AT_SYMLINK_NOFOLLOW) {
                        Ok(status) => (Kind::of(&status), (status.st_dev, status.st_ino)),
                        Err(_) => continue,
                    },
                };
                self.entry(walk, &at, entry.name, kind, inode, todo);
            }
        }
        self.buffer = buffer;
        match at.mode {
            Mode::Full => {
                let files = self.files.as_slice().into();
                self.found.directories.push(Listed { path: at.path, files });
            }
            Mode::Denied => self.found.hidden.push(at.path),
            Mode::Alias if !super::holds(walk.roots, &at.path) => self.found.beyond.push(at.path),
            Mode::Alias => {}
        }
        self.files.clear();
        Ok(count)
    }

    /// What to do about a directory that cannot be opened.
    fn unreadable(&mut self, at: Pending, errno: Errno) -> Result<(), SurveyError> {
        let root = at.top && at.mode == Mode::Full;
        match errno {
            Errno::ENOENT if !root => Ok(()),
            // It was a directory a moment ago. Its parent has changed since the survey began, so the watch looks at it again.
            Errno::ENOTDIR | Errno::ELOOP if !at.top => Ok(()),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSYS => {
                Err(SurveyError::Read { path: at.path, source: errno.into() })
            }
            _ if root => Err(SurveyError::Read { path: at.path, source: errno.into() }),
            _ if at.mode == Mode::Denied => Ok(()),
            _ => {
                let why = errno.desc();
                self.found.warnings.push(format!("{} cannot be listed ({why}) and is hidden", at.path.display()));
                self.found.masks.push(Mask { path: at.path, directory: true });
                Ok(())
            }
        }
    }

    fn entry(
        &mut self,
        walk: &Walk<'_>,
        at: &Pending,
        bytes: &[u8],
        kind: Kind,
        inode: Inode,
        todo: &mut Vec<Pending>,
    ) {
        let name = OsStr::from_bytes(bytes);
        if at.mode == Mode::Denied {
            match kind {
                Kind::Directory => todo.push(at.child(name, States::default(), States::default(), Mode::Denied)),
                Kind::File => self.found.denied.push(inode),
                Kind::Symlink | Kind::Channel | Kind::Other => {}
            }
            return;
        }
        let (found, lower) = (&mut self.found, &mut self.lower);
        lowercase(name, lower);
        let names = at.mode == Mode::Full && at.place.names();
        let directory = kind == Kind::Directory;
        let hit = walk.globs.hit(&at.states, lower, directory, names).is_some();
        if walk.writable && at.mode == Mode::Full {
            let protected = super::protect::is_protected(bytes, at.vendored);
            if protected
                || (!walk.protect.is_empty() && walk.protect.hit(&at.protect, lower, directory, true).is_some())
            {
                found.named.push(at.path.join(name));
            }
        }
        match kind {
            Kind::Directory => {
                let mode = if hit { Mode::Denied } else { at.mode };
                let states = walk.globs.step(&at.states, lower, names);
                if at.mode == Mode::Alias && !hit && states.is_empty() {
                    return;
                }
                let child = at.child(name, states, walk.protect.step(&at.protect, lower, true), mode);
                let too_long = child.path.as_os_str().len() > LONGEST_DIRECTORY;
                if hit || too_long {
                    found.masks.push(Mask { path: child.path.clone(), directory: true });
                }
                if too_long {
                    found.warnings.push(format!("a path below {} is too long and is hidden", at.path.display()));
                } else {
                    todo.push(child);
                }
            }
            Kind::Symlink => walk.symlink(at, name, hit, found, lower),
            Kind::File | Kind::Channel | Kind::Other if hit => {
                found.masks.push(Mask { path: at.path.join(name), directory: false });
                if kind == Kind::File {
                    found.denied.push(inode);
                }
            }
            Kind::File if at.mode == Mode::Full && !walk.globs.is_empty() => self.files.push(inode),
            Kind::Channel if at.mode == Mode::Full => found.channels.extend(leading_out(at.path.join(name))),
            Kind::File | Kind::Channel | Kind::Other => {}
        }
    }
}

impl Pending {
    fn child(&self, name: &OsStr, states: States, protect: States, mode: Mode) -> Pending {
        let vendored = self.vendored || super::protect::holds_packages(name);
        let path = self.path.join(name);
        let place = self.place.enter(name, &path);
        Pending { path, top: false, states, protect, place, mode, vendored }
    }
}

/// Whether it is a file system of this machine's own kernel: its directory entries carry the inode number that `stat` gives, and
/// its changes the time of the kernel's clock.
pub(super) fn is_local(status: &Statfs) -> bool {
    LOCAL.contains(&status.filesystem_type())
}

/// Opens a directory by an absolute path in which no component is a symlink.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

/// What the directory `path` is really called. Mostly that, which the kernel tells with one call.
pub(crate) fn real_directory(path: &Path) -> Option<PathBuf> {
    let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    if plain && open_directory(path).is_ok() { Some(path.components().collect()) } else { path.canonicalize().ok() }
}

/// The paths of what is in a directory, which is opened as [`open_directory`] does, and what each is: also what only a
/// reservation put there.
pub(crate) fn entries_of(directory: &Path) -> Result<impl Iterator<Item = (PathBuf, Kind)>, Errno> {
    let (open, at) = (open_directory(directory)?, directory.to_owned());
    let mut buffer = vec![0; SMALL_BUFFER];
    let batches = iter::from_fn(move || {
        let length = entries::read(open.as_fd(), &mut buffer).ok().filter(|length| *length > 0)?;
        let paths = entries::entries(&buffer[..length]).filter_map(|entry| {
            let name = OsStr::from_bytes(entry.name);
            let look = || fstatat(&open, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok().as_ref().map(Kind::of);
            Some((at.join(name), known_kind(entry.kind).or_else(look)?))
        });
        Some(paths.collect::<Vec<_>>())
    });
    Ok(batches.flatten())
}

/// What is at `path`, without following it when it is a symlink. What only a reservation put there is not there.
pub(crate) fn kind_at(path: &Path) -> Result<Kind, Errno> {
    entry_at(path)?.map_err(|_| Errno::ENOENT)
}

/// As [`kind_at`], and the kind of what a reservation put there.
pub(crate) fn entry_at(path: &Path) -> Result<Result<Kind, Kind>, Errno> {
    let status = fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = Kind::of(&status);
    Ok(if is_marked(AT_FDCWD, path, &status) { Err(kind) } else { Ok(kind) })
}

/// The path of a socket or a FIFO, if there may be somebody at its other end. Who holds a FIFO is not to be learned without
/// being noticed. A socket tells everybody whether it is bound, and nobody notices a datagram socket that asks: where another
/// kind is bound the kernel refuses it, and to one of its own kind it sends nothing (unix(7), connect(2)).
fn leading_out(path: PathBuf) -> Option<PathBuf> {
    let kind = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?.st_mode;
    if SFlag::from_bits_truncate(kind) & SFlag::S_IFMT == SFlag::S_IFIFO {
        return Some(path);
    }
    let asked = UnixAddr::new(&path).and_then(|address| {
        let asking = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        connect(asking.as_raw_fd(), &address)
    });
    (!matches!(asked, Err(Errno::ECONNREFUSED | Errno::ENOENT))).then_some(path)
}

impl Kind {
    pub(super) fn of(status: &FileStat) -> Kind {
        match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFLNK => Kind::Symlink,
            SFlag::S_IFSOCK | SFlag::S_IFIFO => Kind::Channel,
            _ => Kind::Other,
        }
    }
}

/// The kind that a directory entry tells, if it does.
fn known_kind(kind: u8) -> Option<Kind> {
    match kind {
        DT_UNKNOWN => None,
        DT_DIR => Some(Kind::Directory),
        DT_REG => Some(Kind::File),
        DT_LNK => Some(Kind::Symlink),
        DT_SOCK | DT_FIFO => Some(Kind::Channel),
        _ => Some(Kind::Other),
    }
}
