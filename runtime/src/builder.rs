//! What a caller asks of a sandbox, turned into a plan.

use crate::{
    child::Child,
    command::Command,
    enforced::Protection,
    error::{Error, Result},
    exec::ExecGuard,
    history::{self, Hidden},
    listeners,
    opening::Opening,
    plan::{self, Access, Denied, Kept, Limits, Masked, Mount, Net, Plan},
    sandbox::{First, Sandbox},
    survey::{self, OwnGit, Protected, StandIn, SurveyError},
    view,
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The one name that leads to the sandbox's own loopback by every host's `/etc/hosts`: programs look up what they run on.
const HOSTNAME: &str = "localhost";

/// Describes a sandbox; made by [`Sandbox::builder`]. Paths are host paths and stand at the same place inside; they are
/// resolved when the plan is made.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    system: bool,
    workspace: Option<(PathBuf, Access)>,
    binds: Vec<(PathBuf, Access)>,
    toolchains: Vec<PathBuf>,
    home: Option<PathBuf>,
    git_config: bool,
    alias: Alias,
    deny_read: Vec<Denied>,
    deny_read_strict: bool,
    git_history: Option<PathBuf>,
    protect: Vec<String>,
    exec_deny: Vec<PathBuf>,
    hostname: Option<String>,
    net: Net,
    limits: Limits,
    allow_missing: BTreeSet<Protection>,
    on_exec: Option<Guarding>,
}

/// Another name of what is shown. It gives no right, so that sandboxes with and without it are not told apart.
#[derive(Clone, Default)]
struct Alias(Option<PathBuf>);

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("alias")
    }
}

/// Whoever judges executions has nothing to show.
#[derive(Clone)]
struct Guarding(Arc<dyn ExecGuard>);

impl fmt::Debug for Guarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("on_exec")
    }
}

impl Builder {
    /// Shows the system directories (`/usr`, `/etc`, `/opt`, … where they exist) read-only. Run as root, what of `/etc`
    /// strangers cannot read is masked.
    pub fn system(&mut self) -> &mut Self {
        self.system = true;
        self
    }

    /// The directory under work. Relative patterns start here; when it is writable, protected names in it are not.
    pub fn workspace(&mut self, path: impl Into<PathBuf>, access: Access) -> &mut Self {
        self.workspace = Some((path.into(), access));
        self
    }

    /// Shows a file or directory read-only.
    pub fn read_only(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.binds.push((path.into(), Access::ReadOnly));
        self
    }

    /// Shows a file or directory read-only as part of the system: relative patterns, meant for the work, do not apply to it
    /// (`**/*token*` would break every Python), and it is not watched.
    pub fn toolchain(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.toolchains.push(path.into());
        self
    }

    /// Shows a file or directory, writable.
    pub fn read_write(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.binds.push((path.into(), Access::ReadWrite));
        self
    }

    /// Makes `path` a private, empty directory that ends with the sandbox: a home that holds nothing of the real one. It can
    /// be written unless the workspace is read-only.
    pub fn home(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.home = Some(path.into());
        self
    }

    /// Whether the private [`home`](Self::home) has what is harmless in the caller's own configuration of git: who commits, how
    /// git behaves, what it ignores; nothing that runs a program, and nothing denied. Repositories overrule it as they do
    /// outside. A `~/.gitconfig` that is shown stays as it is. An OCI bundle has none.
    pub fn git_config(&mut self, given: bool) -> &mut Self {
        self.git_config = given;
        self
    }

    /// Has `path`, a name that leads to something shown through symbolic links, lead there inside as well, where that is
    /// possible: by one link, which shows nothing of what lies beside it. For the name that the caller knows the workspace by.
    pub fn alias(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.alias = Alias(Some(path.into()));
        self
    }

    /// Hides what matches: unreadable, unlistable, not to be renamed, replaced or linked. Existing files by a mask each,
    /// hard links to them as well, files that appear later as soon as they do.
    pub fn deny_read(&mut self, pattern: impl Into<String>) -> &mut Self {
        self.deny_read_except(pattern, [] as [String; 0])
    }

    /// The same but for what matches one of the exceptions, which take nothing back from any other pattern. Where one can
    /// apply below a directory that is denied, the entries of that directory are hidden one by one, and their names are not.
    /// A file stays denied while a pattern denies it under another of its names.
    pub fn deny_read_except<T: Into<String>>(
        &mut self,
        pattern: impl Into<String>,
        exceptions: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        let except = exceptions.into_iter().map(Into::into).collect();
        self.deny_read.push(Denied { pattern: pattern.into(), except });
        self
    }

