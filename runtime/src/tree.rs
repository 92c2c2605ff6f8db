//! What a command has started, as the sandbox's own `/proc` shows it (proc_pid_stat(5)), and its end.

use crate::{
    error::{Error, Result},
    proc, socket,
    sys::wire::{Request, SIGNAL_ONE},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long something that starts processes all the time is tried to be stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command's first process, and the sandbox it runs in.
#[derive(Clone, Copy)]
pub(crate) struct Leader<'a> {
    /// The socket of the init that started it.
    pub(crate) control: &'a OwnedFd,
    /// The root of what it sees, as the host names it.
    pub(crate) root: &'a Path,
    /// Its number inside.
    pub(crate) pid: i32,
    pub(crate) pidfd: BorrowedFd<'a>,
}

impl Leader<'_> {
    /// Kills it and everything it has started, itself last: whoever waits for its end finds nothing left that could go on. What
    /// has left its session and lost its parent (a daemon) belongs to nobody any more and is not found.
    ///
    /// # Errors
    /// [`Error::Ended`], or [`Error::Io`] when something starts processes faster than they can be stopped: what was found is
    /// killed all the same.
    pub(crate) fn kill_tree(self) -> Result<()> {
        let (processes, begin, mut told) = (Processes::of(self.root), Instant::now(), BTreeSet::new());
        // Stopped first: what stands still cannot start anything that the next look would miss.
        while begin.elapsed() < PATIENCE {
            let tree = processes.tree(self.pid, self.has_ended(PollTimeout::ZERO));
            // Once everybody, also who waits for something and would move after that.
            let due: Vec<i32> =
                tree.living.iter().copied().filter(|pid| told.insert(*pid) || tree.moving.contains(pid)).collect();
            if due.is_empty() {
                return self.kill(&tree.living);
            }
            self.signal(&due, libc::SIGSTOP)?;
            // They stop when they are next scheduled.
            self.has_ended(PollTimeout::from(1u8));
        }
        self.kill(&processes.tree(self.pid, false).living)?;
        Err(Error::Io { doing: "stop everything that the command starts", source: io::ErrorKind::TimedOut.into() })
    }

    /// Whether it has, told or not.
    pub(crate) fn has_ended(self, wait: PollTimeout) -> bool {
        let mut ended = [PollFd::new(self.pidfd, PollFlags::POLLIN)];
        poll(&mut ended, wait).is_ok_and(|ready| ready > 0)
    }

    fn kill(self, living: &[i32]) -> Result<()> {
        let rest: Vec<i32> = living.iter().copied().filter(|pid| *pid != self.pid).collect();
        self.signal(&rest, libc::SIGKILL)?;
        // Found or not: while its descriptor says that it lives, the number is its own.
        if self.has_ended(PollTimeout::ZERO) { Ok(()) } else { self.signal(&[self.pid], libc::SIGKILL) }
    }

    fn signal(self, processes: &[i32], value: i32) -> Result<()> {
        processes.iter().try_for_each(|pid| {
            let request = Request { op: SIGNAL_ONE, id: pid.unsigned_abs(), value, ..Request::default() };
            socket::send(self.control.as_fd(), &request, &[], &[])
        })
    }
}

/// A process inside.
struct Process {
    parent: i32,
    session: i32,
    /// Of each of its threads: the first one may have ended while others go on, and be stopped before the others are.
    states: Vec<char>,
}

impl Process {
    fn lives(&self) -> bool {
        self.states.iter().any(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Whether it could still start another one. A parent that waits for its vfork(2) child shows D, and moves only when that
    /// one does.
    fn moves(&self) -> bool {
        self.states.iter().any(|state| !matches!(state, 'Z' | 'X' | 'T' | 't' | 'D'))
    }
}

/// The processes of one sandbox, by their numbers inside.
struct Processes {
    proc: PathBuf,
}

/// What was found of one command.
struct Tree {
    /// Every process that is not dead.
    living: Vec<i32>,
    /// Those of them that can still start another one.
    moving: Vec<i32>,
}

impl Processes {
    /// `root` is the root of the sandbox as the host names it.
    fn of(root: &Path) -> Self {
        Self { proc: root.join("proc") }
    }

    /// Everything below the process with number `leader`, and everything in the session it leads. What has left the
    /// session and lost its parent is not found. `ended` says that the leader has: then a living process of that number is
    /// another one, and so is its session.
    fn tree(&self, leader: i32, ended: bool) -> Tree {
        let mut all = self.all();
        if ended && all.get(&leader).is_some_and(Process::lives) {
            all.clear();
        }
        let belongs = |pid: i32| {
            let mut at = pid;
            // No chain is longer than all of them: read one after the other, numbers used again could make a circle.
            for _ in 0..all.len() {
                match all.get(&at) {
                    Some(process) if at == leader || process.session == leader => return true,
                    Some(process) => at = process.parent,
                    None => return false,
                }
            }
            false
        };
        let found: Vec<(&i32, &Process)> =
            all.iter().filter(|(pid, process)| process.lives() && belongs(**pid)).collect();
        Tree {
            living: found.iter().map(|(pid, _)| **pid).collect(),
            moving: found.iter().filter(|(_, process)| process.moves()).map(|(pid, _)| **pid).collect(),
        }
    }

    fn all(&self) -> BTreeMap<i32, Process> {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers.filter_map(|pid| Some((pid, self.process(pid)?))).collect()
    }

    fn process(&self, pid: i32) -> Option<Process> {
        let directory = self.proc.join(pid.to_string());
        let stat = proc::text(directory.join("stat")).ok()?;
        let mut fields = proc::fields(&stat)?.skip(1);
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        Some(Process { parent, session, states: states(&directory) })
    }
}

/// The states of a process's threads, of those that are still there.
fn states(process: &Path) -> Vec<char> {
    let state = |thread: i32| {
        let stat = proc::text(process.join(format!("task/{thread}/stat"))).ok()?;
        proc::fields(&stat)?.next()?.chars().next()
    };
    proc::threads(process).filter_map(state).collect()
}
