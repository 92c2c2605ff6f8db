//! `holdpoint run` when nobody has to be asked: streams, exit codes, the sandbox by its modes, signals and limits.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]

mod support;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Background, Done, Machine, eventually, exists, finish, json, somebody_runs, with_input};

fn pid(background: &Background) -> Pid {
    Pid::from_raw(background.0.id().cast_signed())
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let machine = Machine::new();
    for code in [0, 1, 3, 77, 78, 126, 255] {
        assert_eq!(machine.run(&["sh", "-c", &format!("exit {code}")]).code, code);
    }
    assert_eq!(machine.run(&["sh", "-c", "kill -TERM $$"]).code, 128 + 15);
    assert_eq!(machine.run(&["sh", "-c", "kill -SEGV $$"]).code, 128 + 11);
}

#[test]
fn a_command_that_is_missing_or_cannot_be_executed_is_told_apart() {
    let machine = Machine::new();
    machine.file("plain", "no program");
    let missing = machine.run(&["no-such-program-here"]);
    assert_eq!((missing.code, missing.out.as_str()), (127, ""));
    assert!(missing.err.contains("no-such-program-here: command not found"), "{}", missing.err);
    assert_eq!(machine.run(&["./missing"]).code, 127);
    assert_eq!(machine.run(&["./plain"]).code, 126);
    assert_eq!(machine.run(&["."]).code, 126);
    // What is there and needs something that is not.
    let outside = machine.root().join("outside");
    for (path, place) in [(machine.file("script", ""), "./script"), (outside, "../outside")] {
        std::fs::write(&path, "#! /opt/none/python9 -u\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let done = machine.run(&[place]);
        let named = done.err.contains("its interpreter /opt/none/python9 is not there");
        assert_eq!((done.code, named), if place == "./script" { (126, true) } else { (127, false) }, "{}", done.err);
    }
    assert_eq!(machine.run(&[""]).code, 64);
}

/// What the sandbox is made of has its own modes; the umask is for what the command makes.
#[test]
fn any_umask_will_do() {
    for mask in ["0177", "0377", "0700", "0777"] {
        let machine = Machine::new();
        let run = ["run", "--profile", "free", "--", "sh", "-c", "umask"];
        let mut masked = machine.command_after(&format!("umask {mask}"), run);
        let output = masked.output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(0), format!("{mask}\n").into_bytes()));
        let state = machine.state();
        assert!(!state.exists() || std::fs::read_dir(state).is_ok());
    }
}

/// A shell that reads its script from a pipe shares that with what it starts.
#[test]
fn the_script_of_the_shell_around_is_not_written_and_goes_on() {
    let machine = Machine::new();
    let attack = "sh -c 'echo echo INJECTED > /proc/self/fd/0'";
    let holdpoint = env!("CARGO_BIN_EXE_holdpoint");
    let start = format!("{holdpoint} session start --profile free >&2");
    for way in ["", &format!("{holdpoint} run --profile free --"), &format!("{holdpoint} session run --")] {
        let script = format!("{start}\n{way} {attack}\necho went on\n{holdpoint} session stop >&2\n");
        let mut shell = machine.command_after("exec sh", [""]);
        shell.env("PATH", "/usr/bin:/bin");
        let done = with_input(shell, script.as_bytes());
        let expected = if way.is_empty() { "went on\nINJECTED\n" } else { "went on\n" };
        assert_eq!(done.out, expected, "{way}: {}", done.err);
    }
}

#[test]
fn streams_pass_through_as_they_are() {
    let machine = Machine::new();
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let command = machine.command(["run", "--profile", "free", "--", "sh", "-c", "sha256sum; echo problem >&2"]);
    let done = with_input(command, &big);
    let direct = with_input(
        {
            let mut direct = Command::new("sha256sum");
            direct.stdout(Stdio::piped()).stderr(Stdio::piped());
            direct
        },
        &big,
    );
    assert_eq!((done.code, done.out, done.err.as_str()), (0, direct.out, "problem\n"));
}

#[test]
fn a_stream_that_is_a_directory_or_takes_no_more_is_said() {
    let machine = Machine::new();
    let run = |script: &str| machine.command(["run", "--profile", "free", "--", "sh", "-c", script]);
    let mut directory = run("true");
    directory.stdin(std::fs::File::open(machine.workspace()).unwrap());
    let done = finish(directory.spawn().unwrap());
    assert_eq!(done.code, 64, "{}", done.err);
    assert!(done.err.contains("the host's files") && done.err.contains("/dev/null"), "{}", done.err);
    // Takes as little as a full disk does.
    machine.file("read-only", "as it was");
    let mut full = run("echo lost");
    full.stdout(std::fs::File::open(machine.workspace().join("read-only")).unwrap());
    let done = finish(full.spawn().unwrap());
    assert_eq!(done.code, 74, "{}", done.err);
    assert!(done.err.contains("cannot write what the command printed"), "{}", done.err);
}

