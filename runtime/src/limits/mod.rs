//! The bounds of one sandbox: who holds each of them, and what happens when one is reached.
//!
//! The kernel holds what it can: control groups where one can be made, resource limits, sizes of file systems, the pid
//! namespace. What it cannot hold for this user is watched from outside. [`Enforced`] says which it is.

mod deadline;
mod disk;
mod growth;
mod held;
mod hit;
mod inside;
mod memory;
mod output;
mod ticker;

pub(crate) use hit::Hits;
pub use hit::Limit;
pub(crate) use output::Budget;

use crate::{
    cgroup::{Controller, Groups, Hierarchies, Parent, Version},
    child::Origin,
    compile::SPARE,
    ending::Ending,
    enforced::{Enforced, Protection},
    error::{Error, Result},
    plan::{Access, Limits, Mount, Plan},
    probe, view,
};
use deadline::Deadlines;
use inside::Inside;
use nix::unistd::geteuid;
use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};
use ticker::Ticker;

/// The kernel's own minimum for `pid_max` of a namespace.
pub(crate) const LEAST_PID_MAX: u64 = 301;

/// Files that a private file system may hold when nobody says otherwise; each takes the kernel about a kilobyte.
const SCRATCH_FILES: u64 = 1 << 20;

/// What a sandbox is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Namespaces,
    Landlock,
}

/// Holds the bounds of one sandbox.
#[derive(Debug)]
pub(crate) struct Limiter {
    groups: Groups,
    before: Option<disk::Before>,
    hits: Arc<Hits>,
    tickers: Vec<Ticker>,
    deadlines: Option<Deadlines>,
}

impl Limiter {
    /// Makes what has to be there before the sandbox is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a bound that nothing can hold here and that may not be missing.
    pub(crate) fn prepare(plan: &Plan, enforced: &mut Enforced, backend: Backend) -> Result<Self> {
        let limits = &plan.limits;
        let groups = Groups::make(&wanted(limits, backend));
        let mut report = Report { plan, enforced };
        report.memory(limits, &groups);
        if backend == Backend::Namespaces {
            report.processes(limits, &groups)?;
            report.scratch(limits);
        }
        report.processors(limits, &groups)?;
        report.resources(limits);
        let before = report.disk(limits)?;
        let hits = Arc::default();
        Ok(Self { groups, before, hits, tickers: Vec::new(), deadlines: None })
    }

    /// A directory of the host that is writable inside although the plan does not show it.
    pub(crate) fn also_writable(&mut self, directory: &Path) -> Result<()> {
        self.before.as_mut().map_or(Ok(()), |before| before.add(directory))
    }

