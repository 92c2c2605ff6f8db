//! Judges a submission as programming contests do: `judge SUBMISSION INPUT EXPECTED [MEGABYTES [SECONDS]]` runs an executable
//! or a script with limits on memory, time, processes and output, and prints one verdict:
//!
//! | | |
//! |---|---|
//! | `AC` | it wrote what was expected |
//! | `WA` | it wrote something else |
//! | `TLE` | it used more processor time than it may, or took twice as long |
//! | `MLE` | it held more memory than it may |
//! | `OLE` | it wrote more than any right answer could be |
//! | `RE` | it crashed, or ended with another code than 0 |
//!
//! Every run has a sandbox of its own, so no submission can leave anything for the next: starting one takes milliseconds.
#![allow(clippy::print_stdout, reason = "the verdict is printed")]

use holdpoint_runtime::{Child, Error as SandboxError, Limit, Limits, Protection, Sandbox, Stdio};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use std::{
    env, fmt,
    fs::{self, File},
    io::Read,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    WrongAnswer,
    TimeLimit,
    MemoryLimit,
    OutputLimit,
    RuntimeError,
}

/// What one run is judged by.
struct Task {
    submission: PathBuf,
    input: PathBuf,
    expected: Vec<u8>,
    memory: u64,
    time: Duration,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [submission, input, expected, limits @ ..] = arguments.as_slice() else {
        return Err("usage: judge SUBMISSION INPUT EXPECTED [MEGABYTES [SECONDS]]".into());
    };
    let limit = |index: usize, default: u64| limits.get(index).map_or(Ok(default), |number| number.parse());
    let task = Task {
        submission: Path::new(submission).canonicalize()?,
        input: input.into(),
        expected: fs::read(expected)?,
        memory: limit(0, 256)? << 20,
        time: Duration::from_secs(limit(1, 2)?),
    };
    let (verdict, took) = judge(&task)?;
    println!("{verdict} {} ms", took.as_millis());
    Ok(())
}

fn judge(task: &Task) -> Result<(Verdict, Duration)> {
    let sandbox = start(task)?;
    let started = Instant::now();
    let mut command = sandbox.command(&task.submission);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let spawned = command.stdin(File::open(&task.input)?).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match spawned {
        // Not executable, or no program at all: that is the submission's own mistake.
        Err(SandboxError::Spawn { .. }) => return Ok((Verdict::RuntimeError, Duration::ZERO)),
        spawned => spawned?,
    };
    let most = task.expected.len() as u64 * 2 + 4096;
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // Once this is dropped, writing more ends the submission with SIGPIPE.
        output.map_or(Ok(0), |output| output.take(most + 1).read_to_end(&mut bytes)).map(|_| bytes)
    });
    let in_time = ended_within(&child, task.time * 2)?;
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let took = started.elapsed();
    let memory = sandbox.limits_reached().contains_key(&Limit::Memory);
    // Whatever the submission started ends here, and closes the output.
    sandbox.shut_down();
    let output = reader.join().map_err(|_| "the reader of the output failed")??;
    let verdict = match () {
        () if memory => Verdict::MemoryLimit,
        () if !in_time || out_of_processor_time(status) => Verdict::TimeLimit,
        () if output.len() as u64 > most => Verdict::OutputLimit,
        () if !status.success() => Verdict::RuntimeError,
        () if same(&output, &task.expected) => Verdict::Accepted,
        () => Verdict::WrongAnswer,
    };
    Ok((verdict, took))
}

/// A sandbox that shows the system and the submission, and neither the input nor the expected output as files.
fn start(task: &Task) -> Result<Sandbox> {
    let mut builder = Sandbox::builder();
    #[allow(clippy::needless_update, reason = "limits that come later are none for this")]
    let limits = Limits {
        memory: Some(task.memory),
        pids: Some(64),
        cpu_time: Some(task.time),
        open_files: Some(64),
        tmp: Some(task.memory),
        ..Limits::default()
    };
    builder.system().read_only(&task.submission).limits(limits);
    // Before Linux 6.14 root's processes cannot be counted; the other limits end a fork bomb as well, only later.
    builder.allow_missing(Protection::ProcessLimit);
    Ok(builder.start()?)
}

/// Waits on the pidfd, which is readable when the process has ended.
fn ended_within(child: &Child, time: Duration) -> Result<bool> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

fn out_of_processor_time(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGXCPU as i32) || status.signal() == Some(Signal::SIGKILL as i32)
}

/// Whether the words are the same: how they are separated does not matter.
fn same(output: &[u8], expected: &[u8]) -> bool {
    let words = |text| <[u8]>::split(text, u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words(output).eq(words(expected))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "AC",
            Self::WrongAnswer => "WA",
            Self::TimeLimit => "TLE",
            Self::MemoryLimit => "MLE",
            Self::OutputLimit => "OLE",
            Self::RuntimeError => "RE",
        })
    }
}
