//! A shell for an agent: `agent_tool DIRECTORY` reads requests from standard input and answers on standard output, one line of
//! JSON each, and runs every command in one living sandbox, so that the second costs little more than a bare exec.
//!
//! ```text
//! {"id": 1, "command": "make test", "timeout_ms": 60000}
//! {"id": 1, "exit_code": 0, "stdout": "ok\n", "stderr": ""}
//! ```
//!
//! A command that ends by a signal has `signal` in place of `exit_code`; a request that makes no sense is answered with `error`.
//! What an agent leaves running in the background goes on until standard input ends.
#![allow(clippy::print_stdout, reason = "the answers are printed")]

use holdpoint_runtime::{Access, Child, Sandbox, Stdio};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use serde::{Deserialize, Serialize};
use std::{
    env,
    error::Error,
    io::{self, BufRead, Read, Write},
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::PathBuf,
    time::{Duration, Instant},
};

/// As much of each stream as an agent is told.
const MOST: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: u64,
    command: String,
    #[serde(default = "minute")]
    timeout_ms: u64,
}

#[derive(Default, Serialize)]
struct Answer {
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    stdout: String,
    stderr: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args_os().nth(1).ok_or("usage: agent_tool DIRECTORY")?);
    let mut builder = Sandbox::builder();
    builder.system().workspace(directory, Access::ReadWrite).home("/home/agent");
    builder.deny_read("**/.env*").deny_read("**/*secret*");
    let sandbox = builder.start()?;
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str::<Request>(&line?) {
            Ok(request) => run(&sandbox, &request).unwrap_or_else(|error| Answer {
                id: Some(request.id),
                error: Some(error.to_string()),
                ..Answer::default()
            }),
            Err(error) => Answer { error: Some(error.to_string()), ..Answer::default() },
        };
        println!("{}", serde_json::to_string(&answer)?);
        io::stdout().flush()?;
    }
    Ok(())
}

fn run(sandbox: &Sandbox, request: &Request) -> Result<Answer, Box<dyn Error>> {
    let mut command = sandbox.command("sh");
    command.args(["-c", &request.command]).env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/home/agent");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let [stdout, stderr] = follow(&mut child, Instant::now() + Duration::from_millis(request.timeout_ms))?;
    let status = child.wait()?;
    Ok(Answer { id: Some(request.id), exit_code: status.code(), signal: status.signal(), stdout, stderr, error: None })
}

/// Collects both streams until the command has ended. Not until they are closed: what it leaves in the background may keep
/// them open for ever.
fn follow(child: &mut Child, end: Instant) -> Result<[String; 2], Box<dyn Error>> {
    let mut streams = [child.stdout.take(), child.stderr.take()].map(|stream| (stream, Vec::new()));
    let mut ended = false;
    loop {
        let left = if ended { Duration::ZERO } else { end.saturating_duration_since(Instant::now()) };
        let mut ready = vec![PollFd::new(child.as_fd(), PollFlags::POLLIN)];
        ready.extend(
            streams.iter().flat_map(|(stream, _)| stream).map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN)),
        );
        let count = match poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(Errno::EINTR) => continue,
            count => count?,
        };
        ended |= ready[0].any().unwrap_or(false);
        let readable: Vec<bool> = ready[1..].iter().map(|stream| stream.any().unwrap_or(false)).collect();
        if !readable.contains(&true) && ended {
            return Ok(streams.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()));
        }
        if count == 0 && left.is_zero() {
            child.kill_tree()?;
        }
        let open = streams.iter_mut().filter(|(stream, _)| stream.is_some());
        for ((stream, bytes), _) in open.zip(readable).filter(|(_, readable)| *readable) {
            let mut chunk = [0; 4096];
            let length = stream.as_mut().map_or(Ok(0), |stream| stream.read(&mut chunk))?;
            if length == 0 {
                *stream = None;
            }
            // The rest is read and forgotten, so that nobody is stopped for writing it.
            bytes.extend(&chunk[..length.min(MOST - bytes.len().min(MOST))]);
        }
    }
}

fn minute() -> u64 {
    60_000
}
