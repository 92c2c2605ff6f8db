//! Signals as descriptors that can be polled, so that waiting for a person, a hook or a command ends when asked to.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::Error;

/// Signals that ask us to end.
const STOP: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Signals that only tell something.
const NOTICE: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGCONT];

/// The signals of this process, taken from their default actions.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: SignalFd,
    notice: SignalFd,
}

impl Signals {
    /// Take the signals over. Call it before any thread is started: a thread inherits what is blocked.
    ///
    /// A signal that whoever started us has told us to ignore (`nohup`, a background job) stays ignored.
    ///
    /// # Errors
    /// [`Error::Internal`] when the kernel has no descriptor left.
    pub(crate) fn take() -> Result<Self, Error> {
        let ignored = ignored();
        let stop: SigSet = STOP.into_iter().filter(|signal| ignored & bit(*signal) == 0).collect();
        let notice: SigSet = NOTICE.into_iter().collect();
        let take = |set: &SigSet| {
            set.thread_block()?;
            SignalFd::with_flags(set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        };
        let wrong = |errno: Errno| Error::Internal { what: "take over signals".into(), why: errno.to_string() };
        Ok(Self { stop: take(&stop).map_err(wrong)?, notice: take(&notice).map_err(wrong)? })
    }

    /// Readable when a signal has asked us to end.
    pub(crate) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// Readable when a signal has told something.
    pub(crate) fn notice_fd(&self) -> BorrowedFd<'_> {
        self.notice.as_fd()
    }

    /// The next signal that asked us to end, if there is one.
    pub(crate) fn stopped(&self) -> Option<Signal> {
        next(&self.stop)
    }

    /// The next signal that told something, if there is one.
    pub(crate) fn noticed(&self) -> Option<Signal> {
        next(&self.notice)
    }

    /// Fail when a signal has asked us to end.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.stopped() {
            Some(signal) => Err(Error::Interrupted { signal: signal as i32 }),
            None => Ok(()),
        }
    }
}

fn next(fd: &SignalFd) -> Option<Signal> {
    let info = fd.read_signal().ok().flatten()?;
    i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// The signals that are ignored now. A blocked signal is delivered even when it is ignored, so we have to know.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
