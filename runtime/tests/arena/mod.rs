//! A place to attack: a workspace with secrets and protected names, a home and an outside with victims, and two ways to
//! run an attack in it: bare, where it must succeed, and in a sandbox, where it must not: with namespaces and without.

#![allow(dead_code, reason = "each test file uses its own part of the arena")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdpoint_runtime::{Access, Builder, Sandbox};

pub(crate) mod hosts;
pub(crate) mod kernel;

pub(crate) use hosts::Host;

/// What no attack may print: the start of every secret.
pub(crate) const CANARY: &str = "CANARY-";
/// The first line of every attack's output: without it an attack that never ran would count as held off.
const RAN: &str = "RAN";
/// Seconds after which a script hangs, on a processor that is emulated too.
const PATIENCE: &str = "600";
/// What stays hidden.
pub(crate) const DENIED: [&str; 6] =
    ["**/.env*", "**/secrets/**", "**/*token*", "**/*credential*", "**/railway.json", "**/.railway/**"];

/// One fresh set of directories. Everything goes when it is dropped.
pub(crate) struct Arena {
    _directory: tempfile::TempDir,
    pub(crate) home: PathBuf,
    pub(crate) workspace: PathBuf,
    pub(crate) outside: PathBuf,
}

impl Arena {
    pub(crate) fn new() -> Arena {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let arena = Arena {
            _directory: directory,
            home: root.join("home"),
            workspace: root.join("home/work"),
            outside: root.join("outside"),
        };
        for (path, text) in [
            ("home/.ssh/id_rsa", "CANARY-SSH"),
            ("home/.aws/credentials", "CANARY-AWS"),
            ("home/.bashrc", "untouched"),
            ("outside/secret.txt", "CANARY-OUTSIDE"),
            ("outside/victim.txt", "untouched"),
            ("outside/dir/file", "untouched"),
            ("home/work/README.md", "public"),
            ("home/work/src/main.rs", "fn main() {}"),
            ("home/work/.env", "KEY=CANARY-ENV"),
            ("home/work/.env.production", "KEY=CANARY-PRODUCTION"),
            ("home/work/secrets/prod.key", "CANARY-SECRETS"),
            ("home/work/config/api_TOKEN.txt", "CANARY-TOKEN"),
            ("home/work/config/app.toml", "debug = false"),
            ("home/work/railway.json", "CANARY-RAILWAY"),
            ("home/work/target/ignored/.env", "CANARY-IGNORED"),
            ("home/work/.hidden/deep/credentials.json", "CANARY-HIDDEN"),
            ("home/work/.gitignore", "target\n.env\n"),
            ("home/work/AGENTS.md", "untouched"),
            ("home/work/docs/AGENTS.md", "untouched"),
            ("home/work/.codex/config.toml", "untouched"),
            ("home/work/.vscode/settings.json", "untouched"),
            ("home/work/.holdpoint/config.toml", "untouched"),
        ] {
            write(&root.join(path), text);
        }
        let deep = root.join("home/work").join("d/".repeat(60));
        write(&deep.join(".env"), "CANARY-DEEP");
        fs::create_dir(root.join("home/work/data")).unwrap();
        fs::hard_link(root.join("home/work/.env"), root.join("home/work/data/innocent.txt")).unwrap();
        fs::hard_link(root.join("home/work/secrets/prod.key"), root.join("home/work/data/also.txt")).unwrap();
        symlink(".env", root.join("home/work/link-to-env")).unwrap();
        symlink("../.ssh/id_rsa", root.join("home/work/link-to-ssh")).unwrap();
        symlink(root.join("outside"), root.join("home/work/link-outside")).unwrap();
        for repository in ["", "vendor/sub"] {
            // As `git init` makes it, without the time that takes.
            let git = arena.workspace.join(repository).join(".git");
            fs::create_dir_all(git.join("objects")).unwrap();
            fs::create_dir_all(git.join("refs/heads")).unwrap();
            write(&git.join("HEAD"), "ref: refs/heads/main\n");
            write(&git.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n");
            write(&git.join("hooks/README"), "untouched");
        }
        arena
    }

    /// Runs git outside, without the user's own configuration.
    pub(crate) fn git(&self, tree: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "init.defaultBranch=main",
                "-c",
                "safe.directory=*",
            ])
            .args(arguments)
            .current_dir(tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {text}");
        text
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.workspace.join(relative)
    }

