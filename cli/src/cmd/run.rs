//! `holdpoint run`: everything is done by the invocation.

use holdpoint_runtime::Opening;

use crate::args::Run;
use crate::error::Error;
use crate::invocation;

/// Run the command.
///
/// # Errors
/// Whatever kept it from being run.
pub(super) fn run(args: &Run, opening: Option<Opening>) -> Result<u8, Error> {
    if args.argv.first().is_some_and(|program| program.is_empty()) {
        return Err(Error::Usage {
            why: "the command is empty".into(),
            next: "write: holdpoint run -- CMD ARGS".into(),
        });
    }
    invocation::run(&args.flags, &args.argv, args.wait.hold_timeout, opening)
}