    /// Begins to watch what the kernel does not hold. `first` is pid 1's number on the host.
    pub(crate) fn watch(&mut self, plan: &Plan, first: i32, ending: Arc<Ending>) -> Result<()> {
        let limits = &plan.limits;
        let scratch = if ending.is_of_namespaces() { scratch(plan) } else { Vec::new() };
        let inside = Inside { first, hits: Arc::clone(&self.hits), ending };
        if let Some(memory) = limits.memory.filter(|_| self.groups.holder(Controller::Memory).is_none()) {
            self.tickers.push(memory::watch(inside.clone(), memory, &scratch)?);
        }
        if let Some(before) = self.before.take() {
            self.tickers.push(before.watch(inside)?);
        }
        let deadlines = limits.wall_time.map(|limit| Deadlines::start(limit, Arc::clone(&self.hits)));
        self.deadlines = deadlines.transpose()?;
        Ok(())
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Counts a command's time from now on. `pid` is its number inside.
    pub(crate) fn started(&self, pid: i32, pidfd: &OwnedFd, origin: &Origin) -> Result<()> {
        if let Some(deadlines) = &self.deadlines {
            let pidfd = pidfd.as_fd().try_clone_to_owned().map_err(Error::io("watch the time of a command"))?;
            deadlines.watch(pid, pidfd, Arc::clone(&origin.control), origin.root.clone());
        }
        Ok(())
    }

    pub(crate) fn hits(&self) -> &Arc<Hits> {
        &self.hits
    }

    /// What was reached so far, and how often.
    pub(crate) fn reached(&self) -> BTreeMap<Limit, u64> {
        let mut reached = self.hits.all();
        let groups = [(Limit::Memory, self.groups.killed_for_memory()), (Limit::Pids, self.groups.refused_processes())];
        for (limit, count) in groups.into_iter().filter(|(_, count)| *count > 0) {
            *reached.entry(limit).or_default() += count;
        }
        reached
    }

    /// Stops watching; to be called before pid 1 is reaped.
    pub(crate) fn stop(&mut self) {
        self.tickers.clear();
        self.deadlines = None;
    }
}

/// The bounds that a control group is to hold. The pid namespace bounds processes for less.
fn wanted(limits: &Limits, backend: Backend) -> Vec<(Controller, u64)> {
    let namespace = |pids: &u64| probe::namespace_bounds_processes() && *pids >= LEAST_PID_MAX;
    let grouped = limits.pids.filter(|pids| backend == Backend::Namespaces && !namespace(pids));
    let pids = grouped.map(|pids| (Controller::Pids, pids));
    let memory = limits.memory.map(|bytes| (Controller::Memory, bytes));
    let cpu = limits.milli_cpus.map(|share| (Controller::Cpu, share.into()));
    [memory, pids, cpu].into_iter().flatten().collect()
}

fn bounds(limits: &Limits) -> disk::Bounds {
    disk::Bounds { bytes: limits.disk, files: limits.files }
}

/// The file systems in memory that a sandbox can write.
fn scratch(plan: &Plan) -> Vec<PathBuf> {
    let private = plan.view.iter().filter_map(|mount| match mount {
        Mount::Private { path, access: Access::ReadWrite } => Some(path.clone()),
        _ => None,
    });
    view::SCRATCH.iter().map(PathBuf::from).chain(private).collect()
}

/// Files that each private file system may hold: those asked for, or as many as fit into its size one page each.
pub(crate) fn scratch_files(limits: &Limits) -> u64 {
    let fitting = limits.tmp.map_or(SCRATCH_FILES, |bytes| (bytes / 4096).clamp(1024, SCRATCH_FILES));
    limits.files.map_or(fitting, |files| files.clamp(16, fitting))
}

/// Says who holds what.
struct Report<'a> {
    plan: &'a Plan,
    enforced: &'a mut Enforced,
}

