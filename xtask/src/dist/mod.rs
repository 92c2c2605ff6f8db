//! `cargo xtask dist`: what is distributed, laid out as it is installed.
//!
//! The program is one static file. Its functions stand in the order in which a launch first uses them: what a launch reads
//! of the file lies together then, so the kernel maps half as much of it and interrupts it half as often to do so.

mod order;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tree::{self, Build, STATIC};
use crate::{process, requirements};

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Fills `target/dist`.
pub(crate) fn main(_: &Options) -> Result<bool> {
    let binary = build()?;
    let (root, dist) = (tree::root(), tree::target()?.join("dist"));
    let put = |from: &Path, to: &str, name: &OsStr| -> Result<()> {
        let directory = dist.join(to);
        fs::create_dir_all(&directory)?;
        // Under another name first: somebody may be running the one before.
        let (to, new) = (directory.join(name), directory.join(".new"));
        fs::copy(from, &new).and_then(|_| fs::rename(&new, &to)).with_context(|| format!("write {}", to.display()))
    };
    put(&binary, "bin", "holdpoint".as_ref())?;
    for page in fs::read_dir(root.join("docs/man"))? {
        let page = page?;
        put(&page.path(), "share/man/man1", &page.file_name())?;
    }
    for (from, to, name) in [
        ("holdpoint.bash", "share/bash-completion/completions", "holdpoint"),
        ("_holdpoint", "share/zsh/site-functions", "_holdpoint"),
        ("holdpoint.fish", "share/fish/vendor_completions.d", "holdpoint.fish"),
    ] {
        put(&root.join("docs/completions").join(from), to, name.as_ref())?;
    }
    println!("{} is ready to be copied to /usr/local", dist.display());
    Ok(true)
}

/// Builds the program as it is distributed and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    requirements::ensure(requirements::ORDER)?;
    let target = tree::target()?;
    let (arguments, script) = (target.join("launch.args"), target.join("launch.ld"));
    let ordered = || -> Result<PathBuf> {
        // The same flags both times: functions get their names with them.
        let response = format!("link-arg=@{}", arguments.display());
        let link = |lines: &str| {
            fs::write(&arguments, lines)?;
            process::run(tree::cargo().args([
                "clean",
                "--quiet",
                "--package",
                "holdpoint",
                "--release",
                "--target",
                STATIC,
            ]))?;
            tree::holdpoint_with(Build::Static, &["-C", "strip=none", "-C", &response])
        };
        fs::write(&script, order::script(&link("")?)?)?;
        let named = link(&format!("-Wl,-T,{}", script.display()))?;
        let stripped = target.join("holdpoint");
        process::run(Command::new("strip").arg("-o").arg(&stripped).arg(named))?;
        Ok(stripped)
    };
    ordered().or_else(|error| {
        eprintln!("the functions stay in the compiler's order: {error:#}");
        tree::holdpoint(Build::Static)
    })
}
