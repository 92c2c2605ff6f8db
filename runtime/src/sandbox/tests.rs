//! Each wall taken away in turn: what it alone refuses then works. And each step made to fail.

use super::*;
use crate::{
    plan::Access,
    program::{Root, Step},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::resource::{Resource, getrlimit},
    unistd::geteuid,
};
use std::{fs, path::Path};
use tempfile::TempDir;

fn workspace() -> TempDir {
    let workspace = tempfile::tempdir().unwrap();
    fs::write(workspace.path().join(".env"), "TOKEN=secret").unwrap();
    workspace
}

fn builder(workspace: &Path) -> Builder {
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace, Access::ReadWrite).deny_read("**/.env");
    builder
}

/// Whether a script succeeds in a sandbox without the steps that `gone` names.
fn succeeds_without(builder: &Builder, gone: impl Fn(&Step) -> bool, script: &str) -> bool {
    let edit = |program: &mut Program| {
        let before = program.steps.len();
        program.steps.retain(|step| !gone(step));
        assert!(program.steps.len() < before, "nothing was taken away");
    };
    let sandbox = Sandbox::start_edited(builder.plan().unwrap(), edit).unwrap();
    run_script(&sandbox, script)
}

fn run_script(sandbox: &Sandbox, script: &str) -> bool {
    sandbox.command("sh").args(["-c", script]).output().unwrap().status.success()
}

/// The attack succeeds without the wall and fails with it.
fn assert_wall(builder: &Builder, gone: impl Fn(&Step) -> bool, attack: &str) {
    assert!(succeeds_without(builder, gone, attack), "without the wall the attack must succeed: {attack}");
    assert!(!run_script(&builder.start().unwrap(), attack), "the wall must refuse: {attack}");
}

/// `clone3({flags, exit_signal: SIGCHLD})`, whose flags stand in memory, where no filter looks.
fn clone3(flags: i32) -> String {
    format!(
        "python3 -c 'import ctypes,os,sys\n\
         child = ctypes.CDLL(None).syscall({}, (ctypes.c_uint64 * 8)({flags}, 0, 0, 0, {}), 64)\n\
         child or os._exit(0)\n\
         sys.exit(child < 0)'",
        libc::SYS_clone3,
        libc::SIGCHLD
    )
}

fn dropping(step: &Step) -> bool {
    matches!(step, Step::Capabilities(_) | Step::Bounding { .. })
}

#[test]
fn two_walls_refuse_new_user_namespaces() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    let filter = |step: &Step| matches!(step, Step::Seccomp(_));
    let limit =
        |step: &Step| matches!(step, Step::Write { path, .. } if path.to_bytes().ends_with(b"/max_user_namespaces"));
    assert!(succeeds_without(&builder, |step| filter(step) || limit(step), "unshare -U true"));
    assert!(!succeeds_without(&builder, filter, "unshare -U true"), "the limit is a wall");
    assert!(!succeeds_without(&builder, limit, "unshare -U true"), "the filter is a wall");
    assert_wall(&builder, limit, &clone3(libc::CLONE_NEWUSER));
    let sandbox = builder.start().unwrap();
    for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWNET, libc::CLONE_NEWIPC, libc::CLONE_NEWCGROUP] {
        // Whoever is not root has no capability after execve(2) in any case.
        assert!(!geteuid().is_root() || succeeds_without(&builder, dropping, &clone3(flag)), "{flag:#x}");
        assert!(!run_script(&sandbox, &clone3(flag)), "{flag:#x}");
    }
    assert!(run_script(&sandbox, &clone3(0)), "what asks for nothing new is served");
}

#[test]
fn seccomp_refuses_keyrings() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING): 250 on x86-64, 219 on arm64.
    let number = libc::SYS_keyctl;
    let keyring = format!("python3 -c 'import ctypes,sys; sys.exit(ctypes.CDLL(None).syscall({number},0,-3,0) < 0)'");
    assert_wall(&builder, |step| matches!(step, Step::Seccomp(_)), &keyring);
}

