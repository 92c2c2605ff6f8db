//! Where things are: the person's home, configuration and state directories, the workspace.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::error::Error;

/// The administrator's configuration.
pub(crate) const SYSTEM_CONFIG: &str = "/etc/holdpoint/config.toml";

/// Directories of the person who runs `holdpoint`. None of them needs to exist.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The home directory.
    pub(crate) home: PathBuf,
    /// Where the person's own configuration stands.
    pub(crate) config: PathBuf,
    /// Where holds, the lock and the server's socket are kept.
    pub(crate) state: PathBuf,
}

impl Places {
    /// Find them from the environment, else from the user database.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no home directory to be found.
    pub(crate) fn find() -> Result<Self, Error> {
        let home = absolute(std::env::var_os("HOME")).or_else(home_of_user).ok_or_else(|| {
            Error::setting(Path::new("$HOME"), "there is no home directory", "set HOME to an absolute path")
        })?;
        let config = absolute(std::env::var_os("XDG_CONFIG_HOME")).unwrap_or_else(|| home.join(".config"));
        let state = absolute(std::env::var_os("XDG_STATE_HOME")).unwrap_or_else(|| home.join(".local/state"));
        Ok(Self { home, config: config.join("holdpoint"), state: state.join("holdpoint") })
    }

    /// `~` and `~/…` as the home directory; everything else as it is.
    pub(crate) fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(path),
        }
    }

    /// The state directory, made with mode 0700 when it is missing.
    ///
    /// # Errors
    /// [`Error::Setting`] when it cannot be made, or belongs to or can be entered by somebody else.
    pub(crate) fn state(&self) -> Result<&Path, Error> {
        let wrong = |why: String, next: &str| Error::setting(&self.state, why, next);
        make(&self.state)
            .map_err(|error| wrong(error.to_string(), "set XDG_STATE_HOME to a directory you can write"))?;
        let found = fs::metadata(&self.state).map_err(|error| wrong(error.to_string(), ""))?;
        if found.uid() != geteuid().as_raw() {
            return Err(wrong(
                format!("it belongs to user {}", found.uid()),
                "set XDG_STATE_HOME to a directory of your own",
            ));
        }
        if found.permissions().mode() & 0o077 != 0 {
            let next = format!("run: chmod 700 {}", self.state.display());
            return Err(wrong("others can enter it, and whoever can may decide holds".into(), &next));
        }
        Ok(&self.state)
    }
}

/// Makes a directory and those above it that are missing, for this user alone whatever the umask.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), make)?;
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o700)),
        // By somebody else meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// An absolute path; a relative one in these variables must be ignored (XDG Base Directory Specification).
fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home_of_user() -> Option<PathBuf> {
    User::from_uid(geteuid()).ok().flatten().map(|user| user.dir).filter(|dir| dir.is_absolute())
}

/// The directory that may be worked in, and the one a command starts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Absolute and free of symbolic links.
    pub(crate) root: PathBuf,
    /// At or below `root`.
    pub(crate) cwd: PathBuf,
}

impl Workspace {
    /// `named`, else the git root of the current directory, else the current directory. A command starts in the current
    /// directory when that is inside, else in the workspace itself.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such directory.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Error> {
        let cwd = std::env::current_dir().and_then(fs::canonicalize);
        match (named, cwd) {
            (Some(named), cwd) => {
                let root = canonical_directory(named)?;
                let cwd = cwd.ok().filter(|cwd| cwd.starts_with(&root)).unwrap_or_else(|| root.clone());
                Ok(Self { root, cwd })
            }
            (None, Ok(cwd)) => Ok(Self::around(cwd)),
            (None, Err(error)) => {
                let why = format!("the current directory is gone: {error}");
                Err(Error::setting(Path::new("."), why, "change to another directory"))
            }
        }
    }

    /// The workspace when `dir` is the current directory and nothing else is named.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such directory.
    pub(crate) fn of(dir: &Path) -> Result<Self, Error> {
        canonical_directory(dir).map(Self::around)
    }

    /// The name, through symbolic links, that the shell has for a directory at or in the workspace: the shortest of which the
    /// rest is no link (`$PWD`, environ(7)). None when it is the real one.
    pub(crate) fn other_name(&self, pwd: Option<OsString>) -> Option<PathBuf> {
        let pwd = absolute(pwd).filter(|pwd| !pwd.starts_with(&self.root))?;
        let real = |path: &Path| fs::canonicalize(path).ok().filter(|real| real.starts_with(&self.root));
        real(&pwd)?;
        pwd.ancestors().take_while(|path| real(path).is_some()).last().map(Path::to_path_buf)
    }

    fn around(cwd: PathBuf) -> Self {
        Self { root: cwd.ancestors().find(|dir| is_repository(dir)).unwrap_or(&cwd).to_owned(), cwd }
    }
}

