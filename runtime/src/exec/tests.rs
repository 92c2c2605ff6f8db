//! The race for the memory of a waiting caller: won without the second look, lost with it.

use super::*;
use crate::{
    Access, Sandbox,
    notify::{Supervisor, Traps, View},
};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Refuses whatever looks evil, and counts who was killed for having become evil all the same.
#[derive(Default)]
struct NoEvil(AtomicUsize);

impl ExecGuard for NoEvil {
    fn judge(&self, exec: &Exec) -> ExecAnswer {
        let stage = &exec.stages[0];
        match stage.program.ends_with("expr") || stage.argv[1] == "evil" {
            true => ExecAnswer::Refuse,
            false => ExecAnswer::Allow,
        }
    }

    fn killed(&self, _: &Exec) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What became of many rounds of the race: evil that ran, refusals, and processes killed.
fn race(program: &Path, what: &str, looks_twice: bool) -> (usize, usize, usize) {
    let directory = program.parent().unwrap();
    let sandbox = Sandbox::builder().system().workspace(directory, Access::ReadOnly).start().unwrap();
    let guard = Arc::new(NoEvil::default());
    let judge = Judge::new(Arc::clone(&guard) as Arc<dyn ExecGuard>, sandbox.first()).unwrap();
    let judge = if looks_twice { judge } else { judge.looking_once() };
    let supervisor = Supervisor::start(sandbox.ending().unwrap(), Traps::EXEC, vec![Box::new(judge)]).unwrap();
    let output = sandbox.command(program).args(["300", what]).output().unwrap();
    drop((sandbox, supervisor));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = |wanted: &[&str]| text.lines().filter(|line| wanted.contains(line)).count();
    (lines(&["evil", "42"]), lines(&["refused"]), guard.0.load(Ordering::Relaxed))
}

#[test]
fn what_is_exchanged_between_look_and_execution_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().canonicalize().unwrap().join("flip");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arena/flip.c");
    let cc = Command::new("cc").args(["-O1", "-w", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(cc.unwrap().success());
    for what in ["argument", "path"] {
        let (mut won, mut refused, mut rounds) = (0, 0, 0);
        while (won == 0 || refused == 0) && rounds < 30 {
            let (evil, no, killed) = race(&program, what, false);
            assert_eq!(killed, 0);
            (won, refused, rounds) = (won + evil, refused + no, rounds + 1);
        }
        assert!(won > 0 && refused > 0, "{what}: with one look the race can be won ({won} won, {refused} refused)");
        let (mut caught, mut rounds) = (0, 0);
        while rounds < 2 || (caught == 0 && rounds < 30) {
            let (evil, _, killed) = race(&program, what, true);
            assert_eq!(evil, 0, "{what}: with two looks it cannot");
            (caught, rounds) = (caught + killed, rounds + 1);
        }
        assert!(caught > 0, "{what}: nobody was caught");
    }
}

#[test]
fn long_arguments_are_compared_without_being_kept() {
    let long = |end: &str| "x".repeat(100_000) + end;
    let argv = |end: &str| ["cat", "-", &long(end)].map(OsString::from).to_vec();
    let mut cat = Command::new("cat");
    let mut child = cat.args(&argv("1")[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Once it copies, it has all of its arguments.
    child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = child.id().cast_signed();
    let executed = file::identity(format!("/proc/{pid}/exe").as_ref()).unwrap();
    for (end, same) in [("1", true), ("2", false), ("", false)] {
        let stage = Stage { program: "/usr/bin/cat".into(), name: "/usr/bin/cat".into(), argv: argv(end) };
        let (directory, environment) = (OnceLock::new(), OnceLock::new());
        let (target, stages) = (Target::thread(pid), vec![stage]);
        let mut exec =
            Exec { pid, stages, executed: 0, long: None, fixed: true, target, variables: 0, directory, environment };
        assert_eq!(exec.became(executed).unwrap(), same);
        exec.shorten();
        assert_eq!(exec.stages[0].argv, ["cat", "-"]);
        assert_eq!(exec.became(executed).unwrap(), same);
        assert!(exec.on_stack().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn only_names_that_nobody_inside_can_redirect_are_fixed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    fs::copy("/usr/bin/env", root.join("env")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", root.join("link")).unwrap();
    let sandbox = Sandbox::builder().system().workspace(&root, Access::ReadWrite).start().unwrap();
    let (view, names) = (View::of(sandbox.first()).unwrap(), names::Names::of(sandbox.first()));
    let fixed = |path: &Path| names.fixed(&view, path);
    for name in ["/usr/bin/env", "/usr/../usr/bin/./env"] {
        assert_eq!(fixed(Path::new(name)), Some("/usr/bin/env".into()), "{name}");
    }
    assert_eq!(fixed(Path::new("/bin/sh")), fs::canonicalize("/bin/sh").ok());
    for path in ["env", "link"].map(|name| root.join(name)) {
        assert_eq!(fixed(&path), None, "{}", path.display());
    }
    for path in ["/proc/self/exe", "/proc/self/root/usr/bin/env", "/tmp/env", "/usr/bin/missing"] {
        assert_eq!(fixed(Path::new(path)), None, "{path}");
    }
}
