//! The one renderer of what Holdpoint says for itself: errors, refusals, warnings and machine-readable results.
//!
//! Everything that came from outside passes through the one encoder, so that nothing an agent writes can look like what
//! Holdpoint says, move the cursor or hide itself.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use holdpoint_approval_web::text;
use holdpoint_policy::Reason;
use holdpoint_runtime::Trap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, plain};
use crate::{exit, terminal};

/// Where lines of Holdpoint's own go, encoded and with their ends.
pub(crate) type Audience = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a person waits without being told for what.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reasons shown of a refusal; more do not help anybody and would fill the screen.
pub(crate) const SHOWN_REASONS: usize = 8;

/// Characters of a message that are shown of its beginning and of its end; of a program's name there may be a hundred thousand.
const SHOWN: usize = 800;
const SHOWN_LAST: usize = 200;

/// Write a line of Holdpoint's own to standard error. `line` must already be encoded where it is foreign.
///
/// A standard error that cannot be written is no reason to stop: the exit code still says it.
pub fn say(line: &str) {
    tell(&self::line(line));
}

/// A line of Holdpoint's own, as [`tell`] expects it.
pub(crate) fn line(line: &str) -> String {
    format!("holdpoint: {line}\n")
}

/// Do something that a person at a terminal may have to wait for; after a second, say what it is.
pub(crate) fn while_waiting<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    thread::scope(|scope| {
        let (ends, end) = mpsc::channel::<()>();
        let patience = move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                say(&format!("{what} …"));
            }
        };
        // Where no thread can be had, nothing is said.
        drop(thread::Builder::new().name("patience".into()).spawn_scoped(scope, patience));
        let done = work();
        drop(ends);
        done
    })
}

/// Write to standard error what is encoded and in lines already.
pub(crate) fn tell(text: &str) {
    let mut stderr = io::stderr().lock();
    if terminal::is_raw() && stderr.is_terminal() {
        drop(stderr.write_all(text.replace('\n', "\r\n").as_bytes()));
    } else {
        drop(stderr.write_all(text.as_bytes()));
    }
}

/// What a command has left for programs outside, as [`tell`] expects it; nothing when that is nothing.
pub(crate) fn left_behind(traps: &[Trap]) -> String {
    let shown = traps.iter().take(SHOWN_REASONS).map(|trap| line(&encoded(&format!("left behind: {trap}"))));
    let more = traps.len().saturating_sub(SHOWN_REASONS);
    shown.chain((more > 0).then(|| line(&format!("left behind: {more} more of the same kind")))).collect()
}

/// Tell the person about an error, on at most one screen.
pub fn error(error: &Error) {
    tell(&rendered(error, colour(&io::stderr())));
}

/// An error as [`tell`] expects it.
pub(crate) fn rendered(error: &Error, colour: bool) -> String {
    let mut out = String::new();
    match error {
        Error::ClosedOutput => return out,
        Error::Config(config) => {
            out.push_str("holdpoint: the configuration is wrong, so nothing was run\n");
            // The renderer of the policy shows the source line and replaces control characters in it.
            out.push_str(&config.render(colour));
        }
        _ => out.push_str(&format!("holdpoint: {}\n", readable(error))),
    }
    if let Error::Denied { reasons, .. } = error {
        reasons_to(&mut out, reasons);
    }
    if let Some(next) = error.next() {
        out.push_str(&format!("  {}\n", readable(&next)));
    }
    out
}

fn reasons_to(out: &mut String, reasons: &[Reason]) {
    for reason in reasons.iter().take(SHOWN_REASONS) {
        let from = if reason.origin.is_empty() || reason.rule.is_empty() {
            String::new()
        } else {
            format!("  ({}, {})", encoded(&reason.rule), encoded(&reason.origin))
        };
        out.push_str(&format!("  {}{from}\n", readable(&reason.text)));
    }
    if reasons.len() > SHOWN_REASONS {
        out.push_str(&format!("  and {} more\n", reasons.len() - SHOWN_REASONS));
    }
}

