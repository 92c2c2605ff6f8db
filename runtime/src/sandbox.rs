//! A living sandbox: started once, runs many commands, ends as a whole.

use crate::{
    builder::Builder,
    child::Child,
    command::{Asked, Command},
    compile::{self, Ends, Entrance},
    ending::{self, Ending},
    enforced::{Enforced, Protection},
    error::{Error, Result},
    exec::ExecGuard,
    guard::{self, Charge, Guard},
    history::Living,
    host::{self, Failed},
    landlocked,
    limits::{Backend, Limit, Limiter},
    mounts,
    notify::Supervisor,
    opening::{Descriptors, Going, Opening, Worker},
    plan::{Net, Plan},
    program::{Fault, Program},
    relay::Taps,
    reserve::{self, Reservation},
    restricted::{self, Modes, Place, Restricted},
    socket, strangers,
    strict::{self, Strict},
    supervise,
    sweep::Sweeper,
    sys::{
        launch::{self, Started},
        wire::Request,
    },
    threads,
    traps::{self, Trap},
    view,
    watch::{Beginning, Watch, WatchError},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

/// Every namespace a process can have but that of control groups, which it makes when it is in its own, and time, which
/// confines nothing.
pub(crate) const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// To watch so many directories takes long enough to do it on another thread.
const MANY_WATCHED: usize = 64;

/// A started sandbox. Dropping it, or the end of its process for whatever reason, ends everything inside.
#[derive(Debug)]
#[must_use = "everything inside ends when the sandbox is dropped"]
pub struct Sandbox {
    ground: Ground,
    enforced: Enforced,
    first: Started,
    guard: Option<Guard>,
    history: Option<Living>,
    reserved: Arc<[Reservation]>,
    /// What stands in where there are no namespaces.
    restricted: Option<Restricted>,
    supervisor: Option<Supervisor>,
    /// Nobody waits for the end of an emptied sandbox.
    leaving: bool,
}

/// What there is before pid 1 is, and all that a command needs to be asked for.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) plan: Plan,
    pub(crate) control: Arc<OwnedFd>,
    pub(crate) limits: Limiter,
    pub(crate) taps: Taps,
    /// Its last command has ended, and nothing else is inside.
    pub(crate) emptied: Arc<AtomicBool>,
    next: AtomicU32,
}

/// The one command of a sandbox that is made for it.
pub(crate) struct First<'a> {
    pub(crate) program: &'a OsStr,
    pub(crate) describe: &'a dyn Fn(&mut Command<'_>),
}

/// A sandbox, and its first command if there was one to begin with.
type Begun = (Sandbox, Option<Child>);
/// Pid 1, and the thread that waited for it.
type Stands = std::result::Result<(Started, Option<Worker>), Failed>;
/// What came of watching.
type Watched = std::result::Result<Option<Watch>, WatchError>;

impl First<'_> {
    fn command<'s>(&self, mut command: Command<'s>) -> Command<'s> {
        (self.describe)(&mut command);
        command.alone();
        command
    }
}

impl Ground {
    fn new(plan: Plan, control: Arc<OwnedFd>, limits: Limiter) -> Self {
        Self { plan, control, limits, taps: Taps::default(), emptied: Arc::default(), next: AtomicU32::new(1) }
    }

