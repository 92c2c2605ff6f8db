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
//! Whole programs are in the repository under `runtime/examples`: a build that streams its output (`build`), a judge of
//! submissions with limits and verdicts (`judge`), a shell for an agent (`agent_tool`), an async program (`tokio`).
//!
//! # What it keeps from happening
//! Whatever a command executes, as root or as an ordinary user, it does not
//! - write outside of what was shown writable, or on a protected name inside the workspace (`.git/hooks`, `AGENTS.md`, editor
//!   and agent settings, and what [`Builder::protect`] adds), whether or not that exists yet;
//! - read what was not shown or what [`Builder::deny_read`] matches, through a hard link, a new name or `/proc` either;
//! - reach a network, the host's loopback included, or a socket of the host;
//! - signal, trace or read the memory of a process outside; gain a capability; keep a descriptor it was not given;
//! - outlive its sandbox.
//!
//! The kernel itself is shared. A bug in it, or in the processor, is not something that this crate can hold; neither is what
//! a person later does with files that a command has changed.
//!
//! # One sandbox, many commands
//! Starting a sandbox looks through the workspace and makes all walls, which takes milliseconds; the next command in it costs about as
//! much as a bare `posix_spawn`. So keep one for as long as the work is the same, and start another one where two pieces of work must not
//! see each other: commands of one sandbox share `/tmp`, the network's loopback and each other's processes. A command can have less
//! than its sandbox ([`Command::may_write`], [`Command::cpu_time`] and their neighbours), never more.
//!
//! [`Builder::plan`] decides and touches nothing; [`Sandbox::start`] carries out and decides nothing. A [`Plan`] is plain data: show it, keep it,
//! compare it, start it later. [`Builder::start`] does both and repeats them when the workspace changes in between.
//!
//! # What really holds
//! A protection that this kernel lacks is an error ([`Error::Unsupported`]), unless [`Builder::allow_missing`] names it. What was
//! applied, and how, is in [`Enforced`]: look at it when something was allowed to be missing, and keep it beside the results where
//! somebody may ask later under which protection they came about. Its warnings are remarks for a person (a denied file that git
//! tracks, say) and mean no loss. [`probe`] tells the same of a machine before anything is started.
//!
//! # Threads
//! All types are [`Send`] and [`Sync`], and one [`Sandbox`] can be used from many threads at a time. The caller is never forked: pid 1 is made by
//! `clone3` with the caller's memory shared until it executes something else (`CLONE_VM | CLONE_VFORK`, clone(2)), and in between
//! it allocates nothing and takes no lock. So it makes no difference how large the calling process is, how many threads it has
//! and what they hold. Signal handlers and the signal mask of the caller are left alone, and no `SIGCHLD` reaches it for a command:
//! commands are children of the sandbox's pid 1.
//!
//! # Async
//! The crate brings no executor and needs none. [`Command::spawn`] is a few system calls; [`Child::pidfd`] and the pipes in a [`Child`] are
//! descriptors that any event loop can wait for, and [`Child::wait`] does not block once the pidfd is readable. Only
//! [`Builder::plan`], [`Builder::start`] and dropping a [`Sandbox`] take long enough to be sent to a thread of their own.
//!
//! # Errors
//! [`Error`] has one variant for each thing that a caller can do about it: change the request ([`Error::Plan`]), the machine or what
//! may be missing ([`Error::Unsupported`]), the command ([`Error::Spawn`]), or start again ([`Error::Ended`]). When an error comes back nothing
//! has run, and nothing is left behind. A command that ends with a failure is no error: it is an exit status.
//!
//! # Platform
//! Linux on x86_64 (written for aarch64 too, and not tried there), with unprivileged user namespaces when not run as root. Linux
//! 6.12 has everything. 5.19 is the oldest with a Landlock that will do, and what it does not know yet is left to the mount view,
//! as [`Enforced`] says. Where namespaces are not to be had, [`Protection::Namespaces`] can be allowed to be missing: then
//! Landlock and seccomp stand alone. The build compiles a small freestanding program with the same `rustc` and needs a
//! linker, nothing else.
//!
//! # Features
//! - `oci`: plans as OCI runtime configurations and back, in the module `oci`. Off by default.

#![deny(unsafe_code)]

mod builder;
mod cell;
mod cgroup;
mod child;
mod command;
mod compile;
mod ending;
mod enforced;
mod error;
mod exec;
mod executable;
mod file_limit;
mod guard;
mod history;
mod host;
mod landlocked;
mod limits;
mod listeners;
mod mounts;
mod notify;
#[cfg(feature = "oci")]
pub mod oci;
mod opening;
mod plan;
pub mod probe;
mod proc;

mod program;
mod relay;
mod reserve;
mod restricted;
mod rights;
mod sandbox;
mod socket;
mod stdio;
mod strangers;
mod strict;
mod supervise;
mod survey;
mod sweep;
mod sys;
mod threads;
mod traps;
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
pub use opening::Opening;
pub use plan::{Access, Denied, Kept, Limits, Masked, Mount, Net, Plan, Replaced};
pub use reserve::is_reserved;
pub use sandbox::Sandbox;
pub use stdio::Stdio;
pub use traps::Trap;
pub use view::SYSTEM;

/// Lets the kernel have the memory in which the code and the constants of this program lie, for whoever waits long for a command:
/// what is needed again is read again from the file, most often from the page cache (madvise(2), `MADV_DONTNEED`). Breakpoints of
/// a debugger do not come back.
pub fn give_back_code() {
    sys::code::give_back();
}

/// What is shown to embedders in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Whoever embeds this shares it between threads and carries its errors up to `main`.
const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Builder>();
    shared::<Plan>();
    shared::<Sandbox>();
    shared::<Command<'static>>();
    shared::<Child>();
    shared::<Stdio>();
    shared::<Enforced>();
    shared::<Error>();
};
