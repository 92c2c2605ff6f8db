//! The denied files by number: what has one of them under another name is denied as well.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::survey::Inode;

/// The clock that stamps files may be this much ahead of the one that was asked when the survey began.
const SLACK: Duration = Duration::from_secs(2);

/// Numbers are given out again, so a file counts only when it is as old as the one that is meant.
#[derive(Debug)]
pub(super) struct Inodes {
    first: HashSet<Inode>,
    /// When the first ones were found.
    since: SystemTime,
    /// Those that came later, with their birth.
    later: HashMap<Inode, Option<SystemTime>>,
}

impl Inodes {
    pub(super) fn new(first: &[Inode], since: SystemTime) -> Inodes {
        Inodes { first: first.iter().copied().collect(), since, later: HashMap::new() }
    }

    /// `true` when it was not known.
    pub(super) fn insert(&mut self, status: &Metadata) -> bool {
        let known = self.contains(status);
        self.later.insert((status.dev(), status.ino()), status.created().ok());
        !known
    }

    /// Whether a file with this number is or was one.
    pub(super) fn may_contain(&self, inode: Inode) -> bool {
        self.first.contains(&inode) || self.later.contains_key(&inode)
    }

    /// Whether a file is a denied one.
    pub(super) fn contains(&self, status: &Metadata) -> bool {
        let inode = (status.dev(), status.ino());
        // A file system that does not tell births gets no benefit of the doubt.
        let birth = status.created().ok();
        let early = birth.is_none_or(|birth| birth <= self.since + SLACK);
        (early && self.first.contains(&inode)) || self.later.get(&inode).is_some_and(|known| *known == birth)
    }
}
