//! `holdpoint bundle`: what it refuses to write, and what real engines make of what it wrote.
#![allow(clippy::tests_outside_test_module, reason = "an integration test file is a test module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::print_stderr, reason = "an engine that is not installed is named")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdpoint_runtime::oci;
use support::{Done, Machine, exists, finish, json};

const ALLOWED: &str = "--allow-missing=landlock,late-masks,reserved-names";

/// A workspace with secrets, a repository and instructions, and something beside it.
fn machine() -> Machine {
    let machine = Machine::with("[[rules]]\nprefix = [\"rm\"]\nverdict = \"deny\"\nreason = \"no\"\n");
    machine.file(".env", "TOKEN=secret");
    machine.file("secrets/key", "TOKEN=secret");
    machine.file("AGENTS.md", "be good\n");
    fs::write(machine.root().join("beside"), "TOKEN=secret").unwrap();
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(machine.workspace()).status().unwrap();
    assert!(git.success());
    machine
}

fn write(machine: &Machine, flags: &[&str], argv: &[&str]) -> Done {
    let directory = bundle(machine);
    let mut arguments = vec!["bundle"];
    arguments.extend(flags);
    arguments.extend([directory.to_str().unwrap(), "--"]);
    arguments.extend(argv);
    machine.holdpoint(&arguments)
}

fn bundle(machine: &Machine) -> PathBuf {
    machine.root().join("bundle")
}

/// Every line tries something that must not be, and says whether it was possible.
fn attacks(machine: &Machine, port: u16) -> String {
    let (root, me) = (machine.root(), std::process::id());
    let beside = root.join("beside").display().to_string();
    let attacks = [
        ("read a denied file", "grep TOKEN .env".to_owned()),
        ("read in a denied directory", "grep TOKEN secrets/key".to_owned()),
        ("move a denied file", "mv .env moved && mv moved .env".to_owned()),
        ("read beside the workspace", format!("grep TOKEN {beside}")),
        ("change beside the workspace", format!("[ -f {beside} ] && echo >> {beside}")),
        ("write a protected file", "echo >> AGENTS.md".to_owned()),
        ("write a hook", "echo > .git/hooks/pre-commit".to_owned()),
        ("move the repository", "mv .git moved && mv moved .git".to_owned()),
        ("execute a forbidden program", "nl /dev/null".to_owned()),
        ("reach the loopback of the host", format!("bash -c 'echo > /dev/tcp/127.0.0.1/{port}'")),
        ("signal a process outside", format!("kill -0 {me}")),
        ("make a user namespace", "unshare --user true".to_owned()),
    ];
    let lines: Vec<String> = attacks
        .iter()
        .map(|(name, attack)| {
            format!("if {attack} >/dev/null 2>&1; then echo 'open: {name}'; else echo 'held: {name}'; fi\n")
        })
        .collect();
    lines.concat()
}

