//! Signals as descriptors that can be polled, so that waiting for a person, a hook or a command ends when asked to.
//!
//! Handlers and not blocked signals: whatever we execute starts with neither, on every way it can be executed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use nix::sys::signal::Signal;
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::error::Error;
use crate::process::own_status;

/// Signals that end us unless there is a command to hand them on to. For it, the last three may mean anything.
const STOP: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// Signals that only tell something.
const NOTICE: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGCONT];

/// The signals of this process, taken from their default actions.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: Caught,
    notice: Caught,
}

/// Some signals, in the order in which they were seen.
#[derive(Debug)]
struct Caught {
    ready: UnixStream,
    delivery: RefCell<SignalDelivery<UnixStream, SignalOnly>>,
    seen: RefCell<VecDeque<Signal>>,
}

impl Signals {
    /// Take the signals over. One that whoever started us has told us to ignore (`nohup`, a background job) stays ignored.
    ///
    /// # Errors
    /// [`Error::Internal`] when the kernel has no descriptor left.
    pub(crate) fn take() -> Result<Self, Error> {
        let stop: Vec<Signal> = STOP.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let wrong = |error: io::Error| Error::Internal { what: "take over signals".into(), why: error.to_string() };
        Ok(Self { stop: Caught::new(&stop).map_err(wrong)?, notice: Caught::new(&NOTICE).map_err(wrong)? })
    }

    /// Readable when a signal has asked us to end.
    pub(crate) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.ready.as_fd()
    }

    /// Readable when a signal has told something.
    pub(crate) fn notice_fd(&self) -> BorrowedFd<'_> {
        self.notice.ready.as_fd()
    }

    /// The next signal that asked us to end, if there is one.
    pub(crate) fn stopped(&self) -> Option<Signal> {
        self.stop.next()
    }

    /// The next signal that told something, if there is one.
    pub(crate) fn noticed(&self) -> Option<Signal> {
        self.notice.next()
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

impl Caught {
    fn new(signals: &[Signal]) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let ready = read.try_clone()?;
        let numbers = signals.iter().map(|signal| *signal as i32);
        let delivery = RefCell::new(SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?);
        Ok(Self { ready, delivery, seen: RefCell::new(VecDeque::new()) })
    }

    fn next(&self) -> Option<Signal> {
        let mut seen = self.seen.borrow_mut();
        seen.extend(self.delivery.borrow_mut().pending().filter_map(|number| Signal::try_from(number).ok()));
        seen.pop_front()
    }
}

/// Whether a file of ours could not grow.
static FILE_LIMIT: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// See to it that a file which may not grow any more (`ulimit -f`) is an error of the write, which is told, and not our silent end.
pub(crate) fn outlive_file_limit() {
    if !is_ignored(Signal::SIGXFSZ) {
        // It cannot fail for this signal, and there would be nothing better to do.
        flag::register(Signal::SIGXFSZ as i32, Arc::clone(&FILE_LIMIT)).ok();
    }
}

/// Whether that has happened: not everybody who writes says why it failed.
pub(crate) fn met_file_limit() -> bool {
    FILE_LIMIT.load(Ordering::Relaxed)
}

/// Whether whoever started us has told us to ignore this signal: a handler would take that from what we execute.
fn is_ignored(signal: Signal) -> bool {
    /// Before any was taken over.
    static IGNORED: LazyLock<u64> =
        LazyLock::new(|| own_status("SigIgn:").and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0));
    *IGNORED & (1 << (signal as i32 - 1)) != 0
}
