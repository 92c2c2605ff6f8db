//! One thing that wants to happen.

use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// One thing that wants to happen and is judged before it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Run a command.
    Run(Run),
    /// Change files of the workspace by a patch.
    Edit(Edit),
    /// Read one file.
    Read {
        /// The file, relative to the workspace or absolute.
        path: PathBuf,
    },
    /// Write one file whole.
    Write {
        /// The file, relative to the workspace or absolute.
        path: PathBuf,
    },
    /// Call a tool of the agent that is none of the above, such as one of an MCP server.
    Tool {
        /// The tool's name as the agent gives it.
        name: String,
        /// The tool's input as JSON text.
        input: String,
    },
}

/// A command as it will be executed: no shell stands between this and `execve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Program and arguments, in the order of `execve`.
    #[serde(serialize_with = "lossy_words")]
    pub argv: Vec<OsString>,
    /// The directory it starts in, absolute.
    pub cwd: PathBuf,
}

/// A change of files by a patch; all of it happens or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The workspace, absolute.
    pub workspace: PathBuf,
    /// Every file the patch creates, changes, renames or deletes, relative to the workspace.
    pub paths: Vec<PathBuf>,
}

fn lossy_words<S: serde::Serializer>(words: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(words.iter().map(|word| word.to_string_lossy()))
}
