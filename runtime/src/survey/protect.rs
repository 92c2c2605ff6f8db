//! The names that programs outside trust and run: which they are, and what has to be done so that each stays as it is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};

use super::git::{DEEPEST_LINKS, Setting, is_git_dir};
use super::walk::{Kind, entry_at, kind_at};
use super::{Protected, StandIn, SurveyError};

/// Protected at the root of the workspace whether or not they exist. `.git` is there too, with rules of its own.
const AT_THE_ROOT: [&str; 16] = [
    ".agents",
    ".claude",
    ".codex",
    ".cursor",
    ".devcontainer",
    ".devcontainer.json",
    ".envrc",
    ".gemini",
    ".holdpoint",
    ".idea",
    ".mcp.json",
    ".vscode",
    ".zed",
    "AGENTS.md",
    "AGENTS.override.md",
    "CLAUDE.md",
];
/// What other version control runs hooks from, where there is some (hgrc(5); jj's repository configuration).
const OTHERS: [(&str, &[&str]); 2] =
    [(".hg", &["hgrc", "hgrc-not-shared", "requires", "sharedpath"]), (".jj", &["repo/config.toml"])];
/// In how many nested repositories names are reserved, which takes up to a millisecond each.
const MOST_NESTED: usize = 100;
/// As many symlinks as the kernel follows.
const MOST_SYMLINKS: usize = 40;

/// Whether an entry of this name is protected wherever it lies. In packages only what decides over git and policy is: they
/// bring settings and instructions for whoever works on them, and a package manager has to be able to remove them.
pub(crate) fn is_protected(name: &[u8], vendored: bool) -> bool {
    match name {
        b".git" | b".holdpoint" => true,
        // Perhaps of a git directory: `named` looks closer.
        b"HEAD" | b"config" => true,
        [b'.' | b'A' | b'C', ..] if !vendored => AT_THE_ROOT.iter().any(|fixed| fixed.as_bytes() == name),
        _ => false,
    }
}

/// Whether a directory of this name is filled by package managers: npm and its kin; Composer, Bundler and Go; pip.
pub(super) fn holds_packages(name: &OsStr) -> bool {
    matches!(name.as_bytes(), b"node_modules" | b"vendor" | b"site-packages" | b"dist-packages")
}

/// Collects what is protected in one workspace.
pub(crate) struct Guarded {
    /// Nothing is protected without a writable workspace.
    workspace: Option<PathBuf>,
    pub(crate) protected: Vec<Protected>,
    pub(crate) git_dirs: Vec<PathBuf>,
    /// What cannot be protected.
    pub(crate) uncovered: Vec<String>,
    /// Why it is not known what has to be protected.
    pub(crate) failed: Option<SurveyError>,
    pub(crate) warnings: Vec<String>,
    /// The repositories below the root that are no packages.
    pub(super) nested: Vec<PathBuf>,
    /// Where `~` leads.
    pub(super) home: Option<PathBuf>,
    /// Git directories that are protected already.
    pub(super) seen: HashSet<PathBuf>,
    /// Directories whose links were followed.
    pub(super) entered: HashSet<PathBuf>,
    /// What configuration files say.
    pub(super) settings: HashMap<PathBuf, Option<Rc<[Setting]>>>,
    /// Those that were followed already, each with the tree that it holds in, and the paths that they led to.
    pub(super) obeyed: HashSet<(PathBuf, PathBuf)>,
    pub(super) led: HashSet<PathBuf>,
    /// Git directories whose configuration was followed, each with the tree that it holds in.
    pub(super) configured: HashSet<(PathBuf, PathBuf)>,
    /// The directory of the name before, and whether something can be created there.
    looked: Option<(PathBuf, bool)>,
}

impl Guarded {
    pub(crate) fn new(workspace: Option<&Path>, home: Option<&Path>) -> Guarded {
        Guarded {
            workspace: workspace.map(Path::to_path_buf),
            protected: Vec::new(),
            git_dirs: Vec::new(),
            uncovered: Vec::new(),
            failed: None,
            warnings: Vec::new(),
            nested: Vec::new(),
            home: home.map(Path::to_path_buf),
            seen: HashSet::new(),
            entered: HashSet::new(),
            settings: HashMap::new(),
            obeyed: HashSet::new(),
            led: HashSet::new(),
            configured: HashSet::new(),
            looked: None,
        }
    }

    /// The fixed names at the root of the workspace.
    pub(crate) fn root_names(&mut self) {
        let Some(workspace) = self.workspace.clone() else { return };
        self.tree_names(&workspace);
        let git = workspace.join(".git");
        match kind_at(&git) {
            Ok(kind) => self.repository(&git, kind),
            Err(_) => {
                // Whoever may create `.git` decides what the next `git status` outside runs, a shell prompt's included.
                self.keep(&git, StandIn::Socket);
                self.warnings.push(format!(
                    "{} is no git repository and cannot become one inside: run `git init` outside first if it should be one",
                    workspace.display()
                ));
            }
        }
    }

