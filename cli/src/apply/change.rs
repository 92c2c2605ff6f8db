//! New contents for files: computed first, written beside them, put in their place together, and taken back together.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use holdpoint_approval_web::plan::{Digest, FileRef};
use holdpoint_approval_web::state::Outcome;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};

use super::hunk;
use super::parse::{Edit, Kind, Patch};
use crate::beneath::{Place, Tree, why};
use crate::error::Error;

/// The largest file that is edited.
const LARGEST: u64 = 64 << 20;

/// All of a patch, checked against the files as they are.
#[derive(Debug)]
pub(crate) struct Change {
    tree: Tree,
    files: Vec<Planned>,
}

/// One file before and after.
#[derive(Debug)]
struct Planned {
    path: PathBuf,
    before: Option<Before>,
    /// `None` when it is deleted.
    after: Option<Vec<u8>>,
    executable: bool,
}

/// A file as it is now.
#[derive(Debug)]
struct Before {
    file: FileRef,
    mode: u32,
    owner: (u32, u32),
}

/// It was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied;

impl From<Applied> for Outcome {
    fn from(_: Applied) -> Self {
        Self::Exited(0)
    }
}

impl Patch {
    /// Check every hunk against the files below `root`; changes nothing.
    ///
    /// # Errors
    /// [`Error::Patch`] naming the file and the hunk, never what the file says.
    pub(crate) fn fit(&self, root: &Path) -> Result<Change, Error> {
        let tree = Tree::open(root).map_err(|errno| misfit(root, &why(errno)))?;
        let files = self.edits.iter().map(|edit| planned(&tree, root, edit)).collect::<Result<_, _>>()?;
        Ok(Change { tree, files })
    }
}

fn misfit(path: &Path, why: &str) -> Error {
    Error::Patch { why: format!("{}: {why}", path.display()), next: "nothing was changed".into() }
}

fn planned(tree: &Tree, root: &Path, edit: &Edit) -> Result<Planned, Error> {
    let wrong = |why: &str| misfit(&edit.path, why);
    let present = tree.file(&edit.path).map_err(|errno| wrong(&why(errno)))?;
    let (content, before) = match (present, edit.kind) {
        (None, Kind::Create { .. }) => (Vec::new(), None),
        (Some(_), Kind::Create { .. }) => return Err(wrong("the patch makes it, but it is there already")),
        (None, _) => return Err(wrong("there is no such file")),
        (Some(file), _) => {
            let (content, before) = read(&file, root.join(&edit.path)).map_err(|error| wrong(&error.to_string()))?;
            (content, Some(before))
        }
    };
    let after = hunk::apply(&content, &edit.hunks)
        .map_err(|(number, why)| wrong(&format!("hunk {number} of {} does not fit: {why}", edit.hunks.len())))?;
    let (after, executable) = match edit.kind {
        Kind::Delete if !edit.hunks.is_empty() && !after.is_empty() => {
            return Err(wrong("the patch deletes it, but does not know all of it"));
        }
        // Git deletes an empty file without a hunk; anything in it was not shown.
        Kind::Delete if edit.hunks.is_empty() && !content.is_empty() => {
            return Err(wrong("the patch deletes it as an empty file, but it is not empty"));
        }
        Kind::Delete => (None, false),
        Kind::Change => (Some(after), false),
        Kind::Create { executable } => (Some(after), executable),
    };
    Ok(Planned { path: edit.path.clone(), before, after, executable })
}

fn read(file: &File, path: PathBuf) -> io::Result<(Vec<u8>, Before)> {
    let found = file.metadata()?;
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    let file = FileRef {
        path: path.into(),
        dev: found.dev(),
        ino: found.ino(),
        sha256: Digest::of(&content),
        len: content.len() as u64,
    };
    Ok((content, Before { file, mode: found.permissions().mode() & 0o7777, owner: (found.uid(), found.gid()) }))
}

impl Change {
    /// The files as they are now, for the digest of a hold.
    pub(crate) fn targets(&self) -> Vec<FileRef> {
        self.files.iter().filter_map(|file| file.before.as_ref()).map(|before| before.file.clone()).collect()
    }

    /// Carry it out: all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Patch`] when a file has changed meanwhile, [`Error::Io`] when writing fails. Everything is as it was then.
    pub(crate) fn commit(self) -> Result<Applied, Error> {
        let mut steps = Steps::default();
        for file in &self.files {
            steps.write(&self.tree, file).map_err(|errno| failed("write beside", &file.path, errno))?;
        }
        for (index, file) in self.files.iter().enumerate() {
            steps.put(index, file)?;
        }
        steps.keep();
        Ok(Applied)
    }
}

fn failed(what: &str, path: &Path, errno: impl Into<io::Error>) -> Error {
    Error::io(format!("{what} {}, so nothing was changed", path.display()), errno.into())
}

