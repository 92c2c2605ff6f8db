//! File edits as one action: a unified diff that is read, checked against the files and carried out whole or not at all.
//!
//! - `parse`: from text to what is to be done; `hunk`: one piece of a diff, and where it fits
//! - `guard`: what no edit may touch, whatever its path says
//! - `change`: the new contents, written beside the files and then put in their place together

mod change;
mod guard;
mod hunk;
mod parse;

pub(crate) use change::Change;
pub(crate) use guard::refusal;
pub(crate) use parse::{LARGEST, Patch};
