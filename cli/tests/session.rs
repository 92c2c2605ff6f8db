//! `holdpoint session`: a sandbox that lives on, with every command in it judged as by `run`.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::{Command, Stdio};

use holdpoint_approval_web::client::Decision;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Background, Done, Machine, eventually, exists, finish, json, keeps_apart, somebody_runs, with_input};

/// A machine with a session in its workspace; the session ends with it.
struct Session(Machine);

impl Session {
    fn start(machine: Machine, flags: &[&str]) -> Self {
        let done = machine.holdpoint(&[&["session", "start", "--idle-timeout", "5m"], flags].concat());
        assert_eq!(done.code, 0, "{}", done.err);
        Self(machine)
    }

    fn free() -> Self {
        Self::start(Machine::new(), &["--profile", "free"])
    }

    fn run(&self, argv: &[&str]) -> Done {
        self.0.holdpoint(&[&["session", "run", "--"], argv].concat())
    }

    fn shell(&self, script: &str) -> Done {
        self.run(&["sh", "-c", script])
    }

    fn background(&self, script: &str) -> Background {
        Background(self.0.command(["session", "run", "--", "sh", "-c", script]).spawn().unwrap())
    }

    /// The one session there is, as `list --json` shows it.
    fn status(&self) -> serde_json::Value {
        json(&self.0.holdpoint(&["session", "list", "--json"]))[0].clone()
    }

    fn keeper(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The workspace may be gone.
        let mut stop = self.0.command(["session", "stop", "--all"]);
        finish(stop.current_dir(self.0.home()).spawn().unwrap());
    }
}

