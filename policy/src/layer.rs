//! Layers: built-in < system < user < project < agents-md < flags.

use crate::config::{Config, ConfigError};
use crate::mode::{ApprovalMode, SandboxMode};
use crate::policy::{CatalogVerdicts, Limits, Policy, Sourced};
use crate::verdict::Verdict;
use std::collections::BTreeMap;

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

/// What the person at the terminal said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--sandbox`; [`SandboxMode::None`] is refused.
    pub sandbox: Option<SandboxMode>,
    /// `--approval`.
    pub approval: Option<ApprovalMode>,
    /// `--deny-read`, each adding one glob.
    pub deny_read: Vec<String>,
}

/// Combines the layers into one policy for a profile; `None` is the profile `default`.
///
/// # Errors
/// A profile nobody defined, a project that asks for more than it may, a flag that asks for `none`.
pub fn compile(layers: &[Layer], profile: Option<&str>, flags: &Flags) -> Result<Policy, ConfigError> {
    let _unused = (layers, flags);
    Ok(Policy {
        profile: profile.unwrap_or("default").to_owned(),
        model: None,
        sandbox: Sourced::built_in(SandboxMode::WorkspaceWrite),
        approval: Sourced::built_in(ApprovalMode::Suggest),
        deny_read: Vec::new(),
        protect: Vec::new(),
        readable: Vec::new(),
        writable: Vec::new(),
        env_inherit: Vec::new(),
        env_set: BTreeMap::new(),
        exec_deny: Vec::new(),
        limits: Limits::default(),
        catalog: CatalogVerdicts {
            destructive: Sourced::built_in(Verdict::Ask),
            system: Sourced::built_in(Verdict::Ask),
            credentials: Sourced::built_in(Verdict::Ask),
            outward: Sourced::built_in(Verdict::Allow),
            unreadable: Sourced::built_in(Verdict::Ask),
        },
        rules: Vec::new(),
        hooks: Vec::new(),
        warnings: Vec::new(),
    })
}
