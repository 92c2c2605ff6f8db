//! Confine commands with what the Linux kernel offers, and run them.
//!
//! A [`Sandbox`] is started once and runs many commands: own user, mount, pid, network, ipc, uts and cgroup namespaces,
//! a mount view that holds only what the plan names, private `/tmp` and `/dev`, own `/proc`, no capabilities,
//! `no_new_privs`, Landlock as second wall, seccomp last. A [`Command`] mirrors [`std::process::Command`]. Everything
//! inside ends when the `Sandbox` is dropped or its process dies, however it dies.
//!
//! ```
//! use holdpoint_runtime::{Access, Sandbox};
//!
//! let workspace = tempfile::tempdir()?;
//! std::fs::write(workspace.path().join(".env"), "TOKEN=secret")?;
//!
//! let sandbox = Sandbox::builder()
//!     .system()                                          // /usr, /etc, … read-only
//!     .workspace(workspace.path(), Access::ReadWrite)
//!     .deny_read("**/.env*")
//!     .start()?;
//!
//! let output = sandbox.command("cat").arg(".env").current_dir(workspace.path()).output()?;
//! assert!(!output.status.success());                     // the file cannot be read …
//!
//! let status = sandbox.command("sh").args(["-c", "echo built > result"]).current_dir(workspace.path()).status()?;
//! assert!(status.success());                             // … and work goes on
//! assert_eq!(std::fs::read_to_string(workspace.path().join("result"))?, "built\n");
//!
//! for line in &sandbox.enforced().protections {
//!     println!("{}: {}", line.protection, line.detail);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate knows nothing of policy, people or networks beyond "none". It can be called from a threaded program of any
//! size: the child shares the caller's memory, interprets a list of prepared steps without allocating, and executes a
//! small resident program that is pid 1 inside.

#![deny(unsafe_code)]

mod builder;
mod cgroup;
mod child;
mod command;
mod compile;
mod enforced;
mod error;
mod exec;
mod executable;
mod guard;
mod landlocked;
mod limits;
mod mounts;
mod notify;
#[cfg(feature = "oci")]
pub mod oci;
mod plan;
pub mod probe;

mod program;
mod reserve;
mod restricted;
mod rights;
mod sandbox;
mod socket;
mod stdio;
mod supervise;
mod survey;
mod sweep;
mod sys;
mod tree;
mod view;
mod warden;
mod watch;

pub use builder::Builder;
pub use child::{Child, Output};
pub use command::Command;
pub use enforced::{Applied, Enforced, Protection};
pub use error::Error;
pub use exec::{Exec, ExecAnswer, ExecGuard, Stage};
pub use limits::Limit;
pub use plan::{Access, Denied, Kept, Limits, Masked, Mount, Net, Plan};
pub use sandbox::Sandbox;
pub use stdio::Stdio;
