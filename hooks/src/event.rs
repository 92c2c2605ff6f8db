//! What a hook is told: one event in normal form, and the JSON it becomes.
//!
//! The member names are those the well-known agents already use (`hook_event_name`, `tool_name`, `tool_input`, `cwd`,
//! `session_id`, `permission_mode`), so a hook written for one of them needs no change:
//!
//! ```json
//! {"hook_event_name":"PreToolUse","tool_name":"shell",
//!  "tool_input":{"command":"curl -X DELETE …","argv":["sh","-c","curl -X DELETE …"]},
//!  "cwd":"/home/a/app","session_id":"…","profile":"production-adjacent","permission_mode":"suggest"}
//! ```
//!
//! A file edit has `tool_name` `apply_patch` and `tool_input` `{file_path, file_paths, diff}`. `PostToolUse` adds
//! `tool_response`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdpoint_policy::HookEvent;
use serde_json::{Map, Value, json};

use crate::quote;

/// The name of the tool that runs a command.
pub const SHELL: &str = "shell";

/// The name of the tool that edits files.
pub const APPLY_PATCH: &str = "apply_patch";

/// One thing that is about to happen or has happened, as hooks are told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which moment this is.
    pub event: HookEvent,
    /// The tool's name: [`SHELL`], [`APPLY_PATCH`], another tool's, or empty when the event has no tool.
    pub tool: String,
    /// The tool's input, as a JSON object.
    pub input: Value,
    /// What the tool answered, for events after it ran.
    pub response: Option<Value>,
    /// The directory the action happens in; hooks run in it.
    pub cwd: PathBuf,
    /// The name of the profile in force.
    pub profile: String,
    /// An identifier of this run, the same in all of its events.
    pub session: String,
    /// The approval mode in force, in the words of the configuration; empty when it is not known.
    pub approval: String,
}

/// What is the same in every event of one run.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The directory the action happens in.
    pub cwd: PathBuf,
    /// The name of the profile in force.
    pub profile: String,
    /// An identifier of this run.
    pub session: String,
    /// The approval mode in force, in the words of the configuration.
    pub approval: String,
}

impl Event {
    /// A command that runs: `command` is `argv` as a shell would read it, and for `sh -c SCRIPT` the script itself, so
    /// that a hook's pattern sees the text that will be executed.
    ///
    /// Words that are no UTF-8 are shown with U+FFFD; then `argv_hex` holds the exact bytes of every word.
    #[must_use]
    pub fn command(event: HookEvent, argv: &[OsString], about: &About) -> Self {
        let mut input = Map::new();
        let command = quote::shell_script(argv).unwrap_or_else(|| quote::command_line(argv));
        input.insert("command".into(), command.into());
        input.insert("argv".into(), argv.iter().map(|word| word.to_string_lossy()).collect());
        if argv.iter().any(|word| word.to_str().is_none()) {
            input.insert("argv_hex".into(), argv.iter().map(|word| hex(word.as_bytes())).collect());
        }
        Self::of(event, SHELL, Value::Object(input), about)
    }

    /// An edit of files: `paths` as the diff names them, relative to the workspace, and the diff itself.
    #[must_use]
    pub fn edit(event: HookEvent, paths: &[PathBuf], diff: &[u8], about: &About) -> Self {
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        let input = json!({
            "file_path": paths.first().map(|path| shown(path)),
            "file_paths": paths.iter().map(|path| shown(path)).collect::<Vec<_>>(),
            "diff": String::from_utf8_lossy(diff),
        });
        Self::of(event, APPLY_PATCH, input, about)
    }

    /// An event that concerns no tool, such as `SessionStart`.
    #[must_use]
    pub fn moment(event: HookEvent, about: &About) -> Self {
        Self::of(event, "", json!({}), about)
    }

    /// The same event with what the tool answered.
    #[must_use]
    pub fn with_response(mut self, response: Value) -> Self {
        self.response = Some(response);
        self
    }

