//! Plans as OCI runtime configurations, and back (feature `oci`): so that runc, crun and the engines above them can run
//! what a [`Sandbox`](crate::Sandbox) would.
//!
//! [`to_spec`] writes a [`Plan`](crate::Plan) as the `config.json` of the [runtime specification], [`write_bundle`] puts it into a directory
//! with the root file system it needs, [`from_spec`] reads a plan. The configuration has the plan's mounts with the same
//! flags, its masks, protected names, limits, namespaces and refused system calls, made from the same tables.
//!
//! # What an engine does not do
//! The format has no word for some of a plan. As [`Sandbox::start`](crate::Sandbox::start) does on a kernel without a
//! protection, [`to_spec`] refuses unless [`Plan::allow_missing`](crate::Plan::allow_missing) names each of these:
//!
//! | protection | missing because |
//! |---|---|
//! | [`Landlock`](crate::Protection::Landlock) | no engine has it; the rules stand in the annotation [`LANDLOCK`] for one that will |
//! | [`LateMasks`](crate::Protection::LateMasks) | nobody watches: what is masked is what matched when the plan was made |
//! | [`StrictReads`](crate::Protection::StrictReads) | nobody judges an open before it happens |
//! | [`ExecGuard`](crate::Protection::ExecGuard) | nobody is asked before a program is executed |
//! | [`ReservedNames`](crate::Protection::ReservedNames) | a mount needs something to stand on, and follows a symbolic link |
//! | [`MemoryLimit`](crate::Protection::MemoryLimit), [`CpuLimit`](crate::Protection::CpuLimit) | of an ordinary user: engines do it by control groups, which are root's |
//! | [`TimeLimit`](crate::Protection::TimeLimit), [`DiskLimit`](crate::Protection::DiskLimit), [`OutputLimit`](crate::Protection::OutputLimit) | nobody watches a bundle that runs |
//!
//! # What is different although it holds
//! - A masked file reads as empty instead of being refused, and a masked directory lists as empty: engines put `/dev/null` and an
//!   empty file system there. The content is out of reach either way.
//! - Engines need a root inside. An ordinary user is called root there, and has no more rights for it.
//! - An engine makes the mounts from paths when it runs the bundle: whoever can move things on the host between writing and
//!   running decides what is shown.
//!
//! # Engines
//! Tried with runc 1.1 and crun 1.8, as root and as an ordinary user. youki 0.7 carries a bundle out as well, but takes away
//! devices with everything it makes read-only: run by root, who could change the host's devices otherwise, programs inside
//! cannot open `/dev/null`. Control groups are the engine's: crun wants a host with version 2 alone, youki systemd for
//! ordinary users.
//!
//! [runtime specification]: https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md
//!
//! ```
//! use holdpoint_runtime::{Access, Protection, Sandbox, oci};
//!
//! let workspace = tempfile::tempdir()?;
//! let mut builder = Sandbox::builder();
//! builder.system().workspace(workspace.path(), Access::ReadWrite);
//! builder.allow_missing(Protection::Landlock).allow_missing(Protection::ReservedNames);
//!
//! let mut process = oci::Process::new(["make", "test"]);
//! process.environment.push("PATH=/usr/bin:/bin".into());
//! process.directory = workspace.path().canonicalize()?;
//!
//! let plan = builder.plan()?;
//! let exported = oci::to_spec(&plan, &process)?;
//! assert!(exported.enforced.protections.iter().any(|line| line.protection == Protection::Seccomp && line.holds));
//! assert_eq!(oci::from_spec(&exported.spec)?, (plan.with_settings_masked().with_packs_masked(), process));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod compare;
mod mounts;
mod read;
mod seccomp;
#[cfg(test)]
mod tests;
mod write;

pub use bundle::write_bundle;
pub use oci_spec::runtime::Spec;
pub use read::{from_config, from_spec};
pub use write::to_spec;

use crate::enforced::{Applied, Enforced};
use nix::unistd::{getegid, geteuid};
use std::path::PathBuf;

/// The annotation that holds the whole [`Plan`](crate::Plan) as JSON: what the format has no word for is read from here, and the rest has to agree.
pub const PLAN: &str = "dev.holdpoint.plan";

/// The annotation that holds the Landlock ruleset as JSON, in the numbers of `linux/landlock.h`: `abi` (the oldest that will
/// do), `handled_access_fs`, `scoped`, and `rules` with a `path` and the `allowed` access each.
pub const LANDLOCK: &str = "dev.holdpoint.landlock";

/// What to run in a bundle, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The program and its arguments; a program without a slash is looked up in the `PATH` of `environment`.
    pub arguments: Vec<String>,
    /// The environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// The working directory: absolute, a path inside.
    pub directory: PathBuf,
    /// The host's user whose rights the process has.
    pub user: u32,
    /// The host's group whose rights the process has.
    pub group: u32,
}

impl Process {
    /// A process with these arguments, an empty environment and the working directory `/`, as the caller's effective user.
    pub fn new<S: Into<String>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            user: geteuid().as_raw(),
            group: getegid().as_raw(),
        }
    }
}

/// A configuration, and what of the plan it enforces.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exported {
    /// What an OCI runtime reads as `config.json`.
    pub spec: Spec,
    /// What an engine will enforce, and what it will not although the plan asks for it.
    pub enforced: Enforced,
}

/// Why there is no configuration for a plan, or no plan for a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An OCI engine does not give these protections, and the plan does not allow them to be missing.
    #[error("an OCI engine does not enforce {}", list(missing))]
    Missing {
        /// Each protection with the reason.
        missing: Vec<Applied>,
    },
    /// The format holds UTF-8 text, and this path is none.
    #[error("{path:?} is not UTF-8, and an OCI configuration cannot name it")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The format cannot hold this value.
    #[error("an OCI configuration cannot say {what}")]
    Value {
        /// What the plan says.
        what: String,
    },
    /// The configuration says something that no plan says, or leaves out what every plan says.
    #[error("{at}: {why}")]
    Foreign {
        /// Where in the configuration, as `mounts[3].options`.
        at: String,
        /// What stands there, or is missing there.
        why: String,
    },
    /// The text is no configuration at all.
    #[error("not an OCI runtime configuration")]
    Format(#[source] serde_json::Error),
    /// The bundle could not be written.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel answered.
        source: std::io::Error,
    },
}

fn list(missing: &[Applied]) -> String {
    let lines: Vec<_> = missing.iter().map(|line| format!("{} ({})", line.protection, line.detail)).collect();
    lines.join(", ")
}
