//! From files and flags to one policy.

use std::path::{Path, PathBuf};

use holdpoint_approval_web::plan::Digest;
use holdpoint_policy::config::{Config, ConfigError, Origin, Starts};
use holdpoint_policy::layer::{self, Flags, Layer, LayerKind};
use holdpoint_policy::{Policy, SandboxMode, Sourced, Warning, agents_md as blocks};
use rustix::process::{Resource, getrlimit};

use crate::agents_md;
use crate::args::PolicyFlags;
use crate::error::Error;
use crate::files;
use crate::hook_files;
use crate::places::{Places, SYSTEM_CONFIG, Workspace};
use crate::project::{Project, Said};

/// A project's own configuration, relative to the directory it is about.
const PROJECT_CONFIG: &str = ".holdpoint/config.toml";

/// A policy and what it was made for.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What holds.
    pub(crate) policy: Policy,
    /// Where work is done.
    pub(crate) workspace: Workspace,
    /// The person's directories.
    pub(crate) places: Places,
    /// The person's own configuration file, whether or not it exists: no sandbox may write it.
    pub(crate) user_config: PathBuf,
    /// The files that were read, in the order of their precedence.
    pub(crate) read: Vec<PathBuf>,
}

impl Loaded {
    /// A digest of the whole effective policy: any change of what holds changes it.
    pub(crate) fn policy_digest(&self) -> String {
        Digest::of(self.policy.digest_material().as_bytes()).to_string()
    }
}

/// Open files that anything here gets along with: descriptors for what runs inside are numbered from 64 on.
const OPEN_FILES: u64 = 128;

/// Said once and here, because later it would look like something else.
fn enough_open_files() -> Result<(), Error> {
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < OPEN_FILES => Err(Error::Unenforceable {
            what: "anything".into(),
            why: format!("no more than {most} files may be open at once here"),
            next: format!("allow {OPEN_FILES}: `ulimit -n {OPEN_FILES}`"),
        }),
        _ => Ok(()),
    }
}

/// Read every layer and compile the policy.
///
/// # Errors
/// [`Error::Unenforceable`] where too few files may be open at once; [`Error::Config`] and [`Error::Setting`]: one unreadable or wrong file is enough, none is skipped.
pub(crate) fn load(flags: &PolicyFlags) -> Result<Loaded, Error> {
    enough_open_files()?;
    let places = Places::find()?;
    let workspace = Workspace::find(flags.workspace.as_deref())?;
    let user_config = match &flags.config {
        Some(named) => std::path::absolute(named).map_err(|error| Error::setting(named, error, "name a file"))?,
        None => places.config.join("config.toml"),
    };
    let mut project = Project::around(&places, &workspace)?;
    let said = Flags {
        sandbox: flags.sandbox,
        approval: flags.approval,
        deny_read: flags.deny_read.clone(),
        starts: here_and_above(&project)?,
    };
    let layers = Layers::read(&places, &workspace, &mut project, (&user_config, flags.config.is_some()))?;
    layers.refuse_denied(&said)?;
    let mut policy = layer::compile(&layers.layers, flags.profile.as_deref(), &said)?;
    policy.warnings.extend(project.ignored.into_iter().map(|(path, owner)| Warning {
        origin: path.to_string_lossy().into_owned(),
        text: format!("it does not count, for it belongs to user {owner} and lies above the workspace"),
    }));
    for file in hook_files::named(&policy.hooks, &workspace, &places) {
        if !policy.protect.iter().any(|known| known.value == file.value) {
            policy.protect.push(file);
        }
    }
    keep_whole(&mut policy, &workspace.root);
    Ok(Loaded { policy, workspace, places, user_config, read: layers.read })
}

/// A workspace that lies in a protected directory, as one seen from further above, can only be read.
fn keep_whole(policy: &mut Policy, root: &Path) {
    let whole = policy.protect.iter().find(|entry| root.starts_with(root.join(&entry.value)));
    if let Some(entry) = whole.filter(|_| policy.sandbox.value.writes_workspace()) {
        let text = format!("the workspace lies in {}, which is protected, so it can only be read", entry.value);
        policy.warnings.push(Warning { origin: entry.origin.clone(), text });
        policy.sandbox = Sourced::new(SandboxMode::ReadOnly, entry.origin.clone());
    }
}

/// The AGENTS.md files that apply in a workspace, none of which is a link to something denied.
///
/// # Errors
/// As [`load`].
pub(crate) fn instructions(places: &Places, workspace: &Workspace) -> Result<Vec<agents_md::Found>, Error> {
    let mut project = Project::around(places, workspace)?;
    let found = agents_md::find(places, &mut project)?;
    if found.iter().any(|found| found.said.leads_to.is_some()) {
        let user_config = places.config.join("config.toml");
        let layers = Layers::read(places, workspace, &mut project, (&user_config, false))?;
        layers.refuse_denied(&Flags { starts: here_and_above(&project)?, ..Flags::default() })?;
    }
    Ok(found)
}

