//! The memory limit where no control group is delegated: a watcher that adds up what the processes inside hold and kills
//! the largest when it is too much, as the kernel's OOM killer would. Resource limits cannot do this: RLIMIT_AS breaks
//! every runtime that reserves address space, RLIMIT_DATA counts thread stacks nobody touched.

use crate::error::{Error, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often memory is added up: what can be taken in between is the overshoot.
const EVERY: Duration = Duration::from_millis(40);

/// Watches one sandbox until dropped.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    killed: Arc<AtomicU32>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Watches everything below pid 1 of a sandbox, whose number on the host is `first`. `limit` is in bytes.
    pub(crate) fn start(first: i32, limit: u64) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let page =
            sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok()).unwrap_or(4096);
        let killed = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&killed);
        let watch = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if enforce(first, limit / page) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let thread =
            thread::Builder::new().name("memory".into()).spawn(watch).map_err(Error::io("start the memory watch"))?;
        Ok(Self { killed, stop: Some(stop), thread: Some(thread) })
    }

    /// How many processes were killed so far.
    pub(crate) fn killed(&self) -> u32 {
        self.killed.load(Ordering::Relaxed)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // The watcher does not panic; there is nothing to undo if it did.
        }
    }
}

/// Whether a process was killed because all together hold more than `limit` pages.
fn enforce(first: i32, limit: u64) -> bool {
    let mut held: Vec<(u64, i32)> = descendants(first).into_iter().map(|pid| (own_pages(pid), pid)).collect();
    let total: u64 = held.iter().map(|(pages, _)| pages).sum();
    held.sort_unstable();
    match held.pop() {
        // It may have ended by itself.
        Some((_, largest)) if total > limit => kill(Pid::from_raw(largest), Signal::SIGKILL).is_ok(),
        _ => false,
    }
}

/// Everything below `first`; orphans inside become children of pid 1, so nothing escapes this walk (proc_pid_task(5)).
fn descendants(first: i32) -> Vec<i32> {
    let (mut found, mut open) = (Vec::new(), vec![first]);
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

/// Resident pages that the process does not share (proc_pid_statm(5)).
fn own_pages(pid: i32) -> u64 {
    let read = || -> io::Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let mut fields = statm.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
        Ok(fields.next().unwrap_or(0).saturating_sub(fields.next().unwrap_or(0)))
    };
    read().unwrap_or(0)
}
