//! Notices what appears after the survey: a path that is denied, a masked or protected path that was replaced outside.
//!
//! A mount goes with the file it stands on. When somebody outside renames a new file over it, or removes it and makes it
//! again, the new one is bare, so each such path is reported again. Between the appearance of a file and the mask on it lies
//! a moment; what is read in it is read, but nothing that is done to the name in it uncovers the file.

mod beginning;
mod inodes;
mod places;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::{FileType, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::history;
use crate::plan::Denied;
use crate::survey::{Inode, SurveyError, entries_of};
use crate::threads::each;
pub(crate) use beginning::Beginning;
use inodes::Inodes;
use places::Places;

/// Renames whose second half has not been seen yet; it is usually the next event (inotify(7)).
const MOST_RENAMES: usize = 1_024;

/// So many links are followed before it is looked what else has happened.
const AT_ONCE: usize = 64;

/// What to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The workspace, the other roots and the git directories: where relative patterns start.
    pub(crate) roots: &'a [PathBuf],
    /// The deny patterns.
    pub(crate) deny: &'a [Denied],
    /// What is going to be [created](Beginning::created) to be protected.
    pub(crate) absent: &'a [PathBuf],
    /// Symlinks by which patterns reach what they lead to.
    pub(crate) links: &'a [PathBuf],
    /// The denied files.
    pub(crate) denied: &'a [Inode],
    /// Directories changed since then are looked at again. `None`: all are.
    pub(crate) since: Option<SystemTime>,
    /// Whether to notice what changes in the history of git.
    pub(crate) history: bool,
}

/// Paths, and what stood there when it was covered or kept, as far as that is known.
type Known = HashMap<PathBuf, Option<Identity>>;

/// What stands at paths before anything is mounted on them.
#[derive(Debug, Default)]
pub(crate) struct Before {
    masked: Known,
    kept: Known,
}

impl Before {
    /// Looks at what is about to be masked or kept.
    pub(crate) fn new(masked: &[&PathBuf], kept: &[&PathBuf]) -> Self {
        let look = |paths| each(paths, |path: &&PathBuf| (path.to_path_buf(), identity(path))).into_iter().collect();
        Self { masked: look(masked), kept: look(kept) }
    }

    /// Takes in masked files that the survey knows by their numbers.
    pub(crate) fn with_files<'a>(mut self, files: impl Iterator<Item = &'a PathBuf>) -> Self {
        self.masked.extend(files.map(|path| (path.clone(), None)));
        self
    }
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

/// Called with each path that has to be covered or kept. An error ends the drain, unless the path has gone meanwhile.
type Report<'a> = &'a mut dyn FnMut(Late, &Path) -> io::Result<()>;

/// How to look at the entries of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Some may have appeared.
    Again,
    /// Some may be denied that were not before, at any depth.
    Deeper,
    /// All have appeared, at any depth.
    New,
}

/// A running watch. Readable when something happened: then call [`Watch::drain`], and once before waiting for the first time.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
    places: Places,
    watched: HashMap<WatchDescriptor, PathBuf>,
    /// The other paths of directories that are mounted in several places: the kernel watches one inode once.
    twins: HashMap<WatchDescriptor, Vec<PathBuf>>,
    /// Directories to list at the next drain.
    stale: Vec<(PathBuf, Look)>,
    /// Directories to list when nothing is more urgent: what is denied since may have another name there.
    unhurried: Vec<PathBuf>,
    masked: Known,
    kept: Known,
    /// Kept names that whoever made the watch has created since: their event is still to come, and is no news.
    own: HashSet<PathBuf>,
    inodes: Inodes,
    /// Symlinks with a denied name, or through which patterns go on.
    links: BTreeSet<PathBuf>,
    /// Whether one of them may lead elsewhere now, and whether one led nowhere when it was looked at.
    follow: bool,
    dangling: bool,
    /// Links that are still to be looked at.
    following: Vec<PathBuf>,
    /// The first halves of renames of denied names.
    renames: VecDeque<u32>,
    /// Whether a part of git's history may have appeared, if that is to be noticed.
    history: Option<bool>,
}

impl Watch {
    /// Whether a pattern denies `path`.
    pub(crate) fn denies(&self, path: &Path, directory: bool) -> bool {
        self.places.deny(path, directory)
    }

