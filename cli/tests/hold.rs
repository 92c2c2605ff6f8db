//! Held runs and edits: nothing runs without a person, what was shown is what runs, and every end has its own exit code.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use holdpoint_approval_web::client::{Client, Decision, Hold};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Background, Machine, eventually, finish, json, with_input};

fn start(machine: &Machine, args: &[&str]) -> Background {
    Background(machine.command(args).spawn().expect("holdpoint starts"))
}

fn approve(client: &Client, hold: &Hold) {
    client.decide(&hold.id, hold.digest, Decision::Approve, "a test").expect("it can be approved");
}

fn deny(client: &Client, hold: &Hold, reason: &str) {
    let decision = Decision::Deny { reason: reason.into() };
    client.decide(&hold.id, hold.digest, decision, "a test").expect("it can be denied");
}

fn state(client: &Client, hold: &Hold) -> String {
    client.get(&hold.id).expect("the hold is kept").state.name().to_owned()
}

const TOUCH: [&str; 4] = ["run", "--", "touch", "ran"];

#[test]
fn a_held_command_runs_when_it_is_approved_and_not_before() {
    let machine = Machine::new();
    let server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--", "sh", "-c", "echo out; touch ran; exit 6"]);
    let hold = machine.held(&client);
    std::thread::sleep(Duration::from_millis(300));
    assert!(machine.names().is_empty(), "it waits");
    let plan = &hold.plan;
    assert_eq!(
        plan.argv.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["sh", "-c", "echo out; touch ran; exit 6"]
    );
    assert!(plan.executable.as_ref().is_some_and(|file| file.path.to_string().ends_with("/sh")));
    assert_eq!(plan.cwd.to_path(), machine.workspace());
    assert!(!plan.reasons.is_empty() && !plan.sandbox.is_empty());
    approve(&client, &hold);
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (6, "out\n"), "{}", done.err);
    assert_eq!(machine.names(), ["ran"]);
    eventually("the outcome", || (state(&client, &hold) == "finished").then_some(()));
    drop(server);
}

#[test]
fn a_denied_command_does_not_run_and_the_persons_reason_comes_back() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--json", "--", "touch", "ran"]);
    deny(&client, &machine.held(&client), "use the staging \u{1b}[31mdatabase");
    let done = run.finish();
    assert_eq!(done.code, 77);
    assert!(done.err.contains("denied by a test") && done.err.contains("use the staging"), "{}", done.err);
    assert!(!done.err.contains('\u{1b}'), "what a person typed is encoded as well");
    let result = json(&done);
    assert_eq!((&result["result"], &result["exit"], &result["by"]), (&"denied".into(), &77.into(), &"a test".into()));
    assert_eq!(result["reasons"][0]["text"], "use the staging \u{1b}[31mdatabase");
    assert!(machine.names().is_empty());
}

#[test]
fn without_a_server_the_run_serves_the_page_itself_and_prints_one_link() {
    let machine = Machine::new();
    let run = start(&machine, &TOUCH);
    let client = machine.client();
    approve(&client, &machine.held(&client));
    let done = run.finish();
    assert_eq!(done.code, 0, "{}", done.err);
    let links: Vec<&str> = done.err.lines().filter(|line| line.contains("http://127.0.0.1:")).collect();
    assert_eq!(links.len(), 1, "{}", done.err);
    assert_eq!(machine.names(), ["ran"]);
}

#[test]
fn nobody_deciding_in_time_is_no_approval() {
    let machine = Machine::new();
    let done = machine.holdpoint(&["run", "--json", "--hold-timeout", "1s", "--", "touch", "ran"]);
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(json(&done)["result"], "no-decision");
    assert!(machine.names().is_empty());
}

#[test]
fn a_server_killed_while_a_run_waits_is_no_approval() {
    let machine = Machine::new();
    let mut server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &["run", "--hold-timeout", "8s", "--", "touch", "ran"]);
    machine.held(&client);
    server.0.kill().expect("the server can be killed");
    let done = run.finish();
    assert_eq!(done.code, 75, "{}", done.err);
    assert!(done.err.contains("the approval server is away"), "{}", done.err);
    assert!(machine.names().is_empty());
}

#[test]
fn a_run_outlives_a_restart_of_the_server() {
    let machine = Machine::new();
    let server = machine.serve();
    let run = start(&machine, &TOUCH);
    let hold = machine.held(&machine.client());
    drop(server);
    let _server = machine.serve();
    let client = machine.client();
    assert_eq!(machine.held(&client).id, hold.id);
    approve(&client, &hold);
    let done = run.finish();
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(machine.names(), ["ran"]);
}

