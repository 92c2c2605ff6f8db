//! Commands with a `/tmp` of their own: what is private, and that everything else holds for them as for the others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "integration tests are a test module")]

#[path = "arena/kernel.rs"]
mod kernel;

use holdpoint_runtime::{Access, Command, Error, Exec, ExecAnswer, Limit, Limits, Sandbox, Stdio};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;

/// A workspace that is not below `/tmp`.
struct Place {
    _directory: TempDir,
    workspace: PathBuf,
    sandbox: Sandbox,
}

fn place() -> Option<Place> {
    place_with(Limits::default())
}

/// A place whose commands can have a `/tmp` of their own. An older kernel would not keep them apart: there it is refused, and
/// nothing runs.
fn place_with(limits: Limits) -> Option<Place> {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let workspace = directory.path().to_owned();
    fs::write(workspace.join(".env"), "SECRET").unwrap();
    fs::create_dir(workspace.join("sub")).unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(&workspace, Access::ReadWrite).deny_read("**/.env*").limits(limits);
    let place = Place { _directory: directory, workspace, sandbox: builder.start().unwrap() };
    if kernel::keeps_apart() {
        return Some(place);
    }
    kernel::is_refusal(&place.command("echo ran > ran", true).status().unwrap_err());
    assert!(!place.workspace.join("ran").exists());
    None
}

impl Place {
    fn command(&self, script: &str, private: bool) -> Command<'_> {
        let mut command = self.sandbox.command("sh");
        command.args(["-c", script]).env("PATH", "/usr/local/bin:/usr/bin:/bin").private_tmp(private);
        command
    }

    fn output(&self, script: &str, private: bool) -> String {
        let output = self.command(script, private).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

#[test]
fn tmp_is_private_and_the_workspace_is_not() {
    let Some(place) = place() else { return };
    assert_eq!(place.output("echo shared | tee /tmp/a /var/tmp/a", false), "shared\n");
    assert_eq!(
        place.output("ls -A /tmp /var/tmp; echo own > /tmp/b; echo work > made; cat /tmp/b", true),
        "/tmp:\n\n/var/tmp:\nown\n"
    );
    assert_eq!(place.output("cat made /tmp/a /var/tmp/a; ls -A /tmp", false), "work\nshared\nshared\na\n");
    assert_eq!(place.output("ls -A /tmp", true), "", "each has its own");
    let status = place.command("exit 7", true).status().unwrap();
    assert_eq!(status.code(), Some(7));
}

#[test]
fn everything_else_holds_there_too() {
    let Some(place) = place() else { return };
    let look = "
        grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status
        ulimit -c; ulimit -n; cat .env; echo x > .envrc; echo x > /usr/x; echo x > /dev/x; echo x > /x
        unshare -U true; unshare -m true; mount -t tmpfs none /mnt; umount /tmp; ls /sys; hostname; cat /proc/1/environ
        ls /proc/self/fd | tr '\\n' ' '; ls /proc/self/ns; readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/user
        mv .env sub/x; ln .env sub/y; rm -f .env; readlink /proc/self/cwd; id -u; ps -o pid= -p 1; keyctl show
    ";
    let (others, own) = (place.output(look, false), place.output(look, true));
    assert_eq!(own, others);
    assert!(others.contains("Permission denied") && others.contains("CapEff:\t0000000000000000"), "{others}");
}

#[test]
fn a_secret_that_appears_later_is_covered_there_too() {
    let Some(place) = place() else { return };
    let script = "echo ready; for i in $(seq 1000); do
        [ -e sub/.env.late ] && ! cat sub/.env.late > /dev/null 2>&1 && echo covered && exit
        sleep 0.01
    done; echo never";
    let mut child = place.command(script, true).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "ready");
    fs::write(place.workspace.join("sub/.env.late"), "SECRET").unwrap();
    assert_eq!(lines.next().unwrap(), "covered");
    child.wait().unwrap();
    // One that begins when the cover is there has it too, and it cannot be moved away.
    assert!(!place.output("cat sub/.env.late; mv sub/.env.late sub/x; cat sub/x", true).contains("SECRET"));
}

