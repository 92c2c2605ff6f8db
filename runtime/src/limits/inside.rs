//! The processes of a sandbox, seen from the host.

use super::hit::{Hits, Limit};
use crate::ending::Ending;
use std::{fs, os::unix::fs::MetadataExt, sync::Arc};

/// A sandbox to be watched. Whoever holds one must be gone before pid 1 is reaped: until then its number is its own.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    /// Pid 1, by its number on the host.
    pub(crate) first: i32,
    pub(crate) hits: Arc<Hits>,
    pub(crate) ending: Arc<Ending>,
}

impl Inside {
    /// Everything below pid 1; orphans inside become its children, so nothing escapes this walk (proc_pid_task(5)).
    pub(crate) fn processes(&self) -> Vec<i32> {
        let (mut found, mut open) = (Vec::new(), vec![self.first]);
        while let Some(pid) = open.pop() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                let children: Vec<i32> = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect();
                found.extend(&children);
                open.extend(children);
            }
        }
        found
    }

    /// Those of them that are none of ours, which nobody may look into: ours execute what pid 1 does.
    pub(crate) fn commands(&self) -> Vec<i32> {
        let program = |pid: i32| {
            let found = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
            Some((found.dev(), found.ino()))
        };
        let own = program(self.first);
        self.processes().into_iter().filter(|pid| own.is_none() || program(*pid) != own).collect()
    }

    /// Ends everything inside.
    pub(crate) fn end(&self, limit: Limit) {
        self.hits.ended(limit);
        self.ending.end();
    }
}
