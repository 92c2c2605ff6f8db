//! Git directories: which of their files make git run something, and which of them a worktree needs.
//!
//! Git is not asked here: a repository can name programs for git to run. Its small files are read as text.
//!
//! What decides over programs in a git directory: `config`, `config.worktree` (when the configuration turns it on) and what
//! they include, `hooks` or the directory `core.hooksPath` names, and `commondir`, a file that moves all of those elsewhere
//! and is obeyed in every git directory, a plain repository's included. The configuration of the user can name files of a
//! workspace as well.

mod index;
mod own;
mod programs;
mod settings;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::User;

use super::protect::Guarded;
use super::walk::{Kind, entries_of, entry_at, kind_at, real_directory};
use super::{Mask, Protected, StandIn, SurveyError};
pub(crate) use index::for_each_file;
pub(crate) use own::OwnGit;
pub(crate) use programs::git_programs;
pub(super) use settings::Setting;
use settings::settings;

/// The end of the longest path (`PATH_MAX`); what follows in a pointer file of git is nothing, or makes it name nothing.
const LONGEST_POINTER: u64 = 8 << 10;
/// As many entries of a protected directory are looked at, and so many directories deep.
const MOST_LINKS: usize = 1000;
pub(super) const DEEPEST_LINKS: usize = 4;
/// In so many directories a command's words are looked for.
const MOST_PLACES: usize = 8;
const LARGEST_CONFIG: u64 = 1 << 20;
const LARGEST_INDEX: u64 = 256 << 20;
/// Submodules within submodules, and the directories of their names.
const DEEPEST_MODULES: usize = 12;
/// How many tracked paths a warning names.
const NAMED: usize = 3;
/// What git takes a directory for a repository by.
const PARTS: [&str; 3] = ["HEAD", "objects", "refs"];

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
        if self.seen.insert(git.to_owned()) {
            self.keep(&git.join("hooks"), StandIn::Socket);
            self.behind_links(&git.join("hooks"), 0);
            self.keep(&git.join("config"), StandIn::File(""));
            self.keep(&git.join("config.worktree"), StandIn::File(""));
            // `.` leaves the common directory where it is; git fails on an empty file and on a directory.
            self.keep(&git.join("commondir"), StandIn::File("."));
            for worktree in directories(&git.join("worktrees")) {
                self.linked_worktree(&worktree);
            }
            self.modules(&git.join("modules"), DEEPEST_MODULES);
        }
        // One repository has several trees, and each its own directory of hooks.
        let tree = tree.map(Path::to_owned).or_else(|| self.tree_of(git));
        let base = tree.as_deref().unwrap_or(git);
        if !self.configured.insert((git.to_owned(), base.to_owned())) {
            return;
        }
        for name in ["config", "config.worktree"] {
            self.config(&git.join(name), base);
        }
        if tree.is_some() {
            self.user_config(base);
        }
    }

    fn linked_worktree(&mut self, private: &Path) {
        if !self.seen.insert(private.to_owned()) {
            return;
        }
        for name in ["commondir", "gitdir"] {
            if kind_at(&private.join(name)).is_ok() {
                self.keep(&private.join(name), StandIn::File("."));
            }
        }
        self.keep(&private.join("config.worktree"), StandIn::File(""));
        self.config(&private.join("config.worktree"), private);
        self.modules(&private.join("modules"), DEEPEST_MODULES);
    }

    /// Git directories of submodules lie under their names, which may have slashes in them: below each directory, for what
    /// looks like a git directory may be there only to hide another.
    fn modules(&mut self, directory: &Path, depth: usize) {
        for child in directories(directory) {
            // Where git keeps objects, a directory for each first byte of their names.
            let objects = directory.ends_with("objects") && child.file_name().is_some_and(|name| name.len() == 2);
            if depth > 0 && !objects {
                if is_git_dir(&child) {
                    self.git_dir(&child, None);
                }
                self.modules(&child, depth - 1);
            }
        }
    }

    /// The tree that a git directory says is its own.
    fn tree_of(&mut self, git: &Path) -> Option<PathBuf> {
        if git.ends_with(".git") {
            return git.parent().map(Path::to_owned);
        }
        let settings = self.settings(&git.join("config"))?;
        git.join(worktree_of(&settings)?).canonicalize().ok()
    }

    /// Protects what a configuration file sends git to, where paths start at `base`: included files, the directory of hooks
    /// and the program that `git status` asks.
    fn config(&mut self, file: &Path, base: &Path) {
        let Ok(file) = file.canonicalize() else { return };
        if !self.obeyed.insert((file.clone(), base.to_owned())) {
            return;
        }
        let Some(settings) = self.settings(&file) else { return };
        for (section, key, value) in settings.iter() {
            let Some(value) = self.expanded(value) else { continue };
            match (section.as_slice(), key.as_slice(), file.parent()) {
                (b"include" | b"includeif", b"path", Some(parent)) => {
                    let included = parent.join(&value);
                    self.keep_lexical(&included, StandIn::File(""));
                    self.config(&included, base);
                }
                (b"core", b"hookspath", _) => self.hooks_path(&base.join(&value)),
                (section, key, _) if programs::names_program(section, key, value.as_os_str().as_bytes()) => {
                    self.command(value.as_os_str().as_bytes(), base)
                }
                _ => {}
            }
        }
    }

    /// A directory of hooks. Those that husky writes into `.husky/_` run the scripts beside it.
    fn hooks_path(&mut self, path: &Path) {
        let beside = path.components().as_path().file_name().is_some_and(|name| name == "_");
        for directory in path.parent().filter(|_| beside).into_iter().chain([path]) {
            self.keep_lexical(directory, StandIn::Socket);
            self.behind_links(directory, DEEPEST_LINKS);
        }
    }

    /// A command for the shell. Its first word is a program, looked for elsewhere when it has no slash, and what follows an
    /// interpreter is a script; another word may be a program when it can be executed. Each is looked for from where the command
    /// starts, from a directory that it names before (`cd tools && ./x`), and without its first part (`$PWD/x`, `$(pwd)/x`).
    fn command(&mut self, command: &[u8], base: &Path) {
        let mut places = vec![base.to_owned()];
        for (word, runs) in programs::words(command) {
            let beyond = word.iter().position(|&byte| byte == b'/').map(|slash| &word[slash + 1..]);
            if runs && beyond.is_some() {
                // Whether or not it is there.
                self.keep_lexical(&base.join(OsStr::from_bytes(word)), StandIn::Socket);
            }
            let names = [Some(word), beyond].into_iter().flatten().map(OsStr::from_bytes);
            let paths: Vec<PathBuf> = names.flat_map(|name| places.iter().map(move |place| place.join(name))).collect();
            for path in paths {
                match path.metadata() {
                    Ok(found) if found.is_dir() && places.len() < MOST_PLACES => places.push(path),
                    Ok(found) if found.is_file() && (runs || (beyond.is_some() && found.mode() & 0o111 != 0)) => {
                        self.keep_lexical(&path, StandIn::Socket);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Protects what symlinks in a protected directory lead to: a hook is often one.
    pub(super) fn behind_links(&mut self, directory: &Path, depth: usize) {
        // Most are not there, or are files.
        if !matches!(kind_at(directory), Ok(Kind::Directory | Kind::Symlink)) {
            return;
        }
        let Some(real) = real_directory(directory) else { return };
        let leads_out = !self.contains(&real) || self.areas().any(|area| area.starts_with(&real));
        if leads_out || !self.entered.insert(real.clone()) {
            return;
        }
        for (path, kind) in entries_of(&real).into_iter().flatten().take(MOST_LINKS) {
            if kind == Kind::Symlink {
                self.keep_lexical(&path, StandIn::Socket);
            }
            if depth > 0 && matches!(kind, Kind::Symlink | Kind::Directory) {
                self.behind_links(&path, depth - 1);
            }
        }
    }

    /// The same for the configuration of the user and of the machine, which holds in every tree.
    fn user_config(&mut self, tree: &Path) {
        let home = self.home.clone();
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let files = [
            variable("GIT_CONFIG_GLOBAL"),
            variable("XDG_CONFIG_HOME").map(|home| home.join("git/config")),
            in_home(".config/git/config"),
            in_home(".gitconfig"),
            variable("GIT_CONFIG_SYSTEM"),
            Some(PathBuf::from("/etc/gitconfig")),
        ];
        for file in files.into_iter().flatten().filter(|file| file.symlink_metadata().is_ok()) {
            // It may lie in the workspace: in a repository of somebody's settings, to which a link leads.
            self.keep_lexical(&file, StandIn::File(""));
            self.config(&file, tree);
        }
    }

    /// What a configuration file says; read once, for it may hold in many trees.
    fn settings(&mut self, file: &Path) -> Option<Rc<[Setting]>> {
        if let Some(known) = self.settings.get(file) {
            return known.clone();
        }
        let found = match try_read(file, LARGEST_CONFIG, |_| false) {
            Ok(text) => text.map(|text| settings(&text).into()),
            Err(source) => {
                self.failed.get_or_insert(SurveyError::Read { path: file.to_owned(), source });
                None
            }
        };
        self.settings.insert(file.to_owned(), found.clone());
        found
    }

    /// A path as a configuration file gives it; none when it is empty, or starts in a home directory that nobody knows.
    fn expanded(&self, value: &[u8]) -> Option<PathBuf> {
        let Some(below) = value.strip_prefix(b"~") else {
            return (!value.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(value)));
        };
        let end = below.iter().position(|&byte| byte == b'/').unwrap_or(below.len());
        let (user, rest) = below.split_at(end);
        let home = match std::str::from_utf8(user).ok()? {
            "" => self.home.clone()?,
            user => User::from_name(user).ok()??.dir,
        };
        Some(home.join(OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest))))
    }

    /// Protects a path from a file of git, which may have `..` in it.
    fn keep_lexical(&mut self, path: &Path, stand_in: StandIn) {
        if !self.led.insert(path.to_owned()) {
            return;
        }
        // The hooks may be said to lie in the tree itself, which cannot become read-only as a whole.
        let real = path.canonicalize();
        if real.is_ok_and(|real| self.areas().any(|area| area.starts_with(&real))) {
            self.uncovered.push(format!("{} holds hooks and cannot be protected", path.display()));
            return;
        }
        self.keep(path, stand_in);
    }
}

/// The path that a variable of the environment names.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
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
    let (tree, git) = (dotgit.display(), common.display());
    if dotgit.starts_with(&common) {
        // To show it would be to show the workspace twice, and all beside it.
        return Some(Err(format!(
            "{tree} lies in its own git directory {git}: git will not work inside; move the worktree out of it (`git worktree move`)"
        )));
    }
    if belongs(&private, &common, dotgit) {
        return Some(Ok(common));
    }
    // The file is content of the workspace: it alone must not be able to show a directory of its choice.
    let private = private.display();
    Some(Err(format!("{tree} names {private}, which does not name it back: git will not work inside")))
}

