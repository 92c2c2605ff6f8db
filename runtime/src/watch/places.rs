//! Where patterns apply: the roots, and directories that have a second name through a symlink.

use std::path::{Path, PathBuf};

use crate::survey::{Globs, Place, States, Top};

/// As many second names as a survey follows.
const MOST_ALIASES: usize = 20_000;

/// All trees in which a path can be denied.
#[derive(Debug)]
pub(super) struct Places {
    globs: Globs,
    tops: Vec<Top>,
    roots: usize,
}

impl Places {
    pub(super) fn new(globs: Globs, roots: &[PathBuf]) -> Places {
        let mut tops: Vec<Top> = roots.iter().map(|path| globs.root(path)).collect();
        if globs.reach_beyond() {
            tops.push(Top { path: "/".into(), states: globs.absolute_at(Path::new("/")), place: Place::Elsewhere });
            // A fixed directory may be reached through a symlink of the system.
            for (_, prefix, _) in globs.absolute() {
                if let Ok(real) = prefix.canonicalize()
                    && real != prefix
                {
                    let states = globs.absolute_at(prefix);
                    tops.push(Top { path: real, states, place: Place::Elsewhere });
                }
            }
        }
        Places { globs, tops, roots: roots.len() }
    }

    /// Whether there is no pattern at all.
    pub(super) fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether `path` is a root or lies below one.
    pub(super) fn in_root(&self, path: &Path) -> bool {
        self.tops[..self.roots].iter().any(|top| path.starts_with(&top.path))
    }

    /// Whether `path` holds a whole root.
    pub(super) fn holds_root(&self, path: &Path) -> bool {
        self.tops[..self.roots].iter().any(|top| top.path.starts_with(path))
    }

    /// Whether a pattern denies `path` under one of its names.
    pub(super) fn deny(&self, path: &Path, directory: bool) -> bool {
        self.tops.iter().any(|top| {
            path.strip_prefix(&top.path).is_ok_and(|below| self.globs.matches_below(top, below, directory).is_some())
        })
    }

    /// Whether something in the directory `from` might not be denied any more once that is called `to`: a pattern with a
    /// directory in it (`config/*.key`) has come some way to `from` and not to `to`, or `to` lies where names mean nothing.
    pub(super) fn free(&self, from: &Path, to: &Path) -> bool {
        self.tops.iter().any(|top| {
            let Ok(from) = from.strip_prefix(&top.path) else { return false };
            let (left, left_place) = self.globs.reached(top, from);
            let Ok(to) = to.strip_prefix(&top.path) else { return !left.is_empty() || left_place.names() };
            let (entered, entered_place) = self.globs.reached(top, to);
            (!left.is_empty() && left != entered) || (left_place.names() && !entered_place.names())
        })
    }

    /// Whether patterns go on behind the symlink `link`.
    pub(super) fn lead_through(&self, link: &Path) -> bool {
        self.through(link).next().is_some()
    }

    fn through<'a>(&'a self, link: &'a Path) -> impl Iterator<Item = States> + 'a {
        let below = |top: &'a Top| link.strip_prefix(&top.path).ok().map(move |below| (top, below));
        let states = self.tops.iter().filter_map(below);
        states.map(|(top, below)| self.globs.through(top, below)).filter(|states| !states.is_empty())
    }

    /// Takes in that `link` leads to the directory `target`. Whether that is new; an error with the bound when there are too
    /// many second names.
    pub(super) fn alias(&mut self, link: &Path, target: &Path) -> Result<bool, usize> {
        let new = self.through(link).map(|states| Top { path: target.to_owned(), states, place: Place::Elsewhere });
        let new: Vec<Top> = new.filter(|top| !self.tops.contains(top)).collect();
        if self.tops.len() + new.len() > self.roots + MOST_ALIASES {
            return Err(MOST_ALIASES);
        }
        let any = !new.is_empty();
        self.tops.extend(new);
        Ok(any)
    }
}
