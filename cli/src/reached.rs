//! What is said of a command that reached a limit: which one, its value, and where that was written.

use std::os::unix::process::ExitStatusExt;

use holdpoint_policy::{Limits, Size, Sourced, Time};
use holdpoint_runtime::Limit;
use nix::sys::signal::Signal;

use crate::attend::{Ended, Finished};

/// A limit that was reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Its key in the configuration, as hooks are told.
    pub(crate) key: &'static str,
    /// One line for a person; what is foreign in it is not encoded yet.
    pub(crate) line: String,
}

/// The limits that a finished command reached, in the order in which the configuration is documented.
pub(crate) fn of(finished: &Finished, limits: &Limits) -> Vec<Reached> {
    let hit = |limit| finished.reached.contains(&limit);
    let signalled = |signal: Signal| match finished.ended {
        Ended::Itself(status) => status.signal() == Some(signal as i32) || status.code() == Some(128 + signal as i32),
        _ => false,
    };
    let size = |limit: &Option<Sourced<u64>>| written(limit, |bytes| format!("\"{}\"", Size(*bytes)));
    let count = |limit: &Option<Sourced<u64>>| written(limit, u64::to_string);
    let candidates = [
        (hit(Limit::Memory), "memory", "killed: what runs inside held more memory than", size(&limits.memory)),
        (hit(Limit::Pids), "pids", "refused to start more processes than", count(&limits.pids)),
        // In a session it may have been another command's time.
        (
            hit(Limit::WallTime) && (finished.ended == Ended::OutOfTime || signalled(Signal::SIGKILL)),
            "wall_time",
            "killed: it ran longer than",
            written(&limits.wall_time, time),
        ),
        (
            signalled(Signal::SIGXCPU),
            "cpu_time",
            "killed: a process computed longer than",
            written(&limits.cpu_time, time),
        ),
        (hit(Limit::Disk), "disk", "killed, and what it wrote is still there: it added more than", size(&limits.disk)),
        (signalled(Signal::SIGXFSZ), "disk", "killed: a file was to become larger than", size(&limits.disk)),
        (hit(Limit::Files), "files", "killed, and the files are still there: it made more than", count(&limits.files)),
        (hit(Limit::Output), "output", "killed: it printed more than", size(&limits.output)),
    ];
    let reached = candidates.into_iter().filter(|(reached, ..)| *reached);
    let line = |(_, key, what, limit): (_, &'static str, &str, Option<(String, String)>)| {
        let (value, origin) = limit?;
        Some(Reached { key, line: format!("{what} `limits.{key} = {value}` allows ({origin})") })
    };
    reached.filter_map(line).collect()
}

fn time(time: &std::time::Duration) -> String {
    format!("\"{}\"", Time(*time))
}

/// The value as a configuration has it, and where it stands.
fn written<T>(limit: &Option<Sourced<T>>, show: impl Fn(&T) -> String) -> Option<(String, String)> {
    limit.as_ref().map(|limit| (show(&limit.value), limit.origin.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn finished(status: i32, reached: &[Limit]) -> Finished {
        Finished { ended: Ended::Itself(ExitStatus::from_raw(status)), reached: reached.to_vec() }
    }

    fn limits() -> Limits {
        let origin = "config.toml:3".to_owned();
        Limits {
            memory: Some(Sourced { value: 1 << 30, origin: origin.clone() }),
            cpu_time: Some(Sourced { value: std::time::Duration::from_secs(90), origin }),
            ..Limits::default()
        }
    }

    #[test]
    fn a_limit_is_named_with_its_value_and_its_place() {
        let reached = of(&finished(9, &[Limit::Memory]), &limits());
        assert_eq!(reached.len(), 1);
        assert_eq!(reached[0].key, "memory");
        assert!(reached[0].line.ends_with("`limits.memory = \"1GiB\"` allows (config.toml:3)"), "{}", reached[0].line);
    }

    #[test]
    fn a_signal_of_the_kernel_names_its_limit_only_where_there_is_one() {
        let keys = |status, limits: &Limits| -> Vec<&str> {
            of(&finished(status, &[]), limits).into_iter().map(|reached| reached.key).collect()
        };
        // By the signal itself, and as a shell reports it of its child.
        assert_eq!(keys(24, &limits()), ["cpu_time"]);
        assert_eq!(keys((128 + 24) << 8, &limits()), ["cpu_time"]);
        assert_eq!(keys(24, &Limits::default()), Vec::<&str>::new());
        assert_eq!(keys(25, &limits()), Vec::<&str>::new());
        assert_eq!(keys(0, &limits()), Vec::<&str>::new());
    }
}
