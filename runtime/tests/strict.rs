//! Strict reads: no denied file is read however late it appears and however often one tries, and everything else goes on as if
//! nobody looked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arena::{Arena, CANARY, write};
use holdpoint_runtime::{Exec, ExecAnswer, Protection, Sandbox};

/// A sandbox of the arena that judges opens.
fn strict(arena: &Arena) -> Sandbox {
    let mut builder = arena.builder();
    builder.deny_read("config/*.key").deny_read_strict(true);
    builder.start().unwrap_or_else(|error| panic!("the sandbox does not start: {error:?}"))
}

fn masked(arena: &Arena) -> Sandbox {
    let mut builder = arena.builder();
    builder.deny_read("config/*.key");
    builder.start().unwrap_or_else(|error| panic!("the sandbox does not start: {error:?}"))
}

/// Compiles one of the programs in `tests/strict` into the workspace.
fn compile(arena: &Arena, name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strict").join(name).with_extension("c");
    let built = Command::new("cc").args(["-O1", "-w", "-pthread", "-o"]).arg(arena.path(name)).arg(source).status();
    assert!(built.unwrap().success(), "cc builds {name}.c");
}

/// The thief was quicker, or what covers was.
fn lost(_: std::io::Error) {}

/// Makes secrets outside and puts them in place, in every way they come, and takes them away again.
fn come_and_go(arena: &Arena, rounds: usize, over: &AtomicBool) {
    let staged = arena.outside.join("staged");
    let place = |name: &str, text: &str| {
        fs::write(&staged, text).unwrap();
        // The thief may have moved the directory, or made one of this name, also just now.
        fs::create_dir_all(arena.path(name).parent().unwrap()).unwrap_or_else(lost);
        fs::rename(&staged, arena.path(name)).unwrap_or_else(lost);
    };
    let remove = |name: &str| fs::remove_file(arena.path(name)).unwrap_or_else(lost);
    for round in 0..rounds {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let script = "#!/bin/echo CANARY-EXEC\n";
        place(".env.0", if round % 2 == 0 { "CANARY-RENAMED" } else { script });
        fs::write(arena.path(".env.1"), "CANARY-WRITTEN").unwrap_or_else(lost);
        place("sub/.env.2", "CANARY-DEEP");
        place("config/late.key", "CANARY-PATTERN");
        // A whole directory at once, and one whose own name is denied.
        let tree = arena.outside.join("tree");
        write(&tree.join(".env"), "CANARY-MOVED");
        fs::rename(&tree, arena.path("moved")).unwrap_or_else(lost);
        place("secrets/late", "CANARY-SECRETS");
        // A second name beside the denied one.
        fs::create_dir_all(arena.path("data")).unwrap_or_else(lost);
        fs::write(arena.path("data/plain"), "plain").unwrap_or_else(lost);
        fs::hard_link(arena.path(".env.1"), arena.path("data/other")).unwrap_or_else(lost);
        // First the other name: what somebody outside leaves nothing but an allowed name is allowed.
        for name in ["data/other", ".env.0", ".env.1", "sub/.env.2", "config/late.key", "secrets/late", "moved/.env"] {
            remove(name);
        }
        fs::remove_dir_all(arena.path("moved")).unwrap_or_else(lost);
    }
}

/// Ends the thief when it is dropped.
struct Stop<'a>(&'a Arena);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        write(&self.0.path("stop"), "");
    }
}

/// What the thief stole in `sandbox` while secrets came and went.
fn steal(arena: &Arena, sandbox: &Sandbox, rounds: usize, arguments: &str) -> String {
    compile(arena, "thief");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // The thief is told to stop however this ends.
            let _stop = Stop(arena);
            come_and_go(arena, rounds, &over);
        });
        let stolen = arena.inside(sandbox, &format!("./thief {arguments}"));
        over.store(true, Ordering::Relaxed);
        stolen
    })
}

fn stolen(report: &str) -> Vec<&str> {
    let lines: Vec<&str> = report.lines().filter(|line| line.contains(" of ")).collect();
    assert!(lines.len() >= 12, "the thief did not report: {report}");
    lines.into_iter().filter(|line| !line.contains(" 0 of ")).collect()
}

