//! One module for each subcommand, and the way from the command line to them.

mod agents_md;
mod apply;
mod bundle;
mod check;
mod completions;
mod decide;
mod doctor;
mod explain;
mod holds;
mod run;
mod serve;
mod session;

use std::ffi::OsString;

use holdpoint_runtime::Opening;

use crate::args::Command;
use crate::error::Error;

/// Do what was asked; the exit code, or why not. `opening` is the sandbox of the command that may be run.
///
/// # Errors
/// Whatever the subcommand has to report.
pub(crate) fn dispatch(command: Command, opening: Option<Opening>) -> Result<u8, Error> {
    match command {
        Command::Run(args) => run::run(&args, opening),
        Command::Bundle(args) => bundle::bundle(&args),
        Command::Session(args) => session::session(&args.command),
        Command::Apply(args) => apply::apply(&args),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Pair(answer) => serve::pair(&answer),
        Command::Holds(args) => holds::holds(&args),
        Command::Approve(args) => decide::approve(&args),
        Command::Deny(args) => decide::deny(&args),
        Command::AgentsMd(args) => agents_md::agents_md(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => completions::completions(&args),
    }
}

/// Whether `argv` names a program at all; `form` is what to write.
///
/// # Errors
/// [`Error::Usage`].
fn program_named(argv: &[OsString], form: &str) -> Result<(), Error> {
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err(Error::Usage { why: "the command is empty".into(), next: format!("write: {form} -- CMD ARGS") }),
    }
}
