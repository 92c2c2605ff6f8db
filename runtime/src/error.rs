//! What can go wrong, grouped by what the caller can do about it.

use crate::enforced::Protection;
use std::{io, path::PathBuf};

/// Why a plan could not be made, a sandbox not started or a command not run. Nothing has run when one of these is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan itself is wrong; change the request.
    #[error("{what} {}: {why}", path.display())]
    Plan {
        /// What the path was given for.
        what: &'static str,
        /// The path in question.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// This kernel, or the way it is set up, lacks a protection that the plan needs.
    #[error("{protection} cannot be enforced here: {needs}")]
    Unsupported {
        /// What is missing.
        protection: Protection,
        /// What the kernel would have to offer, and how to get it.
        needs: String,
    },
    /// A step of the launch failed; nothing ran.
    #[error("could not {step} while starting the sandbox")]
    Setup {
        /// The step, in words.
        step: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The sandbox stands but the command did not start.
    #[error("could not {stage} {}", program.display())]
    Spawn {
        /// The program, or the directory, that was asked for.
        program: PathBuf,
        /// What was being done with it.
        stage: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The sandbox is no more: it was shut down, or its pid 1 or its warden was lost.
    #[error("the sandbox has ended: {why}")]
    Ended {
        /// What ended it.
        why: &'static str,
    },
    /// Talking to the sandbox failed.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn errno(doing: &'static str) -> impl FnOnce(nix::errno::Errno) -> Self {
        move |errno| Self::Io { doing, source: errno.into() }
    }
}
