//! The memory limit where no control group can hold it: a watcher that adds up what the processes inside hold and kills
//! the largest when it is too much, as the kernel's OOM killer would. Resource limits cannot do this: RLIMIT_AS breaks
//! every runtime that reserves address space, RLIMIT_DATA counts thread stacks nobody touched.

use super::{
    held,
    hit::Limit,
    inside::Inside,
    ticker::{Ticker, pause},
};
use crate::{error::Result, proc};
use nix::{
    sys::{
        signal::{Signal, kill},
        statvfs::statvfs,
    },
    unistd::Pid,
};
use std::{
    collections::HashMap,
    fs, mem,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Bytes a second that memory can be taken at, by all processors of a large machine.
const RATE: u64 = 8 << 30;

/// Watches what is below pid 1. `scratch` are the file systems in memory, as they are called inside.
pub(super) fn watch(inside: Inside, limit: u64, scratch: &[PathBuf]) -> Result<Ticker> {
    let root = PathBuf::from(format!("/proc/{}/root", inside.first));
    let scratch = scratch.iter().map(|path| root.join(path.strip_prefix("/").unwrap_or(path))).collect();
    let mut memory = Memory { inside, limit, scratch, before: host_shared(), hidden: false };
    Ticker::start("memory", move || Some(memory.look()))
}

struct Memory {
    inside: Inside,
    limit: u64,
    scratch: Vec<PathBuf>,
    /// What the whole host held in shared memory before.
    before: u64,
    /// The last look found that something could not be looked at.
    hidden: bool,
}

impl Memory {
    /// Adds up, kills when it is too much; when to look again.
    fn look(&mut self) -> Duration {
        let hidden = mem::take(&mut self.hidden);
        let mut held: Vec<(u64, i32)> = self.inside.processes().into_iter().map(|pid| (own(pid), pid)).collect();
        let own: u64 = held.iter().map(|(bytes, _)| bytes).sum();
        // What the host as a whole has more of bounds what is inside; only when that is too much it pays to look closer.
        let more = host_shared().saturating_sub(self.before);
        if own + more <= self.limit {
            return pause(self.limit - own - more, RATE);
        }
        let (found, hides) = self.shared();
        self.hidden = hides;
        // Then it may be anything. Descriptors are on their way for a moment in any program, so it takes two looks.
        let shared = if hidden && hides { more } else { more.min(found) };
        if own + shared <= self.limit {
            return pause(self.limit - own - shared, RATE);
        }
        held.sort_unstable();
        match held.pop() {
            // It may have ended by itself.
            Some((_, largest)) if own >= shared => {
                if kill(Pid::from_raw(largest), Signal::SIGKILL).is_ok() {
                    self.inside.hits.reached(Limit::Memory);
                }
            }
            // Files in memory outlive every process but pid 1.
            _ => self.inside.end(Limit::Memory),
        }
        pause(0, RATE)
    }

    /// Bytes in the file systems in memory, and of memory that processes share without a name, some of which may count twice; and
    /// whether there may be more that cannot be looked at.
    fn shared(&self) -> (u64, bool) {
        let (mut unnamed, mut mapped, mut hidden) = (HashMap::new(), 0, false);
        for pid in self.inside.commands() {
            mapped += of_living(pid, shared_pages);
            hidden |= held::look(pid, |link, found| {
                if found.nlink() == 0 && is_in_memory(link) {
                    unnamed.insert(found.ino(), found.blocks() * 512);
                }
            });
        }
        let scratch: u64 = self.scratch.iter().map(|path| used(path)).sum();
        (scratch + mapped + unnamed.values().sum::<u64>(), hidden)
    }
}

/// Bytes that the process shares with nothing, resident or swapped out (proc_pid_status(5)).
fn own(pid: i32) -> u64 {
    of_living(pid, |thread| {
        let status = proc::text(format!("/proc/{thread}/status")).unwrap_or_default();
        kilobytes(&status, "RssAnon:") + kilobytes(&status, "VmSwap:")
    })
}

/// What one of the threads of a process says of their memory: those that have ended say nothing.
fn of_living(pid: i32, bytes: impl Fn(i32) -> u64) -> u64 {
    match bytes(pid) {
        0 => proc::threads(format!("/proc/{pid}")).map(bytes).find(|bytes| *bytes > 0).unwrap_or(0),
        bytes => bytes,
    }
}

/// What the host holds in shared memory and in file systems in memory (proc_meminfo(5)).
fn host_shared() -> u64 {
    kilobytes(&proc::text("/proc/meminfo").unwrap_or_default(), "Shmem:")
}

/// A process's part of the memory it maps together with others (proc_pid_smaps_rollup(5)).
fn shared_pages(thread: i32) -> u64 {
    kilobytes(&proc::text(format!("/proc/{thread}/smaps_rollup")).unwrap_or_default(), "Pss_Shmem:")
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok());
    value.unwrap_or(0) * 1024
}

/// Whether it is a file without a name in memory (memfd_create(2)).
fn is_in_memory(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
}

fn used(path: &Path) -> u64 {
    statvfs(path).map_or(0, |found| (found.blocks() - found.blocks_free()) * found.fragment_size())
}