#[test]
fn a_file_that_may_not_grow_is_said_and_ends_nobody_but_the_command() {
    const ZEROS: &str = "exec head -c 1000000 /dev/zero";
    let machine = Machine::with("[profile.bare]\nsandbox = \"none\"\napproval_policy = \"full-auto\"\n");
    let limited = |args: &[&str]| machine.command_after("ulimit -f 100", args);
    let printing = |mut command: Command| {
        finish(command.stdout(std::fs::File::create(machine.root().join("printed")).unwrap()).spawn().unwrap())
    };
    let printed = printing(limited(&["run", "--profile", "free", "--", "sh", "-c", ZEROS]));
    assert_eq!(printed.code, 74, "{}", printed.err);
    assert!(printed.err.contains("ulimit -f"), "{}", printed.err);
    // Whoever writes himself is ended, as he is without us.
    let itself = format!("{ZEROS} > file");
    for profile in ["free", "bare"] {
        let done = finish(limited(&["run", "--profile", profile, "--", "sh", "-c", &itself]).spawn().unwrap());
        assert_eq!(done.code, 128 + Signal::SIGXFSZ as i32, "{profile}: {}", done.err);
    }
    // What we write for ourselves: the database of the holds, and what a sandbox is made of.
    // The first holds a little, so that either the store cannot be made or a hold in it.
    for (blocks, codes) in [(100, [74, 75]), (1, [69, 69])] {
        let held = machine.command_after(&format!("ulimit -f {blocks}"), ["run", "--", "true"]).spawn().unwrap();
        let held = finish(held);
        assert!(codes.contains(&held.code), "{}: {}", held.code, held.err);
        assert!(held.err.contains("ulimit -f"), "{}", held.err);
    }
    let started = finish(limited(&["session", "start", "--profile", "free"]).spawn().unwrap());
    assert_eq!(started.code, 0, "{}", started.err);
    let printed = printing(machine.command(["session", "run", "--", "sh", "-c", ZEROS]));
    let stopped = machine.holdpoint(&["session", "stop"]);
    assert_eq!((printed.code, stopped.code), (74, 0), "{}", printed.err);
    assert!(printed.err.starts_with("holdpoint: cannot write what the command printed"), "{}", printed.err);
}

