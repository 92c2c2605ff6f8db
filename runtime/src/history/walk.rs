//! Which blobs stood at denied places: every tree of every commit is walked as a directory is, as far as the patterns can tell
//! its places apart.

use super::{git::Git, object::ObjectName};
use crate::{
    error::Result,
    survey::{Globs, States, lowercase},
};
use std::{
    collections::{HashMap, HashSet, hash_map},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

/// What was found so far.
pub(super) struct Walk<'a> {
    globs: &'a Globs,
    /// How far patterns have come; by number, because few of them differ.
    states: Vec<States>,
    numbers: HashMap<States, usize>,
    /// Where a tree of a commit may lie.
    tops: Vec<usize>,
    walked: HashSet<(ObjectName, Within)>,
    /// Blobs that stood at a denied place.
    pub(super) denied: HashSet<ObjectName>,
    /// Blobs that stood at another.
    pub(super) open: HashSet<ObjectName>,
}

/// What a directory is to the patterns.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Within {
    Open(usize),
    Denied,
}

/// Modes in a tree (git-fast-import(1)).
const DIRECTORY: &[u8] = b"40000";
const SUBMODULE: &[u8] = b"160000";

impl<'a> Walk<'a> {
    /// Of trees that may lie in any of the directories `trees`, below the `roots` of relative patterns.
    pub(super) fn new(globs: &'a Globs, roots: &[PathBuf], trees: &[PathBuf]) -> Self {
        let (states, numbers, tops) = (Vec::new(), HashMap::new(), Vec::new());
        let (walked, denied, open) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut walk = Self { globs, states, numbers, tops, walked, denied, open };
        for root in roots {
            let top = globs.root(root);
            let below = trees.iter().filter_map(|tree| Some(globs.reached(&top, tree.strip_prefix(root).ok()?).0));
            let below: Vec<States> = below.chain([top.states.clone()]).collect();
            for states in below {
                let number = walk.number(states);
                walk.tops.push(number);
            }
        }
        walk.tops.sort_unstable();
        walk.tops.dedup();
        walk
    }

    fn number(&mut self, states: States) -> usize {
        match self.numbers.entry(states) {
            hash_map::Entry::Occupied(known) => *known.get(),
            hash_map::Entry::Vacant(new) => {
                self.states.push(new.key().clone());
                *new.insert(self.states.len() - 1)
            }
        }
    }

    /// Looks at a file that git knows by its path in the tree.
    pub(super) fn file(&mut self, path: &[u8], blob: ObjectName) {
        let (mut lower, names) = (Vec::new(), path.split(|byte| *byte == b'/'));
        let last = path.split(|byte| *byte == b'/').count() - 1;
        let mut at: Vec<Within> = self.tops.iter().map(|top| Within::Open(*top)).collect();
        for (depth, name) in names.enumerate() {
            lowercase(OsStr::from_bytes(name), &mut lower);
            at = at.into_iter().map(|within| self.entry(within, &lower, depth < last)).collect();
        }
        self.blob(blob, at.contains(&Within::Denied));
    }

    /// Walks the trees of commits, level by level. False when some of them are not there, as in a partial clone.
    pub(super) fn commits(&mut self, git: &Git<'_>, commits: &[ObjectName]) -> Result<bool> {
        let mut level: HashMap<ObjectName, Vec<Within>> = HashMap::new();
        let mut all = git.read(commits, |_, text| {
            let line = text.split(|byte| *byte == b'\n').next().and_then(|line| line.strip_prefix(b"tree "));
            if let Some(tree) = line.and_then(ObjectName::parse) {
                self.tops.iter().for_each(|top| visit(&mut self.walked, &mut level, tree, Within::Open(*top)));
            }
        })?;
        while !level.is_empty() {
            let mut next = HashMap::new();
            let names: Vec<ObjectName> = level.keys().copied().collect();
            all &= git.read(&names, |tree, text| {
                for within in level.get(&tree).into_iter().flatten() {
                    self.tree(tree.as_bytes().len(), text, *within, &mut next);
                }
            })?;
            level = next;
        }
        Ok(all)
    }

    fn tree(&mut self, length: usize, mut text: &[u8], within: Within, next: &mut HashMap<ObjectName, Vec<Within>>) {
        let mut lower = Vec::new();
        while let Some(Entry { mode, name, object }) = take_entry(&mut text, length) {
            lowercase(OsStr::from_bytes(name), &mut lower);
            let entry = self.entry(within, &lower, mode == DIRECTORY);
            match mode {
                SUBMODULE => {}
                DIRECTORY => visit(&mut self.walked, next, object, entry),
                _ => self.blob(object, entry == Within::Denied),
            }
        }
    }

    /// What an entry of a directory is.
    fn entry(&mut self, within: Within, lower: &[u8], directory: bool) -> Within {
        let Within::Open(number) = within else { return Within::Denied };
        let states = &self.states[number];
        if self.globs.hit(states, lower, directory, true).is_some() {
            Within::Denied
        } else if directory {
            let states = self.globs.step(states, lower, true);
            Within::Open(self.number(states))
        } else {
            within
        }
    }

    fn blob(&mut self, blob: ObjectName, denied: bool) {
        if denied { &mut self.denied } else { &mut self.open }.insert(blob);
    }
}

/// Puts a tree on the list of those to be read, once for each way to see it.
fn visit(
    walked: &mut HashSet<(ObjectName, Within)>,
    level: &mut HashMap<ObjectName, Vec<Within>>,
    tree: ObjectName,
    within: Within,
) {
    if walked.insert((tree, within)) {
        level.entry(tree).or_default().push(within);
    }
}

/// An entry of a tree.
struct Entry<'t> {
    mode: &'t [u8],
    name: &'t [u8],
    object: ObjectName,
}

/// Takes the first entry of a tree off; none at its end, and where it makes no sense.
fn take_entry<'t>(text: &mut &'t [u8], length: usize) -> Option<Entry<'t>> {
    let mut upto = |end: u8| {
        let at = text.iter().position(|byte| *byte == end)?;
        let (taken, rest) = text.split_at(at);
        *text = &rest[1..];
        Some(taken)
    };
    let (mode, name) = (upto(b' ')?, upto(0)?);
    let (object, rest) = text.split_at_checked(length)?;
    *text = rest;
    Some(Entry { mode, name, object: ObjectName::new(object)? })
}
