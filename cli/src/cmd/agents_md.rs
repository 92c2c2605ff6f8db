//! `holdpoint agents-md`: the AGENTS.md text that applies to a directory; nothing of it is dropped silently.

use std::path::PathBuf;

use holdpoint_policy::agents_md::assemble;
use serde_json::json;

use crate::args::AgentsMd;
use crate::error::Error;
use crate::exit;
use crate::load::instructions;
use crate::places::{Places, Workspace};
use crate::report::{self, encoded};

/// Print the text.
///
/// # Errors
/// [`Error::Setting`] for a file that cannot be read.
pub(super) fn agents_md(args: &AgentsMd) -> Result<u8, Error> {
    let places = Places::find()?;
    let workspace = match &args.dir {
        Some(dir) => Workspace::of(dir)?,
        None => Workspace::find(None)?,
    };
    let found = instructions(&places, &workspace)?.into_iter().filter(|found| !found.overridden);
    let files: Vec<(PathBuf, String)> = found.map(|found| (found.said.path, found.text)).collect();
    let assembled = assemble(&files, args.max_bytes);
    let names = |paths: &mut dyn Iterator<Item = &PathBuf>| -> Vec<String> {
        paths.map(|path| path.to_string_lossy().into_owned()).collect()
    };
    let cut = names(&mut assembled.cut.iter());
    let code = if args.strict && !cut.is_empty() { exit::CONFIG } else { exit::SUCCESS };
    if args.answer.json {
        let files = names(&mut files.iter().map(|(path, _)| path));
        report::result(&json!({"text": assembled.text, "files": files, "cut": cut, "exit": code}))?;
    } else {
        // Carried as it is: this text is the answer, for a program to read.
        report::output(assembled.text.as_bytes())?;
    }
    for path in &cut {
        let limit = args.max_bytes;
        report::say(&format!("cut: {} does not fit whole into {limit} bytes; raise --max-bytes", encoded(path)));
    }
    Ok(code)
}
