//! Which hooks an event concerns: the event's name, and the `tool` of the hook.
//!
//! `tool` is one name or several separated by `|`; `*` stands for any characters; case does not count. A hook without
//! `tool`, and every hook for an event that has no tool (`SessionStart`), always runs. Names that agents use for the
//! same tool are one: a hook written for `Bash` sees what Holdpoint calls `shell`.

use holdpoint_policy::Hook;

use crate::event::Event;

/// Other names of Holdpoint's own tools, as the well-known agents call them.
const ALIASES: &[(&str, &[&str])] = &[
    ("shell", &["bash", "local_shell", "exec_command", "run_shell_command"]),
    ("apply_patch", &["edit", "write", "multiedit"]),
];

/// The hooks of `hooks` that run for `event`, in the order they were written.
pub fn matching<'a>(hooks: &'a [Hook], event: &'a Event) -> impl Iterator<Item = &'a Hook> {
    hooks.iter().filter(|hook| hook.event == event.event && tool_matches(hook.tool.as_deref(), &event.tool))
}

/// Whether a hook with this `tool` setting concerns the tool named `name` (empty: the event has no tool).
#[must_use]
pub fn tool_matches(setting: Option<&str>, name: &str) -> bool {
    let Some(setting) = setting.map(str::trim).filter(|setting| !setting.is_empty()) else { return true };
    if name.is_empty() {
        return true;
    }
    let name = name.to_lowercase();
    let others = ALIASES.iter().find(|(own, _)| *own == name).map_or(&[][..], |(_, others)| others);
    setting.to_lowercase().split('|').map(str::trim).any(|pattern| {
        wildcard(pattern.as_bytes(), name.as_bytes())
            || others.iter().any(|o| wildcard(pattern.as_bytes(), o.as_bytes()))
    })
}

/// Match with `*` for any run of bytes. One backtracking point is enough, so time is at most |pattern| × |text|.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_star, from)) = retry {
            (p, t) = (after_star, from + 1);
            retry = Some((after_star, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::tool_matches;

    #[test]
    fn a_tool_is_named_in_any_case_by_alternatives_or_a_star() {
        for setting in
            ["shell", "Shell", "SHELL", "*", "sh*", "*ell", "s*l*", "edit|shell", " edit | shell ", "Bash", ""]
        {
            assert!(tool_matches(Some(setting), "shell"), "{setting:?} should match");
        }
        for setting in ["shel", "shells", "edit", "edit|write", "s*x", "?hell"] {
            assert!(!tool_matches(Some(setting), "shell"), "{setting:?} should not match");
        }
        assert!(tool_matches(None, "shell"));
        assert!(tool_matches(Some("edit"), "apply_patch"));
        assert!(tool_matches(Some("mcp__*"), "mcp__db__query"));
    }

    #[test]
    fn an_event_without_a_tool_is_never_missed() {
        assert!(tool_matches(Some("shell"), ""));
    }
}
