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
