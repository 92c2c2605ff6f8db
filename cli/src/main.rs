//! The `holdpoint` program: hands its arguments to the library and its exit code to the caller.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(holdpoint::main(std::env::args_os()))
}
