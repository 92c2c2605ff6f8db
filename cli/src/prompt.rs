//! Asking at the terminal, beside the page: one question on `/dev/tty`, whatever standard input and output are.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use holdpoint_approval_web::hold::MAX_REASON;
use holdpoint_approval_web::plan::{HoldPlan, Kind};
use holdpoint_approval_web::text;
use nix::fcntl::OFlag;
use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Lines of a diff shown at the terminal; the page shows all of it.
const SHOWN_LINES: usize = 200;

/// What the person typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Let it run.
    Approve,
    /// Do not, for this reason (which may be empty).
    Deny(String),
}

/// A question that stands on the terminal.
pub(crate) struct Prompt {
    tty: Option<File>,
    reason: bool,
}

impl Prompt {
    /// Ask at the controlling terminal; `None` when there is none, or others have it (a background job must not take it).
    pub(crate) fn open(plan: &HoldPlan) -> Option<Self> {
        let flags = (OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits();
        let mut tty = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty").ok()?;
        if tcgetpgrp(&tty).ok()? != getpgrp() {
            return None;
        }
        // What was typed before the question was asked answers something else.
        tcflush(&tty, FlushArg::TCIFLUSH).ok()?;
        tty.write_all(question(plan).as_bytes()).ok()?;
        Some(Self { tty: Some(tty), reason: false })
    }

    /// Readable when something was typed.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.tty.as_ref().map(AsFd::as_fd)
    }

    /// What was typed, when it is an answer; else the question is put again.
    pub(crate) fn read(&mut self) -> Option<Answer> {
        let tty = self.tty.as_mut()?;
        let mut line = [0; 4096];
        let length = match tty.read(&mut line) {
            Ok(length) if length > 0 => length,
            // End of input, or no terminal any more: who has refused has, and else the page is still there to answer.
            _ if self.reason => return Some(Answer::Deny(String::new())),
            _ => {
                drop(tty.write_all(ELSEWHERE.as_bytes()));
                self.tty = None;
                return None;
            }
        };
        let line = String::from_utf8_lossy(&line[..length]);
        let (answer, say) = answer(&line, self.reason);
        self.reason = say == REASON;
        let begin = if line.ends_with('\n') { "" } else { "\n" };
        let said = tty.write_all(begin.as_bytes()).and_then(|()| tty.write_all(say.as_bytes()));
        if answer.is_none() && said.is_err() {
            self.tty = None;
        }
        answer
    }

    /// Take the question back.
    pub(crate) fn close(self, why: &str) {
        if let Some(mut tty) = self.tty {
            tcflush(&tty, FlushArg::TCIFLUSH).ok();
            drop(tty.write_all(format!("\r\nholdpoint: {why}\r\n").as_bytes()));
        }
    }
}

const REASON: &str = "reason, for the one who asked (may be empty): ";
const AGAIN: &str = "y approves, n denies: ";
const ELSEWHERE: &str = "\nholdpoint: no answer here; it waits for one on the page\n";

/// What `typed` says. An approval is a whole line: the end of input (Ctrl-D) hands over what was only begun.
fn answer(typed: &str, reason: bool) -> (Option<Answer>, &'static str) {
    let word = typed.trim();
    if reason {
        return (Some(Answer::Deny(word.chars().take(MAX_REASON).collect())), "");
    }
    match word.to_ascii_lowercase().as_str() {
        "y" | "yes" if typed.ends_with('\n') => (Some(Answer::Approve), ""),
        "n" | "no" => (None, REASON),
        _ => (None, AGAIN),
    }
}

/// The plan in a few lines, and the question. Everything of the plan is foreign and encoded.
pub(crate) fn question(plan: &HoldPlan) -> String {
    format!("{}approve? [y/n] ", summary(plan))
}

/// The plan in a few lines.
pub(crate) fn summary(plan: &HoldPlan) -> String {
    let visible = |bytes: &[u8]| text::visible(bytes);
    let mut out = String::new();
    match plan.kind {
        Kind::Run => {
            out.push_str(&format!("held:     {}\n", text::command_line(plan.argv.iter())));
            if let Some(file) = &plan.executable {
                out.push_str(&format!("program:  {} sha256 {}\n", visible(file.path.as_bytes()), file.sha256.short()));
            }
        }
        Kind::Edit => out.push_str("held:     an edit of files\n"),
    }
    for file in &plan.operands {
        out.push_str(&format!("file:     {} sha256 {}\n", visible(file.path.as_bytes()), file.sha256.short()));
    }
    out.push_str(&format!("in:       {}\n", visible(plan.cwd.as_bytes())));
    out.push_str(&format!("profile:  {}\n", visible(plan.profile.as_bytes())));
    for reason in &plan.reasons {
        let (text, rule, origin) = (&reason.text, &reason.rule, &reason.origin);
        let because = [text, rule, origin].map(|part| visible(part.as_bytes()));
        out.push_str(&format!("because:  {}  ({}, {})\n", because[0], because[1], because[2]));
    }
    for line in &plan.sandbox {
        out.push_str(&format!("sandbox:  {}\n", visible(line.as_bytes())));
    }
    if let Some(diff) = &plan.diff {
        let lines: Vec<&[u8]> = diff.as_bytes().split(|b| *b == b'\n').collect();
        for line in lines.iter().take(SHOWN_LINES) {
            out.push_str(&format!("  {}\n", visible(line)));
        }
        if lines.len() > SHOWN_LINES {
            out.push_str(&format!("  and {} more lines, on the page\n", lines.len() - SHOWN_LINES));
        }
    }
    out.push_str(&format!("digest:   {}\n", plan.digest().short()));
    out
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Answer, MAX_REASON, REASON, answer};

    #[test]
    fn only_a_clear_word_is_an_answer() {
        for yes in ["y\n", "Y\r\n", " yes \n"] {
            assert_eq!(answer(yes, false), (Some(Answer::Approve), ""));
        }
        for unclear in ["\n", "yep\n", "1\n", "approve it\n", "ny\n", "y", "yes"] {
            assert_eq!(answer(unclear, false), (None, AGAIN), "{unclear:?}");
        }
        assert_eq!((answer("n\n", false), answer("n", false)), ((None, REASON), (None, REASON)));
        assert_eq!(answer(&"ä".repeat(4000), true).0, Some(Answer::Deny("ä".repeat(MAX_REASON))));
        assert_eq!(answer("y\n", true), (Some(Answer::Deny("y".into())), ""), "a reason is a reason, whatever it says");
    }
}
