//! The files in which a project says what holds: in which directories they count, and reading them although a command inside
//! may have put something else in their place.
//!
//! They count from the directory a command starts in up to, but not including, the person's home or the root of the file
//! system: which of these directories is taken as the workspace changes nothing. Above the workspace only those count that
//! belong to the person, to root or to the owner of the workspace; strangers could keep everything from running.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::beneath::{self, Tree};
use crate::error::Error;
use crate::files;
use crate::places::{Places, Workspace, is_repository, resolved};

/// The directories around a workspace whose files count.
#[derive(Debug)]
pub(crate) struct Project {
    /// From the outermost to the one a command starts in, absolute and free of symbolic links.
    directories: Vec<PathBuf>,
    root: PathBuf,
    /// Below the outermost directory.
    tree: Tree,
    /// Whose files count above the workspace.
    owners: [u32; 3],
    /// What does not count, and whose it is.
    pub(crate) ignored: Vec<(PathBuf, u32)>,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Where it stands.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) bytes: Vec<u8>,
    /// Where symbolic links led, if there were any.
    pub(crate) leads_to: Option<PathBuf>,
    /// Whether it has no other name, so that what it says is what somebody wrote here.
    pub(crate) own: bool,
}

impl Project {
    /// Look at the directories; no file is read yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when the outermost of them cannot be opened.
    pub(crate) fn around(places: &Places, workspace: &Workspace) -> Result<Self, Error> {
        let root = workspace.root.clone();
        let home = resolved(&places.home);
        let counts = |dir: &&Path| dir.starts_with(&root) || (**dir != home && dir.parent().is_some());
        let mut directories: Vec<PathBuf> = workspace.cwd.ancestors().take_while(counts).map(Path::to_owned).collect();
        directories.reverse();
        let outermost = directories.first().unwrap_or(&root);
        let wrong = |error: &dyn std::fmt::Display| Error::setting(outermost, error, "change to another directory");
        let tree = Tree::open(outermost).map_err(|errno| wrong(&errno.desc()))?;
        let owner = fs::metadata(&root).map_err(|error| wrong(&error))?.uid();
        let owners = [geteuid().as_raw(), 0, owner];
        Ok(Self { directories, root, tree, owners, ignored: Vec::new() })
    }

    /// The directories, from the outermost to the one a command starts in.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.directories.clone()
    }

    /// The repositories around the workspace, any of which could have been taken as the workspace as well.
    pub(crate) fn repositories_above(&self) -> impl Iterator<Item = &PathBuf> {
        self.directories.iter().filter(|dir| !dir.starts_with(&self.root) && is_repository(dir))
    }

    /// The file `name` in one of the directories; `None` when there is none that counts.
    ///
    /// # Errors
    /// [`Error::Setting`] for a file that is there and cannot be read, or that a symbolic link puts there from elsewhere.
    pub(crate) fn read(&mut self, directory: &Path, name: &str) -> Result<Option<Said>, Error> {
        let path = directory.join(name);
        if !directory.starts_with(&self.root)
            && let Some(owner) = self.stranger(directory, name)
        {
            self.ignored.push((path, owner));
            return Ok(None);
        }
        let wrong = |why: &str, next: &str| Error::setting(&path, why, next);
        let below = path.strip_prefix(&self.directories[0]).unwrap_or(Path::new(name));
        let (file, leads_to) = match self.tree.file(below) {
            Ok(Some(file)) => (file, None),
            Ok(None) => return Ok(None),
            Err(Errno::ELOOP) => match self.linked(directory, name)? {
                Some((file, target)) => (file, Some(target)),
                None => return Ok(None),
            },
            Err(_) if files::is_held(&path) => return Ok(None),
            Err(errno) => return Err(wrong(&beneath::why(errno), "make it a readable file, or remove it")),
        };
        let own = file.metadata().is_ok_and(|found| found.nlink() == 1) && leads_to.is_none();
        let bytes = files::content(file, &path)?;
        Ok(Some(Said { path, bytes, leads_to, own }))
    }

    /// The owner of a file, or of the directory that holds it below `directory`, when what that person writes does not count.
    fn stranger(&self, directory: &Path, name: &str) -> Option<u32> {
        let mut at = directory.to_owned();
        for part in Path::new(name) {
            at.push(part);
            let owner = at.symlink_metadata().ok()?.uid();
            if !self.owners.contains(&owner) {
                return Some(owner);
            }
        }
        None
    }

    /// A file that symbolic links lead to, and where: in the workspace, or below the directory itself when that lies above it,
    /// and only from one kind of file to another of the same kind. The links may have been made inside, to have something read
    /// to whoever made them that cannot be read there.
    fn linked(&self, directory: &Path, name: &str) -> Result<Option<(fs::File, PathBuf)>, Error> {
        let path = directory.join(name);
        let base = if directory.starts_with(&self.root) { &self.root } else { directory };
        let refuse = |why: &str| {
            let next = "put the file itself there, or a relative link to such a file in the workspace";
            Error::setting(&path, format!("a symbolic link puts it there, and {why}"), next)
        };
        let beneath = |path: &Path, base: &Path| path.strip_prefix(base).unwrap_or(Path::new("")).to_owned();
        let opened = self
            .tree
            .below(&beneath(base, &self.directories[0]))
            .and_then(|tree| tree.linked_file(&beneath(&path, base)));
        let file = match opened {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(Errno::EXDEV) => return Err(refuse("it leads out of the workspace")),
            Err(errno) => return Err(refuse(&beneath::why(errno))),
        };
        let same = |target: &PathBuf| {
            let (Ok(one), Ok(other)) = (file.metadata(), target.symlink_metadata()) else { return false };
            (one.dev(), one.ino()) == (other.dev(), other.ino())
        };
        let Some(target) = path.canonicalize().ok().filter(same) else { return Err(refuse("it changes just now")) };
        if target.extension() != path.extension() {
            return Err(refuse("it leads to a file of another kind"));
        }
        Ok(Some((file, target)))
    }
}