/// What has been done so far; dropped without [`keep`](Steps::keep), all of it is undone, the last first.
#[derive(Default)]
struct Steps {
    written: Vec<Written>,
    made: Vec<Place>,
    kept: bool,
}

/// One file's place, the name beside it, and what stands under which.
struct Written {
    place: Place,
    beside: OsString,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The name beside holds the new content, or nothing yet for a deletion.
    Beside { written: bool },
    /// New content and old have changed places: the name beside holds the old one.
    Exchanged,
    /// The new file stands in its place; nothing is beside.
    Created,
    /// The old file stands beside; nothing is in its place.
    Removed,
}

impl Steps {
    /// Write the new content beside its place.
    fn write(&mut self, tree: &Tree, file: &Planned) -> Result<(), io::Error> {
        let place = tree.place(&file.path, &mut self.made)?;
        let beside = OsString::from(format!(".holdpoint-edit-{}-{}", std::process::id(), self.written.len()));
        self.written.push(Written { place, beside, stage: Stage::Beside { written: false } });
        let Some(written) = self.written.last_mut() else { return Ok(()) };
        let Some(content) = &file.after else { return Ok(()) };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // The mode of a new file is the caller's (umask); that of a changed one is set below.
        let mode = if file.executable { 0o777 } else { 0o666 };
        let mode = if file.before.is_some() { 0o600 } else { mode };
        let fd = openat(&written.place, written.beside.as_os_str(), flags, Mode::from_bits_truncate(mode))?;
        written.stage = Stage::Beside { written: true };
        let mut out = File::from(fd);
        out.write_all(content)?;
        if let Some(before) = &file.before {
            let (uid, gid) = before.owner;
            let now = out.metadata()?;
            if (now.uid(), now.gid()) != (uid, gid) {
                fchown(&out, Some(uid), Some(gid))?;
            }
            out.set_permissions(std::fs::Permissions::from_mode(before.mode))?;
        }
        out.sync_all()
    }

    /// Put one file in its place, and see that what it replaced is what was looked at.
    fn put(&mut self, index: usize, file: &Planned) -> Result<(), Error> {
        let Some(written) = self.written.get_mut(index) else { return Ok(()) };
        let flags = match (&file.before, &file.after) {
            (Some(_), Some(_)) => RenameFlags::EXCHANGE,
            _ => RenameFlags::NOREPLACE,
        };
        let (beside, name) = (written.beside.as_os_str(), written.place.name.as_os_str());
        let deletes = file.after.is_none();
        let (from, to) = if deletes { (name, beside) } else { (beside, name) };
        renameat_with(&written.place, from, &written.place, to, flags).map_err(|error| {
            match Errno::from_raw(error.raw_os_error()) {
                Errno::EEXIST => misfit(&file.path, "it has appeared meanwhile"),
                Errno::ENOENT => misfit(&file.path, "it has gone meanwhile"),
                Errno::EINVAL => Error::io(
                    format!("put {} in its place, so nothing was changed", file.path.display()),
                    "this file system cannot exchange two names",
                ),
                errno => failed("put in its place", &file.path, errno),
            }
        })?;
        written.stage = match (&file.before, deletes) {
            (_, true) => Stage::Removed,
            (Some(_), false) => Stage::Exchanged,
            (None, false) => Stage::Created,
        };
        match &file.before {
            Some(before) if !written.holds(before) => Err(misfit(&file.path, "it has changed meanwhile")),
            _ => Ok(()),
        }
    }

    /// All is in its place: take the old contents away, and make it durable.
    fn keep(mut self) {
        self.kept = true;
        for written in &self.written {
            if matches!(written.stage, Stage::Exchanged | Stage::Removed) {
                // What cannot be taken away stays beside under our own name; the edit itself is done.
                unlinkat(&written.place, written.beside.as_os_str(), UnlinkatFlags::NoRemoveDir).ok();
            }
            // Synchronising may be unsupported (EINVAL); then nothing more can be had.
            nix::unistd::fsync(&written.place).ok();
        }
    }
}

impl Written {
    /// Whether the name beside now holds the very file that was looked at, unchanged.
    fn holds(&self, before: &Before) -> bool {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(&self.place, self.beside.as_os_str(), flags, Mode::empty()) else { return false };
        read(&File::from(fd), PathBuf::new()).is_ok_and(|(_, now)| {
            (now.file.dev, now.file.ino, now.file.sha256) == (before.file.dev, before.file.ino, before.file.sha256)
        })
    }