    pub(crate) fn next_id(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Sandbox {
    /// Describes a new sandbox.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Carries out a plan. Safe in a threaded program of any size.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a protection cannot be had and the plan does not allow it to be missing,
    /// [`Error::Setup`] when a step failed. Nothing runs and nothing is left behind in either case.
    pub fn start(plan: Plan) -> Result<Self> {
        Self::start_in(plan, Opening::begin(), None)
    }

    /// As [`start`](Self::start), in a sandbox that was begun before, and for a plan with [`exec_guard`](Plan::exec_guard)
    /// with somebody who judges.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`Error::Plan`] for a plan with a guard and nobody who judges, or the other way round.
    pub fn start_in(plan: Plan, opening: Opening, guard: Option<Arc<dyn ExecGuard>>) -> Result<Self> {
        Ok(Self::start_with(plan, opening, guard, None, |_| ())?.0)
    }

    /// As [`start_in`](Self::start_in), and with it the one command that the sandbox is for.
    pub(crate) fn start_for(
        plan: Plan,
        opening: Opening,
        guard: Option<Arc<dyn ExecGuard>>,
        first: &First<'_>,
    ) -> Result<(Self, Child)> {
        let (sandbox, child) = Self::start_with(plan, opening, guard, Some(first), |_| ())?;
        let child = match child {
            Some(child) => child,
            None => first.command(sandbox.command(first.program)).spawn()?,
        };
        Ok((sandbox, child))
    }

    /// As `start`, with a last change to the program: how tests take one wall away.
    #[cfg(test)]
    fn start_edited(plan: Plan, edit: impl FnOnce(&mut Program)) -> Result<Self> {
        Ok(Self::start_with(plan, Opening::none(), None, None, edit)?.0)
    }

    fn start_with(
        plan: Plan,
        opening: Opening,
        exec: Option<Arc<dyn ExecGuard>>,
        first: Option<&First<'_>>,
        edit: impl FnOnce(&mut Program),
    ) -> Result<Begun> {
        supervise::check(&plan, exec.as_ref())?;
        let mut enforced = remarks(&plan);
        let limits = Limiter::prepare(&plan, &mut enforced, Backend::Namespaces)?;
        let (opener, entrance) = (opener(&plan)?, entrance(&limits));
        // Their descriptors are not among those of a child that was begun before they were made.
        let mut opening = if opener.is_some() || entrance.group.is_some() { Opening::none() } else { opening };
        let mut descriptors = opening.descriptors()?;
        landlocked::require(descriptors.ruleset.as_ref(), &plan, &mut enforced)?;
        let settings = plan.strangers.then(|| strangers::view(Path::new(view::SETTINGS))).and_then(io::Result::ok);
        let plan = if settings.is_some() { plan } else { plan.with_settings_masked() };
        mounts::fit(&plan)?;
        if let Some(settings) = settings {
            socket::send(descriptors.control.as_fd(), &Request::default(), &[], &[settings.as_raw_fd()])?;
        }
        let before = guard::before(&plan);
        let going = begin(&plan, opening, &mut descriptors, opener.as_ref(), entrance, edit)?;
        let Descriptors { resident, control, ruleset, theirs, .. } = descriptors;
        let mut watch = guard::watch(&plan, before, &mut enforced)?;
        let reserved: Arc<[Reservation]> =
            reserve::lock(plan.absent()).map_err(|error| plan.unreserved(&error))?.into();
        // Before there is anything to sweep: from here on nothing is left of us, however we end.
        let mut sweeper = sweeper(&resident, watch.as_ref(), &reserved, &limits)?;
        reserve::create(&reserved).map_err(|error| plan.unreserved(&error))?;
        // It can cover them now, and with the rest be confined.
        going.tell()?;
        ruleset.map_or(Ok(()), |ruleset| landlocked::allow(ruleset, &plan))?;
        going.tell()?;
        if let Some(watch) = &mut watch {
            watch.created(plan.absent().map(|(path, _)| path));
        }
        let ground = Ground::new(plan, control, limits);
        let (watch, asked, stands) = meanwhile(&ground, watch, first.filter(|_| exec.is_none()), going);
        let (started, worker) = match stands {
            Ok(stands) => stands,
            Err(failed) => {
                drop(sweeper);
                // In it a command may wait, with pipes that would never end for those who wait for its output.
                drop((theirs, asked));
                return Ok((Self::start_without(ground, failed, exec)?, None));
            }
        };
        drop(theirs);
        report(&ground.plan, &mut enforced);
        let (guard, history, restricted, supervisor) = (None, None, None, None);
        let mut sandbox =
            Self { ground, enforced, first: started, guard, history, reserved, restricted, supervisor, leaving: false };
        // From here on a failure drops the sandbox, which ends what was started.
        if let Some(sweeper) = &mut sweeper {
            sweeper.follow(sandbox.pidfd(), sandbox.control())?;
        }
        let watch = guard::watched(watch, &sandbox.ground.plan, &mut sandbox.enforced)?;
        let asked = asked?;
        let charge = sandbox.charge(resident, watch, sweeper, asked.is_some())?;
        sandbox.look_after(charge, worker)?;
        sandbox.watch_limits()?;
        sandbox.supervise(exec, None, opener.map(strict::Ends::ours))?;
        let child = match (first, asked) {
            (Some(first), Some(asked)) => Some(first.command(sandbox.command(first.program)).await_start(asked)?),
            _ => None,
        };
        Ok((sandbox, child))
    }

    /// What the guard looks after; `last`: pid 1 has its command already, and ends with it.
    fn charge(&self, resident: OwnedFd, watch: Option<Watch>, sweeper: Option<Sweeper>, last: bool) -> Result<Charge> {
        Ok(Charge {
            resident,
            first: self.first.pidfd.try_clone().map_err(Error::io("copy the pidfd of pid 1"))?,
            ending: self.ending()?,
            watch,
            sweeper,
            hurry: !self.plan().deny_read.is_empty(),
            last,
            looks: self.plan().git_history.is_some().then(Arc::default),
        })
    }

    /// Starts to look after what appears.
    fn look_after(&mut self, charge: Charge, worker: Option<Worker>) -> Result<()> {
        let looks = charge.looks.clone().filter(|_| charge.watch.is_some());
        self.guard = Guard::start(charge, worker)?;
        if let (Some(looks), Some(guard)) = (looks, &self.guard) {
            self.history = Some(Living::start(self.plan(), looks, guard.late(), self.ending()?)?);
        }
        Ok(())
    }

    /// Covers everything that was written to the history of git before this was called.
    pub(crate) fn settle(&self) -> Result<()> {
        let (Some(history), Some(guard)) = (&self.history, &self.guard) else { return Ok(()) };
        guard.late().settle()?;
        history.settle()
    }

    /// Goes on where pid 1 does not stand, if the plan allows what is missing to be missing.
    fn start_without(ground: Ground, failed: Failed, exec: Option<Arc<dyn ExecGuard>>) -> Result<Self> {
        let Ground { plan, limits, .. } = ground;
        drop(limits);
        match reword(&plan, failed) {
            Failed::Namespaces(errno) if plan.allow_missing.contains(&Protection::Namespaces) => {
                Self::start_restricted(plan, exec, &host::refusal(errno))
            }
            failed => Err(failed.into_error()),
        }
    }

    /// Goes on without the namespaces that the host refuses.
    fn start_restricted(plan: Plan, exec: Option<Arc<dyn ExecGuard>>, refusal: &host::Refusal) -> Result<Self> {
        let plan = plan.with_settings_masked().with_packs_masked();
        let mut enforced = remarks(&plan);
        let mut limits = Limiter::prepare(&plan, &mut enforced, Backend::Landlock)?;
        let restricted::Launched { first, control, restricted, modes } =
            restricted::start(&plan, refusal, &mut enforced, entrance(&limits))?;
        limits.also_writable(restricted.place().path())?;
        let (guard, history, reserved, supervisor) = (None, None, Arc::default(), None);
        let (ground, restricted) = (Ground::new(plan, Arc::new(control), limits), Some(restricted));
        let mut sandbox =
            Self { ground, enforced, first, guard, history, reserved, restricted, supervisor, leaving: false };
        sandbox.watch_limits()?;
        sandbox.supervise(exec, Some(modes), None)?;
        Ok(sandbox)
    }

    /// Starts to answer what waits, before any command runs.
    fn supervise(
        &mut self,
        exec: Option<Arc<dyn ExecGuard>>,
        modes: Option<Modes>,
        opener: Option<OwnedFd>,
    ) -> Result<()> {
        let late = self.guard.as_ref().map(Guard::late);
        let strict = opener.map(|opener| Strict::start(opener, late, self.ending()?)).transpose()?;
        let (ending, first) = (self.ending()?, self.first.pid);
        self.supervisor = supervise::start(&self.ground.plan, exec, modes, strict, ending, first, &mut self.enforced)?;
        Ok(())
    }

    fn watch_limits(&mut self) -> Result<()> {
        let ending = self.ending()?;
        let Ground { plan, limits, .. } = &mut self.ground;
        limits.watch(plan, self.first.pid, ending)
    }

    /// What ends everything inside.
    pub(crate) fn ending(&self) -> Result<Arc<Ending>> {
        let first = self.restricted.is_none().then(|| self.first.pidfd.try_clone()).transpose();
        Ok(Arc::new(Ending::new(self.control(), first.map_err(Error::io("copy the pidfd of pid 1"))?)))
    }

    /// A command to run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command<'_> {
        Command::new(self, program.as_ref())
    }

    /// What was asked for.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.ground.plan
    }

