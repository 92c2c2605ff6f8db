//! The exec guard with real programs: what is judged, what a refusal looks like from inside, and what goes on as without it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "integration tests are a test module")]
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use holdpoint_runtime::{Access, Builder, Error, Exec, ExecAnswer, Opening, Protection, Sandbox};

/// A workspace and what was judged in it.
struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self { _directory: directory, root, seen: Arc::default() }
    }

    fn builder(&self) -> Builder {
        let mut builder = Sandbox::builder();
        builder.system().workspace(&self.root, Access::ReadWrite);
        builder
    }

    /// A sandbox in which nothing with this word in its arguments may be executed.
    fn refusing(&self, word: &'static str) -> Sandbox {
        let seen = Arc::clone(&self.seen);
        let guard = move |exec: &Exec| {
            seen.lock().unwrap().push(exec.stages.iter().map(|stage| line(&stage.program, &stage.argv)).collect());
            let bad = |stage: &holdpoint_runtime::Stage| stage.argv.iter().any(|argument| argument == word);
            if exec.stages.iter().any(bad) { ExecAnswer::Refuse } else { ExecAnswer::Allow }
        };
        self.builder().on_exec(guard).start().unwrap()
    }

    fn seen(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn line(program: &Path, argv: &[OsString]) -> String {
    let argv: Vec<_> = argv.iter().map(|argument| argument.to_string_lossy()).collect();
    format!("{}: {}", program.display(), argv.join(" "))
}

/// What a script prints, errors included.
fn run(sandbox: &Sandbox, script: &str) -> String {
    let mut command = sandbox.command("bash");
    command.args(["-c", &format!("exec 2>&1; {script}")]).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// A test's own program in Python, whose library calls the kernel in many ways.
fn python(sandbox: &Sandbox, script: &str) -> String {
    let mut command = sandbox.command("python3");
    command.args(["-c", script]).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn real(path: &str) -> String {
    fs::canonicalize(path).unwrap().display().to_string()
}

#[test]
fn a_refusal_is_eacces_and_the_caller_goes_on() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let output = run(&sandbox, "/bin/echo good; /bin/echo evil; echo $?; /bin/echo on");
    assert_eq!(output, "good\nbash: line 1: /bin/echo: Permission denied\n126\non\n");
    let echo = real("/bin/echo");
    assert_eq!(place.seen(), ["good", "evil", "on"].map(|word| vec![format!("{echo}: /bin/echo {word}")]));
    let held = |applied: &&holdpoint_runtime::Applied| applied.protection == Protection::ExecGuard && applied.holds;
    assert!(sandbox.enforced().protections.iter().any(|applied| held(&applied)));
    let start = "import os\ntry: os.execv('/bin/echo', ['echo', 'evil'])\nexcept OSError as error: print(error.errno)";
    assert_eq!(python(&sandbox, start), format!("{}\n", libc::EACCES));
}

#[test]
fn without_the_guard_the_same_runs() {
    let place = Place::new();
    assert_eq!(run(&place.builder().start().unwrap(), "/bin/echo evil"), "evil\n");
}

#[test]
fn what_is_not_there_is_not_asked_about() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    place.script("text", "no program");
    fs::set_permissions(place.root.join("text"), fs::Permissions::from_mode(0o644)).unwrap();
    let script = "import os\n\
                  for path in ['/no/such', '/bin/echo/x', './text', '.', '', './loop', 'x' * 300, '/' * 5000]:\n\
                  \ttry: os.execv(path, ['x'])\n\
                  \texcept OSError as error: print(error.errno)\n";
    std::os::unix::fs::symlink("loop", place.root.join("loop")).unwrap();
    let guarded = python(&sandbox, script);
    assert_eq!(guarded, python(&place.builder().start().unwrap(), script));
    assert_eq!(guarded.lines().count(), 8);
    assert_eq!(place.seen(), Vec::<Vec<String>>::new());
}

#[test]
fn scripts_are_followed_to_what_runs_them() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let one = place.script("one", "#!/bin/sh -e\nexec /bin/echo $0 $1\n").display().to_string();
    let two = place.script("two", &format!("#! {one} evil\n")).display().to_string();
    let env = place.script("env", "#!/usr/bin/env python3\nprint('env')\n").display().to_string();
    let (sh, echo) = (real("/bin/sh"), real("/bin/echo"));

    assert_eq!(run(&sandbox, "./one x"), format!("{} x\n", "./one"));
    let started = vec![format!("{one}: ./one x"), format!("{sh}: /bin/sh -e ./one x")];
    assert_eq!(place.seen(), [started, vec![format!("{echo}: /bin/echo ./one x")]]);

    let output = run(&sandbox, "./two x");
    assert!(output.contains("Permission denied"), "an argument in the first line counts: {output}");
    let chain = ["two: ./two x".to_owned(), format!("one: {one} evil ./two x")];
    let mut stages: Vec<String> = chain.map(|stage| format!("{}/{stage}", place.root.display())).into();
    stages.push(format!("{sh}: /bin/sh -e {one} evil ./two x"));
    assert_eq!(place.seen(), [stages]);

    assert_eq!(run(&sandbox, "./env"), "env\n");
    let seen = place.seen();
    assert_eq!(seen[0], [format!("{env}: ./env"), format!("{}: /usr/bin/env python3 ./env", real("/usr/bin/env"))]);
    assert_eq!(seen[1], [format!("{}: python3 ./env", real("/usr/bin/python3"))]);
    // As deep as the kernel goes, and not one deeper.
    let mut last = "/bin/sh".to_owned();
    for depth in 1..=6 {
        last = place.script(&format!("deep{depth}"), &format!("#!{last}\necho deep\n")).display().to_string();
    }
    assert_eq!(run(&sandbox, "./deep5 2>/dev/null >&2; echo $?"), "0\n");
    assert_eq!(place.seen()[0].len(), 6);
    let bare = place.builder().start().unwrap();
    assert_eq!(run(&sandbox, "./deep6"), run(&bare, "./deep6"));
    assert_eq!(two.len(), one.len());
}

