//! `holdpoint`: the one place that composes policy, hooks, approval and the sandbox into a program.
//!
//! The library target exists for the program itself and for the build's generators of man pages and completions
//! ([`command`]). What holds an invocation together is in `invocation`; every exit code is in [`exit`].

#![forbid(unsafe_code)]

use std::ffi::OsString;

use clap::CommandFactory;
use holdpoint_runtime::Opening;

pub mod args;
pub mod error;
pub mod exit;
mod invocation;
pub mod report;
pub mod session;

mod agents_md;
mod apply;
mod approver;
mod attend;
mod beneath;
mod cmd;
mod confine;
mod files;
mod held;
mod hook_files;
mod identity;
mod inner;
mod load;
mod places;
mod process;
mod program;
mod project;
mod prompt;
mod reached;
mod relay;
mod signals;
mod terminal;
mod toolchains;

/// The command line's definition, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Do what the arguments say and return the exit code; `args` starts with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    // The kernel makes namespaces while we find out what is asked for.
    let opening = args.get(1).is_some_and(|word| word == "run").then(Opening::begin);
    signals::outlive_file_limit();
    let cli = match args::Cli::read(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.command.json();
    match cmd::dispatch(cli.command, opening) {
        Ok(code) => code,
        Err(error) => {
            report::error(&error);
            if signals::met_file_limit() {
                report::tell("  a file would grow beyond what it may have here (`ulimit -f`)\n");
            }
            if json {
                // The exit code says it as well; a result nobody can read changes nothing about it.
                drop(report::result(&report::error_json(&error)));
            }
            exit::of_error(&error)
        }
    }
}

/// Print what clap has to say: help and version are answers, everything else is a usage error.
fn usage(error: &clap::Error) -> u8 {
    let asked = !error.use_stderr();
    match error.print() {
        Ok(()) if asked => exit::SUCCESS,
        Ok(()) => exit::USAGE,
        Err(_) if asked => exit::IO,
        Err(_) => exit::USAGE,
    }
}