#[test]
fn a_late_secret_is_read_without_and_never_with() {
    let arena = Arena::new();
    let sandbox = masked(&arena);
    let report = steal(&arena, &sandbox, 100_000, "first");
    drop(sandbox);
    assert!(!stolen(&report).is_empty(), "the thief had no luck, so it proves nothing: {report}");

    let arena = Arena::new();
    let sandbox = strict(&arena);
    let report = steal(&arena, &sandbox, 400, "all");
    assert!(stolen(&report).is_empty(), "{report}");
    // The sandbox has come through it.
    assert!(arena.inside(&sandbox, "cat README.md").contains("public"));
}

/// Forbids itself to open files, and opens one.
const CONFINES_ITSELF: &str = "
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0: raise SystemExit(os.strerror(ctypes.get_errno()))
    return result
rules = call(444, struct.pack('Q', 4), ctypes.c_size_t(8), 0)
call(446, rules, 0)
try: print('opened', open('README.md').read())
except PermissionError: print('forbidden')
";

#[test]
fn nobody_is_made_to_believe_in_a_confinement_of_its_own() {
    let arena = Arena::new();
    write(&arena.path("confines.py"), CONFINES_ITSELF);
    let confined = |sandbox: &Sandbox| arena.inside(sandbox, "python3 confines.py 2>&1; cat README.md");
    assert!(confined(&masked(&arena)).contains("forbidden"), "it can be had");
    let report = confined(&strict(&arena));
    assert!(report.contains("Operation not supported") && !report.contains("opened"), "{report}");
    assert!(report.contains("public"), "{report}");
}

/// Becomes what is denied as soon as it can: a script's first line, or the program itself, then says so.
const RUNNER: &str = "
import errno, os
refused = 0
while not os.path.exists('stop'):
    for _ in range(100):
        try:
            os.execv('.env.run', ['run'])
        except OSError as error:
            refused += error.errno == errno.EACCES
print('refused' if refused else 'not seen')
";

/// Programs that tell a secret when they are executed: a script and an ELF file.
fn telling(arena: &Arena) -> [PathBuf; 2] {
    let (script, program) = (arena.outside.join("script"), arena.outside.join("program"));
    write(&script, "#!/bin/echo CANARY-SCRIPT\n");
    write(&arena.outside.join("tells.c"), "int puts(char *); int main() { puts(\"CANARY-ELF\"); }");
    let built = Command::new("cc").args(["-w", "-o"]).arg(&program).arg(arena.outside.join("tells.c")).status();
    assert!(built.unwrap().success(), "cc builds a program");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    [script, program]
}

/// What the runner became while `file` came and went under a denied name.
fn execute(arena: &Arena, sandbox: &Sandbox, file: &Path, rounds: usize) -> String {
    write(&arena.path("runner.py"), RUNNER);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in (0..rounds).take_while(|_| !over.load(Ordering::Relaxed)) {
                // A new file each time: one that was seen before is known.
                fs::copy(file, arena.outside.join("staged")).unwrap();
                fs::rename(arena.outside.join("staged"), arena.path(".env.run")).unwrap();
                fs::remove_file(arena.path(".env.run")).unwrap();
            }
            write(&arena.path("stop"), "");
        });
        let output = arena.inside(sandbox, "python3 runner.py");
        over.store(true, Ordering::Relaxed);
        output
    })
}

#[test]
fn a_late_secret_is_executed_without_and_never_with() {
    for index in 0..2 {
        let arena = Arena::new();
        let output = execute(&arena, &masked(&arena), &telling(&arena)[index], 200_000);
        assert!(output.contains(CANARY), "the runner had no luck, so it proves nothing: {output}");

        let arena = Arena::new();
        let sandbox = strict(&arena);
        let met = (0..50).any(|_| {
            let output = execute(&arena, &sandbox, &telling(&arena)[index], 2_000);
            assert!(!output.contains(CANARY), "{output}");
            fs::remove_file(arena.path("stop")).unwrap();
            output.contains("refused")
        });
        assert!(met, "the runner met nothing, so it proves nothing");
        assert!(arena.inside(&sandbox, "cat README.md").contains("public"));
    }
}

