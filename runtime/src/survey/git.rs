//! Git directories: which of their files make git run something, and which of them a worktree needs.
//!
//! Git itself is never run: a repository can name programs for git to run. Its small files are read as text.
//!
//! What decides over programs in a git directory: `config`, `config.worktree` (when the configuration turns it on) and what
//! they include, `hooks` or the directory `core.hooksPath` names, and `commondir`, a file that moves all of those elsewhere
//! and is obeyed in every git directory, a plain repository's included.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::protect::Guarded;
use super::walk::{Kind, kind_at};
use super::{Mask, Protected, StandIn};

/// Git's pointer files are one line; a larger one is none.
const LARGEST_POINTER: u64 = 16 << 10;
const LARGEST_CONFIG: u64 = 1 << 20;
const LARGEST_INDEX: u64 = 256 << 20;
/// Submodules within submodules, and the directories of their names.
const DEEPEST_MODULES: usize = 12;
/// How many tracked paths a warning names.
const NAMED: usize = 3;

impl Guarded {
    /// Protects the repository whose `.git` (directory, file or symlink) is `dotgit`.
    pub(super) fn repository(&mut self, dotgit: &Path, kind: Kind) {
        match kind {
            Kind::Directory => self.git_dir(dotgit, dotgit.parent()),
            Kind::File => {
                self.protected.push(Protected::Existing { path: dotgit.to_owned(), directory: false });
                self.pointed(dotgit);
            }
            Kind::Symlink => {
                self.keep(dotgit, StandIn::Socket);
                // What the symlink leads to must stay writable, or no commit could be made.
                let Ok(target) = dotgit.canonicalize() else { return };
                self.protected
                    .retain(|entry| !matches!(entry, Protected::Existing { path, directory: true } if *path == target));
                match kind_at(&target) {
                    Ok(Kind::Directory) if self.contains(&target) => self.git_dir(&target, dotgit.parent()),
                    Ok(Kind::File) => self.pointed(&target),
                    _ => {}
                }
            }
            Kind::Channel | Kind::Other => {
                self.protected.push(Protected::Existing { path: dotgit.to_owned(), directory: false })
            }
        }
    }

    /// Follows a `.git` file to the git directory it names.
    fn pointed(&mut self, dotgit: &Path) {
        let (Some(tree), Some(private)) = (dotgit.parent(), gitdir(dotgit)) else { return };
        let common = common_dir(&private);
        if self.is_workspace(tree) && !self.contains(&common) {
            match elsewhere(dotgit) {
                Some(Ok(git_dir)) => self.git_dirs.push(git_dir),
                Some(Err(warning)) => self.warnings.push(warning),
                None => {}
            }
        }
        for directory in [&private, &common] {
            if self.contains(directory) {
                self.git_dir(directory, Some(tree));
            }
        }
    }

    fn contains(&self, path: &Path) -> bool {
        self.areas().any(|area| path.starts_with(area))
    }

    /// Protects what makes git run programs in the git directory `git`, whose files belong to `tree`.
    pub(super) fn git_dir(&mut self, git: &Path, tree: Option<&Path>) {
        if !self.seen.insert(git.to_owned()) {
            return;
        }
        self.keep(&git.join("hooks"), StandIn::Socket);
        self.keep(&git.join("config"), StandIn::File(""));
        self.keep(&git.join("config.worktree"), StandIn::File(""));
        // `.` leaves the common directory where it is; git fails on an empty file and on a directory.
        self.keep(&git.join("commondir"), StandIn::File("."));
        for name in ["config", "config.worktree"] {
            self.config(&git.join(name), git, tree);
        }
        for worktree in directories(&git.join("worktrees")) {
            self.linked_worktree(&worktree);
        }
        self.modules(&git.join("modules"), DEEPEST_MODULES);
    }

    fn linked_worktree(&mut self, private: &Path) {
        if kind_at(&private.join("HEAD")).is_err() || !self.seen.insert(private.to_owned()) {
            return;
        }
        for name in ["commondir", "gitdir"] {
            if kind_at(&private.join(name)).is_ok() {
                self.keep(&private.join(name), StandIn::File("."));
            }
        }
        self.keep(&private.join("config.worktree"), StandIn::File(""));
        self.config(&private.join("config.worktree"), private, None);
    }

    /// Git directories of submodules lie under their names, which may have slashes in them.
    fn modules(&mut self, directory: &Path, depth: usize) {
        for child in directories(directory) {
            if kind_at(&child.join("HEAD")).is_ok() {
                self.git_dir(&child, None);
            } else if depth > 0 {
                self.modules(&child, depth - 1);
            }
        }
    }

