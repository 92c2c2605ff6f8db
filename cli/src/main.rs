//! The `holdpoint` program: hands its arguments to the library and its exit code to the caller.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Musl's own allocator asks the kernel for every few pages, which is a third of the time that `holdpoint run` is allowed.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    ExitCode::from(holdpoint::main(std::env::args_os()))
}
