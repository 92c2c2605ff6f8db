//! The other peers, each with the isolation it can give closest to ours. One that is not installed, or does not start, is
//! skipped by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use super::measure::{self, Subject};
use super::peers::Scene;
use crate::process;
use crate::requirements::find;

/// The denied names, as every tool that finds files by patterns is told them.
const DENIED: [&str; 2] = ["**/.env", "**/.env.*"];

const CODEX: &str = r#"
default_permissions = "bench"

[permissions.bench.filesystem]
":root" = "read"
glob_scan_max_depth = 8

[permissions.bench.filesystem.":workspace_roots"]
"." = "write"
"#;

/// Sorts out those that are here and start; the others by name and with the reason.
pub(super) fn present(peers: Vec<(&str, Result<Subject>)>) -> (Vec<Subject>, Vec<String>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for (program, subject) in peers {
        let refusal = match &subject {
            _ if find(program).is_none() => Some("not installed".to_owned()),
            Ok(subject) => subject.refusal(),
            Err(error) => Some(format!("{error:#}")),
        };
        match (subject, refusal) {
            (Ok(subject), None) => present.push(subject),
            (_, why) => absent.push(format!("{program} ({})", why.unwrap_or_default())),
        }
    }
    (present, absent)
}

impl Scene {
    /// Every peer that runs a command in a sandbox.
    pub(super) fn others(&self) -> Result<(Vec<Subject>, Vec<String>)> {
        let (bundle, empty) = (self.bundle()?, self.empty());
        let mut peers = vec![
            ("crun", self.crun(&bundle)),
            ("runc", Ok(self.engine("runc", &bundle))),
            ("firejail", Ok(self.firejail())),
        ];
        peers.extend(self.agents(&empty, &[])?);
        Ok(present(peers))
    }

    /// The sandboxes of agents, which find denied files by patterns.
    pub(super) fn hiding(&self, workspace: &Path) -> Result<(Vec<Subject>, Vec<String>)> {
        Ok(present(self.agents(workspace, &DENIED)?))
    }

    fn agents(&self, workspace: &Path, denied: &[&str]) -> Result<Vec<(&'static str, Result<Subject>)>> {
        let home = self.codex_home(denied)?;
        // Its patterns are ignored where the older setting is named (openai/codex#22179).
        let mode: &[&str] = if denied.is_empty() { &["-c", "sandbox_mode=\"workspace-write\""] } else { &[] };
        let mode: Vec<String> = mode.iter().map(|&word| word.to_owned()).collect();
        let codex = |program: PathBuf| codex(program, mode.clone(), home.clone(), workspace.to_owned());
        let mut agents = vec![("codex", Ok(codex("codex".into()).called("codex sandbox")))];
        if let Some(native) = find("codex").and_then(|found| without_wrapper(&found)) {
            agents.push(("codex", Ok(codex(native).called("codex sandbox, without its Node.js wrapper"))));
        }
        agents.push(("srt", self.srt(workspace, denied)));
        Ok(agents)
    }

    /// A bundle with the mounts of a plan, made by Holdpoint itself.
    fn bundle(&self) -> Result<PathBuf> {
        let bundle = self.place.join("bundle");
        let mut command = Command::new(&self.binary);
        command
            .args(["bundle", "--allow-missing", "landlock,reserved-names", "--profile", "launch", "--config"])
            .arg(&self.config)
            .arg("--workspace")
            .arg(self.empty());
        command.arg(&bundle).args(["--", "/bin/true"]).current_dir(self.empty()).env("HOME", self.home());
        process::run(command.stderr(Stdio::null())).context("the bundle for the engines")?;
        Ok(bundle)
    }

    fn engine(&self, name: &'static str, bundle: &Path) -> Subject {
        let (bundle, state) = (bundle.to_owned(), self.place.join(format!("{name}-state")));
        let count = AtomicU32::new(0);
        Subject::new(name, move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let mut command = Command::new(name);
            command.arg("--root").arg(&state).arg("run").arg("--bundle").arg(&bundle);
            command.arg(format!("bench-{}-{number}", std::process::id()));
            command
        })
    }

    /// crun refuses where control groups of both versions are mounted, so it sees those of version 2 alone.
    fn crun(&self, bundle: &Path) -> Result<Subject> {
        let unified = Path::new("/sys/fs/cgroup/unified");
        let alone = || measure::namespace(|| bind(unified, Path::new("/sys/fs/cgroup")));
        let within = unified.exists().then(alone).transpose()?;
        let mut crun = self.engine("crun", bundle);
        if within.is_some() {
            let engine = crun.command;
            crun.command = Box::new(move || {
                let mut command = Command::new("crun");
                command.arg("--cgroup-manager=disabled").args(engine().get_args());
                command
            });
        }
        Ok(Subject { within, ..crun })
    }

    fn firejail(&self) -> Subject {
        let workspace = self.empty();
        Subject::new("firejail", move || {
            let mut command = Command::new("firejail");
            command.args(["--quiet", "--noprofile", "--net=none", "--private-tmp", "--read-only=/", "--seccomp"]);
            command.arg(format!("--read-write={}", workspace.display()));
            command.args(["--caps.drop=all", "--nonewprivs", "--", "/bin/true"]);
            command
        })
    }

    /// Codex's own directory, which may not lie in `/tmp`, with a configuration that denies these.
    fn codex_home(&self, denied: &[&str]) -> Result<PathBuf> {
        let home = self.place.join(format!("codex-{}", denied.len()));
        fs::create_dir_all(&home)?;
        if !denied.is_empty() {
            let rules: String = denied.iter().map(|pattern| format!("\"{pattern}\" = \"deny\"\n")).collect();
            fs::write(home.join("config.toml"), format!("{CODEX}{rules}"))?;
        }
        Ok(home)
    }

    fn srt(&self, workspace: &Path, denied: &[&str]) -> Result<Subject> {
        let settings = self.place.join(format!("srt-{}.json", denied.len()));
        let denied: Vec<PathBuf> = denied.iter().map(|pattern| workspace.join(pattern)).collect();
        let text = json!({"network": {"allowedDomains": [], "deniedDomains": []},
            "filesystem": {"denyRead": denied, "allowWrite": [workspace], "denyWrite": []}});
        fs::write(&settings, text.to_string())?;
        let workspace = workspace.to_owned();
        Ok(Subject::new("srt", move || {
            let mut command = Command::new("srt");
            command.arg("-s").arg(&settings).arg("/bin/true").current_dir(&workspace);
            command
        }))
    }
}

fn codex(program: PathBuf, mode: Vec<String>, home: PathBuf, workspace: PathBuf) -> Subject {
    Subject::new("codex", move || {
        let mut command = Command::new(&program);
        command.arg("sandbox").args(&mode).args(["--", "/bin/true"]);
        command.env("CODEX_HOME", &home).current_dir(&workspace);
        command
    })
}

/// The program that npm's `codex` starts, which takes half the time alone.
fn without_wrapper(codex: &Path) -> Option<PathBuf> {
    let script = codex.canonicalize().ok()?;
    let vendors = script.parent()?.parent()?.join("node_modules/@openai");
    let below = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let targets = below(vendors).flat_map(|package| below(package.join("vendor")));
    targets.map(|target| target.join("bin/codex")).find(|program| program.is_file())
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    let nothing = None::<&str>;
    Ok(mount(Some(source), target, nothing, MsFlags::MS_BIND, nothing)?)
}
