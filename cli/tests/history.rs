//! `deny_read_git_history`: what stood at a denied place is read from git by no command.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::Command;
use support::Machine;

const DENIED: &str = "deny_read_paths = [\"**/.env*\"]\n";
const HIDDEN: &str = "deny_read_paths = [\"**/.env*\"]\ndeny_read_git_history = true\n";

/// A machine whose workspace is a repository with a secret in its history, in a pack if `packed`.
fn machine(config: &str, packed: bool) -> Machine {
    let machine = Machine::with(config);
    machine.file(".env", "CANARY");
    machine.file("public", "public\n");
    let pack = if packed { "git gc -q" } else { "true" };
    outside(&machine, &format!("git init -q && git add -A && git commit -qm x && {pack}"));
    machine
}

fn outside(machine: &Machine, script: &str) {
    let author = "git config --global user.name a; git config --global user.email a@b";
    let script = format!("export HOME={}; {author}; {script}", machine.root().display());
    let done = Command::new("sh").args(["-c", &script]).current_dir(machine.workspace()).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_committed_secret_is_read_only_without_the_key() {
    for packed in [false, true] {
        let script = "git show HEAD:.env; git show HEAD:public";
        let open = machine(DENIED, packed).run(&["sh", "-c", script]);
        assert!(open.out.contains("CANARY"), "{}", open.err);
        assert!(open.err.contains("deny_read_git_history"), "nobody is told of the key: {}", open.err);
        let hidden = machine(HIDDEN, packed).run(&["sh", "-c", script]);
        assert!(!hidden.out.contains("CANARY") && hidden.out.contains("public"), "{}{}", hidden.out, hidden.err);
        assert!(!hidden.err.contains("not protected"), "{}", hidden.err);
    }
}

#[test]
fn it_is_explained() {
    let machine = machine(HIDDEN, true);
    let explained = machine.holdpoint(&["explain", "--profile", "free"]);
    for part in [
        "deny_read_git_history",
        "cannot read in the history of git",
        "shown without what was denied: .git/objects/pack",
    ] {
        assert!(explained.out.contains(part), "{part}: {}", explained.out);
    }
}

#[test]
fn a_history_that_cannot_be_read_ends_the_run() {
    let machine = machine(HIDDEN, true);
    outside(&machine, "cd .git/objects/pack; chmod u+w *.pack; truncate -s 40 *.pack");
    let done = machine.run(&["touch", "ran"]);
    assert_eq!(done.code, 78, "{}", done.err);
    assert!(done.err.contains(".git/objects") && done.err.contains("git fsck"), "{}", done.err);
    assert!(!machine.names().contains(&"ran".to_owned()));
}

#[test]
fn a_session_hides_it_too() {
    let machine = machine(HIDDEN, false);
    let started = machine.holdpoint(&["session", "start", "--profile", "free"]);
    assert_eq!(started.code, 0, "{}", started.err);
    let read = || {
        let said = machine.holdpoint(&["session", "run", "--", "sh", "-c", "git show HEAD:.env; git show HEAD:public"]);
        assert!(!said.out.contains("CANARY") && said.out.contains("public"), "{}{}", said.out, said.err);
    };
    read();
    // While it lives.
    for pack in ["true", "git gc -q"] {
        outside(&machine, &format!("echo CANARY-{pack} >.env; git commit -qam y; {pack}"));
        read();
    }
    let stopped = machine.holdpoint(&["session", "stop"]);
    assert_eq!(stopped.code, 0, "{}", stopped.err);
}

#[test]
fn without_a_sandbox_nothing_is_hidden_and_nothing_runs() {
    let bare = "[profile.bare]\nsandbox = \"none\"\napproval_policy = \"full-auto\"\n";
    let machine = Machine::with(&format!("{HIDDEN}{bare}"));
    let done = machine.holdpoint(&["run", "--profile", "bare", "--", "touch", "ran"]);
    assert_eq!(done.code, 69, "{}", done.err);
    assert!(done.err.contains("deny_read_git_history") && machine.names().is_empty(), "{}", done.err);
}
