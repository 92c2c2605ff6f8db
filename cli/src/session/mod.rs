//! Sessions: sandboxes that live on between commands, each kept by a process of its own that others ask over a socket.
//!
//! - `name`: what a session is called; `place`: its socket, its log, and which sessions there are
//! - `wire`: what is said over the socket; `terms`: the flags that hold for all of a session
//! - `keeper`: the process that holds the sandbox; `client`: the one that runs a command in it
//! - `rights`: what one command may do less than the others
//! - `guests`: which of these is told what becomes of executions inside
//!
//! Whoever asks for a command judges it: policy, hooks and people, in the asking process, with the files as they are now,
//! exactly as `holdpoint run` does. The keeper runs what it is asked by its own user, and only when the one who asks would make
//! the very sandbox that it holds. It decides nothing but what commands execute (`exec_guard`), by the policy of its start: with
//! another one, another sandbox would be made.

mod client;
mod guests;
mod keeper;
mod name;
mod place;
mod rights;
mod terms;
mod wire;

pub(crate) use client::{Agreed, Running, Seat};
pub(crate) use guests::Guests;
pub(crate) use keeper::{Keeper, keep, raise_open_files};
pub use name::Name;
pub(crate) use place::{GLANCE, PAUSE, Place, Reached, VERSION, greeted, is_silence};
pub(crate) use rights::Rights;
pub(crate) use terms::Terms;
pub(crate) use wire::{Ask, Hello, Status, Told, receive, send};