    /// What was really applied.
    #[must_use]
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// The bounds that were reached so far and ended something inside or refused it, and how often. Those of single processes
    /// are not among them: `cpu_time` shows as `SIGXCPU`, `open_files` as `EMFILE`, a full `/tmp` as `ENOSPC`.
    #[must_use]
    pub fn limits_reached(&self) -> BTreeMap<Limit, u64> {
        self.ground.limits.reached()
    }

    pub(crate) fn limits(&self) -> &Limiter {
        &self.ground.limits
    }

    /// The pidfd of the sandbox's pid 1: readable when everything inside has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.first.pidfd.as_fd()
    }

    /// What commands have left in the workspace so far that makes a program outside run or write something for them. Looks
    /// once at each directory of the workspace; those on paths that were writable besides are looked at where the plan has
    /// patterns.
    #[must_use]
    pub fn traps(&self) -> Vec<Trap> {
        traps::look(self.plan())
    }

    /// Ends everything inside and waits until nothing runs there any more; what it has left can still be asked for.
    pub fn end(&self) {
        self.kill();
        if self.is_emptied() {
            // Pid 1 has nothing to do any more but to end. Where it waits for our processor it goes first: its mounts are in the
            // way when what was reserved is removed.
            thread::yield_now();
        } else {
            let mut gone = [PollFd::new(self.pidfd(), PollFlags::POLLIN)];
            while poll(&mut gone, PollTimeout::NONE) == Err(Errno::EINTR) {}
        }
    }

    fn kill(&self) {
        ending::end(self.restricted.is_none().then(|| self.first.pidfd.as_fd()), &self.ground.control);
    }

    /// Ends everything inside and waits until it is gone.
    pub fn shut_down(self) {
        drop(self);
    }

    /// As [`shut_down`](Self::shut_down), for a process that is about to end itself: when its one command has left nothing
    /// behind, the kernel takes the mounts down without anybody who waits for it. Pid 1 may end a few tenths of a millisecond
    /// later then, as a child of whoever collects orphans.
    pub fn leave(mut self) {
        // Kernels before 6.11 let go of a filter when its last task is collected, and whoever answers for it waits for that.
        self.leaving = self.is_emptied() && self.supervisor.is_none();
        if self.leaving && self.restricted.is_none() && self.ground.limits.groups().places().is_empty() {
            // The end of the process lets go of everything else, and the sweeper waits for it.
            ManuallyDrop::new(self).empty();
        }
    }

    fn is_emptied(&self) -> bool {
        self.ground.emptied.load(Ordering::Acquire)
    }

    /// Ends everything inside and takes away what was reserved.
    fn empty(&mut self) {
        // The kernel ends the rest with pid 1, and reports it last (pid_namespaces(7)).
        self.kill();
        self.ground.limits.stop();
        // Removing a reservation also lifts the mount on it, so nobody may be inside then.
        if !self.is_emptied() {
            self.first.reap();
        }
        reserve::release(&self.reserved);
    }

    /// The number of pid 1 on the host.
    pub(crate) fn first(&self) -> i32 {
        self.first.pid
    }

    /// The private directory of a sandbox without namespaces.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.restricted.as_ref().map(Restricted::place)
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// The root directory of what runs inside, as the host names it.
    pub(crate) fn root(&self) -> PathBuf {
        match self.restricted {
            None => format!("/proc/{}/root", self.first.pid).into(),
            Some(_) => "/".into(),
        }
    }

    pub(crate) fn control(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.ground.control)
    }

    /// Whether calls of what runs inside wait for somebody here, whom pid 1's children inherit.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }

    pub(crate) fn why_ended(&self) -> &'static str {
        if self.ground.limits.hits().end().is_some() {
            return "a limit was reached for which everything inside is ended";
        }
        let guard = self.guard.as_ref().and_then(Guard::failed);
        let guard = guard.or(self.history.as_ref().and_then(Living::failed));
        guard.or(self.supervisor.as_ref().and_then(Supervisor::failed)).unwrap_or("its pid 1 is gone")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.empty();
        if !self.leaving {
            self.first.reap();
        }
        drop(self.supervisor.take());
        drop(self.restricted.take());
    }
}

