//! `AGENTS.md`: the prose that is carried to the agent and the fenced `holdpoint` blocks that are enforced.

use crate::config::{Config, ConfigError, Origin};
use serde::Serialize;
use std::path::PathBuf;

/// One fenced block with the info string `holdpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// The line of the file on which its TOML starts, counted from 1.
    pub line: usize,
    /// The TOML in it.
    pub toml: String,
}

/// The blocks of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let _unused = text;
    Vec::new()
}

/// Reads the blocks of a text as configuration that can only tighten.
///
/// # Errors
/// As [`Config::parse`], with the lines of the `AGENTS.md` itself.
pub fn parse(text: &str, origin: &Origin) -> Result<Vec<Config>, ConfigError> {
    let _unused = (text, origin);
    Ok(Vec::new())
}

/// The text of several files, joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assembled {
    /// The text.
    pub text: String,
    /// The files of which something was left out.
    pub cut: Vec<PathBuf>,
}

/// Joins files in order, at most `limit` bytes.
pub fn assemble(files: &[(PathBuf, String)], limit: usize) -> Assembled {
    let _unused = (files, limit);
    Assembled::default()
}
