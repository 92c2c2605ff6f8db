//! `deny_read_strict`: a denied file that appears while a command runs is read by nobody, and programs go on.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::process::Command;
use support::{Background, Machine, eventually};

const DENIED: &str = "deny_read_paths = [\"**/.env*\"]\n";
const STRICT: &str = "deny_read_paths = [\"**/.env*\"]\ndeny_read_strict = true\n";

/// Opens what is denied as fast as it can, until told to stop; says whether it ever read anything.
const READER: &str = "
import os
open('ready', 'w').close()
read = 0
while not os.path.exists('stop'):
    for _ in range(50):
        try:
            read += b'CANARY' in open('.env', 'rb').read()
        except OSError:
            pass
print('read' if read else 'never')
";

/// Puts a secret in place again and again while the reader runs, until it was read or `rounds` are over.
fn hammered(config: &str, rounds: usize) -> String {
    let machine = Machine::with(config);
    machine.file("reader.py", READER);
    let run = Background(machine.command(["run", "--profile", "free", "--", "python3", "reader.py"]).spawn().unwrap());
    eventually("the reader", || machine.names().contains(&"ready".to_owned()).then_some(()));
    let (staged, secret) = (machine.root().join("staged"), machine.workspace().join(".env"));
    for _ in 0..rounds {
        fs::write(&staged, "CANARY").unwrap();
        fs::rename(&staged, &secret).unwrap();
        fs::remove_file(&secret).unwrap();
    }
    machine.file("stop", "");
    let done = run.finish();
    assert_eq!(done.code, 0, "{}", done.err);
    done.out
}

#[test]
fn a_late_secret_is_read_by_a_hammering_reader_only_without_the_key() {
    assert_eq!(hammered(DENIED, 20_000), "read\n", "the reader had no luck, so it proves nothing");
    assert_eq!(hammered(STRICT, 2_000), "never\n");
}

#[test]
fn programs_work_with_it() {
    let machine = Machine::with(STRICT);
    let made = Command::new("git").args(["init", "-q"]).arg(machine.workspace()).status().unwrap();
    assert!(made.success());
    machine.file("new.txt", "new");
    machine.file(".env", "CANARY");
    for (argv, shows) in [
        (&["git", "status", "--short"][..], "?? new.txt"),
        (&["python3", "-c", "import json, sqlite3; print(open('new.txt').read())"], "new"),
        (&["sh", "-c", "cat new.txt > copy; mv copy moved; cat moved .env; echo ended"], "newended"),
    ] {
        let done = machine.run(argv);
        assert!(done.out.contains(shows) && !done.out.contains("CANARY"), "{argv:?}: {}{}", done.out, done.err);
    }
}

#[test]
fn a_project_switches_it_on_and_nobody_off() {
    let machine = Machine::with(DENIED);
    machine.file(".holdpoint/config.toml", "deny_read_strict = true\n");
    let explained = machine.holdpoint(&["explain"]);
    assert!(explained.out.contains("deny_read_strict"), "{}", explained.out);
    assert!(explained.out.contains("opens no file that was not judged first"), "{}", explained.out);

    machine.configure(STRICT);
    machine.file(".holdpoint/config.toml", "deny_read_strict = false\n");
    let done = machine.run(&["true"]);
    assert!(done.err.contains("can only tighten"), "{}", done.err);
    assert!(machine.holdpoint(&["explain"]).out.contains("opens no file"));
}

#[test]
fn without_a_sandbox_nothing_is_judged_and_nothing_runs() {
    let machine =
        Machine::with(&format!("{STRICT}[profile.bare]\nsandbox = \"none\"\napproval_policy = \"full-auto\"\n"));
    let done = machine.holdpoint(&["run", "--profile", "bare", "--", "touch", "ran"]);
    assert_eq!(done.code, 69, "{}", done.err);
    assert!(done.err.contains("deny_read_strict") && machine.names().is_empty(), "{}", done.err);
}