/// `script` in a shell, whose arguments are the words of `command`.
fn in_shell(script: &str, command: &Command) -> Done {
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn pid(background: &Background) -> Pid {
    Pid::from_raw(background.0.id().cast_signed())
}

fn is_gone(process: Pid) -> bool {
    kill(process, None).is_err()
}

#[test]
fn a_session_is_started_used_listed_and_stopped_and_leaves_nothing() {
    let machine = Machine::new();
    let started = machine.holdpoint(&["session", "start", "--profile", "free", "--name", "api"]);
    assert_eq!((started.code, started.out.as_str()), (0, "api\n"), "{}", started.err);
    for code in [0, 3, 77, 255] {
        let run = machine.holdpoint(&["session", "run", "api", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!((run.code, run.err.as_str()), (code, ""));
    }
    let session = Session(machine);
    let status = session.status();
    assert_eq!((&status["name"], &status["commands"], &status["running"]), (&"api".into(), &4.into(), &0.into()));
    assert_eq!(status["workspace"], session.0.workspace().to_string_lossy().as_ref());
    let keeper = session.keeper();
    let stopped = session.0.holdpoint(&["session", "stop", "api"]);
    assert_eq!((stopped.code, stopped.out.as_str()), (0, "stopped api\n"), "{}", stopped.err);
    assert_eq!(session.0.names(), Vec::<String>::new(), "no reserved name is left");
    eventually("the end of the keeper", || is_gone(keeper).then_some(()));
    assert_eq!(session.0.holdpoint(&["session", "list"]).out, "no session lives\n");
    let left: Vec<_> = std::fs::read_dir(session.0.state().join("sessions")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
    let run = session.0.holdpoint(&["session", "run", "api", "--json", "--", "true"]);
    assert_eq!((run.code, &json(&run)["result"]), (69, &"session".into()));
    assert!(run.err.contains("there is no session api") && run.err.contains("session start --name api"), "{}", run.err);
}

#[test]
fn commands_of_a_session_share_what_lives_and_keep_their_own_streams() {
    let session = Session::free();
    assert_eq!(session.shell("echo here > /tmp/note; sleep 3141 > /dev/null 2>&1 & echo $! > /tmp/pid").code, 0);
    let next = session.shell("cat /tmp/note; kill $(cat /tmp/pid) && echo killed");
    assert_eq!(next.out, "here\nkilled\n", "{}", next.err);
    let big: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let done = with_input(session.0.command(["session", "run", "--", "sh", "-c", "wc -c; echo problem >&2"]), &big);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "2000000\n", "problem\n"));
    let long = "x".repeat(120_000);
    let many: Vec<&str> = ["sh", "-c", "echo $#", "sh"].into_iter().chain([long.as_str(); 12]).collect();
    assert_eq!(session.run(&many).out, "12\n");
    assert_eq!(session.run(&["no-such-program-here"]).code, 127);
    assert_eq!(session.run(&["/etc/passwd"]).code, 126);
    assert_eq!(session.run(&[""]).code, 64);
}

#[test]
fn the_session_of_a_workspace_is_found_from_anywhere_in_it() {
    let machine = Machine::new();
    machine.file(".git/HEAD", "ref: refs/heads/main\n");
    machine.file("deep/er/file", "");
    let session = Session::start(machine, &["--profile", "free"]);
    let mut command = session.0.command(["session", "run", "--", "pwd"]);
    let done = finish(command.current_dir(session.0.workspace().join("deep/er")).spawn().unwrap());
    assert_eq!(done.out, format!("{}/deep/er\n", session.0.workspace().display()), "{}", done.err);
    // From elsewhere it is named, and a command starts in the workspace.
    let name = session.status()["name"].as_str().unwrap().to_owned();
    let mut command = session.0.command(["session", "run", &name, "--", "pwd"]);
    let done = finish(command.current_dir(session.0.home()).spawn().unwrap());
    assert_eq!(done.out, format!("{}\n", session.0.workspace().display()), "{}", done.err);
}

#[test]
fn whoever_names_no_session_is_told_which_there_are() {
    let machine = Machine::new();
    for args in [&["session", "run", "nobody", "--", "true"][..], &["session", "stop", "nobody"]] {
        let done = machine.holdpoint(args);
        assert!(done.code == 69 && done.err.contains("there is no session nobody\n  there is none"), "{done:?}");
    }
    let session = Session::start(machine, &["--profile", "free", "--name", "one"]);
    let done = session.0.holdpoint(&["session", "run", "nobody", "--", "true"]);
    assert!(done.code == 69 && done.err.contains("\n  there is one; to start"), "{done:?}");
}

#[test]
fn a_command_of_a_session_has_the_umask_of_who_asks_for_it() {
    let session = Session::free();
    for (mask, mode) in [("077", "600"), ("0", "666"), ("022", "644")] {
        let args = ["session", "run", "--", "sh", "-c", "umask; rm -f f; echo x > f; stat -c %a f"];
        let done = finish(session.0.command_after(&format!("umask {mask}"), args).spawn().unwrap());
        assert_eq!(done.out, format!("0{mask:0>3}\n{mode}\n"), "{}", done.err);
    }
}

#[test]
fn below_a_workspace_without_a_repository_its_session_is_named() {
    let session = Session::free();
    let machine = &session.0;
    machine.file("sub/deep/a", "");
    let name = session.status()["name"].as_str().unwrap().to_owned();
    let below = |args: &[&str]| {
        finish(machine.command(args).current_dir(machine.workspace().join("sub/deep")).spawn().unwrap())
    };
    let done = below(&["session", "run", "--", "true"]);
    assert!(done.code == 69 && done.err.contains(&format!("holdpoint session run {name} -- CMD")), "{done:?}");
    let done = below(&["session", "run", &name, "--", "pwd"]);
    assert!(done.code == 0 && done.out.ends_with("sub/deep\n"), "{done:?}");
    // Whoever names another is told what there is.
    let done = below(&["session", "run", "nobody", "--", "true"]);
    assert!(done.err.contains(&format!("there is {name}; to start")), "{done:?}");
}

#[test]
fn a_name_is_taken_once() {
    let session = Session::free();
    let second = session.0.holdpoint(&["session", "start", "--profile", "free", "--json"]);
    assert_eq!((second.code, &json(&second)["result"]), (64, &"usage".into()), "{}", second.err);
    assert!(second.err.contains("already"), "{}", second.err);
    assert_eq!(session.run(&["true"]).code, 0, "the first is as it was");
    assert_eq!(session.0.holdpoint(&["session", "start", "--name", "../x"]).code, 64);
}

#[test]
fn a_session_is_the_same_by_whatever_name_its_workspace_is_called() {
    let machine = Machine::new();
    let link = machine.root().join("link");
    std::os::unix::fs::symlink(machine.workspace(), &link).unwrap();
    let called = |args: &[&str], pwd: &std::path::Path| {
        finish(machine.command(args).current_dir(pwd).env("PWD", pwd).spawn().unwrap())
    };
    assert_eq!(called(&["session", "start", "--profile", "free"], &link).code, 0);
    machine.file("a", "found");
    let script = format!("cat {}/a", link.display());
    for pwd in [&link, &machine.workspace()] {
        let done = called(&["session", "run", "--", "sh", "-c", &script], pwd);
        assert_eq!(done.out, "found", "{}", done.err);
    }
    assert_eq!(called(&["session", "stop"], &link).code, 0);
}

#[test]
fn what_keeps_a_session_from_starting_is_said() {
    let machine = Machine::with("[profile.bare]\nsandbox = \"none\"\n");
    let bare = machine.holdpoint(&["session", "start", "--profile", "bare"]);
    assert_eq!(bare.code, 64);
    assert!(bare.err.contains("nothing to keep"), "{}", bare.err);
    machine.configure("nonsense = 1\n");
    let wrong = machine.holdpoint(&["session", "start", "--json"]);
    assert_eq!((wrong.code, &json(&wrong)["result"]), (78, &"config".into()), "{}", wrong.err);
    assert_eq!(machine.holdpoint(&["session", "list", "--json"]).out, "[]\n", "nothing was started");
}

#[test]
fn policy_hooks_and_masks_count_for_every_command() {
    let config = "
[profile.strict]
approval_policy = \"full-auto\"
deny_read_paths = [\"**/.env*\"]

[[hooks]]
event = \"PreToolUse\"
tool = \"shell\"
command = 'if echo \"$INPUT\" | grep -q volumeDelete; then echo \"BLOCK: destructive\"; exit 1; fi'

[[rules]]
prefix = [\"git\", \"push\"]
verdict = \"deny\"
reason = \"publishing is for people\"
";
    let machine = Machine::with(config);
    machine.file(".env", "TOKEN=secret");
    let session = Session::start(machine, &["--profile", "strict"]);
    let denied = session.run(&["git", "push"]);
    assert_eq!(denied.code, 77);
    assert!(denied.err.contains("publishing is for people"), "{}", denied.err);
    let blocked = session.shell("echo volumeDelete > ran");
    assert_eq!(blocked.code, 77);
    assert!(
        blocked.err.contains("BLOCK: destructive") && !exists(session.0.workspace().join("ran")),
        "{}",
        blocked.err
    );
    assert_ne!(session.run(&["cat", ".env"]).code, 0);
    // Made while the session lives.
    session.0.file("later/.env.local", "TOKEN=secret");
    let late =
        session.shell("for i in $(seq 500); do cat later/.env.local > /dev/null 2>&1 || exit 5; sleep 0.01; done");
    assert_eq!(late.code, 5, "it is masked before long");
}

#[test]
fn a_session_judges_opens_as_long_as_the_profile_says_so() {
    let denied = "[profile.strict]\napproval_policy = \"full-auto\"\ndeny_read_paths = [\"**/.env*\"]\n";
    let session =
        Session::start(Machine::with(&format!("{denied}deny_read_strict = true\n")), &["--profile", "strict"]);
    session.0.file(".env.new", "TOKEN=secret");
    assert_ne!(session.run(&["cat", ".env.new"]).code, 0);
    assert_eq!(session.run(&["python3", "-c", "print(1)"]).code, 0);
    session.0.configure(denied);
    let stale = session.run(&["true"]);
    assert!(stale.code == 69 && stale.err.contains("has changed"), "{}", stale.err);
}

#[test]
fn nothing_runs_in_a_sandbox_that_would_not_be_made_any_more() {
    let session = Session::free();
    for change in [
        "deny_read_paths = [\"**/new\"]\n",
        "[profile.free.limits]\nmemory = \"1GiB\"\n",
        "readable_paths = [\"/var/log\"]\n",
        "sandbox = \"read-only\"\n",
    ] {
        std::fs::write(session.0.config(), format!("[profile.free]\napproval_policy = \"full-auto\"\n{change}"))
            .unwrap();
        let stale = session.shell("touch ran");
        assert_eq!(stale.code, 69, "{change}: {}", stale.err);
        assert!(stale.err.contains("has changed") && stale.err.contains("session stop"), "{}", stale.err);
        assert!(!exists(session.0.workspace().join("ran")));
    }
    session.0.configure("");
    assert_eq!(session.shell("touch ran").code, 0, "as it was, it can be used again");
    // What only judges holds from the next command on.
    session.0.configure("[[rules]]\nprefix = [\"touch\"]\nverdict = \"deny\"\nreason = \"new\"\n");
    assert_eq!(session.run(&["touch", "more"]).code, 77);
    // Another directory under the same name is another workspace.
    session.0.configure("");
    let (workspace, aside) = (session.0.workspace(), session.0.root().join("aside"));
    std::fs::rename(&workspace, &aside).unwrap();
    std::fs::create_dir(&workspace).unwrap();
    let other = session.shell("touch ran");
    assert_eq!((other.code, exists(workspace.join("ran"))), (69, false), "{}", other.err);
}

#[test]
fn what_is_said_to_start_a_session_again_starts_one_that_is_protected_as_before() {
    let flags = ["--profile", "free", "--name", "api", "--deny-read", "**/it's secret", "--sandbox", "read-only"];
    let session = Session::start(Machine::new(), &flags);
    session.0.file("it's secret", "text");
    let protected = |session: &Session| {
        let done =
            session.0.holdpoint(&["session", "run", "api", "--", "sh", "-c", "touch new; cat it*; echo went on"]);
        assert_eq!((done.code, done.out.as_str()), (0, "went on\n"), "{}", done.err);
    };
    protected(&session);
    std::fs::write(session.0.config(), "[profile.free]\napproval_policy = \"full-auto\"\ndeny_read_paths = [\"x\"]\n")
        .unwrap();
    let stale = session.0.holdpoint(&["session", "run", "api", "--", "true"]);
    assert_eq!(stale.code, 69, "{}", stale.err);
    let hint = stale.err.lines().last().unwrap();
    let script = format!("program=$1; holdpoint() {{ \"$program\" \"$@\"; }}; {hint}");
    let done = in_shell(&script, &session.0.command([""; 0]));
    assert_eq!((done.code, done.out.as_str()), (0, "stopped api\napi\n"), "{hint}: {}", done.err);
    protected(&session);
}

#[test]
fn a_keeper_that_does_not_answer_is_listed_and_can_be_killed() {
    let session = Session::free();
    let run = session.background("touch started; sleep 12379");
    eventually("the command", || exists(session.0.workspace().join("started")).then_some(()));
    let keeper = session.keeper();
    kill(keeper, Signal::SIGSTOP).unwrap();
    let status = session.status();
    assert_eq!((&status["pid"], &status["problem"]), (&keeper.as_raw().into(), &"it does not answer".into()));
    let name = status["name"].as_str().unwrap();
    let listed = session.0.holdpoint(&["session", "list"]);
    assert!(listed.out.contains(&format!("{name}  pid {keeper}, cannot be used")), "{}", listed.out);
    let done = session.run(&["true"]);
    assert_eq!(done.code, 69, "{}", done.err);
    assert!(done.err.contains("does not answer") && done.err.contains(&format!("session stop {name}")), "{}", done.err);
    let stopped = session.0.holdpoint(&["session", "stop"]);
    assert_eq!(stopped.code, 0, "{}", stopped.err);
    assert_eq!(stopped.out, format!("killed {name}: its keeper did not answer\n"));
    eventually("somebody who collects the keeper", || is_gone(keeper).then_some(()));
    assert_eq!(run.finish().code, 70);
    eventually("the end of the command", || (!somebody_runs("12379")).then_some(()));
    assert_eq!(session.0.holdpoint(&["session", "list"]).out, "no session lives\n");
}

#[test]
fn a_session_has_the_open_files_its_user_may_have_and_its_commands_the_usual_ones() {
    let machine = Machine::outside_tmp();
    let start = machine.command(["session", "start", "--profile", "free", "--idle-timeout", "5m"]);
    let done = in_shell("ulimit -Sn 200; ulimit -Hn 700; exec \"$@\"", &start);
    let session = Session(machine);
    assert_eq!(done.code, 0, "{}", done.err);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", session.keeper())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["700"; 2]);
    assert_eq!(session.shell("ulimit -Sn; ulimit -Hn").out, "200\n700\n");
    if keeps_apart() {
        let own = ["session", "run", "--private-tmp", "--", "sh", "-c", "ulimit -Sn; ulimit -Hn"];
        let done = session.0.holdpoint(&own);
        assert_eq!(done.out, "200\n700\n", "{}", done.err);
    }
}

#[test]
fn a_keeper_that_is_out_of_something_is_not_the_fault_of_the_program() {
    let machine = Machine::new();
    let start = machine.command(["session", "start", "--profile", "free", "--idle-timeout", "5m"]);
    let done = in_shell("ulimit -n 128; exec \"$@\"", &start);
    let session = Session(machine);
    assert_eq!(done.code, 0, "{}", done.err);
    let mut runs = Vec::new();
    let refused = loop {
        assert!(runs.len() < 128, "each of them takes a few descriptors");
        let mut run = session.background(&format!("touch started{}; sleep 600", runs.len()));
        let started = session.0.workspace().join(format!("started{}", runs.len()));
        let over = eventually("a start or an end", || {
            if exists(&started) { Some(false) } else { run.0.try_wait().unwrap().map(|_| true) }
        });
        if over {
            break run.finish();
        }
        runs.push(run);
    };
    assert_eq!(refused.code, 70, "{}", refused.err);
    assert!(refused.err.contains("cannot run sh: ") && refused.err.contains("files"), "{}", refused.err);
    drop(runs.pop());
    eventually("room for another one", || (session.run(&["true"]).code == 0).then_some(()));
}

#[test]
fn a_held_command_runs_in_the_session_when_it_is_approved_and_as_it_was_shown() {
    let session = Session::start(Machine::new(), &[]);
    let _server = session.0.serve();
    let client = session.0.client();
    session.0.file("deploy.sh", "echo harmless; echo x > ran\n");
    let run = Background(session.0.command(["session", "run", "--", "sh", "deploy.sh"]).spawn().unwrap());
    let first = session.0.held(&client);
    assert_eq!(first.plan.operands.len(), 1);
    session.0.file("deploy.sh", "echo harmful\n");
    client.decide(&first.id, first.digest, Decision::Approve, "a test").unwrap();
    let second = eventually("another hold", || Some(session.0.held(&client)).filter(|hold| hold.id != first.id));
    session.0.file("deploy.sh", "echo harmless; echo x > ran\n");
    client.decide(&second.id, second.digest, Decision::Deny { reason: "no".into() }, "a test").unwrap();
    let done = run.finish();
    assert_eq!(
        (done.code, done.out.as_str(), exists(session.0.workspace().join("ran"))),
        (77, "", false),
        "{}",
        done.err
    );
    let run = Background(session.0.command(["session", "run", "--", "sh", "deploy.sh"]).spawn().unwrap());
    let third = session.0.held(&client);
    client.decide(&third.id, third.digest, Decision::Approve, "a test").unwrap();
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "harmless\n"), "{}", done.err);
    eventually("the outcome", || (client.get(&third.id).unwrap().state.name() == "finished").then_some(()));
}

#[test]
fn a_policy_that_changes_while_a_command_is_held_keeps_it_from_running() {
    let session = Session::start(Machine::new(), &[]);
    let _server = session.0.serve();
    let client = session.0.client();
    let run = Background(session.0.command(["session", "run", "--", "touch", "ran"]).spawn().unwrap());
    let hold = session.0.held(&client);
    session.0.configure("[profile.default]\ndeny_read_paths = [\"**/.env\"]\n");
    client.decide(&hold.id, hold.digest, Decision::Approve, "a test").unwrap();
    let done = run.finish();
    assert_eq!((done.code, exists(session.0.workspace().join("ran"))), (69, false), "{}", done.err);
}

/// A session in which what commands execute is judged.
fn guarded(arguments: &[&str]) -> Session {
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
    let machine = Machine::with(RULES);
    // In files, where nobody reads them before they run.
    machine.file("push.sh", "git push; echo went on");
    machine.file("late.sh", "sleep 0.2; python3 -c \"import os; os.setsid(); os.execvp('git', ['git', 'push'])\"");
    machine.file("hold.sh", "touch held && echo touched");
    Session::start(machine, &[&["--profile", "free"], arguments].concat())
}

#[test]
fn what_commands_of_a_session_execute_is_judged_and_the_one_who_waits_is_told() {
    let session = guarded(&[]);
    let other = session.background("read line; echo other");
    let done = session.run(&["sh", "push.sh"]);
    assert_eq!((done.code, done.out.as_str()), (0, "went on\n"), "{}", done.err);
    assert!(done.err.contains("holdpoint: refused inside: /usr/bin/git push\n"), "{}", done.err);
    assert!(done.err.contains("releases are made by the robot"), "{}", done.err);
    // By whom it is executed is known also when the process has left its command's session.
    let done = session.run(&["sh", "late.sh"]);
    assert!(done.err.contains("refused inside"), "{}", done.err);
    let done = other.finish();
    assert_eq!((done.out.as_str(), done.err.as_str()), ("other\n", ""), "it is no business of the others");
    let log = session.0.state().join("sessions").join(format!("{}.log", session.status()["name"].as_str().unwrap()));
    assert!(std::fs::read_to_string(log).unwrap().contains("refused inside"));
    // Without the guard, git runs.
    let free = Session::free();
    free.0.file("push.sh", "git push; echo went on");
    let done = free.run(&["sh", "push.sh"]);
    assert!(done.err.contains("fatal:") && !done.err.contains("refused inside"), "{}", done.err);
}

#[test]
fn what_commands_of_a_session_execute_waits_for_a_person_and_others_go_on() {
    let session = guarded(&[]);
    let _server = session.0.serve();
    let client = session.0.client();
    let run = Background(session.0.command(["session", "run", "--", "sh", "hold.sh"]).spawn().unwrap());
    let hold = session.0.held(&client);
    assert_eq!(hold.plan.argv.iter().map(ToString::to_string).collect::<Vec<_>>(), ["touch", "held"]);
    assert_eq!(session.shell("echo free").out, "free\n");
    client.decide(&hold.id, hold.digest, Decision::Approve, "a test").unwrap();
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "touched\n"), "{}", done.err);
    assert!(done.err.contains("waits inside") && done.err.contains("approved by a test"), "{}", done.err);
    let run = Background(session.0.command(["session", "run", "--", "sh", "hold.sh"]).spawn().unwrap());
    let hold = session.0.held(&client);
    client.decide(&hold.id, hold.digest, Decision::Deny { reason: "not today".into() }, "a test").unwrap();
    let done = run.finish();
    assert!(done.code == 126 && done.err.contains("not today"), "{}", done.err);
    // Of one that is killed nobody is asked any more.
    let run = Background(session.0.command(["session", "run", "--", "sh", "hold.sh"]).spawn().unwrap());
    let hold = session.0.held(&client);
    kill(pid(&run), Signal::SIGKILL).unwrap();
    eventually("the end of the hold", || (client.get(&hold.id).unwrap().state.name() == "cancelled").then_some(()));
}

