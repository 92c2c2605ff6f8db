//! Inside a machine: all that is to be run there, as root and as an ordinary user, each in a control group of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scenes;
use crate::attacks;
use crate::ordinary::{Binary, Ordinary, USER};
use crate::process::{self, Outcome};
use crate::tally::Tally;

/// The files through which host and machine talk.
pub(crate) const BATTERY: &str = "battery.json";
pub(crate) const RESULTS: &str = "results.json";
pub(crate) const START: &str = "start.sh";

/// The longest that one part may take.
const LIMIT: Duration = Duration::from_mins(60);

/// What is run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Battery {
    /// The static binary.
    pub(crate) holdpoint: PathBuf,
    /// The project's own tests, compiled.
    pub(crate) tests: Vec<Binary>,
    /// An attack corpus, and the classes of it.
    pub(crate) corpus: Option<(PathBuf, String)>,
}

impl Battery {
    /// For each part that can be run in part, which of it: test files, classes of the corpus.
    pub(crate) fn scope(&self) -> BTreeMap<String, String> {
        let mut files: Vec<_> = self.tests.iter().map(Binary::name).collect();
        files.sort_unstable();
        files.dedup();
        let classes = self.corpus.as_ref().map_or("", |(_, classes)| classes);
        [("tests", files.join(" ")), ("corpus", classes.replace(',', " "))]
            .map(|(part, of)| (part.to_owned(), of))
            .into()
    }
}

/// What was found on a kernel.
#[derive(Serialize, Deserialize)]
pub(crate) struct Findings {
    /// What `doctor` tells the ordinary user, in the shape of its `--json`.
    pub(crate) doctor: Value,
    /// Why Holdpoint refuses this kernel, when it does.
    pub(crate) refused: Option<String>,
    /// One for each part and user.
    pub(crate) parts: Vec<Part>,
    /// Whether that is all: a machine can stop before.
    pub(crate) finished: bool,
}

/// What came of one part for one user.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) tally: Tally,
    /// The names of what failed.
    pub(crate) failed: Vec<String>,
}

impl Part {
    pub(super) fn new(name: &str, user: &Login<'_>) -> Self {
        Self { name: name.to_owned(), user: user.name.to_owned(), tally: Tally::default(), failed: Vec::new() }
    }

    pub(super) fn check(&mut self, name: &str, good: bool) {
        self.tally += Tally::one(good);
        if !good {
            self.failed.push(name.to_owned());
        }
    }
}

/// Options of `cargo xtask kernels-guest`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The directory shared with the host.
    results: PathBuf,
}

/// Runs the battery and writes down what was found, part by part: both users at once, for a machine has two processors.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let battery: Battery = serde_json::from_slice(&fs::read(options.results.join(BATTERY))?)?;
    open_way(&battery)?;
    let ordinary = Ordinary::new()?;
    let users = [Login::root()?, Login::ordinary(&ordinary)?];
    let doctor = doctor(&users[1], &battery.holdpoint)?;
    let findings = Findings { doctor, refused: None, parts: Vec::new(), finished: false };
    let written = Written { findings: Mutex::new(findings), file: options.results.join(RESULTS) };
    thread::scope(|scope| {
        let runs = users.each_ref().map(|user| scope.spawn(|| run(user, &battery, &written)));
        runs.into_iter().try_for_each(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    written.change(|findings| findings.finished = true)?;
    Ok(true)
}

/// All parts, as one user.
fn run(user: &Login<'_>, battery: &Battery, written: &Written) -> Result<()> {
    let (part, refused) = scenes::play(user, &battery.holdpoint)?;
    let goes_on = refused.is_none();
    written.change(|findings| {
        findings.parts.push(part);
        findings.refused = findings.refused.take().or(refused);
    })?;
    if goes_on && !battery.tests.is_empty() {
        let part = tests(user, &battery.tests)?;
        written.change(|findings| findings.parts.push(part))?;
    }
    if let (true, Some((at, classes))) = (goes_on, &battery.corpus) {
        let part = corpus(user, &battery.holdpoint, at, classes)?;
        written.change(|findings| findings.parts.push(part))?;
    }
    Ok(())
}

/// What was found so far, on the host as soon as it is known.
struct Written {
    findings: Mutex<Findings>,
    file: PathBuf,
}

impl Written {
    fn change(&self, change: impl FnOnce(&mut Findings)) -> Result<()> {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut findings);
        Ok(fs::write(&self.file, serde_json::to_vec_pretty(&*findings)?)?)
    }
}

/// Whoever runs a part, with a control group that is delegated to him.
pub(super) struct Login<'a> {
    name: &'static str,
    ordinary: Option<&'a Ordinary>,
    group: PathBuf,
}