/// Whether the directory `path` is a git directory, or was one before somebody took a part of it away. Its `config` is read-only
/// for every command, so it stays when a run has renamed the rest, for a later one to write what makes it one again.
pub(super) fn is_git_dir(path: &Path) -> bool {
    let config = path.join("config");
    let left = || PARTS.iter().any(|part| is_there(&path.join(part)));
    is_repository(path) || (is_there(&config) && !config.is_dir() && left()) || names_git_dir(&config)
}

/// Whether it is what git writes first into a new repository's configuration.
fn names_git_dir(config: &Path) -> bool {
    let settings = read(config, LARGEST_CONFIG).map(|text| settings(&text)).unwrap_or_default();
    let first = |key: &[u8]| key == b"repositoryformatversion" || key == b"bare";
    settings.iter().any(|(section, key, _)| section == b"core" && first(key))
}

/// Whether git takes the directory `path` for a repository; the parts besides `HEAD` can be elsewhere.
pub(crate) fn is_repository(path: &Path) -> bool {
    let has = |name: &&str| is_there(&path.join(name));
    PARTS.iter().all(has) || ["HEAD", "commondir"].iter().all(has)
}

/// Whether something is at `path` but the socket of a reservation. Only a socket: a command can give its own file the mark of
/// one, and git reads that.
fn is_there(path: &Path) -> bool {
    matches!(entry_at(path), Ok(Ok(_) | Err(Kind::File)))
}