/// Who removes what is about to be reserved, and control groups, and closes the watch; nobody when there is nothing to do.
fn sweeper(
    resident: &OwnedFd,
    watch: Option<&Beginning>,
    reserved: &[Reservation],
    limits: &Limiter,
) -> Result<Option<Sweeper>> {
    let groups = limits.groups().places();
    let nothing = watch.is_none() && reserved.is_empty() && groups.is_empty();
    (!nothing).then(|| Sweeper::start(resident, watch.map(AsFd::as_fd), reserved, &groups)).transpose()
}

/// The ends of the opener's socket, where opens are judged.
fn opener(plan: &Plan) -> Result<Option<strict::Ends>> {
    plan.deny_read_strict.then(|| strict::Ends::new(landlocked::suffices_here())).transpose()
}

/// Lets the opening go on as the plan wants it, as far as nothing has to be reserved for that.
fn begin(
    plan: &Plan,
    opening: Opening,
    descriptors: &mut Descriptors,
    opener: Option<&strict::Ends>,
    entrance: Entrance,
    edit: impl FnOnce(&mut Program),
) -> Result<Going> {
    let ends = Ends { opener: opener.map(strict::Ends::passed), ..descriptors.ends() };
    let group = entrance.group;
    let steps = compile::compile(plan, &ends, entrance, std::mem::take(&mut descriptors.laid))?;
    opening.go_on(steps, Arc::clone(&descriptors.control), group, edit)
}