#[test]
fn what_waits_inside_a_session_waits_as_long_as_its_start_said() {
    let session = guarded(&["--hold-timeout", "1s"]);
    let _server = session.0.serve();
    let done = session.run(&["sh", "hold.sh"]);
    assert!(done.code == 126 && !done.out.contains("touched"), "{} {}", done.out, done.err);
    assert!(done.err.contains("nobody decided"), "{}", done.err);
}

#[test]
fn a_session_that_judges_is_of_no_use_under_another_policy() {
    let session = guarded(&[]);
    let more = "exec_guard = true\n[[rules]]\nprefix = [\"rm\"]\nverdict = \"deny\"\n";
    session.0.configure(more);
    let stale = session.run(&["true"]);
    assert!(stale.code == 69 && stale.err.contains("has changed"), "{}", stale.err);
}

#[test]
fn a_command_can_do_less_than_its_session_and_never_more() {
    let config = "[profile.small]\napproval_policy = \"full-auto\"\n[profile.small.limits]\nopen_files = 64\n";
    let machine = Machine::outside_tmp();
    machine.configure(config);
    for directory in ["a", "b"] {
        machine.file(&format!("{directory}/file"), "text\n");
    }
    let session = Session::start(machine, &["--profile", "small"]);
    let narrow = |flags: &[&str], script: &str| {
        session.0.holdpoint(&[&["session", "run"], flags, &["--", "sh", "-c", script]].concat())
    };
    let everywhere = "echo x > a/new && echo x > b/new && echo x > /tmp/new; cat a/file b/file; ls -A /tmp; ulimit -n";
    let done = session.shell(everywhere);
    assert_eq!(done.out, "text\ntext\nnew\n64\n", "without a flag it may do all this: {}", done.err);

    let bounds = ["--open-files", "10000", "--file-size", "1KiB", "--cpu-time", "1h"];
    let done = narrow(&bounds, "ulimit -n; ulimit -t; head -c 2048 /dev/zero > big; stat -c %s big");
    assert!(done.out.starts_with("64\n3600\n") && done.out.ends_with("1024\n"), "{}{}", done.out, done.err);

    if !keeps_apart() {
        for flags in [&["--may-write", "a"][..], &["--may-read", "a"], &["--private-tmp"]] {
            let done = narrow(flags, "touch ran");
            assert_eq!((done.code, exists(session.0.workspace().join("ran"))), (69, false), "{}", done.err);
            assert!(done.err.contains("ABI 6 is needed") && done.err.contains("leave it out"), "{}", done.err);
        }
        return;
    }
    let done = narrow(&["--may-write", "a"], "echo x > a/more; echo x > b/more; echo x > /tmp/more; ls b; ls /tmp");
    assert_eq!(done.out, "file\nnew\nnew\n", "{}", done.err);
    assert_eq!(done.err.matches("Permission denied").count(), 2, "{}", done.err);
    let done = narrow(&["--may-read", "a", "--may-read", "b/new"], "cat a/file b/new b/file");
    assert_eq!((done.out.as_str(), done.code), ("text\nx\n", 1), "{}", done.err);
    let done = narrow(&["--private-tmp"], "ls -A /tmp; echo x > /tmp/mine; cat a/file");
    assert_eq!(done.out, "text\n", "{}", done.err);
    assert_eq!(session.shell("ls -A /tmp").out, "new\n");

    // What cannot be given is said, and nothing runs.
    std::os::unix::fs::symlink("a", session.0.workspace().join("link")).unwrap();
    for (flags, why) in [(["--may-write", "none"], "exists inside"), (["--may-read", "link"], "symbolic link")] {
        let done = narrow(&flags, "touch ran");
        assert_eq!((done.code, exists(session.0.workspace().join("ran"))), (64, false), "{}", done.err);
        assert!(done.err.contains(why) && done.err.contains("\n  name "), "{}", done.err);
    }
    // A program that may not be read is not executed either.
    let program = session.0.file("program", "#!/bin/sh\ncat a/file");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = |flags: &[&str]| session.0.holdpoint(&[&["session", "run"], flags, &["--", "./program"]].concat());
    let done = run(&["--may-read", "a"]);
    assert!(done.code == 126 && done.err.contains("--may-read"), "{}", done.err);
    assert_eq!(run(&["--may-read", "a", "--may-read", "program"]).out, "text\n");
    let below = Session::free();
    let done = below.0.holdpoint(&["session", "run", "--private-tmp", "--", "touch", "ran"]);
    assert!(done.code == 64 && done.err.contains("below /tmp"), "{}", done.err);
}