impl Report<'_> {
    /// An error, unless the protection may be missing.
    fn lacks(&mut self, protection: Protection, needs: &str) -> Result<()> {
        if !self.plan.allow_missing.contains(&protection) {
            return Err(Error::Unsupported { protection, needs: needs.into() });
        }
        self.enforced.missing(protection, needs);
        Ok(())
    }

    fn memory(&mut self, limits: &Limits, groups: &Groups) {
        let Some(bytes) = limits.memory else { return };
        let how = match groups.holder(Controller::Memory) {
            Some(version) => version.to_string(),
            None => "watched; the largest is killed".into(),
        };
        self.enforced.holds(Protection::MemoryLimit, format!("{bytes} bytes for all processes together ({how})"));
    }

    /// Root is exempt from RLIMIT_NPROC (setrlimit(2)), so only a group or the namespace bounds his processes.
    fn processes(&mut self, limits: &Limits, groups: &Groups) -> Result<()> {
        let Some(pids) = limits.pids else { return Ok(()) };
        let namespace = probe::namespace_bounds_processes();
        let (most, how) = match groups.holder(Controller::Pids) {
            Some(version) => (pids, version.to_string()),
            None if namespace => (pids.max(LEAST_PID_MAX), "pid_max of the namespace".into()),
            None if !geteuid().is_root() => {
                (pids.saturating_add(SPARE), "RLIMIT_NPROC of the user in the namespace".into())
            }
            None => {
                let needs = "root's processes can be limited since Linux 6.14, or with a control group that can be divided; \
                             run as an ordinary user";
                return self.lacks(Protection::ProcessLimit, needs);
            }
        };
        self.enforced.holds(Protection::ProcessLimit, format!("{most} at most ({how})"));
        Ok(())
    }

    fn processors(&mut self, limits: &Limits, groups: &Groups) -> Result<()> {
        let Some(share) = limits.milli_cpus else { return Ok(()) };
        let Some(version) = groups.holder(Controller::Cpu) else {
            let needs = "only a control group with the cpu controller shares processors; run under \
                         `systemd-run --user --scope -p Delegate=yes`";
            return self.lacks(Protection::CpuLimit, needs);
        };
        let share = f64::from(share) / 1000.0;
        self.enforced.holds(Protection::CpuLimit, format!("{share} processors for all together ({version})"));
        Ok(())
    }

    /// What resource limits, sizes of file systems and clocks hold everywhere.
    fn resources(&mut self, limits: &Limits) {
        if let Some(time) = limits.wall_time {
            self.enforced.holds(Protection::TimeLimit, format!("{time:?} for each command (watched)"));
        }
        if let Some(time) = limits.cpu_time {
            self.enforced.holds(Protection::TimeLimit, format!("{time:?} of processor for each process (RLIMIT_CPU)"));
        }
        if let Some(files) = limits.open_files {
            self.enforced.holds(Protection::OpenFilesLimit, format!("{files} for each process (RLIMIT_NOFILE)"));
        }
        if let Some(bytes) = limits.output {
            self.enforced.holds(Protection::OutputLimit, format!("{bytes} bytes of each command (counted in a pipe)"));
        }
    }

    fn scratch(&mut self, limits: &Limits) {
        if let Some(bytes) = limits.tmp {
            let files = scratch_files(limits);
            let text = format!("{bytes} bytes and {files} files in each private file system (size of the tmpfs)");
            self.enforced.holds(Protection::ScratchLimit, text);
        }
    }

    /// Looks at the writable file systems of the host when there is a bound on what may be added to them.
    fn disk(&mut self, limits: &Limits) -> Result<Option<disk::Before>> {
        let bounds = bounds(limits);
        if bounds.bytes.is_none() && bounds.files.is_none() {
            return Ok(None);
        }
        let writable = self.plan.view.iter().filter_map(|mount| match mount {
            Mount::Bind { path, access: Access::ReadWrite } => Some(path.as_path()),
            _ => None,
        });
        let before = disk::Before::look(disk::writable(writable), bounds)?;
        if bounds.files.is_some() && before.uncounted() {
            let needs = "the file system of a writable path does not count its files; set `disk` instead of `files`";
            self.lacks(Protection::DiskLimit, needs)?;
        }
        let parts = [(bounds.bytes, "bytes"), (bounds.files, "files")];
        let parts = parts.iter().filter_map(|(bound, what)| bound.map(|bound| format!("{bound} {what}")));
        let parts = parts.collect::<Vec<_>>().join(" and ");
        let text = format!("{parts} more on the host's file systems (watched; everything inside is ended)");
        self.enforced.holds(Protection::DiskLimit, text);
        Ok(Some(before))
    }
}

/// Who would hold a bound here, of those for which that depends on the host; `None` where nothing can.
pub(crate) fn holder(controller: Controller) -> Option<String> {
    let group = Hierarchies::read().parent(controller).map(|parent| match parent {
        Parent::Unified(path) => format!("{} below {}", Version::Two, path.display()),
        Parent::Single(path) => format!("{} below {}", Version::One, path.display()),
    });
    match controller {
        Controller::Memory => group.or_else(|| Some("a watcher, which kills the largest process".into())),
        Controller::Pids if probe::namespace_bounds_processes() => Some("pid_max of the namespace".into()),
        Controller::Pids => group.or_else(|| (!geteuid().is_root()).then(|| "RLIMIT_NPROC of the user".into())),
        Controller::Cpu => group,
    }
}