fn canonical_directory(path: &Path) -> Result<PathBuf, Error> {
    let next = "name an existing directory";
    let found = fs::canonicalize(path).map_err(|error| Error::setting(path, error, next))?;
    if found.is_dir() { Ok(found) } else { Err(Error::setting(path, "it is not a directory", next)) }
}

/// Whether git would look for a repository in `dir` and not above it: there is a `.git`, be it a directory, the file of a
/// worktree or submodule, or a link. What is in it does not matter, for that can be changed inside, and a workspace must not
/// grow by it. What a sandbox of another run has put there for a while, to hold the name, is none, and no socket is.
pub(crate) fn is_repository(dir: &Path) -> bool {
    let dotgit = dir.join(".git");
    let found = dotgit.symlink_metadata();
    found.is_ok_and(|found| {
        found.is_dir() || found.is_file() || (found.is_symlink() && !holdpoint_runtime::is_reserved(&dotgit))
    })
}

/// The real path of something that may not exist yet: the existing part without symbolic links, then the rest.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    for known in path.ancestors() {
        if let Ok(real) = fs::canonicalize(known) {
            let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
            return rest
                .components()
                .filter(|part| *part != Component::CurDir)
                .fold(real, |real, part| real.join(part));
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Places, Workspace, resolved};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    fn places(home: &Path) -> Places {
        Places { home: home.into(), config: home.join("c"), state: home.join("deep/state") }
    }

    #[test]
    fn a_tilde_is_the_home_directory_only_where_it_is_one() {
        let places = places(Path::new("/h"));
        assert_eq!(places.expand("~/a"), PathBuf::from("/h/a"));
        assert_eq!(places.expand("~//etc"), PathBuf::from("/h/etc"));
        assert_eq!(places.expand("~"), PathBuf::from("/h"));
        assert_eq!(places.expand("~other"), PathBuf::from("~other"));
        assert_eq!(places.expand("/a/~"), PathBuf::from("/a/~"));
    }

    #[test]
    fn the_state_directory_is_private_or_refused() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        let state = places.state().unwrap().to_owned();
        assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o750)).unwrap();
        assert!(places.state().unwrap_err().to_string().contains("others can enter it"));
    }

    #[test]
    fn a_path_that_does_not_exist_yet_is_resolved_as_far_as_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolved(&real.join("link/x/y")), real.join("x/y"));
        assert_eq!(resolved(&real), real);
    }

    #[test]
    fn the_name_that_the_shell_has_ends_where_the_links_do() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("real/sub/deep")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink("link/sub", top.join("to-sub")).unwrap();
        let workspace = Workspace { root: top.join("real"), cwd: top.join("real/sub") };
        let name = |pwd: PathBuf| workspace.other_name(Some(pwd.into()));
        assert_eq!(name(top.join("link/sub/deep")), Some(top.join("link")));
        assert_eq!(name(top.join("to-sub/deep")), Some(top.join("to-sub")));
        for none in [top.join("real/sub"), top.clone(), top.join("missing"), "link".into()] {
            assert_eq!(name(none), None);
        }
        assert_eq!(workspace.other_name(None), None);
    }

    #[test]
    fn the_root_is_the_nearest_git_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let inner = top.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir(top.join(".git")).unwrap();
        let root = || Workspace::of(&inner).unwrap().root;
        assert_eq!(root(), top);
        std::fs::write(top.join("a/.git"), "gitdir: /x").unwrap();
        assert_eq!(root(), top.join("a"));
        std::fs::create_dir(inner.join(".git")).unwrap();
        assert_eq!(root(), inner, "also without a HEAD, or it could be taken away inside");
        std::fs::remove_dir(inner.join(".git")).unwrap();
        symlink("nowhere", inner.join(".git")).unwrap();
        assert_eq!(root(), inner);
        std::fs::remove_file(inner.join(".git")).unwrap();
        let _held = std::os::unix::net::UnixListener::bind(inner.join(".git")).unwrap();
        assert_eq!(root(), top.join("a"), "what another run holds is no repository");
        std::fs::remove_file(inner.join(".git")).unwrap();
        symlink("/proc/holdpoint/reserved", inner.join(".git")).unwrap();
        assert_eq!(root(), top.join("a"), "with a link as with a socket");
    }
}
