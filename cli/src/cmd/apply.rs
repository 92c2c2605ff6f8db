//! `holdpoint apply`: read a patch, then everything is done by the invocation.

use std::io::{self, Read};
use std::path::Path;

use serde_json::json;

use crate::apply::{LARGEST, Patch};
use crate::args::Apply;
use crate::error::Error;
use crate::files::open_regular;
use crate::{invocation, report};

/// Apply the patch.
///
/// # Errors
/// Whatever kept it from being applied; nothing was changed then.
pub(super) fn apply(args: &Apply) -> Result<u8, Error> {
    let text = read(&args.patch)?;
    let patch = Patch::parse(&text)?;
    let code = invocation::edit(&args.flags, &patch, args.wait.hold_timeout)?;
    if args.flags.answer.json {
        let paths: Vec<String> = patch.paths().iter().map(|path| path.to_string_lossy().into_owned()).collect();
        report::result(&json!({"result": "applied", "exit": code, "paths": paths}))?;
    }
    Ok(code)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let limit = LARGEST as u64 + 1;
    let done = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)
    } else {
        open_regular(path).and_then(|file| file.take(limit).read_to_end(&mut text))
    };
    let next = "name a patch file, or - for standard input";
    done.map_err(|error| Error::Usage { why: format!("{}: {error}", path.display()), next: next.into() })?;
    if text.len() > LARGEST {
        let next = "split it".into();
        return Err(Error::Patch { why: format!("it is larger than {} MiB", LARGEST >> 20), next });
    }
    Ok(text)
}
