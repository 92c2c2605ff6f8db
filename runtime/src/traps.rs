//! What commands have left in a workspace that makes a program outside, git above all, run or write something for them.
//!
//! No name is forbidden for it: to clone and to make repositories is ordinary work. So it is looked at, and said.

use crate::{
    plan::{Access, Mount, Plan},
    survey::{Kind, entries_of, git_programs, is_repository, kind_at},
    threads::each,
    watch::changed_after,
};
use std::{
    cell::OnceCell,
    collections::HashSet,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// As many are told; who leaves more has been noticed.
const MOST: usize = 100;

/// Something that a command has left, and that somebody should look at before another program does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trap {
    /// A git repository that was not there before, in which git would run programs: `git status` in the repository around it
    /// asks the new one as soon as that is in its index, and many a shell prompt asks `git status`.
    Repository {
        /// Its `.git`, or itself when it is bare.
        path: PathBuf,
        /// The settings and hooks that name programs, as git calls them: `core.fsmonitor`, `hooks/pre-commit`.
        runs: Vec<String>,
    },
    /// A symlink in a git directory. Git opens the files there by name and writes what it finds in others, so that
    /// `git commit` would write a prepared text to where this leads.
    Link {
        /// The symlink.
        path: PathBuf,
        /// Where it leads, as it says itself.
        target: PathBuf,
    },
}

impl fmt::Display for Trap {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { path, runs } => write!(
                to,
                "{} is a new repository in which git runs what its maker chose ({}); look at it before git runs there or in \
                 what is around it, as some shell prompts have it do",
                path.display(),
                runs.join(", ")
            ),
            Self::Link { path, target } => write!(
                to,
                "{} is a new link to {}, to which git would write; remove it",
                path.display(),
                target.display()
            ),
        }
    }
}

/// What is in the workspace of `plan` now and was not when it was surveyed. Only directories that have changed since are
/// read, by a time that nobody can set.
pub(crate) fn look(plan: &Plan) -> Vec<Trap> {
    let mut look = Look { plan, known: OnceCell::new(), found: Vec::new() };
    let changed = |at: &PathBuf| is_of_interest(plan, at).then(|| at.clone());
    let mut todo: Vec<PathBuf> = each(&plan.watched, changed).into_iter().flatten().collect();
    // A worktree's repository elsewhere, which no survey without patterns has listed.
    todo.extend(plan.roots.iter().filter(|root| is_in_git(root) && !look.knows(root)).cloned());
    while let Some(directory) = todo.pop() {
        if look.found.len() < MOST {
            look.list(&directory, &mut todo);
        }
    }
    look.found.sort_unstable();
    look.found
}

struct Look<'a> {
    plan: &'a Plan,
    /// The directories that were there before: each is looked at by itself. By their bytes, to tell them apart quickly.
    known: OnceCell<HashSet<&'a [u8]>>,
    found: Vec<Trap>,
}

impl Look<'_> {
    fn knows(&self, directory: &Path) -> bool {
        let all = || self.plan.watched.iter().map(|known| known.as_os_str().as_bytes()).collect();
        self.known.get_or_init(all).contains(directory.as_os_str().as_bytes())
    }

    /// Looks at the entries of one directory, and adds those that are new directories to `todo`.
    fn list(&mut self, directory: &Path, todo: &mut Vec<PathBuf>) {
        // What cannot be read here, git cannot read either.
        let Ok(entries) = entries_of(directory) else { return };
        let in_git = is_in_git(directory);
        for (path, kind) in entries {
            match path.file_name().map(OsStrExt::as_bytes) {
                Some(b".git") if !in_git => self.repository(&path),
                // Without a tree, or with one elsewhere: git takes a directory for one by what is in it.
                Some(b"HEAD") if !in_git && is_repository(directory) => self.repository(directory),
                _ => {}
            }
            match kind {
                Kind::Directory if !is_of_objects(&path) && !self.knows(&path) => todo.push(path),
                Kind::Symlink if in_git && kind_at(&path).is_ok() => self.link(path),
                _ => {}
            }
        }
    }

    fn repository(&mut self, dotgit: &Path) {
        let runs = git_programs(dotgit, &|config| self.plan.kept.iter().any(|kept| kept.path() == config));
        if !runs.is_empty() {
            self.found.push(Trap::Repository { path: dotgit.to_owned(), runs });
        }
    }

    fn link(&mut self, path: PathBuf) {
        let Ok(target) = path.read_link() else { return };
        if changed_after(&path, self.plan.surveyed) {
            self.found.push(Trap::Link { path, target });
        }
    }
}

/// Whether a command can have made something in `directory` that counts.
fn is_of_interest(plan: &Plan, directory: &Path) -> bool {
    let mut writable = plan.view.iter().filter_map(|mount| match mount {
        Mount::Bind { path, access: Access::ReadWrite } => Some(path),
        _ => None,
    });
    // Of many directories few have changed.
    !is_of_objects(directory)
        && changed_after(directory, plan.surveyed)
        && writable.any(|path| directory.starts_with(path))
}

/// Whether `path` is a repository's `.git` or lies in one.
fn is_in_git(path: &Path) -> bool {
    path.iter().any(|name| name == ".git")
}

/// The objects of a repository are many, and no program is among them.
fn is_of_objects(directory: &Path) -> bool {
    directory.as_os_str().as_bytes().windows(OBJECTS.len()).any(|part| part == OBJECTS)
}

const OBJECTS: &[u8] = b"/.git/objects/";
