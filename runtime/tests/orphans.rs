//! Nothing of a sandbox becomes an orphan outside: it would stay until whoever collects orphans there looks, and the end of
//! the sandbox would wait for that. This process collects them and never looks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

#[path = "arena/kernel.rs"]
mod kernel;

use holdpoint_runtime::{Access, Sandbox};
use std::{
    fs,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(20);

fn with_deny(workspace: &Path) -> Sandbox {
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace, Access::ReadWrite).deny_read("**/.env*");
    builder.start().unwrap()
}

fn ends(sandbox: Sandbox) -> bool {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        drop(sandbox);
        done.send(()).unwrap_or_default();
    });
    ended.recv_timeout(LIMIT).is_ok()
}

#[test]
fn the_end_of_a_sandbox_waits_for_nobody_outside() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let workspace = tempfile::tempdir().unwrap();
    let sandbox = with_deny(workspace.path());
    // A warden runs once a late file is covered.
    let late = workspace.path().join(".env.late");
    fs::write(&late, "secret").unwrap();
    let limit = Instant::now() + LIMIT;
    while sandbox.command("cat").arg(&late).output().unwrap().status.success() {
        assert!(Instant::now() < limit, "the late file was not covered");
    }
    assert!(ends(sandbox), "the warden became an orphan outside");
}

#[test]
fn nor_does_one_in_which_a_command_had_its_own_tmp() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    // Not below `/tmp`, which is about to be private.
    let workspace = tempfile::tempdir_in("/dev/shm").unwrap();
    let sandbox = with_deny(workspace.path());
    match sandbox.command("true").private_tmp(true).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => kernel::is_refusal(&error),
    }
    assert!(ends(sandbox), "what made the private place became an orphan outside");
}