#[test]
fn what_ends_a_command_that_may_do_less_is_said() {
    let limits = "limits = { cpu_time = \"10m\", disk = \"1MiB\" }\n";
    let machine = Machine::with(&format!("[profile.small]\napproval_policy = \"full-auto\"\n{limits}"));
    let session = Session::start(machine, &["--profile", "small"]);
    let run = |flags: &[&str], script: &str| {
        session.0.holdpoint(&[&["session", "run"], flags, &["--", "sh", "-c", script]].concat())
    };
    for (flags, script, code, says) in [
        (
            &["--cpu-time", "1s"][..],
            "while :; do :; done",
            152,
            "killed: a process computed longer than `--cpu-time 1s`",
        ),
        (&["--file-size", "4KiB"], "exec head -c 9999 /dev/zero > a", 153, "larger than `--file-size 4KiB` allows"),
        // The lower one counts.
        (&["--file-size", "1GiB"], "exec head -c 9999999 /dev/zero > b", 153, "`limits.disk = \"1MiB\"` allows ("),
    ] {
        let done = run(flags, script);
        assert!(done.code == code && done.err.contains(says), "{flags:?}: {done:?}");
        assert_eq!(done.err.lines().count(), 1, "{flags:?}: {done:?}");
    }
}

#[test]
fn a_person_is_shown_what_a_command_may_do_less() {
    let session = Session::start(Machine::new(), &[]);
    let _server = session.0.serve();
    let client = session.0.client();
    session.0.file("a/file", "");
    let command = ["session", "run", "--may-write", "a", "--cpu-time", "5s", "--", "touch", "a/new", "ran"];
    let run = Background(session.0.command(command).spawn().unwrap());
    let hold = session.0.held(&client);
    let line = format!("of all this may write nothing but {}/a", session.0.workspace().display());
    assert!(hold.plan.sandbox.contains(&line), "{:?}", hold.plan.sandbox);
    assert!(hold.plan.sandbox.contains(&"gets at most 5s of processor time for each of its processes".to_owned()));
    client.decide(&hold.id, hold.digest, Decision::Approve, "a test").unwrap();
    let done = run.finish();
    let expected = if keeps_apart() { (1, true, false) } else { (69, false, false) };
    let [made, ran] = ["a/new", "ran"].map(|name| exists(session.0.workspace().join(name)));
    assert_eq!((done.code, made, ran), expected, "{}", done.err);
}

