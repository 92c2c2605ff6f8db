//! `holdpoint apply`: all or nothing, inside the workspace, never on what is protected or denied.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::os::unix::fs::symlink;
use std::process::Command;

use support::{Done, Machine, exists, json, with_input};

fn apply(machine: &Machine, patch: &str) -> Done {
    with_input(machine.command(["apply", "--approval", "auto-edit", "-"]), patch.as_bytes())
}

fn change(path: &str) -> String {
    format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-one\n+two\n")
}

fn create(path: &str) -> String {
    format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+two\n")
}

#[test]
fn an_edit_goes_ahead_where_commands_are_held() {
    let machine = Machine::new();
    machine.file("f", "one\n");
    let patch = format!("{}{}", change("f"), create("new/dir/g"));
    let done = with_input(machine.command(["apply", "--json", "--approval", "auto-edit", "-"]), patch.as_bytes());
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(json(&done)["paths"], serde_json::json!(["f", "new/dir/g"]));
    assert_eq!((machine.read("f"), machine.read("new/dir/g")), ("two\n".into(), "two\n".into()));
    assert_eq!(machine.holdpoint(&["check", "--approval", "auto-edit", "--", "true"]).code, 10);
    assert_eq!(machine.names(), ["f", "new", "new/dir", "new/dir/g"], "nothing is left beside");
}

#[test]
fn what_git_writes_is_applied_as_git_would() {
    let machine = Machine::new();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(args);
        let done = git.current_dir(machine.workspace()).env("HOME", machine.home()).output().expect("git runs");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let old: String = (1..=60).map(|n| format!("line {n}\r\n")).collect();
    machine.file("crlf.txt", &old);
    machine.file("no end", "a\nb");
    machine.file("gone", "x\n");
    machine.file("grün", "one\n");
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "x"]);
    machine.file("crlf.txt", old.replace("line 3\r", "LINE 3\r").replace("line 50\r\n", "").replace("line 60", "end"));
    machine.file("no end", "a\nc");
    machine.file("grün", "two");
    machine.file("new one.sh", "#!/bin/sh\n");
    machine.file("empty", "");
    std::fs::remove_file(machine.workspace().join("gone")).expect("rm");
    std::fs::set_permissions(
        machine.workspace().join("new one.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("chmod");
    git(&["add", "-A"]);
    let tree = git(&["write-tree"]);
    let patch = git(&["diff", "--cached", "--no-renames"]);
    git(&["reset", "-q", "--hard"]);
    let done = with_input(machine.command(["apply", "--approval", "auto-edit", "-"]), &patch);
    assert_eq!(done.code, 0, "{}", done.err);
    git(&["add", "-A"]);
    assert_eq!(git(&["write-tree"]), tree, "byte for byte, modes included");
}

#[test]
fn one_hunk_that_does_not_fit_leaves_every_file_as_it_was() {
    let machine = Machine::new();
    machine.file("a", "one\n");
    machine.file("b", "other\n");
    let done = apply(&machine, &format!("{}{}{}", change("a"), create("c/d"), change("b")));
    assert_eq!(done.code, 65);
    assert!(
        done.err.contains("b: hunk 1 of 1 does not fit") && done.err.contains("nothing was changed"),
        "{}",
        done.err
    );
    assert!(!done.err.contains("other"), "what a file says is not told");
    assert_eq!((machine.read("a"), machine.names()), ("one\n".into(), vec!["a".into(), "b".into()]));
    assert_eq!(apply(&machine, &create("a")).code, 65, "a new file that is there");
    assert_eq!(apply(&machine, &change("missing")).code, 65);
    assert_eq!(apply(&machine, "no patch").code, 65);
    assert_eq!(apply(&machine, "").code, 65);
}

#[test]
fn nothing_outside_the_workspace_is_reached() {
    let machine = Machine::new();
    let outside = machine.root().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    std::fs::write(outside.join("f"), "one\n").expect("write");
    symlink(&outside, machine.workspace().join("dir")).expect("symlink");
    symlink(outside.join("f"), machine.workspace().join("link")).expect("symlink");
    symlink(outside.join("new"), machine.workspace().join("dangling")).expect("symlink");
    let absolute = outside.join("f").display().to_string();
    for patch in [
        change("../outside/f"),
        change("dir/f"),
        change("link"),
        create("dir/new"),
        create("dangling"),
        create("dir/new/deep"),
        change("a/../../outside/f"),
        format!("--- {absolute}\n+++ {absolute}\n@@ -1 +1 @@\n-one\n+two\n"),
        format!("--- a/{absolute}\n+++ b/{absolute}\n@@ -1 +1 @@\n-one\n+two\n"),
    ] {
        let done = apply(&machine, &patch);
        assert!([65, 77].contains(&done.code), "{patch}: {done:?}");
    }
    assert_eq!(std::fs::read_to_string(outside.join("f")).expect("read"), "one\n");
    assert!(!exists(outside.join("new")));
    let done = apply(&machine, &change("link"));
    assert!(done.err.contains("symbolic link"), "{}", done.err);
}

#[test]
fn protected_and_denied_names_are_refused_with_the_reason() {
    let machine = Machine::with("[profile.default]\nprotect_paths = [\"infra\"]\ndeny_read_paths = [\"**/.env*\"]\n");
    machine.file("infra/main.tf", "one\n");
    machine.file(".env", "one\n");
    machine.file("AGENTS.md", "one\n");
    for path in ["AGENTS.md", ".env", "infra/main.tf"] {
        let done = apply(&machine, &change(path));
        assert!(done.code == 77 && done.err.contains(path), "{path}: {done:?}");
        assert_eq!(machine.read(path), "one\n");
    }
    for path in [
        ".git/hooks/pre-commit",
        ".git/config",
        ".holdpoint/config.toml",
        ".vscode/tasks.json",
        ".envrc",
        ".env.new",
        "sub/.git/config",
        ".GIT/config",
        "CLAUDE.md",
    ] {
        let done = apply(&machine, &create(path));
        assert_eq!(done.code, 77, "{path}: {done:?}");
        assert!(!exists(machine.workspace().join(path)), "{path}");
    }
    let both = format!("{}{}", create("fine"), create(".envrc"));
    assert_eq!(apply(&machine, &both).code, 77);
    assert!(!exists(machine.workspace().join("fine")), "one forbidden file forbids all");
}

#[test]
fn a_read_only_workspace_is_not_edited() {
    let machine = Machine::new();
    let args = ["apply", "--approval", "full-auto", "--sandbox", "read-only", "-"];
    let done = with_input(machine.command(args), create("f").as_bytes());
    assert_eq!(done.code, 77, "{done:?}");
    assert!(machine.names().is_empty());
}

#[test]
fn hooks_see_an_edit_with_its_diff() {
    let machine = Machine::with(
        "[[hooks]]\nevent = \"PreToolUse\"\ntool = \"edit\"\ncommand = 'echo \"$INPUT\" | grep -q PASSWORD && { echo no passwords; exit 1; }; exit 0'\n",
    );
    let done = apply(&machine, "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+PASSWORD=1\n");
    assert!(done.code == 77 && done.err.contains("no passwords"), "{done:?}");
    assert_eq!(apply(&machine, &create("f")).code, 0);
}

#[test]
fn a_patch_is_a_file_too_and_must_be_there() {
    let machine = Machine::new();
    machine.file("f", "one\n");
    machine.file("p", change("f"));
    assert_eq!(machine.holdpoint(&["apply", "--approval", "auto-edit", "p"]).code, 0);
    assert_eq!(machine.read("f"), "two\n");
    for wrong in ["missing", ".", "p/x"] {
        assert_eq!(machine.holdpoint(&["apply", "--approval", "auto-edit", wrong]).code, 64, "{wrong}");
    }
}

#[test]
fn the_mode_and_the_owner_of_a_file_stay() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let machine = Machine::new();
    let path = machine.file("run.sh", "one\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o754)).expect("chmod");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("chown");
    }
    let before = path.metadata().expect("stat");
    assert_eq!(apply(&machine, &change("run.sh")).code, 0);
    let after = path.metadata().expect("stat");
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
}

