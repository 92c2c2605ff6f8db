//! `cargo xtask test`: every test, and what they need.

use std::sync::Arc;

use anyhow::Result;
use nix::unistd::Uid;
use signal_hook::consts::SIGHUP;
use signal_hook::flag;

use crate::ordinary::Ordinary;
use crate::tally::Tally;
use crate::{e2e, process, replay, requirements, tree};

/// Options of `cargo xtask test`.
#[derive(clap::Args, Default)]
#[group(skip)]
pub(crate) struct Options {
    /// Leave the browser out (for a machine that cannot have one); it is counted as skipped.
    #[arg(long)]
    no_browser: bool,
}

/// Runs everything; false when anything failed.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let tally = all(options)?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// The tests of the crates, the same as an ordinary user, the browser and the replay.
pub(crate) fn all(options: &Options) -> Result<Tally> {
    // What is handled here has its default again in what we start, whoever has started us with it ignored (nohup(1)): tests
    // are about what a signal does.
    flag::register(SIGHUP, Arc::default())?;
    requirements::ensure(requirements::TESTS)?;
    requirements::ensure(requirements::REPLAY)?;
    if !options.no_browser {
        requirements::ensure(requirements::BROWSER)?;
    }
    let mut parts = vec![("the tests of the crates", counted(crates()))];
    if Uid::effective().is_root() {
        let ordinary = Ordinary::new()?;
        parts.push(("the same as an ordinary user", counted(ordinary.tests())));
        parts.push(("the replay as an ordinary user", counted(ordinary.replay())));
    }
    let browser = if options.no_browser { Ok(Tally { skipped: 1, ..Tally::default() }) } else { e2e::run() };
    parts.push(("the approval page in a browser", counted(browser)));
    parts.push(("the replay of the incident", counted(replay::run(&replay::Options::default()))));

    let mut sum = Tally::default();
    println!();
    for (name, tally) in parts {
        println!("{name}: {tally}");
        sum += tally;
    }
    Ok(sum)
}

/// A part that could not be run at all has failed.
fn counted(part: Result<Tally>) -> Tally {
    part.unwrap_or_else(|error| {
        println!("{error:#}");
        Tally::one(false)
    })
}

/// `cargo test`, or nextest where it is installed: the same tests, one process each. Then the examples in the documentation.
fn crates() -> Result<Tally> {
    let mut sum = Tally::default();
    if requirements::find("cargo-nextest").is_some() {
        let mut nextest = tree::cargo();
        nextest.args([
            "nextest",
            "run",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--status-level",
            "fail",
            "--final-status-level",
            "fail",
        ]);
        let outcome = process::tee(&mut nextest)?;
        sum += Tally::of(&outcome.text()).ended(outcome.code);
        let outcome =
            process::tee(tree::cargo().args(["test", "--workspace", "--all-features", "--doc", "--no-fail-fast"]))?;
        sum += Tally::of(&outcome.text()).ended(outcome.code);
    } else {
        let outcome = process::tee(tree::cargo().args(["test", "--workspace", "--all-features", "--no-fail-fast"]))?;
        sum += Tally::of(&outcome.text()).ended(outcome.code);
    }
    Ok(sum)
}