#[test]
fn both_judges_judge_in_one_sandbox() {
    let arena = Arena::new();
    let mut builder = arena.builder();
    builder.deny_read_strict(true).on_exec(|exec: &Exec| {
        let expr = exec.stages.iter().any(|stage| stage.program.ends_with("expr"));
        if expr { ExecAnswer::Refuse } else { ExecAnswer::Allow }
    });
    let sandbox = builder.start().unwrap();
    for protection in [Protection::StrictReads, Protection::ExecGuard] {
        assert!(sandbox.enforced().protections.iter().any(|line| line.protection == protection && line.holds));
    }
    fs::copy(&telling(&arena)[0], arena.path(".env.run")).unwrap();
    let output =
        arena.inside(&sandbox, "expr 40 + 2; ./.env.run; cat .env .env.run; echo status $?; sh -c 'cat README.md'");
    assert!(!output.contains("42") && !output.contains(CANARY), "{output}");
    assert!(output.contains("status 1") && output.contains("public"), "{output}");
}

#[test]
fn what_was_there_at_the_start_stays_denied() {
    let arena = Arena::new();
    let sandbox = strict(&arena);
    for script in [
        "cat .env secrets/prod.key data/innocent.txt data/also.txt link-to-env",
        "cat /proc/self/cwd/.env /dev/fd/../cwd/.env; exec 5< .; cat /proc/self/fd/5/.env",
        "mv .env plain; cat plain; ln .env plain; cat plain; ln -s .env x; cat x; cp .env y; cat y",
        "mv config c; cat c/api_TOKEN.txt; chmod 777 .env; cat .env; rm -f .env; cat .env",
        "echo CANARY-OWN > .env.own; cat .env.own; python3 -c 'print(open(\".env.new\", \"w+\").write(\"CANARY-\"))'",
    ] {
        let output = arena.inside(&sandbox, script);
        assert!(!output.contains(CANARY), "{script}: {output}");
    }
    let report = sandbox.enforced().protections.iter().find(|line| line.protection == Protection::StrictReads);
    assert!(report.is_some_and(|line| line.holds));
    assert_eq!(arena.read(".env.own"), "CANARY-OWN\n", "what is denied can still be made");
}

/// What opens for others may open its own memory, and must not do that for others either.
#[test]
fn nobody_gets_into_what_opens() {
    let arena = Arena::new();
    let sandbox = strict(&arena);
    let script = "cd /proc; for p in [0-9]*; do \
                  case $(tr -d '\\0' < $p/cmdline 2>/dev/null) in opener) echo found;; *) continue;; esac; \
                  for f in mem environ fd/0 fd/3 task/$p/mem maps fdinfo/3; do \
                  for path in $p/$f self/../$p/$f /proc/$p/cwd/proc/$p/$f; do \
                  ( exec 2>/dev/null; if : < $path; then echo got $path; fi; cd $p/task/$p && : < $f && echo got $f ); done; done; \
                  python3 -c \"import os; d = os.open('/proc/$p', os.O_PATH); print('got', os.open('mem', os.O_RDWR, dir_fd=d))\"; done";
    let output = arena.inside(&sandbox, script);
    assert!(output.contains("found") && !output.contains("got"), "{output}");
}

