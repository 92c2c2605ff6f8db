//! Notices what appears after the survey: a path that is denied, a masked or protected path that was replaced outside.
//!
//! A mount goes with the file it stands on. When somebody outside renames a new file over it, or removes it and makes it
//! again, the new one is bare, so each such path is reported again. Between the appearance of a file and the mask on it lie
//! some milliseconds.
//!
//! Not watched: what absolute patterns deny outside of every root, and new files behind a symlinked directory that are
//! denied only by that second path.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::stat::{FileStat, fstatat};

use crate::plan::Denied;
use crate::survey::{Globs, Inode, Kind, Place, States, SurveyError, kind_of, open_directory};

/// The clock that stamps files may be this much behind the one that was asked when the survey began.
const SLACK: Duration = Duration::from_secs(1);

/// What to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The workspace, the other roots and the git directories: where relative patterns start.
    pub(crate) roots: &'a [PathBuf],
    /// The directories the survey read.
    pub(crate) directories: &'a [PathBuf],
    /// The deny patterns.
    pub(crate) deny: &'a [Denied],
    /// What is masked already.
    pub(crate) masked: &'a [PathBuf],
    /// What is protected already, existing or reserved.
    pub(crate) kept: &'a [PathBuf],
    /// When the survey began; directories changed since then are looked at again. `None`: all are.
    pub(crate) since: Option<SystemTime>,
}

/// What to do about a path that appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// Cover it.
    Mask,
    /// Make it read-only again.
    Protect,
}

