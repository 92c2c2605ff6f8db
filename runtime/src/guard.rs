//! The warden's host side: a thread that notices names which appear while commands run, and has the warden cover them
//! before it waits again. What it cannot cover ends the sandbox.

use crate::{
    enforced::{Enforced, Protection},
    error::{Error, Result},
    plan::Plan,
    socket,
    sys::wire::{DONE, MASK, PROTECT, Reply, Request},
    watch::{Late, Scope, Watch, WatchError},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{Shutdown, shutdown},
};
use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// What is ready before the launch: the watch counts from the survey on, so nothing is missed in between.
pub(crate) struct Prepared {
    watch: Watch,
    socket: OwnedFd,
    inside: OwnedFd,
}

/// A running guard. Dropping it stops the watch; the warden ends with the sandbox.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

/// Prepares the watch, or nothing when no path of the plan is hidden or kept.
pub(crate) fn prepare(plan: &Plan, enforced: &mut Enforced) -> Result<Option<Prepared>> {
    if plan.deny_read.is_empty() && plan.kept.is_empty() {
        return Ok(None);
    }
    match Watch::new(scope(plan, &mut Lists::default())) {
        Ok(watch) => {
            let (socket, inside) = socket::pair()?;
            enforced.holds(Protection::LateMasks, format!("{} directories watched", plan.watched.len()));
            Ok(Some(Prepared { watch, socket, inside }))
        }
        Err(error @ (WatchError::Watches { .. } | WatchError::Instances))
            if plan.allow_missing.contains(&Protection::LateMasks) =>
        {
            enforced.missing(Protection::LateMasks, error.to_string());
            Ok(None)
        }
        Err(error) => Err(Error::Unsupported { protection: Protection::LateMasks, needs: error.to_string() }),
    }
}

/// The paths of a plan as the watch wants them.
#[derive(Default)]
struct Lists {
    roots: Vec<PathBuf>,
    masked: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

fn scope<'lists>(plan: &'lists Plan, lists: &'lists mut Lists) -> Scope<'lists> {
    lists.roots = plan.workspace.iter().chain(&plan.roots).cloned().collect();
    lists.masked = plan.masks.iter().map(|mask| mask.path.clone()).filter(|path| plan.shows(path)).collect();
    lists.kept = plan.kept.iter().map(|kept| kept.path().clone()).collect();
    Scope {
        roots: &lists.roots,
        directories: &plan.watched,
        deny: &plan.deny_read,
        masked: &lists.masked,
        kept: &lists.kept,
        since: Some(plan.surveyed),
    }
}

impl Prepared {
    /// A copy of the warden's end, for the program that starts it.
    pub(crate) fn inside(&self) -> Result<OwnedFd> {
        self.inside.try_clone().map_err(Error::io("pass the warden's socket"))
    }

    /// The watch's descriptor.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Goes to work once the warden runs. Covers what has appeared since the survey before it returns. `control` is the
    /// sandbox's socket, closed when a path cannot be covered.
    pub(crate) fn watch(self, control: Arc<OwnedFd>) -> Result<Guard> {
        let Self { mut watch, socket, inside } = self;
        drop(inside);
        if !matches!(socket::receive(socket.as_fd(), true)?, Some((Reply { kind: DONE, .. }, _))) {
            return Err(Error::Ended { why: "its warden did not start" });
        }
        cover_new(&mut watch, &socket)?;
        let (stopped, stop) = io::pipe().map_err(Error::io("make the guard's pipe"))?;
        let failed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&failed);
        let work = move || {
            if !keep_watching(&mut watch, &socket, &stopped.into()) {
                tell.store(true, Ordering::Release);
                if shutdown(control.as_raw_fd(), Shutdown::Both).is_err() {
                    // Not connected any more: the sandbox has ended by itself.
                }
            }
        };
        let thread = thread::Builder::new().name("guard".into()).spawn(work).map_err(Error::io("start the guard"))?;
        Ok(Guard { stop: Some(stop.into()), thread: Some(thread), failed })
    }
}

impl Guard {
    /// Whether the guard ended the sandbox because a path could not be covered.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // The guard does not panic; there is nothing to undo if it did.
        }
    }
}

/// Watches until told to stop (true) or until it cannot keep what it promises (false).
fn keep_watching(watch: &mut Watch, socket: &OwnedFd, stopped: &OwnedFd) -> bool {
    loop {
        let mut waits = [watch.as_fd(), socket.as_fd(), stopped.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut waits, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
        let [appeared, warden_gone, stop] = waits.map(|wait| wait.any().unwrap_or(true));
        if stop {
            return true;
        }
        if warden_gone || (appeared && cover_new(watch, socket).is_err()) {
            return false;
        }
    }
}

fn cover_new(watch: &mut Watch, socket: &OwnedFd) -> Result<()> {
    let mut cover = |late: Late, path: &Path, _directory: bool| ask_warden(socket, late, path);
    watch.drain(&mut cover).map_err(|error| Error::Io { doing: "hide what appeared", source: io::Error::other(error) })
}

fn ask_warden(socket: &OwnedFd, late: Late, path: &Path) -> io::Result<()> {
    let op = match late {
        Late::Mask => MASK,
        Late::Protect => PROTECT,
    };
    let mut text = path.as_os_str().as_bytes().to_vec();
    text.push(0);
    let asked = socket::send(socket.as_fd(), &Request { op, ..Request::default() }, &text, &[]);
    match asked.and_then(|()| socket::receive(socket.as_fd(), true)).map_err(io::Error::other)? {
        Some((Reply { value: 0, .. }, _)) => Ok(()),
        Some((Reply { value, .. }, _)) => Err(io::Error::from_raw_os_error(value)),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