/// An error as one JSON object, for `--json`.
#[must_use]
pub fn error_json(error: &Error) -> Value {
    let mut object = json!({
        "result": error.kind(),
        "exit": exit::of_error(error),
        "message": match error {
            Error::Config(config) => config.to_string(),
            _ => plain(error),
        },
    });
    if let Some(next) = error.next() {
        object["next"] = plain(&next).into();
    }
    match error {
        Error::Denied { by, reasons } => {
            object["by"] = by.as_str().into();
            object["reasons"] = json!(reasons);
        }
        Error::Config(config) => {
            object["file"] = config.origin.as_str().into();
            object["line"] = config.line.into();
            object["column"] = config.column.into();
            object["suggestion"] = json!(config.suggestion);
        }
        _ => {}
    }
    object
}

/// Print one machine-readable result on standard output.
///
/// # Errors
/// [`Error::Io`] when it cannot be written, [`Error::ClosedOutput`] when nobody reads it any more.
pub fn result<T: Serialize>(value: &T) -> Result<(), Error> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Error::Internal { what: "write the result as JSON".into(), why: error.to_string() })?;
    line.push(b'\n');
    output(&line)
}

/// Print bytes on standard output, all of them or an error.
///
/// # Errors
/// As [`result`].
pub fn output(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Error::ClosedOutput,
        _ => Error::io("write to standard output", error),
    })
}

/// Untrusted text, safe for a terminal and on one line. Backslashes of our own messages stay as they are.
#[must_use]
pub fn encoded(message: &str) -> String {
    // Sentences of ours contain foreign names; only what is hidden needs an escape, a plain backslash does not.
    message.split('\\').map(|part| text::visible(part.as_bytes())).collect::<Vec<_>>().join("\\")
}

/// A message of whatever origin for a person, on one line.
pub(crate) fn readable(message: &impl Display) -> String {
    short(&encoded(&plain(message))).into_owned()
}

/// A message, or as much of its beginning and end as a person wants to see.
pub(crate) fn short(message: &str) -> Cow<'_, str> {
    let length = message.chars().count();
    if length <= 2 * (SHOWN + SHOWN_LAST) {
        return message.into();
    }
    let at = |character: usize| message.char_indices().nth(character).map_or(message.len(), |(at, _)| at);
    let (beginning, end) = (&message[..at(SHOWN)], &message[at(length - SHOWN_LAST)..]);
    format!("{beginning} … ({} more characters) … {end}", length - SHOWN - SHOWN_LAST).into()
}

/// Whether escape sequences for colour are welcome on this stream: a terminal, and nobody said no.
pub fn colour(stream: &impl IsTerminal) -> bool {
    let no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !no && !dumb
}

#[cfg(test)]
mod tests {
    use super::{encoded, rendered, short};
    use crate::error::Error;
    use holdpoint_policy::{Reason, Verdict};

    #[test]
    fn what_a_command_is_called_cannot_draw_on_the_screen() {
        let error = Error::NotFound { program: "\u{1b}[2J\nholdpoint: approved\u{202e}".into(), next: String::new() };
        let text = rendered(&error, false);
        assert_eq!(text, "holdpoint: \\x1b[2J\\nholdpoint: approved\\u{202e}: command not found\n");
        assert_eq!(encoded("a\\b"), "a\\b");
    }

    #[test]
    fn a_message_of_any_length_is_short_and_keeps_its_end() {
        let error = Error::NotFound { program: "ä".repeat(100_000), next: String::new() };
        let text = rendered(&error, false);
        assert!(text.chars().count() < 1200 && text.starts_with("holdpoint: ää"), "{text}");
        assert!(text.ends_with("ä: command not found\n"), "{text}");
        let whole = "x".repeat(2000);
        assert_eq!(short(&whole), whole);
    }

    #[test]
    fn a_refusal_is_one_screen_however_many_reasons_there_are() {
        let reason = Reason::new(Verdict::Deny, "rule", "config.toml:3", "no");
        let error = Error::Denied { by: "the policy".into(), reasons: vec![reason; 100] };
        let text = rendered(&error, false);
        assert!(text.lines().count() < 24, "{text}");
        assert!(text.contains("  no  (rule, config.toml:3)\n") && text.contains("and 92 more"));
    }
}