/// Every way to open, rename, link and remove ends as it does when the kernel does it alone.
#[test]
fn calls_end_as_they_do_without() {
    let run = |sandbox: &dyn Fn(&Arena) -> Option<Sandbox>, what: &str| {
        let arena = Arena::new();
        compile(&arena, "opens");
        fs::create_dir(arena.path("w")).unwrap();
        let script = format!("./opens {what} w < /dev/null");
        let report = match sandbox(&arena) {
            Some(sandbox) => arena.inside(&sandbox, &script),
            None => arena.bare(&script),
        };
        let workspace = comparable(&arena.workspace.display().to_string());
        report.replace(&workspace, "W").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Outside root may read and write whatever it likes, and inside it may not.
    if !nix::unistd::geteuid().is_root() {
        same(&run(&|_| None, "own"), &run(&|arena| Some(strict(arena)), "own"));
    }
    same(&run(&|arena| Some(masked(arena)), "all"), &run(&|arena| Some(strict(arena)), "all"));
}

/// A path as the program prints it: every number is N.
fn comparable(path: &str) -> String {
    let mut text = String::new();
    let mut digits = false;
    for letter in path.chars() {
        match letter.is_ascii_digit() {
            true if digits => {}
            true => text.push('N'),
            false => text.push(letter),
        }
        digits = letter.is_ascii_digit();
    }
    text
}

fn same(expected: &[String], found: &[String]) {
    assert!(expected.len() > 5_000 && expected.len() == found.len(), "{} and {} lines", expected.len(), found.len());
    let differ = expected.iter().zip(found).filter(|(expected, found)| expected != found && !known(expected, found));
    let lines: Vec<String> = differ.take(20).map(|(expected, found)| format!("- {expected}\n+ {found}")).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

/// What differs, as SECURITY.md says.
fn known(expected: &str, found: &str) -> bool {
    // openat2(2) is not there for what its flags in memory could turn into something else, and for a new file behind a link.
    let not_there = expected.contains("2 ") && found.ends_with("errno 38");
    // Nobody makes a file in procfs; two reasons compete.
    let in_proc = expected.contains("tmpfile") && found.ends_with("errno 13");
    // Who owns a device that is not there either; two reasons again.
    let no_terminal = expected.contains("noatime /dev/tty: errno 1") && found.ends_with("errno 6");
    not_there || in_proc || no_terminal
}

#[test]
fn programs_work() {
    let arena = Arena::new();
    fs::remove_dir_all(arena.path(".git")).unwrap();
    let sandbox = strict(&arena);
    for (script, shows) in [
        ("umask 027; echo x > made; stat -c %a made", "640"),
        ("cp -r src copy; find copy -type f | wc -l; rm -r copy", "1"),
        ("mkfifo p; (echo through > p &); cat p; rm p", "through"),
        ("set -m; sleep 30 & kill %1; wait %1; echo jobs $?", "jobs 143"),
        ("python3 -c 'import multiprocessing as m; print(sum(m.Pool(4).map(abs, range(50))))'", "1225"),
        (
            "python3 -c 'import tempfile; f = tempfile.TemporaryFile(); f.write(b\"abc\"); f.seek(0); print(f.read())'",
            "abc",
        ),
        (
            "python3 -c 'import sqlite3; c = sqlite3.connect(\"d.db\"); c.execute(\"create table t(a)\"); c.commit(); print(\"made\")'",
            "made",
        ),
        ("cat <(echo one) <(echo two) | sort | tr -d '\\n'", "onetwo"),
        ("printf '#!/bin/sh\\necho ran\\n' > run; chmod +x run; ./run", "ran"),
        ("cc -o hello -x c - <<< 'int main(){return 7;}' && ./hello; echo code $?", "code 7"),
        ("exec 3<>made; echo y >&3; cat made", "y"),
        (
            "python3 -c 'import ctypes; ctypes.CDLL(None).prctl(15, b\"\\xff\"); open(\"/proc/self/stat\"); print(open(\"README.md\").read())'",
            "public",
        ),
        ("cat /proc/self/comm /proc/thread-self/comm; readlink /proc/self/exe", "cat"),
        (
            "ulimit -n 16; python3 -c 'import os\ntry:\n  [os.open(\"/etc/passwd\", 0) for _ in range(99)]\nexcept OSError as e: print(e.errno)'",
            "24",
        ),
    ] {
        let output = arena.inside(&sandbox, script);
        assert!(output.contains(shows), "{script}: {output}");
    }
}

/// An open that waits holds up nobody, and nobody else ever meets it once its process is gone.
#[test]
fn an_open_that_waits_waits_alone() {
    let arena = Arena::new();
    let sandbox = strict(&arena);
    let script = "mkfifo p; for i in 1 2 3; do cat p & done; cat README.md; kill -9 $(jobs -p); wait; \
                  for i in 1 2 3 4 5 6 7 8 9; do timeout 1 sh -c 'echo lost > p' 2>/dev/null; done; echo writer $?";
    let output = arena.inside(&sandbox, script);
    assert!(output.contains("public"), "{output}");
    assert!(output.contains("writer 124"), "a reader that was killed is still there: {output}");
}
