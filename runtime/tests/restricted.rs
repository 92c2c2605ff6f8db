//! Hosts that give no namespaces: refused unless the plan lets them be missing, and then what the attacks of the other files
//! do not show: that nothing survives, that only what may be written gets other modes, that work goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;
mod watching;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::{env, fs};

use arena::hosts::contained;
use arena::kernel::{is_refusal, keeps_apart};
use arena::{Arena, Host};
use holdpoint_runtime::{Access, Error, Protection, Sandbox};
use watching::{assert_still, wait_for};

/// A sandbox without namespaces and nothing denied or protected but what is built in.
fn plain(workspace: &Path) -> Sandbox {
    let mut builder = Sandbox::builder();
    Host::Container.start(builder.system().workspace(workspace, Access::ReadWrite)).unwrap()
}

fn run(sandbox: &Sandbox, script: &str) -> String {
    let output =
        sandbox.command("bash").args(["-c", script]).env("PATH", env::var_os("PATH").unwrap()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A workspace with one directory in which everything may be done.
fn workspace() -> tempfile::TempDir {
    let workspace = tempfile::tempdir().unwrap();
    fs::create_dir(workspace.path().join("work")).unwrap();
    workspace
}

#[test]
fn what_is_not_allowed_to_be_missing_is_an_error() {
    let arena = Arena::new();
    let refused = |builder: &holdpoint_runtime::Builder| match contained(|| builder.start()) {
        Err(Error::Unsupported { protection, needs }) => (protection, needs),
        other => panic!("{other:?}"),
    };
    let mut builder = arena.builder();
    assert_eq!(refused(&builder).0, Protection::Namespaces);
    if !keeps_apart() {
        builder.allow_missing(Protection::Namespaces).allow_missing(Protection::LateMasks);
        return is_refusal(&contained(|| builder.start()).unwrap_err());
    }
    let (protection, needs) = refused(builder.allow_missing(Protection::Namespaces));
    assert_eq!(protection, Protection::LateMasks, "{needs}");
    contained(|| builder.allow_missing(Protection::LateMasks).start()).unwrap().shut_down();
    // With namespaces at hand nothing is given up.
    let enforced = builder.start().unwrap().enforced().clone();
    assert!(enforced.protections.iter().all(|line| line.holds), "{enforced:?}");
}

#[test]
fn the_report_says_what_stands_in_for_what() {
    if !keeps_apart() {
        return;
    }
    let arena = Arena::new();
    let sandbox = arena.start_on(Host::Container);
    let enforced = sandbox.enforced();
    let holds = |wanted| enforced.protections.iter().find(|line| line.protection == wanted).unwrap().holds;
    for missing in [Protection::Namespaces, Protection::MountView, Protection::LateMasks] {
        assert!(!holds(missing), "{missing}");
    }
    assert!(holds(Protection::Landlock) && holds(Protection::Seccomp));
    let workspace = arena.workspace.display().to_string();
    for what in ["nothing can be created", "cannot be listed"] {
        assert!(enforced.warnings.iter().any(|line| line.contains(what) && line.contains(&workspace)), "{enforced:?}");
    }
}

#[test]
fn modes_times_and_owners_change_only_where_files_may_be_written() {
    if !keeps_apart() {
        return;
    }
    const CHANGES: &str = "
import os, sys
for path in sys.argv[1:]:
    for change in (
        lambda: os.chmod(path, 0o711), lambda: os.fchmod(os.open(path, os.O_PATH), 0o711),
        lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o711), lambda: os.utime(path, (1, 1)),
        lambda: os.setxattr(path, 'user.x', b'x'), lambda: os.chown(path, 12345, -1),
        lambda: os.chmod('/proc/self/cwd/' + os.path.relpath(path), 0o711)):
        try: change()
        except OSError: pass
";
    let arena = Arena::new();
    let shared = tempfile::tempdir().unwrap();
    let tool = shared.path().join("tool");
    arena::write(&tool, "tool");
    let mut builder = arena.builder();
    let sandbox = Host::Container.start(builder.read_only(shared.path())).unwrap();
    arena::write(&arena.path("src/change.py"), CHANGES);
    let outside = [
        arena.outside.join("victim.txt"),
        tool,
        arena.path("AGENTS.md"),
        arena.path(".env"),
        arena.path(".git/config"),
        arena.workspace.clone(),
    ];
    let looks = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.mode(), found.mtime(), found.uid())
    };
    let before: Vec<_> = outside.iter().map(|path| looks(path)).collect();
    let words: Vec<String> = outside.iter().map(|path| path.display().to_string()).collect();
    let attack = format!("/usr/bin/python3 src/change.py {}", words.join(" "));
    arena.inside(&sandbox, &attack);
    assert_eq!(outside.iter().map(|path| looks(path)).collect::<Vec<_>>(), before);
    arena.inside(&sandbox, "/usr/bin/python3 src/change.py src/main.rs");
    let changed = fs::metadata(arena.path("src/main.rs")).unwrap();
    assert_eq!((changed.permissions().mode() & 0o777, changed.mtime()), (0o711, 1));
    // Without a sandbox the same lines change what they are given: of all these only what is the test's own.
    arena.bare(&format!("/usr/bin/python3 src/change.py {}", outside[0].display()));
    assert_eq!(fs::metadata(&outside[0]).unwrap().permissions().mode() & 0o777, 0o711);
}

