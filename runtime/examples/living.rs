//! What a command costs: a bare spawn, a fresh sandbox, and the next command in a living one. `living [ROUNDS]`.
#![allow(clippy::print_stdout, reason = "a table is what this example is for")]

use holdpoint_runtime::{Access, Sandbox};
use std::{
    env,
    error::Error,
    process::ExitStatus,
    time::{Duration, Instant},
};

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = env::args().nth(1).map_or(Ok(50), |rounds| rounds.parse())?;
    let workspace = tempfile::tempdir()?;
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace.path(), Access::ReadWrite);
    let living = builder.start()?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(timed(|| Ok(std::process::Command::new("/bin/true").status()?))?);
        times[1].push(timed(|| Ok(builder.start()?.command("/bin/true").status()?))?);
        times[2].push(timed(|| Ok(living.command("/bin/true").status()?))?);
    }
    for (name, times) in ["bare", "fresh sandbox", "living sandbox"].into_iter().zip(&mut times) {
        times.sort();
        println!("{name:>15} {:>8.3} ms", times[times.len() / 2].as_secs_f64() * 1e3);
    }
    Ok(())
}

fn timed(run: impl FnOnce() -> Result<ExitStatus, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}
