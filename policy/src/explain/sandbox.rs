//! What the sandbox of a policy means, in plain sentences.

use crate::config::{Cpus, Size, Time, visible};
use crate::mode::SandboxMode;
use crate::paths::PROTECTED_NAMES;
use crate::policy::{Policy, Sourced};
use std::path::Path;

/// What a command may do and not do, one sentence a line, each going on from "a command …". `check`, `explain` and the
/// approval page all say it with these words.
pub fn sandbox_lines(policy: &Policy, workspace: &Path) -> Vec<String> {
    let place = visible(&workspace.display().to_string());
    let mut lines = match policy.sandbox.value {
        SandboxMode::None => vec![
            "HAS NO SANDBOX: it may read, write and reach whatever you can".to_owned(),
            format!("starts in {place}, and nothing keeps it there"),
        ],
        SandboxMode::ReadOnly => vec![
            format!("may read {place} and the system, not the rest of your home"),
            "may write nothing but a private /tmp and home that are gone when it ends".to_owned(),
            NO_NETWORK.to_owned(),
        ],
        SandboxMode::WorkspaceWrite => vec![
            format!("may read and write {place}, and read the system, not the rest of your home"),
            NO_NETWORK.to_owned(),
        ],
        SandboxMode::WorkspaceWriteAndNet => vec![
            format!("may read and write {place}, and read the system, not the rest of your home"),
            "is not run: no sandbox of this mode can be had yet, for there is no safe path to the network".to_owned(),
        ],
    };
    let mut list = |start: &str, words: &[Sourced<String>]| {
        if !words.is_empty() {
            let words: Vec<&str> = words.iter().map(|word| word.value.as_str()).collect();
            lines.push(format!("{start} {}", visible(&words.join(", "))));
        }
    };
    if policy.sandbox.value != SandboxMode::None {
        list("may also read", &policy.readable);
        list("may also write", &policy.writable);
    }
    let denied: Vec<Sourced<String>> =
        policy.deny_read.iter().map(|entry| Sourced::new(entry.value.to_string(), "")).collect();
    list("cannot read", &denied);
    list("cannot execute", &policy.exec_deny);
    if policy.deny_read_git_history.value && !policy.deny_read.is_empty() && policy.sandbox.value != SandboxMode::None {
        lines.push("cannot read in the history of git what stood there".to_owned());
    }
    if policy.deny_read_strict.value && !policy.deny_read.is_empty() {
        lines.push("opens no file that was not judged first".to_owned());
    }
    if policy.exec_guard.value {
        lines.push("executes no program that was not judged first".to_owned());
    }
    if matches!(policy.sandbox.value, SandboxMode::WorkspaceWrite | SandboxMode::WorkspaceWriteAndNet) {
        let own: String = policy.protect.iter().map(|path| format!(", {}", path.value)).collect();
        let more = PROTECTED_NAMES.len() - EXAMPLES.len();
        let names = EXAMPLES.join(", ");
        lines.push(format!("cannot change {names} and {more} more protected names{}", visible(&own)));
    }
    if !policy.allow_missing.is_empty() && policy.sandbox.value != SandboxMode::None {
        let words: Vec<&str> = policy.allow_missing.iter().map(|loss| loss.value.word()).collect();
        lines.push(format!("may run WITHOUT {} where this machine does not offer it", words.join(", ")));
    }
    lines.extend(limits(policy));
    lines
}

/// Those of the protected names that say enough for all.
const EXAMPLES: [&str; 3] = [".git/hooks", ".git/config", ".holdpoint"];

const NO_NETWORK: &str = "has no network but a loopback of its own";

fn limits(policy: &Policy) -> Option<String> {
    let limits = &policy.limits;
    let parts: Vec<String> = [
        limits.wall_time.as_ref().map(|time| format!("{} of time", Time(time.value))),
        limits.cpu_time.as_ref().map(|time| format!("{} of processor time", Time(time.value))),
        limits.memory.as_ref().map(|bytes| format!("{} of memory", Size(bytes.value))),
        limits.tmp.as_ref().map(|bytes| format!("{} in /tmp", Size(bytes.value))),
        limits.disk.as_ref().map(|bytes| format!("{} more on disk", Size(bytes.value))),
        limits.files.as_ref().map(|count| format!("{} more files", count.value)),
        limits.output.as_ref().map(|bytes| format!("{} of output", Size(bytes.value))),
        limits.cpus.as_ref().map(|share| format!("{} processors", Cpus(share.value))),
        limits.pids.as_ref().map(|count| format!("{} processes", count.value)),
        limits.open_files.as_ref().map(|count| format!("{} open files", count.value)),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("gets at most {}", parts.join(", ")))
}