#[test]
fn another_name_of_a_denied_file_is_denied_and_tells_nothing() {
    let machine = Machine::with(
        "[profile.default]\napproval_policy = \"auto-edit\"\ndeny_read_paths = [\"**/.env\", \"**/link\"]\n",
    );
    machine.file(".env", "one\n");
    std::fs::hard_link(machine.workspace().join(".env"), machine.workspace().join("pub")).expect("link");
    machine.file("target", "one\n");
    symlink("target", machine.workspace().join("link")).expect("symlink");
    for path in ["pub", "target"] {
        let right = apply(&machine, &change(path));
        let wrong = apply(&machine, &change(path).replace("-one", "-guess"));
        assert_eq!((right.code, &right.err), (77, &wrong.err), "{path}: {right:?}");
        assert!(right.err.contains("is denied"), "{right:?}");
    }
    // The control: without the denied name it is a file like any other.
    std::fs::remove_file(machine.workspace().join(".env")).expect("rm");
    assert_eq!(apply(&machine, &change("pub")).code, 0);
}

#[test]
fn no_edit_makes_a_repository() {
    let machine = Machine::new();
    for dir in ["", "deep/down/"] {
        let parts = ["HEAD", "refs/x", "objects/x", "config"].map(|part| create(&format!("{dir}{part}")));
        let done = apply(&machine, &parts.concat());
        assert_eq!(done.code, 77, "{dir}: {done:?}");
        // One part after the other: the one that makes it complete is refused. At the root none may begin.
        let codes: Vec<i32> = parts.iter().map(|part| apply(&machine, part).code).collect();
        assert_eq!(codes, if dir.is_empty() { [77, 0, 0, 0] } else { [0, 0, 77, 0] }, "{dir}");
    }
    // In one that is there already, what makes git run something stays as it is.
    machine.file("deep/down/objects/x", "");
    for (path, code) in [("config", 77), ("hooks/pre-commit", 77), ("refs/heads/new", 0), ("description", 0)] {
        let path = format!("deep/down/{path}");
        let patch =
            if exists(machine.workspace().join(&path)) { change(&path).replace("-one", "-two") } else { create(&path) };
        assert_eq!(apply(&machine, &patch).code, code, "{path}");
    }
}
