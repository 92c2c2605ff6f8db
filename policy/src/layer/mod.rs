//! Layers: built-in < system < user < project < agents-md < flags.
//!
//! Two movements make a policy out of them.
//!
//! 1. **Set.** The chosen profile, with what it extends, out of the files of the machine and the person; then `--sandbox` and
//!    `--approval`. Later values replace earlier ones, lists add up.
//! 2. **Tighten.** Everything else only moves toward the strict end: keys outside a profile (whoever wrote them, so a machine can
//!    pin), a project's own profile, blocks in `AGENTS.md`, `--deny-read`.
//!
//! Rules and hooks add up over all layers. What a project's own files say that could only loosen is an error: they come with a
//! clone, and nobody on this machine has read them.

mod draft;
mod project;
pub(crate) use project::refuse_loosening;
mod resolve;

use crate::config::{self, Config, ConfigError, Mistake, Starts};
use crate::deny_read::{self, DenyRead};
use crate::hook::Hook;
use crate::mode::{ApprovalMode, SandboxMode};
use crate::policy::{Policy, Sourced, Warning};
use crate::rules::Rule;
use draft::Draft;

/// Who wrote a layer. The order is the precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKind {
    /// What holds when nobody wrote anything.
    BuiltIn,
    /// The machine's administrator.
    System,
    /// The person, by their own file or by `--config`.
    User,
    /// The project's own file: it comes with a clone, so it can only tighten.
    Project,
    /// A block in the project's `AGENTS.md`: it can only tighten.
    AgentsMd,
    /// What the person at the terminal said.
    Flags,
}

impl LayerKind {
    /// Whether the layer comes with the project, so that nobody on this machine need have read it.
    pub fn comes_with_project(self) -> bool {
        matches!(self, LayerKind::Project | LayerKind::AgentsMd)
    }
}

/// One configuration and who wrote it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Who wrote it.
    pub kind: LayerKind,
    /// The file.
    pub origin: String,
    /// What it says.
    pub config: Config,
}

impl Layer {
    /// A configuration of this kind, named as the configuration itself is.
    pub fn new(kind: LayerKind, config: Config) -> Layer {
        Layer { kind, origin: config.origin().to_owned(), config }
    }
}

/// What the person at the terminal said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--sandbox`; [`SandboxMode::None`] is refused.
    pub sandbox: Option<SandboxMode>,
    /// `--approval`.
    pub approval: Option<ApprovalMode>,
    /// `--deny-read`, each adding one glob, or with `!` an exception from those before it.
    pub deny_read: Vec<String>,
    /// Where the relative ones of them start.
    pub starts: Starts,
}

impl Flags {
    /// Every pattern of `--deny-read`.
    pub fn denied(&self) -> Vec<DenyRead> {
        let patterns = DenyRead::list(self.deny_read.iter().map(String::as_str));
        patterns.iter().flat_map(|pattern| self.starts.denied(pattern)).collect()
    }
}

/// The profile that is used when none is named; it always exists.
pub const DEFAULT_PROFILE: &str = "default";