    /// Judges every call that opens, executes, renames, links or removes a file before it happens (seccomp_unotify(2)), so that
    /// a denied file which appears later is hidden from the first moment and not some milliseconds after it. Such a call then
    /// costs some 35 µs instead of two where all runs on one processor, and some 100 µs across two; programs that open few
    /// files do not notice. A command in such a sandbox can have neither paths nor a `/tmp` of its own.
    pub fn deny_read_strict(&mut self, strict: bool) -> &mut Self {
        self.deny_read_strict = strict;
        self
    }

    /// Hides what stood at denied places in the history of git as well. Which objects those are is found by running git where
    /// no configuration of the repository is read, and remembered in the directory `state`, which nothing inside may see; an
    /// object that was hidden once stays hidden. Inside, git says `hidden by holdpoint` or that it cannot read one; `git add`,
    /// `git commit` and `git log` work, `git gc` does not where packs are replaced.
    ///
    /// What git writes outside while the sandbox lives is looked through before the next command begins, and some hundredths of a
    /// second after it was written for a command that runs. What stands in bundles and in other copies of a history is not found.
    pub fn deny_read_git_history(&mut self, state: impl Into<PathBuf>) -> &mut Self {
        self.git_history = Some(state.into());
        self
    }

    /// Makes a name read-only beside the built-in protected ones: relative to the workspace or absolute.
    pub fn protect(&mut self, pattern: impl Into<String>) -> &mut Self {
        self.protect.push(pattern.into());
        self
    }

    /// Forbids executing a file, or anything below a directory, of the view.
    pub fn exec_deny(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.exec_deny.push(path.into());
        self
    }

    /// The host name inside; `localhost` by default. Another one is no address unless `/etc/hosts` has it.
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Self {
        self.hostname = Some(name.into());
        self
    }

    /// The network; none by default.
    pub fn net(&mut self, net: Net) -> &mut Self {
        self.net = net;
        self
    }

    /// Has every program judged before anything inside executes it; a function `Fn(&Exec) -> ExecAnswer` will do. What
    /// [`Sandbox::command`] starts is not judged, only what that executes in turn. Needs Linux 5.19 to be sure that nothing
    /// is asked twice, and 6.6 to be quick.
    ///
    /// ```
    /// use holdpoint_runtime::{Exec, ExecAnswer, Sandbox};
    ///
    /// let no_curl = |exec: &Exec| match exec.stages.iter().any(|stage| stage.program.ends_with("curl")) {
    ///     true => ExecAnswer::Refuse,
    ///     false => ExecAnswer::Allow,
    /// };
    /// let sandbox = Sandbox::builder().system().on_exec(no_curl).start()?;
    /// let output = sandbox.command("sh").args(["-c", "curl --version || echo no curl here"]).output()?;
    /// assert_eq!(output.stdout, b"no curl here\n");
    /// # Ok::<(), holdpoint_runtime::Error>(())
    /// ```
    pub fn on_exec(&mut self, guard: impl ExecGuard + 'static) -> &mut Self {
        self.on_exec = Some(Guarding(Arc::new(guard)));
        self
    }

    /// Bounds; none by default.
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Lets the sandbox start where this protection cannot be had; the report then says so.
    pub fn allow_missing(&mut self, protection: Protection) -> &mut Self {
        self.allow_missing.insert(protection);
        self
    }

