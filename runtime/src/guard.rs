//! What accompanies a sandbox from outside, on a thread of its own so that no command waits for it: it starts the sweeper,
//! notices names that appear while commands run, and has the warden cover them before it waits again. What it cannot do ends
//! the sandbox.

use crate::{
    cgroup::Place,
    enforced::{Enforced, Protection},
    error::{Error, Result},
    plan::Plan,
    reserve::Reservation,
    sweep::Sweeper,
    warden::Warden,
    watch::{Late, Scope, Watch, WatchError},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{Shutdown, shutdown},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
};

/// A running guard. Dropping it tells its thread to end, and what it started with it; nobody waits for that.
#[derive(Debug)]
pub(crate) struct Guard {
    _stop: OwnedFd,
    failed: Arc<OnceLock<&'static str>>,
}

/// Starts to watch what a plan hides or keeps; nothing when that is nothing. The watch counts from the survey on, so nothing
/// is missed before the sandbox runs.
pub(crate) fn watch(plan: &Plan, enforced: &mut Enforced) -> Result<Option<Watch>> {
    if plan.deny_read.is_empty() && plan.kept.is_empty() {
        return Ok(None);
    }
    match Watch::new(scope(plan, &mut Lists::default())) {
        Ok(watch) => {
            enforced.holds(Protection::LateMasks, format!("{} directories watched", plan.watched.len()));
            Ok(Some(watch))
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
    lists.masked = plan.masks.iter().map(|mask| mask.path.clone()).collect();
    lists.kept = plan.kept.iter().map(|kept| kept.path().clone()).collect();
    Scope {
        roots: &lists.roots,
        directories: &plan.watched,
        deny: &plan.deny_read,
        masked: &lists.masked,
        kept: &lists.kept,
        links: &plan.links,
        denied: &plan.denied,
        since: Some(plan.surveyed),
    }
}

/// A sandbox that was just started, and what its guard is to look after.
pub(crate) struct Charge {
    /// The resident program, for sweeper and warden.
    pub(crate) resident: OwnedFd,
    /// The pidfd of pid 1.
    pub(crate) first: OwnedFd,
    /// The sandbox's socket, closed when a promise cannot be kept.
    pub(crate) control: Arc<OwnedFd>,
    pub(crate) reserved: Arc<[Reservation]>,
    pub(crate) groups: Vec<Place>,
    pub(crate) watch: Option<Watch>,
    /// A warden that is there already covers a late file some tenths of a millisecond earlier.
    pub(crate) hurry: bool,
}

impl Guard {
    /// Covers what has appeared since the survey, then goes to work. `None` when there is nothing to look after.
    pub(crate) fn start(mut charge: Charge) -> Result<Option<Self>> {
        if charge.watch.is_none() && charge.reserved.is_empty() && charge.groups.is_empty() {
            return Ok(None);
        }
        let mut warden = Warden::default();
        charge.cover_new(&mut warden)?;
        let (stopped, stop) = io::pipe().map_err(Error::io("make the guard's pipe"))?;
        let failed = Arc::new(OnceLock::new());
        let tell = Arc::clone(&failed);
        let work = move || {
            if let Err(why) = charge.look_after(&mut warden, stopped.as_fd()) {
                tell.get_or_init(|| why);
                if shutdown(charge.control.as_raw_fd(), Shutdown::Both).is_err() {
                    // Not connected any more: the sandbox has ended by itself.
                }
            }
        };
        thread::Builder::new().name("guard".into()).spawn(work).map_err(Error::io("start the guard"))?;
        Ok(Some(Self { _stop: stop.into(), failed }))
    }

    /// Why the guard ended the sandbox, if it did.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }
}

impl Charge {
    /// Works until told to stop, or until it cannot keep what was promised.
    fn look_after(&mut self, warden: &mut Warden, stopped: BorrowedFd<'_>) -> std::result::Result<(), &'static str> {
        const NO_SWEEPER: &str = "what removes its reservations if we are killed could not be started";
        const NOT_COVERED: &str = "a file that may not be read appeared and could not be masked";
        let watch = self.watch.as_ref().map(AsFd::as_fd);
        let _sweeper =
            Sweeper::start(&self.resident, &self.first, watch, &self.reserved, &self.groups).map_err(|_| NO_SWEEPER)?;
        if self.hurry {
            warden.start(&self.resident, &self.first).map_err(|_| NOT_COVERED)?;
        }
        loop {
            let mut waits = vec![PollFd::new(stopped, PollFlags::POLLIN)];
            waits.extend(self.watch.as_ref().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
            waits.extend(warden.socket().map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
            match poll(&mut waits, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Err(NOT_COVERED),
            }
            let ready = |index: usize| waits.get(index).is_some_and(|wait| wait.any().unwrap_or(true));
            let (stop, appeared, warden_gone) = (ready(0), ready(1), ready(2));
            if stop {
                return Ok(());
            }
            if warden_gone || (appeared && self.cover_new(warden).is_err()) {
                return Err(NOT_COVERED);
            }
        }
    }

    fn cover_new(&mut self, warden: &mut Warden) -> Result<()> {
        let Self { resident, first, watch: Some(watch), .. } = self else { return Ok(()) };
        let mut cover = |late: Late, path: &Path| warden.cover(resident, first, late, path);
        watch
            .drain(&mut cover)
            .map_err(|error| Error::Io { doing: "hide what appeared", source: io::Error::other(error) })
    }
}