/// The git directory a `.git` file names, without symlinks.
fn gitdir(dotgit: &Path) -> Option<PathBuf> {
    let text = pointer(dotgit)?;
    let named = text.strip_prefix(b"gitdir: ")?;
    dotgit.parent()?.join(OsStr::from_bytes(named)).canonicalize().ok()
}

/// What a file says that is a path for git: without the ends of lines at its end, and up to a NUL.
fn pointer(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    open(path).ok()??.take(LONGEST_POINTER).read_to_end(&mut text).ok()?;
    text.truncate(text.iter().position(|&byte| byte == 0).unwrap_or(text.len()));
    text.truncate(text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1));
    Some(text)
}

/// Where the shared part of the git directory `private` lies: itself unless `commondir` says otherwise.
fn common_dir(private: &Path) -> PathBuf {
    pointer(&private.join("commondir"))
        .and_then(|named| private.join(OsStr::from_bytes(&named)).canonicalize().ok())
        .unwrap_or_else(|| private.to_owned())
}

/// Whether a git directory outside of the workspace says itself that the workspace is its tree: as a linked worktree
/// (`gitdir` names the `.git` file, and it lies among the worktrees of `common`) or as a submodule (`core.worktree`).
fn belongs(private: &Path, common: &Path, dotgit: &Path) -> bool {
    if !is_repository(common) {
        return false;
    }
    let back =
        pointer(&private.join("gitdir")).and_then(|named| private.join(OsStr::from_bytes(&named)).canonicalize().ok());
    if back.as_deref() == Some(dotgit) {
        return private.parent() == Some(&common.join("worktrees"));
    }
    let settings = read(&private.join("config"), LARGEST_CONFIG).map(|text| settings(&text)).unwrap_or_default();
    let tree = worktree_of(&settings).and_then(|tree| private.join(tree).canonicalize().ok());
    private == common && tree.as_deref() == dotgit.parent()
}

