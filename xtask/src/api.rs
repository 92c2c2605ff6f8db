//! `cargo xtask api`: whether the public items of the library still mean what they meant, as far as a machine can tell.
//!
//! Versions follow Semantic Versioning, so the comparison is with the last release; cargo-semver-checks makes it. It is not
//! installed by the tests: building it takes longer than all of them.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{requirements, tree};

/// What is published for others to build on.
const PACKAGE: &str = "holdpoint-runtime";

/// Options of `cargo xtask api`.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Compare with this revision [default: the last release]
    #[arg(long, value_name = "REV")]
    baseline: Option<String>,
}

/// Compares; false when a change would break somebody, and true when there is nothing to compare with.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let Some(baseline) = options.baseline.clone().map_or_else(last_release, |baseline| Ok(Some(baseline)))? else {
        println!("skipped: nothing has been released yet; name a revision with --baseline");
        return Ok(true);
    };
    if !is_installed() {
        bail!("cargo-semver-checks is not installed; run: cargo install --locked cargo-semver-checks");
    }
    let mut check = tree::cargo();
    check.args(["semver-checks", "check-release", "--package", PACKAGE, "--all-features"]);
    check.args(["--baseline-rev", &baseline]);
    // It compiles both sides for their documentation; the target directory is shared with nobody.
    Ok(check.env("CARGO_TARGET_DIR", tree::target()?.join("api")).status()?.success())
}

/// For the continuous integration: why there is no comparison, if there is none.
pub(crate) fn skipped() -> Result<Option<&'static str>> {
    Ok(match last_release()? {
        None => Some("nothing has been released yet"),
        Some(_) if !is_installed() => Some("cargo-semver-checks is not installed"),
        Some(_) => None,
    })
}

fn is_installed() -> bool {
    requirements::find("cargo-semver-checks").is_some()
}

/// The tag of the release that this tree comes after.
fn last_release() -> Result<Option<String>> {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]);
    let output = git.current_dir(tree::root()).output().context("git describe")?;
    let tag = String::from_utf8(output.stdout).context("a tag that is not UTF-8")?;
    // Without any such tag it fails, and so it does outside of a repository.
    Ok(output.status.success().then(|| tag.trim().to_owned()))
}