#[test]
fn several_run_side_by_side() {
    let session = Session::free();
    std::thread::scope(|scope| {
        for worker in 0..6 {
            let session = &session;
            scope.spawn(move || {
                for round in 0..4 {
                    let done = session.shell(&format!("echo {worker}-{round}; exit {worker}"));
                    assert_eq!((done.code, done.out), (worker, format!("{worker}-{round}\n")));
                }
            });
        }
    });
    assert_eq!(session.status()["commands"], 24);
}

#[test]
fn a_killed_client_takes_its_command_along_and_nothing_else() {
    let session = Session::free();
    let tree = "trap '' HUP TERM INT; setsid sleep 27183 & sleep 27184 & touch started; wait";
    let one = session.background(tree);
    let mut other = session.background("touch other; read line; sleep 27185");
    eventually("both", || (session.0.names().len() >= 2 && somebody_runs("27183")).then_some(()));
    kill(pid(&one), Signal::SIGKILL).unwrap();
    eventually("the end of its command", || (!somebody_runs("27183") && !somebody_runs("27184")).then_some(()));
    eventually("one less", || (session.status()["running"] == 1).then_some(()));
    assert!(other.0.try_wait().unwrap().is_none());
    assert_eq!(session.run(&["true"]).code, 0);
}

#[test]
fn signals_reach_the_command_and_time_ends_it_alone() {
    let session = Session::start(
        Machine::with("[profile.short]\napproval_policy = \"full-auto\"\nlimits = { wall_time = \"1s\" }\n"),
        &["--profile", "short"],
    );
    let done = session.shell("setsid sleep 16180 & sleep 16181");
    assert_eq!(done.code, 137);
    assert!(done.err.contains("ran longer than"), "{}", done.err);
    eventually("the end of its whole tree", || (!somebody_runs("16180") && !somebody_runs("16181")).then_some(()));
    let session = Session::free();
    let run = session.background("trap 'echo got it; exit 9' TERM; touch ready; while :; do sleep 0.05; done");
    eventually("the trap", || exists(session.0.workspace().join("ready")).then_some(()));
    kill(pid(&run), Signal::SIGTERM).unwrap();
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (9, "got it\n"), "{}", done.err);
    let run = session.background("trap 'echo told; exit 8' USR1; touch again; while :; do sleep 0.05; done");
    eventually("the trap", || exists(session.0.workspace().join("again")).then_some(()));
    kill(pid(&run), Signal::SIGUSR1).unwrap();
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (8, "told\n"), "{}", done.err);
}

