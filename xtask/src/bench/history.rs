//! What it costs to hide denied files in the history of git: the first time, after a commit, and when nothing has changed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::measure::{self, Subject};
use super::peers::Scene;
use super::tables::Tables;
use crate::process;

/// Commits, each of which changes one of so many files.
const COMMITS: usize = 5_000;
const FILES: usize = 1_000;
/// Commits with an author that nobody has to configure.
const COMMIT: &str = "git -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m x";

pub(super) fn table(scene: &Scene, rounds: usize, tables: &mut Tables) -> Result<()> {
    let repository = scene.place.join("history");
    make(&repository)?;
    let state = scene.home().join(".local/state/holdpoint/history");
    let after = |script: String, name| {
        let (run, repository) = (scene.holdpoint("history", &repository), repository.clone());
        Subject::new(name, move || {
            let run = (run.command)();
            let mut command = Command::new("sh");
            command
                .arg("-c")
                .arg(format!("{script} && exec \"$@\""))
                .arg("sh")
                .arg(run.get_program())
                .args(run.get_args());
            for (name, value) in run.get_envs() {
                value.map(|value| command.env(name, value));
            }
            command.env_remove("XDG_STATE_HOME").current_dir(&repository);
            command
        })
    };
    let commit = || {
        let repository = repository.clone();
        Subject::new("that commit alone", move || {
            let mut command = Command::new("sh");
            command.arg("-c").arg(COMMIT).current_dir(&repository);
            command
        })
    };
    let alone = || scene.holdpoint("hidden", &repository).called("files alone");
    // What commits would leave something new for what stands beside it.
    let quiet = [alone(), scene.holdpoint("history", &repository).called("history too, nothing new")];
    let busy = [
        alone(),
        after(format!("rm -rf {}", state.display()), "history too, the first time"),
        after(COMMIT.to_owned(), "history too, after a commit"),
        commit(),
    ];
    writeln!(tables.text, "## A launch with what is denied hidden in {COMMITS} commits\n")?;
    writeln!(tables.text, "| | median ms | × files alone |\n|---|---:|---:|")?;
    let rounds = (rounds / 5).max(5);
    for timing in measure::interleaved(&quiet, rounds)?.iter().chain(&measure::interleaved(&busy, rounds)?[1..]) {
        writeln!(tables.text, "| {} | {:.2} | {:.2} |", timing.name, timing.median, timing.ratios[0])?;
    }
    tables.text.push('\n');
    Ok(())
}

/// A repository of one pack, with a denied file in its first commit.
fn make(repository: &Path) -> Result<()> {
    process::run(Command::new("git").args(["init", "--quiet"]).arg(repository))?;
    let mut stream = String::new();
    for number in 0..=COMMITS {
        writeln!(stream, "commit refs/heads/main\ncommitter a <a@b> {} +0000\ndata 1\nx", 1_700_000_000 + number)?;
        let (first, last) = if number == 0 { (0, FILES) } else { (number % FILES, number % FILES + 1) };
        for file in first..last {
            let text = format!("{number}\n");
            writeln!(stream, "M 100644 inline d{}/f{file}\ndata {}\n{text}", file % 40, text.len())?;
        }
        if number == 0 {
            writeln!(stream, "M 100644 inline .env\ndata 6\nsecret\n")?;
        }
    }
    let script = repository.with_extension("stream");
    fs::write(&script, stream)?;
    let git = || {
        let mut git = Command::new("git");
        git.arg("-C").arg(repository).stdout(Stdio::null());
        git
    };
    process::run(git().args(["fast-import", "--quiet"]).stdin(fs::File::open(&script)?))?;
    process::run(git().args(["checkout", "--quiet", "main"]))
}
