//! `holdpoint`: the one place that composes policy, hooks, approval and the sandbox into a program.
//!
//! The library target exists for the program itself and for the build's generators of man pages and completions
//! ([`command`]). What holds an invocation together is in `invocation`; every exit code is in [`exit`].

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use clap::CommandFactory;
use clap::builder::StyledStr;
use holdpoint_runtime::Opening;

use crate::error::Error;

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
        Err(error) => return usage(&error, &args),
    };
    let json = cli.command.json();
    match cmd::dispatch(cli.command, opening) {
        Ok(code) => code,
        Err(error) => failed(&error, json),
    }
}

/// Say why nothing came of it; the exit code that says so.
fn failed(error: &Error, json: bool) -> u8 {
    report::error(error);
    if signals::met_file_limit() {
        report::tell("  a file would grow beyond what it may have here (`ulimit -f`)\n");
    }
    if json {
        // The exit code says it as well; a result nobody can read changes nothing about it.
        drop(report::result(&report::error_json(error)));
    }
    exit::of_error(error)
}

/// Say what clap says of `args`: help and version are answers, everything else is a usage error.
fn usage(error: &clap::Error, args: &[OsString]) -> u8 {
    if !error.use_stderr() {
        let text = shown(&error.render(), &io::stdout());
        return report::output(text.as_bytes()).map_or_else(|error| failed(&error, false), |()| exit::SUCCESS);
    }
    // Clap repeats words of the command line as they are.
    let visible = |arg: &OsString| OsString::from(report::short(&report::encoded(&arg.to_string_lossy())).into_owned());
    let visible: Vec<OsString> = args.iter().map(visible).collect();
    let text = match args::Cli::read(&visible) {
        Err(same) if same.kind() == error.kind() => same.render(),
        _ => clap::Error::new(error.kind()).render(),
    };
    report::tell(&shown(&text, &io::stderr()));
    if args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json") {
        drop(report::result(&report::error_json(&Error::of_clap(&text.to_string()))));
    }
    exit::USAGE
}

/// What clap has written, for this stream.
fn shown(text: &StyledStr, stream: &impl IsTerminal) -> String {
    if report::colour(stream) { text.ansi().to_string() } else { text.to_string() }
}
