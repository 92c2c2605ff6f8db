//! The only unsafe code of Holdpoint: system calls that neither the standard library nor `nix` offers in a form that may
//! run between `clone3` and `execve`, behind safe functions that neither allocate nor lock.

#![allow(unsafe_code)]

pub(crate) mod arguments;
pub(crate) mod call;
mod clone;
pub(crate) mod code;
pub(crate) mod entries;
pub(crate) mod gate;
pub(crate) mod landlock;
pub(crate) mod launch;
pub(crate) mod notify;
pub(crate) mod opener_wire;
pub(crate) mod opens;
pub(crate) mod processors;
pub(crate) mod seccomp;
pub(crate) mod wire;

/// The result of a call: its value or the errno.
pub(crate) type Result<T> = std::result::Result<T, i32>;
