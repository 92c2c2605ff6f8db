//! Measures the moment between the appearance of a denied file and the mask on it, as a command inside sees it: it renames a
//! file to a denied name and opens that again and again until it cannot.
//!
//! `cargo run --release -p holdpoint-runtime --example window [quiet]`; `quiet` leaves the second half out, in which every
//! processor has other work.
#![allow(clippy::print_stdout, reason = "a table is what this example is for")]

use holdpoint_runtime::{Access, Sandbox};
use std::{
    env,
    error::Error,
    fs, hint, io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).is_some_and(|argument| argument == "inside") {
        return Ok(inside()?);
    }
    let directory = tempfile::tempdir()?;
    let workspace = directory.path().canonicalize()?;
    fs::copy(env::current_exe()?, workspace.join("window"))?;
    let mut builder = Sandbox::builder();
    builder.system().workspace(&workspace, Access::ReadWrite).deny_read("**/*.secret");
    let sandbox = builder.start()?;
    let measure = |load: &str| -> Result<(), Box<dyn Error>> {
        let place = tempfile::tempdir_in(&workspace)?;
        let output = sandbox.command(workspace.join("window")).arg("inside").current_dir(place.path()).output()?;
        println!("{load:24}{}", String::from_utf8_lossy(&output.stdout).trim_end());
        Ok(())
    };
    measure("as it is")?;
    if env::args().nth(1).is_some_and(|argument| argument == "quiet") {
        return Ok(());
    }
    let stop = AtomicBool::new(false);
    let busy = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    hint::spin_loop()
                }
            });
        }
        let done = measure("every processor busy");
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn inside() -> io::Result<()> {
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let (plain, denied) = (format!("plain-{round}"), format!("{round}.secret"));
        fs::write(&plain, "x")?;
        // As files appear one by one, not in a burst.
        thread::sleep(Duration::from_millis(1));
        let appeared = Instant::now();
        fs::rename(plain, &denied)?;
        while fs::File::open(&denied).is_ok() {}
        times.push(appeared.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000].as_micros();
    println!("{:>6} µs median, {} µs p99, {} µs p99.9, {} µs longest", at(500), at(990), at(999), at(1_000));
    Ok(())
}
