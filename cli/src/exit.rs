//! Every exit code of `holdpoint`, in one place.
//!
//! When a command ran, its own code is returned as it is; the codes below mean that Holdpoint itself has something to
//! say. They are those of `sysexits.h`, so that a script can tell them from the small numbers commands use.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::error::Error;

/// It went well.
pub const SUCCESS: u8 = 0;
/// `holdpoint check`: the action would be held for a person.
pub const WOULD_HOLD: u8 = 10;
/// The command line makes no sense (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// A patch is malformed or does not fit the files (`EX_DATAERR`).
pub const DATA: u8 = 65;
/// A protection cannot be enforced here, or a session cannot be used, so nothing was run (`EX_UNAVAILABLE`).
pub const UNENFORCEABLE: u8 = 69;
/// Holdpoint itself failed: nothing was run, or how the command ended is not known (`EX_SOFTWARE`).
pub const INTERNAL: u8 = 70;
/// Reading or writing failed: the disk is full, the output cannot be written (`EX_IOERR`).
pub const IO: u8 = 74;
/// No decision is to be had: nobody answered in time, the hold was withdrawn or decided before, no server runs or it went away
/// (`EX_TEMPFAIL`).
pub const NO_DECISION: u8 = 75;
/// Denied: by the policy, a hook or a person (`EX_NOPERM`).
pub const DENIED: u8 = 77;
/// The configuration is wrong, or cannot be read (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
/// The command was found but cannot be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found inside the sandbox, as in a shell.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended a command, as in a shell.
pub const SIGNALLED: u8 = 128;

/// The table for `holdpoint --help`.
pub const HELP: &str = "\
Exit codes:
  the command's own, when it ran; 128+n when signal n ended it
  10   check: the action would be held for a person
  64   the command line makes no sense
  65   a patch is malformed or does not fit the files
  69   a protection cannot be enforced here, or there is no such session; nothing was run
  70   Holdpoint itself failed: nothing was run, or how it ended is not known
  74   reading or writing failed
  75   no decision was to be had: expired, withdrawn, decided before, or no server is there
  77   denied by the policy, a hook or a person
  78   the configuration is wrong
  126  the command cannot be executed
  127  the command was not found";

/// The exit code that hands on how a command ended.
#[must_use]
pub fn of_status(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(INTERNAL),
        (None, Some(signal)) => of_signal(signal),
        (None, None) => INTERNAL,
    }
}

/// The exit code for an end by this signal.
#[must_use]
pub fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal & 0x7f).unwrap_or(0).saturating_add(SIGNALLED)
}

/// The exit code for this error.
#[must_use]
pub fn of_error(error: &Error) -> u8 {
    match error {
        Error::Usage { .. } => USAGE,
        Error::Patch { .. } => DATA,
        Error::Unenforceable { .. } | Error::Session { .. } => UNENFORCEABLE,
        Error::Internal { .. } => INTERNAL,
        Error::Io { .. } => IO,
        Error::NoDecision { .. } => NO_DECISION,
        Error::Denied { .. } => DENIED,
        Error::Config(_) | Error::Setting { .. } => CONFIG,
        Error::NotExecutable { .. } => NOT_EXECUTABLE,
        Error::NotFound { .. } => NOT_FOUND,
        Error::Interrupted { signal } => of_signal(*signal),
        // As if the signal had ended us: a reader that stops early (`| head`) is no failure to report.
        Error::ClosedOutput => of_signal(nix::sys::signal::Signal::SIGPIPE as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::{of_signal, of_status};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_commands_end_is_handed_on_as_a_shell_does() {
        assert_eq!(of_status(ExitStatus::from_raw(0)), 0);
        assert_eq!(of_status(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(of_status(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(of_status(ExitStatus::from_raw(9)), 137);
        assert_eq!(of_signal(15), 143);
    }
}
