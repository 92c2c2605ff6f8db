//! The words of `sandbox` and `approval_policy`, ordered from loose to strict.

use serde::{Deserialize, Serialize};

/// Written and read as its word, for a type that has `ALL` and `word`.
macro_rules! words {
    ($($words:ty),+) => {$(
        impl std::fmt::Display for $words {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $words {
            type Err = $crate::mode::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|one| one.word() == word);
                found.ok_or_else(|| $crate::mode::UnknownWord {
                    word: word.to_owned(),
                    known: Self::ALL.map(Self::word).into(),
                })
            }
        }
    )+};
}
pub(crate) use words;

/// How far the sandbox is closed. The order is the strictness: of two modes the greater closes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SandboxMode {
    /// No sandbox at all, for machines that are disposable already. Only a profile can say so, never a flag.
    None,
    /// The workspace is writable and the network is open, but never this host's own loopback. Not to be had yet: nothing is run.
    WorkspaceWriteAndNet,
    /// The workspace is writable, the network is closed.
    WorkspaceWrite,
    /// Nothing is writable but a private `/tmp`, the network is closed.
    ReadOnly,
}

/// What waits for a person. The order is the strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ApprovalMode {
    /// Edits and commands go ahead; rules, the catalog and hooks still count.
    FullAuto,
    /// Edits go ahead, commands are held.
    AutoEdit,
    /// Edits and commands are held.
    Suggest,
}

impl SandboxMode {
    /// Every mode, from closed to open, as help texts list them.
    pub const ALL: [SandboxMode; 4] =
        [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite, SandboxMode::WorkspaceWriteAndNet, SandboxMode::None];

    /// The word that stands for this mode in a profile.
    pub fn word(self) -> &'static str {
        match self {
            SandboxMode::None => "none",
            SandboxMode::WorkspaceWriteAndNet => "workspace-write-and-net",
            SandboxMode::WorkspaceWrite => "workspace-write",
            SandboxMode::ReadOnly => "read-only",
        }
    }

    /// The stricter of the two.
    #[must_use]
    pub fn tighten(self, other: SandboxMode) -> SandboxMode {
        self.max(other)
    }

    /// Whether commands may write the workspace.
    pub fn writes_workspace(self) -> bool {
        self != SandboxMode::ReadOnly
    }
}

impl ApprovalMode {
    /// Every mode, from strict to loose, as help texts list them.
    pub const ALL: [ApprovalMode; 3] = [ApprovalMode::Suggest, ApprovalMode::AutoEdit, ApprovalMode::FullAuto];

    /// The word that stands for this mode in a profile.
    pub fn word(self) -> &'static str {
        match self {
            ApprovalMode::FullAuto => "full-auto",
            ApprovalMode::AutoEdit => "auto-edit",
            ApprovalMode::Suggest => "suggest",
        }
    }

    /// The stricter of the two.
    #[must_use]
    pub fn tighten(self, other: ApprovalMode) -> ApprovalMode {
        self.max(other)
    }
}

words!(SandboxMode, ApprovalMode);

/// A word that is none of those known in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word `{word}`, known are {}", list(.known))]
pub struct UnknownWord {
    /// The word as it was written.
    pub word: String,
    /// The words that may stand there.
    pub known: Vec<&'static str>,
}

/// "`a`, `b` and `c`".
pub(crate) fn list<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_its_mode() {
        for mode in SandboxMode::ALL {
            assert_eq!(mode.word().parse(), Ok(mode));
        }
        for mode in ApprovalMode::ALL {
            assert_eq!(mode.word().parse(), Ok(mode));
        }
    }

    #[test]
    fn an_unknown_word_lists_the_known_ones() {
        let error = "yolo".parse::<ApprovalMode>().unwrap_err();
        assert_eq!(error.to_string(), "unknown word `yolo`, known are `suggest`, `auto-edit` and `full-auto`");
    }

    #[test]
    fn tightening_goes_toward_read_only_and_suggest() {
        assert_eq!(SandboxMode::None.tighten(SandboxMode::WorkspaceWrite), SandboxMode::WorkspaceWrite);
        assert_eq!(SandboxMode::ReadOnly.tighten(SandboxMode::WorkspaceWriteAndNet), SandboxMode::ReadOnly);
        assert_eq!(ApprovalMode::FullAuto.tighten(ApprovalMode::AutoEdit), ApprovalMode::AutoEdit);
    }
}