    /// Looks at the host and decides everything. Starts nothing and changes nothing, but for what
    /// [`deny_read_git_history`](Self::deny_read_git_history) has to do.
    ///
    /// # Errors
    /// [`Error::Plan`] for a path that is not there, is not absolute or cannot be shown, or a pattern that cannot be enforced,
    /// or a history that git cannot read.
    pub fn plan(&self) -> Result<Plan> {
        let workspace =
            self.workspace.as_ref().map(|(path, access)| Ok((resolve("workspace", path)?, *access))).transpose()?;
        let access = workspace.as_ref().map_or(Access::ReadWrite, |(_, access)| *access);
        let extra = self.binds.iter().map(|(path, access)| Ok((resolve("visible path", path)?, *access)));
        let extra = extra.collect::<Result<Vec<_>>>()?;
        let mut view = self.view(access)?;
        view.extend(workspace.iter().chain(&extra).map(|(path, access)| bind(path.clone(), *access)));
        view.sort_by_key(|mount| mount.path().components().count());
        view.dedup_by(|later, first| later == first);

        let mut roots: Vec<PathBuf> = extra.into_iter().map(|(path, _)| path).collect();
        let mut found = self.survey(workspace.as_ref(), &roots, &view)?;
        view.extend(self.own_git(workspace.as_ref().map(|(path, _)| path.as_path()), &view, &found));
        view.extend(self.aliased(&view));
        // A worktree's repository, which git needs to work.
        view.extend(found.git_dirs.iter().map(|path| bind(path.clone(), access)));
        roots.extend(found.git_dirs.iter().cloned());
        let tops: Vec<PathBuf> = workspace.iter().map(|(path, _)| path).chain(&roots).cloned().collect();
        let history = self.history(&tops, &mut found)?;
        let mut masks: Vec<Masked> =
            found.masks.into_iter().map(|mask| Masked { path: mask.path, directory: mask.directory }).collect();
        masks.extend(history.masks);
        // What else is shown below `/etc` is a mount of its own, with its own owners.
        let strangers = self.system && view::is_private(&view);
        if self.system && !strangers {
            masks.extend(view::private_settings());
        }
        let shown = |path: &PathBuf| plan::shows(&view, path);
        let watched = found.directories.into_iter().chain(found.hidden).chain(found.beyond.into_iter().filter(shown));
        let watched = watched.collect();
        let mut channels: Vec<PathBuf> =
            found.channels.into_iter().chain(listeners::with_a_path()).filter(shown).collect();
        channels.sort_unstable();
        channels.dedup();
        let exec_deny = self.exec_deny.iter().map(|path| resolve("exec_deny path", path)).collect::<Result<_>>()?;
        Ok(Plan {
            view,
            workspace: workspace.map(|(path, _)| path),
            masks,
            replaced: history.replaced,
            channels,
            strangers,
            kept: found.protected.into_iter().map(kept).collect(),
            pins: found.pins,
            deny_read: self.deny_read.clone(),
            deny_read_strict: self.deny_read_strict && !self.deny_read.is_empty(),
            git_history: self.git_history.clone().filter(|_| !self.deny_read.is_empty()),
            protect: self.protect.clone(),
            exec_deny,
            watched,
            links: found.links,
            denied: found.denied,
            surveyed: found.started,
            roots,
            hostname: self.hostname.clone().unwrap_or_else(|| HOSTNAME.into()),
            net: self.net,
            limits: self.limits.clone(),
            exec_guard: self.on_exec.is_some(),
            allow_missing: self.allow_missing.clone(),
            uncovered: found.uncovered,
            warnings: found.warnings,
        })
    }

    /// What is shown beside the workspace and what the caller adds: the system, toolchains, the private home.
    fn view(&self, access: Access) -> Result<Vec<Mount>> {
        let mut view = if self.system { view::system() } else { Vec::new() };
        for path in &self.toolchains {
            view.push(bind(resolve("toolchain", path)?, Access::ReadOnly));
        }
        view.extend(self.home.iter().map(|path| Mount::Private { path: path.clone(), access }));
        Ok(view)
    }

    /// The link of the other name, unless something stands there or above it already.
    fn aliased(&self, view: &[Mount]) -> Option<Mount> {
        let path = self.alias.0.as_ref().filter(|path| path.is_absolute())?;
        let target = path.canonicalize().ok().filter(|target| target != path && plan::shows(view, target))?;
        let own = ["/proc", "/sys", "/dev"].iter().any(|own| path.starts_with(own));
        let taken = |mount: &Mount| match mount {
            Mount::Private { .. } => mount.path().starts_with(path),
            _ => mount.path().starts_with(path) || path.starts_with(mount.path()),
        };
        (!own && !view.iter().any(taken)).then(|| Mount::Link { path: path.clone(), target })
    }

    /// The user's own configuration of git, where the home is private.
    fn own_git(&self, workspace: Option<&Path>, view: &[Mount], found: &survey::Survey) -> Vec<Mount> {
        const ROOM: u64 = 1 << 20;
        let Some(home) = self.home.as_ref().filter(|_| self.git_config) else { return Vec::new() };
        let config = home.join(".gitconfig");
        if self.limits.tmp.is_some_and(|most| most < ROOM) || plan::shows(view, &config) {
            return Vec::new();
        }
        let own = OwnGit::read(home, workspace, &found.globs, &found.denied);
        let files = [(config, own.config), (home.join(".config/git/ignore"), own.ignore)];
        let given = files.into_iter().filter(|(path, text)| !text.is_empty() && !plan::shows(view, path));
        given.map(|(path, text)| Mount::File { path, text }).collect()
    }