#[test]
fn a_loop_over_a_file_reads_all_of_it() {
    let machine = Machine::new();
    machine.file("list", "one\ntwo\nthree\n");
    let run = format!("{} run --profile free --", env!("CARGO_BIN_EXE_holdpoint"));
    let script = format!("while read line; do echo $line; {run} true; done < list; (read line; {run} cat) < list");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(machine.workspace()).env("HOME", machine.home());
    let done = finish(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!((done.code, done.out.as_str()), (0, "one\ntwo\nthree\ntwo\nthree\n"), "{}", done.err);
}

#[test]
fn arguments_pass_as_bytes() {
    let machine = Machine::new();
    let odd = OsString::from_vec(vec![b'a', 0xff, b'\n', 0x1b]);
    let mut args: Vec<OsString> = ["run", "--profile", "free", "--", "printf", "%s|"].map(Into::into).into();
    args.extend([odd, "--json".into(), "".into(), "-x".into()]);
    let child = machine.command(&args).spawn().unwrap();
    let done = finish(child);
    assert_eq!(done.code, 0);
    assert_eq!(done.out, "a\u{fffd}\n\u{1b}|--json||-x|");
    let long: Vec<String> = (0..8).map(|_| "x".repeat(120_000)).collect();
    let words: Vec<&str> = ["sh", "-c", "echo $#"].into_iter().chain(long.iter().map(String::as_str)).collect();
    assert_eq!(machine.run(&words).out, "7\n");
}

#[test]
fn the_workspace_is_writable_and_the_rest_is_not_there() {
    let machine = Machine::new();
    std::fs::write(machine.home().join("secret"), "s").unwrap();
    std::fs::write(machine.root().join("beside"), "s").unwrap();
    let home = machine.home();
    let script = format!(
        "echo made > made; cat {0}/secret; cat ../beside; ls {0}; echo x > /usr/x; touch {0}/mine && echo private",
        home.display()
    );
    let done = machine.run(&["sh", "-c", &script]);
    assert_eq!((done.code, done.out.as_str()), (0, "private\n"));
    assert_eq!(machine.read("made"), "made\n");
    assert!(!exists(home.join("mine")), "the home inside is a private one");
}

#[test]
fn read_only_writes_nothing_but_a_private_tmp() {
    let machine = Machine::new();
    machine.file("f", "content");
    let script = "cat f; echo x > g; rm f; echo x > /tmp/t && cat /tmp/t";
    let done = machine.holdpoint(&["run", "--profile", "free", "--sandbox", "read-only", "--", "sh", "-c", script]);
    assert_eq!(done.out, "contentx\n");
    assert_eq!(machine.names(), ["f"]);
}

#[test]
fn programs_find_their_own_data_below_var_and_nothing_of_others_there() {
    let machine = Machine::new();
    for (data, script) in [
        ("/var/lib/dpkg/status", "dpkg-query --list | grep -q ^ii"),
        ("/var/lib/aspell/en.compat", "echo helo | aspell -d en -a | grep -q help"),
    ] {
        if exists(data) {
            let done = machine.run(&["sh", "-c", script]);
            assert_eq!(done.code, 0, "{script}: {}", done.err);
        }
    }
    let shown = machine.run(&["sh", "-c", "ls /var /var/lib"]).out;
    for name in shown.split_whitespace().filter(|name| !name.starts_with('/')) {
        assert!(["lib", "tmp", "dpkg", "texmf", "aspell"].contains(&name), "{shown}");
    }
}

#[test]
fn the_network_is_closed() {
    let machine = Machine::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached");
    let direct = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(direct.stdout, b"reached\n", "without the sandbox the address is reachable");
    let done = machine.run(&["bash", "-c", &script]);
    assert_ne!(done.code, 0);
    assert_eq!(done.out, "");
}

#[test]
fn a_network_that_cannot_be_given_safely_is_refused() {
    let machine = Machine::new();
    let done = machine.holdpoint(&[
        "run",
        "--json",
        "--approval",
        "full-auto",
        "--sandbox",
        "workspace-write-and-net",
        "--",
        "touch",
        "ran",
    ]);
    assert_eq!(done.code, 69);
    assert!(done.err.contains("no safe path to the network yet"), "{}", done.err);
    assert_eq!(json(&done)["result"], "unenforceable");
    assert!(machine.names().is_empty());
}

#[test]
fn a_workspace_of_somebody_else_is_said_to_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    let workspace = machine.workspace();
    let said = |sandbox: &str, script: &str| {
        machine.holdpoint(&["run", "--profile", "free", "--sandbox", sandbox, "--", "sh", "-c", script])
    };
    let set = |mode: u32, user: u32, group: u32| {
        std::os::unix::fs::chown(&workspace, Some(user), Some(group)).unwrap();
        std::fs::set_permissions(&workspace, PermissionsExt::from_mode(mode)).unwrap();
    };
    let warns = |done: &Done| done.err.contains("setpriv --reuid=12345 --regid=54321 --clear-groups holdpoint");
    set(0o755, 12345, 54321);
    let done = said("workspace-write", "echo x > x");
    assert!(done.code == 2 && warns(&done), "{done:?}");
    let doctor = machine.holdpoint(&["doctor", "--profile", "free"]);
    assert!(doctor.code == 0 && doctor.out.contains("no       workspace: "), "{}", doctor.out);
    assert!(doctor.out.contains("--reuid=12345"), "{}", doctor.out);
    let done = said("read-only", "ls");
    assert!(done.code == 0 && done.err.is_empty(), "{done:?}");
    set(0o700, 12345, 54321);
    assert!(warns(&said("read-only", "true")));
    // Where nothing is refused nothing is said.
    for (mode, user, group) in [(0o757, 12345, 54321), (0o775, 12345, 0), (0o700, 0, 54321)] {
        set(mode, user, group);
        let done = said("workspace-write", "echo x > x; rm x");
        assert!(done.code == 0 && done.err.is_empty(), "{mode:o}: {done:?}");
    }
}

#[test]
fn denied_paths_cannot_be_read_inside() {
    let machine = Machine::new();
    machine.file(".env", "TOKEN=1\n");
    machine.file("secrets/key", "TOKEN=2\n");
    machine.file("src/.env.local", "TOKEN=3\n");
    symlink(".env", machine.workspace().join("link")).unwrap();
    std::fs::hard_link(machine.workspace().join(".env"), machine.workspace().join("hard")).unwrap();
    let script = "cat .env secrets/key src/.env.local link hard; ls secrets; mv .env x; cat x";
    assert_eq!(machine.run(&["sh", "-c", "cat .env"]).out, "TOKEN=1\n", "without the flag it can be read");
    let args = ["run", "--profile", "free", "--deny-read", "**/.env*", "--deny-read", "**/secrets/**"];
    let done = machine.holdpoint(&[&args[..], &["--", "sh", "-c", script]].concat());
    assert!(!done.out.contains("TOKEN") && !done.out.contains("key"), "{}", done.out);
    assert_eq!(machine.read(".env"), "TOKEN=1\n");
}

