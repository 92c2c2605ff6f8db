//! `cargo xtask codegen`: what is generated and committed: man pages, completions and the configuration schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::tree;

/// Options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail when something is stale.
    #[arg(long)]
    check: bool,
}

impl Options {
    /// As with `--check`.
    pub(crate) fn check() -> Self {
        Self { check: true }
    }
}

/// Writes or compares every generated file; false when one is stale.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let root = tree::root();
    let files = generate()?;
    let mut stale: Vec<PathBuf> = Vec::new();
    for (path, content) in &files {
        if fs::read(root.join(path)).is_ok_and(|present| present == *content) {
            continue;
        }
        stale.push(path.clone());
        if !options.check {
            fs::create_dir_all(root.join(path.parent().unwrap_or(Path::new(""))))?;
            fs::write(root.join(path), content)?;
        }
    }
    let state = if options.check { "stale" } else { "written" };
    for path in &stale {
        println!("{state}: {}", path.display());
    }
    println!("{} generated files, {} {state}", files.len(), stale.len());
    if options.check && !stale.is_empty() {
        println!("run `cargo xtask codegen` and commit what it writes");
    }
    Ok(!options.check || stale.is_empty())
}

/// Every generated file by its path in the repository.
fn generate() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    Ok(BTreeMap::new())
}