#[test]
fn what_a_sandbox_started_ends_with_it_and_nothing_else_does() {
    if !keeps_apart() {
        return;
    }
    let workspace = workspace();
    let mut bystander = process::Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let other = plain(workspace.path());
    let neighbour = other.command("sleep").arg("60").spawn().unwrap();
    let sandbox = plain(workspace.path());
    run(&sandbox, DAEMON);
    let beat = workspace.path().join("work/beat");
    wait_for(|| beat.exists());
    drop(sandbox);
    assert_still(&beat);
    assert!(bystander.try_wait().unwrap().is_none(), "a process of the same user lives on");
    let running =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains("(sleep) S"));
    assert!(running(neighbour.id()), "and another sandbox");
    drop(other);
    assert!(!running(neighbour.id()));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// Ignores signals, leaves its session, loses its parent.
const DAEMON: &str = "(trap '' HUP TERM INT; setsid bash -c '(while :; do echo x >> work/beat; sleep 0.02; done) &' &) \
                      </dev/null >/dev/null 2>&1";

/// Runs in a process of its own that is then killed: see the next test.
#[test]
fn owner() {
    if !keeps_apart() {
        return;
    }
    let Some(workspace) = env::var_os("OWNED_WORKSPACE") else { return };
    let sandbox = plain(Path::new(&workspace));
    run(&sandbox, DAEMON);
    sandbox.command("sleep").arg("100").status().unwrap();
}

#[test]
fn killing_the_owner_ends_everything_inside() {
    if !keeps_apart() {
        return;
    }
    let (workspace, scratch) = (workspace(), tempfile::tempdir().unwrap());
    let mut owner = process::Command::new(env::current_exe().unwrap())
        .args(["--exact", "owner", "--test-threads=1", "--nocapture"])
        .env("OWNED_WORKSPACE", workspace.path())
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let beat = workspace.path().join("work/beat");
    wait_for(|| beat.exists());
    let left =
        || fs::read_dir(scratch.path()).unwrap().filter_map(Result::ok).map(|entry| entry.path()).collect::<Vec<_>>();
    let place = left().pop().unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    // The lock on its private directory is free when its supervisor has ended, which waits for everything inside.
    let lock = || {
        let directory = fs::File::open(&place).unwrap();
        nix::fcntl::Flock::lock(directory, nix::fcntl::FlockArg::LockExclusiveNonblock).is_ok()
    };
    wait_for(lock);
    assert_still(&beat);
}

