//! Run programs: with their output shown, recorded or both, and never for longer than was allowed.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;

/// What a program printed and how it ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Its exit code, or 128 + the number of the signal that ended it.
    pub code: i32,
    /// Whether it was stopped because it took too long.
    pub timed_out: bool,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Both streams, as somebody at a terminal would have seen them.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A command line as one might type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The exit code of a status, the way a shell counts it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Runs a command with its output shown; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command.status().with_context(|| format!("could not start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` ended with {}", code(status));
    }
    Ok(())
}

/// Runs a command with its output shown and also recorded.
pub(crate) fn tee(command: &mut Command) -> Result<Outcome> {
    let name = shown(command);
    println!("$ {name}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
    let stdout = drain(child.stdout.take(), Some(std::io::stdout()));
    let stderr = drain(child.stderr.take(), Some(std::io::stderr()));
    let status = child.wait()?;
    Ok(Outcome { code: code(status), timed_out: false, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs a command with its output recorded only, and kills its process group after `limit`.
pub(crate) fn record(command: &mut Command, limit: Duration) -> Result<Outcome> {
    let name = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
    let stdout = drain(child.stdout.take(), None::<std::io::Sink>);
    let stderr = drain(child.stderr.take(), None::<std::io::Sink>);
    let (status, timed_out) = wait(&mut child, limit)?;
    Ok(Outcome { code: code(status), timed_out, stdout: text(stdout), stderr: text(stderr) })
}

/// Waits for a child that leads its own process group, and kills the group after `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<(ExitStatus, bool)> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if start.elapsed() > limit {
            end(child, Signal::SIGKILL);
            return Ok((child.wait()?, true));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Signals the process group that a child leads; one that is gone already is no error.
pub(crate) fn end(child: &Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        killpg(Pid::from_raw(id), signal).ok();
    }
}

/// Reads a stream to its end in a thread, copying it on the way when asked to.
fn drain(stream: Option<impl Read + Send + 'static>, copy: Option<impl Write + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut copy = copy;
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let Some(mut stream) = stream else { return all };
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if let Some(copy) = &mut copy {
                drop(copy.write_all(&buffer[..count]).and_then(|()| copy.flush()));
            }
        }
        all
    })
}

fn text(stream: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&stream.join().unwrap_or_default()).into_owned()
}
