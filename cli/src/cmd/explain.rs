//! `holdpoint explain`: the policy in force, and where each line of it was written.

use holdpoint_policy::explain;
use serde_json::json;

use crate::args::Explain;
use crate::error::Error;
use crate::exit;
use crate::load::load;
use crate::report::{self, encoded};

/// Print the policy.
///
/// # Errors
/// [`Error::Config`] and its kin.
pub(super) fn explain(args: &Explain) -> Result<u8, Error> {
    let loaded = load(&args.flags)?;
    let root = &loaded.workspace.root;
    let read: Vec<String> = loaded.read.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    if args.flags.answer.json {
        report::result(&json!({
            "workspace": root.to_string_lossy(),
            "files": read,
            "policy_digest": loaded.policy_digest(),
            "effective": explain::explain(&loaded.policy, root),
        }))?;
        return Ok(exit::SUCCESS);
    }
    let mut out = explain::text(&loaded.policy, root);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str("\nread, in the order of their precedence:\n");
    if read.is_empty() {
        out.push_str("  nothing: every value is built in\n");
    }
    for path in read {
        out.push_str(&format!("  {}\n", encoded(&path)));
    }
    report::output(out.as_bytes())?;
    Ok(exit::SUCCESS)
}
