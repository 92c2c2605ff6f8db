//! Writing files although their size may be bounded (`RLIMIT_FSIZE`): the kernel refuses what goes beyond and sends the thread
//! SIGXFSZ, which would end the caller's process without a word (setrlimit(2)).

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
    signalfd::{SfdFlags, SignalFd},
};
use std::io;

/// Does `write` and leaves of the signal nothing but an error that says so, of the kind [`io::ErrorKind::FileTooLarge`].
pub(crate) fn unsignalled<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut signal = SigSet::empty();
    signal.add(Signal::SIGXFSZ);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signal), Some(&mut before))?;
    let done = write();
    if let Err(error) = &done
        && error.kind() == io::ErrorKind::FileTooLarge
        // One that cannot be taken back stays blocked.
        && take_back(&signal)?
    {
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        return Err(io::Error::new(error.kind(), "it would grow beyond what a file may have (`ulimit -f`)"));
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    done
}

/// Takes back what was sent to this thread and has not arrived; whether there was anything.
fn take_back(signal: &SigSet) -> io::Result<bool> {
    let pending = SignalFd::with_flags(signal, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    Ok(pending.read_signal()?.is_some())
}
