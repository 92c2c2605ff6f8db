//! What Holdpoint is compared with, each with the isolation it can give closest to ours. A peer that is not installed is
//! skipped by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::measure::Subject;
use crate::process;
use crate::requirements::find;

/// Where the comparison takes place.
pub(super) struct Scene {
    /// The `holdpoint` that is measured.
    pub binary: PathBuf,
    /// Its configuration; the profiles are `launch` and `hidden`.
    pub config: PathBuf,
    /// A directory of its own for everything.
    pub place: PathBuf,
}

const CONFIG: &str = r#"
[profile.launch]
sandbox = "workspace-write"
approval_policy = "full-auto"

[profile.hidden]
extends = "launch"
deny_read_paths = ["**/.env*"]
"#;

impl Scene {
    /// Prepares a directory for the comparison.
    pub(super) fn new(place: &Path, binary: PathBuf) -> Result<Self> {
        let scene = Self { binary, config: place.join("bench.toml"), place: place.to_owned() };
        fs::write(&scene.config, CONFIG)?;
        fs::create_dir_all(scene.home())?;
        fs::create_dir_all(scene.empty())?;
        Ok(scene)
    }

    fn home(&self) -> PathBuf {
        self.place.join("home")
    }

    /// A workspace with nothing in it.
    pub(super) fn empty(&self) -> PathBuf {
        self.place.join("empty")
    }

    pub(super) fn bare() -> Subject {
        Subject::new("bare exec", || Command::new("/bin/true"))
    }

    /// `holdpoint run -- /bin/true`, every layer on.
    pub(super) fn holdpoint(&self, profile: &'static str, workspace: &Path) -> Subject {
        let (binary, config, home) = (self.binary.clone(), self.config.clone(), self.home());
        let workspace = workspace.to_owned();
        Subject::new("holdpoint run", move || {
            let mut command = Command::new(&binary);
            command.args(["run", "--profile", profile, "--config"]).arg(&config).arg("--workspace").arg(&workspace);
            command.args(["--", "/bin/true"]).current_dir(&workspace).env("HOME", &home).env_remove("XDG_STATE_HOME");
            command
        })
    }

    /// bubblewrap with the namespaces and the view that Holdpoint gives; it has no Landlock and, here, no seccomp program.
    pub(super) fn bubblewrap(&self, workspace: &Path, hidden: Vec<PathBuf>) -> Subject {
        let (workspace, home) = (workspace.to_owned(), self.home());
        Subject::new("bubblewrap", move || {
            let mut command = Command::new("bwrap");
            command.args(["--unshare-all", "--die-with-parent", "--new-session", "--hostname", "bench"]);
            for directory in ["/usr", "/etc", "/opt"] {
                command.args(["--ro-bind-try", directory, directory]);
            }
            for directory in ["/bin", "/sbin", "/lib", "/lib32", "/lib64"] {
                match fs::read_link(directory) {
                    Ok(target) => command.arg("--symlink").arg(target).arg(directory),
                    Err(_) => command.args(["--ro-bind-try", directory, directory]),
                };
            }
            command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs"]).arg(&home);
            command.arg("--bind").arg(&workspace).arg(&workspace);
            for file in &hidden {
                command.args(["--ro-bind", "/dev/null"]).arg(file);
            }
            command.arg("--chdir").arg(&workspace).args(["--", "/bin/true"]);
            command
        })
    }

    /// The whole of the host's view, as bubblewrap is mostly called: nothing to make but a bind.
    pub(super) fn bubblewrap_whole(&self) -> Subject {
        let workspace = self.empty();
        Subject::new("bubblewrap, whole host read-only", move || {
            let mut command = Command::new("bwrap");
            command
                .args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--bind"])
                .arg(&workspace)
                .arg(&workspace);
            command.args(["--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev", "/bin/true"]);
            command
        })
    }

    /// Every other peer that is here and starts, and the names of those that are not or do not.
    pub(super) fn others(&self) -> Result<(Vec<Subject>, Vec<String>)> {
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        let bundle = self.bundle()?;
        for (program, subject) in [
            ("crun", self.engine("crun", "crun", &bundle)),
            ("runc", self.engine("runc", "runc", &bundle)),
            ("firejail", self.firejail()),
            ("codex", self.codex()?),
            ("srt", self.srt()?),
        ] {
            if find(program).is_none() {
                absent.push(format!("{program} (not installed)"));
            } else if subject.runs() {
                present.push(subject);
            } else {
                absent.push(format!("{program} (does not start here)"));
            }
        }
        Ok((present, absent))
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
        process::run(command.stderr(std::process::Stdio::null())).context("the bundle for the engines")?;
        Ok(bundle)
    }

    fn engine(&self, name: &'static str, program: &'static str, bundle: &Path) -> Subject {
        let (bundle, state) = (bundle.to_owned(), self.place.join(format!("{name}-state")));
        let count = std::cell::Cell::new(0);
        Subject::new(name, move || {
            count.set(count.get() + 1);
            let mut command = Command::new(program);
            command.arg("--root").arg(&state).arg("run").arg("--bundle").arg(&bundle);
            command.arg(format!("bench-{}-{}", std::process::id(), count.get()));
            command
        })
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

    fn codex(&self) -> Result<Subject> {
        let (home, workspace) = (self.place.join("codex"), self.empty());
        fs::create_dir_all(&home)?;
        Ok(Subject::new("codex sandbox", move || {
            let mut command = Command::new("codex");
            command.args(["sandbox", "-c", "sandbox_mode=\"workspace-write\"", "--", "/bin/true"]);
            command.env("CODEX_HOME", &home).current_dir(&workspace);
            command
        }))
    }

    fn srt(&self) -> Result<Subject> {
        let (settings, workspace) = (self.place.join("srt.json"), self.empty());
        let text = json!({"network": {"allowedDomains": [], "deniedDomains": []},
            "filesystem": {"denyRead": [], "allowWrite": [workspace], "denyWrite": []}});
        fs::write(&settings, text.to_string())?;
        Ok(Subject::new("srt", move || {
            let mut command = Command::new("srt");
            command.arg("-s").arg(&settings).arg("/bin/true").current_dir(&workspace);
            command
        }))
    }
}