    /// Whether a file with this number is known, as one that is denied or as one that was.
    pub(crate) fn may_know_denied(&self, inode: Inode) -> bool {
        self.inodes.may_contain(inode)
    }

    /// Whether a file is denied for another name that it has or had.
    pub(crate) fn knows_denied(&self, status: &Metadata) -> bool {
        self.inodes.contains(status)
    }

    /// Whether a directory called `from` might hold what is denied there and not where it is called `to`.
    pub(crate) fn frees(&self, from: &Path, to: &Path) -> bool {
        self.places.free(from, to)
    }

    /// Whether something of git's history may have appeared since this was asked.
    pub(crate) fn take_history_change(&mut self) -> bool {
        self.history.as_mut().is_some_and(std::mem::take)
    }

    /// Reports a file that is to be covered for what it holds, now and whenever another takes its place.
    pub(crate) fn hide(&mut self, path: &Path, on: Report<'_>) -> Result<(), WatchError> {
        let Some(identity) = identity(path) else { return Ok(()) };
        self.masked.insert(path.to_owned(), Some(identity));
        self.report(Late::Mask, path, on)
    }

    /// Reports everything that appeared.
    pub(crate) fn drain(&mut self, on: Report<'_>) -> Result<(), WatchError> {
        loop {
            while let Some((directory, look)) = self.stale.pop() {
                self.list(&directory, look, on)?;
            }
            let more = self.follow_some(on)?;
            match self.inotify.read_events() {
                Ok(events) => events.into_iter().try_for_each(|event| self.event(event, on))?,
                Err(Errno::EAGAIN) if more => {}
                Err(Errno::EAGAIN) => match self.unhurried.pop() {
                    Some(directory) => self.list(&directory, Look::Again, on)?,
                    None => {
                        self.own.clear();
                        return Ok(());
                    }
                },
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(WatchError::Kernel { path: PathBuf::from("/"), source: errno.into() }),
            }
        }
    }