/// Combines the layers into one policy for a profile; `None` is the profile `default`.
///
/// The order of `layers` matters only within one kind. What holds without any layer is built in and need not be passed.
///
/// # Errors
/// A profile nobody defined, a chain of `extends` that leads nowhere or in a circle, a project that asks for what could loosen
/// the policy, a flag that asks for `none`, a `--deny-read` that cannot be enforced.
///
/// ```
/// use holdpoint_policy::config::{Config, Origin};
/// use holdpoint_policy::layer::{Flags, Layer, LayerKind, compile};
/// use holdpoint_policy::{ApprovalMode, SandboxMode};
///
/// let user = Config::parse("[profile.default]\nsandbox = \"workspace-write-and-net\"\n", &Origin::file("user.toml"))?;
/// let project = Config::parse("sandbox = \"read-only\"\n", &Origin::file(".holdpoint/config.toml"))?;
/// let layers = [Layer::new(LayerKind::User, user), Layer::new(LayerKind::Project, project)];
///
/// let flags = Flags { approval: Some(ApprovalMode::FullAuto), ..Flags::default() };
/// let policy = compile(&layers, None, &flags)?;
/// assert_eq!(policy.sandbox.value, SandboxMode::ReadOnly);
/// assert_eq!(policy.sandbox.origin, ".holdpoint/config.toml:1");
/// assert_eq!(policy.approval.origin, "--approval");
/// # Ok::<(), holdpoint_policy::ConfigError>(())
/// ```
pub fn compile(layers: &[Layer], profile: Option<&str>, flags: &Flags) -> Result<Policy, ConfigError> {
    let mut ordered: Vec<&Layer> = layers.iter().collect();
    ordered.sort_by_key(|layer| layer.kind);
    let (trusted, foreign): (Vec<&Layer>, Vec<&Layer>) =
        ordered.into_iter().partition(|layer| !layer.kind.comes_with_project());
    for layer in &foreign {
        refuse_loosening(layer)?;
    }

    let name = profile.unwrap_or(DEFAULT_PROFILE);
    let mut draft = Draft::built_in();
    for (config, shape) in resolve::chain(name, &trusted, &foreign)? {
        draft.set(config, shape);
    }
    set_flags(&mut draft, flags)?;

    for layer in trusted.iter().chain(&foreign) {
        draft.tighten_everywhere(&layer.config);
        if layer.kind.comes_with_project()
            && let Some(shape) = layer.config.shape.profile.get(name)
        {
            draft.tighten_profile(&layer.config, shape);
        }
    }
    for denied in flags.denied() {
        draft.deny_read(Sourced::new(denied, "--deny-read"));
    }

    let mut policy = draft.finish(name);
    warn_about_flags(&mut policy, flags);
    for layer in trusted.iter().chain(&foreign) {
        policy.rules.append(&mut rules(&layer.config)?);
        policy.hooks.append(&mut hooks(&layer.config));
    }
    Ok(policy)
}

fn set_flags(draft: &mut Draft, flags: &Flags) -> Result<(), ConfigError> {
    match flags.sandbox {
        Some(SandboxMode::None) => {
            let message = "a flag cannot switch the sandbox off";
            return Err(ConfigError::elsewhere(Mistake::Loosens, "--sandbox", message)
                .suggest("for a machine that is disposable already, write `sandbox = \"none\"` in a profile"));
        }
        Some(mode) => draft.set_sandbox(Sourced::new(mode, "--sandbox")),
        None => {}
    }
    if let Some(mode) = flags.approval {
        draft.set_approval(Sourced::new(mode, "--approval"));
    }
    for (index, glob) in flags.deny_read.iter().enumerate() {
        deny_read::check(glob, index == 0).map_err(|error| {
            ConfigError::elsewhere(Mistake::BadValue, "--deny-read", format!("`{}`: {}", error.pattern, error.why))
        })?;
    }
    Ok(())
}

fn warn_about_flags(policy: &mut Policy, flags: &Flags) {
    let mut warn = |flag: &str, asked: &str, holds: &str, origin: &str| {
        let text = format!("`{flag} {asked}` does not take effect: {origin} holds it at `{holds}`");
        policy.warnings.push(Warning { origin: flag.to_owned(), text });
    };
    if let Some(mode) = flags.sandbox
        && mode != policy.sandbox.value
    {
        warn("--sandbox", mode.word(), policy.sandbox.value.word(), &policy.sandbox.origin);
    }
    if let Some(mode) = flags.approval
        && mode != policy.approval.value
    {
        warn("--approval", mode.word(), policy.approval.value.word(), &policy.approval.origin);
    }
}

fn rules(config: &Config) -> Result<Vec<Rule>, ConfigError> {
    config.shape.rules.iter().map(|rule| config::compile_rule(config, rule)).collect()
}

fn hooks(config: &Config) -> Vec<Hook> {
    let hook = |spanned: &toml::Spanned<config::shape::HookShape>| {
        let shape = spanned.get_ref();
        Hook {
            event: *shape.event.get_ref(),
            tool: shape.tool.as_ref().map(|tool| tool.get_ref().clone()),
            command: shape.command.get_ref().clone(),
            timeout: shape.timeout.as_ref().map_or(Hook::DEFAULT_TIMEOUT, |time| time.get_ref().0),
            origin: config.source_of(spanned.span()),
        }
    };
    config.shape.hooks.iter().map(hook).collect()
}