#[test]
fn a_killed_keeper_ends_everything_inside_and_is_told_from_an_end_of_the_command() {
    let session = Session::free();
    let run = session.background("trap '' HUP TERM; touch started; sleep 14142");
    eventually("the command", || somebody_runs("14142").then_some(()));
    kill(session.keeper(), Signal::SIGKILL).unwrap();
    let done = run.finish();
    assert_eq!(done.code, 70);
    assert!(done.err.contains("learn how the command ended") && done.err.contains("was killed"), "{}", done.err);
    eventually("the end of the command", || (!somebody_runs("14142")).then_some(()));
    let run = session.run(&["true"]);
    assert_eq!(run.code, 69);
    assert!(run.err.contains("was killed"), "{}", run.err);
    assert_eq!(session.0.holdpoint(&["session", "list", "--json"]).out, "[]\n");
    let again = session.0.holdpoint(&["session", "start", "--profile", "free"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(session.run(&["true"]).code, 0);
}

#[test]
fn stopping_ends_what_runs_and_says_so() {
    let session = Session::free();
    let run = session.background("touch started; exec sleep 17320");
    eventually("the command", || somebody_runs("17320").then_some(()));
    assert_eq!(session.0.holdpoint(&["session", "stop"]).code, 0);
    assert!(!somebody_runs("17320"), "nothing is left when `stop` returns");
    let done = run.finish();
    assert_eq!(done.code, 70);
    assert!(done.err.contains("it was stopped"), "{}", done.err);
}

#[test]
fn a_session_ends_when_nobody_uses_it_or_its_workspace_goes() {
    let machine = Machine::new();
    let started = machine.holdpoint(&["session", "start", "--profile", "free", "--idle-timeout", "1s", "--json"]);
    let idle = Pid::from_raw(i32::try_from(json(&started)["pid"].as_i64().unwrap()).unwrap());
    eventually("the end of an idle session", || is_gone(idle).then_some(()));
    assert_eq!(machine.holdpoint(&["session", "list", "--json"]).out, "[]\n");
    let session = Session(Machine::new());
    assert_eq!(session.0.holdpoint(&["session", "start", "--profile", "free"]).code, 0);
    let keeper = session.keeper();
    std::fs::rename(session.0.workspace(), session.0.root().join("moved")).unwrap();
    eventually("the end of a session without a workspace", || is_gone(keeper).then_some(()));
}

#[test]
fn nothing_inside_reaches_a_session() {
    let session = Session::free();
    let socket = session.0.state().join(format!("sessions/{}.sock", session.status()["name"].as_str().unwrap()));
    let attack = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}'); print('reached')",
        socket.display()
    );
    let bare = Command::new("python3").args(["-c", &attack]).output().unwrap();
    assert_eq!(bare.stdout, b"reached\n", "without a sandbox the same user reaches it");
    let inside = session.run(&["python3", "-c", &attack]);
    assert_eq!(inside.out, "", "{}", inside.err);
    assert_eq!(session.shell("ls /proc/self/fd | tr '\\n' ' '").out, "0 1 2 3 ", "no descriptor of the keeper leaks");
    assert_eq!(session.run(&["env"]).out.matches("HOLDPOINT").count(), 0);
}