    /// Protects what a configuration file sends git to: included files and the directory of hooks.
    fn config(&mut self, file: &Path, git: &Path, tree: Option<&Path>) {
        let Ok(file) = file.canonicalize() else { return };
        if !self.seen.insert(file.clone()) {
            return;
        }
        let Some(text) = read(&file, LARGEST_CONFIG) else { return };
        for (section, key, value) in settings(&text) {
            let value = Path::new(OsStr::from_bytes(&value)).to_owned();
            if value.as_os_str().is_empty() || value.starts_with("~") {
                continue;
            }
            let is_include = key == b"path" && (section == b"include" || section == b"includeif");
            if is_include && let Some(parent) = file.parent() {
                let included = parent.join(&value);
                self.keep_lexical(&included, StandIn::File(""));
                self.config(&included, git, tree);
            } else if section == b"core" && key == b"hookspath" {
                self.keep_lexical(&tree.unwrap_or(git).join(&value), StandIn::Socket);
            }
        }
    }

    /// Protects a path from a file of git, which may have `..` in it.
    fn keep_lexical(&mut self, path: &Path, stand_in: StandIn) {
        // The hooks may be said to lie in the tree itself, which cannot become read-only as a whole.
        let real = path.canonicalize();
        if real.is_ok_and(|real| self.areas().any(|area| area.starts_with(&real))) {
            self.uncovered.push(format!("{} holds hooks and cannot be protected", path.display()));
            return;
        }
        self.keep(path, stand_in);
    }
}

/// The git directory outside of the workspace that its `.git` file names; or a warning, when that does not name it back.
pub(super) fn elsewhere(dotgit: &Path) -> Option<Result<PathBuf, String>> {
    if kind_at(dotgit) != Ok(Kind::File) {
        return None;
    }
    let private = gitdir(dotgit)?;
    let common = common_dir(&private);
    if common.starts_with(dotgit.parent()?) {
        return None;
    }
    if belongs(&private, &common, dotgit) {
        return Some(Ok(common));
    }
    // The file is content of the workspace: it alone must not be able to show a directory of its choice.
    let (dotgit, private) = (dotgit.display(), private.display());
    Some(Err(format!("{dotgit} names {private}, which does not name it back: git will not work inside")))
}

/// Whether git takes the directory `path` for a repository.
pub(super) fn is_bare(path: &Path) -> bool {
    ["HEAD", "objects", "refs"].iter().all(|name| kind_at(&path.join(name)).is_ok())
}

/// The git directory a `.git` file names, without symlinks.
fn gitdir(dotgit: &Path) -> Option<PathBuf> {
    let text = read(dotgit, LARGEST_POINTER)?;
    let named = text.strip_prefix(b"gitdir: ")?.trim_ascii_end();
    dotgit.parent()?.join(OsStr::from_bytes(named)).canonicalize().ok()
}

/// Where the shared part of the git directory `private` lies: itself unless `commondir` says otherwise.
fn common_dir(private: &Path) -> PathBuf {
    let named = read(&private.join("commondir"), LARGEST_POINTER);
    named
        .and_then(|text| private.join(OsStr::from_bytes(text.trim_ascii_end())).canonicalize().ok())
        .unwrap_or_else(|| private.to_owned())
}

/// Whether a git directory outside of the workspace says itself that the workspace is its tree: as a linked worktree
/// (`gitdir` names the `.git` file, and it lies among the worktrees of `common`) or as a submodule (`core.worktree`).
fn belongs(private: &Path, common: &Path, dotgit: &Path) -> bool {
    let holds_tree = dotgit.parent().is_some_and(|tree| tree.starts_with(common));
    if !is_bare(common) || holds_tree {
        return false;
    }
    let back = read(&private.join("gitdir"), LARGEST_POINTER)
        .and_then(|text| private.join(OsStr::from_bytes(text.trim_ascii_end())).canonicalize().ok());
    if back.as_deref() == Some(dotgit) {
        return private.parent() == Some(&common.join("worktrees"));
    }
    let settings = read(&private.join("config"), LARGEST_CONFIG).map(|text| settings(&text)).unwrap_or_default();
    let tree = settings.iter().rev().find(|(section, key, _)| section == b"core" && key == b"worktree");
    let tree = tree.and_then(|(_, _, value)| private.join(OsStr::from_bytes(value)).canonicalize().ok());
    private == common && tree.as_deref() == dotgit.parent()
}

/// The subdirectories of `path`; none when it cannot be read.
fn directories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The content of a regular file of at most `most` bytes. Never waits: a FIFO in its place is not read.
fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file: File = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path).ok()?;
    let status = file.metadata().ok()?;
    if !status.is_file() || status.len() > most {
        return None;
    }
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Section and key in lower case, and value, of every setting in the text of a git configuration; subsections are dropped.
fn settings(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut settings = Vec::new();
    let mut section = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'#' | b';' => rest = rest.iter().position(|&byte| byte == b'\n').map_or(&[], |end| &rest[end..]),
            b'[' => {
                let end =
                    after.iter().position(|byte| matches!(byte, b']' | b' ' | b'"' | b'\n')).unwrap_or(after.len());
                section = after[..end].to_ascii_lowercase();
                // A subsection stands in quotes and may hold a bracket.
                let mut quoted = false;
                let close = after.iter().position(|&byte| {
                    quoted ^= byte == b'"';
                    byte == b'\n' || (byte == b']' && !quoted)
                });
                rest = close.map_or(&[], |close| &after[close + 1..]);
            }
            byte if byte.is_ascii_alphabetic() => {
                let end =
                    rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(rest.len());
                let key = rest[..end].to_ascii_lowercase();
                let (value, left) = value(&rest[end..]);
                settings.push((section.clone(), key, value));
                rest = left;
            }
            _ => rest = after,
        }
    }
    settings
}