#[test]
fn neither_side_reaches_the_other() {
    let Some(place) = place() else { return };
    let mut other = place.sandbox.command("sleep").arg("100").spawn().unwrap();
    let mut own = place.command("exec sleep 100", true).spawn().unwrap();
    let reach = |pid: i32| {
        format!(
            "kill -0 {pid} && echo signalled; readlink /proc/{pid}/cwd; cat /proc/{pid}/environ; ls /proc/{pid}/root/tmp && echo listed"
        )
    };
    for (pid, private) in [(other.id(), true), (own.id(), false)] {
        let tried = place.output(&reach(pid), private);
        assert!(!tried.contains("signalled") && !tried.contains("listed") && !tried.contains("PATH"), "{tried}");
    }
    assert!(place.output(&reach(other.id()), false).contains("signalled"), "among the others it works");
    own.kill().unwrap();
    assert_eq!(own.wait().unwrap().signal(), Some(9));
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
}

#[test]
fn streams_terminals_limits_and_trees_work_as_always() {
    let Some(place) = place_with(Limits { open_files: Some(77), ..Limits::default() }) else { return };
    assert_eq!(place.output("ulimit -n", true), "77\n");
    let mut child = place.command("tr a-z A-Z", true).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"cell").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"CELL");
    let mut child = place.command("tty; stty size", true).terminal(33, 77).spawn().unwrap();
    let mut lines = BufReader::new(child.terminal.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("/dev/pts/"));
    assert_eq!(lines.next().unwrap().unwrap().trim_end(), "33 77");
    child.wait().unwrap();
    let mut child = place.command("setsid sleep 100 & echo $!; wait", true).stdout(Stdio::piped()).spawn().unwrap();
    let pid = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    child.kill_tree().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let state = format!(
        "for i in $(seq 500); do case $(cut -d' ' -f3 /proc/{pid}/stat 2>/dev/null) in ''|Z) echo gone; exit;; esac; sleep 0.01; done"
    );
    assert_eq!(place.output(&state, false), "gone\n");
}

#[test]
fn fewer_rights_and_an_own_tmp_go_together() {
    let Some(place) = place() else { return };
    let script = "echo x > /tmp/x && echo x > sub/x && cat /tmp/x && ! echo x > y";
    let status = place.command(script, true).may_write([place.workspace.join("sub")]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    assert!(!place.workspace.join("y").exists());
}

#[test]
fn memory_is_counted_there_too() {
    let Some(place) = place_with(Limits { memory: Some(256 << 20), ..Limits::default() }) else { return };
    let mut hog = place.sandbox.command("python3");
    assert!(!hog.args(["-c", "b'x' * (512 << 20)"]).private_tmp(true).output().unwrap().status.success());
    assert!(place.sandbox.limits_reached().contains_key(&Limit::Memory));
}

#[test]
fn time_is_counted_there_too() {
    let Some(place) = place_with(Limits { wall_time: Some(Duration::from_secs(1)), ..Limits::default() }) else {
        return;
    };
    assert_eq!(place.command("exec sleep 100", true).status().unwrap().signal(), Some(9));
}

#[test]
fn a_supervisor_is_not_got_around() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut builder = Sandbox::builder();
    builder.system().workspace(directory.path(), Access::ReadWrite).on_exec(|_: &Exec| ExecAnswer::Allow);
    let error = builder.start().unwrap().command("true").private_tmp(true).status().unwrap_err();
    assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains("supervisor"), "{error}");
}

#[test]
fn a_tmp_that_would_hide_what_is_shown_is_refused() {
    if !kernel::keeps_apart() {
        return;
    }
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let sandbox = Sandbox::builder().system().workspace(directory.path(), Access::ReadWrite).start().unwrap();
    let error = sandbox.command("true").private_tmp(true).status().unwrap_err();
    assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains("below /tmp"), "{error}");
}

#[test]
fn a_cell_ends_with_its_sandbox() {
    let Some(place) = place() else { return };
    let mut child = place.command("while :; do echo x >> beat; sleep 0.01; done", true).spawn().unwrap();
    let beat = place.workspace.join("beat");
    while !beat.exists() {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    let Place { _directory, sandbox, .. } = place;
    drop(sandbox);
    let before = fs::metadata(&beat).unwrap().len();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(fs::metadata(&beat).unwrap().len(), before, "it goes on");
    assert!(child.wait().is_err());
}
