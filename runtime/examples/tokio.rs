//! Commands of one sandbox in an async program: `tokio [SECONDS]` runs three at a time on one thread, reads what they print as it
//! comes, and kills the one that takes longer than its time.
//!
//! The runtime of this crate is no async runtime, and needs none: starting a command is a few system calls, and everything
//! that takes time is a descriptor. A pidfd is readable when its process has ended, a pipe when there is something in it.
#![allow(clippy::print_stdout, reason = "the results are printed")]

use holdpoint_runtime::{Access, Child, Sandbox, Stdio};
use std::{env, error::Error, fs::File, io, os::fd::OwnedFd, process::ExitStatus, time::Duration};
use tokio::{
    io::{AsyncReadExt, Interest, unix::AsyncFd},
    net::unix::pipe::Receiver,
    time::timeout,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(10), |seconds| seconds.parse())?;
    let workspace = tempfile::tempdir()?;
    // Looking through a large workspace takes a while: not on the thread that serves everybody else.
    let path = workspace.path().to_owned();
    let starting = tokio::task::spawn_blocking(move || {
        let mut builder = Sandbox::builder();
        builder.system().workspace(path, Access::ReadWrite);
        builder.start()
    });
    let sandbox = starting.await??;
    let limit = Duration::from_secs(seconds);
    let (first, second, endless) = tokio::join!(
        run(&sandbox, "echo one; echo to nobody >&2", limit),
        run(&sandbox, "seq 100000 | wc -l", limit),
        run(&sandbox, "echo before; sleep 1000", Duration::from_millis(500)),
    );
    for done in [first?, second?, endless?] {
        println!("{}: {}", done.0, done.1.trim_end());
    }
    Ok(())
}

/// Runs a line of shell and returns how it ended and what it printed until then.
async fn run(sandbox: &Sandbox, line: &str, limit: Duration) -> Result<(ExitStatus, String), Box<dyn Error>> {
    let mut command = sandbox.command("sh");
    command.args(["-c", line]).env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let (status, output) = tokio::join!(ended(child, limit), read(stdout));
    Ok((status?, output?))
}

/// Waits on the pidfd; the report of pid 1 follows at once, so `wait` does not block after that.
async fn ended(mut child: Child, limit: Duration) -> Result<ExitStatus, Box<dyn Error>> {
    #[allow(deprecated, reason = "its replacement is unsafe; an owned descriptor is what it wants to be promised")]
    let pidfd = AsyncFd::with_interest(child.pidfd().try_clone_to_owned()?, Interest::READABLE)?;
    if timeout(limit, pidfd.readable()).await.is_err() {
        child.kill_tree()?;
        drop(pidfd.readable().await?);
    }
    Ok(child.wait()?)
}

async fn read(pipe: Option<File>) -> io::Result<String> {
    let mut text = String::new();
    if let Some(pipe) = pipe {
        Receiver::from_owned_fd(OwnedFd::from(pipe))?.read_to_string(&mut text).await?;
    }
    Ok(text)
}