    /// As it was. Each rename can fail only if somebody else is at the same names; there is nobody better to undo it.
    fn undo(&self) {
        let (beside, name) = (self.beside.as_os_str(), self.place.name.as_os_str());
        match self.stage {
            Stage::Beside { written: false } => return,
            Stage::Beside { written: true } => {}
            Stage::Exchanged => {
                renameat_with(&self.place, beside, &self.place, name, RenameFlags::EXCHANGE).ok();
            }
            Stage::Removed => {
                renameat_with(&self.place, beside, &self.place, name, RenameFlags::NOREPLACE).ok();
                return;
            }
            Stage::Created => {
                unlinkat(&self.place, name, UnlinkatFlags::NoRemoveDir).ok();
                return;
            }
        }
        unlinkat(&self.place, beside, UnlinkatFlags::NoRemoveDir).ok();
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.written.iter().rev().for_each(Written::undo);
        for made in self.made.iter().rev() {
            unlinkat(made, made.name.as_os_str(), UnlinkatFlags::RemoveDir).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::Patch;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    const BOTH: &[u8] = b"--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+ONE\n\
                          --- /dev/null\n+++ b/new/deep/b\n@@ -0,0 +1 @@\n+two\n\
                          --- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "one\n").unwrap();
        fs::write(dir.path().join("gone"), "x\n").unwrap();
        dir
    }

    /// Every file below `dir` with its content; directories too.
    fn listed(dir: &Path) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(next) = todo.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                if path.is_dir() {
                    todo.push(path);
                    all.insert(format!("{name}/"), String::new());
                } else {
                    all.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        all
    }

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_patch_changes_makes_and_deletes_and_leaves_nothing_beside() {
        let dir = tree();
        fs::set_permissions(dir.path().join("a"), PermissionsExt::from_mode(0o750)).unwrap();
        Patch::parse(BOTH).unwrap().fit(dir.path()).unwrap().commit().unwrap();
        let expected = [("a", "ONE\n"), ("new/", ""), ("new/deep/", ""), ("new/deep/b", "two\n")];
        assert_eq!(listed(dir.path()), files(&expected));
        assert_eq!(dir.path().join("a").metadata().unwrap().mode() & 0o7777, 0o750, "a changed file keeps its mode");
    }

    #[test]
    fn when_one_file_cannot_be_put_in_its_place_everything_is_as_it_was() {
        let dir = tree();
        let change = Patch::parse(BOTH).unwrap().fit(dir.path()).unwrap();
        // After the check and before the commit somebody makes the file that the patch makes.
        fs::create_dir_all(dir.path().join("new/deep")).unwrap();
        fs::write(dir.path().join("new/deep/b"), "mine").unwrap();
        let before = listed(dir.path());
        let error = change.commit().unwrap_err().to_string();
        assert!(error.contains("appeared meanwhile"), "{error}");
        assert_eq!(listed(dir.path()), before);

        let dir = tree();
        let change = Patch::parse(BOTH).unwrap().fit(dir.path()).unwrap();
        fs::write(dir.path().join("gone"), "changed\n").unwrap();
        let before = listed(dir.path());
        assert!(change.commit().unwrap_err().to_string().contains("changed meanwhile"));
        assert_eq!(listed(dir.path()), before, "directories made for new files are gone as well");
    }

    #[test]
    fn a_link_that_appears_after_the_check_is_not_followed() {
        let dir = tree();
        let outside = tempfile::tempdir().unwrap();
        let change = Patch::parse(BOTH).unwrap().fit(dir.path()).unwrap();
        symlink(outside.path(), dir.path().join("new")).unwrap();
        assert!(change.commit().is_err());
        assert!(listed(outside.path()).is_empty());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "one\n");
    }

    #[test]
    fn links_are_refused_and_what_a_file_says_is_never_told() {
        let dir = tree();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "top secret\n").unwrap();
        symlink(outside.path(), dir.path().join("dir")).unwrap();
        symlink(outside.path().join("f"), dir.path().join("link")).unwrap();
        fs::write(dir.path().join("other"), "top secret\n").unwrap();
        for (path, says) in [("dir/f", "symbolic link"), ("link", "symbolic link"), ("other", "not in the file")] {
            let text = format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-public\n+x\n");
            let error = Patch::parse(text.as_bytes()).unwrap().fit(dir.path()).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("top secret"), "{path}: {error}");
        }
        assert_eq!(fs::read_to_string(outside.path().join("f")).unwrap(), "top secret\n");
    }

    #[test]
    fn a_deletion_must_know_the_whole_file() {
        let dir = tree();
        fs::write(dir.path().join("gone"), "x\ny\n").unwrap();
        let text = b"--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
        assert!(Patch::parse(text).unwrap().fit(dir.path()).unwrap_err().to_string().contains("all of it"));
        let text = b"diff --git a/gone b/gone\ndeleted file mode 100644\nindex e69de29..0000000\n";
        assert!(Patch::parse(text).unwrap().fit(dir.path()).unwrap_err().to_string().contains("not empty"));
    }
}