/// What is done beside a child that becomes pid 1: the watch is completed, and the first command asked for, if it can be.
fn meanwhile(
    ground: &Ground,
    watch: Option<Beginning>,
    first: Option<&First<'_>>,
    going: Going,
) -> (Watched, Result<Option<Asked>>, Stands) {
    let Plan { watched, links, .. } = &ground.plan;
    let complete = || watch.map(|watch| watch.complete(watched, links)).transpose();
    if watched.len() >= MANY_WATCHED {
        let (watch, stands) = threads::beside(complete, || going.stands());
        return (watch, Ok(None), stands);
    }
    let watch = complete();
    // Pid 1 finds it waiting when it begins, so that nobody has to wake it for that. By then all is watched.
    let first = first.filter(|_| watch.is_ok());
    let asked = first.map(|first| first.command(Command::before(ground, first.program)).ask_early());
    (watch, asked.transpose().map(Option::flatten), going.stands())
}

/// A mount too many, said as such.
fn reword(plan: &Plan, failed: Failed) -> Failed {
    match failed {
        Failed::Otherwise(Error::Setup { source, .. }) if source.raw_os_error() == Some(libc::ENOSPC) => {
            Failed::Otherwise(mounts::too_many(plan, "fewer mounts in one namespace"))
        }
        failed => failed,
    }
}

/// The way into the control groups of a sandbox.
pub(crate) fn entrance(limits: &Limiter) -> Entrance {
    let groups = limits.groups();
    Entrance { group: groups.unified().map(|group| group.as_raw_fd()), doors: groups.doors().collect() }
}

/// Starts a program in new namespaces of these kinds and waits until it stands.
pub(crate) fn run(program: &mut Program, namespaces: i32) -> std::result::Result<Started, Failed> {
    let started = launch::launch(program, namespaces as u64);
    stand(started, program.fault(), namespaces)
}

/// What came of starting a program.
pub(crate) fn stand(
    started: io::Result<Started>,
    fault: Option<Fault>,
    namespaces: i32,
) -> std::result::Result<Started, Failed> {
    let refused = |error: io::Error| match error.raw_os_error() {
        // What is short for a moment says nothing about namespaces, and nothing weaker may come of it.
        Some(libc::EAGAIN) => {
            let step = "start a process: too many run already (RLIMIT_NPROC, or pids.max of a control group),".into();
            Error::Setup { step, source: error }.into()
        }
        Some(errno) if namespaces != 0 && errno != libc::ENOMEM => Failed::Namespaces(errno),
        _ => Error::Setup { step: "start a process".into(), source: error }.into(),
    };
    let started = started.map_err(refused)?;
    let Some(Fault { step, errno, early }) = fault else { return Ok(started) };
    started.reap();
    // New namespaces without the rights that belong to them, as AppArmor and containers have it: then the first steps, which
    // touch nothing of the host's, are refused.
    if namespaces != 0 && early && matches!(errno, libc::EPERM | libc::EACCES) {
        return Err(Failed::Namespaces(errno));
    }
    Err(Error::Setup { step, source: io::Error::from_raw_os_error(errno) }.into())
}

fn report(plan: &Plan, enforced: &mut Enforced) {
    enforced.holds(Protection::Namespaces, "user, mount, pid, network, ipc, uts, cgroup");
    let Net::None = plan.net;
    enforced.holds(
        Protection::MountView,
        format!(
            "{} mounts, {} masks, {} protected names, no network",
            plan.view.len(),
            plan.masks.len(),
            plan.kept.len()
        ),
    );
    enforced.holds(
        Protection::Seccomp,
        "namespaces, mounts, keyrings, io_uring, terminal input and kernel surface refused",
    );
    enforced.masked = plan.masked().map(Path::to_owned).collect();
}

/// What is known of a plan before anything was applied.
fn remarks(plan: &Plan) -> Enforced {
    Enforced { uncovered: plan.uncovered.clone(), warnings: plan.warnings.clone(), ..Enforced::default() }
}

#[cfg(test)]
mod tests;
