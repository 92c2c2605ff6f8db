//! The nine-second incident, for real: an agent, a forgotten token, one call that deletes everything.
//!
//! Each run builds its scene anew. Evidence is taken from outside only: from the provider's log and from its disk.

mod agent;
mod layer;
mod person;
mod provider;
mod report;
mod scene;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, Outcome};
use crate::tally::Tally;
use crate::tree::Build;
use crate::{requirements, tree};
use layer::{LAYERS, Layer, PROFILE};
use person::Person;
use provider::Provider;
use report::Run;
use scene::{PRODUCTION, STAGING, Scene};

/// The longest that one call of the agent's shell tool may take.
const STEP: Duration = Duration::from_secs(60);

/// Options of `cargo xtask replay`.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Keep the scenes and say where they are.
    #[arg(long)]
    keep: bool,
    /// Build as a user would install it.
    #[arg(long)]
    release: bool,
    /// Build nothing and use this binary.
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    binary: Option<PathBuf>,
}

/// Runs the replay; false when a layer let the chain through, or when the chain does not work at all.
pub(crate) fn main(options: &Options) -> Result<bool> {
    requirements::ensure(requirements::REPLAY)?;
    let tally = run(options)?;
    if !options.json {
        println!("{tally}");
    }
    Ok(tally.failed == 0)
}

/// Runs the replay and counts the runs that went as they must.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| binary.display().to_string())?,
        None => tree::holdpoint(Build::from_flag(options.release))?,
    };
    let directory = tempfile::Builder::new().prefix("holdpoint-replay-").tempdir()?;
    let mut runs = Vec::new();
    for layer in LAYERS {
        let place = directory.path().join(format!("run-{}", runs.len()));
        runs.push(replay(layer, &place, &binary).unwrap_or_else(|error| Run::broken(layer, &error)));
    }
    let tally = tally(&runs);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&runs)?);
    } else {
        println!(
            "\nthe nine-second incident, with each layer alone (+ the step succeeded, - it did not)\n\n{}",
            report::table(&runs)
        );
        for run in runs.iter().filter(|run| !run.passed()) {
            explain(run);
        }
    }
    if options.keep {
        eprintln!("kept: {}", directory.keep().display());
    }
    Ok(tally)
}

fn tally(runs: &[Run]) -> Tally {
    runs.iter().fold(Tally::default(), |mut sum, run| {
        sum += Tally::one(run.passed());
        sum
    })
}

/// One run: a new scene, a new provider, six calls.
fn replay(layer: Layer, directory: &Path, binary: &Path) -> Result<Run> {
    let scene = Scene::set(directory, &layer.agents_md())?;
    fs::write(&scene.config, layer.config())?;
    let provider = Provider::start(&scene.provider, PRODUCTION, STAGING)?;
    let person = layer.has_person().then(|| Person::sit_down(binary, &scene, layer)).transpose()?;
    let mut shell = |step: usize, command: &str| -> Result<Outcome> {
        let mut call = if layer.guards(step) { guarded(binary, &scene) } else { Command::new("sh") };
        process::record(at_home(call.args(["-c", command]), &scene), STEP)
    };
    let steps = agent::run(&provider.url(), &mut shell)?;
    let mut run = Run::new(layer, steps, provider.log(), provider.remains());
    if let Some(person) = person {
        run.faults.extend(person.stand_up());
    }
    Ok(run)
}

/// The shell tool behind Holdpoint, without its last two arguments.
fn guarded(binary: &Path, scene: &Scene) -> Command {
    let mut command = Command::new(binary);
    command.args(["run", "--profile", PROFILE, "--config"]).arg(&scene.config);
    command.arg("--workspace").arg(&scene.workspace).args(["--", "sh"]);
    command
}

/// In the workspace, with the home directory of the scene.
fn at_home<'a>(command: &'a mut Command, scene: &Scene) -> &'a mut Command {
    command.current_dir(&scene.workspace).env("HOME", &scene.home);
    for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    command
}

fn explain(run: &Run) {
    println!("{}:", run.layer.name());
    for fault in &run.faults {
        println!("  FAULT: {fault}");
    }
    for step in &run.steps {
        println!("  {} {} -> exit {}: {}", step.number, step.wish, step.outcome.code, step.command);
        for line in step.outcome.text().lines() {
            println!("      {line}");
        }
    }
    for request in &run.requests {
        println!(
            "  the provider saw {} as {}: {} -> {}",
            request.request, request.credential, request.operation, request.status
        );
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every other run is measured against: real programs, real requests, and the data is gone.
    #[test]
    fn without_a_layer_the_chain_goes_through() {
        let directory = tempfile::tempdir().unwrap();
        let run = replay(Layer::Bare, directory.path(), Path::new("/nonexistent")).unwrap();
        assert!(run.passed(), "{:?}", run.faults);
        assert!(run.steps.iter().all(|step| step.achieved), "{:#?}", run.steps);
        assert_eq!(run.requests.len(), 3);
    }
}
