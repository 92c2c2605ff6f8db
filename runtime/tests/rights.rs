//! Commands that may do less than their sandbox, and commands that are killed alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "integration tests are a test module")]

#[path = "arena/kernel.rs"]
mod kernel;

use holdpoint_runtime::{Access, Child, Command, Error, Limits, Sandbox, Stdio};
use landlock::{AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

struct Place {
    _directory: TempDir,
    workspace: PathBuf,
    sandbox: Sandbox,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().canonicalize().unwrap();
    for name in ["src", "out"] {
        fs::create_dir(workspace.join(name)).unwrap();
        fs::write(workspace.join(name).join("file"), name).unwrap();
    }
    let sandbox = Sandbox::builder().system().workspace(&workspace, Access::ReadWrite).start().unwrap();
    Place { _directory: directory, workspace, sandbox }
}

/// A place whose commands can be given less. An older kernel cannot do that: there it is refused, and nothing runs.
fn narrowing() -> Option<Place> {
    let place = place();
    if kernel::keeps_apart() {
        return Some(place);
    }
    let refused = place.command("echo ran > out/ran").may_write([place.path("out")]).status();
    kernel::is_refusal(&refused.unwrap_err());
    assert!(!place.path("out/ran").exists());
    None
}

impl Place {
    fn command(&self, script: &str) -> Command<'_> {
        let mut command = self.sandbox.command("sh");
        command.args(["-c", script]).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workspace.join(name)
    }
}

fn succeeds(command: &mut Command<'_>) -> bool {
    command.output().unwrap().status.success()
}

#[test]
fn a_command_writes_only_where_it_may_and_the_next_one_everywhere() {
    let Some(place) = narrowing() else { return };
    for attack in [
        "echo x > src/new",
        "echo x >> src/file",
        "rm src/file",
        "mkdir src/dir",
        "mv src/file out/stolen",
        "mv out/file src/file",
        "ln out/file src/link",
        "ln -s x src/symlink",
        "truncate -s 0 src/file",
        "mkfifo src/pipe",
        "echo x > /tmp/x",
        "echo x > /dev/shm/x",
        "(cd src; setsid sh -c 'echo x > new')",
    ] {
        let refused = !succeeds(place.command(attack).may_write([place.path("out")]));
        assert!(refused, "refused: {attack}");
        assert!(succeeds(&mut place.command(attack)), "without the layer it works: {attack}");
        assert!(succeeds(
            &mut place
                .command("rm -rf src out /tmp/x /dev/shm/x; mkdir src out; echo src > src/file; echo out > out/file")
        ));
    }
    let work = "cat src/file && echo x > out/new && mv out/new out/newer && echo x > /dev/null && echo done > out/file";
    assert!(succeeds(place.command(work).may_write([place.path("out")])));
    assert_eq!(fs::read_to_string(place.path("out/file")).unwrap(), "done\n");
}

#[test]
fn paths_that_may_be_written_add_up_and_may_be_files_or_none() {
    let Some(place) = narrowing() else { return };
    let script = "echo x > src/file && echo x > out/file && ! echo x > out/new";
    let mut command = place.command(script);
    assert!(succeeds(command.may_write([place.path("src")]).may_write([place.path("out/file")])));
    assert!(succeeds(place.command("! echo x > src/file && cat src/file").may_write([] as [&Path; 0])));
}

#[test]
fn a_command_reads_only_what_it_may_and_the_system() {
    let Some(place) = narrowing() else { return };
    for attack in ["cat src/file", "ls src", "cp src/file out/copy", "cat /tmp/note", "mv src/file out/moved"] {
        assert!(succeeds(&mut place.command("echo src > src/file; echo note > /tmp/note")));
        assert!(!succeeds(place.command(attack).may_read([place.path("out")])), "refused: {attack}");
        assert!(succeeds(&mut place.command(attack)), "without the layer it works: {attack}");
    }
    assert!(succeeds(place.command("cat out/file && ls out && python3 -c 1").may_read([place.path("out")])));
    assert!(succeeds(place.command("echo x > src/blind").may_read([place.path("out")])), "writing is another right");
}

#[test]
fn the_others_in_the_sandbox_are_out_of_reach_of_a_command_with_less() {
    let Some(place) = narrowing() else { return };
    let strong = place.sandbox.command("sleep").arg("100").spawn().unwrap();
    let pid = strong.id();
    let trace = format!("head -c 1 /proc/{pid}/environ; readlink /proc/{pid}/cwd");
    for attack in [format!("kill -0 {pid}"), trace] {
        assert!(!succeeds(place.command(&attack).may_write([place.path("out")])), "refused: {attack}");
        assert!(succeeds(&mut place.command(&attack)), "without the layer it works: {attack}");
    }
    assert!(succeeds(place.command("sleep 100 & kill $!").may_write([place.path("out")])), "its own it may signal");
    strong.kill().unwrap();
}

#[test]
fn rights_that_cannot_be_given_are_errors_and_nothing_runs() {
    let Some(place) = narrowing() else { return };
    symlink("/", place.path("elsewhere")).unwrap();
    for (path, why) in [
        (place.path("missing"), "exists inside"),
        (PathBuf::from("out"), "must be absolute"),
        (place.path("elsewhere"), "symbolic link"),
        (place.path("elsewhere/tmp"), "symbolic link"),
        (PathBuf::from("/root-of-the-host"), "exists inside"),
    ] {
        let error = place.command("echo ran > out/ran").may_write([&path]).status().unwrap_err();
        assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains(why), "{path:?}: {error}");
    }
    assert!(!place.path("out/ran").exists());
}

