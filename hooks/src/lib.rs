//! Run the user's hooks around an agent's actions, failing closed.
//!
//! A hook is a command of the user's own, written under `[[hooks]]` in a profile. It runs on the host, outside every
//! sandbox, is told what is about to happen (as JSON on its standard input and in `$INPUT`) and answers by its exit
//! code. Most tools that have hooks let the action go ahead when a hook exits 1, is killed, times out or does not
//! exist; here each of these blocks.
//!
//! ```
//! use holdpoint_hooks::event::{About, Event};
//! use holdpoint_hooks::runner;
//! use holdpoint_policy::{Hook, HookEvent, HookResult};
//!
//! let hook = Hook {
//!     event: HookEvent::PreToolUse,
//!     tool: Some("shell".into()),
//!     command: r#"if echo "$INPUT" | grep -q DROP; then echo "no DROP here"; exit 1; fi"#.into(),
//!     timeout: Hook::DEFAULT_TIMEOUT,
//!     origin: "config.toml:9".into(),
//! };
//!
//! let about = About { cwd: "/".into(), profile: "default".into(), ..About::default() };
//! let event = Event::command(HookEvent::PreToolUse, &["psql".into(), "-c".into(), "DROP TABLE a".into()], &about);
//! let outcomes = runner::run(&[hook], &event, &[("PATH".into(), "/usr/bin:/bin".into())]);
//! assert_eq!(outcomes.0[0].result, HookResult::Blocked { reason: "no DROP here".into() });
//! ```
//!
//! - [`event`]: what a hook is told, in one normal form.
//! - [`select`]: which hooks an event concerns.
//! - [`runner`]: running them.

#![forbid(unsafe_code)]

pub mod event;
pub mod runner;
pub mod select;

mod json;
mod process;
mod quote;
mod tail;
