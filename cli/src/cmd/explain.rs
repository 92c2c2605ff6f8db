//! `holdpoint explain`: the policy in force, and where each line of it was written.

use std::path::Path;

use holdpoint_policy::explain;
use serde_json::json;

use crate::args::Explain;
use crate::confine::confinement;
use crate::error::{Error, plain};
use crate::exit;
use crate::load::{Loaded, load};
use crate::process::not_started;
use crate::report::{self, encoded};

/// Print the policy.
///
/// # Errors
/// [`Error::Config`] and its kin.
pub(super) fn explain(args: &Explain) -> Result<u8, Error> {
    let loaded = load(&args.flags)?;
    let root = &loaded.workspace.root;
    let denied = Denied::now(&loaded);
    let read: Vec<String> = loaded.read.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    if args.flags.answer.json {
        report::result(&json!({
            "workspace": root.to_string_lossy(),
            "files": read,
            "policy_digest": loaded.policy_digest(),
            "effective": explain::explain(&loaded.policy, root),
            "masked": denied.masked,
            "replaced": denied.replaced,
            "uncovered": denied.uncovered,
            "unenforceable": denied.refused,
        }))?;
        return Ok(exit::SUCCESS);
    }
    let mut out = explain::text(&loaded.policy, root);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    denied.describe(root, &mut out);
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

/// So many denied paths are named to a person; a program gets all of them.
const NAMED: usize = 20;

/// What `deny_read_paths` covers at this moment.
#[derive(Default)]
struct Denied {
    masked: Vec<String>,
    /// Directories of which only what may be read is shown.
    replaced: Vec<String>,
    uncovered: Vec<String>,
    /// Why a run would not start.
    refused: Option<String>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Denied {
    fn now(loaded: &Loaded) -> Denied {
        let plan = confinement(loaded).and_then(|confinement| {
            confinement.map(|made| made.patiently(|| made.builder.plan()).map_err(not_started)).transpose()
        });
        match plan {
            Ok(Some(plan)) => {
                // What is in the workspace first: that is what the person wrote patterns for.
                let mut masked: Vec<&Path> = plan.masked().collect();
                masked.sort_by_key(|path| (!path.starts_with(&loaded.workspace.root), *path));
                let masked = masked.into_iter().map(text).collect();
                let replaced = plan.replaced.iter().map(|replaced| text(&replaced.path)).collect();
                Denied { masked, replaced, uncovered: plan.uncovered, refused: None }
            }
            Ok(None) => Denied::default(),
            Err(error) => {
                let next = error.next().map(|next| format!("; {next}")).unwrap_or_default();
                Denied { refused: Some(plain(&format!("{error}{next}"))), ..Denied::default() }
            }
        }
    }

    fn describe(&self, root: &Path, out: &mut String) {
        if let Some(why) = &self.refused {
            out.push_str(&format!("\nnothing would run: {}\n", encoded(why)));
        }
        if !self.masked.is_empty() {
            out.push_str(&format!("\ncovered at this moment ({}):\n", self.masked.len()));
            for path in self.masked.iter().take(NAMED) {
                let shown = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
                out.push_str(&format!("  {}\n", encoded(&shown.to_string_lossy())));
            }
            if let Some(more) = self.masked.len().checked_sub(NAMED).filter(|more| *more > 0) {
                out.push_str(&format!("  and {more} more (--json names all)\n"));
            }
        }
        for path in &self.replaced {
            let shown = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
            out.push_str(&format!("\nshown without what was denied: {}\n", encoded(&shown.to_string_lossy())));
        }
        for what in &self.uncovered {
            out.push_str(&format!("\nnot protected: {}\n", encoded(what)));
        }
    }
}