impl<'a> Login<'a> {
    fn root() -> Result<Self> {
        Ok(Self { name: "root", ordinary: None, group: group("root", 0)? })
    }

    fn ordinary(ordinary: &'a Ordinary) -> Result<Self> {
        let user = User::from_name(USER)?.context("no ordinary user")?;
        Ok(Self { name: USER, ordinary: Some(ordinary), group: group(USER, user.uid.as_raw())? })
    }

    /// A command line that enters the group, then becomes the user.
    pub(super) fn command(&self, program: &Path) -> Command {
        let inner = match self.ordinary {
            Some(ordinary) => ordinary.command(program),
            None => Command::new(program),
        };
        let mut command = Command::new("/bin/sh");
        let enter = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";
        command.args(["-c", enter]).arg(&self.group).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs a command and writes into the log what it printed.
    pub(super) fn record(&self, command: &mut Command, name: &str) -> Result<Outcome> {
        let begun = Instant::now();
        let outcome = process::record(command, LIMIT)?;
        println!("$ [{}] {name} ({:.0?}, exit {})\n{}", self.name, begun.elapsed(), outcome.code, outcome.text());
        Ok(outcome)
    }
}

/// Makes a control group that belongs to a user, with every controller there is, and in it one for his commands, as systemd
/// does: a group that holds processes can hand out no controllers.
fn group(name: &str, owner: u32) -> Result<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let delegated = top.join(name);
    let commands = delegated.join("commands");
    fs::create_dir_all(&commands)?;
    for group in [top, &delegated] {
        for controller in fs::read_to_string(group.join("cgroup.controllers"))?.split_whitespace() {
            fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    for group in [&delegated, &commands] {
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(group.join(file), Some(owner), Some(owner))?;
        }
    }
    Ok(commands)
}

/// Lets every user come to the repository and the corpus, wherever the host keeps them: this view of the host is ours alone.
fn open_way(battery: &Battery) -> Result<()> {
    let places = battery.tests.iter().map(|test| test.file.as_path()).chain([battery.holdpoint.as_path()]);
    for place in places.chain(battery.corpus.as_ref().map(|(corpus, _)| corpus.as_path())) {
        for above in place.ancestors().skip(1).filter(|above| above.parent().is_some()) {
            let mode = above.metadata()?.permissions().mode();
            if mode & 0o055 != 0o055 {
                fs::set_permissions(above, fs::Permissions::from_mode(mode | 0o055))?;
            }
        }
    }
    Ok(())
}

/// `doctor`, in a workspace.
fn doctor(user: &Login<'_>, holdpoint: &Path) -> Result<Value> {
    let place = tempfile::tempdir_in("/var/tmp")?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777))?;
    let mut doctor = user.command(holdpoint);
    let outcome = user.record(doctor.args(["doctor", "--json"]).current_dir(&place), "doctor")?;
    serde_json::from_str(&outcome.stdout).context("doctor")
}

/// The project's own tests.
fn tests(user: &Login<'_>, binaries: &[Binary]) -> Result<Part> {
    let mut part = Part::new("tests", user);
    for binary in binaries {
        let mut tests = user.command(&binary.file);
        tests.current_dir(&binary.package).env("CARGO_MANIFEST_DIR", &binary.package);
        let outcome = user.record(&mut tests, binary.name())?;
        part.tally += Tally::of(&outcome.text()).ended(outcome.code);
        let failed = outcome.stdout.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        let failed: Vec<_> = failed.map(|test| format!("{}::{test}", binary.name())).collect();
        if outcome.code != 0 && failed.is_empty() {
            part.failed.push(format!("{} did not come to its end", binary.name()));
        }
        part.failed.extend(failed);
    }
    Ok(part)
}

/// The attack corpus, with the adapter of `cargo xtask attacks`. Its runner starts as root and becomes the user itself.
fn corpus(user: &Login<'_>, holdpoint: &Path, at: &Path, classes: &str) -> Result<Part> {
    let mut part = Part::new("corpus", user);
    let runner = Login { name: user.name, ordinary: None, group: user.group.clone() };
    let mut command = runner.command(&std::env::current_exe()?);
    command.args(["attacks", "--class", classes, "--corpus"]).arg(at).arg("--binary").arg(holdpoint);
    if user.ordinary.is_some() {
        command.args(["--user", USER]);
    }
    // Only these are counted; and processors that are emulated need more time for the same attack.
    command.args(["--", "--tier", "core", "--timeout", "120"]);
    let outcome = runner.record(command.current_dir("/"), "corpus")?;
    let (_, summary) = outcome.stdout.split_once(attacks::SUMMARY).unwrap_or_default();
    part.tally = Tally::of(summary).ended(outcome.code);
    part.failed.extend(summary.lines().filter_map(|line| line.strip_prefix(attacks::FAILED)).map(str::to_owned));
    Ok(part)
}
