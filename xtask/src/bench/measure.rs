//! Interleaved timing: every command once a round, in rotated order, so that a busy moment hits all alike.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;

/// One thing to time.
pub(super) struct Subject {
    /// The name in the table.
    pub name: &'static str,
    /// Makes the command anew for each start.
    pub command: Box<dyn Fn() -> Command>,
}

impl Subject {
    pub(super) fn new(name: &'static str, command: impl Fn() -> Command + 'static) -> Self {
        Self { name, command: Box::new(command) }
    }

    /// Whether it works here at all.
    pub(super) fn runs(&self) -> bool {
        once(self).is_ok()
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

/// Milliseconds from before the start until the end of one run.
fn once(subject: &Subject) -> Result<f64> {
    let mut command = (subject.command)();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().with_context(|| format!("could not start {}", subject.name))?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if !status.success() {
        bail!("{} ended with {}: `{}`", subject.name, process::code(status), process::shown(&command));
    }
    Ok(time)
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
        let subject = Subject { name: "false", command: Box::new(|| Command::new("false")) };
        assert!(interleaved(&[subject], 1).is_err());
    }
}
