//! What commands cost a program that embeds the runtime, one `name TAB number` a line, for `cargo xtask bench`.
//!
//! `costs start ROUNDS MIB`: milliseconds for `/bin/true`, spawned bare, in a fresh sandbox and in a living one, by a process
//! that holds MIB MiB of memory.
//! `costs rate COUNT`: commands per second in a living sandbox, from two threads.
//! `costs inside ROUNDS DIRECTORY COMMAND…`: milliseconds for a command in a directory, bare and in a living sandbox.
#![allow(clippy::print_stdout, reason = "a table is what this example is for")]

use holdpoint_runtime::{Access, Builder, Sandbox};
use std::{
    env,
    error::Error,
    hint::black_box,
    path::Path,
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["start", rounds, mib] => start(rounds.parse()?, mib.parse()?),
        ["rate", count] => rate(count.parse()?),
        ["inside", rounds, directory, program, words @ ..] => inside(rounds.parse()?, directory, program, words),
        _ => Err("usage: costs start ROUNDS MIB | rate COUNT | inside ROUNDS DIRECTORY COMMAND…".into()),
    }
}

fn builder(workspace: &Path) -> Builder {
    let mut builder = Sandbox::builder();
    builder.system().workspace(workspace, Access::ReadWrite);
    builder
}

fn start(rounds: usize, mib: usize) -> Result<()> {
    let held = black_box(vec![1_u8; mib << 20]);
    let workspace = tempfile::tempdir()?;
    let builder = builder(workspace.path());
    let living = builder.start()?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(timed(|| Ok(std::process::Command::new("/bin/true").status()?))?);
        times[1].push(timed(|| Ok(builder.start()?.command("/bin/true").status()?))?);
        times[2].push(timed(|| Ok(living.command("/bin/true").status()?))?);
    }
    drop(held);
    print(["bare spawn", "fresh sandbox", "next command in a living sandbox"].into_iter().zip(&mut times));
    Ok(())
}

fn rate(count: usize) -> Result<()> {
    const WORKERS: usize = 2;
    let workspace = tempfile::tempdir()?;
    let living = builder(workspace.path()).start()?;
    let begun = Instant::now();
    let worker = || (0..count).all(|_| living.command("/bin/true").status().is_ok_and(|status| status.success()));
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().all(|worker| worker.join().unwrap_or(false))
    });
    if !done {
        return Err("a command failed".into());
    }
    println!("commands per second\t{:.0}", (WORKERS * count) as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

fn inside(rounds: usize, directory: &str, program: &str, words: &[&str]) -> Result<()> {
    let mut builder = builder(Path::new(directory));
    // What programs need of the host's home is where the toolchain is.
    for toolchain in ["CARGO_HOME", "RUSTUP_HOME"].into_iter().filter_map(env::var_os) {
        builder.toolchain(toolchain);
    }
    let sandbox = builder.start()?;
    let passed =
        || env::vars().filter(|(name, _)| ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"].contains(&name.as_str()));
    let bare = || {
        let mut command = std::process::Command::new(program);
        command.args(words).current_dir(directory).env_clear().envs(passed());
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?)
    };
    let confined = || {
        let mut command = sandbox.command(program);
        command.args(words).current_dir(directory).envs(passed());
        let null = holdpoint_runtime::Stdio::null;
        Ok(command.stdout(null()).stderr(null()).status()?)
    };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let pair = [round % 2, 1 - round % 2];
        for index in pair {
            times[index].push(if index == 0 { timed(bare)? } else { timed(confined)? });
        }
    }
    print(["bare", "inside"].into_iter().zip(&mut times));
    Ok(())
}

fn print<'a>(rows: impl Iterator<Item = (&'static str, &'a mut Vec<Duration>)>) {
    for (name, times) in rows {
        times.sort();
        println!("{name}\t{:.4}", times[times.len() / 2].as_secs_f64() * 1e3);
    }
}

fn timed(run: impl FnOnce() -> Result<ExitStatus>) -> Result<Duration> {
    let start = Instant::now();
    match run()? {
        status if status.success() => Ok(start.elapsed()),
        status => Err(format!("the command ended with {status}").into()),
    }
}
