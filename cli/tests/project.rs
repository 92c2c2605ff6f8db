//! A project's own files, and commands inside that try to make something else of them for the next run.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use support::{Done, Machine, finish, json};

const DENIES: &str = "
[profile.default]
approval_policy = \"full-auto\"
deny_read_paths = [\"**/.env*\", \"**/secrets/**\"]
";

fn git(machine: &Machine, dir: &str) {
    fs::create_dir_all(machine.workspace().join(dir).join(".git")).expect("mkdir");
    fs::write(machine.workspace().join(dir).join(".git/HEAD"), "ref: refs/heads/main\n").expect("write");
}

/// `holdpoint` started in a directory of the workspace.
fn from(machine: &Machine, dir: &str, args: &[&str]) -> Done {
    let mut command = machine.command(args);
    command.current_dir(machine.workspace().join(dir));
    finish(command.spawn().expect("it starts"))
}

fn run_from(machine: &Machine, dir: &str, script: &str) -> Done {
    from(machine, dir, &["run", "--", "sh", "-c", script])
}

#[test]
fn a_link_made_inside_has_nothing_read_that_cannot_be_read_there() {
    let machine = Machine::with(DENIES);
    git(&machine, ".");
    machine.file(".env", "PASSWORD=hunter2\n");
    machine.file("secrets/notes.md", "hunter2\n");
    fs::write(machine.home().join("key.toml"), "KEY=hunter2\n").expect("write");
    let home = machine.home().display().to_string();
    let made = machine.run(&[
        "sh",
        "-c",
        &format!(
            "mkdir -p a/.holdpoint b/.holdpoint c d e f && ln -s ../../.env a/.holdpoint/config.toml && \
             ln -s {home}/key.toml b/.holdpoint/config.toml && ln -s ../.env c/AGENTS.md && \
             ln -s {home}/key.toml d/AGENTS.md && ln -s ../secrets/notes.md e/AGENTS.md && \
             mkdir real && ln -s ../real f/.holdpoint && ln -s ../.env real/config.toml"
        ),
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    for dir in ["a", "b", "c", "d", "e", "f"] {
        for args in [&["run", "--", "true"][..], &["explain"], &["check", "--", "true"], &["agents-md"]] {
            let done = from(&machine, dir, args);
            assert!(!format!("{done:?}").contains("hunter2"), "{dir} {args:?}: {done:?}");
            let reads_no_config = args == ["agents-md"] && ["a", "b", "f"].contains(&dir);
            assert!(done.code == 78 || reads_no_config, "{dir} {args:?}: {done:?}");
            assert!(done.code == 0 || done.err.contains("symbolic link"), "{dir} {args:?}: {done:?}");
        }
    }
    // The control: a line of a file that somebody wrote there is shown.
    machine.file("own/.holdpoint/config.toml", "PASSWORD=hunter2\n");
    assert!(from(&machine, "own", &["explain"]).err.contains("hunter2"));
    // A hard link is another name of a file that was written elsewhere.
    fs::create_dir_all(machine.workspace().join("hard/.holdpoint")).expect("mkdir");
    let hard = machine.workspace().join("hard/.holdpoint/config.toml");
    fs::hard_link(machine.workspace().join(".env"), hard).expect("link");
    let done = from(&machine, "hard", &["explain"]);
    assert!(done.code == 78 && done.err.contains("line 1") && !done.err.contains("hunter2"), "{done:?}");
}

#[test]
fn links_that_stay_in_the_workspace_go_on_working() {
    let machine = Machine::with(DENIES);
    git(&machine, ".");
    let block = "Read this.\n```holdpoint\ndeny_read_paths = [\"**/*.pem\"]\n```\n";
    machine.file("docs/AGENTS.md", block);
    symlink("docs/AGENTS.md", machine.workspace().join("AGENTS.md")).expect("symlink");
    machine.file("sub/key.pem", "hunter2\n");
    symlink("../AGENTS.md", machine.workspace().join("sub/AGENTS.md")).expect("symlink");
    let done = from(&machine, "sub", &["agents-md"]);
    assert_eq!((done.code, done.out.matches("Read this.").count()), (0, 2), "{done:?}");
    assert_eq!(run_from(&machine, "sub", "cat key.pem").out, "");
    // One that leads nowhere says nothing, and an absolute one is not followed.
    fs::remove_file(machine.workspace().join("sub/AGENTS.md")).expect("rm");
    symlink("nowhere.md", machine.workspace().join("sub/AGENTS.md")).expect("symlink");
    assert_eq!(run_from(&machine, "sub", "true").code, 0);
    fs::remove_file(machine.workspace().join("sub/AGENTS.md")).expect("rm");
    symlink(machine.workspace().join("docs/AGENTS.md"), machine.workspace().join("sub/AGENTS.md")).expect("symlink");
    assert_eq!(run_from(&machine, "sub", "true").code, 78);
}

#[test]
fn a_repository_made_inside_takes_nothing_back() {
    let own = "[profile.default]\napproval_policy = \"full-auto\"\ndeny_read_paths = [\"src/own/*.yml\"]\nprotect_paths = [\"src/kept\"]\n";
    let machine = Machine::with(own);
    git(&machine, ".");
    machine.file(
        ".holdpoint/config.toml",
        "deny_read_paths = [\"**/*.pem\", \"src/conf/*.yml\", \"!src/conf/public.yml\"]\nprotect_paths = [\"src/build.sh\"]\n",
    );
    machine.file("AGENTS.md", "```holdpoint\n[[rules]]\nprefix = [\"curl\"]\nverdict = \"deny\"\n```\n");
    for file in ["src/key.pem", "src/conf/db.yml", "src/own/x.yml"] {
        machine.file(file, "hunter2\n");
    }
    machine.file("src/conf/public.yml", "public\n");
    machine.file("src/build.sh", "true\n");
    machine.file("src/kept", "kept\n");
    let look = "cat key.pem conf/db.yml own/x.yml conf/public.yml; echo >> build.sh; echo >> kept; mv conf c";
    let holds = |when: &str| {
        let done = run_from(&machine, "src", look);
        assert_eq!(done.out, "public\n", "{when}: {done:?}");
        assert_eq!((&*machine.read("src/build.sh"), &*machine.read("src/kept")), ("true\n", "kept\n"), "{when}");
        assert_eq!(from(&machine, "src", &["check", "--", "curl", "x"]).code, 77, "{when}");
        // An edit is judged by the same. Its paths start at the workspace.
        let start = if when == "before" { "src/" } else { "" };
        for file in ["conf/db.yml", "own/x.yml", "build.sh", "kept"] {
            let patch = format!("--- a/{start}{file}\n+++ b/{start}{file}\n@@ -1 +1 @@\n-hunter2\n+x\n");
            let mut apply = machine.command(["apply", "-"]);
            apply.current_dir(machine.workspace().join("src"));
            let done = support::with_input(apply, patch.as_bytes());
            assert_eq!(done.code, 77, "{when} {file}: {done:?}");
        }
    };
    holds("before");
    let done = run_from(&machine, "src", "mkdir .git && echo 'ref: refs/heads/main' > .git/HEAD && ls -d .git");
    assert_eq!(done.code, 0, "{done:?}");
    holds("with a repository of its own");
    let done = json(&from(&machine, "src", &["explain", "--json"]));
    assert_eq!(done["workspace"], machine.workspace().join("src").to_str().expect("text"));
    let files = done["files"].to_string();
    assert!(files.contains("work/.holdpoint/config.toml") && files.contains("work/AGENTS.md"), "{files}");
    let origins = done["effective"]["policy"]["deny_read"].to_string();
    assert!(origins.contains("work/src/conf/*.yml") && origins.contains("work/.holdpoint/config.toml:1"), "{origins}");
}

#[test]
fn a_workspace_does_not_grow_when_its_repository_is_taken_apart_inside() {
    let machine = Machine::with(DENIES);
    git(&machine, ".");
    git(&machine, "app");
    machine.file("other.txt", "theirs\n");
    let done = run_from(&machine, "app", "mv .git/HEAD .git/H && pwd");
    assert!(done.code == 0 && done.out.ends_with("/app\n"), "{done:?}");
    let done = run_from(&machine, "app", "cat ../other.txt; echo evil > ../other.txt");
    assert_eq!((&*done.out, &*machine.read("other.txt")), ("", "theirs\n"), "{done:?}");
}

#[test]
fn an_added_override_takes_no_block_back() {
    let machine = Machine::with(DENIES);
    machine.file("src/AGENTS.md", "```holdpoint\ndeny_read_paths = [\"**/*.pem\"]\n```\n");
    machine.file("src/key.pem", "hunter2\n");
    let look = |when| {
        assert_eq!(from(&machine, "src", &["run", "--workspace", "..", "--", "cat", "key.pem"]).out, "", "{when}")
    };
    look("before");
    assert_eq!(machine.run(&["sh", "-c", "echo be brave > src/AGENTS.override.md"]).code, 0);
    look("after");
    assert_eq!(from(&machine, "src", &["agents-md"]).out, "be brave\n");
}

#[test]
fn a_workspace_inside_a_protected_directory_can_only_be_read() {
    let machine = Machine::with(DENIES);
    git(&machine, ".");
    git(&machine, "vendor/lib");
    machine.file(".holdpoint/config.toml", "protect_paths = [\"vendor\"]\n");
    let done = run_from(&machine, "vendor/lib", "touch x; echo ran");
    assert!(done.out == "ran\n" && done.err.contains("can only be read"), "{done:?}");
    assert!(!support::exists(machine.workspace().join("vendor/lib/x")));
}

#[test]
fn above_the_workspace_a_strangers_files_do_not_count() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let machine = Machine::with(DENIES);
    let above = machine.root();
    fs::write(above.join("AGENTS.md"), "```holdpoint\nsandbox = \"read-only\"\n```\n").expect("write");
    let sandbox =
        || json(&machine.holdpoint(&["explain", "--json"]))["effective"]["policy"]["sandbox"]["value"].clone();
    assert_eq!(sandbox(), "read-only", "the person's own counts");
    let give = |path: &Path| chown(path, Some(12_345), Some(12_345)).expect("chown");
    give(&above.join("AGENTS.md"));
    assert_eq!(sandbox(), "workspace-write");
    let done = machine.run(&["true"]);
    assert!(done.code == 0 && done.err.contains("belongs to user 12345"), "{done:?}");
    fs::create_dir(above.join(".holdpoint")).expect("mkdir");
    give(&above.join(".holdpoint"));
    nix::unistd::mkfifo(&above.join(".holdpoint/config.toml"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    assert_eq!(machine.run(&["true"]).code, 0, "nobody else can keep a run from starting");
    // In the workspace everybody's count, and above it those of whoever owns it.
    give(&machine.file("AGENTS.md", "```holdpoint\nsandbox = \"read-only\"\n```\n"));
    assert_eq!(sandbox(), "read-only");
    fs::remove_file(machine.workspace().join("AGENTS.md")).expect("rm");
    give(&machine.workspace());
    fs::remove_dir_all(above.join(".holdpoint")).expect("rm");
    assert_eq!(sandbox(), "read-only");
}

#[test]
fn the_programs_of_hooks_stay_as_they_are() {
    const HOOK: &str = "#!/bin/sh\nexit 0\n";
    for command in ["./tools/hook.sh", "sh tools/hook.sh", "sh -c 'exec sh \\\"$PWD/tools/hook.sh\\\"'"] {
        let config = format!("{DENIES}\n[[hooks]]\nevent = \"PreToolUse\"\ncommand = \"{command}\"\n");
        let machine = Machine::with(&config);
        let attack = "printf 'touch ../pwned\\n' > tools/hook.sh; mv tools t; echo done";
        let hook = machine.file("tools/hook.sh", HOOK);
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let done = machine.run(&["sh", "-c", attack]);
        assert_eq!(done.out, "done\n", "{command}: {done:?}");
        assert_eq!(machine.read("tools/hook.sh"), HOOK, "{command}");
        let explained = machine.holdpoint(&["explain"]).out;
        let line = explained.lines().find(|line| line.starts_with("protect_paths")).unwrap_or_default();
        assert!(line.contains("tools/hook.sh") && line.contains("config.toml:"), "{explained}");
        let patch = "--- a/tools/hook.sh\n+++ b/tools/hook.sh\n@@ -1 +1 @@\n-#!/bin/sh\n+#!/bin/bash\n";
        assert_eq!(support::with_input(machine.command(["apply", "-"]), patch.as_bytes()).code, 77, "{command}");
        // The control: without the hook the attack works.
        machine.configure(DENIES);
        machine.run(&["sh", "-c", attack]);
        assert_eq!(machine.read("t/hook.sh"), "touch ../pwned\n");
    }
}
