//! The tests that touch the kernel, once more as an ordinary user: what root may do proves nothing for anybody else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::tally::Tally;
use crate::tree::Build;
use crate::{process, tree};

/// The user the tests run as; every Debian system has it and it owns nothing.
pub(crate) const USER: &str = "nobody";

/// The packages whose tests depend on who runs them.
const PACKAGES: [&str; 2] = ["holdpoint-runtime", "holdpoint"];

/// A compiled set of tests.
#[derive(Serialize, Deserialize)]
pub(crate) struct Binary {
    /// The program.
    pub(crate) file: PathBuf,
    /// The directory of the package it tests.
    pub(crate) package: PathBuf,
}

impl Binary {
    /// The test file it was built from, or the crate: Cargo puts a hash behind either.
    pub(crate) fn name(&self) -> &str {
        let file = self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.rsplit_once('-').map_or(file, |(name, _)| name)
    }
}

/// The user, and a place of its own.
pub(crate) struct Ordinary {
    user: User,
    /// For what is built or copied.
    place: TempDir,
    /// For what the tests make.
    scratch: TempDir,
}

impl Ordinary {
    /// Makes the place; to be called as root.
    pub(crate) fn new() -> Result<Self> {
        let user = User::from_name(USER)?.with_context(|| format!("this system has no user {USER}"))?;
        let open = |directory: &Path| fs::set_permissions(directory, fs::Permissions::from_mode(0o755));
        let place = tempfile::Builder::new().prefix("holdpoint-user-").tempdir_in("/var/tmp")?;
        let scratch = tempfile::Builder::new().prefix("holdpoint-user-").tempdir()?;
        open(place.path())?;
        fs::create_dir(scratch.path().join("tmp"))?;
        for directory in [scratch.path(), &scratch.path().join("tmp")] {
            open(directory)?;
            chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(Self { user, place, scratch })
    }

    /// Runs the tests of the crates that touch the kernel.
    pub(crate) fn tests(&self) -> Result<Tally> {
        let root = reachable_root(self.place.path())?;
        let mut sum = Tally::default();
        for binary in build(&root)? {
            let mut tests = self.command(&binary.file);
            tests.current_dir(&binary.package).env("CARGO_MANIFEST_DIR", &binary.package);
            let outcome = process::tee(&mut tests)?;
            sum += Tally::of(&outcome.text()).ended(outcome.code);
        }
        Ok(sum)
    }

    /// Replays the incident.
    pub(crate) fn replay(&self) -> Result<Tally> {
        let (xtask, holdpoint) = (self.place.path().join("xtask"), self.place.path().join("holdpoint"));
        // By this name even when the tests have built another one in its place.
        fs::copy("/proc/self/exe", &xtask)?;
        fs::copy(tree::holdpoint(Build::Dev)?, &holdpoint)?;
        let mut replay = self.command(&xtask);
        let outcome =
            process::tee(replay.args(["replay", "--binary"]).arg(&holdpoint).current_dir(self.scratch.path()))?;
        Ok(Tally::of(&outcome.text()).ended(outcome.code))
    }

    /// A command line that becomes the user first, with a home directory and a temporary directory of its own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.user.uid)).arg(format!("--regid={}", self.user.gid));
        command.args(["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"]).arg(program);
        let scratch = self.scratch.path();
        command.env("HOME", scratch).env("TMPDIR", scratch.join("tmp")).env("USER", USER).env("LOGNAME", USER);
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command
    }
}

/// This repository when the user can read it, else a copy in a place where it can: tests name their files absolutely.
fn reachable_root(place: &Path) -> Result<PathBuf> {
    let root = tree::root();
    let probes = [root.join("Cargo.toml"), tree::target()?.join("debug/holdpoint")];
    let readable = |file: &PathBuf| {
        let mut test = Command::new("setpriv");
        test.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups", "--", "test", "-r"]).arg(file);
        test.status().is_ok_and(|status| status.success())
    };
    if probes.iter().all(readable) {
        return Ok(root);
    }
    println!("{USER} cannot read {}: testing a copy in {}", root.display(), place.display());
    let copy = place.join("source");
    fs::create_dir(&copy)?;
    let mut list = Command::new("git");
    let list = list
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()?;
    for name in list.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name)?;
        let (from, to) = (root.join(name), copy.join(name));
        if from.is_file() {
            fs::create_dir_all(to.parent().context("a file without a directory")?)?;
            fs::copy(&from, &to)?;
        }
    }
    Ok(copy)
}

/// Compiles the tests of the packages and lists what was compiled.
pub(crate) fn build(root: &Path) -> Result<Vec<Binary>> {
    let mut cargo = tree::cargo();
    cargo.current_dir(root).args(["test", "--no-run", "--quiet", "--message-format", "json"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if root != tree::root() {
        // Wherever the caller builds, a copy is built where the user can reach it.
        cargo.env("CARGO_TARGET_DIR", root.join("target"));
    }
    let output = cargo.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let mut binaries = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let is_test = message["profile"]["test"].as_bool().unwrap_or(false);
        if let (true, Some(file), Some(manifest)) =
            (is_test, message["executable"].as_str(), message["manifest_path"].as_str())
        {
            let package = Path::new(manifest).parent().unwrap_or(root).to_owned();
            binaries.push(Binary { file: file.into(), package });
        }
    }
    if binaries.is_empty() { bail!("cargo named no compiled tests") } else { Ok(binaries) }
}
