//! What git inside knows of its user.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::{Done, Machine, finish};

const OWN: &str = "
[user]
\tname = Ann \\\"the\\\" Author
\temail = ann@example.org
[alias]
\tst = status --short
\trun = !id
\tsend = push https://ann:hunter2@example.org/
[color \"status\"]
\tadded = yellow
[core]
\tpager = leaky-pager
\tautocrlf = input
\texcludesFile = ~/ignored
[credential \"https://example.org\"]
\tusername = leaky-credential
[http]
\textraHeader = leaky-header
[diff \"pdf\"]
\ttextconv = leaky-program
[pull]
\trebase
";

/// A machine whose user has this configuration, and whose workspace is a repository.
fn machine(config: &str) -> Machine {
    let machine = Machine::new();
    fs::write(machine.home().join(".gitconfig"), config).unwrap();
    fs::write(machine.home().join("ignored"), "# leaky-comment\n*.log\n").unwrap();
    repository(&machine.workspace());
    machine
}

fn repository(tree: &Path) {
    let git = std::process::Command::new("git").args(["init", "--quiet"]).arg(tree).status().unwrap();
    assert!(git.success());
}

fn author(machine: &Machine) -> String {
    let done = machine.run(&["sh", "-c", "git commit --quiet --allow-empty -m x && git log -1 --format='%an <%ae>'"]);
    assert_eq!(done.code, 0, "{}", done.err);
    done.out
}

#[test]
fn commits_inside_have_the_author_that_they_have_outside() {
    let machine = machine(OWN);
    assert_eq!(author(&machine), "Ann \"the\" Author <ann@example.org>\n");
    // As outside, a repository overrules it.
    fs::write(machine.workspace().join(".git/config"), "[user]\nemail = ann@project\n").unwrap();
    assert_eq!(author(&machine), "Ann \"the\" Author <ann@project>\n");
    let untold = Machine::new();
    repository(&untold.workspace());
    let done = untold.run(&["sh", "-c", "ls -A ~; git commit --allow-empty -m x"]);
    assert!(done.out.is_empty() && done.code == 128 && done.err.contains("tell me who you are"), "{done:?}");
}

#[test]
fn nothing_that_runs_a_program_or_may_be_a_secret_is_given() {
    let machine = machine(OWN);
    machine.file("a.log", "");
    let read = |sandbox: &str| {
        let script = "cat ~/.gitconfig ~/.config/git/ignore; git config --get alias.st; git status --porcelain";
        let flags = ["run", "--profile", "free", "--sandbox", sandbox, "--", "sh", "-c", script];
        let done = machine.holdpoint(&flags);
        assert_eq!(done.code, 0, "{}", done.err);
        done.out
    };
    for sandbox in ["workspace-write", "read-only"] {
        let shown = read(sandbox);
        for given in ["input", "*.log", "[color \"status\"]", "rebase", "status --short\n"] {
            assert!(shown.contains(given), "{given} in {shown}");
        }
        for kept in ["leaky", "hunter2", "!id", "a.log"] {
            assert!(!shown.contains(kept), "{kept} in {shown}");
        }
    }
    // It is nobody's but the sandbox's.
    let done = machine.run(&["git", "config", "--global", "user.name", "Mallory"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(fs::read_to_string(machine.home().join(".gitconfig")).unwrap(), OWN);
}

#[test]
fn files_that_belong_to_it_are_read_unless_they_are_denied() {
    let machine = machine(
        "[include]\npath = inc\n[includeIf \"gitdir:~/../work/\"]\npath = here\n[includeIf \"gitdir:~/x/\"]\npath = there\n",
    );
    let home = machine.home();
    fs::write(home.join("inc"), "[user]\nname = Included\nemail = first@example.org\n").unwrap();
    fs::write(home.join("here"), "[user]\nemail = here@example.org\n").unwrap();
    fs::write(home.join("there"), "[user]\nemail = there@example.org\n").unwrap();
    assert_eq!(author(&machine), "Included <here@example.org>\n");

    let email = |denied: &str| {
        let script = "git config user.email; git config user.name";
        let flags = ["run", "--profile", "free", "--deny-read", denied, "--", "sh", "-c", script];
        machine.holdpoint(&flags).out
    };
    assert_eq!(email("~/here"), "first@example.org\nIncluded\n");
    assert_eq!(email("~/.gitconfig"), "");
    // By the name it has, and by that of what it is.
    fs::rename(home.join("here"), home.join("here.secret")).unwrap();
    symlink("here.secret", home.join("here")).unwrap();
    assert_eq!(email("**/nothing"), "here@example.org\nIncluded\n");
    assert_eq!(email("**/*.secret"), "first@example.org\nIncluded\n");
    assert_eq!(email("~/inc"), "here@example.org\n");
    // A file of the workspace that is denied under another of its names.
    machine.file("hidden.key", "[user]\nname = Hidden\n");
    fs::remove_file(home.join("inc")).unwrap();
    fs::hard_link(machine.workspace().join("hidden.key"), home.join("inc")).unwrap();
    assert_eq!(email("**/nothing"), "here@example.org\nHidden\n");
    assert_eq!(email("*.key"), "here@example.org\n");
}

#[test]
fn no_file_is_shown_for_what_it_is_said_to_be() {
    let machine = machine("[core]\nexcludesFile = ~/.ssh/id_rsa\n");
    let home = machine.home();
    fs::create_dir(home.join(".ssh")).unwrap();
    fs::write(home.join(".ssh/id_rsa"), "key\n").unwrap();
    let shown = || machine.run(&["sh", "-c", "cat ~/.config/git/ignore"]).out;
    assert_eq!(shown(), "");
    symlink(".ssh/id_rsa", home.join(".gitignore")).unwrap();
    fs::write(home.join(".gitconfig"), "[core]\nexcludesFile = ~/.gitignore\n").unwrap();
    assert_eq!(shown(), "");
    fs::remove_file(home.join(".gitignore")).unwrap();
    fs::write(home.join(".gitignore"), "*.log\n").unwrap();
    assert_eq!(shown(), "*.log\n");
}

#[test]
fn a_configuration_that_is_shown_stays_as_it_is() {
    let machine = machine(OWN);
    machine.configure("[profile.shown]\nextends = \"free\"\nreadable_paths = [\"~/.gitconfig\"]\n");
    let done = machine.holdpoint(&["run", "--profile", "shown", "--", "sh", "-c", "cat ~/.gitconfig"]);
    assert_eq!(done.out, OWN, "{}", done.err);
}

#[test]
fn commands_of_a_session_have_it_as_well() {
    let machine = machine(OWN);
    let shell = |flags: &[&str], script: &str| -> Done {
        let line = [&["session", "run"], flags, &["--", "sh", "-c", script]].concat();
        finish(machine.command(line).spawn().unwrap())
    };
    assert_eq!(machine.holdpoint(&["session", "start", "--profile", "free"]).code, 0);
    let done = shell(&[], "git config user.email");
    assert_eq!(done.out, "ann@example.org\n", "{}", done.err);
    // What a narrower command cannot read would be an error of git.
    if support::keeps_apart() {
        let done = shell(&["--may-read", "."], "git config user.email");
        assert_eq!((done.code, done.out.as_str()), (0, "ann@example.org\n"), "{}", done.err);
        assert_eq!(shell(&[], "rm ~/.gitconfig; mkdir ~/d; ln -s d ~/.gitconfig").code, 0);
        assert_eq!(shell(&["--may-read", "."], "true").code, 0);
    }
    assert_eq!(machine.holdpoint(&["session", "stop", "--all"]).code, 0);
}
