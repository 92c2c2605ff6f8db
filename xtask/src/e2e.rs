//! `cargo xtask e2e`: the approval page in a real Chromium.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::{process, requirements, tree};

/// Options of `cargo xtask e2e`.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Runs the browser tests; false when one failed.
pub(crate) fn main(_: &Options) -> Result<bool> {
    requirements::ensure(requirements::BROWSER)?;
    let tally = run()?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Builds the server that the tests drive, fetches the driver and runs them.
pub(crate) fn run() -> Result<Tally> {
    let directory = tree::root().join("approval-web/e2e");
    process::run(tree::cargo().args(["build", "--quiet", "--package", "holdpoint-approval-web", "--examples"]))?;
    fetch(&directory)?;
    let chromium = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| requirements::find(name));
    let mut node = Command::new("node");
    node.arg("e2e.mjs").current_dir(&directory);
    node.env("CHROMIUM", chromium.context("no Chromium was found")?);
    node.env("HOLDPOINT_TARGET", tree::target()?.join("debug"));
    let outcome = process::tee(&mut node)?;
    let tally = Tally::of(&outcome.text()).ended(outcome.code);
    if tally == Tally::default() {
        bail!("the browser tests did not say how many passed");
    }
    Ok(tally)
}

/// The driver of the browser, as the lock file pins it.
fn fetch(directory: &Path) -> Result<()> {
    let task = if directory.join("package-lock.json").exists() { "ci" } else { "install" };
    let mut npm = Command::new("npm");
    npm.args([task, "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(directory);
    // The browser is the system's; the driver must not bring one of its own.
    npm.env("PUPPETEER_SKIP_DOWNLOAD", "1").env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    process::run(&mut npm)
}