    fn of(event: HookEvent, tool: &str, input: Value, about: &About) -> Self {
        Self {
            event,
            tool: tool.to_owned(),
            input,
            response: None,
            cwd: about.cwd.clone(),
            profile: about.profile.clone(),
            session: about.session.clone(),
            approval: about.approval.clone(),
        }
    }

    /// The JSON object a hook is given.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("hook_event_name".into(), self.event.to_string().into());
        if !self.tool.is_empty() {
            object.insert("tool_name".into(), self.tool.clone().into());
            object.insert("tool_input".into(), self.input.clone());
        }
        if let Some(response) = &self.response {
            object.insert("tool_response".into(), response.clone());
        }
        object.insert("cwd".into(), self.cwd.to_string_lossy().into());
        object.insert("session_id".into(), self.session.clone().into());
        object.insert("profile".into(), self.profile.clone().into());
        if !self.approval.is_empty() {
            object.insert("permission_mode".into(), self.approval.clone().into());
        }
        Value::Object(object)
    }

    /// [`to_json`](Self::to_json) on one line, in the form that `echo "$INPUT"` of every shell leaves as it is.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Serialising a `Value` has no failing case; an empty line would make any hook that reads it fail, which blocks.
        crate::json::to_line(&self.to_json()).unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{About, Event};
    use holdpoint_policy::HookEvent;
    use serde_json::json;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn about() -> About {
        About { cwd: "/w".into(), profile: "p".into(), session: "s1".into(), approval: "suggest".into() }
    }

    #[test]
    fn a_command_is_told_in_the_agents_own_words() {
        let argv: Vec<OsString> = ["curl", "-X", "DELETE", "http://a/?b=c d"].iter().map(Into::into).collect();
        let json = Event::command(HookEvent::PreToolUse, &argv, &about()).to_json();
        let expected = json!({
            "hook_event_name": "PreToolUse",
            "tool_name": "shell",
            "tool_input": {"command": "curl -X DELETE 'http://a/?b=c d'", "argv": ["curl", "-X", "DELETE", "http://a/?b=c d"]},
            "cwd": "/w", "session_id": "s1", "profile": "p", "permission_mode": "suggest",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_shell_script_is_told_as_it_will_be_read() {
        let argv: Vec<OsString> = ["sh", "-c", "echo 'a' | grep \"b\""].iter().map(Into::into).collect();
        let json = Event::command(HookEvent::PreToolUse, &argv, &about()).to_json();
        assert_eq!(json["tool_input"]["command"], "echo 'a' | grep \"b\"");
    }

    #[test]
    fn bytes_that_are_no_text_are_not_lost() {
        let argv = vec![OsString::from("rm"), OsString::from_vec(vec![0xff, b'a'])];
        let json = Event::command(HookEvent::PreToolUse, &argv, &about()).to_json();
        assert_eq!(json["tool_input"]["argv"], json!(["rm", "\u{fffd}a"]));
        assert_eq!(json["tool_input"]["argv_hex"], json!(["726d", "ff61"]));
    }

    #[test]
    fn an_edit_names_its_files_and_shows_the_diff() {
        let json = Event::edit(HookEvent::PreToolUse, &["a.rs".into(), "b.rs".into()], b"--- a", &about()).to_json();
        assert_eq!(json["tool_name"], "apply_patch");
        assert_eq!(json["tool_input"], json!({"file_path": "a.rs", "file_paths": ["a.rs", "b.rs"], "diff": "--- a"}));
    }

    #[test]
    fn a_moment_has_no_tool_and_a_response_is_carried() {
        let json = Event::moment(HookEvent::SessionStart, &about()).to_json();
        assert!(json.get("tool_name").is_none() && json.get("tool_response").is_none());
        let argv = [OsString::from("true")];
        let after = Event::command(HookEvent::PostToolUse, &argv, &about()).with_response(json!({"exit_code": 0}));
        assert_eq!(after.to_json()["tool_response"], json!({"exit_code": 0}));
    }
}
