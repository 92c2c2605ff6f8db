//! File edits as one action: a unified diff that is read, checked against the files and carried out whole or not at all.
//!
//! - `parse`: from text to what is to be done; `hunk`: one piece of a diff, and where it fits
//! - `beneath`: files of the workspace, reached without leaving it and without following a symbolic link
//! - `change`: the new contents, written beside the files and then put in their place together

mod change;
mod hunk;
mod parse;

pub(crate) use parse::{LARGEST, Patch};
