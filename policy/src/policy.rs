//! A profile compiled and layered: what holds for one session, each value with where it came from.

use crate::deny_read::DenyRead;
use crate::hook::Hook;
use crate::loss::Loss;
use crate::mode::{ApprovalMode, SandboxMode};
use crate::rules::Rule;
use crate::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// `FILE:LINE`, `built-in`, or the flag that set it, such as `--sandbox`.
    pub origin: String,
}

impl<T> Sourced<T> {
    /// `value`, written at `origin`.
    pub fn new(value: T, origin: impl Into<String>) -> Sourced<T> {
        Sourced { value, origin: origin.into() }
    }

    /// A value nobody wrote.
    pub fn built_in(value: T) -> Sourced<T> {
        Sourced::new(value, BUILT_IN)
    }
}

impl<T: fmt::Display> fmt::Display for Sourced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.origin)
    }
}

/// The origin of what nobody wrote.
pub const BUILT_IN: &str = "built-in";

/// What holds for one session: the profile a person chose, combined with every layer.
///
/// Made by [`crate::layer::compile`]; printed by [`crate::explain`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Policy {
    /// The name of the profile.
    pub profile: String,
    /// Carried to the agent; Holdpoint itself has no use for it.
    pub model: Option<Sourced<String>>,
    /// How far the sandbox is closed.
    pub sandbox: Sourced<SandboxMode>,
    /// What waits for a person.
    pub approval: Sourced<ApprovalMode>,
    /// What cannot be read inside.
    pub deny_read: Vec<Sourced<DenyRead>>,
    /// Whether what stood at a denied place is hidden in the history of git too.
    pub deny_read_git_history: Sourced<bool>,
    /// Whether opens are judged before they happen, so that what is denied is hidden from its first moment.
    pub deny_read_strict: Sourced<bool>,
    /// Paths of the workspace that stay read-only besides [`crate::paths::PROTECTED_NAMES`].
    pub protect: Vec<Sourced<String>>,
    /// Paths outside the workspace that can be read inside: absolute or starting with `~/`.
    pub readable: Vec<Sourced<String>>,
    /// Paths outside the workspace that can be written inside: absolute or starting with `~/`.
    pub writable: Vec<Sourced<String>>,
    /// Names or globs of environment variables that pass.
    pub env_inherit: Vec<Sourced<String>>,
    /// Environment variables that are set, whatever was inherited.
    pub env_set: BTreeMap<String, Sourced<String>>,
    /// Programs that cannot be executed inside: absolute paths or starting with `~/`.
    pub exec_deny: Vec<Sourced<String>>,
    /// Whether every program is judged before anything inside executes it.
    pub exec_guard: Sourced<bool>,
    /// Protections that may be missing where the machine does not offer them.
    pub allow_missing: Vec<Sourced<Loss>>,
    /// Bounds on what a command may use.
    pub limits: Limits,
    /// What a command known to be dangerous gets.
    pub catalog: CatalogVerdicts,
    /// Prefix rules of every layer, in the order of the layers.
    pub rules: Vec<Rule>,
    /// Hooks of every layer that may have some, in the order of the layers.
    pub hooks: Vec<Hook>,
    /// What was asked for and did not take effect, because it would have loosened the policy.
    pub warnings: Vec<Warning>,
}

/// Bounds on what a command may use; `None` is no bound of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory: Option<Sourced<u64>>,
    /// How many processes and threads may live at once.
    pub pids: Option<Sourced<u64>>,
    /// Thousandths of a processor for all processes together.
    pub cpus: Option<Sourced<u32>>,
    /// How long a command may take.
    pub wall_time: Option<Sourced<Duration>>,
    /// How much processor time a process may use.
    pub cpu_time: Option<Sourced<Duration>>,
    /// The size of the private `/tmp`, in bytes.
    pub tmp: Option<Sourced<u64>>,
    /// How many bytes the writable paths of the host may grow by.
    pub disk: Option<Sourced<u64>>,
    /// How many files may be added there.
    pub files: Option<Sourced<u64>>,
    /// How many bytes a command may write to standard output and error together.
    pub output: Option<Sourced<u64>>,
    /// How many files a process may have open.
    pub open_files: Option<Sourced<u64>>,
}

/// What the catalog's classes of known commands get, whatever the approval mode. See [`crate::catalog::Class`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogVerdicts {
    /// Deletes, overwrites or wipes what cannot be brought back.
    pub destructive: Sourced<Verdict>,
    /// Changes the machine itself, or what guards it.
    pub system: Sourced<Verdict>,
    /// Reads or prints credentials.
    pub credentials: Sourced<Verdict>,
    /// Reaches other machines: publishes, deploys, fetches code.
    pub outward: Sourced<Verdict>,
    /// Cannot be read before it runs: computed command names, code from the network, broken syntax.
    pub unreadable: Sourced<Verdict>,
}

/// Something that was asked for and did not take effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Where it was asked: `FILE:LINE` or a flag.
    pub origin: String,
    /// One sentence: what was asked, what holds instead, and since where.
    pub text: String,
}