#[test]
fn a_loader_is_judged_by_what_it_loads() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let loader =
        if cfg!(target_arch = "x86_64") { "/lib64/ld-linux-x86-64.so.2" } else { "/lib/ld-linux-aarch64.so.1" };
    assert_eq!(run(&sandbox, &format!("{loader} --inhibit-cache /bin/echo good")), "good\n");
    let stages = [
        format!("{}: {loader} --inhibit-cache /bin/echo good", real(loader)),
        format!("{}: /bin/echo good", real("/bin/echo")),
    ];
    assert_eq!(place.seen(), [stages.to_vec()]);
    // Under another name it is the same loader.
    fs::copy(loader, place.root.join("innocent")).unwrap();
    assert!(run(&sandbox, "./innocent --argv0 evil /bin/echo x").contains("Permission denied"));
    assert_eq!(place.seen()[0].len(), 2);
}

#[test]
fn files_in_memory_and_open_ones_are_executed_and_judged() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let script = "import os, sys\n\
                  def attempt(f):\n\
                  \tpid = os.fork()\n\
                  \tif pid == 0:\n\
                  \t\ttry: f()\n\
                  \t\texcept OSError as error: os.write(1, b'%d\\n' % error.errno); os._exit(0)\n\
                  \tos.waitpid(pid, 0)\n\
                  m = os.memfd_create('echo', 0)\n\
                  os.write(m, open('/bin/echo', 'rb').read())\n\
                  m = os.open('/proc/self/fd/%d' % m, os.O_RDONLY)\n\
                  os.set_inheritable(m, True)\n\
                  e = os.open('/bin/echo', os.O_RDONLY)\n\
                  for word in ['good', 'evil']:\n\
                  \tattempt(lambda: os.execve(m, ['m', word], {}))\n\
                  \tattempt(lambda: os.execve(e, ['e', word], {}))\n\
                  \tattempt(lambda: os.execv('/proc/self/fd/%d' % m, ['s', word]))\n\
                  \tattempt(lambda: os.execv('/dev/fd/%d' % e, ['d', word]))\n\
                  attempt(lambda: os.execv('/proc/self/exe', ['python3', '-c', 'print(\"again\")']))\n";
    assert_eq!(python(&sandbox, script), format!("{}{}again\n", "good\n".repeat(4), "13\n".repeat(4)));
    let seen = place.seen();
    assert_eq!(seen[0], ["/memfd:echo (deleted): m good"]);
    assert_eq!(seen[1], [format!("{}: e good", real("/bin/echo"))]);
    assert_eq!(seen[8], [format!("{}: python3 -c print(\"again\")", real("/usr/bin/python3"))]);
}

