//! The effective policy for people and for programs, each line with where it came from.

mod canonical;
mod sandbox;

pub use sandbox::sandbox_lines;

use crate::config::{Cpus, Size, Time, visible};
use crate::policy::{Policy, Sourced};
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The key as it is written in a profile.
    pub key: String,
    /// Its value as a person would write it.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// The effective policy as data: the policy itself and what its sandbox means.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation<'a> {
    /// The policy, every value with its origin.
    pub policy: &'a Policy,
    /// What the sandbox allows, one sentence an element; see [`sandbox_lines`].
    pub sandbox: Vec<String>,
}

/// The effective policy as data, for `--json`.
pub fn explain<'a>(policy: &'a Policy, workspace: &Path) -> Explanation<'a> {
    Explanation { policy, sandbox: sandbox_lines(policy, workspace) }
}

/// The effective policy, key by key in the order of a profile. Lists have one line an element.
pub fn lines(policy: &Policy) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |key: &str, value: String, origin: &str| {
        lines.push(Line { key: key.to_owned(), value: visible(&value), origin: visible(origin) });
    };
    if let Some(model) = &policy.model {
        add("model", model.value.clone(), &model.origin);
    }
    add("sandbox", policy.sandbox.value.to_string(), &policy.sandbox.origin);
    add("approval_policy", policy.approval.value.to_string(), &policy.approval.origin);
    for entry in &policy.deny_read {
        add("deny_read_paths", entry.value.to_string(), &entry.origin);
    }
    for (key, value) in
        [("deny_read_git_history", &policy.deny_read_git_history), ("deny_read_strict", &policy.deny_read_strict)]
    {
        if value.value || value.origin != crate::policy::BUILT_IN {
            add(key, value.value.to_string(), &value.origin);
        }
    }
    for (key, list) in [
        ("protect_paths", &policy.protect),
        ("readable_paths", &policy.readable),
        ("writable_paths", &policy.writable),
        ("exec_deny_paths", &policy.exec_deny),
    ] {
        for entry in list {
            add(key, entry.value.clone(), &entry.origin);
        }
    }
    if policy.exec_guard.value || policy.exec_guard.origin != crate::policy::BUILT_IN {
        add("exec_guard", policy.exec_guard.value.to_string(), &policy.exec_guard.origin);
    }
    for loss in &policy.allow_missing {
        add("allow_missing", loss.value.to_string(), &loss.origin);
    }
    for (names, origin) in together(&policy.env_inherit) {
        add("env.inherit", names, origin);
    }
    for (name, value) in &policy.env_set {
        add("env.set", format!("{name}={}", value.value), &value.origin);
    }
    let limits = &policy.limits;
    for (key, value) in [
        ("limits.memory", shown(limits.memory.as_ref(), |bytes| Size(*bytes).to_string())),
        ("limits.pids", shown(limits.pids.as_ref(), u64::to_string)),
        ("limits.cpus", shown(limits.cpus.as_ref(), |share| Cpus(*share).to_string())),
        ("limits.wall_time", shown(limits.wall_time.as_ref(), |time| Time(*time).to_string())),
        ("limits.cpu_time", shown(limits.cpu_time.as_ref(), |time| Time(*time).to_string())),
        ("limits.tmp", shown(limits.tmp.as_ref(), |bytes| Size(*bytes).to_string())),
        ("limits.disk", shown(limits.disk.as_ref(), |bytes| Size(*bytes).to_string())),
        ("limits.files", shown(limits.files.as_ref(), u64::to_string)),
        ("limits.output", shown(limits.output.as_ref(), |bytes| Size(*bytes).to_string())),
        ("limits.open_files", shown(limits.open_files.as_ref(), u64::to_string)),
    ] {
        if let Some((value, origin)) = value {
            add(key, value, origin);
        }
    }
    let catalog = &policy.catalog;
    for (key, verdict) in [
        ("catalog.destructive", &catalog.destructive),
        ("catalog.system", &catalog.system),
        ("catalog.credentials", &catalog.credentials),
        ("catalog.outward", &catalog.outward),
        ("catalog.unreadable", &catalog.unreadable),
    ] {
        add(key, verdict.value.to_string(), &verdict.origin);
    }
    for rule in &policy.rules {
        let title = rule.title();
        let prefix = title.trim_start_matches("[[rules]] ");
        add("[[rules]]", format!("{} {prefix}", rule.verdict), &rule.origin);
    }
    for hook in &policy.hooks {
        let tool = hook.tool.as_deref().unwrap_or("every tool");
        let time = Time(hook.timeout);
        add("[[hooks]]", format!("{} {tool}, within {time}", hook.event), &hook.origin);
    }
    lines
}

/// The effective policy for a screen: aligned lines with their origins, then what the sandbox means, then warnings.
///
/// ```
/// use holdpoint_policy::layer::{Flags, compile};
///
/// let policy = compile(&[], None, &Flags::default())?;
/// let text = holdpoint_policy::explain::text(&policy, "/src".as_ref());
/// assert!(text.starts_with("profile default\n"));
/// assert!(text.contains("approval_policy      suggest "));
/// assert!(text.contains("may read and write /src"));
/// # Ok::<(), holdpoint_policy::ConfigError>(())
/// ```
pub fn text(policy: &Policy, workspace: &Path) -> String {
    let lines = lines(policy);
    let wide = |lengths: &mut dyn Iterator<Item = usize>, most: usize| lengths.max().unwrap_or(0).min(most);
    let keys = wide(&mut lines.iter().map(|line| line.key.chars().count()), 24);
    let values = wide(&mut lines.iter().map(|line| line.value.chars().count()), 56);
    let mut text = format!("profile {}\n\n", policy.profile);
    let mut before = "";
    for line in &lines {
        let key = if line.key == before { "" } else { &line.key };
        text.push_str(&format!("{key:keys$}  {:values$}  {}\n", line.value, line.origin));
        before = &line.key;
    }
    text.push_str("\nA command\n");
    for line in sandbox_lines(policy, workspace) {
        text.push_str(&format!("  {line}\n"));
    }
    for warning in &policy.warnings {
        text.push_str(&format!("\nwarning: {}: {}\n", visible(&warning.origin), visible(&warning.text)));
    }
    text
}

/// Neighbours of one origin on one line.
fn together(list: &[Sourced<String>]) -> Vec<(String, &str)> {
    let mut lines: Vec<(String, &str)> = Vec::new();
    for entry in list {
        match lines.last_mut() {
            Some((names, origin)) if *origin == entry.origin && names.len() + entry.value.len() < 56 => {
                names.push(' ');
                names.push_str(&entry.value);
            }
            _ => lines.push((entry.value.clone(), &entry.origin)),
        }
    }
    lines
}

fn shown<T, S: Display>(value: Option<&Sourced<T>>, show: impl Fn(&T) -> S) -> Option<(String, &str)> {
    value.map(|value| (show(&value.value).to_string(), value.origin.as_str()))
}
