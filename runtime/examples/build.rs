//! Runs a build in a sandbox and passes on what it prints while it prints it: `build DIRECTORY PROGRAM ARGUMENTS…`.
//!
//! The directory can be written, the system and the toolchains of Rust can be read, there is no network and nothing else of
//! the home directory. The exit code is the build's own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a build prints")]

use holdpoint_runtime::{Access, Sandbox, Stdio};
use std::{
    env,
    error::Error,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::exit,
    sync::mpsc,
    thread,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let directory =
        PathBuf::from(arguments.next().ok_or("usage: build DIRECTORY PROGRAM ARGUMENTS…")?).canonicalize()?;
    let program = arguments.next().ok_or("usage: build DIRECTORY PROGRAM ARGUMENTS…")?;

    let mut builder = Sandbox::builder();
    builder.system().workspace(&directory, Access::ReadWrite).deny_read("**/.env*");
    let home = env::home_dir().unwrap_or_default();
    for (variable, place) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
        let place = env::var_os(variable).map_or_else(|| home.join(place), PathBuf::from);
        if place.is_dir() {
            builder.toolchain(place);
        }
    }
    let sandbox = builder.start()?;
    // Protections that this kernel lacks are an error unless the builder allows them to be missing; remarks are not.
    sandbox.enforced().warnings.iter().for_each(|warning| eprintln!("note: {warning}"));

    let mut build = sandbox.command(program);
    build.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME"] {
        build.envs(env::var_os(name).map(|value| (name, value)));
    }
    let mut child = build.spawn()?;

    let (sender, lines) = mpsc::channel();
    for (name, stream) in [("out", child.stdout.take()), ("err", child.stderr.take())] {
        let sender = sender.clone();
        thread::spawn(move || stream.map(|stream| pass_on(name, stream, &sender)));
    }
    drop(sender);
    for (name, line) in lines {
        println!("{name} | {line}");
    }
    let status = child.wait()?;
    exit(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
}

/// Sends the lines of a stream until it ends or nobody wants more.
fn pass_on(name: &'static str, stream: File, to: &mpsc::Sender<(&'static str, String)>) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        if to.send((name, String::from_utf8_lossy(&line).into_owned())).is_err() {
            break;
        }
    }
}
