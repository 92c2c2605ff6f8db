//! Ways to have git, or what it is like, run something outside later: by what its configuration and its hooks lead to, and by
//! directories that it takes for repositories. Each is shown to work without a sandbox, and to fail in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use arena::{Arena, write};

/// Files that are appended to without a sandbox, and stay as they are in one.
#[track_caller]
fn kept(files: &[&str], build: impl Fn(&Arena)) {
    let script: String =
        files.iter().map(|file| format!("mkdir -p $(dirname {file}); echo evil >> {file}; ")).collect();
    let changed = |arena: &Arena| files.iter().filter(|file| arena.read(file).contains("evil")).count();
    for sandboxed in [false, true] {
        let arena = Arena::new();
        build(&arena);
        let output = if sandboxed { arena.inside(&arena.start(), &script) } else { arena.bare(&script) };
        assert_eq!(changed(&arena), if sandboxed { 0 } else { files.len() }, "{files:?}: {output}");
    }
}

#[test]
fn what_links_in_protected_directories_lead_to() {
    let files = ["tools/pre-commit.sh", "dot/settings.json", "skills/one.md", "editor/tasks.json", "far/rules.md"];
    kept(&files, |arena| {
        for file in files {
            write(&arena.path(file), "harmless");
        }
        for directory in [".git/hooks", ".claude/deeper", ".vscode", "commands", "sub/.gemini"] {
            fs::create_dir_all(arena.path(directory)).unwrap();
        }
        for (link, target) in [
            (".git/hooks/pre-commit", "../../tools/pre-commit.sh"),
            (".claude/settings.json", "../dot/settings.json"),
            (".claude/deeper/skills", "../../skills"),
            (".claude/commands", "../commands"),
            ("commands/rules.md", "../far/rules.md"),
            ("sub/.gemini/loop", "../.gemini"),
            (".vscode/tasks.json", "../editor/tasks.json"),
        ] {
            symlink(target, arena.path(link)).unwrap();
        }
    });
}

#[test]
fn what_commands_in_a_configuration_name() {
    let executable = ["tools/clean.sh", "tools/smudge.sh", "tools/merge.sh", "tools/update.sh"];
    kept(&[&executable[..], &["tools/conv.py", "absent/driver", "top-level"]].concat(), |arena| {
        for file in [&executable[..], &["tools/conv.py", "top-level"]].concat() {
            write(&arena.path(file), "harmless");
        }
        for file in executable {
            fs::set_permissions(arena.path(file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (key, value) in [
            ("filter.x.clean", "./tools/clean.sh %f"),
            ("diff.x.textconv", "python3 \"tools/conv.py\" --quiet"),
            ("merge.x.driver", "absent/driver %O"),
            ("alias.x", "!sh top-level"),
            ("filter.x.smudge", "\"$(git rev-parse --show-toplevel)/tools/smudge.sh\""),
            ("mergetool.x.path", "tools/merge.sh"),
            ("submodule.x.update", "!cd tools && ./update.sh"),
        ] {
            arena.git(&arena.workspace, &["config", key, value]);
        }
    });
}

/// A word is no program because there is a file of that name.
#[test]
fn what_only_looks_like_a_program_can_be_changed() {
    let files = ["CHANGELOG.md", "code", "store", "less", "notes.txt", "package.json", ".gitignore"];
    let arena = Arena::new();
    for file in files {
        write(&arena.path(file), "");
    }
    for (key, value) in [
        ("alias.cl", "log -- CHANGELOG.md"),
        ("alias.show", "!cat package.json notes.txt"),
        ("alias.ignore", "!f() { echo \"$1\" >> .gitignore; }; f"),
        ("core.editor", "code --wait"),
        ("core.pager", "less -R"),
        ("credential.helper", "store"),
    ] {
        arena.git(&arena.workspace, &["config", key, value]);
    }
    let script: String = files.iter().map(|file| format!("echo changed >> {file}; ")).collect();
    let output = arena.inside(&arena.start(), &script);
    for file in files {
        assert!(arena.read(file).contains("changed"), "{file}: {output}");
    }
}

#[test]
fn the_scripts_beside_the_hooks_of_husky() {
    kept(&[".husky/pre-commit", ".husky/_/pre-commit"], |arena| {
        write(&arena.path(".husky/pre-commit"), "npm test");
        write(&arena.path(".husky/_/pre-commit"), "sh .husky/pre-commit");
        arena.git(&arena.workspace, &["config", "core.hooksPath", ".husky/_"]);
    });
}

#[test]
fn what_other_version_control_runs() {
    kept(&[".hg/hgrc", ".hg/hgrc-not-shared", ".hg/requires", ".hg/sharedpath", ".jj/repo/config.toml"], |arena| {
        write(&arena.path(".hg/requires"), "");
        write(&arena.path(".jj/repo/config.toml"), "");
    });
}

/// With `commondir` beside `HEAD` the other parts of a repository lie wherever that says.
#[test]
fn a_workspace_that_becomes_a_repository_with_its_parts_elsewhere() {
    let script = "mv .git/HEAD .git/HEAD.old; mkdir -p x/objects x/refs; cp .git/index index
        printf '[core]\\nrepositoryformatversion = 1\\nfsmonitor = \"touch ran-outside; false\"\\n' > x/config
        printf '[extensions]\\nworktreeConfig = true\\n' >> x/config
        printf '[core]\\nbare = false\\nworktree = %s\\n' \"$PWD\" > config.worktree
        echo 'ref: refs/heads/master' > HEAD; echo x > commondir";
    for sandboxed in [false, true] {
        let arena = Arena::new();
        if sandboxed {
            arena.inside(&arena.start(), script);
        } else {
            arena.bare(script);
        }
        let mut status = Command::new("git");
        status.args(["-c", "safe.directory=*", "status"]).current_dir(&arena.workspace).output().unwrap();
        assert_eq!(arena.path("ran-outside").exists(), !sandboxed);
    }
}

/// What cannot be read for a moment is not taken for what says nothing.
#[test]
fn a_configuration_that_somebody_holds() {
    let arena = Arena::new();
    write(&arena.path(".githooks/pre-commit"), "");
    arena.git(&arena.workspace, &["config", "core.hooksPath", ".githooks"]);
    let hold =
        "import fcntl, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); file = open(sys.argv[1], \"r+\")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK); print(flush=True); sys.stdin.read()";
    let mut holder = Command::new("python3");
    holder.args(["-c", hold]).arg(arena.path(".git/config")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    assert_eq!(holder.stdout.take().unwrap().read(&mut [0]).unwrap(), 1, "no lease is given");
    let refused = arena.builder().start().map(drop).unwrap_err().to_string();
    assert!(refused.contains(".git/config"), "{refused}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(arena.inside(&arena.start(), "echo evil > .githooks/pre-commit").contains("Read-only"));
}