#[test]
fn protected_names_stay_as_they_are_and_leave_no_litter() {
    let machine = Machine::new();
    machine.file("AGENTS.md", "rules\n");
    let script = "echo x >> AGENTS.md; mkdir -p .holdpoint; echo 'approval_policy=1' > .holdpoint/config.toml; \
                  mkdir .vscode; echo x > .envrc; rm -f AGENTS.md; mv AGENTS.md b; true";
    machine.run(&["sh", "-c", script]);
    assert_eq!(machine.names(), ["AGENTS.md"]);
    assert_eq!(machine.read("AGENTS.md"), "rules\n");
}

#[test]
fn what_decides_about_the_next_run_cannot_be_written_by_this_one() {
    let machine = Machine::new();
    let config = machine.file("my.toml", "[profile.default]\napproval_policy = \"full-auto\"\n");
    let path = config.to_str().unwrap();
    let done = machine.holdpoint(&[
        "run",
        "--config",
        path,
        "--",
        "sh",
        "-c",
        "echo x >> my.toml; rm my.toml; mv my.toml y; echo ran",
    ]);
    assert_eq!(done.out, "ran\n", "{}", done.err);
    assert_eq!(machine.read("my.toml"), "[profile.default]\napproval_policy = \"full-auto\"\n");
    assert_eq!(machine.names(), ["my.toml"]);
}

#[test]
fn the_environment_is_an_allow_list() {
    let machine = Machine::new();
    let mut command = machine.command(["run", "--profile", "free", "--", "env"]);
    command.env("RAILWAY_TOKEN", "t").env("FAVOURITE", "f").env("LANG", "C").env("LD_PRELOAD", "");
    let out = finish(command.spawn().unwrap()).out;
    assert!(out.contains("LANG=C") && out.contains("PATH="), "{out}");
    assert!(!out.contains("RAILWAY_TOKEN") && !out.contains("FAVOURITE") && !out.contains("LD_PRELOAD"), "{out}");
}

#[test]
fn a_state_directory_that_would_be_visible_inside_is_refused() {
    let machine = Machine::new();
    let mut command = machine.command(["run", "--profile", "free", "--", "touch", "ran"]);
    command.env("XDG_STATE_HOME", machine.workspace().join("state"));
    let done = finish(command.spawn().unwrap());
    assert_eq!(done.code, 78);
    assert!(done.err.contains("visible inside the sandbox"), "{}", done.err);
    let done = finish(
        machine
            .command(["run", "--profile", "free", "--workspace", machine.root().to_str().unwrap(), "--", "true"])
            .spawn()
            .unwrap(),
    );
    assert_eq!(done.code, 78, "a workspace that holds the state directory: {}", done.err);
    symlink(machine.workspace(), machine.root().join("alias")).unwrap();
    let mut command = machine.command(["run", "--profile", "free", "--", "touch", "ran"]);
    command.env("XDG_STATE_HOME", machine.root().join("alias/state"));
    assert_eq!(finish(command.spawn().unwrap()).code, 78, "nor through a link");
    assert!(machine.names().is_empty());
}

#[test]
fn no_sandbox_is_only_for_a_profile_and_is_said_loudly() {
    let machine = Machine::with(OPEN);
    std::fs::write(machine.root().join("beside"), "seen\n").unwrap();
    let done = machine.holdpoint(&["run", "--profile", "open", "--", "sh", "-c", "cat ../beside; exit 4"]);
    assert_eq!((done.code, done.out.as_str()), (4, "seen\n"));
    assert!(done.err.contains("WARNING") && done.err.contains("NOT confined"), "{}", done.err);
    let done = machine.holdpoint(&["run", "--sandbox", "none", "--", "true"]);
    assert_eq!(done.code, 64);
    assert!(done.err.contains("never a flag"), "{}", done.err);
    assert_eq!(machine.holdpoint(&["run", "--profile", "open", "--", "no-such-program-here"]).code, 127);
    assert_eq!(machine.holdpoint(&["run", "--profile", "open", "--", "sh", "-c", "kill -9 $$"]).code, 137);
}

const OPEN: &str = "[profile.open]\nextends = \"free\"\nsandbox = \"none\"\n";

