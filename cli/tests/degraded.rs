//! Machines that give no namespaces: what is said there, and what still runs when the profile allows that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod support;

use std::process::Command;

use support::{Done, Machine, finish, json};

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
    outer.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
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
fn a_profile_that_allows_it_runs_and_says_so_in_one_line() {
    let machine = Machine::with(KNOWING);
    machine.file(".env", "SECRET");
    machine.file("src/a", "public");
    let script = "cat src/a; cat .env; echo new > src/b; cat src/b";
    for host in [LIMIT, CHROOT] {
        let done = holdpoint(&machine, host, &["run", "--profile", "knowing", "--", "sh", "-c", script]);
        assert_eq!((done.code, done.out.as_str()), (0, "publicnew\n"), "{}", done.err);
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
