//! The user's own programs as data: what a hook is and what came out of it. Running them is the work of another crate.

use crate::mode::words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum HookEvent {
    /// Before a tool is used; a hook that fails here blocks it.
    PreToolUse,
    /// After a tool was used.
    PostToolUse,
    /// Before the first action of a session.
    SessionStart,
    /// After the last action of a session.
    SessionEnd,
}

impl HookEvent {
    /// Every event.
    pub const ALL: [HookEvent; 4] =
        [HookEvent::PreToolUse, HookEvent::PostToolUse, HookEvent::SessionStart, HookEvent::SessionEnd];

    /// The word that stands for this event in a profile and in a hook's input.
    pub fn word(self) -> &'static str {
        match self {
            HookEvent::PreToolUse => "PreToolUse",
            HookEvent::PostToolUse => "PostToolUse",
            HookEvent::SessionStart => "SessionStart",
            HookEvent::SessionEnd => "SessionEnd",
        }
    }
}

words!(HookEvent);

/// One command of the user that runs at an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// When it runs.
    pub event: HookEvent,
    /// The tool it is for; `None` is every tool.
    pub tool: Option<String>,
    /// Text for `sh -c`.
    pub command: String,
    /// How long it may take; longer is a failure, and a failure blocks.
    pub timeout: Duration,
    /// Where it was written: `FILE:LINE`.
    pub origin: String,
}

impl Hook {
    /// What a hook gets when it names no `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// The words of its command in which a path can stand: everything between blanks, quotes and the shell's own characters, and
    /// what is quoted as a whole, with `$PWD` as `.` and `$HOME` as `~`. Of a word with something to expand in it, the
    /// directory before that.
    ///
    /// ```
    /// use holdpoint_policy::{Hook, HookEvent};
    ///
    /// let command = "cd lib && python3 './my check.py' <\"$PWD/rules/base\" | sh -c 'sh hooks.d/*.sh'".to_owned();
    /// let hook = Hook {
    ///     event: HookEvent::PreToolUse,
    ///     tool: None,
    ///     command,
    ///     timeout: Hook::DEFAULT_TIMEOUT,
    ///     origin: "config.toml:1".to_owned(),
    /// };
    /// for word in ["lib", "./my check.py", "./rules/base", "hooks.d"] {
    ///     assert!(hook.words().iter().any(|found| found == word), "{word}");
    /// }
    /// ```
    pub fn words(&self) -> Vec<String> {
        let mut command = self.command.clone();
        for (variable, place) in [("${PWD}", "."), ("$PWD", "."), ("${HOME}", "~"), ("$HOME", "~")] {
            command = command.replace(variable, place);
        }
        let quoted = ['"', '\''].into_iter().flat_map(|quote| command.split(quote).skip(1).step_by(2));
        let plain = command.split(|c: char| c.is_whitespace() || "\"'`;&|<>(){}=,".contains(c));
        plain.chain(quoted).map(before_expansion).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// A word without its first part in which a shell finds something to expand, and what follows that.
fn before_expansion(word: &str) -> &str {
    match word.find(['*', '?', '[', '$', '\\']) {
        None => word,
        Some(at) => word[..at].rfind('/').map_or("", |slash| &word[..slash]),
    }
}

/// What one hook said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookOutcome {
    /// The hook, by its origin.
    pub hook: String,
    /// What came out of it.
    pub result: HookResult,
}

/// How a hook ended. Anything but a pass means the action does not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum HookResult {
    /// It had nothing against the action.
    Passed,
    /// It refused the action.
    Blocked {
        /// What it printed last.
        reason: String,
    },
    /// It could not be run, was killed, or ran out of time.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

/// What all hooks of one event said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookOutcomes(pub Vec<HookOutcome>);