#[test]
fn signals_reach_the_command_and_its_answer_comes_back() {
    let machine = Machine::with(OPEN);
    for profile in ["free", "open"] {
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGALRM,
        ] {
            let script = "trap 'echo got; exit 9' TERM INT HUP QUIT USR1 USR2 ALRM; echo ready > ready; while :; do sleep 0.05; done";
            let args = ["run", "--profile", profile, "--", "sh", "-c", script];
            let background = Background(machine.command(args).spawn().unwrap());
            eventually("a ready command", || exists(machine.workspace().join("ready")).then_some(()));
            kill(pid(&background), signal).unwrap();
            let done = background.finish();
            assert_eq!((done.code, done.out.as_str()), (9, "got\n"), "{signal} in {profile}: {}", done.err);
            std::fs::remove_file(machine.workspace().join("ready")).unwrap();
        }
    }
}

/// Such as `dd`'s report: nobody is ended for it but by the command's own doing.
#[test]
fn a_signal_that_means_something_to_the_command_alone_sets_it_no_time() {
    let machine = Machine::new();
    let script = "trap 'echo once' USR1; trap 'exit 9' USR2; echo > ready; while :; do sleep 0.05; done";
    let background =
        Background(machine.command(["run", "--profile", "free", "--", "sh", "-c", script]).spawn().unwrap());
    eventually("a ready command", || exists(machine.workspace().join("ready")).then_some(()));
    kill(pid(&background), Signal::SIGUSR1).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(pid(&background), Signal::SIGUSR2).unwrap();
    let done = background.finish();
    assert_eq!((done.code, done.out.as_str()), (9, "once\n"), "{}", done.err);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_for_32_bits_is_told_from_one_that_crashes() {
    let machine = Machine::new();
    let source = machine.file("old.c", "int main(void) { __asm__ volatile(\"int $0x80\" :: \"a\"(20)); return 0; }");
    let built = Command::new("cc").arg("-o").arg(machine.workspace().join("old")).arg(source).status();
    assert!(built.unwrap().success());
    assert!(Command::new(machine.workspace().join("old")).status().unwrap().success());
    for argv in [&["./old"][..], &["sh", "-c", "./old; exit $?"]] {
        let done = machine.run(argv);
        assert_eq!(done.code, 128 + 31);
        assert!(done.err.contains("32-bit system calls are refused"), "{}", done.err);
    }
    assert!(!machine.run(&["sh", "-c", "kill -SEGV $$"]).err.contains("32-bit"));
}

#[test]
fn a_command_that_ignores_the_end_is_ended_with_all_it_started() {
    let machine = Machine::with(OPEN);
    for (profile, word) in [("free", "86399.25"), ("open", "86398.25")] {
        let script =
            format!("trap '' TERM; (trap '' TERM; sleep {word}) & echo ready > ready; while :; do sleep 0.1; done");
        let args = ["run", "--profile", profile, "--", "sh", "-c", &script];
        let background = Background(machine.command(args).spawn().unwrap());
        eventually("a ready command", || {
            (exists(machine.workspace().join("ready")) && somebody_runs(word)).then_some(())
        });
        kill(pid(&background), Signal::SIGTERM).unwrap();
        assert_eq!(background.finish().code, 128 + 15, "{profile}");
        eventually("the end of everything", || (!somebody_runs(word)).then_some(()));
        std::fs::remove_file(machine.workspace().join("ready")).unwrap();
    }
}

#[test]
fn when_holdpoint_is_killed_nothing_is_left() {
    let machine = Machine::new();
    let word = "86397.25";
    let script = format!("setsid sleep {word} & sleep {word}");
    let background =
        Background(machine.command(["run", "--profile", "free", "--", "sh", "-c", &script]).spawn().unwrap());
    eventually("a running command", || somebody_runs(word).then_some(()));
    assert!(exists(machine.workspace().join(".git")));
    kill(pid(&background), Signal::SIGKILL).unwrap();
    eventually("the end of everything", || (!somebody_runs(word)).then_some(()));
    eventually("a clean workspace", || machine.names().is_empty().then_some(()));
    // Where all was killed at once, the next run takes it away.
    symlink("/proc/holdpoint/reserved", machine.workspace().join(".git")).unwrap();
    assert_eq!(machine.run(&["true"]).code, 0);
    assert!(machine.names().is_empty(), "{:?}", machine.names());
}

#[test]
fn a_workspace_without_a_repository_has_none_for_programs_inside() {
    let machine = Machine::new();
    let done = machine.run(&["sh", "-c", "test -e .git || echo none; git init . || echo refused"]);
    assert_eq!(done.out, "none\nrefused\n", "{}", done.err);
    assert!(machine.names().is_empty(), "{:?}", machine.names());
}

#[test]
fn what_a_command_leaves_in_the_background_ends_with_it() {
    let machine = Machine::new();
    let word = "86396.25";
    let done = machine.run(&["sh", "-c", &format!("setsid sleep {word} & echo done")]);
    assert_eq!((done.code, done.out.as_str()), (0, "done\n"));
    eventually("the end of everything", || (!somebody_runs(word)).then_some(()));
}

#[test]
fn a_command_that_takes_too_long_is_killed_and_that_is_said() {
    let machine = Machine::with(
        "[profile.brief]\nextends = \"free\"\n[profile.brief.limits]\nwall_time = \"300ms\"\n\
         [profile.open]\nextends = \"brief\"\nsandbox = \"none\"\n",
    );
    for profile in ["brief", "open"] {
        let done = machine.holdpoint(&[
            "run",
            "--profile",
            profile,
            "--",
            "sh",
            "-c",
            "trap '' TERM; while :; do sleep 0.05; done",
        ]);
        assert_eq!(done.code, 128 + 9);
        assert!(done.err.contains("ran longer than `limits.wall_time = \"300ms\"` allows"), "{}", done.err);
    }
}

#[test]
fn a_command_starts_with_no_signal_blocked_or_ignored() {
    let machine = Machine::with(OPEN);
    for profile in ["free", "open"] {
        let done =
            machine.holdpoint(&["run", "--profile", profile, "--", "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
        assert!(done.out.starts_with("SigBlk:\t0000000000000000\n"), "{profile}: {}", done.out);
        let ignored =
            done.out.lines().last().and_then(|line| u64::from_str_radix(line.split_whitespace().last()?, 16).ok());
        assert_eq!(ignored.map(|mask| mask & 0x7fff_ffff), Some(0), "{profile}: {}", done.out);
    }
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let machine = Machine::new();
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_holdpoint")).args([
        "run",
        "--approval",
        "full-auto",
        "--",
        "sh",
        "-c",
        "echo ready > ready; sleep 1; echo end",
    ]);
    command
        .current_dir(machine.workspace())
        .env("HOME", machine.home())
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let background = Background(command.spawn().unwrap());
    eventually("a ready command", || exists(machine.workspace().join("ready")).then_some(()));
    kill(pid(&background), Signal::SIGHUP).unwrap();
    let done = background.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "end\n"), "{}", done.err);
}

