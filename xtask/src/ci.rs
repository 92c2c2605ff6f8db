//! `cargo xtask ci`: what has to hold before a change is taken, the same here and in continuous integration.

use std::process::Command;

use anyhow::Result;

use crate::tally::Tally;
use crate::{api, codegen, process, requirements, test, tidy, tree};

/// Options of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the tests out, for a caller that runs `cargo xtask test` by itself.
    #[arg(long)]
    without_tests: bool,
    #[command(flatten)]
    test: test::Options,
}

/// Runs every check, the quick ones first; false when one failed.
pub(crate) fn main(options: &Options) -> Result<bool> {
    requirements::ensure(requirements::BUILD)?;
    let mut checks = vec![
        ("format", cargo(&["fmt", "--all", "--check"])),
        ("lints", cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"])),
        ("tidy", tidy::main(&tidy::Options {})),
        ("generated files", codegen::main(&codegen::Options::check())),
        ("documentation", documentation()),
    ];
    let mut sum = Tally::default();
    match api::skipped()? {
        None => checks.push(("public items", api::main(&api::Options::default()))),
        Some(why) => println!("public items: not compared, {why}"),
    }
    for (name, outcome) in &mut checks {
        let passed = outcome.as_ref().is_ok_and(|passed| *passed);
        if let Err(error) = outcome {
            println!("{name}: {error:#}");
        }
        sum += Tally::one(passed);
    }
    let tests = if options.without_tests { Tally::default() } else { test::all(&options.test)? };
    println!();
    for (name, outcome) in &checks {
        println!("{name}: {}", if outcome.as_ref().is_ok_and(|passed| *passed) { "ok" } else { "FAILED" });
    }
    if !options.without_tests {
        println!("tests: {tests}");
    }
    sum += tests;
    println!("{sum}");
    Ok(sum.failed == 0)
}

fn cargo(arguments: &[&str]) -> Result<bool> {
    shown(tree::cargo().args(arguments))
}

fn documentation() -> Result<bool> {
    shown(
        tree::cargo()
            .args(["doc", "--workspace", "--no-deps", "--all-features", "--quiet"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

fn shown(command: &mut Command) -> Result<bool> {
    println!("$ {}", process::shown(command));
    Ok(command.status()?.success())
}