#[test]
fn the_supervisor_inside_and_other_commands_are_out_of_reach() {
    if !keeps_apart() {
        return;
    }
    let workspace = workspace();
    let sandbox = plain(workspace.path());
    let script = "kill -KILL $PPID; kill -STOP $PPID; kill -TERM $(cut -d' ' -f4 /proc/self/stat 2>/dev/null) $PPID; \
                  prlimit --pid $PPID --cpu=1:1; renice 5 $PPID; strace -p $PPID -o /dev/null; echo STILL $$";
    assert!(run(&sandbox, script).contains("STILL"));
    assert!(run(&sandbox, "echo ALIVE").contains("ALIVE"));
}

#[test]
fn its_own_rights_and_its_end_are_a_commands_own() {
    if !keeps_apart() {
        return;
    }
    let workspace = workspace();
    let sandbox = plain(workspace.path());
    let work = fs::canonicalize(workspace.path().join("work")).unwrap();
    fs::create_dir(work.join("a")).unwrap();
    let mut narrow = sandbox.command("sh");
    narrow.args(["-c", "echo x > work/a/x; echo x > work/x"]).may_write([work.join("a")]);
    assert!(!narrow.output().unwrap().status.success());
    assert!(work.join("a/x").exists() && !work.join("x").exists());
    let mut child = sandbox.command("sh").args(["-c", "setsid sleep 60 & sleep 60"]).spawn().unwrap();
    child.kill_tree().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_terminal_is_made_outside() {
    if !keeps_apart() {
        return;
    }
    let workspace = workspace();
    let sandbox = plain(workspace.path());
    let mut child = sandbox
        .command("sh")
        .args(["-c", "stty size; read line < /dev/tty; echo got $line; exec sleep 100"])
        .terminal(33, 77)
        .spawn()
        .unwrap();
    let mut terminal = child.terminal.take().unwrap();
    terminal.write_all(b"word\n").unwrap();
    let (mut seen, mut buffer) = (String::new(), [0u8; 256]);
    while !seen.contains("got word") {
        let count = terminal.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.contains("33 77"), "{seen}");
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}

#[test]
fn work_goes_on_below_the_top() {
    if !keeps_apart() {
        return;
    }
    let workspace = workspace();
    arena::write(&workspace.path().join("work/a.c"), "#include <stdio.h>\nint main(void){puts(\"built\");}\n");
    let sandbox = plain(workspace.path());
    for (script, wanted) in [
        ("cd work && cc -o a a.c && ./a", "built"),
        (
            "cd work && git init -q r && cd r && echo x > y && git add y && git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s",
            "m",
        ),
        (
            "cd work && mkdir -p d/e && mv a.c d/e/ && ln d/e/a.c l && cp -p l m && sed -i s/built/again/ m && grep -c again m",
            "1",
        ),
        ("cd work && tar cf t.tar d && rm -r d && tar xf t.tar && cat d/e/a.c | tail -1 | cut -c1-8", "int main"),
        ("cat <(echo piped) | tr a-z A-Z", "PIPED"),
        (
            "/usr/bin/python3 -c 'import asyncio, threading, subprocess; asyncio.run(asyncio.sleep(0)); print(subprocess.check_output([\"echo\", \"python\"]))'",
            "python",
        ),
        ("echo x > $TMPDIR/x && cat $TMPDIR/x && mktemp -d", "x"),
        ("nproc; free >/dev/null && date >/dev/null && echo fine", "fine"),
    ] {
        let output = run(&sandbox, script);
        assert!(output.contains(wanted), "{script}\n{output}");
    }
    let place = run(&sandbox, "dirname $TMPDIR").trim().to_owned();
    assert!(Path::new(&place).is_dir());
    drop(sandbox);
    assert!(!Path::new(&place).exists(), "the private directory goes with the sandbox");
}