/// A value with quotes, escapes, continued lines and comments resolved, and what follows its line.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let (mut quoted, mut comment, mut equals) = (false, false, false);
    let mut solid = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\n' => break,
            _ if comment => {}
            b'=' if !equals => equals = true,
            _ if !equals => {}
            b'\\' => {
                let escaped = text.get(at).copied();
                at += 1;
                match escaped {
                    Some(b'\n') | None => {}
                    Some(b'n') => value.push(b'\n'),
                    Some(b't') => value.push(b'\t'),
                    Some(other) => value.push(other),
                }
                solid = value.len();
            }
            b'"' => quoted = !quoted,
            b'#' | b';' if !quoted => comment = true,
            b' ' | b'\t' | b'\r' if !quoted && value.is_empty() => {}
            other => {
                value.push(other);
                if quoted || !other.is_ascii_whitespace() {
                    solid = value.len();
                }
            }
        }
    }
    value.truncate(solid);
    (value, text.get(at..).unwrap_or_default())
}

/// A warning when masked paths are tracked: git keeps their content in its own database, which stays readable.
pub(super) fn tracked(workspace: &Path, masks: &[Mask]) -> Vec<String> {
    let dotgit = workspace.join(".git");
    let git = if dotgit.is_dir() { Some(dotgit) } else { gitdir(&dotgit) };
    let Some(git) = git else { return Vec::new() };
    let relative: HashSet<&[u8]> = masks
        .iter()
        .filter_map(|mask| mask.path.strip_prefix(workspace).ok())
        .map(|path| path.as_os_str().as_bytes())
        .collect();
    if relative.is_empty() {
        return Vec::new();
    }
    let Some(index) = read(&git.join("index"), LARGEST_INDEX) else { return Vec::new() };
    let config = read(&common_dir(&git).join("config"), LARGEST_CONFIG).map(|text| settings(&text)).unwrap_or_default();
    let sha256 = config.iter().any(|(section, key, value)| {
        section == b"extensions" && key == b"objectformat" && value.eq_ignore_ascii_case(b"sha256")
    });
    let mut hits = Vec::new();
    let mut count = 0_usize;
    let directory = |path: &[u8]| path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    let holders: HashSet<&[u8]> = relative.iter().map(|path| &path[..directory(path)]).collect();
    // The directory of the path before, which most have in common: whether it is denied, and whether it holds what is.
    let (mut last, mut denied, mut holds) = (None, false, false);
    for_each_path(&index, if sha256 { 32 } else { 20 }, |path| {
        let own = &path[..directory(path)];
        if last.as_deref() != Some(own) {
            let mut ends = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
            denied = ends.any(|end| relative.contains(&path[..end]));
            holds = holders.contains(own);
            last = Some(own.to_vec());
        }
        if denied || (holds && relative.contains(path)) {
            count += 1;
            if hits.len() < NAMED {
                hits.push(String::from_utf8_lossy(path).into_owned());
            }
        }
    });
    if count == 0 {
        return Vec::new();
    }
    let more = if count > hits.len() { format!(" and {} more", count - hits.len()) } else { String::new() };
    vec![format!(
        "tracked by git, so committed content stays readable in its database: {}{more}; remove it from the history or deny .git/objects",
        hits.join(", ")
    )]
}

/// Calls `each` with every path in a git index of version 2, 3 or 4; stops where the file makes no sense.
fn for_each_path(index: &[u8], hash: usize, mut each: impl FnMut(&[u8])) -> Option<()> {
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    if index.get(..4)? != b"DIRC" {
        return None;
    }
    let version = number(4)?;
    let mut at = 12;
    let mut path: Vec<u8> = Vec::new();
    for _ in 0..number(8)? {
        let start = at;
        let flags = u16::from_be_bytes(index.get(at + 40 + hash..at + 42 + hash)?.try_into().ok()?);
        at += 42 + hash;
        if version >= 3 && flags & 0x4000 != 0 {
            at += 2;
        }
        if version == 4 {
            // The path is the one before it, shortened by a number, and a new end.
            let mut byte = *index.get(at)?;
            let mut cut = usize::from(byte & 0x7f);
            at += 1;
            while byte & 0x80 != 0 {
                byte = *index.get(at)?;
                cut = ((cut.checked_add(1)?) << 7) + usize::from(byte & 0x7f);
                at += 1;
            }
            path.truncate(path.len().checked_sub(cut)?);
        } else {
            path.clear();
        }
        let rest = CStr::from_bytes_until_nul(index.get(at..)?).ok()?.to_bytes();
        let end = at + rest.len();
        path.extend_from_slice(rest);
        each(&path);
        // Before version 4 entries are padded with at least one NUL to a multiple of eight.
        at = if version == 4 { end + 1 } else { start + (end - start + 8) / 8 * 8 };
    }
    Some(())
}
