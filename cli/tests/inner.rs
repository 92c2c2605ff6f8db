//! `exec_guard`: what a command executes is judged as the command was, however deep it is hidden.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::io::Read;
use std::process::Stdio;

use holdpoint_approval_web::client::{Client, Decision, Hold};
use support::{Background, Machine, eventually};

const RULES: &str = "
exec_guard = true
[[rules]]
prefix = [\"git\", \"push\"]
verdict = \"deny\"
reason = \"releases are made by the robot\"
[[rules]]
prefix = [\"touch\", \"held\"]
verdict = \"ask\"
";

/// A command that ends three scripts further down.
fn nested(machine: &Machine, last: &str) -> [&'static str; 2] {
    machine.file("one.sh", "sh two.sh; echo one $?\n");
    machine.file("two.sh", "python3 three.py; echo two $?\n");
    machine.file("three.py", format!("import subprocess\nsubprocess.run({last:?}.split())\n"));
    ["sh", "one.sh"]
}

fn start(machine: &Machine, args: &[&str]) -> Background {
    Background(machine.command(args).spawn().expect("holdpoint starts"))
}

fn decide(client: &Client, hold: &Hold, decision: Decision) {
    client.decide(&hold.id, hold.digest, decision, "a test").expect("it can be decided");
}

#[test]
fn what_a_rule_denies_is_refused_three_scripts_down_and_runs_without_the_guard() {
    let machine = Machine::with(RULES);
    let argv = nested(&machine, "git push --force");
    let done = machine.run(&argv);
    assert!(done.out.ends_with("two 1\none 0\n"), "the scripts go on: {}", done.out);
    assert!(done.err.contains("PermissionError: [Errno 13]"), "{}", done.err);
    assert!(done.err.contains("holdpoint: refused inside: /usr/bin/git push --force"), "{}", done.err);
    assert!(done.err.contains("releases are made by the robot"), "{}", done.err);

    machine.configure(&RULES.replace("true", "false"));
    let done = machine.run(&argv);
    assert!(done.err.contains("fatal:") && !done.err.contains("refused"), "git ran: {}", done.err);
}

#[test]
fn a_name_that_hides_a_program_does_not_hide_it() {
    let machine = Machine::with(RULES);
    for script in [
        "ln -s /usr/bin/git innocent; ./innocent push",
        "exec -a ls git push",
        "exec /lib64/ld-linux-x86-64.so.2 /usr/bin/git push",
        "printf '#!/usr/bin/git push\\n' > script; chmod +x script; ./script",
        "python3 -c 'import os; os.execv(\"/proc/self/fd/%d\" % os.open(\"/usr/bin/git\", 0), [\"x\", \"push\"])'",
    ] {
        // In a file, where nobody reads it before it runs.
        machine.file("hidden.sh", format!("rm -f script innocent; {script}"));
        let done = machine.run(&["bash", "hidden.sh"]);
        assert!(done.err.contains("refused inside"), "{script}: {}{}", done.out, done.err);
        assert!(!done.err.contains("fatal:"), "{script}: git ran: {}", done.err);
    }
}

#[test]
fn what_a_rule_asks_about_waits_and_runs_when_it_is_approved() {
    let machine = Machine::with(RULES);
    let argv = nested(&machine, "touch held");
    let _server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--profile", "free", "--", argv[0], argv[1]]);
    let hold = machine.held(&client);
    assert_eq!(hold.plan.argv.iter().map(ToString::to_string).collect::<Vec<_>>(), ["touch", "held"]);
    assert_eq!(hold.plan.cwd.to_path(), machine.workspace());
    assert!(hold.plan.executable.as_ref().is_some_and(|file| file.path.to_string() == "/usr/bin/touch"));
    assert!(!machine.names().contains(&"held".to_owned()), "it waits");
    decide(&client, &hold, Decision::Approve);
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "two 0\none 0\n"), "{}", done.err);
    assert!(machine.names().contains(&"held".to_owned()));
}

