//! One sandbox, many commands: streams, status, signals, terminals, and the end of everything with its owner.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "integration tests are a test module")]

#[path = "arena/kernel.rs"]
mod kernel;
mod watching;

use holdpoint_runtime::{Access, Error, Limit, Limits, Opening, Sandbox, Stdio};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    env, fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{fs::FileExt, process::ExitStatusExt},
    },
    process, thread,
};
use tempfile::TempDir;
use watching::{assert_still, wait_for};

fn sandbox() -> (TempDir, Sandbox) {
    let workspace = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::builder().system().workspace(workspace.path(), Access::ReadWrite).start().unwrap();
    (workspace, sandbox)
}

fn shell(sandbox: &Sandbox, script: &str) -> (i32, String) {
    let output = sandbox.command("sh").args(["-c", script]).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn many_commands_run_in_one_sandbox() {
    let (_workspace, sandbox) = sandbox();
    for round in 0..40 {
        assert_eq!(shell(&sandbox, &format!("echo {round}; exit {}", round % 7)), (round % 7, round.to_string()));
    }
}

#[test]
fn commands_run_side_by_side() {
    let (_workspace, sandbox) = sandbox();
    thread::scope(|scope| {
        for worker in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for _ in 0..10 {
                    assert_eq!(shell(sandbox, &format!("echo {worker}")), (0, worker.to_string()));
                }
            });
        }
    });
}

#[test]
fn streams_pass_through() {
    let (_workspace, sandbox) = sandbox();
    let mut child =
        sandbox.command("tr").args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"hold point").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"HOLD POINT");
    assert!(output.status.success());
}