/// Why nothing can be watched, or not any longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The kernel's bound on watches.
    #[error(
        "cannot watch {directories} directories for files that are denied and appear later: \
         raise fs.inotify.max_user_watches (sysctl) or exclude large trees from the workspace"
    )]
    Watches {
        /// How many were asked for.
        directories: usize,
    },
    /// The kernel's bound on watchers.
    #[error("cannot watch for files that are denied and appear later: raise fs.inotify.max_user_instances (sysctl)")]
    Instances,
    /// The kernel refused something else.
    #[error("cannot watch {path}: {source}")]
    Kernel {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A pattern that the survey would have refused.
    #[error(transparent)]
    Pattern(#[from] SurveyError),
    /// What was reported could not be done.
    #[error("cannot cover {path}, which appeared: {source}")]
    Cover {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running watch. Readable when something happened: then call [`Watch::drain`], and once before waiting for the first time.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
    globs: Globs,
    roots: Vec<(PathBuf, States, Place)>,
    watched: HashMap<WatchDescriptor, PathBuf>,
    /// Directories to list at the next drain, and whether everything in them is new.
    stale: Vec<(PathBuf, bool)>,
    /// What is covered, and what stood there then.
    masked: HashMap<PathBuf, Option<Identity>>,
    kept: HashMap<PathBuf, Option<Identity>>,
    /// Symlinks with a denied name that lead nowhere yet.
    dangling: Vec<PathBuf>,
    /// Inodes of denied files; gathered when the first file with several names appears.
    denied: Option<HashSet<Inode>>,
}

impl Watch {
    /// Starts to watch; nothing that happens from now on is missed.
    pub(crate) fn new(scope: Scope<'_>) -> Result<Watch, WatchError> {
        let globs = Globs::denying(scope.deny)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|errno| match errno {
            Errno::EMFILE => WatchError::Instances,
            errno => WatchError::Kernel { path: PathBuf::from("/"), source: errno.into() },
        })?;
        let known = |paths: &[PathBuf]| paths.iter().map(|path| (path.clone(), identity(path))).collect();
        let mut watch = Watch {
            inotify,
            roots: scope.roots.iter().map(|root| (root.clone(), globs.start(root), Place::of(root))).collect(),
            globs,
            watched: HashMap::with_capacity(scope.directories.len()),
            stale: Vec::new(),
            masked: known(scope.masked),
            kept: known(scope.kept),
            dangling: Vec::new(),
            denied: None,
        };
        let denied_link = |path: &&PathBuf| path.is_symlink() && !path.exists() && watch.denies(path, true);
        let dangling = scope.kept.iter().filter(denied_link).cloned().collect();
        watch.dangling = dangling;
        // Without patterns only what is protected can be replaced.
        let directories: HashSet<&Path> = if watch.globs.is_empty() {
            scope.kept.iter().filter_map(|path| path.parent()).collect()
        } else {
            scope.directories.iter().map(PathBuf::as_path).collect()
        };
        let since = scope.since.map(|since| since.checked_sub(SLACK).unwrap_or(since));
        for directory in &directories {
            watch.add(directory).map_err(|error| match error {
                WatchError::Watches { .. } => WatchError::Watches { directories: directories.len() },
                other => other,
            })?;
            if since.is_none_or(|since| changed_after(directory, since)) {
                watch.stale.push((directory.to_path_buf(), false));
            }
        }
        Ok(watch)
    }

    /// Reports everything that appeared. `directory` tells whether the path is one. An error of `on` ends the drain, unless
    /// the path has gone meanwhile.
    pub(crate) fn drain(&mut self, on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>) -> Result<(), WatchError> {
        loop {
            while let Some((directory, new)) = self.stale.pop() {
                self.list(&directory, new, on)?;
            }
            self.retry_dangling(on)?;
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) if self.stale.is_empty() => return Ok(()),
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(errno) => return Err(WatchError::Kernel { path: PathBuf::from("/"), source: errno.into() }),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    self.stale = self.watched.values().map(|path| (path.clone(), false)).collect();
                } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.watched.remove(&event.wd);
                } else if let (Some(name), Some(directory)) = (event.name, self.watched.get(&event.wd)) {
                    self.appeared(&directory.join(name), true, on)?;
                }
            }
        }
    }

    /// Watches a directory. `true`: it was not watched before, or under another path.
    fn add(&mut self, directory: &Path) -> Result<bool, WatchError> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        match self.inotify.add_watch(directory, flags) {
            Ok(descriptor) => {
                // A directory that was renamed keeps its descriptor and gets its new path here.
                let before = self.watched.insert(descriptor, directory.to_owned());
                Ok(before.is_none_or(|before| before != directory))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(false),
            // It cannot be listed: the list finds out and has it masked.
            Err(Errno::EACCES) => Ok(true),
            Err(Errno::ENOSPC) => Err(WatchError::Watches { directories: self.watched.len() + 1 }),
            Err(errno) => Err(WatchError::Kernel { path: directory.to_owned(), source: errno.into() }),
        }
    }

    /// Treats every entry of a directory as if it had just appeared.
    fn list(
        &mut self,
        directory: &Path,
        new: bool,
        on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>,
    ) -> Result<(), WatchError> {
        match open_directory(directory).and_then(Dir::from_fd) {
            Ok(entries) => {
                for entry in entries.into_iter().flatten() {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        self.appeared(&directory.join(OsStr::from_bytes(name)), new, on)?;
                    }
                }
                Ok(())
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            // Nobody can list it now, but its owner could change that from inside.
            Err(Errno::EACCES) => {
                self.masked.insert(directory.to_owned(), identity(directory));
                self.report(Late::Mask, directory, true, on)
            }
            Err(errno) => Err(WatchError::Kernel { path: directory.to_owned(), source: errno.into() }),
        }
    }

    /// Decides about one path. `new`: it certainly is not what stood there before; otherwise it may be, and is covered then.
    fn appeared(
        &mut self,
        path: &Path,
        new: bool,
        on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>,
    ) -> Result<(), WatchError> {
        let Ok(status) = fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
        let kind = kind_of(&status);
        let directory = kind == Kind::Directory;
        let identity = Identity::of(&status);
        let inode = identity.inode;
        if self.kept.get(path).is_some_and(|known| new || *known != Some(identity)) {
            self.kept.insert(path.to_owned(), Some(identity));
            self.report(Late::Protect, path, directory, on)?;
        }
        if self.globs.is_empty() || (!new && self.masked.get(path) == Some(&Some(identity))) {
            return Ok(());
        }
        if kind == Kind::Symlink {
            if self.denies(path, path.is_dir()) && !self.mask_target(path, on)? {
                self.dangling.push(path.to_owned());
            }
            return Ok(());
        }
        let known = self.masked.contains_key(path);
        let several_names = kind == Kind::File && status.st_nlink > 1;
        if known || self.denies(path, directory) || (several_names && self.denied().contains(&inode)) {
            if let Some(denied) = self.denied.as_mut().filter(|_| kind == Kind::File) {
                denied.insert(inode);
            }
            self.masked.insert(path.to_owned(), Some(identity));
            return self.report(Late::Mask, path, directory, on);
        }
        if directory && self.roots.iter().any(|(root, ..)| path.starts_with(root)) {
            // First the watch, then the list: what appears in between is seen twice rather than never.
            if self.add(path)? {
                self.stale.push((path.to_owned(), true));
            }
        }
        Ok(())
    }

    fn denies(&self, path: &Path, directory: bool) -> bool {
        self.roots.iter().any(|(root, states, place)| {
            path.strip_prefix(root)
                .is_ok_and(|below| self.globs.matches_below(states.clone(), *place, below, directory).is_some())
        })
    }

    /// Masks what a symlink with a denied name leads to. `false`: it leads nowhere yet.
    fn mask_target(
        &mut self,
        link: &Path,
        on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>,
    ) -> Result<bool, WatchError> {
        let Ok(target) = link.canonicalize() else { return Ok(false) };
        let inside = self.roots.iter().any(|(root, ..)| target.starts_with(root));
        let holds_root = self.roots.iter().any(|(root, ..)| root.starts_with(&target));
        let there = identity(&target);
        if inside && !holds_root && self.masked.get(&target) != Some(&there) {
            self.masked.insert(target.clone(), there);
            self.report(Late::Mask, &target, target.is_dir(), on)?;
        }
        Ok(true)
    }

    fn retry_dangling(&mut self, on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>) -> Result<(), WatchError> {
        for link in std::mem::take(&mut self.dangling) {
            if link.is_symlink() && !self.mask_target(&link, on)? {
                self.dangling.push(link);
            }
        }
        Ok(())
    }

    /// The inodes of everything that is masked.
    fn denied(&mut self) -> &HashSet<Inode> {
        let masked = &self.masked;
        self.denied.get_or_insert_with(|| {
            let mut denied = HashSet::new();
            let mut todo: Vec<PathBuf> = masked.keys().cloned().collect();
            while let Some(path) = todo.pop() {
                let Ok(status) = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
                match kind_of(&status) {
                    Kind::File => {
                        denied.insert((status.st_dev, status.st_ino));
                    }
                    Kind::Directory => {
                        let Ok(entries) = open_directory(&path).and_then(Dir::from_fd) else { continue };
                        let names = entries.into_iter().flatten();
                        let names = names.filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."));
                        todo.extend(names.map(|entry| path.join(OsStr::from_bytes(entry.file_name().to_bytes()))));
                    }
                    Kind::Symlink | Kind::Other => {}
                }
            }
            denied
        })
    }

    fn report(
        &self,
        late: Late,
        path: &Path,
        directory: bool,
        on: &mut dyn FnMut(Late, &Path, bool) -> io::Result<()>,
    ) -> Result<(), WatchError> {
        match on(late, path, directory) {
            Ok(()) => Ok(()),
            // It came and went: there is nothing to cover. Should it come again, it is an event again.
            Err(_) if path.symlink_metadata().is_err() => Ok(()),
            Err(_) => on(late, path, directory).map_err(|source| WatchError::Cover { path: path.to_owned(), source }),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Tells a file from one that took its place. The number of a removed inode is given out again, so its change time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: Inode,
    changed: (i64, i64),
}

impl Identity {
    fn of(status: &FileStat) -> Identity {
        Identity { inode: (status.st_dev, status.st_ino), changed: (status.st_ctime, status.st_ctime_nsec) }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW).ok().as_ref().map(Identity::of)
}

/// Whether entries of `directory` changed after `since`. By the change time, which nobody can set.
fn changed_after(directory: &Path, since: SystemTime) -> bool {
    let Ok(status) = fstatat(AT_FDCWD, directory, AtFlags::AT_SYMLINK_NOFOLLOW) else { return true };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(status.st_ctime), u32::try_from(status.st_ctime_nsec)) else {
        return true;
    };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos) >= since
}

#[cfg(test)]
mod tests;