    /// The sandbox of these tests: the workspace writable, the secrets denied, a private home.
    pub(crate) fn builder(&self) -> Builder {
        let mut builder = Sandbox::builder();
        builder.system().home(&self.home).workspace(&self.workspace, Access::ReadWrite);
        for pattern in DENIED {
            builder.deny_read(pattern);
        }
        builder
    }

    pub(crate) fn start(&self) -> Sandbox {
        self.start_on(Host::Plain)
    }

    pub(crate) fn start_on(&self, host: Host) -> Sandbox {
        host.start(&mut self.builder()).unwrap_or_else(|error| panic!("the sandbox does not start: {error:?}"))
    }

    /// Runs a script in this arena without any sandbox; what it prints.
    pub(crate) fn bare(&self, script: &str) -> String {
        let output = Command::new("timeout")
            .args([PATIENCE, "bash", "-c", &prepared(script)])
            .current_dir(&self.workspace)
            .env_clear()
            .envs(self.environment())
            .output()
            .unwrap();
        ran(&output.stdout, &output.stderr)
    }

    /// Runs a script in a sandbox; what it prints. Panics when it did not run at all.
    pub(crate) fn inside(&self, sandbox: &Sandbox, script: &str) -> String {
        let mut command = sandbox.command("timeout");
        command.args([PATIENCE, "bash", "-c", &prepared(script)]).current_dir(&self.workspace).envs(self.environment());
        let output = command.output().unwrap_or_else(|error| panic!("the attack does not start: {error:?}"));
        ran(&output.stdout, &output.stderr)
    }

    fn environment(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("LC_ALL", "C".into()),
            ("HOME", self.home.clone()),
            ("WS", self.workspace.clone()),
            ("OUT", self.outside.clone()),
        ]
    }

    /// Builds the attacks that need system calls no shell makes, into the workspace.
    pub(crate) fn build_syscall_attacks(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arena/syscalls.c");
        let status =
            Command::new("cc").args(["-O1", "-w", "-pthread", "-o"]).arg(self.path("attack")).arg(source).status();
        assert!(status.unwrap().success(), "cc builds tests/arena/syscalls.c");
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// Names directly in the workspace that are there now.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.workspace)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// An attack that shows in what it prints: bare it gives away a secret, inside it does not.
#[track_caller]
pub(crate) fn gives_away_nothing(script: &str) {
    shows_nothing_of(script, |output, _| output.contains(CANARY));
}

/// An attack that shows in `escaped`, which looks from outside at the arena and at what was printed.
#[track_caller]
pub(crate) fn shows_nothing_of(script: &str, escaped: impl Fn(&str, &Arena) -> bool) {
    let arena = Arena::new();
    if script.contains("./attack") {
        arena.build_syscall_attacks();
    }
    let output = arena.bare(script);
    assert!(escaped(&output, &arena), "the attack fails without a sandbox, so it proves nothing:\n{output}");

    for &host in Host::possible() {
        let arena = Arena::new();
        if script.contains("./attack") {
            arena.build_syscall_attacks();
        }
        let sandbox = arena.start_on(host);
        let output = arena.inside(&sandbox, script);
        drop(sandbox);
        assert!(!escaped(&output, &arena), "the attack escapes on {host:?}:\n{output}");
    }
}

/// An attack on something outside or protected that has to stay as it is: `path` is relative to the arena's home.
#[track_caller]
pub(crate) fn leaves_untouched(script: &str, looks: impl Fn(&Arena) -> String) {
    let before = looks(&Arena::new());
    shows_nothing_of(script, |_, arena| looks(arena) != before);
}

fn prepared(script: &str) -> String {
    format!("echo {RAN}; exec 2>&1; {script}")
}

fn ran(stdout: &[u8], stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdout).into_owned() + &String::from_utf8_lossy(stderr);
    assert!(text.starts_with(RAN), "the attack did not run: {text}");
    text
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
