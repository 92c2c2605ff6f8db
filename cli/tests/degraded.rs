//! Machines that give no namespaces, or no threads: what is said there, and what still runs when the profile allows that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use support::{Done, Machine, finish, json, keeps_apart};

/// The profile of somebody who knows that there are none.
const KNOWING: &str = "
[profile.knowing]
approval_policy = \"full-auto\"
allow_missing = [\"namespaces\", \"late-masks\"]
deny_read_paths = [\"**/.env\"]
";

/// Where the limit on user namespaces is used up.
const LIMIT: &str = "echo 0 > /proc/sys/user/max_user_namespaces; shift; exec \"$@\"";
/// A root directory that is none to the kernel.
const CHROOT: &str = "for d in /*; do
    if [ -L $d ]; then ln -sfn $(readlink $d) $1$d; elif [ -d $d ]; then mkdir -p $1$d && mount --rbind $d $1$d; fi
done
root=$1; shift; exec /usr/sbin/chroot $root sh -c 'cd $0 && exec \"$@\"' $PWD \"$@\"";

/// Runs the program on such a machine.
fn holdpoint(machine: &Machine, host: &str, args: &[&str]) -> Done {
    let inner = machine.command(args);
    let root = machine.root().join("root");
    std::fs::create_dir_all(&root).unwrap();
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--mount", "sh", "-c", host, "sh"]).arg(root);
    outer.arg(inner.get_program()).args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(outer.spawn().unwrap())
}

#[test]
fn without_a_word_in_the_profile_nothing_runs_and_the_fix_is_named() {
    let machine = Machine::new();
    for (host, reason, fix) in [
        (LIMIT, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=65536"),
        (CHROOT, "chroot", "systemd-nspawn"),
    ] {
        let done = holdpoint(&machine, host, &["run", "--profile", "free", "--", "echo", "ran"]);
        assert_eq!((done.code, done.out.as_str()), (69, ""), "{}", done.err);
        for part in ["namespaces", reason, fix, "allow_missing = [\"namespaces\"]"] {
            assert!(done.err.contains(part), "{part:?} is missing in {}", done.err);
        }
        let doctor = holdpoint(&machine, host, &["doctor"]);
        assert_eq!(doctor.code, 69, "{doctor:?}");
        assert!(doctor.out.contains(reason) && doctor.out.contains(fix), "{}", doctor.out);
    }
}

#[test]
fn the_history_of_git_is_hidden_there_too() {
    if !keeps_apart() {
        return;
    }
    for pack in ["true", "git gc -q"] {
        let machine = Machine::with(KNOWING);
        machine.file(".env", "SECRET");
        let author = "git config user.name a; git config user.email a@b";
        let script = format!("git init -q; {author}; git add -A; git commit -qm x; {pack}");
        let made = Command::new("sh").args(["-c", &script]).current_dir(machine.workspace()).status().unwrap();
        assert!(made.success());
        let read = || holdpoint(&machine, LIMIT, &["run", "--profile", "knowing", "--", "git", "show", "HEAD:.env"]);
        let open = read();
        assert_eq!(open.out, "SECRET", "{}", open.err);
        machine.configure(&format!("{KNOWING}deny_read_git_history = true\n"));
        let hidden = read();
        assert!(!hidden.out.contains("SECRET") && hidden.err.contains("fatal:"), "{}{}", hidden.out, hidden.err);
    }
}

#[test]
fn a_profile_that_allows_it_runs_and_says_so_in_one_line() {
    if !keeps_apart() {
        return;
    }
    let machine = Machine::with(KNOWING);
    machine.file(".env", "SECRET");
    machine.file("src/a", "public");
    std::fs::write(machine.home().join(".gitconfig"), "[user]\nname = Ann\n").unwrap();
    let script = "cat src/a; cat .env; echo new > src/b; cat src/b; git config user.name";
    for host in [LIMIT, CHROOT] {
        let done = holdpoint(&machine, host, &["run", "--profile", "knowing", "--", "sh", "-c", script]);
        assert_eq!((done.code, done.out.as_str()), (0, "publicnew\nAnn\n"), "{}", done.err);
        let said: Vec<&str> = done.err.lines().filter(|line| line.starts_with("holdpoint:")).collect();
        assert_eq!(said.len(), 1, "{}", done.err);
        for part in ["WARNING: not enforced here: namespaces (", "mount-view (", "late-masks ("] {
            assert!(said[0].contains(part), "{}", done.err);
        }
        let doctor = json(&holdpoint(&machine, host, &["doctor", "--profile", "knowing", "--json"]));
        assert_eq!(doctor["exit"], 0, "{doctor}");
    }
    let done = machine.holdpoint(&["run", "--profile", "knowing", "--", "true"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "nothing is given up where nothing is missing");
}

/// The command was on its way to a sandbox with namespaces already.
#[test]
fn what_a_command_prints_goes_to_a_file_as_well() {
    let machine = Machine::with(KNOWING);
    let root = machine.root().join("root");
    std::fs::create_dir_all(&root).unwrap();
    let file = machine.root().join("out");
    let mut outer = Command::new("timeout");
    outer.args(["-k1", "30", "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", LIMIT, "sh"]).arg(root);
    outer.args([env!("CARGO_BIN_EXE_holdpoint"), "run", "--profile", "knowing", "--", "echo", "there"]);
    outer.current_dir(machine.workspace()).env("HOME", machine.home()).stdin(Stdio::null());
    outer.stdout(std::fs::File::create(&file).unwrap()).stderr(Stdio::null());
    assert_eq!(outer.status().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "there\n");
}

/// Runs a script as a user who has no other process; `$H` is the program.
fn alone(machine: &Machine, script: &str) -> Done {
    let root = machine.root();
    let program = root.join("holdpoint");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_holdpoint"), &program).unwrap();
    }
    // Root has as many processes as he likes. Of others the kernel counts those of a namespace by themselves.
    let mut outer = if nix::unistd::geteuid().is_root() {
        // Whatever ended but is not collected yet still counts.
        static USERS: AtomicU32 = AtomicU32::new(0);
        let user = 60_000 + (std::process::id() % 50) * 100 + USERS.fetch_add(1, Ordering::Relaxed) % 100;
        let owned = Command::new("chown").arg("-R").arg(format!("{user}:{user}")).arg(&root).status().unwrap();
        assert!(owned.success());
        let mut outer = Command::new("setpriv");
        outer.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
        outer
    } else {
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-current-user"]);
        outer
    };
    outer.args(["sh", "-c", script]).env_clear().env("HOME", machine.home()).env("H", program);
    outer.env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(machine.workspace());
    finish(outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn where_no_thread_is_to_be_had_nothing_runs_and_that_is_said() {
    let machine = Machine::new();
    let with = |most: u32, args: &str| alone(&machine, &format!("exec prlimit --nproc={most}:{most} $H {args}"));
    let said = |done: &Done| ["ulimit -u", "RLIMIT_NPROC"].iter().any(|word| done.err.contains(word));
    // A run goes on only with all that it needs; the last is the control.
    for (args, last) in [("run --profile free -- true", 0), ("run --hold-timeout 1s -- true", 75)] {
        let mut refused = 0;
        let done = (1..40).map(|most| with(most, args)).find(|done| {
            let through = done.code == last;
            assert!(through || [69, 70].contains(&done.code) && said(done), "{args}: {done:?}");
            assert!(!done.err.contains("panicked"), "{args}: {done:?}");
            refused += u32::from(!through);
            through
        });
        assert!(done.is_some() && refused > 1, "{args}: {refused}, {done:?}");
    }
    for args in ["serve", "session start"] {
        let done = with(1, args);
        assert!(done.code == 70 && done.err.contains("no thread is to be had") && said(&done), "{args}: {done:?}");
    }
}

#[test]
fn a_keeper_without_a_thread_can_be_stopped() {
    let machine = Machine::new();
    let script = "prlimit --nproc=$N:$N $H session start --profile free > /dev/null || exit 7
                  $H session run -- true && echo ran || $H session list
                  $H session stop && $H session list";
    let mut killed = 0;
    let control = (1..40).map(|most| alone(&machine, &format!("N={most}; {script}"))).find(|done| match done.code {
        7 => false,
        _ if done.out.starts_with("ran\n") => true,
        // One that has a thread for us may still have no process for a command.
        code => {
            assert!(code == 0 && done.out.ends_with("\nno session lives\n"), "{done:?}");
            let said =
                [(&done.err, "it hung up"), (&done.out, "cannot be used: it hangs up"), (&done.out, "\nkilled ")];
            killed += u32::from(said.iter().all(|(text, part)| text.contains(part)));
            false
        }
    });
    let control = control.unwrap();
    assert!(killed > 0 && control.out.contains("\nstopped "), "{killed}: {control:?}");
}