    /// The same in the repositories nested in it, when all are known; the shallowest, where there are many.
    pub(crate) fn nested_names(&mut self) {
        let mut trees = std::mem::take(&mut self.nested);
        trees.sort_by_cached_key(|tree| (tree.components().count(), tree.clone()));
        trees.dedup();
        if let Some(first) = trees.get(MOST_NESTED) {
            self.warnings.push(format!(
                "{} repositories lie in the workspace: in {} of them, {} first, protected names that do not exist can be created",
                trees.len(),
                trees.len() - MOST_NESTED,
                first.display()
            ));
        }
        for tree in trees.iter().take(MOST_NESTED) {
            self.tree_names(tree);
        }
    }

    fn tree_names(&mut self, tree: &Path) {
        for name in AT_THE_ROOT {
            self.keep(&tree.join(name), StandIn::Socket);
            self.behind_links(&tree.join(name), DEEPEST_LINKS);
        }
        for (directory, settings) in OTHERS {
            let directory = tree.join(directory);
            if kind_at(&directory) == Ok(Kind::Directory) {
                settings.iter().for_each(|name| self.keep(&directory.join(name), StandIn::File("")));
            }
        }
        if is_git_dir(tree) {
            self.git_dir(tree, None);
        } else {
            self.no_bare_repository(tree);
        }
    }

    /// Without a usable `.git`, and what is in it can be changed, git takes the tree itself for a bare repository as
    /// soon as `HEAD`, `objects` and `refs` are in it, and obeys the `config` beside them. One of the three is kept away:
    /// `HEAD` only at last where a commit could be meant by it, for `git diff HEAD` fails when a file has that name as well.
    fn no_bare_repository(&mut self, tree: &Path) {
        let repository = kind_at(&tree.join(".git")).is_ok();
        let parts = if repository { ["refs", "objects", "HEAD"] } else { ["HEAD", "objects", "refs"] };
        let Some(absent) = parts.iter().find(|part| kind_at(&tree.join(part)).is_err()) else { return };
        self.keep(&tree.join(absent), StandIn::Socket);
        if *absent != "HEAD" {
            // By which `objects` and `refs` are elsewhere.
            self.keep(&tree.join("commondir"), StandIn::Socket);
        }
        if repository && *absent == "HEAD" {
            self.warnings.push(format!(
                "{} has directories `refs` and `objects`, so the name HEAD is held there: write `git diff HEAD --` for `git diff HEAD`",
                tree.display()
            ));
        }
    }

    /// A path the user wants protected; created by nobody when it does not exist.
    pub(crate) fn literal(&mut self, text: &str) -> Result<(), SurveyError> {
        let Some(workspace) = self.workspace.clone() else { return Ok(()) };
        let refuse = |why: &str| SurveyError::Pattern { pattern: text.to_owned(), why: why.to_owned() };
        if text.is_empty() || text.contains('\0') {
            return Err(refuse("a path needs at least one character and no NUL"));
        }
        if Path::new(text).components().any(|component| component == Component::ParentDir) {
            return Err(refuse("`..` leaves the workspace"));
        }
        let path: PathBuf = workspace.join(text).components().collect();
        if path == workspace {
            return Err(refuse("it is the workspace itself; make that read-only instead"));
        }
        if path.starts_with(&workspace) {
            self.keep(&path, StandIn::Socket);
        } else {
            // Outside of the workspace only what another writable root shows can change: it must exist to be bound.
            match kind_at(&path) {
                Ok(Kind::Symlink) => self.protected.push(Protected::Symlink { path }),
                Ok(kind) => self.protected.push(Protected::Existing { path, directory: kind == Kind::Directory }),
                Err(_) => self
                    .uncovered
                    .push(format!("{} does not exist and is not in the workspace: not protected", path.display())),
            }
        }
        Ok(())
    }

    /// An entry the walk met whose name is protected.
    pub(crate) fn named(&mut self, path: &Path) {
        let (name, parent) = (path.file_name().and_then(OsStr::to_str), path.parent());
        let fixed = name.is_some_and(|name| name == ".git" || AT_THE_ROOT.contains(&name));
        if fixed && parent.is_some_and(|parent| self.is_workspace(parent)) {
            // Kept before the walk began.
            return;
        }
        match (name, parent, kind_at(path)) {
            (Some("HEAD" | "config"), Some(parent), _) => {
                if is_git_dir(parent) {
                    self.git_dir(parent, None);
                }
            }
            // Looked at again: what another run has reserved is not there, and stands as absent where it matters.
            (_, _, Err(_)) => self.reserved(path),
            (Some(".git"), Some(tree), Ok(kind)) => {
                self.repository(path, kind);
                // A repository in a directory `vendor` is often a submodule, in which somebody works.
                if !self.is_workspace(tree) && !self.below_workspace(tree).iter().any(|name| name == "node_modules") {
                    self.nested.push(tree.to_owned());
                }
            }
            _ => {
                self.keep(path, StandIn::Socket);
                self.behind_links(path, DEEPEST_LINKS);
            }
        }
    }

