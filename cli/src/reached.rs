//! What is said of a command that reached a limit: which one, its value, and where that was written.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use holdpoint_policy::{Limits, Size, Sourced, Time};
use holdpoint_runtime::Limit;
use nix::sys::signal::Signal;

use crate::attend::{Ended, Finished};
use crate::session::Rights;

/// A limit that was reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Its key in the configuration, or its flag in the same letters, as hooks are told.
    pub(crate) key: &'static str,
    /// One line for a person; what is foreign in it is not encoded yet.
    pub(crate) line: String,
}

/// The limits that a finished command reached, of the configuration and of its own, in the order in which the configuration is
/// documented.
pub(crate) fn of(finished: &Finished, limits: &Limits, rights: &Rights) -> Vec<Reached> {
    let hit = |limit| finished.reached.contains(&limit);
    let signalled = |signal| ended_by(finished, signal);
    let own_time = lower(rights.cpu_time(), &limits.cpu_time).map(|time| format!("--cpu-time {}", Time(time)));
    let own_size = lower(rights.file_size(), &limits.disk).map(|bytes| format!("--file-size {}", Size(bytes)));
    let (time, size) = (signalled(Signal::SIGXCPU), signalled(Signal::SIGXFSZ));
    let computed = "killed: a process computed longer than";
    let grown = "killed: a file was to become larger than";
    let candidates = [
        (
            hit(Limit::Memory),
            "memory",
            "killed: what runs inside held more memory than",
            written(&limits.memory, in_bytes),
        ),
        (hit(Limit::Pids), "pids", "refused to start more processes than", written(&limits.pids, u64::to_string)),
        // In a session it may have been another command's time.
        (
            hit(Limit::WallTime) && (finished.ended == Ended::OutOfTime || signalled(Signal::SIGKILL)),
            "wall_time",
            "killed: it ran longer than",
            written(&limits.wall_time, in_time),
        ),
        (time && own_time.is_none(), "cpu_time", computed, written(&limits.cpu_time, in_time)),
        (time, "cpu_time", computed, own_time.map(Written::Flag)),
        (
            hit(Limit::Disk),
            "disk",
            "killed, and what it wrote is still there: it added more than",
            written(&limits.disk, in_bytes),
        ),
        (size && own_size.is_none(), "disk", grown, written(&limits.disk, in_bytes)),
        (size, "file_size", grown, own_size.map(Written::Flag)),
        (
            hit(Limit::Files),
            "files",
            "killed, and the files are still there: it made more than",
            written(&limits.files, u64::to_string),
        ),
        (hit(Limit::Output), "output", "killed: it printed more than", written(&limits.output, in_bytes)),
    ];
    let reached = candidates.into_iter().filter(|(reached, ..)| *reached);
    let line = |(_, key, what, limit): (_, &'static str, &str, Option<Written>)| {
        let allows = match limit? {
            Written::Key(value, origin) => format!("`limits.{key} = {value}` allows ({origin})"),
            Written::Flag(flag) => format!("`{flag}` allows"),
        };
        Some(Reached { key, line: format!("{what} {allows}") })
    };
    reached.filter_map(line).collect()
}

/// What is said of a program that the kernel has ended for calling it as 32-bit programs do: there is no other call that a
/// sandbox ends a process for.
pub(crate) fn refused_architecture(finished: &Finished) -> Option<&'static str> {
    ended_by(finished, Signal::SIGSYS)
        .then_some("killed: 32-bit system calls are refused in a sandbox; use a program that is built for 64 bits")
}

/// Whether it ended by this signal, or, as a shell, says so of what it ran.
fn ended_by(finished: &Finished, signal: Signal) -> bool {
    matches!(finished.ended, Ended::Itself(status)
        if status.signal() == Some(signal as i32) || status.code() == Some(128 + signal as i32))
}

/// Where a limit was written.
enum Written {
    /// In the configuration: its value there, and the place.
    Key(String, String),
    /// On the command line.
    Flag(String),
}

/// A limit of the command's own, when it is the one that counts.
fn lower<T: Copy + PartialOrd>(own: Option<T>, limit: &Option<Sourced<T>>) -> Option<T> {
    own.filter(|own| limit.as_ref().is_none_or(|limit| *own < limit.value))
}

fn in_time(time: &Duration) -> String {
    format!("\"{}\"", Time(*time))
}

fn in_bytes(bytes: &u64) -> String {
    format!("\"{}\"", Size(*bytes))
}

fn written<T>(limit: &Option<Sourced<T>>, show: impl Fn(&T) -> String) -> Option<Written> {
    limit.as_ref().map(|limit| Written::Key(show(&limit.value), limit.origin.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn finished(status: i32, reached: &[Limit]) -> Finished {
        Finished { ended: Ended::Itself(ExitStatus::from_raw(status)), reached: reached.to_vec(), traps: Vec::new() }
    }

    fn limits() -> Limits {
        let origin = "config.toml:3".to_owned();
        Limits {
            memory: Some(Sourced { value: 1 << 30, origin: origin.clone() }),
            cpu_time: Some(Sourced { value: Duration::from_secs(90), origin }),
            ..Limits::default()
        }
    }

    #[test]
    fn a_limit_is_named_with_its_value_and_its_place() {
        let reached = of(&finished(9, &[Limit::Memory]), &limits(), &Rights::default());
        assert_eq!(reached.len(), 1);
        assert_eq!(reached[0].key, "memory");
        assert!(reached[0].line.ends_with("`limits.memory = \"1GiB\"` allows (config.toml:3)"), "{}", reached[0].line);
    }

    #[test]
    fn a_signal_of_the_kernel_names_its_limit_only_where_there_is_one() {
        let keys = |status, limits: &Limits| -> Vec<&str> {
            of(&finished(status, &[]), limits, &Rights::default()).into_iter().map(|reached| reached.key).collect()
        };
        // By the signal itself, and as a shell reports it of its child.
        assert_eq!(keys(24, &limits()), ["cpu_time"]);
        assert_eq!(keys((128 + 24) << 8, &limits()), ["cpu_time"]);
        assert_eq!(keys(24, &Limits::default()), Vec::<&str>::new());
        assert_eq!(keys(25, &limits()), Vec::<&str>::new());
        assert_eq!(keys(0, &limits()), Vec::<&str>::new());
    }
}
