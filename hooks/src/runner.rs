//! Running hooks: every way in which a hook can fail to answer blocks.
//!
//! | the hook | result |
//! |---|---|
//! | exits 0 | [`Passed`](HookResult::Passed) |
//! | exits non-zero | [`Blocked`](HookResult::Blocked), by its last line of output (standard output, else standard error) |
//! | is not found or not executable (126, 127), cannot be started | [`Failed`](HookResult::Failed) |
//! | is killed by a signal, runs longer than its timeout | [`Failed`](HookResult::Failed) |
//! | cannot be shown the input, because it is longer than an environment variable can be | [`Failed`](HookResult::Failed) |
//!
//! Hooks run on the host, outside every sandbox, by `/bin/sh -c`, one after the other in the order they were written,
//! all of them even when one has blocked (a hook that keeps a record sees the blocked ones too).

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use holdpoint_policy::{Hook, HookOutcome, HookOutcomes, HookResult};

use crate::event::Event;
use crate::process::{self, Ended, Finished};
use crate::select;

/// The kernel's limit for one string of the environment, with its name, `=` and final NUL (`MAX_ARG_STRLEN`, 32 pages).
const ENV_STRING: usize = 128 * 1024;

/// The variable that holds the event's JSON.
const INPUT: &str = "INPUT";

/// Run those of `hooks` that `event` concerns, with exactly the environment `env` and `$INPUT`.
///
/// Blocks until all have answered or timed out. A hook never makes this function fail: its failure is a result.
#[must_use]
pub fn run(hooks: &[Hook], event: &Event, env: &[(OsString, OsString)]) -> HookOutcomes {
    run_until(hooks, event, env, None)
}

/// [`run`], ended early when `interrupt` becomes readable: the running hook is killed and it and the rest count as
/// failed. For a caller that must stay able to answer Ctrl-C.
#[must_use]
pub fn run_until(
    hooks: &[Hook],
    event: &Event,
    env: &[(OsString, OsString)],
    interrupt: Option<BorrowedFd<'_>>,
) -> HookOutcomes {
    let mut outcomes = Vec::new();
    let mut line = None;
    let mut interrupted = false;
    for hook in select::matching(hooks, event) {
        let line = line.get_or_insert_with(|| event.to_line());
        let result =
            if interrupted { failed("was not run: interrupted") } else { one(hook, event, line, env, interrupt) };
        interrupted |= matches!(&result, HookResult::Failed { reason } if reason == INTERRUPTED);
        outcomes.push(HookOutcome { hook: hook.origin.clone(), result });
    }
    HookOutcomes(outcomes)
}

const INTERRUPTED: &str = "was interrupted";

fn one(
    hook: &Hook,
    event: &Event,
    line: &str,
    env: &[(OsString, OsString)],
    interrupt: Option<BorrowedFd<'_>>,
) -> HookResult {
    if INPUT.len() + 1 + line.len() + 1 > ENV_STRING {
        return failed(format!(
            "cannot be shown the input: {} bytes of JSON are more than the {ENV_STRING} an environment variable holds",
            line.len()
        ));
    }
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&hook.command).current_dir(&event.cwd).env_clear();
    command.envs(env.iter().map(|(name, value)| (name, value))).env(INPUT, line);
    match process::run(command, line.as_bytes(), hook.timeout, interrupt) {
        Ok(finished) => judge(hook, &finished),
        Err(error) => failed(format!("could not be run: {error}")),
    }
}

fn judge(hook: &Hook, finished: &Finished) -> HookResult {
    let said = || finished.stdout.last_line().or_else(|| finished.stderr.last_line());
    let status = match finished.ended {
        Ended::Exited(status) => status,
        Ended::TimedOut => return failed(format!("did not answer within {:?} and was killed", hook.timeout)),
        Ended::Interrupted => return failed(INTERRUPTED),
    };
    match status.code() {
        Some(0) => HookResult::Passed,
        Some(code @ (126 | 127)) => {
            failed(said().unwrap_or_else(|| format!("exited with {code}: its command could not be run")))
        }
        Some(code) => {
            HookResult::Blocked { reason: said().unwrap_or_else(|| format!("exited with {code}, saying nothing")) }
        }
        None => failed(killed_by(status)),
    }
}

fn killed_by(status: ExitStatus) -> String {
    let number = status.signal().unwrap_or(0);
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => format!("was killed by signal {number} ({signal})"),
        Err(_) => format!("was killed by signal {number}"),
    }
}

fn failed(reason: impl Into<String>) -> HookResult {
    HookResult::Failed { reason: reason.into() }
}