#[test]
fn half_of_what_a_user_may_have_of_signals_is_left_to_others() {
    let workspace = workspace();
    let (most, _) = getrlimit(Resource::RLIMIT_SIGPENDING).unwrap();
    let is = |most: u64| format!("test \"$(bash -c 'ulimit -Hi')\" = {most}");
    let limit =
        |step: &Step| matches!(step, Step::Limit { resource, .. } if *resource == i64::from(libc::RLIMIT_SIGPENDING));
    assert!(succeeds_without(&builder(workspace.path()), limit, &is(most)));
    assert!(run_script(&builder(workspace.path()).start().unwrap(), &is(most / 2)));
}

#[test]
fn seccomp_refuses_limits_for_others() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    let limit = |who: &str, values: &str| {
        format!("python3 -c 'import os,resource as r; r.prlimit({who}, r.RLIMIT_NOFILE{values})'")
    };
    assert_wall(&builder, |step| matches!(step, Step::Seccomp(_)), &limit("os.getppid()", ", (50, 50)"));
    let sandbox = builder.start().unwrap();
    for allowed in [limit("0", ", (50, 50)"), limit("os.getppid()", "")] {
        assert!(run_script(&sandbox, &allowed), "{allowed}");
    }
}

#[test]
fn a_socket_that_goes_before_it_is_covered_stops_nothing() {
    let (workspace, shown) = (workspace(), tempfile::tempdir().unwrap());
    let mut builder = builder(workspace.path());
    builder.read_only(shown.path());
    let socket = shown.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let plan = builder.plan().unwrap();
    assert!(plan.channels.contains(&socket.canonicalize().unwrap()));
    fs::remove_file(socket).unwrap();
    assert!(run_script(&Sandbox::start_edited(plan, |_| {}).unwrap(), "true"));
}

#[test]
fn seccomp_refuses_leases_and_snapshots() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    let filter = |step: &Step| matches!(step, Step::Seccomp(_));
    let file = "import fcntl as f, os; fd = os.open(\"file\", os.O_RDWR | os.O_CREAT)";
    assert_wall(&builder, filter, &format!("python3 -c '{file}; f.fcntl(fd, f.F_SETLEASE, f.F_WRLCK)'"));
    // No file system here has snapshots, so what says that it knows no such request stands for one that makes them.
    let asked = format!("{file}\ntry: f.ioctl(fd, 0x50009417, 0)\nexcept OSError as e: os._exit(e.errno != 25)");
    assert_wall(&builder, filter, &format!("python3 -c '{asked}'"));
    assert!(run_script(&builder.start().unwrap(), &format!("python3 -c '{file}; f.fcntl(fd, f.F_GETLEASE)'")));
}

#[test]
fn a_pid_1_that_cannot_listen_any_longer_ends_with_everything_inside() {
    let workspace = workspace();
    let plan = builder(workspace.path()).plan().unwrap();
    let unfiltered = |program: &mut Program| program.steps.retain(|step| !matches!(step, Step::Seccomp(_)));
    let sandbox = Sandbox::start_edited(plan, unfiltered).unwrap();
    let script = "sleep 100 & python3 -c 'import resource as r; r.prlimit(1, r.RLIMIT_NOFILE, (0, 0))'";
    let mut child = sandbox.command("sh").args(["-c", script]).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    drop(child.wait());
    assert!(sandbox.command("true").spawn().is_err());
    let mut ended = [PollFd::new(sandbox.pidfd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ended, PollTimeout::from(20_000_u16)), Ok(1));
}

#[test]
fn capabilities_are_gone() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    assert_wall(&builder, dropping, "grep -q 'CapBnd:.*[1-9a-f]' /proc/self/status");
}

