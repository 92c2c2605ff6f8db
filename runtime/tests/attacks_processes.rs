//! Ways to touch a process outside, and what processes share without a file: signals, memory, environments, System V memory,
//! keys. Each is shown to work without a sandbox, and to fail in one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

mod arena;

use std::iter;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use arena::{Arena, CANARY, Host};

/// A process of the same user that goes about its business outside.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("120").env("BYSTANDER", format!("{CANARY}BYSTANDER")).stdin(Stdio::null()).spawn().unwrap())
    }

    /// Whether it still lives half a second later: what was sent to it takes a moment to end it.
    fn is_well(&mut self) -> bool {
        (0..50).all(|_| {
            thread::sleep(Duration::from_millis(10));
            self.0.try_wait().unwrap().is_none()
        })
    }

    fn niceness(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).unwrap().to_owned()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// Runs a script with the bystander's number in `PID`, bare and in a sandbox; `harmed` looks at the bystander and the output.
#[track_caller]
fn harms_nobody(script: &str, harmed: impl Fn(&mut Bystander, &str) -> bool) {
    for host in iter::once(None).chain(Host::possible().iter().copied().map(Some)) {
        let arena = Arena::new();
        let mut bystander = Bystander::new();
        let script = format!("PID={}; {script}", bystander.0.id());
        let output = match host {
            Some(host) => arena.inside(&arena.start_on(host), &script),
            None => arena.bare(&script),
        };
        assert_eq!(harmed(&mut bystander, &output), host.is_none(), "sandboxed: {host:?}, {script}\n{output}");
    }
}

#[test]
fn signals_to_a_process_outside() {
    let pidfd = "/usr/bin/python3 -c 'import os,signal,sys; signal.pidfd_send_signal(os.pidfd_open(int(sys.argv[1])), 15)' $PID";
    for script in ["kill -TERM $PID", "kill -KILL $PID", pidfd] {
        harms_nobody(script, |bystander, _| !bystander.is_well());
    }
}

#[test]
fn the_environment_and_the_files_of_a_process_outside() {
    for script in [
        "tr '\\0' '\\n' < /proc/$PID/environ",
        "cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
        "ls -l /proc/$PID/cwd && echo CANARY-LISTED",
        "cat /proc/$PID/root/etc/hostname >/dev/null && echo CANARY-ROOT",
    ] {
        harms_nobody(script, |_, output| output.contains(CANARY));
    }
}

#[test]
fn the_priority_and_limits_of_a_process_outside() {
    harms_nobody("renice -n 7 -p $PID", |bystander, _| bystander.niceness() == "7");
    harms_nobody("prlimit --pid $PID --nofile=17:17 && echo CHANGED", |_, output| output.contains("CHANGED"));
}

#[test]
fn the_memory_of_a_process_outside() {
    // Where the host lets a user read his own processes at all (kernel.yama.ptrace_scope).
    let script = "/usr/bin/python3 -c '
import sys
pid = sys.argv[1]
for line in open(f\"/proc/{pid}/maps\"):
    if \"[stack]\" in line:
        start, end = (int(part, 16) for part in line.split()[0].split(\"-\"))
        memory = open(f\"/proc/{pid}/mem\", \"rb\", 0); memory.seek(start)
        print(memory.read(end - start).decode(\"latin1\"))
' $PID";
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if nix::unistd::geteuid().is_root() || matches!(scope.trim(), "" | "0") {
        harms_nobody(script, |_, output| output.contains(CANARY));
    }
}

#[test]
fn our_own_processes_inside() {
    let arena = Arena::new();
    let sandbox = arena.start();
    let script =
        "cat /proc/1/environ /proc/1/maps; ls -l /proc/1/exe /proc/1/fd/; kill -9 1 2; kill -STOP 1 2; echo STILL $$";
    let output = arena.inside(&sandbox, script);
    assert!(output.contains("STILL") && !output.contains("socket:") && !output.contains("memfd"), "{output}");
    assert!(output.contains("Permission denied"), "{output}");
    // Neither pid 1 nor the warden was stopped: later commands run, later secrets are hidden.
    assert!(arena.inside(&sandbox, "echo ALIVE").contains("ALIVE"));
}

#[test]
fn system_v_memory_of_the_host() {
    let output = Command::new("ipcmk").args(["-M", "64"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let id = text.rsplit(' ').next().unwrap().trim().to_owned();
    let script = format!("ipcs -m -i {id} | grep -q shmid={id} && echo SEEN");
    let arena = Arena::new();
    let (bare, inside) = (arena.bare(&script), arena.inside(&arena.start(), &script));
    assert!(Command::new("ipcrm").args(["-m", &id]).status().unwrap().success());
    assert!(bare.contains("SEEN") && !inside.contains("SEEN"), "{bare}\n{inside}");
}

#[test]
fn keys_of_the_session() {
    const ADD: &str = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True)\n\
        key = c.syscall(int(sys.argv[1]), b'user', sys.argv[2].encode(), b'CANARY-KEY', 10, -4)\n\
        c.syscall(int(sys.argv[3]), 15, key, 60); print(key)";
    const READ: &str = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True); b = ctypes.create_string_buffer(64)\n\
        key = c.syscall(int(sys.argv[1]), 10, -4, b'user', sys.argv[2].encode(), 0)\n\
        print(key, c.syscall(int(sys.argv[1]), 11, key, b, 64), b.value.decode())";
    let arena = Arena::new();
    let name = arena.outside.display().to_string();
    let (add, control) = (libc::SYS_add_key.to_string(), libc::SYS_keyctl.to_string());
    let added = Command::new("/usr/bin/python3").args(["-c", ADD, &add, &name, &control]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    arena::write(&arena.path("read.py"), READ);
    let script = format!("/usr/bin/python3 read.py {control} {name}");
    let (bare, inside) = (arena.bare(&script), arena.inside(&arena.start(), &script));
    assert!(bare.contains("CANARY-KEY"), "the key can be read without a sandbox: {bare}");
    assert!(!inside.contains("CANARY-KEY"), "{inside}");
}
