//! A cell: a second init in the same sandbox with a mount namespace of its own, for a command that gets its own `/tmp`. It joins
//! as the warden does, confined as pid 1 is, and becomes a child of pid 1. Its mounts are slaves of the sandbox's
//! (mount_namespaces(7)), so that what is covered later is covered there too.

use crate::{
    compile,
    enforced::Protection,
    error::{Error, Result},
    executable,
    landlocked::{self, COMPLETE},
    plan::Mount,
    program::{self, LIFTED, Program, Step},
    sandbox::{self, Sandbox},
    socket,
    sys::{self, launch},
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

/// The places that are private.
pub(crate) const PRIVATE: [&str; 2] = ["/tmp", "/var/tmp"];

/// A cell that waits for its command; it ends when its socket is closed.
pub(crate) struct Cell {
    pub(crate) control: Arc<OwnedFd>,
    /// Its root directory, as the host names it.
    pub(crate) root: PathBuf,
}

impl Cell {
    pub(crate) fn start(sandbox: &Sandbox) -> Result<Self> {
        let plan = sandbox.plan();
        possible(sandbox)?;
        let lift = |fd: &OwnedFd| program::lift(fd.as_fd(), LIFTED);
        // Landlock was there, whatever the plan lets be missing, or `possible` had refused.
        let whole = landlocked::ruleset()?.ok_or_else(without_landlock)?;
        let ruleset = landlocked::copy(&whole)?.ok_or_else(without_landlock)?;
        landlocked::allow(whole, plan)?;
        let (control, inside) = socket::pair()?;
        let first = sandbox.pidfd().try_clone_to_owned().map_err(Error::io("copy the pidfd of pid 1"))?;
        let (ruleset, inside, first, resident) =
            (lift(&ruleset)?, lift(&inside)?, lift(&first)?, lift(&executable::resident()?)?);
        let ends = compile::Ends {
            opener: None,
            resident: resident.as_raw_fd(),
            control: inside.as_raw_fd(),
            ruleset: Some(ruleset.as_raw_fd()),
        };
        let files = open_files(sandbox).map_err(Error::io("learn how many files pid 1 may open"))?;
        let mut program = compile::cell(plan, first.as_raw_fd(), &ends, sandbox::entrance(sandbox.limits()), files)?;
        let started = launch::launch(&mut program, 0).map_err(Error::io("start a cell"))?;
        // What was started here has started the cell inside and ended.
        started.reap();
        if let Some(failure) = program.failure {
            let step = program.steps.get(failure.step).map(ToString::to_string).unwrap_or_default();
            return Err(Error::Setup { step, source: io::Error::from_raw_os_error(failure.errno) });
        }
        let pid = innermost(&program).pid;
        Ok(Self { control: Arc::new(control), root: sandbox.root().join(format!("proc/{pid}/root")) })
    }
}

/// The soft and the hard limit of pid 1, which are those of whoever started the sandbox: that one's own may be others by now.
fn open_files(sandbox: &Sandbox) -> io::Result<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", sandbox.first()))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(soft)), Some(Ok(hard))) => Ok((soft, hard)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The program that is the cell, behind those that only start another one.
fn innermost(program: &Program) -> &Program {
    match program.steps.last() {
        Some(Step::Spawn(inner) | Step::Through(inner)) => innermost(inner),
        _ => program,
    }
}

/// Without Landlock, what runs inside could trace a cell while it is made.
fn possible(sandbox: &Sandbox) -> Result<()> {
    let (plan, enforced) = (sandbox.plan(), sandbox.enforced());
    if sandbox.is_supervised() {
        return Err(Error::Plan {
            what: "own /tmp for a command in",
            path: plan.workspace.clone().unwrap_or_default(),
            why: "it would get around the supervisor for whom calls wait in this sandbox; give it another sandbox"
                .into(),
        });
    }
    let holds = |protection| enforced.protections.iter().any(|line| line.protection == protection && line.holds);
    if !holds(Protection::Namespaces) {
        let needs = "a command has its own /tmp only in a sandbox with namespaces".into();
        return Err(Error::Unsupported { protection: Protection::Namespaces, needs });
    }
    // Nothing else keeps its signals from the others, and theirs from it.
    if !holds(Protection::Landlock) || sys::landlock::abi() < COMPLETE {
        return Err(without_landlock());
    }
    let hidden = |mount: &&Mount| PRIVATE.iter().any(|private| mount.path().starts_with(private));
    match plan.view.iter().find(hidden) {
        None => Ok(()),
        Some(mount) => Err(Error::Plan {
            what: "own /tmp for a command would hide",
            path: mount.path().clone(),
            why: "it lies below /tmp or /var/tmp; show another place, or leave its own /tmp out".into(),
        }),
    }
}

fn without_landlock() -> Error {
    let abi = sys::landlock::abi();
    let needs = format!("for a command's own /tmp Landlock ABI {COMPLETE} is needed (Linux 6.12), found {abi}");
    Error::Unsupported { protection: Protection::Landlock, needs }
}