#[test]
fn a_signal_is_the_commands_own_end() {
    let (_workspace, sandbox) = sandbox();
    let mut child = sandbox.command("sleep").arg("100").spawn().unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.signal(15).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn ignored_signals_of_the_embedder_are_not_inherited() {
    // Rust programs ignore SIGPIPE; commands must not.
    let (_workspace, sandbox) = sandbox();
    assert_eq!(shell(&sandbox, "grep -E '^Sig(Ign|Blk)' /proc/self/status | grep -vc 0000000000000000").1, "0");
}

#[test]
fn missing_program_and_directory_are_told_apart() {
    let (_workspace, sandbox) = sandbox();
    let error = sandbox.command("no-such-program").status().unwrap_err();
    assert!(
        matches!(&error, Error::Spawn { stage: "execute", source, .. } if source.raw_os_error() == Some(2)),
        "{error:?}"
    );
    let error = sandbox.command("true").current_dir("/nowhere").status().unwrap_err();
    assert!(matches!(&error, Error::Spawn { stage: "enter", .. }), "{error:?}");
    let error = sandbox.command("/etc/passwd").status().unwrap_err();
    assert!(matches!(&error, Error::Spawn { source, .. } if source.raw_os_error() == Some(13)), "{error:?}");
}

#[test]
fn environment_begins_empty_and_arguments_are_bytes() {
    let (_workspace, sandbox) = sandbox();
    let output = sandbox.command("env").env("A", "1").env_clear().env("B", "2").output().unwrap();
    assert_eq!(output.stdout, b"B=2\n");
    let odd = std::ffi::OsString::from_vec_for_test();
    let output = sandbox.command("printf").arg("%s").arg(&odd).output().unwrap();
    assert_eq!(output.stdout, b"\xff\n'\"$x");
}

trait OddBytes {
    fn from_vec_for_test() -> std::ffi::OsString;
}

impl OddBytes for std::ffi::OsString {
    fn from_vec_for_test() -> std::ffi::OsString {
        std::os::unix::ffi::OsStringExt::from_vec(b"\xff\n'\"$x".to_vec())
    }
}

#[test]
fn a_program_can_be_given_another_name() {
    let (_workspace, sandbox) = sandbox();
    let output =
        sandbox.command("/bin/sh").arg0("-name").args(["-c", "tr '\\0' ' ' < /proc/$$/cmdline"]).output().unwrap();
    assert!(output.stdout.starts_with(b"-name -c"), "{output:?}");
}

#[test]
fn a_megabyte_of_arguments_arrives() {
    let (_workspace, sandbox) = sandbox();
    let many: Vec<String> = (0..10_000).map(|number| format!("{number:0100}")).collect();
    let output = sandbox.command("sh").args(["-c", "echo $#", "sh"]).args(&many).output().unwrap();
    assert_eq!(output.stdout, b"10000\n");
}

#[test]
fn more_arguments_than_a_command_can_have_are_said_to_be_too_many() {
    let (_workspace, sandbox) = sandbox();
    for count in [30, 100] {
        let many = vec!["x".repeat(100_000); count];
        let error = sandbox.command("true").args(&many).spawn().unwrap_err();
        let Error::Spawn { stage: "execute", source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::ArgumentListTooLong, "{count}");
        assert!(sandbox.command("true").status().unwrap().success());
    }
}

/// Nobody but root can look into pid 1 at all.
#[test]
fn nothing_of_a_command_stays_in_pid_1() {
    let (_workspace, sandbox) = sandbox();
    let info = format!("/proc/self/fdinfo/{}", sandbox.pidfd().as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim();
    for length in [10, 25_000] {
        let secret = format!("{}{}", "word".repeat(length), process::id());
        let mut child = sandbox
            .command("sh")
            .args(["-c", "read line"])
            .env("SECRET", &secret)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        match (fs::File::open(format!("/proc/{pid}/mem")), nix::unistd::geteuid().is_root()) {
            (Ok(memory), true) => {
                let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
                let parts = maps.lines().filter(|line| line.contains(" rw-p ")).map(|line| {
                    let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                    (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap())
                });
                for (from, to) in parts {
                    let mut part = vec![0; usize::try_from(to - from).unwrap()];
                    memory.read_exact_at(&mut part, from).unwrap();
                    assert!(!part.windows(16).any(|bytes| bytes == &secret.as_bytes()[..16]), "{length} at {from:x}");
                }
            }
            (opened, false) => assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::PermissionDenied),
            (Err(error), true) => panic!("{error}"),
        }
        child.stdin.take();
        assert!(child.wait().is_ok());
    }
}

#[test]
fn no_descriptor_leaks_inside() {
    let (_workspace, sandbox) = sandbox();
    let _open = fs::File::open("/etc/passwd").unwrap();
    assert_eq!(shell(&sandbox, "ls /proc/self/fd | tr '\\n' ' '").1, "0 1 2 3", "3 is the listing's own");
}

#[test]
fn a_terminal_of_its_own() {
    let (_workspace, sandbox) = sandbox();
    let script = "tty; stty size; read line; echo got $line; exec sleep 100";
    let mut child = sandbox.command("sh").args(["-c", script]).terminal(33, 77).spawn().unwrap();
    let mut terminal = child.terminal.take().unwrap();
    terminal.write_all(b"word\n").unwrap();
    let mut seen = String::new();
    let mut buffer = [0u8; 256];
    while !seen.contains("got word") {
        let count = terminal.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.contains("/dev/pts/0") && seen.contains("33 77"), "{seen}");
    // Ctrl-C: the line discipline makes a signal of it.
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}

#[test]
fn limits_bound_processes_and_descriptors() {
    let workspace = tempfile::tempdir().unwrap();
    let limits = Limits { pids: Some(310), open_files: Some(64), memory: Some(256 << 20), ..Limits::default() };
    let sandbox =
        Sandbox::builder().system().workspace(workspace.path(), Access::ReadWrite).limits(limits).start().unwrap();
    assert_eq!(shell(&sandbox, "ulimit -n").1, "64");
    let bomb = "import os,time\nn=0\ntry:\n  while n<900:\n    if os.fork()==0: time.sleep(3); os._exit(0)\n    n+=1\nexcept OSError: pass\nprint(n<320)";
    assert_eq!(sandbox.command("python3").args(["-c", bomb]).output().unwrap().stdout, b"True\n");
    let hog = sandbox.command("python3").args(["-c", "b'x' * (512 << 20)"]).output().unwrap();
    assert!(!hog.status.success());
    assert!(sandbox.limits_reached().contains_key(&Limit::Memory), "and that is said");
}

#[test]
fn dropping_the_sandbox_ends_everything_inside() {
    let (workspace, sandbox) = sandbox();
    let beat = workspace.path().join("beat");
    shell(
        &sandbox,
        "(trap '' HUP TERM INT; setsid sh -c 'while :; do echo x >> beat; sleep 0.02; done') >/dev/null 2>&1 &",
    );
    wait_for(|| beat.exists());
    drop(sandbox);
    assert_still(&beat);
}

/// Runs in a process of its own that is then killed: see the next test.
#[test]
fn owner() {
    let Some(workspace) = env::var_os("OWNED_WORKSPACE") else { return };
    let sandbox = Sandbox::builder().system().workspace(&workspace, Access::ReadWrite).start().unwrap();
    let script = "trap '' HUP TERM INT; while :; do echo x >> beat; sleep 0.02; done";
    sandbox.command("sh").args(["-c", script]).status().unwrap();
}

#[test]
fn killing_the_owner_ends_everything_inside_and_leaves_nothing_behind() {
    let workspace = tempfile::tempdir().unwrap();
    let mut owner = process::Command::new(env::current_exe().unwrap())
        .args(["--exact", "owner", "--test-threads=1"])
        .env("OWNED_WORKSPACE", workspace.path())
        .stdout(process::Stdio::null())
        .spawn()
        .unwrap();
    let beat = workspace.path().join("beat");
    wait_for(|| beat.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for(|| fs::read_dir(workspace.path()).unwrap().count() == 1);
    assert_still(&beat);
}

#[test]
fn an_owner_that_is_killed_as_soon_as_a_name_is_reserved_leaves_nothing_behind() {
    let workspace = tempfile::tempdir().unwrap();
    let there = || fs::read_dir(workspace.path()).unwrap().count();
    for _ in 0..20 {
        let mut owner = process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "owner", "--test-threads=1"])
            .env("OWNED_WORKSPACE", workspace.path())
            .stdout(process::Stdio::null())
            .spawn()
            .unwrap();
        // Without a pause: it is not to come far.
        while there() == 0 {}
        owner.kill().unwrap();
        owner.wait().unwrap();
        let beat = workspace.path().join("beat");
        wait_for(|| there() == usize::from(beat.exists()));
        if beat.exists() {
            fs::remove_file(beat).unwrap();
        }
    }
}

