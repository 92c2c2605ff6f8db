//! The memory limit where no control group can hold it: a watcher that adds up what the processes inside hold and kills
//! the largest when it is too much, as the kernel's OOM killer would. Resource limits cannot do this: RLIMIT_AS breaks
//! every runtime that reserves address space, RLIMIT_DATA counts thread stacks nobody touched.

use super::{
    hit::Limit,
    inside::Inside,
    ticker::{Ticker, pause},
};
use crate::error::Result;
use nix::{
    sys::{
        signal::{Signal, kill},
        statvfs::statvfs,
    },
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Bytes a second that memory can be taken at, by all processors of a large machine.
const RATE: u64 = 8 << 30;

/// Watches what is below pid 1. `scratch` are the file systems in memory, as they are called inside.
pub(super) fn watch(inside: Inside, limit: u64, scratch: &[PathBuf]) -> Result<Ticker> {
    let root = PathBuf::from(format!("/proc/{}/root", inside.first));
    let scratch = scratch.iter().map(|path| root.join(path.strip_prefix("/").unwrap_or(path))).collect();
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok());
    let memory = Memory { inside, limit, scratch, page: page.unwrap_or(4096), before: host_shared() };
    Ticker::start("memory", move || Some(memory.look()))
}

struct Memory {
    inside: Inside,
    limit: u64,
    scratch: Vec<PathBuf>,
    page: u64,
    /// What the whole host held in shared memory before.
    before: u64,
}

impl Memory {
    /// Adds up, kills when it is too much; when to look again.
    fn look(&self) -> std::time::Duration {
        let mut held: Vec<(u64, i32)> = self.inside.processes().into_iter().map(|pid| (self.own(pid), pid)).collect();
        let own: u64 = held.iter().map(|(bytes, _)| bytes).sum();
        // What the host as a whole has more of bounds what is inside; only when that is too much it pays to look closer.
        let more = host_shared().saturating_sub(self.before);
        if own + more <= self.limit {
            return pause(self.limit - own - more, RATE);
        }
        let shared = more.min(self.shared(held.iter().map(|(_, pid)| *pid)));
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

    /// Resident bytes that the process shares with nothing (proc_pid_statm(5)).
    fn own(&self, pid: i32) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut fields = statm.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
        let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        resident.saturating_sub(shared) * self.page
    }

    /// Bytes in the file systems in memory, and of memory that processes share without a name. Some may count twice.
    fn shared(&self, processes: impl Iterator<Item = i32>) -> u64 {
        let mut unnamed = HashMap::new();
        let mut mapped = 0;
        for pid in processes {
            mapped += shared_pages(pid);
            unnamed.extend(memory_files(pid));
        }
        let scratch: u64 = self.scratch.iter().map(|path| used(path)).sum();
        scratch + mapped + unnamed.values().sum::<u64>()
    }
}

/// What the host holds in shared memory and in file systems in memory (proc_meminfo(5)).
fn host_shared() -> u64 {
    kilobytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "Shmem:")
}

/// The process's part of the memory it maps together with others (proc_pid_smaps_rollup(5)).
fn shared_pages(pid: i32) -> u64 {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default(), "Pss_Shmem:")
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok());
    value.unwrap_or(0) * 1024
}

/// Bytes by inode of the files without a name in memory that a process has open (memfd_create(2)).
fn memory_files(pid: i32) -> Vec<(u64, u64)> {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let paths = open.flatten().map(|entry| entry.path());
    paths
        .filter(|path| {
            fs::read_link(path).is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
        })
        .filter_map(|path| fs::metadata(path).ok().map(|found| (found.ino(), found.blocks() * 512)))
        .collect()
}

fn used(path: &Path) -> u64 {
    statvfs(path).map_or(0, |found| (found.blocks() - found.blocks_free()) * found.fragment_size())
}
