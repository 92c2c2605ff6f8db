//! From files and flags to one policy.

use std::path::{Path, PathBuf};

use holdpoint_approval_web::plan::Digest;
use holdpoint_policy::config::{Config, Origin};
use holdpoint_policy::layer::{self, Flags, Layer, LayerKind};
use holdpoint_policy::{Policy, agents_md as blocks};
use rustix::process::{Resource, getrlimit};

use crate::agents_md;
use crate::args::PolicyFlags;
use crate::error::Error;
use crate::files;
use crate::places::{Places, SYSTEM_CONFIG, Workspace};

/// The project's own configuration, relative to the workspace.
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
    let mut layers = Layers::default();
    layers.file(LayerKind::System, Path::new(SYSTEM_CONFIG))?;
    if !layers.file(LayerKind::User, &user_config)? && flags.config.is_some() {
        return Err(Error::setting(&user_config, "there is no such file", "name an existing file with --config"));
    }
    layers.file(LayerKind::Project, &workspace.root.join(PROJECT_CONFIG))?;
    for found in agents_md::find(&places, &workspace.root, &workspace.cwd)? {
        layers.agents_md(found)?;
    }
    let said = Flags { sandbox: flags.sandbox, approval: flags.approval, deny_read: flags.deny_read.clone() };
    let policy = layer::compile(&layers.layers, flags.profile.as_deref(), &said)?;
    Ok(Loaded { policy, workspace, places, user_config, read: layers.read })
}

#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    read: Vec<PathBuf>,
}

impl Layers {
    /// Whether there is such a file.
    fn file(&mut self, kind: LayerKind, path: &Path) -> Result<bool, Error> {
        let Some(bytes) = files::read(path)? else { return Ok(false) };
        let origin = Origin::file(path.to_string_lossy());
        let config = Config::parse_bytes(&bytes, &origin)?;
        self.push(kind, path.to_owned(), config);
        Ok(true)
    }

    fn agents_md(&mut self, found: agents_md::Found) -> Result<(), Error> {
        let origin = Origin::file(found.path.to_string_lossy());
        for config in blocks::parse(&found.text, &origin)? {
            self.push(LayerKind::AgentsMd, found.path.clone(), config);
        }
        Ok(())
    }

    fn push(&mut self, kind: LayerKind, path: PathBuf, config: Config) {
        self.layers.push(Layer { kind, origin: path.to_string_lossy().into_owned(), config });
        if self.read.last() != Some(&path) {
            self.read.push(path);
        }
    }
}
