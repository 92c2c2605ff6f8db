//! What the exec guard costs for each program that it lets go ahead at once: the same script in two sandboxes, one guarded,
//! in turns. Prints microseconds.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use holdpoint_runtime::{Error, Exec, ExecAnswer, Sandbox};
use std::time::Instant;

const EXECUTIONS: u32 = 400;
const ROUNDS: usize = 31;

fn main() -> Result<(), Error> {
    let free = Sandbox::builder().system().start()?;
    let guarded = Sandbox::builder().system().on_exec(|_: &Exec| ExecAnswer::Allow).start()?;
    let (mut without, mut with, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, judged) = (each(&free)?, each(&guarded)?);
        without.push(alone);
        with.push(judged);
        more.push(judged - alone);
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    println!("fork, exec and wait, in the quietest round: {:.1} µs, judged {:.1} µs", least(&without), least(&with));
    println!("median of {ROUNDS} differences: {:.1} µs", median(more));
    Ok(())
}

/// Microseconds for one program started by a shell.
fn each(sandbox: &Sandbox) -> Result<f64, Error> {
    let script = format!("i=0; while [ $i -lt {EXECUTIONS} ]; do /usr/bin/true; i=$((i+1)); done");
    let start = Instant::now();
    sandbox.command("/bin/dash").args(["-c", &script]).status()?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(EXECUTIONS))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