#[test]
fn landlock_is_a_second_wall_where_the_mount_is_writable() {
    let (workspace, other) = (workspace(), tempfile::tempdir().unwrap());
    let mut builder = builder(workspace.path());
    builder.read_only(other.path());
    let attack = format!("echo x > {}/new", other.path().display());
    let shown = fs::canonicalize(other.path()).unwrap();
    // Of the steps for this mount, its flags; the new mount then is as writable as on the host.
    let flags = |program: &mut Program, landlock: bool| {
        let mut here = false;
        program.steps.retain(|step| match step {
            Step::CloneMount { source, .. } => {
                here = source.as_bytes() == shown.strip_prefix("/").unwrap().as_os_str().as_encoded_bytes();
                true
            }
            Step::Attributes { .. } => !here,
            // Below the private /tmp everything is allowed, and test directories lie there.
            Step::LandlockAllow { path, .. } => path.as_c_str() != c"tmp",
            Step::LandlockRestrict { .. } => landlock,
            _ => true,
        });
    };
    let start = |landlock| Sandbox::start_edited(builder.plan().unwrap(), |program| flags(program, landlock)).unwrap();
    assert!(!run_script(&start(true), &attack), "Landlock alone must refuse");
    assert!(run_script(&start(false), &attack), "without both walls the write must succeed");
}

#[test]
fn masks_hide() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    let of_workspace = |step: &Step| matches!(step, Step::Mask { target, .. } if target.to_bytes().ends_with(b"/.env"));
    assert_wall(&builder, of_workspace, "grep -q secret .env");
}

#[test]
fn what_has_become_a_link_since_the_survey_is_not_taken_for_covered() {
    for (name, step) in [(".env", "mask"), ("AGENTS.md", "pin"), ("nested", "pin")] {
        let workspace = workspace();
        let path = |name| workspace.path().join(name);
        fs::write(path("AGENTS.md"), "").unwrap();
        fs::create_dir(path("nested")).unwrap();
        fs::write(path("nested/.env"), "").unwrap();
        let plan = builder(workspace.path()).plan().unwrap();
        fs::rename(path(name), path("moved")).unwrap();
        std::os::unix::fs::symlink("moved", path(name)).unwrap();
        let error = Sandbox::start_edited(plan, |_| {}).unwrap_err();
        let named = format!("{step} {}", path(name).canonicalize().unwrap().with_file_name(name).display());
        assert!(matches!(&error, Error::Setup { step, .. } if *step == named), "{named}: {error:?}");
    }
}

#[test]
fn pins_keep_a_directory_with_protected_names_in_place() {
    let workspace = workspace();
    for directory in [".git/hooks", ".git/objects", ".git/refs"] {
        fs::create_dir_all(workspace.path().join(directory)).unwrap();
    }
    for (file, content) in [(".git/HEAD", "ref: refs/heads/main\n"), (".git/config", "[core]\n")] {
        fs::write(workspace.path().join(file), content).unwrap();
    }
    let builder = builder(workspace.path());
    let pin = |step: &Step| matches!(step, Step::Pin { target, set: 0, .. } if target.to_bytes().ends_with(b"/.git"));
    assert_wall(&builder, pin, "mv .git moved");
}

#[test]
fn no_new_privileges_and_closed_descriptors_are_not_optional() {
    let workspace = workspace();
    let plan = builder(workspace.path()).plan().unwrap();
    // Without no_new_privs neither Landlock nor seccomp can be installed: the launch fails, nothing runs.
    let error = Sandbox::start_edited(plan, |program| {
        program.steps.retain(|step| !matches!(step, Step::NoNewPrivileges | Step::Capabilities(0)));
        program.steps.retain(|step| !matches!(step, Step::LandlockRestrict { .. }));
        let steps = std::mem::take(&mut program.steps);
        program.steps = steps
            .into_iter()
            .flat_map(
                |step| if matches!(step, Step::Seccomp(_)) { vec![Step::Capabilities(0), step] } else { vec![step] },
            )
            .collect();
    });
    assert!(matches!(error, Err(Error::Setup { .. })), "{error:?}");
}