/// Work goes on. The device and the mask are the host's own `/dev/null`, whose mode root could change.
const WORK: &str = "
chmod 600 /dev/null .env 2>/dev/null && echo 'open: change a device'
grep -q '^CapEff:\t0000000000000000$' /proc/self/status || echo 'open: capabilities'
touch ../made 2>/dev/null
echo built > result && touch /tmp/mine /var/tmp/mine /dev/shm/mine && git status --short > status && echo worked
[ \"$(hostname)\" = localhost ] || echo 'not its own host name'
exit 7
";

/// Runs the bundle with an engine, as this user; `None` and a word about it when that is not installed.
fn run(engine: &str, machine: &Machine) -> Option<Done> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let extra = std::env::var("PATH").unwrap_or_default();
    let mut directories = path.split(':').chain(extra.split(':')).map(|directory| Path::new(directory).join(engine));
    let Some(program) = directories.find(|file| file.is_file()) else {
        eprintln!("skipped: {engine} is not installed");
        return None;
    };
    let line = "exec \"$0\" --root \"$1\" run --bundle \"$2\" \"$3\"";
    let hybrid = Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists();
    let mut command = if engine == "crun" && hybrid {
        // It takes no host with both versions of control groups: it is shown the new one alone.
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        let prepare = "mount --rbind /sys/fs/cgroup/unified /sys/fs/cgroup";
        command.args(["--mount", "sh", "-c"]).arg(format!("{prepare} && {line}"));
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    };
    let id = format!("holdpoint-test-{}", std::process::id());
    command.arg(program).arg(machine.root().join(engine)).arg(bundle(machine)).arg(id);
    command.env_clear().env("PATH", path).env("HOME", machine.home());
    // Where an engine without a control group of its own keeps what it runs.
    command.env("XDG_RUNTIME_DIR", machine.root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(finish(command.spawn().unwrap()))
}

fn holds_in(engine: &str) {
    let machine = machine();
    machine.configure("[profile.tight]\nextends = \"free\"\nexec_deny_paths = [\"/usr/bin/nl\"]\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let attacks = attacks(&machine, listener.local_addr().unwrap().port());

    let mut bare = Command::new("sh");
    bare.args(["-c", &attacks]).current_dir(machine.workspace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let bare = finish(bare.spawn().unwrap());
    assert!(!bare.out.contains("held:"), "an attack fails without any sandbox: {}", bare.out);
    fs::remove_file(machine.workspace().join(".git/hooks/pre-commit")).unwrap();
    machine.file("AGENTS.md", "be good\n");

    let flags = ["--profile", "tight", "--deny-read", "**/.env", "--deny-read", "secrets", ALLOWED];
    machine.file("attacks.sh", format!("{attacks}{WORK}"));
    let written = write(&machine, &flags, &["sh", "attacks.sh"]);
    assert_eq!(written.code, 0, "{}", written.err);
    let null = fs::metadata("/dev/null").unwrap().permissions();
    let Some(done) = run(engine, &machine) else { return };
    let count = |out: &str, word: &str| out.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(
        (count(&done.out, "open:"), count(&done.out, "held:")),
        (0, count(&bare.out, "open:")),
        "{engine}: {done:?}"
    );
    assert!(done.out.contains("worked"), "{engine}: {done:?}");
    assert_eq!(done.code, 7, "{engine}: {done:?}");
    assert_eq!(machine.read("result"), "built\n");
    assert_eq!(machine.read("AGENTS.md"), "be good\n");
    let outside = [machine.root().join("made"), "/tmp/mine".into(), "/var/tmp/mine".into(), "/dev/shm/mine".into()];
    assert!(!outside.iter().any(exists), "what is private inside is outside");
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions(), null);
}

#[test]
fn runc_enforces_a_bundle() {
    holds_in("runc");
}

#[test]
fn crun_enforces_a_bundle() {
    holds_in("crun");
}

#[test]
fn a_bundle_is_written_only_for_what_nobody_has_to_be_asked_about() {
    let machine = machine();
    let held = write(&machine, &[ALLOWED], &["true"]);
    assert_eq!(held.code, 77, "{held:?}");
    assert!(held.err.contains("would be held"), "{}", held.err);
    let denied = write(&machine, &["--profile", "free", ALLOWED], &["rm", "-r", "src"]);
    assert_eq!(denied.code, 77, "{denied:?}");
    machine.configure("[profile.bare]\nsandbox = \"none\"\napproval_policy = \"full-auto\"\n");
    let bare = write(&machine, &["--profile", "bare", ALLOWED], &["true"]);
    assert_eq!(bare.code, 64, "{bare:?}");
    assert!(!exists(bundle(&machine)));
    let allowed = write(&machine, &["--profile", "free", ALLOWED], &["true"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
}

#[test]
fn a_protection_that_engines_lack_is_an_error_until_it_is_named() {
    let machine = machine();
    let free = ["--profile", "free", "--deny-read", "**/.env"];
    let refused = write(&machine, &free, &["true"]);
    assert_eq!(refused.code, 69, "{refused:?}");
    let advice = "--allow-missing landlock,late-masks,reserved-names";
    assert!(refused.err.contains(advice), "{}", refused.err);
    assert!(!exists(bundle(&machine)));
    let unknown = write(&machine, &[&free[..], &["--allow-missing", "everything"]].concat(), &["true"]);
    assert_eq!(unknown.code, 64, "{unknown:?}");

    let written = write(&machine, &[&free[..], &[ALLOWED, "--json"]].concat(), &["true"]);
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(written.err.matches("is not enforced by the bundle").count(), 3, "{}", written.err);
    let missing = json(&written)["missing"].clone();
    let missing: Vec<_> = missing.as_array().unwrap().iter().map(|line| line["protection"].clone()).collect();
    assert_eq!(missing, ["landlock", "late-masks", "reserved-names"]);
}

#[test]
fn a_bundle_lies_where_nothing_inside_sees_it() {
    let machine = machine();
    let inside = machine.workspace().join("bundle");
    let arguments = ["bundle", "--profile", "free", ALLOWED, inside.to_str().unwrap(), "--", "true"];
    let refused = machine.holdpoint(&arguments);
    assert_eq!((refused.code, exists(&inside)), (64, false), "{refused:?}");
    fs::create_dir(bundle(&machine)).unwrap();
    fs::write(bundle(&machine).join("mine"), "x").unwrap();
    let refused = write(&machine, &["--profile", "free", ALLOWED], &["true"]);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert_eq!(fs::read_dir(bundle(&machine)).unwrap().count(), 1);
}

#[test]
fn what_was_written_can_be_read_as_the_plan_it_was() {
    let machine = machine();
    let written = write(&machine, &["--profile", "free", ALLOWED], &["make", "test"]);
    assert_eq!(written.code, 0, "{written:?}");
    let text = fs::read_to_string(bundle(&machine).join("config.json")).unwrap();
    let (plan, process) = oci::from_config(&text).unwrap();
    assert_eq!(plan.workspace, Some(machine.workspace()));
    assert_eq!((process.arguments, process.directory), (vec!["make".to_owned(), "test".into()], machine.workspace()));
    let widened = text.replace("\"rro\"", "\"rw\"");
    let error = oci::from_config(&widened).unwrap_err();
    assert!(error.to_string().starts_with("mounts["), "{error}");
}

#[test]
fn a_clock_that_no_engine_has_is_missing_by_name_or_nothing_is_written() {
    let machine = Machine::with("[profile.brief]\napproval_policy = \"full-auto\"\nlimits = { wall_time = \"1m\" }\n");
    let flags = ["--profile", "brief", ALLOWED];
    let refused = write(&machine, &flags, &["true"]);
    assert_eq!((refused.code, exists(bundle(&machine))), (69, false), "{}", refused.err);
    assert!(refused.err.contains("--allow-missing time-limit"), "{}", refused.err);
    let written = write(&machine, &[&flags[..], &["--allow-missing", "time-limit"]].concat(), &["true"]);
    assert_eq!(written.code, 0, "{}", written.err);
}