#[test]
fn trees_of_every_kind_of_start_run_as_ever() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    place.script("Makefile", "all: a b\n\t@echo all\na:\n\t@bash -c '(/bin/echo a)'\nb:\n\t@env python3 b.py\n");
    place.script(
        "b.py",
        "import os, subprocess, threading\n\
         def start(): subprocess.run(['/bin/echo', 'thread'], check=True)\n\
         threads = [threading.Thread(target=start) for _ in range(8)]\n\
         [thread.start() for thread in threads]; [thread.join() for thread in threads]\n\
         os.waitpid(os.posix_spawn('/bin/echo', ['echo', 'spawned'], {}), 0)\n\
         subprocess.run('echo $(/bin/echo shell | cat)', shell=True, check=True)\n\
         threading.Thread(target=lambda: os.execv('/bin/echo', ['echo', 'from a thread'])).start()\n\
         threading.Event().wait()\n",
    );
    let output = run(&sandbox, "make -j4 --no-print-directory | sort");
    let mut expected = vec!["a", "all", "from a thread", "shell", "spawned"];
    expected.extend(["thread"; 8]);
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
    let many = "for i in $(seq 200); do /bin/sh -c '/bin/echo x' & done; wait";
    assert_eq!(run(&sandbox, many), "x\n".repeat(200));
}

#[test]
fn long_arguments_and_odd_ones_arrive() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let script = "import os, subprocess\n\
                  long = ['x' * 131071, '', 'y' * 4096, '\\n'] + ['z%d' % i for i in range(5000)]\n\
                  out = subprocess.run(['/usr/bin/printf', '%s,'] + long, stdout=subprocess.PIPE, check=True).stdout\n\
                  assert out.decode() == ','.join(long) + ','\n\
                  try: subprocess.run(['/bin/echo'] + long + ['evil'])\n\
                  except PermissionError: print('refused')\n";
    assert_eq!(python(&sandbox, script), "refused\n");
    let empty = "import ctypes; ctypes.CDLL(None).execve(b'/usr/bin/env', None, None); print('failed')";
    assert_eq!(python(&sandbox, empty), python(&place.builder().start().unwrap(), empty));
}

#[test]
fn a_held_one_waits_alone() {
    let place = Place::new();
    let (asked, questions) = mpsc::channel();
    let guard = move |exec: &Exec| {
        let word = exec.stages[0].argv.last().cloned().unwrap_or_default();
        if word != "held" && word != "never" {
            return ExecAnswer::Allow;
        }
        let asked = asked.clone();
        ExecAnswer::Later(Box::new(move |exec: &Exec| {
            let (answer, answered) = mpsc::channel();
            let directory = exec.current_dir().unwrap().to_owned();
            let environment = exec.environment().unwrap().to_vec();
            asked.send((answer, directory, environment)).unwrap();
            answered.recv().unwrap_or(false)
        }))
    };
    let sandbox = place.builder().on_exec(guard).start().unwrap();
    let mut script = sandbox.command("sh");
    script.args(["-c", "cd /usr; /bin/echo held; /bin/echo never || echo $?"]).env("NAME", "value");
    let child = script.stdout(holdpoint_runtime::Stdio::piped()).spawn().unwrap();
    let (answer, directory, environment) = questions.recv().unwrap();
    assert_eq!((directory, environment.contains(&"NAME=value".into())), (PathBuf::from("/usr"), true));
    // Others go on meanwhile, those of the same sandbox too.
    assert_eq!(run(&sandbox, "/bin/echo free"), "free\n");
    answer.send(true).unwrap();
    let (answer, ..) = questions.recv().unwrap();
    answer.send(false).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "held\n126\n");
}

#[test]
fn a_guard_that_fails_ends_everything() {
    let place = Place::new();
    let guard = |exec: &Exec| match exec.stages[0].argv.last().is_some_and(|word| word == "fail") {
        true => panic!("a guard that fails (expected here)"),
        false => ExecAnswer::Allow,
    };
    let sandbox = place.builder().on_exec(guard).start().unwrap();
    let mut command = sandbox.command("sh");
    let ended = command.args(["-c", "/bin/echo fail; touch after"]).current_dir(&place.root).status();
    assert!(matches!(ended, Err(Error::Ended { .. })), "{ended:?}");
    assert!(!place.root.join("after").exists());
    let error = sandbox.command("true").spawn().unwrap_err();
    assert!(error.to_string().contains("could get none"), "{error}");
}

