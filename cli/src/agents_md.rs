//! Finding the AGENTS.md files that apply to a directory. What they say is read by the policy.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::places::Places;
use crate::project::{Project, Said};

/// The file's name, and the one that stands in for its prose in its directory.
const NAMES: [&str; 2] = ["AGENTS.override.md", "AGENTS.md"];

/// One file that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The directory it governs; `None` for the person's own, which governs every workspace.
    pub(crate) directory: Option<PathBuf>,
    /// The file.
    pub(crate) said: Said,
    /// Its text.
    pub(crate) text: String,
    /// Whether another file stands in for its prose. Its blocks count all the same: to add a file takes nothing back.
    pub(crate) overridden: bool,
}

/// The files that apply, in the order in which they are read: the person's own, then those of a project from its outermost
/// directory on.
///
/// # Errors
/// [`Error::Setting`] for a file that is there and cannot be read as text: it may hold what forbids something.
pub(crate) fn find(places: &Places, project: &mut Project) -> Result<Vec<Found>, Error> {
    let own = |name: &str| {
        let path = places.config.join(name);
        let bytes = if path.is_dir() { None } else { files::read(&path)? };
        Ok(bytes.map(|bytes| Said { path, bytes, leads_to: None, own: true }))
    };
    let mut found = in_directory(None, own)?;
    for directory in project.directories() {
        let read = |name: &str| match project.read(&directory, name) {
            // A directory of this name says nothing.
            Err(_) if directory.join(name).is_dir() => Ok(None),
            read => read,
        };
        found.extend(in_directory(Some(&directory), read)?);
    }
    Ok(found)
}

fn in_directory(
    directory: Option<&Path>,
    mut read: impl FnMut(&str) -> Result<Option<Said>, Error>,
) -> Result<Vec<Found>, Error> {
    let mut found: Vec<Found> = Vec::new();
    for name in NAMES {
        let Some(mut said) = read(name)? else { continue };
        let text = String::from_utf8(std::mem::take(&mut said.bytes))
            .map_err(|_| Error::setting(&said.path, "it is not UTF-8", "save it as UTF-8"))?;
        let directory = directory.map(Path::to_owned);
        // Read after the one that stands in for it: whose blocks come first does not matter.
        found.push(Found { directory, said, text, overridden: !found.is_empty() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::places::{Places, Workspace};
    use crate::project::Project;
    use std::fs;

    #[test]
    fn the_global_file_comes_first_then_root_to_leaf_and_an_override_stands_in() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let (config, root) = (home.join("c"), home.join("p/w"));
        let leaf = root.join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        fs::create_dir_all(&config).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::create_dir(leaf.join("AGENTS.override.md")).unwrap();
        let places = Places { home: home.clone(), config: config.clone(), state: home.clone() };
        for (path, text) in [
            (config.join("AGENTS.md"), "global"),
            (home.join("AGENTS.md"), "of the home directory itself"),
            (home.join("p/AGENTS.md"), "above the root"),
            (root.join("AGENTS.md"), "root"),
            (root.join("a/AGENTS.md"), "overridden"),
            (root.join("a/AGENTS.override.md"), "override"),
            (leaf.join("AGENTS.md"), "leaf"),
        ] {
            fs::write(path, text).unwrap();
        }
        let found = |dir| {
            let mut project = Project::around(&places, &Workspace::of(dir).unwrap()).unwrap();
            find(&places, &mut project)
        };
        let texts = |dir| {
            let found = found(dir).unwrap().into_iter();
            found.map(|found| (found.text, found.overridden)).collect::<Vec<_>>()
        };
        let all = [("global", false), ("above the root", false), ("root", false), ("override", false)];
        let all = [&all[..], &[("overridden", true), ("leaf", false)]].concat();
        let all: Vec<(String, bool)> =
            all.into_iter().map(|(text, overridden)| (text.to_owned(), overridden)).collect();
        assert_eq!(texts(&leaf), all);
        assert_eq!(texts(&root), all[..3]);
        fs::create_dir(leaf.join(".git")).unwrap();
        assert_eq!(texts(&leaf), all, "a repository made below takes nothing back");
        fs::write(leaf.join("AGENTS.md"), b"\xff").unwrap();
        assert!(found(&leaf).unwrap_err().to_string().contains("not UTF-8"));
    }
}