#[test]
fn the_command_starts_where_one_is_when_that_is_inside() {
    let machine = Machine::new();
    machine.file("a/b/x", "");
    machine.file(".git/HEAD", "ref: refs/heads/main\n");
    let at = |dir: &std::path::Path, args: &[&str]| {
        let mut command = machine.command([&["run", "--profile", "free"], args, &["--", "pwd"]].concat());
        finish(command.current_dir(dir).spawn().unwrap())
    };
    let inner = machine.workspace().join("a/b");
    assert_eq!(at(&inner, &[]).out, format!("{}\n", inner.display()), "the workspace is the git root");
    let workspace = machine.workspace();
    assert_eq!(at(&machine.root(), &["--workspace", "work"]).out, format!("{}\n", workspace.display()));
    let done = at(&inner, &["--workspace", "no/such/dir"]);
    assert_eq!(done.code, 78, "{}", done.err);
}

#[test]
fn the_name_that_the_shell_has_for_the_workspace_leads_there_inside() {
    let machine = Machine::new();
    machine.file("sub/a", "found\n");
    std::fs::write(machine.root().join("beside"), "hidden").unwrap();
    std::fs::create_dir_all(machine.home().join("code")).unwrap();
    for link in [machine.root().join("link"), machine.home().join("code/link")] {
        symlink(machine.workspace(), &link).unwrap();
        let run = |pwd: &std::path::Path, script: &str| {
            let mut command = machine.command(["run", "--profile", "free", "--", "sh", "-c", script]);
            finish(command.current_dir(pwd).env("PWD", pwd).arg("sh").arg(&link).spawn().unwrap())
        };
        let script =
            "cat \"$1/sub/a\"; echo new > \"$1/b\"; ls \"$(dirname \"$1\")\" | grep -c . ; cat \"$1/../beside\"";
        for pwd in [link.clone(), link.join("sub")] {
            let done = run(&pwd, script);
            let beside = if link.starts_with(machine.home()) { 1 } else { 3 };
            assert_eq!(done.out, format!("found\n{beside}\n"), "{done:?}");
            assert_eq!(machine.read("b"), "new\n");
        }
        // Whoever says something else of where he is has it as before.
        let done = run(&machine.workspace(), "test -e \"$1\" || echo nothing");
        assert_eq!(done.out, "nothing\n", "{}", done.err);
    }
}

