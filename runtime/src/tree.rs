//! What a command has started, as the sandbox's own `/proc` shows it (proc_pid_stat(5)).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A process inside.
struct Process {
    parent: i32,
    session: i32,
    state: char,
}

/// The processes of one sandbox, by their numbers inside.
pub(crate) struct Processes {
    proc: PathBuf,
}

/// What was found of one command.
pub(crate) struct Tree {
    /// Every process that is not dead.
    pub(crate) living: Vec<i32>,
    /// Those of them that can still start another one.
    pub(crate) moving: Vec<i32>,
}

impl Processes {
    /// `root` is the root of the sandbox as the host names it.
    pub(crate) fn of(root: &Path) -> Self {
        Self { proc: root.join("proc") }
    }

    /// Everything below the process with number `leader`, and everything in the session it leads. What has left the
    /// session and lost its parent is not found. `ended` says that the leader has: then a living process of that number is
    /// another one, and so is its session.
    pub(crate) fn tree(&self, leader: i32, ended: bool) -> Tree {
        let alive = |process: &Process| !matches!(process.state, 'Z' | 'X');
        let mut all = self.all();
        if ended && all.get(&leader).is_some_and(alive) {
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
            all.iter().filter(|(pid, process)| alive(process) && belongs(**pid)).collect();
        // A parent that waits for its vfork(2) child shows D, and moves only when that one does.
        let moving = |process: &Process| !matches!(process.state, 'T' | 't' | 'D');
        Tree {
            living: found.iter().map(|(pid, _)| **pid).collect(),
            moving: found.iter().filter(|(_, process)| moving(process)).map(|(pid, _)| **pid).collect(),
        }
    }

    fn all(&self) -> BTreeMap<i32, Process> {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers.filter_map(|pid| Some((pid, self.process(pid)?))).collect()
    }

    fn process(&self, pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(self.proc.join(format!("{pid}/stat"))).ok()?;
        // The name in parentheses may hold spaces and parentheses itself: count from the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Process { parent, session: fields.nth(1)?.parse().ok()?, state })
    }
}