#[test]
fn more_layers_than_the_kernel_has_are_an_error_that_says_so() {
    let Some(_) = narrowing() else { return };
    let outcome = thread::spawn(|| {
        // Layers are a thread's own, and a sandbox inherits them from the thread that starts it.
        for _ in 0..15 {
            let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            rules.handle_access(AccessNet::BindTcp).unwrap().create().unwrap().restrict_self().unwrap();
        }
        let place = place();
        assert!(succeeds(&mut place.command("true")), "15 layers of others and the sandbox's own are 16");
        place.command("true").may_write([place.path("out")]).status().unwrap_err()
    });
    let error = outcome.join().unwrap();
    assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains("16 Landlock layers"), "{error}");
}

#[test]
fn limits_are_the_commands_own_and_never_above_the_sandboxs() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { open_files: Some(100), ..Limits::default() };
    let sandbox =
        Sandbox::builder().system().workspace(directory.path(), Access::ReadWrite).limits(limits).start().unwrap();
    let said = |set: &dyn Fn(&mut Command<'_>)| {
        let mut command = sandbox.command("sh");
        command.args(["-c", "echo $(ulimit -n) $(ulimit -Hn) $(ulimit -t) $(ulimit -f)"]);
        set(&mut command);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(said(&|_| ()), "100 100 unlimited unlimited\n");
    let lower = |command: &mut Command<'_>| {
        command.open_files(20).cpu_time(Duration::from_millis(2500)).file_size(1 << 20);
    };
    assert_eq!(said(&lower), "20 20 3 2048\n");
    let higher = |command: &mut Command<'_>| {
        command.open_files(5000);
    };
    assert_eq!(said(&higher), "100 100 unlimited unlimited\n");
    assert_eq!(said(&|_| ()), "100 100 unlimited unlimited\n", "the next command has those of the sandbox");

    for (ignore, signal) in [("", libc::SIGXCPU), ("trap '' XCPU;", libc::SIGKILL)] {
        let spin = format!("{ignore} while :; do :; done");
        let spin = sandbox.command("sh").args(["-c", &spin]).cpu_time(Duration::from_secs(1)).status();
        assert_eq!(spin.unwrap().signal(), Some(signal));
    }
    let mut large = sandbox.command("sh");
    large.args(["-c", "exec head -c 100000 /dev/zero > large"]).file_size(50_000);
    assert_eq!(large.status().unwrap().signal(), Some(libc::SIGXFSZ));
    assert_eq!(fs::metadata(directory.path().join("large")).unwrap().len(), 50_000);
}

#[test]
fn killing_one_command_leaves_the_others() {
    let place = place();
    let mut one = place.command("sleep 100 & sleep 100").spawn().unwrap();
    let mut other = place.command("read line; exit 3").stdin(Stdio::piped()).spawn().unwrap();
    one.kill().unwrap();
    assert_eq!(one.wait().unwrap().signal(), Some(9));
    assert_eq!(other.try_wait().unwrap(), None);
    assert_eq!(other.wait().unwrap().code(), Some(3));
}

/// Processes in other groups and sessions, an orphan, and one that starts others without end.
const FAMILY: &str = "
    trap '' HUP TERM INT
    setsid sh -c 'echo $$; setsid sleep 1000 & echo $!; exec sleep 1000' &
    (sleep 1000 & echo $!)
    setsid sh -c 'while :; do sh -c : & done' & echo $!
    sleep 1000 & echo $!
    wait
";

/// Starts a command that prints numbers of processes, and reads that many.
fn started(place: &Place, script: &str, count: usize) -> (Child, Vec<String>) {
    let mut child = place.command(script).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.take(count).map(Result::unwrap).collect())
}

/// Those of the processes that live, as another command sees them.
fn alive(place: &Place, pids: &[String]) -> Vec<String> {
    let script = "for pid; do case $(cut -d' ' -f3 /proc/$pid/stat) in ''|Z) ;; *) echo $pid;; esac; done 2>/dev/null";
    let output = place.command(script).arg("sh").args(pids).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect()
}

#[test]
fn a_whole_tree_is_killed_and_nothing_else() {
    let place = place();
    let (other, others) = started(&place, "setsid sleep 1000 & echo $!; wait", 1);
    let (mut child, own) = started(&place, FAMILY, 5);
    assert_eq!(alive(&place, &own), own);
    child.kill_tree().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let start = Instant::now();
    while !alive(&place, &own).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "still there: {:?}", alive(&place, &own));
    }
    assert_eq!(alive(&place, &others), others, "another command's process lives on");
    other.kill_tree().unwrap();
}

#[test]
fn a_tree_is_killed_after_its_first_process_has_ended() {
    let place = place();
    let (mut child, own) = started(&place, "sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' &", 2);
    child.wait().unwrap();
    assert_eq!(alive(&place, &own), own);
    child.kill_tree().unwrap();
    let start = Instant::now();
    // The second has left the session and lost its parent: it ends with the sandbox.
    while alive(&place, &own) != own[1..] {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} of {own:?}", alive(&place, &own));
    }
}
