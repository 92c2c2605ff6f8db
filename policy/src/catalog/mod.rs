//! Known commands that destroy, expose or reach out, as data per tool.

use serde::Serialize;

/// What is known about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Deletes, overwrites or wipes what cannot be brought back.
    Destructive,
    /// Changes the machine itself, or what guards it.
    System,
    /// Reads or prints credentials.
    Credentials,
    /// Reaches other machines: publishes, deploys, fetches code.
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
    /// What it would do, as one sentence for a person.
    pub text: String,
}

/// Everything known in what was read out of a command line.
pub fn hits(read: &crate::shell::Extraction) -> Vec<Hit> {
    let _unused = read;
    Vec::new()
}

/// Everything known about an agent's tool call.
pub fn tool(name: &str, input: &str) -> Vec<Hit> {
    let _unused = (name, input);
    Vec::new()
}
