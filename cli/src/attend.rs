//! Being there while a command runs: signals, its terminal, its time, and its end.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use holdpoint_runtime::{Limit, Trap, give_back_code};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::error::Error;
use crate::exit;
use crate::process::Process;
use crate::relay::Relay;
use crate::report;
use crate::signals::Signals;

/// How long a command may take to end by itself after we were told to end.
const GRACE: Duration = Duration::from_secs(2);

/// Whoever waits longer for a command gives back the memory of what has been executed for its start.
const MOMENT: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, or by a signal of its own.
    Itself(ExitStatus),
    /// We were told to end by this signal, and it did not in time.
    Killed(Signal),
    /// It ran longer than it may.
    OutOfTime,
    /// It printed more on its terminal than it may.
    TooMuch,
}

/// A command that has ended, the limits it reached before, and what it has left for programs outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) reached: Vec<Limit>,
    pub(crate) traps: Vec<Trap>,
}

/// The limits that are held here, because no sandbox can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From its start, when it has no sandbox.
    pub(crate) time: Option<Duration>,
    /// Bytes on its terminal; the sandbox counts what goes elsewhere.
    pub(crate) output: Option<u64>,
}

impl Ended {
    /// The exit code that says so.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Itself(status) => exit::of_status(status),
            Self::Killed(signal) => exit::of_signal(signal as i32),
            Self::OutOfTime | Self::TooMuch => exit::of_signal(Signal::SIGKILL as i32),
        }
    }
}

/// Stay with a command until it has ended, then end what it left behind.
///
/// # Errors
/// [`Error::Io`] for a terminal that does not behave as one, [`Error::Internal`] when the outcome is not to be known.
/// The command is ended in every case.
pub(crate) fn attend(mut process: Process, signals: &Signals, bounds: Bounds) -> Result<Finished, Error> {
    let relay = process.take_terminal().map(|master| Relay::start(master, bounds.output)).transpose();
    let ended = relay.and_then(|relay| {
        let mut relay = relay;
        let ended = watch(&mut process, signals, bounds.time, &mut relay);
        if let Some(relay) = relay {
            relay.finish();
        }
        ended
    });
    let mut reached = process.limits_reached();
    reached.extend(match ended {
        Ok(Ended::OutOfTime) => Some(Limit::WallTime),
        Ok(Ended::TooMuch) => Some(Limit::Output),
        _ => None,
    });
    let traps = process.end();
    report::tell(&report::left_behind(&traps));
    Ok(Finished { ended: ended?, reached, traps })
}

fn watch(
    process: &mut Process,
    signals: &Signals,
    limit: Option<Duration>,
    relay: &mut Option<Relay>,
) -> Result<Ended, Error> {
    let mut rest = Some(Instant::now() + MOMENT);
    let mut deadline = limit.and_then(|limit| Instant::now().checked_add(limit)).map(|at| (at, Ended::OutOfTime));
    loop {
        if let Some((at, ended)) = deadline
            && Instant::now() >= at
        {
            return Ok(ended);
        }
        let look = relay.as_ref().and_then(Relay::look).map(|pause| Instant::now() + pause);
        let until = deadline.map(|(at, _)| at).into_iter().chain(look).chain(rest).min();
        let ready = wait(process, signals, relay.as_ref(), until)?;
        if rest.take_if(|rest| *rest <= Instant::now()).is_some() {
            give_back_code();
        }
        if let Some(relay) = relay {
            if relay.look().is_some() {
                relay.resume();
            }
            relay.copy(ready.terminal);
            if relay.is_used_up() {
                return Ok(Ended::TooMuch);
            }
        }
        // The kernel sends SIGCONT with the SIGHUP of a terminal that is gone.
        while let Some(signal) = signals.stopped() {
            // The keys of a shared terminal have reached the command already.
            if !(process.shares_terminal() && matches!(signal, Signal::SIGINT | Signal::SIGQUIT)) {
                process.signal(signal);
            }
            if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
                let at = Instant::now() + GRACE;
                if deadline.is_none_or(|(earlier, _)| at < earlier) {
                    deadline = Some((at, Ended::Killed(signal)));
                }
            }
        }
        while let Some(signal) = signals.noticed() {
            match (signal, relay.as_mut()) {
                (Signal::SIGWINCH, Some(relay)) => relay.resize(),
                (Signal::SIGCONT, Some(relay)) => relay.resume(),
                _ => {}
            }
        }
        if (ready.ended || process.end_fd().is_none())
            && let Some(status) = process.ended()?
        {
            return Ok(Ended::Itself(status));
        }
    }
}

/// What has become ready.
struct Ready {
    ended: bool,
    terminal: crate::relay::Ready,
}

fn wait(process: &Process, signals: &Signals, relay: Option<&Relay>, until: Option<Instant>) -> Result<Ready, Error> {
    let mut fds =
        vec![PollFd::new(signals.stop_fd(), PollFlags::POLLIN), PollFd::new(signals.notice_fd(), PollFlags::POLLIN)];
    let pidfd = process.end_fd().map(|fd| {
        fds.push(PollFd::new(fd, PollFlags::POLLIN));
        fds.len() - 1
    });
    let first = fds.len();
    if let Some(relay) = relay {
        relay.interests(&mut fds);
    }
    let timeout = until.map_or(PollTimeout::NONE, |at| {
        // Rounded up, or the last millisecond would be spent spinning.
        let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::io("wait for the command", io::Error::from(errno))),
    }
    let ready = |at: usize| fds.get(at).and_then(PollFd::revents).is_some_and(|got| !got.is_empty());
    Ok(Ready {
        ended: pidfd.is_some_and(ready),
        terminal: relay.map(|relay| relay.ready(&fds[first..])).unwrap_or_default(),
    })
}
