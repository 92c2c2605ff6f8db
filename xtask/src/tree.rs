//! Where things lie: the repository, its target directory, the built binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, requirements};

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
    /// What is distributed: one file that needs no library and no relocation. Built with musl, because what glibc does at a
    /// start takes longer than the rest of it: it asks the processor for its features, and in a virtual machine the
    /// hypervisor answers each question.
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
            Self::Static => concat!(env!("HOLDPOINT_STATIC"), "/release"),
        }
    }
}

/// The target of [`Build::Static`].
pub(crate) const STATIC: &str = env!("HOLDPOINT_STATIC");

/// The standard library of that target, and a C compiler for SQLite.
fn install_musl() -> Result<()> {
    requirements::ensure(requirements::STATIC)?;
    let rustc = |args: [&str; 4]| Command::new("rustc").current_dir(root()).args(args).output();
    let directory = rustc(["--print", "target-libdir", "--target", STATIC]).context("rustc --print target-libdir")?;
    if Path::new(String::from_utf8_lossy(&directory.stdout).trim()).exists() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    process::run(rustup.current_dir(root()).args(["target", "add", STATIC]).stdout(std::io::stderr()))
        .with_context(|| format!("install the standard library for {STATIC}"))
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
    holdpoint_with(build, &[])
}

/// The same with flags for the compiler that concern the binary alone.
pub(crate) fn holdpoint_with(build: Build, flags: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["rustc", "--quiet", "--package", "holdpoint", "--bin", "holdpoint"]);
    match build {
        Build::Dev => {}
        Build::Release => drop(cargo.arg("--release")),
        // With a target named, the flags do not reach build scripts and procedural macros.
        Build::Static => {
            install_musl()?;
            cargo.args(["--release", "--target", STATIC]).env("RUSTFLAGS", "-C relocation-model=static");
        }
    }
    process::run(cargo.arg("--").args(flags))?;
    Ok(target()?.join(build.directory()).join("holdpoint"))
}
