//! Runs one command in a sandbox around the current directory: `confine PROGRAM ARGUMENTS…`.

use holdpoint_runtime::{Access, Sandbox};
use std::{env, error::Error, os::unix::process::ExitStatusExt, process::exit};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: confine PROGRAM ARGUMENTS…")?;
    let mut builder = Sandbox::builder();
    builder.system().workspace(env::current_dir()?, Access::ReadWrite).deny_read("**/.env*");
    let sandbox = builder.start()?;
    let status =
        sandbox.command(program).args(arguments).env("PATH", env::var_os("PATH").unwrap_or_default()).status()?;
    exit(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
}
