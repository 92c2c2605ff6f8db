//! The files of a workspace that hooks run or read. Hooks run on the host: what they run must not be written inside.

use std::path::{Path, PathBuf};

use holdpoint_policy::{Hook, Sourced, paths};

use crate::places::{Places, Workspace};

/// What the commands of `hooks` name in the workspace, relative to its root, each with where the hook was written.
pub(crate) fn named<'a>(hooks: &'a [Hook], workspace: &'a Workspace, places: &'a Places) -> Vec<Sourced<String>> {
    let of_hook = |hook: &'a Hook| {
        let files = hook.words().into_iter().flat_map(move |word| of_word(&word, workspace, places));
        files.map(|file| Sourced::new(file, hook.origin.clone()))
    };
    hooks.iter().flat_map(of_hook).collect()
}

/// A word is a path of the workspace when it says so (`./x`, an absolute path), or when there is such a file. A directory has
/// to be named with a slash: `test` and `src` are words of many commands.
fn of_word(word: &str, workspace: &Workspace, places: &Places) -> Vec<String> {
    let says_so = ["./", "../", "/", "~/"].iter().any(|start| word.starts_with(start));
    let path = places.expand(word);
    let mut named: Vec<PathBuf> = Vec::new();
    for base in [&workspace.root, &workspace.cwd] {
        let path = paths::lexical(&base.join(&path));
        let real = path.canonicalize();
        if says_so || real.as_ref().is_ok_and(|real| word.contains('/') || real.is_file()) {
            named.push(path);
            named.extend(real);
        }
    }
    let inside = |path: PathBuf| path.strip_prefix(&workspace.root).ok().map(Path::to_owned);
    let named = named.into_iter().filter_map(inside).filter_map(|path| path.to_str().map(str::to_owned));
    named.filter(|path| !path.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::of_word;
    use crate::places::{Places, Workspace};
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn a_word_is_a_path_when_it_says_so_or_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("pkg/tools")).unwrap();
        fs::create_dir(root.join("test")).unwrap();
        for file in ["hook.py", "pkg/own.sh", "pkg/tools/x"] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("hook.py", root.join("link.py")).unwrap();
        let home = PathBuf::from("/home/somebody");
        let places = Places { home: home.clone(), config: home.clone(), state: home };
        let workspace = Workspace { root: root.clone(), cwd: root.join("pkg") };
        let named = |word: &str| {
            let mut named = of_word(word, &workspace, &places);
            named.sort_unstable();
            named.dedup();
            named
        };
        assert_eq!(named("hook.py"), ["hook.py"]);
        assert_eq!(named("own.sh"), ["pkg/own.sh"], "in the directory the hook would run in");
        assert_eq!(named("link.py"), ["hook.py", "link.py"], "under every name");
        assert_eq!(named(root.join("new").to_str().unwrap()), ["new"], "whether or not it exists");
        assert_eq!(named("./new"), ["new", "pkg/new"]);
        assert_eq!(named("../hook.py"), ["hook.py"]);
        assert_eq!(named("tools/"), ["pkg/tools"]);
        for word in ["test", "echo", "/etc/passwd", "..", "/", "~/x", "no/such"] {
            assert!(named(word).is_empty(), "{word}");
        }
    }
}
