//! Finding the AGENTS.md files that apply to a directory. What they say is read by the policy.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::places::{Places, git_root};

/// The file's name, and the one that stands in for it in its directory.
const NAMES: [&str; 2] = ["AGENTS.override.md", "AGENTS.md"];

/// One file that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it stands.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) text: String,
}

/// The files that apply to `dir`, in the order in which they are read: the person's own, then from the project root (the
/// git root, else `root` when `dir` is inside it, else `dir`) down to `dir`; one in each directory.
///
/// # Errors
/// [`Error::Setting`] for a file that is there and cannot be read as text: it may hold what forbids something.
pub(crate) fn find(places: &Places, root: &Path, dir: &Path) -> Result<Vec<Found>, Error> {
    let top = git_root(dir).unwrap_or_else(|| if dir.starts_with(root) { root } else { dir }.to_owned());
    let mut directories: Vec<&Path> = dir.ancestors().take_while(|above| above.starts_with(&top)).collect();
    directories.push(&places.config);
    let mut found = Vec::new();
    for directory in directories.into_iter().rev() {
        found.extend(in_directory(directory)?);
    }
    Ok(found)
}

fn in_directory(directory: &Path) -> Result<Option<Found>, Error> {
    for name in NAMES {
        let path = directory.join(name);
        // A directory of this name says nothing.
        if path.is_dir() {
            continue;
        }
        if let Some(bytes) = files::read(&path)? {
            return match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(Found { path, text })),
                Err(_) => Err(Error::setting(&path, "it is not UTF-8", "save it as UTF-8")),
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::places::Places;
    use std::fs;

    #[test]
    fn the_global_file_comes_first_then_root_to_leaf_and_an_override_stands_in() {
        let dir = tempfile::tempdir().unwrap();
        let (home, root) = (dir.path().join("h"), dir.path().join("w"));
        let leaf = root.join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        fs::create_dir_all(&home).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir(leaf.join("AGENTS.override.md")).unwrap();
        let places = Places { home: home.clone(), config: home.clone(), state: home.clone() };
        for (path, text) in [
            (home.join("AGENTS.md"), "global"),
            (dir.path().join("AGENTS.md"), "above the root"),
            (root.join("AGENTS.md"), "root"),
            (root.join("a/AGENTS.md"), "shadowed"),
            (root.join("a/AGENTS.override.md"), "override"),
            (leaf.join("AGENTS.md"), "leaf"),
        ] {
            fs::write(path, text).unwrap();
        }
        let texts = |dir| find(&places, &root, dir).unwrap().into_iter().map(|found| found.text).collect::<Vec<_>>();
        assert_eq!(texts(&leaf), ["global", "root", "override", "leaf"]);
        assert_eq!(texts(&root), ["global", "root"]);
        fs::write(leaf.join("AGENTS.md"), b"\xff").unwrap();
        assert!(find(&places, &root, &leaf).unwrap_err().to_string().contains("not UTF-8"));
    }
}