    fn event(&mut self, event: InotifyEvent, on: Report<'_>) -> Result<(), WatchError> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.stale = self.directories().map(|path| (path.clone(), Look::Again)).collect();
            return Ok(());
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.watched.remove(&event.wd);
            self.twins.remove(&event.wd);
            return Ok(());
        }
        let Some(name) = &event.name else { return Ok(()) };
        let twins = self.twins.get(&event.wd).into_iter().flatten();
        let paths: Vec<PathBuf> =
            self.watched.get(&event.wd).into_iter().chain(twins).map(|at| at.join(name)).collect();
        paths.into_iter().try_for_each(|path| self.happened(&event, &path, on))
    }

    /// Takes in an event by one of the paths that it has.
    fn happened(&mut self, event: &InotifyEvent, path: &Path, on: Report<'_>) -> Result<(), WatchError> {
        if event.mask.contains(AddWatchFlags::IN_MOVED_FROM) {
            if self.places.deny(path, event.mask.contains(AddWatchFlags::IN_ISDIR)) && !self.is_hidden(path) {
                self.renames.truncate(MOST_RENAMES - 1);
                self.renames.push_front(event.cookie);
            }
            return Ok(());
        }
        let was_denied = event.mask.contains(AddWatchFlags::IN_MOVED_TO) && self.renames.contains(&event.cookie);
        // Once: whoever removes it and makes it again makes another event.
        let own = event.mask.contains(AddWatchFlags::IN_CREATE) && self.own.remove(path);
        self.appeared(path, if own { Look::Again } else { Look::New }, was_denied, on)
    }

    /// Watches a directory. `true`: it was not watched before, or under another path.
    fn add(&mut self, directory: &Path) -> Result<bool, WatchError> {
        let answer = mark(&self.inotify, directory);
        self.marked(directory, answer)
    }

    /// Takes in the kernel's answer to [`mark`].
    fn marked(&mut self, directory: &Path, answer: nix::Result<WatchDescriptor>) -> Result<bool, WatchError> {
        match answer {
            Ok(descriptor) => {
                // A directory that was renamed keeps its descriptor and gets its new path here.
                let before = self.watched.insert(descriptor, directory.to_owned());
                Ok(before.as_deref() != Some(directory)
                    && before.is_none_or(|before| self.is_another(descriptor, before)))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(false),
            // It cannot be listed: the list finds out and has it masked.
            Err(Errno::EACCES) => Ok(true),
            Err(Errno::ENOSPC) => Err(WatchError::Watches { directories: self.watched.len() + 1 }),
            Err(errno) => Err(WatchError::Kernel { path: directory.to_owned(), source: errno.into() }),
        }
    }

    /// Keeps the path that a watched directory had `before` if it still has that as well. Whether the present one is new.
    fn is_another(&mut self, descriptor: WatchDescriptor, before: PathBuf) -> bool {
        let Some(now) = self.watched.get(&descriptor) else { return true };
        let (inode, twins) = (identity(now), self.twins.entry(descriptor).or_default());
        let known = twins.contains(now);
        twins.push(before);
        twins.retain(|twin| twin != now && identity(twin) == inode);
        if twins.is_empty() {
            self.twins.remove(&descriptor);
        }
        !known
    }

    /// Whether a mask lies on what is at `path` now, and not on what was there before.
    fn is_covered(&self, path: &Path, status: &Metadata) -> bool {
        match self.masked.get(path) {
            Some(Some(known)) => *known == Identity::of(status),
            // A mask goes with the name it lies on: a denied file of the survey that has no other is under it.
            Some(None) => status.nlink() == 1 && self.inodes.contains(status),
            None => false,
        }
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.watched.values().chain(self.twins.values().flatten())
    }

    /// Whether what lies in the directory of `path` has a path elsewhere.
    fn has_twin(&self, path: &Path) -> bool {
        let is = |at: &PathBuf| path.parent() == Some(at);
        self.twins
            .iter()
            .any(|(descriptor, twins)| self.watched.get(descriptor).is_some_and(is) || twins.iter().any(is))
    }

    /// Treats every entry of a directory as if it had just appeared.
    fn list(&mut self, directory: &Path, look: Look, on: Report<'_>) -> Result<(), WatchError> {
        match entries_of(directory) {
            Ok(mut entries) => entries.try_for_each(|(path, _)| self.appeared(&path, look, false, on)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            Err(Errno::EACCES) if self.is_hidden(directory) => Ok(()),
            // Nobody can list it now, but its owner could change that from inside.
            Err(Errno::EACCES) => {
                self.masked.insert(directory.to_owned(), identity(directory));
                self.report(Late::Mask, directory, on)
            }
            Err(errno) => Err(WatchError::Kernel { path: directory.to_owned(), source: errno.into() }),
        }
    }

    /// Decides about one path. `was_denied`: it had a denied name a moment ago, and keeps what followed from it.
    fn appeared(&mut self, path: &Path, look: Look, was_denied: bool, on: Report<'_>) -> Result<(), WatchError> {
        let Ok(status) = path.symlink_metadata() else { return Ok(()) };
        if let Some(changed) = &mut self.history {
            *changed |= history::is_part(path);
        }
        let identity = Identity::of(&status);
        let new = look == Look::New;
        if self.kept.get(path).is_some_and(|known| new || *known != Some(identity)) {
            self.kept.insert(path.to_owned(), Some(identity));
            self.report(Late::Protect, path, on)?;
        }
        if self.places.is_empty() || (!new && self.is_covered(path, &status)) {
            return Ok(());
        }
        let kind = status.file_type();
        self.follow |= self.dangling || (!kind.is_file() && !self.links.is_empty());
        if self.is_hidden(path) {
            return self.appeared_hidden(path, &status);
        }
        if kind.is_symlink() {
            if self.places.deny(path, true) || self.places.lead_through(path) {
                self.follow = true;
                self.links.insert(path.to_owned());
            }
            return Ok(());
        }
        if was_denied || self.masked.contains_key(path) || self.is_denied(path, &status) {
            self.masked.insert(path.to_owned(), Some(identity));
            self.report(Late::Mask, path, on)?;
            self.appeared_hidden(path, &status)?;
        } else if kind.is_dir() && (self.places.in_root(path) || self.places.lead_through(path)) {
            // First the watch, then the list: what appears in between is seen twice rather than never. A directory that
            // moved is listed even where it is watched, for what happened below it on its way went to its old name.
            let unknown = self.add(path)?;
            if unknown || look != Look::Again {
                self.stale.push((path.to_owned(), if unknown { Look::New } else { look }));
            }
        }
        Ok(())
    }

    fn is_denied(&self, path: &Path, status: &Metadata) -> bool {
        let kind: FileType = status.file_type();
        let several_names = kind.is_file() && (status.nlink() > 1 || self.has_twin(path));
        self.places.deny(path, kind.is_dir()) || (several_names && self.inodes.contains(status))
    }

    /// Remembers what is denied, for names it may get elsewhere.
    fn appeared_hidden(&mut self, path: &Path, status: &Metadata) -> Result<(), WatchError> {
        if status.is_file() {
            if self.inodes.insert(status) && (status.nlink() > 1 || self.has_twin(path)) {
                self.unhurried = self.directories().cloned().collect();
            }
        } else if status.is_dir() {
            self.add(path)?;
            self.stale.push((path.to_owned(), Look::New));
        }
        Ok(())
    }

    /// Whether a directory above `path` is covered.
    fn is_hidden(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.masked.contains_key(above))
    }

    /// Looks again where the links lead, and masks what became denied by it; only some of them, so that nobody who makes many keeps
    /// us from what else appears. `true`: there are more.
    fn follow_some(&mut self, on: Report<'_>) -> Result<bool, WatchError> {
        if self.following.is_empty() && std::mem::take(&mut self.follow) {
            self.dangling = false;
            self.following = self.links.iter().cloned().collect();
        }
        let rest = self.following.len().saturating_sub(AT_ONCE);
        self.following.split_off(rest).into_iter().try_for_each(|link| self.look_behind(link, on))?;
        Ok(self.follow || !self.following.is_empty() || !self.stale.is_empty())
    }

    fn look_behind(&mut self, link: PathBuf, on: Report<'_>) -> Result<(), WatchError> {
        if !link.is_symlink() {
            self.links.remove(&link);
            return Ok(());
        }
        let Ok(target) = link.canonicalize() else {
            self.dangling = true;
            return Ok(());
        };
        if !self.places.in_root(&target) {
            return Ok(());
        }
        if self.places.deny(&link, target.is_dir()) {
            self.mask_target(&target, on)?;
        } else if target.is_dir() && self.alias(&link, &target)? {
            self.stale.push((target, Look::Deeper));
        }
        Ok(())
    }

    fn mask_target(&mut self, target: &Path, on: Report<'_>) -> Result<(), WatchError> {
        let there = identity(target);
        if self.places.holds_root(target) || self.is_hidden(target) || self.masked.get(target) == Some(&there) {
            return Ok(());
        }
        self.masked.insert(target.to_owned(), there);
        self.report(Late::Mask, target, on)?;
        target.symlink_metadata().map_or(Ok(()), |status| self.appeared_hidden(target, &status))
    }

    fn alias(&mut self, link: &Path, target: &Path) -> Result<bool, WatchError> {
        let what = "symlinks to directories that patterns lead through";
        self.places.alias(link, target).map_err(|most| SurveyError::TooMany { what, most }.into())
    }

    fn report(&self, late: Late, path: &Path, on: Report<'_>) -> Result<(), WatchError> {
        match on(late, path) {
            Ok(()) => Ok(()),
            // It came and went: there is nothing to cover. Should it come again, it is an event again.
            Err(error) if gone(&error) || path.symlink_metadata().is_err() => Ok(()),
            Err(_) => match on(late, path) {
                Err(source) if !gone(&source) => Err(WatchError::Cover { path: path.to_owned(), source }),
                _ => Ok(()),
            },
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Asks the kernel to tell what appears in a directory.
fn mark(inotify: &Inotify, directory: &Path) -> nix::Result<WatchDescriptor> {
    let flags = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::IN_DONT_FOLLOW;
    inotify.add_watch(directory, flags)
}

/// Whether a path could not be covered because nothing was there at that moment.
fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE))
}

/// Tells a file from one that took its place. The number of a removed inode is given out again, so its birth counts, or its
/// last change where the file system knows no births.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: Inode,
    birth: Result<SystemTime, (i64, i64)>,
}

impl Identity {
    fn of(status: &Metadata) -> Identity {
        let birth = status.created().map_err(|_| (status.ctime(), status.ctime_nsec()));
        Identity { inode: (status.dev(), status.ino()), birth }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    path.symlink_metadata().ok().as_ref().map(Identity::of)
}

/// Whether entries of `directory` changed after `since`. By the change time, which nobody can set.
pub(crate) fn changed_after(directory: &Path, since: SystemTime) -> bool {
    let Ok(status) = directory.symlink_metadata() else { return true };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(status.ctime()), u32::try_from(status.ctime_nsec())) else {
        return true;
    };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos) >= since
}

#[cfg(test)]
mod tests;
