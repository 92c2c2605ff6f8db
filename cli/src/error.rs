//! Why nothing was run, grouped by what the person at the keyboard can do about it.

use std::path::Path;

use holdpoint_policy::{ConfigError, Reason};

/// Every way in which `holdpoint` ends without having run what it was asked to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line makes no sense.
    #[error("cannot do that: {why}")]
    Usage {
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        next: String,
    },
    /// A configuration text is wrong; it knows the place.
    #[error("the configuration is wrong")]
    Config(#[source] Box<ConfigError>),
    /// A configuration file or directory cannot be used at all.
    #[error("cannot use {what}: {why}")]
    Setting {
        /// The file or directory.
        what: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        next: String,
    },
    /// A protection cannot be enforced here.
    #[error("cannot enforce {what}: {why}")]
    Unenforceable {
        /// The protection.
        what: String,
        /// Why not.
        why: String,
        /// What to do.
        next: String,
    },
    /// The policy, a hook or a person refused.
    #[error("denied by {by}")]
    Denied {
        /// Who refused: `the policy`, `a hook`, or a person's name.
        by: String,
        /// Why, strictest first.
        reasons: Vec<Reason>,
    },
    /// Nobody could or did decide.
    #[error("no decision: {why}")]
    NoDecision {
        /// Why there is none.
        why: String,
        /// What to do.
        next: String,
    },
    /// There is no such session, or it cannot be used any more.
    #[error("{why}")]
    Session {
        /// What is wrong with it.
        why: String,
        /// What to do.
        next: String,
    },
    /// A patch is malformed or does not fit.
    #[error("cannot apply the patch: {why}")]
    Patch {
        /// Where and what.
        why: String,
        /// What to do.
        next: String,
    },
    /// The command's program does not exist where it would run.
    #[error("{program}: command not found")]
    NotFound {
        /// The program as it was named.
        program: String,
        /// What to do.
        next: String,
    },
    /// The command's program exists and cannot be executed.
    #[error("cannot execute {program}: {why}")]
    NotExecutable {
        /// The program as it was named.
        program: String,
        /// What the system said.
        why: String,
    },
    /// Reading or writing failed.
    #[error("cannot {what}: {why}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        why: String,
    },
    /// Whoever read our output stopped reading.
    #[error("the output was closed")]
    ClosedOutput,
    /// A signal told us to stop before anything was run.
    #[error("interrupted by signal {signal}")]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// Holdpoint itself failed.
    #[error("cannot {what}: {why}")]
    Internal {
        /// What was being done.
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl Error {
    /// [`Error::Io`] while doing `what`.
    pub fn io(what: impl Into<String>, source: impl std::fmt::Display) -> Self {
        Self::Io { what: what.into(), why: plain(&source) }
    }

    /// [`Error::Setting`] about `path`.
    pub fn setting(path: &Path, why: impl std::fmt::Display, next: impl Into<String>) -> Self {
        Self::Setting { what: path.display().to_string(), why: plain(&why), next: next.into() }
    }

    /// [`Error::Usage`]: what clap says of a command line, which begins with what is wrong.
    pub(crate) fn of_clap(text: &str) -> Self {
        let paragraph = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (why, next) = text.split_once("\n\n").unwrap_or((text, ""));
        let next: Vec<String> = next.split("\n\n").map(paragraph).filter(|text| !text.is_empty()).collect();
        Self::Usage { why: paragraph(why.trim_start_matches("error: ")), next: next.join("; ") }
    }

    /// [`Error::Internal`]: there was no thread, or no process, to do `what` with.
    pub(crate) fn no_thread(what: &str, source: &impl std::fmt::Display) -> Self {
        let why = format!("no thread is to be had: {}; {MORE_PROCESSES}", plain(source));
        Self::Internal { what: what.into(), why }
    }

    /// What to do next, when there is something to say.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        let next = match self {
            Self::Usage { next, .. }
            | Self::Setting { next, .. }
            | Self::Unenforceable { next, .. }
            | Self::NoDecision { next, .. }
            | Self::Session { next, .. }
            | Self::Patch { next, .. }
            | Self::NotFound { next, .. } => next,
            _ => return None,
        };
        (!next.is_empty()).then_some(next.as_str())
    }

    /// One word for scripts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Config(_) | Self::Setting { .. } => "config",
            Self::Unenforceable { .. } => "unenforceable",
            Self::Denied { .. } => "denied",
            Self::NoDecision { .. } => "no-decision",
            Self::Session { .. } => "session",
            Self::Patch { .. } => "patch",
            Self::NotFound { .. } => "not-found",
            Self::NotExecutable { .. } => "not-executable",
            Self::Io { .. } | Self::ClosedOutput => "io",
            Self::Interrupted { .. } => "interrupted",
            Self::Internal { .. } => "internal",
        }
    }
}

/// What to do when the kernel gives no thread.
pub(crate) const MORE_PROCESSES: &str = "allow more processes (`ulimit -u`, or pids.max of the control group)";

/// What went wrong in words: the standard library adds the kernel's numbers, which say nothing more to a person.
pub(crate) fn plain(error: &impl std::fmt::Display) -> String {
    const NUMBER: &str = " (os error ";
    let mut text = error.to_string();
    while let Some(at) = text.find(NUMBER) {
        let digits = text[at + NUMBER.len()..].bytes().take_while(u8::is_ascii_digit).count();
        let after = at + NUMBER.len() + digits;
        if digits == 0 || text.as_bytes().get(after) != Some(&b')') {
            break;
        }
        text.replace_range(at..=after, "");
    }
    text
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn numbers_of_the_kernel_are_left_out_wherever_they_stand() {
        let error = std::io::Error::from_raw_os_error(28);
        assert_eq!(plain(&error), "No space left on device");
        assert_eq!(
            plain(&format!("cannot: {error}; free some: {error}")),
            plain(&"cannot: No space left on device; free some: No space left on device")
        );
        for odd in ["x (os error ", "x (os error )", "x (os error 1", "x (os error one)"] {
            assert_eq!(plain(&odd), odd);
        }
    }
}