#[test]
fn what_a_person_denies_or_nobody_decides_is_refused() {
    let machine = Machine::with(RULES);
    let argv = nested(&machine, "touch held");
    let _server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--profile", "free", "--", argv[0], argv[1]]);
    decide(&client, &machine.held(&client), Decision::Deny { reason: "not today".into() });
    let done = run.finish();
    assert!(done.err.contains("refused inside") && done.err.contains("not today"), "{}", done.err);
    let done = machine.holdpoint(&["run", "--profile", "free", "--hold-timeout", "1s", "--", argv[0], argv[1]]);
    assert!(done.err.contains("nobody decided in time"), "{}", done.err);
    assert!(!machine.names().contains(&"held".to_owned()));
}

#[test]
fn an_approved_command_is_asked_about_once_and_its_children_are_not() {
    let machine = Machine::with("exec_guard = true\n");
    machine.file("script", "#!/bin/sh\n/bin/echo child\ntouch made\n");
    let _server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--", "sh", "script"]);
    decide(&client, &machine.held(&client), Decision::Approve);
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "child\n"), "{}", done.err);
    assert_eq!(client.list(true).expect("the holds can be listed").len(), 1);
    eventually("the file", || machine.names().contains(&"made".to_owned()).then_some(()));
}

/// A script that asks `times` to execute `program` with a number and two megabytes, then says so and waits.
fn flood(machine: &Machine, program: &str, times: usize) {
    let call = format!("subprocess.run([{program:?}, str(n)] + [\"x\" * 125_000] * 15)");
    let script = format!(
        "import subprocess\nfor n in range({times}):\n  try: {call}\n  except PermissionError: pass\n\
         print('done', flush=True)\ninput()\n"
    );
    machine.file("flood.py", script);
}

#[test]
fn what_is_executed_inside_takes_no_memory_outside() {
    let machine = Machine::with(RULES);
    flood(&machine, "true", 40);
    let args = ["run", "--profile", "free", "--", "python3", "flood.py"];
    let mut run = Background(machine.command(args).stdin(Stdio::piped()).spawn().expect("holdpoint starts"));
    let mut said = [0; 5];
    run.0.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).expect("it says that it is done");
    assert_eq!(&said, b"done\n");
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.0.id())).expect("it runs");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    // What was executed is 76 MB long.
    assert!(resident.is_some_and(|kib: u64| kib < 64 << 10), "{status}");
}

#[test]
fn what_is_told_of_executions_is_bounded() {
    let machine = Machine::with(&RULES.replace("\"git\", \"push\"", "\"false\""));
    flood(&machine, "false", 1);
    let done = machine.run(&["python3", "flood.py"]);
    assert!(done.err.contains("refused inside") && done.err.len() < 8000, "{} bytes", done.err.len());
    machine.file("many.py", "import subprocess\nfor n in range(1200):\n  try: subprocess.run(['false', str(n), 'x' * 1900])\n  except PermissionError: pass\n");
    let done = machine.run(&["python3", "many.py"]);
    assert!((1 << 20..(1 << 20) + 8000).contains(&done.err.len()), "{} bytes", done.err.len());
    assert!(done.err.ends_with("left out from here on\n"));
    assert!(done.err.contains("false 500 x") && !done.err.contains("false 1100 x"));
}

#[test]
fn a_project_can_switch_it_on_and_not_off() {
    let machine = Machine::new();
    machine.file(".holdpoint/config.toml", "exec_guard = true\n[[rules]]\nprefix = [\"git\"]\nverdict = \"deny\"\n");
    let done = machine.run(&["sh", "-c", "true; exec $(echo git) version"]);
    assert!(done.err.contains("refused inside"), "{}{}", done.out, done.err);
    machine.configure("exec_guard = true\n");
    machine.file(".holdpoint/config.toml", "exec_guard = false\n");
    let done = machine.run(&["true"]);
    assert!(done.err.contains("can only tighten"), "{}", done.err);
    let explained = machine.holdpoint(&["explain"]);
    assert!(explained.out.contains("exec_guard") && explained.out.contains("judged first"), "{}", explained.out);
}

#[test]
fn without_a_sandbox_nothing_can_be_judged_and_nothing_runs() {
    let machine =
        Machine::with("exec_guard = true\n[profile.bare]\nsandbox = \"none\"\napproval_policy = \"full-auto\"\n");
    let done = machine.holdpoint(&["run", "--profile", "bare", "--", "touch", "ran"]);
    assert_eq!(done.code, 69, "{}", done.err);
    assert!(machine.names().is_empty());
}