#[test]
fn a_directory_that_was_removed_is_an_error_and_no_panic() {
    let machine = Machine::new();
    let gone = machine.workspace().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "rmdir ../gone; exec \"$0\" run --approval full-auto -- true",
        env!("CARGO_BIN_EXE_holdpoint"),
    ]);
    command.current_dir(&gone).env("HOME", machine.home()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(command.spawn().unwrap());
    assert_eq!(done.code, 78, "{}", done.err);
    assert!(done.err.contains("current directory is gone"), "{}", done.err);
}

#[test]
fn programs_on_the_path_that_are_not_visible_inside_are_not_found() {
    let machine = Machine::new();
    let bin = machine.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("mytool"), "#!/bin/sh\necho tool\n").unwrap();
    std::fs::set_permissions(bin.join("mytool"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |profile: &str| {
        let mut command = machine.command(["run", "--profile", profile, "--", "mytool"]);
        finish(command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).spawn().unwrap())
    };
    assert_eq!(run("free").code, 127);
    machine.configure("[profile.tools]\nextends = \"free\"\nreadable_paths = [\"~/bin\", \"~/missing\"]\n");
    let done = run("tools");
    assert_eq!((done.code, done.out.as_str()), (0, "tool\n"), "{}", done.err);
    assert!(done.err.contains("missing") && done.err.contains("does not exist"), "{}", done.err);
}

#[test]
fn many_runs_at_once_do_not_disturb_each_other() {
    let machine = Machine::new();
    let running: Vec<Background> = (0..8)
        .map(|n| {
            let script = format!("sleep 0.2; echo {n}");
            Background(machine.command(["run", "--profile", "free", "--", "sh", "-c", &script]).spawn().unwrap())
        })
        .collect();
    for (n, background) in running.into_iter().enumerate() {
        let done = background.finish();
        assert_eq!((done.code, done.out), (0, format!("{n}\n")), "{}", done.err);
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(machine.names().is_empty(), "nothing is left on the host: {:?}", machine.names());
}

#[test]
fn what_holds_too_much_memory_is_killed_and_that_is_said() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\nlimits.memory = \"128MiB\"\n");
    let hog = "import time\nheld = b'x' * (512 << 20)\ntime.sleep(60)";
    let done = machine.holdpoint(&["run", "--", "/usr/bin/python3", "-c", hog]);
    assert_eq!(done.code, 128 + 9, "{}", done.err);
    assert!(done.err.contains("limits.memory"), "{}", done.err);
}

#[test]
fn what_adds_too_much_to_the_disk_is_ended_and_that_is_said() {
    let machine = Machine::with(
        "[profile.default]\napproval_policy = \"full-auto\"\n[profile.default.limits]\ndisk = \"32MiB\"\nfiles = 3000\n",
    );
    let fill = "for i in 1 2 3 4 5 6 7 8; do head -c 16777216 /dev/zero > x$i; done; echo done";
    let flood = "import os\nfor i in range(20000): os.close(os.open(str(i), os.O_CREAT))\nprint('done')";
    for (command, limit) in [
        (&["sh", "-c", fill][..], "limits.disk = \"32MiB\""),
        (&["sh", "-c", "head -c 67108864 /dev/zero > large"], "limits.disk = \"32MiB\""),
        (&["/usr/bin/python3", "-c", flood], "limits.files = 3000"),
    ] {
        let done = machine.holdpoint(&[&["run", "--"], command].concat());
        assert!(!done.out.contains("done") && done.code > 128, "{command:?}: {} {}", done.code, done.err);
        assert!(done.err.contains(limit) && done.err.contains("config.toml"), "{}", done.err);
        for name in machine.names() {
            std::fs::remove_file(machine.workspace().join(name)).unwrap();
        }
    }
}

#[test]
fn what_prints_too_much_is_killed_and_that_is_said_to_hooks_too() {
    let machine = Machine::with(
        "[profile.default]\napproval_policy = \"full-auto\"\nlimits.output = \"64KiB\"\n\
         [[hooks]]\nevent = \"PostToolUse\"\ncommand = \"echo \\\"$INPUT\\\" > ../told\"\n",
    );
    let done = machine.holdpoint(&["run", "--", "yes"]);
    assert_eq!((done.code, done.out.len()), (128 + 9, 64 << 10), "{}", done.err);
    assert!(done.err.contains("limits.output = \"64KiB\""), "{}", done.err);
    let told = std::fs::read_to_string(machine.workspace().join("../told")).unwrap();
    assert!(told.contains("\"limits_reached\":[\"output\"]"), "{told}");
    let done = machine.holdpoint(&["run", "--", "head", "-c", "65536", "/dev/zero"]);
    assert_eq!((done.code, done.out.len()), (0, 64 << 10), "{}", done.err);
}

