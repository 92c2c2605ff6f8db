//! Inside a machine: the battery, as root and as an ordinary user, each in a control group of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ordinary::{Binary, Ordinary, USER};
use crate::process::{self, Outcome};
use crate::tally::Tally;

/// The files through which host and machine talk.
pub(crate) const BATTERY: &str = "battery.json";
pub(crate) const RESULTS: &str = "results.json";
pub(crate) const START: &str = "start.sh";

/// The longest that one part may take.
const LIMIT: Duration = Duration::from_mins(60);

/// What `holdpoint` says when a protection cannot be enforced (`cli/src/exit.rs`).
const UNAVAILABLE: i32 = 69;

/// What is run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Battery {
    /// The static binary.
    pub(crate) holdpoint: PathBuf,
    /// The project's own tests, compiled.
    pub(crate) tests: Vec<Binary>,
    /// An attack corpus.
    pub(crate) corpus: Option<PathBuf>,
}

/// What was found on a kernel.
#[derive(Serialize, Deserialize)]
pub(crate) struct Findings {
    /// What `doctor` says of Landlock.
    pub(crate) landlock: String,
    /// What `doctor` says of the control group.
    pub(crate) cgroup: String,
    /// Why Holdpoint refuses this kernel, when it does.
    pub(crate) refused: Option<String>,
    /// One for each part and user.
    pub(crate) parts: Vec<Part>,
}

/// What came of one part of the battery for one user.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) tally: Tally,
}

/// Options of `cargo xtask kernels-guest`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The directory shared with the host.
    results: PathBuf,
}

/// Runs the battery and writes down what was found.
pub(crate) fn main(options: &Options) -> Result<bool> {
    let battery: Battery = serde_json::from_slice(&fs::read(options.results.join(BATTERY))?)?;
    open_way(&battery)?;
    let ordinary = Ordinary::new()?;
    let users = [Login::root()?, Login::ordinary(&ordinary)?];
    let report = users[0].run(Path::new(&battery.holdpoint), &["doctor", "--json"])?;
    let report: Value = serde_json::from_str(&report.stdout).context("doctor")?;
    let mut findings = Findings {
        landlock: detail(&report, "landlock"),
        cgroup: detail(&report, "cgroup-delegation"),
        refused: None,
        parts: Vec::new(),
    };
    for user in &users {
        let (tally, refused) = smoke(user, &battery.holdpoint)?;
        findings.refused = findings.refused.or(refused);
        findings.note("smoke", user, tally);
    }
    if findings.refused.is_none() {
        for user in &users {
            let tests = tests(user, &battery.tests)?;
            findings.note("tests", user, tests);
        }
        if let Some(corpus) = &battery.corpus {
            for user in &users {
                let attacks = attacks(user, &battery.holdpoint, corpus)?;
                findings.note("corpus", user, attacks);
            }
        }
    }
    fs::write(options.results.join(RESULTS), serde_json::to_vec_pretty(&findings)?)?;
    Ok(true)
}

impl Findings {
    fn note(&mut self, name: &str, user: &Login, tally: Tally) {
        println!("{name} as {}: {tally}", user.name);
        self.parts.push(Part { name: name.to_owned(), user: user.name.to_owned(), tally });
    }
}

/// Whoever runs a part, with a control group that is delegated to him.
struct Login<'a> {
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
    fn command(&self, program: &Path) -> Command {
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

    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Outcome> {
        let outcome = process::record(self.command(program).args(arguments).current_dir("/"), LIMIT)?;
        println!("$ [{}] {} {}", self.name, program.display(), arguments.join(" "));
        println!("{}", outcome.text());
        Ok(outcome)
    }
}

/// Makes a control group that belongs to a user, with every controller there is.
fn group(name: &str, owner: u32) -> Result<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(top.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        fs::write(top.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    let group = top.join(name);
    fs::create_dir(&group)?;
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(group.join(file), Some(owner), Some(owner))?;
    }
    Ok(group)
}

/// Lets every user come to the repository and the corpus, wherever the host keeps them: this view of the host is ours alone.
fn open_way(battery: &Battery) -> Result<()> {
    let places = battery.tests.iter().map(|test| test.file.as_path()).chain([battery.holdpoint.as_path()]);
    for place in places.chain(battery.corpus.as_deref()) {
        for above in place.ancestors().skip(1).filter(|above| above.parent().is_some()) {
            let mode = above.metadata()?.permissions().mode();
            if mode & 0o055 != 0o055 {
                fs::set_permissions(above, fs::Permissions::from_mode(mode | 0o055))?;
            }
        }
    }
    Ok(())
}

fn detail(report: &Value, name: &str) -> String {
    let findings = report["findings"].as_array().into_iter().flatten();
    let detail = findings.filter(|finding| finding["name"] == name).find_map(|finding| finding["detail"].as_str());
    detail.unwrap_or("not reported").to_owned()
}

/// One command in a workspace of its own: it can write there and nowhere else. A refusal is right when nothing ran.
fn smoke(user: &Login<'_>, holdpoint: &Path) -> Result<(Tally, Option<String>)> {
    let place = tempfile::tempdir_in("/var/tmp")?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777))?;
    let workspace = place.path().to_string_lossy();
    let script = "echo ran >inside; echo ran >/var/tmp/outside; echo ran >/etc/outside; cat inside";
    let run = ["run", "--approval", "full-auto", "--workspace", &workspace, "--", "/bin/sh", "-c", script];
    let outcome = user.run(holdpoint, &run)?;
    let wrote = place.path().join("inside").exists();
    let escaped = ["/var/tmp/outside", "/etc/outside"].iter().any(|file| Path::new(file).exists());
    let refused = (outcome.code == UNAVAILABLE).then(|| outcome.stderr.trim().to_owned());
    let good = !escaped && if refused.is_some() { !wrote } else { outcome.code == 0 && wrote };
    Ok((Tally::one(good), refused))
}

/// The project's own tests.
fn tests(user: &Login<'_>, binaries: &[Binary]) -> Result<Tally> {
    let mut sum = Tally::default();
    for binary in binaries {
        let mut tests = user.command(&binary.file);
        tests.current_dir(&binary.package).env("CARGO_MANIFEST_DIR", &binary.package);
        let begun = Instant::now();
        let outcome = process::record(&mut tests, LIMIT)?;
        println!("$ [{}] {} ({:.0?})\n{}", user.name, binary.file.display(), begun.elapsed(), outcome.text());
        sum += Tally::of(&outcome.text()).ended(outcome.code);
    }
    Ok(sum)
}

/// The attack corpus, with the adapter of `cargo xtask attacks`. Its runner starts as root and becomes the user itself.
fn attacks(user: &Login<'_>, holdpoint: &Path, corpus: &Path) -> Result<Tally> {
    let runner = Login { name: user.name, ordinary: None, group: user.group.clone() };
    let (xtask, corpus) = (std::env::current_exe()?, corpus.to_string_lossy());
    let binary = holdpoint.to_string_lossy();
    let mut arguments = vec!["attacks", "--corpus", &corpus, "--binary", &binary];
    if user.ordinary.is_some() {
        arguments.extend(["--user", USER]);
    }
    let outcome = runner.run(&xtask, &arguments)?;
    let counts = outcome.stdout.rsplit("core cases and controls:").next().unwrap_or_default();
    Ok(Tally::of(counts).ended(outcome.code))
}
