//! Judges one action of an agent.
//!
//! A person writes **profiles** in TOML. [`layer::compile`] combines the files of a machine, a person, a project and its
//! `AGENTS.md` into one [`Policy`], and [`evaluate::evaluate`] turns a policy, an [`Action`] and what the hooks said into a
//! [`Judgement`]: a [`Verdict`] with the reasons for it.
//!
//! Nothing here does I/O, reads a clock or looks at the environment: files come in as text, variables as an iterator, and
//! the verdict goes out. What this crate says is advice given early; the kernel enforces the rest.
//!
//! ```
//! use holdpoint_policy::config::{Config, Origin};
//! use holdpoint_policy::layer::{self, Flags, Layer, LayerKind};
//! use holdpoint_policy::{Action, HookOutcomes, Run, Verdict, evaluate};
//!
//! let text = r#"
//! [profile.default]
//! approval_policy = "full-auto"
//! deny_read_paths = ["**/.env*"]
//!
//! [[rules]]
//! prefix = ["git", "push"]
//! verdict = "ask"
//! reason = "pushing publishes the work"
//! "#;
//! let config = Config::parse(text, &Origin::file("config.toml"))?;
//! let layers = [Layer { kind: LayerKind::User, origin: "config.toml".into(), config }];
//! let policy = layer::compile(&layers, None, &Flags::default())?;
//!
//! let run = |line: &str| Action::Run(Run { argv: line.split(' ').map(Into::into).collect(), cwd: "/src".into() });
//! let judge = |line: &str| evaluate::evaluate(&policy, &run(line), &HookOutcomes::default());
//! assert_eq!(judge("cargo test").verdict, Verdict::Allow);
//! assert_eq!(judge("git push").verdict, Verdict::Ask);
//! assert_eq!(judge("git push").reasons[0].origin, "config.toml:6");
//! # Ok::<(), holdpoint_policy::config::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

pub mod action;
pub mod agents_md;
pub mod catalog;
pub mod config;
mod deny_read;
mod environment;
pub mod evaluate;
pub mod explain;
pub mod hook;
pub mod layer;
pub mod loss;
pub mod mode;
pub mod paths;
pub mod policy;
pub mod rules;
pub mod shell;
pub mod verdict;

pub use action::{Action, Edit, Run};
pub use config::{Config, ConfigError, Origin, Size, Time};
pub use deny_read::DenyRead;
pub use hook::{Hook, HookEvent, HookOutcome, HookOutcomes, HookResult};
pub use layer::{Flags, Layer, LayerKind};
pub use loss::Loss;
pub use mode::{ApprovalMode, SandboxMode, UnknownWord};
pub use policy::{CatalogVerdicts, Limits, Policy, Sourced, Warning};
pub use rules::Rule;
pub use verdict::{Judgement, Reason, Verdict};