#[test]
fn a_script_that_changes_while_it_is_held_is_held_again() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    machine.file("deploy.sh", "echo harmless > ran\n");
    let run = start(&machine, &["run", "--", "sh", "deploy.sh"]);
    let first = machine.held(&client);
    assert_eq!(first.plan.operands.len(), 1, "the script is part of what is shown");
    machine.file("deploy.sh", "echo harmful > ran\n");
    approve(&client, &first);
    let second = eventually("another hold", || Some(machine.held(&client)).filter(|hold| hold.id != first.id));
    assert!(!machine.names().contains(&"ran".into()), "what was approved did not run");
    assert_ne!(first.digest, second.digest);
    assert_eq!(state(&client, &first), "cancelled");
    deny(&client, &second, "that is another script");
    let done = run.finish();
    assert_eq!(done.code, 77);
    assert!(done.err.contains("changed since it was approved") && done.err.contains("deploy.sh"), "{}", done.err);
    assert!(!machine.names().contains(&"ran".into()));
}

#[test]
fn every_other_change_makes_a_new_hold_too() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let change = |args: &[&str], says: &str, change: &dyn Fn()| {
        let run = start(&machine, args);
        let first = machine.held(&client);
        change();
        approve(&client, &first);
        let second = eventually("another hold", || Some(machine.held(&client)).filter(|hold| hold.id != first.id));
        deny(&client, &second, "no");
        let done = run.finish();
        assert!(done.code == 77 && done.err.contains(says), "{says}: {}", done.err);
        assert!(!machine.names().contains(&"ran".into()), "{says}");
    };
    change(&TOUCH, "the policy", &|| machine.configure("deny_read_paths = [\"**/.env\"]\n"));
    // A policy that now would allow it: the person who was asked still decides.
    change(&TOUCH, "the policy", &|| {
        machine.configure("[profile.default]\napproval_policy = \"full-auto\"\n");
    });
    machine.configure("");
    let tool = machine.file("tool", "#!/bin/sh\ntouch ran\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    change(&["run", "--", "./tool"], "the program file", &|| {
        drop(machine.file("tool", "#!/bin/sh\n: evil; touch ran\n"))
    });
    change(&["run", "--", "sh", "-c", ". ./tool"], "tool", &|| drop(machine.file("tool", "touch ran; true\n")));
    // However large it is, and wherever a shell goes before it reads it.
    let large = |first: &str| drop(machine.file("large", format!("{first}; exit\n{}", "#".repeat(1 << 20))));
    large("touch ran");
    change(&["run", "--", "sh", "large"], "large", &|| large(": evil; touch ran"));
    drop(machine.file("scripts/sub dir/deploy", "touch ran\n"));
    change(
        &["run", "--", "sh", "-c", "cd scripts && cd sub\\ dir && . ./dep''loy; cd ../..; touch ran"],
        "deploy",
        &|| drop(machine.file("scripts/sub dir/deploy", ": evil\n")),
    );
    let inside = machine.workspace();
    change(&TOUCH, "the working directory", &|| {
        std::fs::rename(&inside, machine.root().join("old")).expect("rename");
        std::fs::create_dir(&inside).expect("mkdir");
    });
}

#[test]
fn a_file_on_standard_input_is_part_of_what_is_shown_and_still_read_by_the_command() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let script = machine.file("script", "echo one\n");
    let open = || std::fs::File::open(&script).expect("it opens");
    let run = Background(machine.command(["run", "--", "sh"]).stdin(open()).spawn().expect("it starts"));
    approve(&client, &machine.held(&client));
    assert_eq!(run.finish().out, "one\n");
    let run = Background(machine.command(["run", "--", "sh"]).stdin(open()).spawn().expect("it starts"));
    let first = machine.held(&client);
    machine.file("script", "echo two\n");
    approve(&client, &first);
    let second = eventually("another hold", || Some(machine.held(&client)).filter(|hold| hold.id != first.id));
    deny(&client, &second, "no");
    let done = run.finish();
    assert!(done.code == 77 && done.out.is_empty() && done.err.contains("standard input"), "{done:?}");
}

#[test]
fn interrupting_a_run_that_waits_withdraws_its_hold() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let run = start(&machine, &TOUCH);
        let hold = machine.held(&client);
        kill(Pid::from_raw(run.0.id().cast_signed()), signal).expect("it can be signalled");
        let done = run.finish();
        assert_eq!(done.code, code, "{}", done.err);
        assert_eq!(state(&client, &hold), "cancelled");
    }
    assert!(machine.names().is_empty());
}

