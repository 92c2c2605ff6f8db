//! One hook process: started in its own process group, fed, watched, and ended with everything it started.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::tail::Tail;

/// How often a hook that has closed or passed on its output is looked at. One that ends normally is noticed at once.
const TICK: Duration = Duration::from_millis(5);

/// The shortest wait `poll` knows.
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads after the end of a hook: more than any pipe holds, yet an end to it when a stray child keeps on writing.
const LAST_READS: usize = 64;

/// How a hook process ended.
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It ran longer than it may.
    TimedOut,
    /// Whoever waits for it was told to stop.
    Interrupted,
}

/// What a hook process left behind.
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) stdout: Tail,
    pub(crate) stderr: Tail,
}

/// Run `command` to its end or to `timeout`, writing `input` to its standard input.
///
/// The hook's whole process group is killed in every case, so that nothing it left in the background outlives the
/// answer; a child that made itself a new session can stay, but cannot hold us up.
pub(crate) fn run(
    mut command: Command,
    input: &[u8],
    timeout: Duration,
    interrupt: Option<BorrowedFd<'_>>,
) -> io::Result<Finished> {
    let deadline = Instant::now().checked_add(timeout);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut group = Group { child: command.spawn()? };
    let mut pipes = Pipes::of(&mut group.child, input)?;
    let ended = loop {
        // First the process, then the pipes: what it wrote before its end is read below in any case.
        if group.has_exited()? {
            break None;
        }
        let left = deadline.map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            break Some(Ended::TimedOut);
        }
        if pipes.wait(left.min(TICK), interrupt)? {
            break Some(Ended::Interrupted);
        }
    };
    let status = group.end()?;
    pipes.drain();
    Ok(Finished { ended: ended.unwrap_or(Ended::Exited(status)), stdout: pipes.stdout.tail, stderr: pipes.stderr.tail })
}

/// The hook and its process group; dropped, it is killed.
struct Group {
    child: Child,
}

impl Group {
    fn pid(&self) -> Pid {
        // A process id always fits: the kernel's own type is a signed 32-bit number.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Looks without reaping: as long as the leader is not reaped, its group's number cannot belong to anyone else.
    fn has_exited(&self) -> io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(Id::Pid(self.pid()), flags)? != WaitStatus::StillAlive)
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        match killpg(self.pid(), Signal::SIGKILL) {
            // ESRCH: only the ended leader was left in the group. EPERM: what is left in it has changed its user.
            Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => self.child.wait(),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Already reaped on the normal path: the standard library then remembers the status and this signals nobody.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.end());
        }
    }
}

struct Pipes<'a> {
    stdin: Option<std::process::ChildStdin>,
    input: &'a [u8],
    stdout: Source<std::process::ChildStdout>,
    stderr: Source<std::process::ChildStderr>,
}

struct Source<R> {
    pipe: Option<R>,
    tail: Tail,
}

impl<'a> Pipes<'a> {
    fn of(child: &mut Child, input: &'a [u8]) -> io::Result<Self> {
        let pipes = Self {
            stdin: child.stdin.take(),
            input,
            stdout: Source { pipe: child.stdout.take(), tail: Tail::default() },
            stderr: Source { pipe: child.stderr.take(), tail: Tail::default() },
        };
        for fd in [pipes.stdin.as_ref().map(AsFd::as_fd), pipes.stdout.fd(), pipes.stderr.fd()].into_iter().flatten() {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(pipes)
    }

    /// Wait until something can be moved, move it, and say whether `interrupt` has become readable.
    fn wait(&mut self, limit: Duration, interrupt: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let mut fds = Vec::with_capacity(4);
        fds.extend(interrupt.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        fds.extend(self.stdout.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.stderr.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // With both outputs closed the end is near as a rule, and nothing will wake us up for it.
        let closed = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
        let limit = if closed { SHORTEST } else { limit.max(SHORTEST) };
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let interrupted = interrupt.is_some() && fds[0].revents().is_some_and(|got| !got.is_empty());
        self.feed();
        self.stdout.read();
        self.stderr.read();
        Ok(interrupted)
    }

    /// Hand over what fits. A hook may close its input unread: that is its own business and no failure.
    fn feed(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(self.input) {
            Ok(written) => self.input = &self.input[written..],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    fn drain(&mut self) {
        for _ in 0..LAST_READS {
            let more = (self.stdout.read(), self.stderr.read());
            if more == (false, false) {
                return;
            }
        }
    }
}

impl<R: Read + AsFd> Source<R> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Read once; whether there may be more.
    fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut buffer = [0; 64 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                self.tail.push(&buffer[..length]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => self.pipe = None,
        }
        false
    }
}