#[test]
fn a_sandbox_for_one_command_ends_with_it() {
    let workspace = tempfile::tempdir().unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace.path(), Access::ReadWrite);
    for narrowed in [false, true] {
        let started = builder.run_in(Opening::begin(), "sh", |command| {
            command.args(["-c", "sleep 1000 & echo $! > pid; read line; exit 7"]).stdin(Stdio::piped());
            if narrowed {
                command.may_write([workspace.path()]);
            }
        });
        let (sandbox, mut child) = match started {
            Err(error) if narrowed => return kernel::is_refusal(&error),
            started => started.unwrap(),
        };
        let ended = || {
            let mut end = [PollFd::new(sandbox.pidfd(), PollFlags::POLLIN)];
            poll(&mut end, PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!ended());
        assert_eq!(child.wait().unwrap().code(), Some(7));
        wait_for(ended);
        assert!(matches!(sandbox.command("true").status(), Err(Error::Ended { .. })));
    }
}

#[test]
fn one_command_that_cannot_be_started_is_an_error_and_leaves_nothing() {
    let workspace = tempfile::tempdir().unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace.path(), Access::ReadWrite).protect("kept");
    for (program, argument) in [("/nowhere", "x"), ("true", "a\0b")] {
        let error = builder.run_in(Opening::begin(), program, |command| {
            command.arg(argument);
        });
        let error = error.unwrap_err();
        let told = matches!(&error, Error::Spawn { stage: "execute", .. } | Error::Plan { what: "command", .. });
        assert!(told, "{error:?}");
        assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_command_that_ends_before_its_guard_has_begun_holds_nobody_up() {
    let workspace = tempfile::tempdir().unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace.path(), Access::ReadWrite).deny_read("**/.env*");
    for round in 0..60 {
        let late = workspace.path().join(format!(".env{round}"));
        thread::scope(|scope| {
            // Somewhere between the look at the workspace and the end of the command: a warden is started for it.
            scope.spawn(|| fs::write(&late, "SECRET").unwrap());
            let (sandbox, mut child) = builder.run_in(Opening::begin(), "true", |_| ()).unwrap();
            assert!(child.wait().unwrap().success());
            sandbox.shut_down();
        });
    }
}

#[test]
fn what_a_command_leaves_running_never_gets_at_a_reserved_name() {
    let workspace = tempfile::tempdir().unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace.path(), Access::ReadWrite);
    for round in 0..40 {
        let left = "import os\n\
                    for _ in range(4):\n\
                    \tif os.fork() == 0:\n\
                    \t\twhile True:\n\
                    \t\t\ttry: os.mkdir('.zed')\n\
                    \t\t\texcept OSError: pass\n";
        let script = ["", left][round % 2];
        let describe = |command: &mut holdpoint_runtime::Command<'_>| {
            command.args(["-c", script]);
        };
        let (sandbox, mut child) = builder.run_in(Opening::begin(), "python3", describe).unwrap();
        assert!(child.wait().unwrap().success());
        let first = sandbox.pidfd().try_clone_to_owned().unwrap();
        sandbox.leave();
        assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0, "round {round}");
        let mut end = [PollFd::new(first.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut end, PollTimeout::from(10_000_u16)), Ok(1));
    }
}