#[test]
fn each_step_can_fail_and_leaves_nothing_behind() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    let count = {
        let mut count = 0;
        Sandbox::start_edited(builder.plan().unwrap(), |program| count = program.steps.len()).unwrap().shut_down();
        count
    };
    assert!(count > 60, "the program is shorter than expected: {count}");
    for index in 0..count {
        let fail = || Step::Write { root: Root::Host, path: c"/proc/self/no-such-file".into(), text: c"".into() };
        let error =
            Sandbox::start_edited(builder.plan().unwrap(), |program| program.steps.insert(index, fail())).unwrap_err();
        let Error::Setup { step, source } = &error else { panic!("step {index}: {error:?}") };
        assert_eq!(step, "write /proc/self/no-such-file", "step {index}");
        assert!(matches!(source.raw_os_error(), Some(libc::ENOENT)), "step {index}: {source}");
        let left: Vec<_> = fs::read_dir(workspace.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".env"], "step {index} left something in the workspace");
    }
}

#[test]
fn the_mode_of_a_device_of_the_host_cannot_be_changed() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    // Only the owner may, which the caller is only as root; touching the node without a change shows the refusal.
    let change = "chmod $(stat -c %a /dev/full) /dev/full";
    let mut devices = false;
    let read_only = move |step: &Step| match step {
        Step::CloneMount { source, .. } => {
            devices = source.as_bytes() == b"dev/full";
            false
        }
        Step::Attributes { .. } => std::mem::take(&mut devices),
        _ => false,
    };
    let read_only = std::cell::RefCell::new(read_only);
    let without = succeeds_without(&builder, |step| (read_only.borrow_mut())(step), change);
    assert_eq!(without, geteuid().is_root());
    assert!(!run_script(&builder.start().unwrap(), change));
    assert!(run_script(&builder.start().unwrap(), "echo x > /dev/null"), "a device can still be written");
}

#[test]
fn sys_is_there_and_nobody_can_fill_it() {
    let workspace = workspace();
    let builder = builder(workspace.path());
    assert!(run_script(&builder.start().unwrap(), "test -d /sys && test -z \"$(ls -A /sys)\""));
    let fill = "mkdir /sys/new";
    // The mount of the root is read-only, and Landlock allows nothing there.
    let sealing = |step: &Step| matches!(step, Step::Attributes { mount: 0, .. } | Step::LandlockRestrict { .. });
    assert_wall(&builder, sealing, fill);
}

#[test]
fn of_the_settings_root_sees_what_a_stranger_sees() {
    let workspace = workspace();
    let plan = builder(workspace.path()).plan().unwrap();
    assert_eq!(plan.strangers, geteuid().is_root());
    let run = |plan: Plan, script| run_script(&Sandbox::start(plan).unwrap(), script);
    let attack = "cat /etc/shadow";
    let open = Plan { strangers: false, ..plan.clone() };
    assert_eq!(run(open, attack), geteuid().is_root(), "root's own file is open to root alone");
    for plan in [plan.clone(), plan.with_settings_masked()] {
        assert!(!run(plan.clone(), attack));
        assert!(run(plan, "cat /etc/passwd && test -x /etc/ssl && ! touch /etc/new"));
    }
}

#[test]
fn a_host_that_is_short_of_something_is_not_one_without_namespaces() {
    let failed = |errno| stand(Err(io::Error::from_raw_os_error(errno)), None, NAMESPACES);
    for errno in [libc::EAGAIN, libc::ENOMEM] {
        assert!(matches!(failed(errno), Err(Failed::Otherwise(Error::Setup { .. }))), "{errno}");
    }
    for errno in [libc::EPERM, libc::ENOSPC, libc::ENOSYS] {
        assert!(matches!(failed(errno), Err(Failed::Namespaces(_))), "{errno}");
    }
}