#[test]
fn a_later_answer_that_fails_is_a_refusal_and_one_after_the_end_is_lost() {
    let place = Place::new();
    let (asked, questions) = mpsc::channel::<mpsc::Sender<bool>>();
    let guard = move |exec: &Exec| {
        let asked = asked.clone();
        match exec.stages[0].argv.last().and_then(|word| word.to_str()) {
            Some("panic") => ExecAnswer::Later(Box::new(|_| panic!("an answer that fails (expected here)"))),
            Some("wait") => ExecAnswer::Later(Box::new(move |_| {
                let (answer, answered) = mpsc::channel();
                asked.send(answer).unwrap();
                answered.recv().unwrap_or(false)
            })),
            _ => ExecAnswer::Allow,
        }
    };
    let sandbox = place.builder().on_exec(guard).start().unwrap();
    assert!(run(&sandbox, "/bin/echo panic").contains("Permission denied"));
    let child = sandbox.command("sh").args(["-c", "/bin/echo wait"]).spawn().unwrap();
    let answer = questions.recv().unwrap();
    drop((child, sandbox));
    answer.send(true).unwrap();
}

#[test]
fn a_plan_and_a_judge_belong_together() {
    let place = Place::new();
    let plan = place.builder().on_exec(|_: &Exec| ExecAnswer::Allow).plan().unwrap();
    assert!(plan.exec_guard);
    let error = Sandbox::start(plan.clone()).unwrap_err();
    assert!(matches!(error, Error::Plan { what: "exec guard", .. }), "{error}");
    let text = serde_json::to_string(&plan).unwrap();
    let again: holdpoint_runtime::Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(again, plan);
    let unasked = place.builder().plan().unwrap();
    let judge = Arc::new(|_: &Exec| ExecAnswer::Allow);
    assert!(matches!(
        Sandbox::start_in(unasked, Opening::begin(), Some(judge)),
        Err(Error::Plan { what: "exec guard", .. })
    ));
}

#[test]
fn debuggers_work_and_what_they_start_is_judged() {
    let place = Place::new();
    let sandbox = place.refusing("evil");
    let output =
        run(&sandbox, "strace -f -e trace=execve -o trace /bin/sh -c '/bin/echo good; /bin/echo evil'; cat trace");
    assert!(output.starts_with("good\n"), "{output}");
    assert!(output.contains("\"evil\"], ") && output.contains("EACCES"), "{output}");
    let debug = "gdb -q -batch -ex 'break write' -ex run -ex 'print 6*7' -ex continue --args /bin/echo good";
    let output = run(&sandbox, debug);
    assert!(output.contains("= 42") && output.contains("good\n") && output.contains("exited normally"), "{output}");
}

#[test]
fn job_control_is_as_without_the_guard() {
    let place = Place::new();
    // What a shell sees of its children: every stop and every end, and nothing between.
    let script = "import os, signal\n\
                  events = []\n\
                  signal.signal(signal.SIGCHLD, lambda *_: None)\n\
                  for _ in range(20):\n\
                  \tpid = os.fork()\n\
                  \tif pid == 0: os.execv('/bin/sh', ['sh', '-c', '/bin/true; kill -STOP $$; exec /bin/true'])\n\
                  \twhile True:\n\
                  \t\t_, status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)\n\
                  \t\tif os.WIFSTOPPED(status): events.append('stopped'); os.kill(pid, signal.SIGCONT)\n\
                  \t\telif os.WIFCONTINUED(status): events.append('continued')\n\
                  \t\telse: events.append('ended %d' % os.waitstatus_to_exitcode(status)); break\n\
                  print([e for e in events if e != 'continued'] == ['stopped', 'ended 0'] * 20)\n";
    assert_eq!(python(&place.refusing("evil"), script), "True\n");
    // The shell warns of a stopped job only when it knows of the stop before it waits: it is made to know.
    let shell = "set -m; sleep 100 & kill -STOP %1; until [ \"$(jobs -s)\" ]; do :; done; \
                 wait %1; jobs; kill -CONT %1; kill %1; wait %1; fg 2>&1 | tail -1";
    // It tells of a stop between any two commands: what it tells counts, not in which order.
    let told = |sandbox: &Sandbox| -> BTreeSet<String> {
        run(sandbox, shell).split_terminator('\n').map(str::to_owned).filter(|line| !line.is_empty()).collect()
    };
    let guarded = told(&place.refusing("evil"));
    assert!(guarded.iter().any(|line| line.contains("Stopped")), "{guarded:?}");
    assert_eq!(guarded, told(&place.builder().start().unwrap()));
}