/// What a configuration says is the tree of its repository.
fn worktree_of(settings: &[Setting]) -> Option<&Path> {
    let named = settings.iter().rev().find(|(section, key, _)| section == b"core" && key == b"worktree");
    named.map(|(_, _, value)| Path::new(OsStr::from_bytes(value)))
}

/// What a git directory says of its trees.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    /// Where they are said to be.
    pub(crate) trees: Vec<PathBuf>,
    /// The index of each, in all its parts.
    pub(crate) indexes: Vec<PathBuf>,
}

/// The trees of the git directory `git`, if it is one.
pub(crate) fn repository(git: &Path) -> Repository {
    let mut found = Repository::default();
    found.trees.extend(git.parent().filter(|_| git.ends_with(".git")).map(Path::to_owned));
    let settings = read(&git.join("config"), LARGEST_CONFIG).map(|text| settings(&text)).unwrap_or_default();
    found.trees.extend(worktree_of(&settings).and_then(|tree| git.join(tree).canonicalize().ok()));
    let linked = directories(&git.join("worktrees"));
    for private in &linked {
        let named = pointer(&private.join("gitdir")).map(|named| private.join(OsStr::from_bytes(&named)));
        found.trees.extend(named.and_then(|dotgit| dotgit.parent()?.canonicalize().ok()));
    }
    for private in linked.iter().map(PathBuf::as_path).chain([git]) {
        let is_index = |path: &Path| {
            let name = path.file_name().map(OsStr::as_bytes);
            name.is_some_and(|name| name == b"index" || name.starts_with(b"sharedindex."))
        };
        let files = entries_of(private).into_iter().flatten();
        found.indexes.extend(files.filter(|(path, kind)| *kind == Kind::File && is_index(path)).map(|(path, _)| path));
    }
    found.trees.sort_unstable();
    found.indexes.sort_unstable();
    found
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

/// The content of a regular file of at most `most` bytes, if there is one that can be read.
fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    try_read(path, most, |_| false).ok()?
}

/// The same of a file that is not refused by its status; an error where git could read what cannot be read here.
fn try_read(path: &Path, most: u64, refused: impl Fn(&Metadata) -> bool) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    if refused(&file.metadata()?) {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(most + 1).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Some(text))
}

/// A regular file, open for reading, if there is one. Never waits, and follows no link at the end of the path.
pub(crate) fn open_plain(path: &Path) -> io::Result<Option<File>> {
    open(path)
}

/// A regular file, open for reading; none where git could read none either. Never waits: a FIFO in its place is not opened.
fn open(path: &Path) -> io::Result<Option<File>> {
    let none = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES, Errno::ELOOP, Errno::ENXIO, Errno::ENAMETOOLONG];
    match OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if none.iter().any(|none| error.raw_os_error() == Some(*none as i32)) => Ok(None),
        Err(error) => Err(error),
    }
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
    for_each_file(&index, if sha256 { 32 } else { 20 }, |path, _| {
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
        "tracked by git, so committed content stays readable in its database: {}{more}; set deny_read_git_history = true, or remove it from the history",
        hits.join(", ")
    )]
}