#[test]
fn a_processor_used_up_is_said() {
    let machine = Machine::with("[profile.default]\napproval_policy = \"full-auto\"\nlimits.cpu_time = \"1s\"\n");
    let done = machine.holdpoint(&["run", "--", "sh", "-c", "while :; do :; done"]);
    assert_eq!(done.code, 128 + 24, "{}", done.err);
    assert!(done.err.contains("limits.cpu_time = \"1s\""), "{}", done.err);
}

#[test]
fn a_pattern_for_what_a_sandbox_has_of_its_own_is_an_error() {
    let machine = Machine::outside_tmp();
    for pattern in ["/tmp/*.key", "/proc/cpuinfo", "/sys/**", "/var/tmp/x"] {
        let done = machine.holdpoint(&["run", "--profile", "free", "--deny-read", pattern, "--", "true"]);
        assert!(
            done.code == 78 && done.err.contains(pattern) && done.err.contains("of its own"),
            "{pattern}: {done:?}"
        );
    }
    // The workspace lies in /dev/shm.
    machine.file("key", "SECRET");
    let pattern = machine.workspace().join("key").display().to_string();
    let done = machine.holdpoint(&["run", "--profile", "free", "--deny-read", &pattern, "--", "cat", "key"]);
    assert!(done.code == 1 && done.out.is_empty(), "{done:?}");
    let machine = Machine::new();
    let done = machine.holdpoint(&["run", "--profile", "free", "--deny-read", "/dev/null", "--", "cat", "/dev/null"]);
    assert_eq!(done.code, 78, "{done:?}");
}

#[test]
fn what_is_not_protected_is_said_to_scripts_as_well() {
    let machine = Machine::new();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        let done = git.args(args).current_dir(machine.workspace()).env("HOME", machine.home()).status();
        assert!(done.expect("git runs").success(), "{args:?}");
    };
    machine.file(".env", "SECRET");
    git(&["init", "-q"]);
    let run = ["run", "--profile", "free", "--deny-read", "**/.env", "--", "true"];
    assert_eq!(machine.holdpoint(&run).err, "", "the control: all of it is covered");
    git(&["add", ".env"]);
    let done = machine.holdpoint(&run);
    assert!(done.code == 0 && done.err.lines().count() == 1, "{done:?}");
    assert!(done.err.contains("not protected: tracked by git"), "{done:?}");
}

#[test]
fn what_a_command_leaves_for_git_outside_is_said() {
    let machine = Machine::new();
    std::fs::create_dir(machine.workspace().join("src")).unwrap();
    let quiet = machine.run(&[
        "sh",
        "-c",
        "git init -q src/plain && git -C src/plain commit -q --allow-empty -m x 2> /dev/null; ls src",
    ]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "plain\n", ""));
    let plant = "git init -q src/new && git -C src/new config core.fsmonitor ./x && printf '\\33[2J' > /dev/null";
    let done = machine.run(&["sh", "-c", plant]);
    assert_eq!(done.code, 0);
    let line = done.err.lines().find(|line| line.contains("left behind")).unwrap_or_default();
    assert!(line.contains("/src/new/.git is a new repository") && line.contains("(core.fsmonitor)"), "{}", done.err);
    // What was there before is no news.
    let done = machine.run(&["touch", "src/new/y"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let many = "for i in $(seq 20); do git init -q src/n$i; git -C src/n$i config core.pager x; done; ln -s x \"$(printf 'src/\\033')\"";
    let done = machine.run(&["sh", "-c", many]);
    let lines: Vec<&str> = done.err.lines().filter(|line| line.contains("left behind")).collect();
    assert_eq!(lines.len(), 9, "{}", done.err);
    assert!(lines[8].contains("12 more"), "{}", done.err);
}

#[test]
fn who_waits_long_gives_back_the_memory_of_its_code() {
    let machine = Machine::new();
    let script = "while [ ! -e go ]; do sleep 0.05; done; echo done";
    let run = Background(machine.command(["run", "--profile", "free", "--", "sh", "-c", script]).spawn().unwrap());
    eventually("the memory to be given back", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.0.id())).ok()?;
        let kib = |key| {
            status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse::<u64>().ok()
        };
        (kib("RssFile:")? * 2 < kib("VmHWM:")?).then_some(())
    });
    machine.file("go", "");
    let done = run.finish();
    assert_eq!((done.code, done.out.as_str()), (0, "done\n"), "{}", done.err);
}
