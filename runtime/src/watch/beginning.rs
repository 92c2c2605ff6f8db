//! How a watch comes about: first where something is kept, so that what is missing there can be created, then everywhere
//! else, which takes longer and may go on while a sandbox is made.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};

use super::inodes::Inodes;
use super::places::Places;
use super::{Before, Look, Scope, Watch, WatchError, changed_after, identity, mark};
use crate::survey::Globs;
use crate::threads::each;

/// A watch that is not complete yet.
#[derive(Debug)]
pub(crate) struct Beginning {
    watch: Watch,
    /// The directories in which something is kept.
    first: HashSet<PathBuf>,
    /// Directories changed since then are looked at again.
    since: Option<SystemTime>,
}

impl Beginning {
    /// Watches the directories in which something is kept. To be called before anything is created.
    pub(crate) fn new(scope: Scope<'_>, before: Before) -> Result<Beginning, WatchError> {
        let globs = Globs::denying(scope.deny)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|errno| match errno {
            Errno::EMFILE => WatchError::Instances,
            errno => WatchError::Kernel { path: PathBuf::from("/"), source: errno.into() },
        })?;
        let first: HashSet<&Path> = before.kept.keys().chain(scope.absent).filter_map(|path| path.parent()).collect();
        let first: Vec<PathBuf> = first.into_iter().map(Path::to_owned).collect();
        let absent = scope.absent.iter().map(|path| (path.clone(), None));
        let watch = Watch {
            inotify,
            places: Places::new(globs, scope.roots),
            watched: HashMap::new(),
            twins: HashMap::new(),
            stale: Vec::new(),
            unhurried: Vec::new(),
            masked: before.masked,
            kept: before.kept.into_iter().chain(absent).collect(),
            own: HashSet::new(),
            inodes: Inodes::new(scope.denied, scope.since.unwrap_or_else(SystemTime::now)),
            links: scope.links.iter().cloned().collect(),
            follow: false,
            following: Vec::new(),
            dangling: false,
            renames: VecDeque::new(),
            history: scope.history.then_some(false),
        };
        let mut beginning = Beginning { watch, first: HashSet::new(), since: scope.since };
        beginning.add(&first)?;
        beginning.first.extend(first);
        Ok(beginning)
    }

    /// Takes in kept names that the caller has created itself since the watch began. Made after them, the watch would take
    /// their directory for one that somebody had changed, and look at each of its entries.
    pub(crate) fn created<'a>(&mut self, names: impl Iterator<Item = &'a Path>) {
        self.watch.created(names);
    }

    /// Watches `directories` and where `links` lead; nothing that happens from now on is missed, nor anything since the
    /// survey.
    pub(crate) fn complete(mut self, directories: &[PathBuf], links: &[PathBuf]) -> Result<Watch, WatchError> {
        let stale: HashSet<PathBuf> = self.watch.stale.iter().map(|(directory, _)| directory.clone()).collect();
        // Without patterns only what is protected can be replaced.
        if !self.watch.places.is_empty() {
            self.add(directories)?;
        }
        let Beginning { mut watch, first, since } = self;
        // What the caller has created meanwhile changed the first ones.
        watch.know_links(links, &|directory| match first.contains(directory) {
            true => stale.contains(directory),
            false => changed(directory, since),
        })?;
        Ok(watch)
    }

    /// Watches those that are not watched yet.
    fn add(&mut self, directories: &[PathBuf]) -> Result<(), WatchError> {
        let (inotify, since) = (&self.watch.inotify, self.since);
        let new: Vec<&PathBuf> = directories.iter().filter(|directory| !self.first.contains(*directory)).collect();
        // In this order: what changes in between is seen twice rather than never.
        let add = |directory: &&PathBuf| (directory.to_path_buf(), mark(inotify, directory), changed(directory, since));
        for (directory, answer, changed) in each(&new, add) {
            self.watch.marked(&directory, answer).map_err(|error| match error {
                WatchError::Watches { .. } => WatchError::Watches { directories: directories.len() },
                other => other,
            })?;
            if changed {
                self.watch.stale.push((directory, Look::Again));
            }
        }
        Ok(())
    }
}

impl AsFd for Beginning {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Watch {
    /// As [`Beginning::created`].
    pub(super) fn created<'a>(&mut self, names: impl Iterator<Item = &'a Path>) {
        for name in names {
            let identity = identity(name);
            self.kept.insert(name.to_owned(), identity);
            self.own.insert(name.to_owned());
            // What we put there is nothing to hide; what takes its place may be.
            if self.places.deny(name, false) {
                self.masked.insert(name.to_owned(), identity);
            }
        }
    }

    /// Takes in where the links of the survey lead; what it found behind them is masked already.
    fn know_links(&mut self, links: &[PathBuf], changed: &dyn Fn(&Path) -> bool) -> Result<(), WatchError> {
        let mut again = true;
        while std::mem::take(&mut again) {
            for link in links {
                let Ok(target) = link.canonicalize() else {
                    self.dangling = true;
                    continue;
                };
                if target.is_dir() && self.places.in_root(&target) && self.alias(link, &target)? {
                    again = true;
                    if link.parent().is_some_and(changed) {
                        self.stale.push((target, Look::Deeper));
                    }
                }
            }
        }
        Ok(())
    }
}

fn changed(directory: &Path, since: Option<SystemTime>) -> bool {
    since.is_none_or(|since| changed_after(directory, since))
}
