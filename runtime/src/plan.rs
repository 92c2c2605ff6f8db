//! A plan: what the kernel will enforce for one sandbox, as plain data. Made by [`Builder::plan`](crate::Builder::plan),
//! carried out by [`Sandbox::start`](crate::Sandbox::start); nothing is decided between the two.

use crate::{
    enforced::Protection,
    error::{Error, Result},
    reserve::{self, ReserveError},
    view,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How much of a directory a sandbox may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and execute.
    ReadOnly,
    /// Read, execute and write.
    ReadWrite,
}

/// What a sandbox can reach over IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Net {
    /// An empty network namespace: its own loopback and nothing else.
    #[default]
    None,
}

/// One entry of the mount view. Everything stands at the same path inside as outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mount {
    /// A host directory or file.
    Bind {
        /// Absolute, without symbolic links.
        path: PathBuf,
        /// What may be done with it.
        access: Access,
    },
    /// A symbolic link, as `/bin -> usr/bin`.
    Link {
        /// Where the link stands.
        path: PathBuf,
        /// What it holds.
        target: PathBuf,
    },
    /// A private, empty directory that ends with the sandbox.
    Private {
        /// Where it stands.
        path: PathBuf,
        /// Whether anything can be put into it.
        access: Access,
    },
    /// A file in a private directory, which nobody has outside.
    File {
        /// Where it stands.
        path: PathBuf,
        /// What it holds at the start.
        text: String,
    },
}

impl Mount {
    pub(crate) fn path(&self) -> &PathBuf {
        match self {
            Self::Bind { path, .. }
            | Self::Link { path, .. }
            | Self::Private { path, .. }
            | Self::File { path, .. } => path,
        }
    }
}

/// A path that nobody inside can read, list, change or replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masked {
    /// Absolute.
    pub path: PathBuf,
    /// A directory is covered as a whole.
    pub directory: bool,
}

/// A directory of the host in whose place another one is shown, read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Absolute.
    pub path: PathBuf,
    /// What is shown there. Absolute.
    pub by: PathBuf,
}

/// A pattern of what cannot be read, and what of it can be read all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// What is denied.
    pub pattern: String,
    /// What this pattern leaves readable. No other pattern is affected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// A protected name: read-only, and not to be renamed, removed or created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum Kept {
    /// A file or directory that is there.
    Existing {
        /// Absolute.
        path: PathBuf,
    },
    /// A symbolic link that is there.
    Symlink {
        /// Absolute; the link itself.
        path: PathBuf,
    },
    /// Nothing yet; the name is reserved for the time of the run.
    Absent {
        /// Absolute; its parent exists.
        path: PathBuf,
        /// What a file reserved under this name holds; `None` reserves it with a socket.
        content: Option<String>,
    },
}

impl Kept {
    pub(crate) fn path(&self) -> &PathBuf {
        match self {
            Self::Existing { path } | Self::Symlink { path } | Self::Absent { path, .. } => path,
        }
    }
}

/// Bounds on what a sandbox may use. `None` leaves what the caller has. [`Enforced`](crate::Enforced) says who holds each of
/// them, [`Sandbox::limits_reached`](crate::Sandbox::limits_reached) which were reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory that all processes together may hold. With a control group (cgroups(7)) the kernel counts, file systems
    /// in memory included; otherwise a watcher does. The largest process is killed when it is too much.
    pub memory: Option<u64>,
    /// Processes and threads at one time; more are refused with `EAGAIN`.
    pub pids: Option<u64>,
    /// Thousandths of a processor for all processes together: 1500 is one and a half. Needs a control group.
    pub milli_cpus: Option<u32>,
    /// Time from the start of each command; then it and everything it has started is killed, as
    /// [`Child::kill_tree`](crate::Child::kill_tree) does. What it left behind when it ended has no time of its own.
    pub wall_time: Option<Duration>,
    /// Processor time of each process: `SIGXCPU` then, `SIGKILL` a second later (`RLIMIT_CPU`, setrlimit(2)).
    pub cpu_time: Option<Duration>,
    /// Open descriptors of each process of a command; with fewer than 4 no program starts.
    pub open_files: Option<u64>,
    /// Bytes in each of the private file systems (`/tmp`, `/var/tmp`, the home directory, `/dev/shm`).
    pub tmp: Option<u64>,
    /// Bytes that the writable paths of the host may grow by, and the most that one file may hold (`RLIMIT_FSIZE`). Watched:
    /// everything inside is ended, nothing is removed. `fallocate(2)` is refused with `EOPNOTSUPP`.
    pub disk: Option<u64>,
    /// Files that may be added to the writable paths of the host, watched as `disk` is; and the most that each of the private
    /// file systems may hold.
    pub files: Option<u64>,
    /// Bytes that each command may write to standard output and error together; then its process group is killed. What is
    /// written to a terminal is for its reader to count.
    pub output: Option<u64>,
}