    fn survey(
        &self,
        workspace: Option<&(PathBuf, Access)>,
        roots: &[PathBuf],
        view: &[Mount],
    ) -> Result<survey::Survey> {
        let home = self.home.clone().or_else(std::env::home_dir);
        let request = survey::Request {
            workspace: workspace.map(|(path, _)| path.as_path()),
            writable: workspace.is_some_and(|(_, access)| *access == Access::ReadWrite),
            roots,
            view,
            deny: &self.deny_read,
            protect: &self.protect,
            home: home.as_deref(),
            history: self.git_history.is_some(),
        };
        survey::survey(&request).map_err(|error| match error {
            SurveyError::TooMany { .. } | SurveyError::Outside { .. } => {
                Error::Unsupported { protection: Protection::MountView, needs: error.to_string() }
            }
            error => Error::Plan {
                what: "workspace",
                path: workspace.map(|(path, _)| path.clone()).unwrap_or_default(),
                why: error.to_string(),
            },
        })
    }

    /// What hides denied files in the history of git.
    fn history(&self, roots: &[PathBuf], survey: &mut survey::Survey) -> Result<Hidden> {
        let Some(state) = &self.git_history else { return Ok(Hidden::default()) };
        let hidden = history::hide(&history::Request {
            state,
            roots,
            deny: &self.deny_read,
            allow_missing: &self.allow_missing,
            survey,
            living: None,
        })?;
        let masks = hidden.masks.iter().map(|mask| mask.path.as_path());
        survey.pin(masks.chain(hidden.replaced.iter().map(|replaced| replaced.path.as_path())));
        Ok(hidden)
    }

    /// Makes the plan and starts the sandbox. When the workspace changes between the two, both are done again.
    ///
    /// # Errors
    /// As [`Builder::plan`] and [`Sandbox::start`].
    pub fn start(&self) -> Result<Sandbox> {
        self.start_in(Opening::begin())
    }

    /// As [`start`](Self::start), in a sandbox that was begun while the caller was finding out what to ask of it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_in(&self, opening: Opening) -> Result<Sandbox> {
        self.attempt(opening, |plan, opening| Sandbox::start_in(plan, opening, self.guard()))
    }

    /// Starts a sandbox for one command, which begins as soon as the sandbox stands and with which the sandbox ends: cheaper
    /// than the two one after the other. `describe` says all about the command but its program; it is called again when the
    /// workspace has changed meanwhile and all is done anew.
    ///
    /// What appears in the workspace while the sandbox is made is covered as what appears later.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`Command::spawn`](crate::Command::spawn).
    pub fn run_in(
        &self,
        opening: Opening,
        program: impl AsRef<OsStr>,
        describe: impl Fn(&mut Command<'_>),
    ) -> Result<(Sandbox, Child)> {
        let first = First { program: program.as_ref(), describe: &describe };
        self.attempt(opening, |plan, opening| Sandbox::start_for(plan, opening, self.guard(), &first))
    }

    fn guard(&self) -> Option<Arc<dyn ExecGuard>> {
        self.on_exec.as_ref().map(|guard| Arc::clone(&guard.0))
    }

    fn attempt<T>(&self, mut opening: Opening, start: impl Fn(Plan, Opening) -> Result<T>) -> Result<T> {
        const ATTEMPTS: usize = 4;
        let mut attempt = 1;
        loop {
            match start(self.plan()?, opening) {
                Err(Error::Setup { source, .. })
                    if attempt < ATTEMPTS
                        && matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ESTALE | libc::ENOTDIR)) =>
                {
                    attempt += 1;
                    opening = Opening::begin();
                }
                done => return done,
            }
        }
    }
}

fn bind(path: PathBuf, access: Access) -> Mount {
    Mount::Bind { path, access }
}

fn kept(protected: Protected) -> Kept {
    match protected {
        Protected::Existing { path, .. } => Kept::Existing { path },
        Protected::Symlink { path } => Kept::Symlink { path },
        Protected::Absent { path, stand_in } => {
            let content = match stand_in {
                StandIn::Socket => None,
                StandIn::File(content) => Some(content.into()),
            };
            Kept::Absent { path, content }
        }
    }
}

/// The real place of a path that a caller names. `/` itself, `/proc`, `/dev` and `/tmp` are made new and cannot be shown.
fn resolve(what: &'static str, path: &Path) -> Result<PathBuf> {
    let wrong = |why: String| Error::Plan { what, path: path.to_owned(), why };
    if !path.is_absolute() {
        return Err(wrong("must be absolute; give the full path".into()));
    }
    let resolved = fs::canonicalize(path).map_err(|error| wrong(error.to_string()))?;
    let reserved = ["/", "/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/run", "/var", "/home"];
    if reserved.iter().any(|reserved| resolved == Path::new(reserved))
        || resolved.starts_with("/proc")
        || resolved.starts_with("/sys")
    {
        return Err(wrong("cannot be shown inside; choose a directory below it".into()));
    }
    Ok(resolved)
}