#[test]
fn a_run_killed_while_it_waits_leaves_no_hold_that_could_run() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let mut run = start(&machine, &TOUCH);
    let hold = machine.held(&client);
    run.0.kill().expect("it can be killed");
    run.0.wait().expect("it ends");
    eventually("the end of the hold", || (state(&client, &hold) == "cancelled").then_some(()));
    assert!(client.decide(&hold.id, hold.digest, Decision::Approve, "late").is_err());
}

#[test]
fn a_command_that_cannot_be_found_is_not_held() {
    let machine = Machine::new();
    let done = machine.holdpoint(&["run", "--", "no-such-program-here"]);
    assert_eq!(done.code, 127, "{}", done.err);
}

#[test]
fn two_runs_share_the_server_of_the_first_and_survive_its_end() {
    let machine = Machine::new();
    let first = start(&machine, &["run", "--", "touch", "first"]);
    let client = machine.client();
    let hold = machine.held(&client);
    let second = start(&machine, &["run", "--", "touch", "second"]);
    let other = eventually("the second hold", || {
        client.list(false).ok()?.into_iter().find(|other| other.id != hold.id && other.state.name() == "pending")
    });
    approve(&client, &hold);
    assert_eq!(first.finish().code, 0);
    drop(client);
    // The server went with the first run; the second one takes its place and is asked about where it stood.
    let client = eventually("the second server", || {
        Client::connect(&machine.state()).ok().flatten().filter(|client| client.get(&other.id).is_ok())
    });
    approve(&client, &other);
    let done = second.finish();
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(machine.names(), ["first", "second"]);
}

#[test]
fn deciding_by_command_names_what_was_seen() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    let run = start(&machine, &TOUCH);
    let hold = machine.held(&client);
    let id = hold.id.as_str();
    let listed = machine.holdpoint(&["holds"]);
    assert!(listed.out.contains(id) && listed.out.contains("touch ran"), "{}", listed.out);
    assert_eq!(json(&machine.holdpoint(&["holds", "--json"]))[0]["id"], id);
    assert_eq!(machine.holdpoint(&["approve", id]).code, 64, "nobody was shown anything");
    assert_eq!(machine.holdpoint(&["approve", id, "--digest", "000000000000"]).code, 64);
    assert_eq!(machine.holdpoint(&["approve", id, "--digest", &hold.digest.to_string()[..11]]).code, 64, "too short");
    assert_eq!(machine.holdpoint(&["approve", "nonsense", "--digest", "000000000000"]).code, 64);
    let done = machine.holdpoint(&["approve", id, "--digest", &hold.digest.short(), "--json"]);
    assert_eq!((done.code, json(&done)["result"].as_str()), (0, Some("approved")));
    assert_eq!(run.finish().code, 0);
    assert_eq!(machine.holdpoint(&["deny", id]).code, 75, "it is over");
    let run = start(&machine, &TOUCH);
    let id = machine.held(&client).id.to_string();
    assert_eq!(machine.holdpoint(&["deny", &id, "--reason", "not now"]).code, 0);
    assert!(run.finish().err.contains("not now"));
}