/// What the kernel will enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The mount view, shallow paths first.
    pub view: Vec<Mount>,
    /// The directory under work, if there is one.
    pub workspace: Option<PathBuf>,
    /// Paths covered at the start.
    pub masks: Vec<Masked>,
    /// Directories of packs in which git keeps what is denied, and what is shown instead.
    #[serde(default)]
    pub replaced: Vec<Replaced>,
    /// Sockets and FIFOs covered at the start, because somebody outside may be at their other end.
    #[serde(default)]
    pub channels: Vec<PathBuf>,
    /// Whether of `/etc` is shown what a stranger to this host may read, as root would see the rest of it otherwise.
    #[serde(default)]
    pub strangers: bool,
    /// Protected names.
    pub kept: Vec<Kept>,
    /// Directories that may not be renamed because something below them is masked or kept.
    pub pins: Vec<PathBuf>,
    /// Patterns that also cover what appears later.
    pub deny_read: Vec<Denied>,
    /// Whether opens are judged before they happen, so that there is no time in which a late file is not covered yet.
    #[serde(default)]
    pub deny_read_strict: bool,
    /// Where it is kept what was found in the history of git, if denied files are hidden there too; what git writes while the
    /// sandbox lives is looked through as well then.
    #[serde(default)]
    pub git_history: Option<PathBuf>,
    /// Names and patterns protected beside the built-in ones.
    pub protect: Vec<String>,
    /// Programs that cannot be executed.
    pub exec_deny: Vec<PathBuf>,
    /// Directories watched for files that match `deny_read` and appear later.
    pub watched: Vec<PathBuf>,
    /// Symbolic links by which a pattern reaches what they lead to.
    pub links: Vec<PathBuf>,
    /// Device and inode of every denied file: whatever other name one of them gets is denied as well.
    pub denied: Vec<(u64, u64)>,
    /// When the host was looked at: what changed since is looked at again.
    pub surveyed: SystemTime,
    /// Roots to which the patterns apply.
    pub roots: Vec<PathBuf>,
    /// The host name inside.
    pub hostname: String,
    /// The network.
    pub net: Net,
    /// Bounds.
    pub limits: Limits,
    /// Whether every execution inside is judged; by whom is said when the sandbox is started.
    #[serde(default)]
    pub exec_guard: bool,
    /// Protections that may be missing.
    pub allow_missing: BTreeSet<Protection>,
    /// What was asked for and does not hold, as in [`Enforced::uncovered`](crate::Enforced::uncovered).
    pub uncovered: Vec<String>,
    /// What was noticed while the plan was made.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The same with masks on what of `/etc` no stranger may read, for where the owners of a mount cannot be changed: on
    /// overlayfs, without namespaces, and in the configuration of an OCI runtime.
    #[must_use]
    pub fn with_settings_masked(mut self) -> Self {
        if std::mem::take(&mut self.strangers) {
            self.masks.extend(view::private_settings());
        }
        self
    }

    /// The same with masks on what would be replaced, for where nothing can be shown in another's place: git finds no packs there.
    #[must_use]
    pub fn with_packs_masked(mut self) -> Self {
        let masked = |replaced: Replaced| Masked { path: replaced.path, directory: true };
        self.masks.extend(std::mem::take(&mut self.replaced).into_iter().map(masked));
        self
    }

    /// The paths that are covered at the start and visible without that.
    pub fn masked(&self) -> impl Iterator<Item = &Path> {
        self.masks.iter().map(|mask| mask.path.as_path()).filter(|path| self.shows(path))
    }

    /// Every name that stays as it is, whether or not there is something of that name.
    pub fn kept(&self) -> impl Iterator<Item = &Path> {
        self.kept.iter().map(|kept| kept.path().as_path())
    }

    /// The kept names that are not there, and what has to hold each.
    pub(crate) fn absent(&self) -> impl Iterator<Item = (&Path, Option<&str>)> {
        self.kept.iter().filter_map(|kept| match kept {
            Kept::Absent { path, content } => Some((path.as_path(), content.as_deref())),
            _ => None,
        })
    }

    /// Takes away the reserved names that a sandbox has left of which everything was killed at once, with what would have
    /// removed them. Those of a sandbox that lives stay. Every start of a sandbox with this plan does it too, at its end.
    ///
    /// Gives what was taken away.
    ///
    /// # Errors
    /// [`Error::Plan`] when a directory cannot be locked, or is not there any more.
    pub fn clear_reserved(&self) -> Result<Vec<PathBuf>> {
        let held = reserve::lock(self.absent()).map_err(|error| self.unreserved(&error))?;
        Ok(reserve::release(&held))
    }

    pub(crate) fn unreserved(&self, error: &ReserveError) -> Error {
        Error::Plan {
            what: "protected names of workspace",
            path: self.workspace.clone().unwrap_or_default(),
            why: error.to_string(),
        }
    }

    /// Whether a path of the host is in the mount view at all.
    pub(crate) fn shows(&self, path: &Path) -> bool {
        shows(&self.view, path)
    }

    /// The files of private directories, and what each holds.
    pub(crate) fn private_files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.view.iter().filter_map(|mount| match mount {
            Mount::File { path, text } => Some((path.as_path(), text.as_str())),
            _ => None,
        })
    }
}

/// Whether a path of the host can be seen in this view.
pub(crate) fn shows(view: &[Mount], path: &Path) -> bool {
    let bound = || view.iter().filter(|mount| matches!(mount, Mount::Bind { .. })).map(Mount::path);
    // Asked for every mask; nearly all are spelled as the mount is, which takes no taking apart.
    let spelled = |bound: &PathBuf| {
        let rest = path.as_os_str().as_bytes().strip_prefix(bound.as_os_str().as_bytes());
        rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    };
    bound().any(spelled) || bound().any(|bound| path.starts_with(bound))
}