#[test]
fn a_keeper_holds_nothing_of_whoever_started_it() {
    let machine = Machine::new();
    let script = "exec 9> lock; flock 9; \"$@\" > name; exec 9>&-; flock -n lock echo free";
    let mut command = Command::new("sh");
    let start = machine.command(["session", "start", "--profile", "free", "--idle-timeout", "5m"]);
    command.args(["-c", script, "sh"]).arg(start.get_program()).args(start.get_args());
    command.current_dir(machine.home()).env_clear();
    command.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["--workspace".as_ref(), machine.workspace().as_os_str()]);
    // The pipes of this test are closed once the starter ends, or this would wait for the session.
    let done = finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let _session = Session(machine);
    assert_eq!((done.code, done.out.as_str()), (0, "free\n"), "{}", done.err);
}

#[test]
fn what_a_command_leaves_for_git_outside_is_said_with_the_next_one_and_at_the_end() {
    let session = Session::free();
    assert_eq!(session.shell("mkdir src; git init -q src/one; git -C src/one config core.pager x").err, "");
    let told = |done: &Done| done.err.matches("is a new repository").count();
    eventually("anybody who was told", || (told(&session.run(&["true"])) == 1).then_some(()));
    assert_eq!(told(&session.run(&["true"])), 0);
    assert_eq!(session.shell("git init -q src/two; git -C src/two config core.pager x").code, 0);
    let stopped = session.0.holdpoint(&["session", "stop"]);
    assert_eq!((stopped.code, told(&stopped)), (0, 1), "{}", stopped.err);
    assert!(stopped.err.contains("src/two/.git"), "{}", stopped.err);
}