#[test]
fn without_a_server_there_is_nothing_to_list_or_decide() {
    let machine = Machine::new();
    for args in [&["holds"][..], &["pair"], &["deny", "0000000000000000"]] {
        let done = machine.holdpoint(args);
        assert!(done.code == 75 && done.err.contains("no approval server runs"), "{args:?}: {done:?}");
    }
    assert_eq!(machine.holdpoint(&["serve", "--listen", "0.0.0.0:0"]).code, 64);
    let _server = machine.serve();
    let done = machine.holdpoint(&["pair", "--json"]);
    assert!(json(&done)["pairing_url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    let second = machine.holdpoint(&["serve"]);
    assert!(second.code == 64 && second.err.contains("runs already"), "{second:?}");
}

#[test]
fn only_what_may_go_better_later_is_75() {
    let machine = Machine::new();
    // An address that others have.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("it listens");
    let address = taken.local_addr().expect("an address").to_string();
    let done = machine.holdpoint(&["serve", "--listen", &address]);
    assert!(done.code == 74 && done.err.contains(&format!("cannot listen on {address}")), "{done:?}");
    assert!(!done.err.contains("os error"), "{done:?}");
    let _server = machine.serve();
    let client = machine.client();
    let done = machine.holdpoint(&["run", "--hold-timeout", "25h", "--", "true"]);
    assert!(done.code == 64 && done.err.contains("24 hours"), "{done:?}");
    let run = start(&machine, &["run", "--", "touch", "ran"]);
    let id = machine.held(&client).id.to_string();
    let done = machine.holdpoint(&["deny", &id, "--reason", &"x".repeat(501)]);
    assert!(done.code == 64 && done.err.contains("longer than 500"), "{done:?}");
    assert_eq!(machine.holdpoint(&["deny", &id]).code, 0);
    assert_eq!(run.finish().code, 77);
    let done = machine.holdpoint(&["deny", &id, "--reason", "later"]);
    assert!(done.code == 75 && done.err.contains("already denied") && done.err.contains("holdpoint holds"), "{done:?}");
}

const HOOKED: &str = "
[[hooks]]
event = \"PreToolUse\"
tool = \"shell\"
command = 'if echo \"$INPUT\" | grep -q DROP; then echo \"BLOCK: no DROP\"; exit 1; fi'

[[hooks]]
event = \"PostToolUse\"
command = 'echo \"$INPUT\" >> ../after'

[[hooks]]
event = \"SessionStart\"
command = 'exit 3'
";

#[test]
fn a_hook_blocks_before_anybody_is_asked_and_others_are_told() {
    let machine = Machine::with(HOOKED);
    let done = machine.holdpoint(&["run", "--json", "--profile", "free", "--", "sh", "-c", "touch ran # DROP"]);
    assert_eq!(done.code, 77);
    assert!(done.err.contains("BLOCK: no DROP") && done.err.contains("denied by a hook"), "{}", done.err);
    assert_eq!(json(&done)["by"], "a hook");
    assert!(machine.names().is_empty());
    let done = machine.run(&["sh", "-c", "exit 4"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("SessionStart") && done.err.contains("exited with 3"), "{}", done.err);
    let after = std::fs::read_to_string(machine.root().join("after")).expect("the hook ran");
    assert!(after.contains("\"exit_code\":4") && after.contains("PostToolUse"), "{after}");
    // Held: blocked by the hook, so nobody is asked, or this would wait.
    assert_eq!(machine.holdpoint(&["run", "--", "echo", "DROP"]).code, 77);
}

#[test]
fn a_hook_that_fails_in_any_way_blocks() {
    for (command, timeout, says) in [
        ("exit 1", "60s", "exited with 1"),
        ("kill -9 $$", "60s", "SIGKILL"),
        ("/no/such/guard", "60s", "not found"),
        ("sleep 60", "300ms", "did not answer within 300ms"),
    ] {
        let machine = Machine::with(&format!(
            "[[hooks]]\nevent = \"PreToolUse\"\ncommand = \"{command}\"\ntimeout = \"{timeout}\"\n"
        ));
        let done = machine.run(&["touch", "ran"]);
        assert!(done.code == 77 && done.err.contains(says), "{command}: {done:?}");
        assert!(machine.names().is_empty(), "{command}");
    }
}

#[test]
fn an_interrupt_ends_a_hook_that_runs() {
    let machine = Machine::with("[[hooks]]\nevent = \"PreToolUse\"\ncommand = 'touch ../hooked; sleep 60'\n");
    let run = start(&machine, &["run", "--profile", "free", "--", "touch", "ran"]);
    eventually("a running hook", || machine.root().join("hooked").exists().then_some(()));
    kill(Pid::from_raw(run.0.id().cast_signed()), Signal::SIGINT).expect("it can be signalled");
    assert_eq!(run.finish().code, 130);
    assert!(machine.names().is_empty());
}

#[test]
fn what_is_too_large_to_review_is_refused() {
    let machine = Machine::new();
    let long = "x".repeat(100_000);
    let done = machine.holdpoint(&["run", "--", "echo", &long]);
    assert!(done.code == 77 && done.err.contains("too large to review"), "{}", done.err);
    assert!(done.err.len() < 2000);
}

const PATCH: &str = "--- a/f\n+++ b/f\n@@ -1,1 +1,1 @@\n-one\n+two\n";

#[test]
fn an_edit_is_held_with_its_diff_and_covers_the_files_it_was_made_for() {
    let machine = Machine::new();
    let _server = machine.serve();
    let client = machine.client();
    machine.file("f", "one\n");
    let apply = || {
        let mut command = machine.command(["apply", "-"]);
        command.stdin(Stdio::piped());
        std::thread::spawn({
            let child = command;
            move || with_input(child, PATCH.as_bytes())
        })
    };
    let running = apply();
    let hold = machine.held(&client);
    assert_eq!(hold.plan.diff.as_ref().map(|diff| diff.as_bytes()), Some(PATCH.as_bytes()));
    assert_eq!(machine.read("f"), "one\n");
    assert!(machine.holdpoint(&["holds"]).out.contains("edit f  (pending"), "the files are named");
    approve(&client, &hold);
    assert_eq!(running.join().expect("it ends").code, 0);
    assert_eq!(machine.read("f"), "two\n");

    machine.file("f", "one\n");
    let running = apply();
    let first = machine.held(&client);
    machine.file("f", "one\nmore\n");
    approve(&client, &first);
    let second = eventually("another hold", || Some(machine.held(&client)).filter(|hold| hold.id != first.id));
    deny(&client, &second, "no");
    let done = running.join().expect("it ends");
    assert!(done.code == 77 && done.err.contains("changed since it was approved"), "{done:?}");
    assert_eq!(machine.read("f"), "one\nmore\n");
}

#[test]
fn a_machine_without_a_place_for_state_asks_nobody_and_runs_nothing() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.home().join(".local")).expect("mkdir");
    std::fs::write(machine.home().join(".local/state"), "a file").expect("write");
    let done = finish(machine.command(TOUCH).spawn().expect("it starts"));
    assert_eq!(done.code, 78, "{}", done.err);
    assert!(machine.names().is_empty());
}

/// Tries everything by which a program could find the page, the socket or the store, and prints what answered.
const REACH: &str = r#"
import os, socket, sys
port, state = int(sys.argv[1]), sys.argv[2]
for family, address in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.1.2.3"),
                        (socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1")]:
    try:
        with socket.socket(family) as tried:
            tried.settimeout(2)
            tried.connect((address, port))
            print("REACHED", address)
    except OSError: pass
for base in (state, "/proc/self/root" + state, "/proc/1/root" + state):
    try:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.connect(base + "/server.sock")
            print("REACHED socket", base)
    except OSError: pass
    try: print("REACHED directory", base, os.listdir(base))
    except OSError: pass
"#;

#[test]
fn nothing_inside_a_sandbox_reaches_the_page_or_its_state() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\n");
    let _server = machine.serve();
    let url = machine.client().url().to_owned();
    let port =
        url.split(':').nth(2).and_then(|rest| rest.split('/').next()).expect("the address has a port").to_owned();
    let state = machine.state().to_str().expect("a plain path").to_owned();
    machine.file("reach.py", REACH);
    let arguments = ["/usr/bin/python3", "reach.py", &port, &state];
    let outside =
        std::process::Command::new(arguments[0]).args(&arguments[1..]).current_dir(machine.workspace()).output();
    let outside = String::from_utf8(outside.expect("python runs").stdout).expect("plain text");
    for way in ["REACHED 127.0.0.1", "REACHED socket", "REACHED directory"] {
        assert!(outside.contains(way), "without a sandbox {way} must work: {outside}");
    }
    for mode in ["read-only", "workspace-write"] {
        let mut command = vec!["run", "--sandbox", mode, "--"];
        command.extend(arguments);
        let inside = machine.holdpoint(&command);
        assert_eq!((inside.code, inside.out.as_str()), (0, ""), "{mode}: {}", inside.err);
    }
    assert_eq!(machine.holdpoint(&["run", "--sandbox", "workspace-write-and-net", "--", "true"]).code, 69);
}

#[test]
fn nobody_is_asked_about_what_cannot_run() {
    let machine = Machine::new();
    let run = ["run", "--hold-timeout", "2s", "--deny-read", "/proc/cpuinfo", "--", "true"];
    let done = machine.holdpoint(&run);
    assert!(done.code == 78 && !done.err.contains("held"), "{done:?}");
    // In a sandbox there is no other.
    std::fs::copy(env!("CARGO_BIN_EXE_holdpoint"), machine.workspace().join("holdpoint")).expect("copied");
    let done = machine.run(&["./holdpoint", "run", "--hold-timeout", "2s", "--", "true"]);
    assert!(done.code == 69 && !done.err.contains("held"), "{done:?}");
    let done = machine.holdpoint(&["run", "--hold-timeout", "1s", "--", "true"]);
    assert_eq!(done.code, 75, "the control: what could run is held: {done:?}");
}