    /// Shares a reservation that another run holds at a name below the root: there it may be the only one to know why.
    fn reserved(&mut self, path: &Path) {
        if self.workspace.as_deref() != path.parent() {
            self.keep(path, StandIn::Socket);
        }
    }

    /// Protects `path` by every name that leads there: each symlink on the way is pinned, what it finally leads to is kept
    /// when it lies in the workspace, and the first part that is missing is reserved.
    pub(crate) fn keep(&mut self, path: &Path, stand_in: StandIn) {
        let base =
            self.areas().find(|area| path.starts_with(area)).map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        let Ok(below) = path.strip_prefix(&base) else { return };
        let mut todo: VecDeque<OsString> = below.iter().map(OsString::from).collect();
        let mut at = base;
        let mut symlinks = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            if name == "." || name == "/" {
                continue;
            }
            let next = at.join(&name);
            let inside = self.areas().any(|area| next.starts_with(area) && next != *area);
            let entry = entry_at(&next);
            match entry.and_then(|entry| entry.map_err(|_| Errno::ENOENT)) {
                Ok(Kind::Symlink) => {
                    symlinks += 1;
                    let Ok(target) = std::fs::read_link(&next) else { return };
                    if inside {
                        self.protected.push(Protected::Symlink { path: next });
                    }
                    if symlinks > MOST_SYMLINKS {
                        return;
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    for part in target.iter().rev() {
                        todo.push_front(part.to_owned());
                    }
                }
                Ok(kind) if todo.is_empty() => {
                    if inside {
                        self.protected.push(Protected::Existing { path: next, directory: kind == Kind::Directory });
                    }
                    return;
                }
                Ok(Kind::Directory) => at = next,
                Ok(_) => return,
                Err(Errno::ENOENT) => {
                    if inside && !todo.iter().any(|part| part == "..") && self.creatable(&at) {
                        let wanted = if todo.is_empty() { stand_in } else { StandIn::Socket };
                        let stand_in =
                            entry.ok().and_then(Result::err).map_or(wanted, |held| as_reserved(held, wanted));
                        self.protected.push(Protected::Absent { path: next, stand_in });
                    }
                    return;
                }
                Err(errno) => {
                    self.uncovered.push(format!("{} cannot be protected: {}", next.display(), errno.desc()));
                    return;
                }
            }
        }
    }

    /// As [`creatable`]; most names lie in one directory.
    fn creatable(&mut self, directory: &Path) -> bool {
        match &self.looked {
            Some((before, creatable)) if before == directory => *creatable,
            _ => self.looked.insert((directory.to_owned(), creatable(directory))).1,
        }
    }

    /// The trees whose content can change inside: the workspace and its git directory elsewhere.
    pub(super) fn areas(&self) -> impl Iterator<Item = &Path> {
        self.workspace.iter().chain(&self.git_dirs).map(PathBuf::as_path)
    }

    /// Names that are not there, or only held.
    pub(super) fn absent(&self) -> impl Iterator<Item = &Path> {
        self.protected.iter().filter_map(|entry| match entry {
            Protected::Absent { path, .. } => Some(path.as_path()),
            _ => None,
        })
    }

    /// `path` as it is called in the workspace.
    fn below_workspace<'a>(&self, path: &'a Path) -> &'a Path {
        self.workspace.as_deref().and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path)
    }

    /// Whether `path` is the root of the workspace.
    pub(super) fn is_workspace(&self, path: &Path) -> bool {
        self.workspace.as_deref() == Some(path)
    }
}

/// The kind of stand-in that holds the name already.
fn as_reserved(held: Kind, wanted: StandIn) -> StandIn {
    match (held, wanted) {
        (Kind::File, StandIn::Socket) => StandIn::File(""),
        (Kind::File, wanted) => wanted,
        _ => StandIn::Socket,
    }
}

/// Whether somebody with our user id can create something in `directory`, perhaps after a `chmod`.
fn creatable(directory: &Path) -> bool {
    let writable = faccessat(AT_FDCWD, directory, AccessFlags::W_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES);
    writable || directory.metadata().is_ok_and(|status| status.uid() == geteuid().as_raw())
}

/// Without what lies in a directory that is kept read-only as a whole.
pub(crate) fn outermost(mut protected: Vec<Protected>) -> Vec<Protected> {
    protected.sort_by(|a, b| a.path().cmp(b.path()));
    protected.dedup_by(|later, earlier| later.path() == earlier.path());
    let mut kept: Vec<Protected> = Vec::with_capacity(protected.len());
    let mut whole: Option<PathBuf> = None;
    for entry in protected {
        if whole.as_ref().is_some_and(|directory| entry.path().starts_with(directory)) {
            continue;
        }
        if let Protected::Existing { path, directory: true } = &entry {
            whole = Some(path.clone());
        }
        kept.push(entry);
    }
    kept
}