/// Where the relative paths of the person start: in the workspace, and in every repository around it. A repository that a
/// command makes inside, and that is then taken as the workspace, moves nothing.
fn here_and_above(project: &Project) -> Result<Starts, Error> {
    let above = project.repositories_above().map(|directory| plain(directory));
    Ok(Starts::in_workspace(above.collect::<Result<Vec<_>, _>>()?))
}

/// A directory as the text that paths and patterns can start with.
fn plain(directory: &Path) -> Result<String, Error> {
    let text = directory.to_str().filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        let why = "its name is not plain UTF-8, so nothing relative to it can be enforced";
        Error::setting(directory, why, "rename it")
    })
}

#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    read: Vec<PathBuf>,
    /// Files of the project that symbolic links put there, and where those lead.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Layers {
    /// Read every file; the person's own is an error when it has to be there and is not.
    fn read(
        places: &Places,
        workspace: &Workspace,
        project: &mut Project,
        (user_config, named): (&Path, bool),
    ) -> Result<Self, Error> {
        let mut layers = Self::default();
        let here_and_above = here_and_above(project)?;
        layers.file(LayerKind::System, Path::new(SYSTEM_CONFIG), &here_and_above)?;
        if !layers.file(LayerKind::User, user_config, &here_and_above)? && named {
            return Err(Error::setting(user_config, "there is no such file", "name an existing file with --config"));
        }
        // A file is about the directory it stands in, whichever is taken as the workspace.
        let starts = |directory: &Path| match directory == workspace.root {
            true => Ok(Starts::default()),
            false => plain(directory).map(Starts::at),
        };
        for directory in project.directories() {
            let Some(said) = project.read(&directory, PROJECT_CONFIG)? else { continue };
            let origin = Origin::file(said.path.to_string_lossy());
            let config = Config::parse_bytes(&said.bytes, &origin).map_err(|error| unsaid(&said, error))?;
            layers.said(&said);
            layers.push(LayerKind::Project, said.path, config.starting(starts(&directory)?));
        }
        for found in agents_md::find(places, project)? {
            let origin = Origin::file(found.said.path.to_string_lossy());
            let blocks = blocks::parse(&found.text, &origin).map_err(|error| unsaid(&found.said, error))?;
            layers.said(&found.said);
            let starts = found.directory.as_deref().map_or(Ok(here_and_above.clone()), starts)?;
            for config in blocks {
                layers.push(LayerKind::AgentsMd, found.said.path.clone(), config.starting(starts.clone()));
            }
        }
        Ok(layers)
    }

    /// Whether there is such a file.
    fn file(&mut self, kind: LayerKind, path: &Path, starts: &Starts) -> Result<bool, Error> {
        let Some(bytes) = files::read(path)? else { return Ok(false) };
        let origin = Origin::file(path.to_string_lossy());
        let config = Config::parse_bytes(&bytes, &origin)?;
        self.push(kind, path.to_owned(), config.starting(starts.clone()));
        Ok(true)
    }

    fn said(&mut self, said: &Said) {
        self.links.extend(said.leads_to.clone().map(|target| (said.path.clone(), target)));
    }

    fn push(&mut self, kind: LayerKind, path: PathBuf, config: Config) {
        self.layers.push(Layer { kind, origin: path.to_string_lossy().into_owned(), config });
        if self.read.last() != Some(&path) {
            self.read.push(path);
        }
    }

    /// A link may have been made inside to have a denied file read. Denied in any profile is enough: the one who reads may
    /// have chosen another than the one who made the link had.
    fn refuse_denied(&self, flags: &Flags) -> Result<(), Error> {
        if self.links.is_empty() {
            return Ok(());
        }
        let denied: Vec<_> = self.layers.iter().flat_map(|layer| layer.config.denied()).chain(flags.denied()).collect();
        match self.links.iter().find(|(_, target)| denied.iter().any(|pattern| pattern.covers(target))) {
            None => Ok(()),
            Some((path, target)) => {
                let why = format!("it is a symbolic link to {}, which is denied", target.display());
                Err(Error::setting(path, why, "put the file itself there, or remove the link"))
            }
        }
    }
}

/// The error for a project's file that means nothing. Lines are shown only of what was written here for sure: a link may have
/// been made inside, to have something shown that cannot be read there.
fn unsaid(said: &Said, error: ConfigError) -> Error {
    match (&said.leads_to, said.own) {
        (_, true) => error.into(),
        (Some(target), false) => {
            let why = format!("what it leads to, {}, is wrong in line {}", target.display(), error.line);
            Error::setting(&said.path, why, "put the file itself there to be shown what is wrong")
        }
        (None, false) => {
            let why = format!("line {} is wrong, and not shown because the file has other names as well", error.line);
            Error::setting(&said.path, why, "make it a file of its own: a copy instead of a hard link")
        }
    }
}
