//! `holdpoint run`: everything is done by the invocation.

use holdpoint_runtime::Opening;

use super::program_named;
use crate::args::Run;
use crate::error::Error;
use crate::invocation;

/// Run the command.
///
/// # Errors
/// Whatever kept it from being run.
pub(super) fn run(args: &Run, opening: Option<Opening>) -> Result<u8, Error> {
    program_named(&args.argv, "holdpoint run")?;
    invocation::run(&args.flags, &args.argv, args.wait.hold_timeout, opening)
}
