//! `holdpoint completions`: what a shell needs to complete our command line.

use crate::args::Completions;
use crate::error::Error;
use crate::{command, exit, report};

/// Print them.
///
/// # Errors
/// [`Error::Io`] when they cannot be written.
pub(super) fn completions(args: &Completions) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "holdpoint", &mut script);
    report::output(&script)?;
    Ok(exit::SUCCESS)
}
