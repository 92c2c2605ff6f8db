//! `cargo xtask e2e`: the approval page in a real Chromium.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::{process, requirements, tree};

/// Takes the README's picture; runs where the driver of the browser is installed.
const PICTURE: &str = include_str!("picture.mjs");

/// Options of `cargo xtask e2e`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Test nothing; take the README's picture of a hold anew.
    #[arg(long)]
    picture: bool,
}

/// Runs the browser tests; false when one failed.
pub(crate) fn main(options: &Options) -> Result<bool> {
    requirements::ensure(requirements::BROWSER)?;
    if options.picture {
        picture()?;
        return Ok(true);
    }
    let tally = run()?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Builds the server that the tests drive, fetches the driver and runs them.
pub(crate) fn run() -> Result<Tally> {
    let mut node = node()?;
    let outcome = process::tee(node.arg("e2e.mjs"))?;
    let tally = Tally::of_tap(&outcome.stdout).ended(outcome.code);
    if tally == Tally::default() {
        bail!("the browser tests did not say how many passed");
    }
    Ok(tally)
}

fn picture() -> Result<()> {
    let file = tree::root().join("docs/img/hold.png");
    let mut node = node()?;
    node.args(["--input-type=module", "-"]).env("PICTURE", &file).stdin(Stdio::piped());
    let mut child = node.spawn().context("could not start node")?;
    child.stdin.take().context("node has no standard input")?.write_all(PICTURE.as_bytes())?;
    if !child.wait()?.success() {
        bail!("the picture could not be taken");
    }
    println!("{}", file.display());
    Ok(())
}

/// `node` in the directory of the tests, with all they need built, fetched and named.
fn node() -> Result<Command> {
    let directory = directory();
    process::run(tree::cargo().args(["build", "--quiet", "--package", "holdpoint-approval-web", "--examples"]))?;
    fetch(&directory)?;
    let chromium = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| requirements::find(name));
    let mut node = Command::new("node");
    node.current_dir(&directory).env("CHROMIUM", chromium.context("no Chromium was found")?);
    let target = tree::target()?;
    node.env("E2E_SERVER", target.join("debug/examples/e2e_server")).env("E2E_OUT", target.join("e2e"));
    Ok(node)
}

fn directory() -> PathBuf {
    tree::root().join("approval-web/e2e")
}

/// The driver of the browser, as the lock file pins it.
fn fetch(directory: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(directory);
    // The browser is the system's; the driver must not bring one of its own.
    npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    process::run(&mut npm)
}
