//! `cargo xtask syscalls`: what programs keep. Tests of system calls, written for somebody else's kernel, run bare and inside a
//! sandbox; a test that passes bare and not inside is something that the sandbox takes away.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use serde_json::Value;

use crate::ordinary::{Ordinary, USER};
use crate::tree::Build;
use crate::{process, tree};

/// The longest that one program may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Options of `cargo xtask syscalls`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The programs: every file of this directory that can be executed is a GoogleTest binary.
    #[arg(value_name = "DIR")]
    programs: PathBuf,
    /// This `holdpoint` instead of one that is built here.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Runs every program both ways, as root also as an ordinary user; false when a test that passes bare does not inside.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let programs = programs(&options.programs)?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => tree::holdpoint(Build::Dev)?,
    };
    let mut good = compare("the caller", &programs, &binary, |program| Command::new(program))?;
    if Uid::effective().is_root() {
        let ordinary = Ordinary::new()?;
        good &= compare(USER, &programs, &binary, |program| ordinary.command(program))?;
    }
    Ok(good)
}

fn programs(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path().canonicalize()?;
        let found = path.metadata()?;
        if found.is_file() && found.permissions().mode() & 0o111 != 0 {
            programs.push(path);
        }
    }
    programs.sort();
    if programs.is_empty() { bail!("no programs in {}", directory.display()) } else { Ok(programs) }
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Passed,
    Failed,
    Skipped,
}

type Endings = BTreeMap<String, Ending>;

/// Runs all programs both ways as one user and prints what differs.
fn compare(user: &str, programs: &[PathBuf], holdpoint: &Path, command: impl Fn(&Path) -> Command) -> Result<bool> {
    let (mut passed, mut kept, mut lost) = (0, 0, Vec::new());
    for program in programs {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let place = Place::new(program, holdpoint)?;
        let bare = place.run("bare", command(Path::new("/usr/bin/env")))?;
        let mut inside = command(&place.holdpoint);
        inside.args(["run", "--approval", "full-auto", "--workspace"]).arg(place.workspace("inside"));
        inside.args(["--", "/usr/bin/env"]);
        let inside = place.run("inside", inside)?;
        let count = |endings: &Endings| endings.values().filter(|ending| **ending == Ending::Passed).count();
        println!("{name} as {user}: {} pass bare, {} inside", count(&bare), count(&inside));
        passed += count(&bare);
        for (test, _) in bare.iter().filter(|(_, ending)| **ending == Ending::Passed) {
            match inside.get(test) {
                Some(Ending::Passed) => kept += 1,
                other => lost.push(format!("{name}: {test}: {other:?} inside")),
            }
        }
    }
    lost.iter().for_each(|line| println!("{line}"));
    println!("as {user}: {kept} of {passed} that pass bare pass inside");
    Ok(lost.is_empty() && passed > 0)
}

/// One program's own directories, with a copy of it that every user can run.
struct Place {
    directory: tempfile::TempDir,
    holdpoint: PathBuf,
}

impl Place {
    fn new(program: &Path, holdpoint: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("holdpoint-syscalls-").tempdir_in("/var/tmp")?;
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777));
        open(directory.path())?;
        let place = directory.path();
        let copy = place.join("holdpoint");
        fs::copy(holdpoint, &copy)?;
        for workspace in ["bare", "inside"].map(|name| place.join(name)) {
            let workspace = &workspace;
            fs::create_dir_all(workspace.join("tmp"))?;
            fs::copy(program, workspace.join("program"))?;
            for path in [workspace, &workspace.join("tmp"), &workspace.join("program")] {
                open(path)?;
            }
        }
        Ok(Self { directory, holdpoint: copy })
    }

    fn workspace(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the program behind a command line that ends in `env`, and reads how each of its tests ended.
    fn run(&self, name: &str, mut command: Command) -> Result<Endings> {
        let (workspace, report) = (self.workspace(name), self.workspace(name).join("report.json"));
        command.arg(format!("TEST_TMPDIR={}", workspace.join("tmp").display())).arg(workspace.join("program"));
        command.arg(format!("--gtest_output=json:{}", report.display())).current_dir(&workspace);
        let outcome = process::record(&mut command, LIMIT)?;
        let Ok(text) = fs::read(&report) else {
            let last: Vec<_> = outcome.stderr.lines().rev().take(5).collect();
            println!("`{}` left no report, and ended with {}: {last:?}", process::shown(&command), outcome.code);
            return Ok(Endings::new());
        };
        endings(&serde_json::from_slice(&text)?)
    }
}

/// How each test of a GoogleTest report ended.
fn endings(report: &Value) -> Result<Endings> {
    let mut endings = Endings::new();
    for suite in report["testsuites"].as_array().context("the report has no suites")? {
        for test in suite["testsuite"].as_array().into_iter().flatten() {
            let name = format!("{}.{}", suite["name"].as_str().unwrap_or("?"), test["name"].as_str().unwrap_or("?"));
            let ending = match (test["result"].as_str(), test["failures"].is_array()) {
                (_, true) => Ending::Failed,
                (Some("COMPLETED"), false) => Ending::Passed,
                _ => Ending::Skipped,
            };
            endings.insert(name, ending);
        }
    }
    Ok(endings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_each_test_ended() {
        let report = serde_json::json!({"testsuites": [{"name": "Pipe", "testsuite": [
            {"name": "Read", "result": "COMPLETED"},
            {"name": "Write", "result": "COMPLETED", "failures": [{"failure": "no"}]},
            {"name": "Wait", "result": "SKIPPED"},
        ]}]});
        let endings = endings(&report).unwrap();
        let expected = [("Pipe.Read", Ending::Passed), ("Pipe.Wait", Ending::Skipped), ("Pipe.Write", Ending::Failed)];
        assert_eq!(endings, expected.map(|(name, ending)| (name.to_owned(), ending)).into());
    }
}
