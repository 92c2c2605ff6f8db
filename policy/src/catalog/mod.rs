//! Known commands that destroy, expose or reach out, as data per tool.
//!
//! A hit gets the verdict that the policy gives its [`Class`], in every approval mode. Most of the knowledge is tables of
//! patterns; what a table cannot say (`rm` and its targets, requests, SQL, inline code) is a function beside them.
//! This is advice given early: what is not known here still runs inside the sandbox only.

mod code;
mod credentials;
mod data;
mod files;
mod guards;
mod pattern;
mod remote;
mod requests;
mod sql;
mod system;

use crate::shell::{Extraction, Invocation};
use serde::Serialize;
use std::collections::BTreeSet;

/// What is known about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Deletes, overwrites, wipes or publishes: cannot be taken back.
    Destructive,
    /// Changes the machine itself, or what guards it.
    System,
    /// Reads or prints credentials.
    Credentials,
    /// Reaches other machines: pushes, deploys, fetches code.
    Outward,
    /// Cannot be read before it runs.
    Unreadable,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::Destructive => "destructive",
            Class::System => "system",
            Class::Credentials => "credentials",
            Class::Outward => "outward",
            Class::Unreadable => "unreadable",
        })
    }
}

/// A command that the catalog knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Hit {
    /// What is known about it.
    pub class: Class,
    /// The tool.
    pub tool: String,
    /// What it would do, as a sentence fragment for a person.
    pub text: String,
}

impl Hit {
    fn new(class: Class, tool: &str, text: impl Into<String>) -> Hit {
        Hit { class, tool: tool.to_owned(), text: text.into() }
    }
}

/// Everything known in what was read out of a command line, each thing once.
///
/// ```
/// use holdpoint_policy::catalog::{Class, hits};
/// use holdpoint_policy::shell::extract;
///
/// let volume = r#"curl -s https://api.test/graphql -d '{"query":"mutation { volumeDelete(volumeId: \"v\") }"}'"#;
/// let read = extract(&["sh".into(), "-c".into(), volume.into()]);
/// assert_eq!(hits(&read)[0].class, Class::Destructive);
///
/// assert!(hits(&extract(&["cargo".into(), "test".into()])).is_empty());
/// ```
pub fn hits(read: &Extraction) -> Vec<Hit> {
    let mut found = BTreeSet::new();
    for invocation in &read.invocations {
        let known = [
            pattern::known(invocation),
            files::known(invocation),
            credentials::known(invocation),
            guards::known(invocation),
            remote::known(invocation),
            requests::known(invocation),
            sql::known(invocation),
            code::known(invocation),
        ];
        found.extend(known.into_iter().flatten());
    }
    found.into_iter().collect()
}

/// Everything known about a call of an agent's tool: its name, and any text in its input.
pub fn tool(name: &str, input: &str) -> Vec<Hit> {
    let mut found = BTreeSet::new();
    if remote::destroys(name) {
        found.insert(Hit::new(Class::Destructive, name, "its name says that it deletes"));
    }
    let mut texts = Vec::new();
    match serde_json::from_str(input) {
        Ok(value) => strings(&value, &mut texts),
        Err(_) => texts.push(input.to_owned()),
    }
    for text in texts {
        if requests::destroys(&text) {
            found.insert(Hit::new(Class::Destructive, name, "its input holds a mutation that deletes"));
        }
        if sql::destroys(&text) {
            found.insert(Hit::new(Class::Destructive, name, "its input holds SQL that destroys data"));
        }
    }
    found.into_iter().collect()
}

fn strings(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

/// The literal arguments of an invocation.
fn literals(invocation: &Invocation) -> impl Iterator<Item = &str> {
    invocation.arguments().iter().filter_map(|word| word.literal())
}

/// Whether the command only asks for help, its version or a rehearsal, which the tools of the tables answer without doing
/// anything. It must stand last, where it is no value of another option and no name.
fn asks_for_help(invocation: &Invocation) -> bool {
    let words: Vec<&str> = literals(invocation).collect();
    let unambiguous = words.len() == invocation.arguments().len() && !words.contains(&"--");
    unambiguous && matches!(words.last(), Some(&("--help" | "-help" | "--dry-run"))) || only_asks_for_help(invocation)
}

/// The same for commands where a last word may still be a file or a value.
fn only_asks_for_help(invocation: &Invocation) -> bool {
    let words: Vec<&str> = literals(invocation).collect();
    matches!(words.as_slice(), ["--help" | "-help" | "-h" | "--version" | "-V" | "help" | "version"])
}
