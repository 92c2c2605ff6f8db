//! Interleaved timing: every command once a round, in rotated order, so that a busy moment hits all alike.

use std::fs::File;
use std::hint;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process;

/// One thing to time.
pub(super) struct Subject {
    /// The name in the table.
    pub name: &'static str,
    /// Makes the command anew for each start.
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    /// How it ends.
    pub code: i32,
    /// The mount namespace to start it in, unless it is ours.
    pub within: Option<OwnedFd>,
}

impl Subject {
    pub(super) fn new(name: &'static str, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self { name, command: Box::new(command), code: 0, within: None }
    }

    /// The same as another row.
    pub(super) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Why it does not work here, in the last words of its own.
    pub(super) fn refusal(&self) -> Option<String> {
        let answer = start_where(self, |mut command| Ok(command.stdin(Stdio::null()).output()?));
        match answer {
            Ok(output) if output.status.code() == Some(self.code) => None,
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                Some(last.unwrap_or("it says nothing").trim().to_owned())
            }
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

/// What was measured of one subject, in milliseconds.
pub(super) struct Timing {
    pub name: &'static str,
    pub median: f64,
    pub p10: f64,
    pub p90: f64,
    /// The median of the ratios, round by round, to each subject in order.
    pub ratios: Vec<f64>,
}

/// Starts every subject `rounds` times, after a few rounds that are not counted.
pub(super) fn interleaved(subjects: &[Subject], rounds: usize) -> Result<Vec<Timing>> {
    const WARM_UP: usize = 3;
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..rounds + WARM_UP {
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let time = once(&subjects[index])?;
            settle(time);
            if round >= WARM_UP {
                times[index].push(time);
            }
        }
    }
    let timing = |(subject, own): (&Subject, &Vec<f64>)| Timing {
        name: subject.name,
        median: quantile(own, 0.5),
        p10: quantile(own, 0.1),
        p90: quantile(own, 0.9),
        ratios: times.iter().map(|other| quantile(&ratios(own, other), 0.5)).collect(),
    };
    Ok(subjects.iter().zip(&times).map(timing).collect())
}

fn ratios(own: &[f64], other: &[f64]) -> Vec<f64> {
    own.iter().zip(other).map(|(own, other)| own / other).collect()
}

/// Waits until the kernel has done with what a run of so many milliseconds may have left to it: nobody else is to pay for that.
/// Without sleep, for a processor that sleeps takes its time to wake up.
fn settle(time: f64) {
    let (begin, aftermath) = (Instant::now(), Duration::from_secs_f64((time / 4.0).clamp(2.0, 50.0) / 1000.0));
    while begin.elapsed() < aftermath {
        hint::spin_loop();
    }
}

/// Milliseconds from before the start until the end of one run.
fn once(subject: &Subject) -> Result<f64> {
    let (name, code) = (subject.name, subject.code);
    start_where(subject, move |mut command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| format!("could not start {name}"))?;
        let time = start.elapsed().as_secs_f64() * 1000.0;
        if status.code() != Some(code) {
            bail!("{name} ended with {}: `{}`", process::code(status), process::shown(&command));
        }
        Ok(time)
    })
}

/// Has a subject's command started in its namespace: a thread can be in one of its own, so that nothing else has to start it.
fn start_where<T: Send>(subject: &Subject, start: impl FnOnce(Command) -> Result<T> + Send) -> Result<T> {
    let command = (subject.command)();
    let Some(namespace) = &subject.within else { return start(command) };
    let there = || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        start(command)
    };
    thread::scope(|scope| scope.spawn(there).join()).map_err(|_| anyhow!("the thread failed"))?
}

/// A mount namespace like ours, but for what is changed in it.
pub(super) fn namespace(change: impl FnOnce() -> Result<()> + Send) -> Result<OwnedFd> {
    let make = || {
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of its own")?;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        change()?;
        Ok(File::open("/proc/thread-self/ns/mnt")?.into())
    };
    thread::scope(|scope| scope.spawn(make).join()).map_err(|_| anyhow!("the thread failed"))?
}

/// The value that a share of all values lies below.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small index"
    )]
    let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_few_values() {
        let values = [3.0, 1.0, 2.0, 5.0, 4.0];
        assert!((quantile(&values, 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((quantile(&values, 0.0) - 1.0).abs() < f64::EPSILON);
        assert!((quantile(&values, 1.0) - 5.0).abs() < f64::EPSILON);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_subject_that_fails_is_not_timed() {
        let subject = Subject::new("false", || Command::new("false"));
        assert!(subject.refusal().is_some());
        assert!(interleaved(&[subject], 1).is_err());
    }
}
