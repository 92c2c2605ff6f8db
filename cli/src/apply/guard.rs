//! What no edit may touch although its path says nothing about it: other names of denied files, what a sandbox would keep as it
//! is, and what would make git take a directory for a repository.

use std::path::Path;

use holdpoint_policy::{Reason, Verdict};
use holdpoint_runtime::Plan;

use super::parse::{Kind, Patch};

/// Git takes a directory with all three for a repository, and obeys the `config` and the `hooks` beside them.
const BARE: [&str; 3] = ["HEAD", "objects", "refs"];

/// Why `patch` is denied in the workspace `root`, of which `plan` says what a command in it could not read or change. The
/// files themselves are not read: whether a patch fits tells what they say.
pub(crate) fn refusal(plan: &Plan, root: &Path, patch: &Patch) -> Option<Reason> {
    let deny = |rule: &str, text: String| Reason::new(Verdict::Deny, rule, "built-in", text);
    for edit in &patch.edits {
        let (path, shown) = (root.join(&edit.path), edit.path.display());
        if plan.masked().any(|mask| path.starts_with(mask)) {
            let text = format!("`{shown}` is denied, perhaps under another name, so it is not writable either");
            return Some(deny("deny_read_paths", text));
        }
        if plan.kept().any(|kept| path.starts_with(kept)) {
            return Some(deny("protected", format!("`{shown}` stays as it is in every mode")));
        }
    }
    let made = patch.edits.iter().filter(|edit| matches!(edit.kind, Kind::Create { .. }));
    let made: Vec<&Path> = made.map(|edit| edit.path.as_path()).collect();
    let repository =
        made.iter().flat_map(|path| path.ancestors().skip(1)).find(|dir| completes_bare(root, dir, &made))?;
    let shown = match repository.as_os_str().is_empty() {
        true => Path::new("."),
        false => repository,
    };
    let text = format!("git would take `{}` for a repository, and run what its `config` says", shown.display());
    Some(deny("protected: .git", text))
}

/// Whether making these files makes a bare repository of a directory that is none yet.
fn completes_bare(root: &Path, dir: &Path, made: &[&Path]) -> bool {
    let is_there = |part: &&str| root.join(dir).join(part).symlink_metadata().is_ok();
    // Names that differ in case alone are one in some file systems.
    let is_made = |part: &str| {
        let below = made.iter().filter_map(|path| path.strip_prefix(dir).ok());
        below.filter_map(|path| path.iter().next()).any(|name| name.eq_ignore_ascii_case(part))
    };
    let missing: Vec<&str> = BARE.into_iter().filter(|part| !is_there(part)).collect();
    !missing.is_empty() && missing.into_iter().all(is_made)
}

#[cfg(test)]
mod tests {
    use super::completes_bare;
    use std::path::Path;

    #[test]
    fn a_repository_is_made_of_what_is_there_and_what_comes() {
        let root = tempfile::tempdir().unwrap();
        let completes = |dir: &str, made: &[&str]| {
            let made: Vec<&Path> = made.iter().map(Path::new).collect();
            completes_bare(root.path(), Path::new(dir), &made)
        };
        assert!(completes("", &["HEAD", "refs/x", "objects/y"]));
        assert!(completes("a/b", &["a/b/head", "a/b/refs", "a/b/objects/y/z"]));
        assert!(!completes("a", &["a/b/HEAD", "a/b/refs/x", "a/b/objects/y"]));
        assert!(!completes("", &["HEAD", "refs/x"]));
        std::fs::create_dir(root.path().join("objects")).unwrap();
        assert!(completes("", &["HEAD", "refs/x"]));
        for part in ["HEAD", "refs"] {
            std::fs::create_dir(root.path().join(part)).unwrap();
        }
        assert!(!completes("", &["refs/x"]), "it is one already");
    }
}
