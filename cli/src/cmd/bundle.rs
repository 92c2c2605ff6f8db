//! `holdpoint bundle`: the sandbox of a command for another engine to carry out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use holdpoint_runtime::{Applied, Enforced, oci};
use serde_json::json;

use super::program_named;
use crate::args::Bundle;
use crate::confine::Confinement;
use crate::error::Error;
use crate::exit;
use crate::invocation;
use crate::load::Loaded;
use crate::process::chain;
use crate::report::{self, encoded};

/// Write the bundle.
///
/// # Errors
/// Whatever would keep the command from being run, [`Error::Unenforceable`] for what engines do not enforce, and
/// [`Error::Usage`] for a directory that cannot hold a bundle.
pub(super) fn bundle(args: &Bundle) -> Result<u8, Error> {
    let usage = |why: String| Error::Usage { why, next: "write: holdpoint bundle DIR -- CMD ARGS".into() };
    program_named(&args.argv, "holdpoint bundle DIR")?;
    let directory = resolved(&args.directory)
        .map_err(|error| usage(format!("{} cannot be made: {error}", args.directory.display())))?;
    let enforced = invocation::unattended(&args.flags, &args.argv, |loaded, confined, env| {
        write(args, &directory, loaded, confined, env)
    })?;
    let missing = || enforced.protections.iter().filter(|line| !line.holds);
    for line in missing() {
        report::say(&encoded(&format!("{} is not enforced by the bundle: {}", line.protection, line.detail)));
    }
    if args.flags.answer.json {
        let missing: Vec<&Applied> = missing().collect();
        report::result(&json!({"result": "written", "bundle": directory.to_string_lossy(), "missing": missing}))?;
    }
    Ok(exit::SUCCESS)
}

fn write(
    args: &Bundle,
    directory: &Path,
    loaded: &Loaded,
    confined: &mut Confinement,
    env: &[(OsString, OsString)],
) -> Result<Enforced, Error> {
    if confined.shows(directory) {
        let why = "the command could see the bundle it runs from, and change it for the next run".to_owned();
        return Err(Error::Usage { why, next: "choose a directory outside of the workspace".into() });
    }
    // No engine puts files into a home that it makes.
    confined.builder.git_config(false);
    for protection in &args.allow_missing {
        confined.builder.allow_missing(*protection);
    }
    let text = |word: &OsString| {
        let why = format!("{word:?} is not UTF-8, and a bundle cannot hold it");
        word.to_str().map(str::to_owned).ok_or_else(|| Error::Usage { why, next: String::new() })
    };
    let mut process = oci::Process::new(args.argv.iter().map(text).collect::<Result<Vec<_>, _>>()?);
    process.directory = loaded.workspace.cwd.clone();
    for (name, value) in env {
        process.environment.push(format!("{}={}", text(name)?, text(value)?));
    }
    let plan = confined.builder.plan().map_err(crate::process::not_started)?;
    oci::write_bundle(&plan, &process, directory).map_err(|error| refused(error, directory))
}

fn refused(error: oci::Error, directory: &Path) -> Error {
    match error {
        oci::Error::Missing { missing } => {
            let detail: Vec<String> =
                missing.iter().map(|line| format!("{}: {}", line.protection, line.detail)).collect();
            let names: Vec<String> = missing.iter().map(|line| line.protection.to_string()).collect();
            Error::Unenforceable {
                what: "everything with an OCI engine".into(),
                why: detail.join("; "),
                next: format!("use `holdpoint run`, or do without: --allow-missing {}", names.join(",")),
            }
        }
        oci::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::DirectoryNotEmpty => Error::Usage {
            why: format!("{} is not empty", directory.display()),
            next: "name a directory that is empty or does not exist".into(),
        },
        error @ oci::Error::Io { .. } => Error::io("write the bundle", chain(&error)),
        other => Error::Usage { why: chain(&other), next: String::new() },
    }
}

/// Where the directory is, or would be: its parent without links, and its name.
fn resolved(directory: &Path) -> std::io::Result<PathBuf> {
    match directory.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        done => return done,
    }
    let absolute = std::path::absolute(directory)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => Err(std::io::ErrorKind::InvalidFilename.into()),
    }
}
