//! Which process runs a held action, and whether it is still there.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process for as long as it lives: its number alone may be used again, together with its start and the boot it may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Process number, as this host sees it.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start: u64,
    /// The boot it runs in (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

impl Runner {
    /// The process with this number, if it lives and can be seen from here.
    #[must_use]
    pub fn of_pid(pid: u32) -> Option<Self> {
        Some(Self { pid, start: start_of(pid)?, boot: boot_id()? })
    }

    /// Whether exactly this process still lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_of(self.pid) == Some(self.start) && boot_id().as_deref() == Some(&self.boot)
    }
}

/// The start time of a live process; `None` for a zombie too, which runs nothing any more.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name in parentheses may be any bytes, spaces and parentheses too: count from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_even_as_a_zombie() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let runner = Runner::of_pid(child.id()).unwrap();
        assert!(runner.is_alive());
        assert!(!Runner { start: runner.start + 1, ..runner.clone() }.is_alive(), "a later process of the same number");
        assert!(!Runner { boot: "another".into(), ..runner.clone() }.is_alive(), "the same number after a reboot");
        child.kill().unwrap();
        // Not waited for: it stays a zombie until the end of this test, or is still dying for a moment.
        while runner.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!runner.is_alive());
    }

    #[test]
    fn a_name_may_be_any_bytes() {
        let place = tempfile::tempdir().unwrap();
        let named = place.path().join(OsStr::from_bytes(b") \xff"));
        fs::copy("/bin/cat", &named).unwrap();
        let mut child = Command::new(named).stdin(Stdio::piped()).spawn().unwrap();
        assert!(Runner::of_pid(child.id()).unwrap().is_alive());
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}
