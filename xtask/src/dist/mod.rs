//! `cargo xtask dist`: what is distributed, laid out as it is installed.
//!
//! The program is one static file. Its functions stand in the order in which a launch first uses them: what a launch reads
//! of the file lies together then, so the kernel maps half as much of it and interrupts it half as often to do so.

#[cfg(target_arch = "x86_64")]
mod order;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree::{self, Build};

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
    #[cfg(target_arch = "x86_64")]
    {
        let named = tree::holdpoint_with(Build::Static, &["-C", "strip=none"])?;
        match order::script(&named) {
            Ok(script) => {
                let path = tree::target()?.join("launch.ld");
                fs::write(&path, script)?;
                return tree::holdpoint_with(Build::Static, &["-C", &format!("link-arg=-Wl,-T,{}", path.display())]);
            }
            Err(error) => eprintln!("the functions stay in the compiler's order: {error:#}"),
        }
    }
    tree::holdpoint(Build::Static)
}
