//! `cargo xtask`: everything a developer of Holdpoint does, one subcommand each.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to a terminal")]

mod api;
mod attacks;
mod bench;
mod ci;
mod codegen;
mod dist;
mod e2e;
mod kernels;
mod ordinary;
mod process;
mod replay;
mod requirements;
mod syscalls;
mod tally;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything a developer of Holdpoint does.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Pass every test, installing what they need.
    Test(test::Options),
    /// Replay the nine-second incident: bare, then with each layer alone, then with all of them.
    Replay(replay::Options),
    /// Format, lint, test, tidy, generated files and documentation, as the continuous integration does.
    Ci(ci::Options),
    /// The rules of the house that no compiler checks.
    Tidy(tidy::Options),
    /// Launch time against bubblewrap and a bare exec, interleaved.
    Bench(bench::Options),
    /// Build what is distributed: the static program, man pages and completions.
    Dist(dist::Options),
    /// The approval page in a real Chromium.
    E2e(e2e::Options),
    /// Man pages, shell completions and the configuration schema.
    Codegen(codegen::Options),
    /// Compare the library's public items with the last release.
    Api(api::Options),
    /// Run an attack corpus against `holdpoint run`.
    Attacks(attacks::Options),
    /// Run tests of system calls bare and inside, and compare.
    Syscalls(syscalls::Options),
    /// Boot Debian's kernels in virtual machines and run tests and attacks on each.
    Kernels(kernels::Options),
    /// What `kernels` runs inside a machine.
    #[command(hide = true)]
    KernelsGuest(kernels::GuestOptions),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Test(options) => test::main(&options),
        Task::Replay(options) => replay::main(&options),
        Task::Ci(options) => ci::main(&options),
        Task::Tidy(options) => tidy::main(&options),
        Task::Bench(options) => bench::main(&options),
        Task::Dist(options) => dist::main(&options),
        Task::E2e(options) => e2e::main(&options),
        Task::Codegen(options) => codegen::main(&options),
        Task::Api(options) => api::main(&options),
        Task::Attacks(options) => attacks::main(&options),
        Task::Syscalls(options) => syscalls::main(&options),
        Task::Kernels(options) => kernels::main(&options),
        Task::KernelsGuest(options) => kernels::guest(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Xtask::command().debug_assert();
    }
}
