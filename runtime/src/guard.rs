//! What accompanies a sandbox from outside, on a thread of its own so that no command waits for it: it notices names that appear while commands run, and has the warden cover them before it waits again. What it cannot do ends
//! the sandbox.

use crate::{
    ending::Ending,
    enforced::{Enforced, Protection},
    error::{Error, Result},
    history::Looks,
    opening::Worker,
    plan::{Kept, Plan},
    survey::Inode,
    sweep::Sweeper,
    warden::Warden,
    watch::{Before, Beginning, Late as Act, Scope, Watch, WatchError},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::Metadata,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

const HIDE: &str = "hide what appeared";
const NOT_COVERED: &str = "a file that may not be read appeared and could not be masked";

/// What a short command takes, in milliseconds.
const A_MOMENT: u8 = 5;

/// A running guard. Dropping it tells its thread to end, and what it started with it; nobody waits for that.
#[derive(Debug)]
pub(crate) struct Guard {
    _stop: OwnedFd,
    failed: Arc<OnceLock<&'static str>>,
    late: Arc<Late>,
}

/// What appears while commands run, and the warden who covers it: asked by the guard's own thread, and by whoever must be
/// sure that nothing is left to cover.
#[derive(Debug)]
pub(crate) struct Late(Mutex<(Charge, Warden)>);

impl Late {
    fn lock(&self) -> MutexGuard<'_, (Charge, Warden)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Covers everything that has appeared. `true`: there was something.
    pub(crate) fn settle(&self) -> Result<bool> {
        let (charge, warden) = &mut *self.lock();
        charge.cover_new(warden)
    }

    /// Covers a file for what it holds.
    pub(crate) fn hide(&self, path: &Path) -> Result<()> {
        let (Charge { resident, first, watch, .. }, warden) = &mut *self.lock();
        let Some(watch) = watch else { return Ok(()) };
        let hidden = watch.hide(path, &mut |late, path| warden.cover(resident, first, late, path));
        hidden.map_err(|error| Error::Io { doing: HIDE, source: io::Error::other(error) })
    }

    /// Shows the host's directory `by` in the place of `path`.
    pub(crate) fn replace(&self, path: &Path, by: &Path) -> Result<()> {
        let (Charge { resident, first, .. }, warden) = &mut *self.lock();
        warden.replace(resident, first, path, by).map_err(Error::io(HIDE))
    }

    /// Whether a path is denied.
    pub(crate) fn denies(&self, path: &Path, directory: bool) -> bool {
        self.lock().0.watch.as_ref().is_none_or(|watch| watch.denies(path, directory))
    }

    /// Whether a file is denied for another name that it has or had.
    pub(crate) fn knows(&self, file: &Metadata) -> bool {
        self.lock().0.watch.as_ref().is_none_or(|watch| watch.knows_denied(file))
    }

    /// Whether [`knows`](Self::knows) could say so of a file with this number.
    pub(crate) fn may_know(&self, inode: Inode) -> bool {
        self.lock().0.watch.as_ref().is_none_or(|watch| watch.may_know_denied(inode))
    }

    /// Whether a directory called `from` might hold what is denied there and not where it is called `to`.
    pub(crate) fn frees(&self, from: &Path, to: &Path) -> bool {
        self.lock().0.watch.as_ref().is_none_or(|watch| watch.frees(from, to))
    }
}

/// What stands at the paths on which a plan has something mounted; to be asked before that is done. Not at denied files.
pub(crate) fn before(plan: &Plan) -> Before {
    let directories = plan.masks.iter().filter(|mask| mask.directory).map(|mask| &mask.path);
    let kept = plan.kept.iter().filter(|kept| !matches!(kept, Kept::Absent { .. })).map(Kept::path);
    Before::new(&directories.chain(&plan.channels).collect::<Vec<_>>(), &kept.collect::<Vec<_>>())
}

/// Begins to watch what a plan hides or keeps; nothing when that is nothing. The watch counts from the survey on, so nothing
/// is missed before the sandbox runs.
pub(crate) fn watch(plan: &Plan, before: Before, enforced: &mut Enforced) -> Result<Option<Beginning>> {
    if plan.deny_read.is_empty() && plan.kept.is_empty() {
        return Ok(None);
    }
    let files = plan.masks.iter().filter(|mask| !mask.directory).map(|mask| &mask.path);
    let beginning = Beginning::new(scope(plan, &mut Lists::default()), before.with_files(files));
    optional(beginning.map(Some), plan, enforced)
}

/// Takes in how it went to complete the watch.
pub(crate) fn watched(
    completed: std::result::Result<Option<Watch>, WatchError>,
    plan: &Plan,
    enforced: &mut Enforced,
) -> Result<Option<Watch>> {
    let watch = optional(completed, plan, enforced)?;
    if watch.is_some() {
        enforced.holds(Protection::LateMasks, format!("{} directories watched", plan.watched.len()));
    }
    Ok(watch)
}

/// Without a watch when the plan allows that and the kernel has no room for one.
fn optional<T>(
    watch: std::result::Result<Option<T>, WatchError>,
    plan: &Plan,
    enforced: &mut Enforced,
) -> Result<Option<T>> {
    match watch {
        Ok(watch) => Ok(watch),
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
    absent: Vec<PathBuf>,
}

fn scope<'lists>(plan: &'lists Plan, lists: &'lists mut Lists) -> Scope<'lists> {
    lists.roots = plan.workspace.iter().chain(&plan.roots).cloned().collect();
    lists.absent = plan.absent().map(|(path, _)| path.to_owned()).collect();
    Scope {
        roots: &lists.roots,
        deny: &plan.deny_read,
        absent: &lists.absent,
        links: &plan.links,
        denied: &plan.denied,
        since: Some(plan.surveyed),
        history: plan.git_history.is_some(),
    }
}

/// A sandbox that was just started, and what its guard is to look after.
#[derive(Debug)]
pub(crate) struct Charge {
    /// The resident program, for the warden.
    pub(crate) resident: OwnedFd,
    /// The pidfd of pid 1.
    pub(crate) first: OwnedFd,
    /// What is done when a promise cannot be kept.
    pub(crate) ending: Arc<Ending>,
    /// Whoever closes the watch last waits for the kernel to tear it down: that must be the sweeper.
    pub(crate) watch: Option<Watch>,
    pub(crate) sweeper: Option<Sweeper>,
    /// A warden that is there already covers a late file some tenths of a millisecond earlier. A command that takes
    /// [no time](A_MOMENT) is spared the end of one.
    pub(crate) hurry: bool,
    /// It has its command already, and ends with it.
    pub(crate) last: bool,
    /// Whoever looks through the history of git again.
    pub(crate) looks: Option<Arc<Looks>>,
}

impl Guard {
    /// Covers what has appeared since the survey, then goes to work. `None` when there is nothing to look after.
    /// It works on the `worker`, or on a thread of its own.
    pub(crate) fn start(mut charge: Charge, worker: Option<Worker>) -> Result<Option<Self>> {
        if charge.watch.is_none() && charge.sweeper.is_none() {
            return Ok(None);
        }
        let mut warden = Warden::default();
        let failed = Arc::new(OnceLock::new());
        let ending = Arc::clone(&charge.ending);
        if let Err(error) = charge.cover_new(&mut warden) {
            // Its command may have been quicker than we are, and then all is well. What became of it says which.
            charge.last.then_some(()).ok_or(error)?;
            failed.get_or_init(|| NOT_COVERED);
            ending.end();
        }
        let (stopped, stop) = io::pipe().map_err(Error::io("make the guard's pipe"))?;
        let late = Arc::new(Late(Mutex::new((charge, warden))));
        let (tell, works) = (Arc::clone(&failed), Arc::clone(&late));
        let work = move || {
            if look_after(&works, stopped.as_fd()).is_err() {
                tell.get_or_init(|| NOT_COVERED);
                ending.end();
            }
            drop(works.lock().0.watch.take());
            let sweeper = works.lock().0.sweeper.take();
            drop(sweeper);
        };
        let started = match worker {
            Some(worker) => worker.work(work),
            None => thread::Builder::new().name("guard".into()).spawn(work).map(drop),
        };
        started.map_err(Error::io("start the guard"))?;
        Ok(Some(Self { _stop: stop.into(), failed, late }))
    }

    /// What covers late files.
    pub(crate) fn late(&self) -> Arc<Late> {
        Arc::clone(&self.late)
    }

    /// Why the guard ended the sandbox, if it did.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }
}

/// Works until told to stop, or until it cannot keep what was promised.
fn look_after(late: &Late, stopped: BorrowedFd<'_>) -> Result<()> {
    let lost = Error::io("watch for what appears");
    let appeared = late.lock().0.watch.as_ref().map(|watch| watch.as_fd().try_clone_to_owned()).transpose();
    let appeared = appeared.map_err(lost)?;
    let mut hurry = late.lock().0.hurry;
    loop {
        let warden = late.lock().1.socket().map(|socket| socket.try_clone_to_owned()).transpose();
        let warden = warden.map_err(Error::io("listen to the warden"))?;
        hurry &= warden.is_none();
        let mut waits = vec![PollFd::new(stopped, PollFlags::POLLIN)];
        waits.extend(appeared.iter().chain(&warden).map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let over = match poll(&mut waits, if hurry { A_MOMENT.into() } else { PollTimeout::NONE }) {
            Ok(ready) => ready == 0,
            Err(Errno::EINTR) => false,
            Err(errno) => return Err(Error::errno("wait for what appears")(errno)),
        };
        if waits[0].any().unwrap_or(true) {
            return Ok(());
        }
        let (charge, warden) = &mut *late.lock();
        if over {
            warden.start(&charge.resident, &charge.first)?;
        } else if warden.is_gone() {
            // Only now: an answer to another thread is not the warden's end.
            return Err(Error::Ended { why: "its warden is gone" });
        } else {
            charge.cover_new(warden)?;
        }
    }
}

impl Charge {
    /// `true`: there was something to cover.
    fn cover_new(&mut self, warden: &mut Warden) -> Result<bool> {
        let Self { resident, first, watch: Some(watch), looks, .. } = self else { return Ok(false) };
        let mut covered = false;
        let mut cover = |late: Act, path: &Path| {
            covered = true;
            warden.cover(resident, first, late, path)
        };
        let drained = watch.drain(&mut cover);
        if let Some(looks) = looks.as_ref().filter(|_| watch.take_history_change()) {
            looks.ask();
        }
        drained.map(|()| covered).map_err(|error| Error::Io { doing: HIDE, source: io::Error::other(error) })
    }
}
