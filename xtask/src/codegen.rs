//! `cargo xtask codegen`: what is generated and committed: man pages, completions and the configuration schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap_complete::Shell;

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
    let mut files = BTreeMap::new();
    let mut command = holdpoint::command();
    command.build();
    manual(&command, &mut files)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "holdpoint", &mut text);
        let name = match shell {
            Shell::Zsh => "_holdpoint".to_owned(),
            Shell::Fish => "holdpoint.fish".to_owned(),
            _ => "holdpoint.bash".to_owned(),
        };
        files.insert(Path::new("docs/completions").join(name), text);
    }
    files.insert("schema/holdpoint.schema.json".into(), holdpoint_policy::config::schema().into_bytes());
    Ok(files)
}

/// One page for the command and one for each subcommand, as `holdpoint-run.1`.
fn manual(command: &clap::Command, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    // The usual synopsis names every option and leaves out the `--` before a command.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = clap_mangen::Man::new(command.clone().override_usage(usage))
        .source(concat!("holdpoint ", env!("CARGO_PKG_VERSION")));
    let name = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text)?;
    files.insert(Path::new("docs/man").join(name), text);
    for subcommand in
        command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help" && !subcommand.is_hide_set())
    {
        manual(subcommand, files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synopsis_shows_what_stands_before_a_command() {
        let files = generate().unwrap();
        let page = String::from_utf8_lossy(&files[Path::new("docs/man/holdpoint-session-run.1")]);
        assert!(page.contains("\\fBholdpoint session run\\fR [OPTIONS] [NAME] \\-\\- <CMD>..."), "{page}");
    }
}
