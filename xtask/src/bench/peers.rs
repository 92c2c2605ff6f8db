//! Where the comparison takes place, Holdpoint, and bubblewrap, with the isolation it can give closest to ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::measure::Subject;

/// Where the comparison takes place.
pub(super) struct Scene {
    /// The `holdpoint` that is measured, if it is one.
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
deny_read_paths = ["**/.env", "**/.env.*"]

[profile.history]
extends = "hidden"
deny_read_git_history = true
"#;

/// What is run where it is about the sandbox alone.
const TRUE: &str = "/bin/true";

impl Scene {
    /// Prepares a directory for the comparison, with what was built if that is compared.
    pub(super) fn new(place: &Path, built: Option<&Path>) -> Result<Self> {
        // As an installation leaves it: the page cache holds a file that was written from end to end in larger pieces than
        // what a linker wrote here and there.
        let binary = place.join("holdpoint");
        if let Some(built) = built {
            fs::copy(built, &binary)?;
        }
        let scene = Self { binary, config: place.join("bench.toml"), place: place.to_owned() };
        fs::write(&scene.config, CONFIG)?;
        fs::create_dir_all(scene.home())?;
        fs::create_dir_all(scene.empty())?;
        Ok(scene)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.place.join("home")
    }

    /// A workspace with nothing in it.
    pub(super) fn empty(&self) -> PathBuf {
        self.place.join("empty")
    }

    pub(super) fn bare() -> Subject {
        Self::bare_of(Path::new(TRUE))
    }

    pub(super) fn bare_of(payload: &Path) -> Subject {
        let payload = payload.to_owned();
        Subject::new("bare exec", move || Command::new(&payload))
    }

    /// `holdpoint run -- /bin/true`, every layer on.
    pub(super) fn holdpoint(&self, profile: &'static str, workspace: &Path) -> Subject {
        self.holdpoint_of(profile, workspace, Path::new(TRUE))
    }

    pub(super) fn holdpoint_of(&self, profile: &'static str, workspace: &Path, payload: &Path) -> Subject {
        let payload = payload.to_owned();
        let (binary, config, home) = (self.binary.clone(), self.config.clone(), self.home());
        let workspace = workspace.to_owned();
        Subject::new("holdpoint run", move || {
            let mut command = Command::new(&binary);
            command.args(["run", "--profile", profile, "--config"]).arg(&config).arg("--workspace").arg(&workspace);
            command.arg("--").arg(&payload);
            command.current_dir(&workspace).env("HOME", &home).env_remove("XDG_STATE_HOME");
            command
        })
    }

    /// bubblewrap with the namespaces and the view that Holdpoint gives; it has no Landlock and, here, no seccomp program.
    pub(super) fn bubblewrap(&self, workspace: &Path, hidden: Vec<PathBuf>) -> Subject {
        self.bubblewrap_of(workspace, hidden, Path::new(TRUE))
    }

    pub(super) fn bubblewrap_of(&self, workspace: &Path, hidden: Vec<PathBuf>, payload: &Path) -> Subject {
        let payload = payload.to_owned();
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
            command.arg("--chdir").arg(&workspace).arg("--").arg(&payload);
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
}
