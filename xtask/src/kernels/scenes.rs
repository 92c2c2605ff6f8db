//! One command, bare and in each mode of the sandbox: it tries everything it should not be able to do, and says what worked.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::guest::{Login, Part};

/// What `holdpoint` says when a protection cannot be enforced (`cli/src/exit.rs`).
const UNAVAILABLE: i32 = 69;

const CONFIG: &str = "
[profile.scene]
sandbox = 'workspace-write'
approval_policy = 'full-auto'
deny_read_paths = ['**/.env*']
";

/// Prints a word for each thing that worked. A secret comes while it runs, where it could say that it is ready for one; after so
/// many tries to read it, a mask had the time to be there.
const SCRIPT: &str = "
exec 2>/dev/null
cat given >/dev/null && echo read
[ -n \"$(cat .env)\" ] && echo secret
echo x >../outside/made && echo outside
bash -c \": </dev/tcp/127.0.0.1/$0\" && echo connect
echo x >made && echo write || exit 0
until [ -e .env.late ]; do :; done
left=$1
while [ \"$left\" -gt 0 ] && [ -n \"$(cat .env.late)\" ]; do left=$((left - 1)); done
[ \"$left\" -gt 0 ] || echo late
";

/// A way to run the script.
struct Scene {
    name: &'static str,
    /// The mode of the sandbox; the script runs bare without one.
    mode: Option<&'static str>,
    strict: bool,
    /// How often the late secret is tried.
    tries: u32,
    /// What works then; `None` for a mode that every kernel is refused.
    works: Option<&'static str>,
}

const fn scene(name: &'static str, mode: Option<&'static str>, works: Option<&'static str>) -> Scene {
    Scene { name, mode, strict: false, tries: 30, works }
}

const SCENES: [Scene; 5] = [
    scene("bare", None, Some("read secret outside connect write late")),
    scene("read-only", Some("read-only"), Some("read")),
    scene("workspace-write", Some("workspace-write"), Some("read write")),
    scene("workspace-write-and-net", Some("workspace-write-and-net"), None),
    Scene { strict: true, tries: 1, ..scene("deny_read_strict", Some("workspace-write"), Some("read write")) },
];

/// Runs the scenes as a user. The second value is why Holdpoint refuses this kernel, when it does; that is right where nothing ran.
pub(super) fn play(user: &Login<'_>, holdpoint: &Path) -> Result<(Part, Option<String>)> {
    let mut part = Part::new("scenes", user);
    let mut refused = None;
    for scene in &SCENES {
        let (worked, refusal) = scene.play(user, holdpoint)?;
        part.check(scene.name, if refusal.is_some() { worked.is_empty() } else { scene.works == Some(&worked) });
        refused = refused.or(refusal.filter(|_| scene.works.is_some()));
    }
    Ok((part, refused))
}

impl Scene {
    /// What worked, and why nothing was tried when Holdpoint refused.
    fn play(&self, user: &Login<'_>, holdpoint: &Path) -> Result<(String, Option<String>)> {
        let place = tempfile::tempdir_in("/var/tmp")?;
        let (workspace, config) = (place.path().join("workspace"), place.path().join("config.toml"));
        for directory in [place.path(), &workspace, &place.path().join("outside")] {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777))?;
        }
        for secret in ["workspace/given", "workspace/.env", "late"] {
            fs::write(place.path().join(secret), "CANARY")?;
        }
        fs::write(&config, format!("{CONFIG}deny_read_strict = {}\n", self.strict))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, tries) = (listener.local_addr()?.port().to_string(), self.tries.to_string());
        let script = ["-c", SCRIPT, &port, &tries];
        let mut command = match self.mode {
            None => user.command(Path::new("/bin/sh")),
            Some(mode) => {
                let mut run = user.command(holdpoint);
                run.args(["run", "--profile", "scene", "--sandbox", mode, "--config"]).arg(&config);
                run.arg("--workspace").arg(&workspace).args(["--", "/bin/sh"]);
                run
            }
        };
        command.args(script).current_dir(&workspace);
        let over = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                while !workspace.join("made").exists() && !over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                }
                fs::rename(place.path().join("late"), workspace.join(".env.late"))
            });
            let outcome = user.record(&mut command, self.name);
            over.store(true, Ordering::Relaxed);
            outcome
        })?;
        let worked = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let refused = (self.mode.is_some() && outcome.code == UNAVAILABLE).then(|| outcome.stderr.trim().to_owned());
        Ok((worked, refused))
    }
}
