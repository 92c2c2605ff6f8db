//! Where things lie: the repository, its target directory, the built binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// `cargo`, in the root of the repository, the same one that started us.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Which profile of Cargo a task wants its binaries from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Quick to build.
    Dev,
    /// Optimised, for the machine it is built on.
    Release,
    /// What is distributed: one file that needs no library and no relocation, which also starts fastest.
    Static,
}

impl Build {
    /// The one that `--release` on a task's command line asks for.
    pub(crate) fn from_flag(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    /// The directory below `target/` and the flag for `cargo`.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Static => concat!(env!("HOLDPOINT_TARGET"), "/release"),
        }
    }
}

/// Cargo's target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    let directory = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(directory))
}

/// What `cargo metadata` says, dependencies of dependencies left out.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Builds the `holdpoint` binary and says where it is.
pub(crate) fn holdpoint(build: Build) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--package", "holdpoint", "--bin", "holdpoint"]);
    match build {
        Build::Dev => {}
        Build::Release => drop(cargo.arg("--release")),
        // With a target named, the flags do not reach build scripts and procedural macros.
        Build::Static => drop(
            cargo
                .args(["--release", "--target", env!("HOLDPOINT_TARGET")])
                .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static"),
        ),
    }
    process::run(&mut cargo)?;
    Ok(target()?.join(build.directory()).join("holdpoint"))
}
