//! `holdpoint holds`: what waits for a decision.

use holdpoint_approval_web::client::Hold;
use holdpoint_approval_web::hold::UnixMs;
use holdpoint_approval_web::plan::Kind;
use holdpoint_approval_web::state::State;
use holdpoint_approval_web::text::command_line;

use super::serve::connect;
use crate::apply::Patch;
use crate::approver::away;
use crate::args::Holds;
use crate::error::Error;
use crate::exit;
use crate::places::Places;
use crate::report::{self, encoded};

/// List the holds, oldest first.
///
/// # Errors
/// [`Error::NoDecision`] when no server runs.
pub(super) fn holds(args: &Holds) -> Result<u8, Error> {
    let holds = connect(&Places::find()?)?.list(args.all).map_err(away)?;
    if args.answer.json {
        report::result(&holds)?;
        return Ok(exit::SUCCESS);
    }
    let mut out = String::new();
    for hold in &holds {
        out.push_str(&line(hold));
    }
    if holds.is_empty() {
        out.push_str("nothing waits for a decision\n");
    }
    report::output(out.as_bytes())?;
    Ok(exit::SUCCESS)
}

fn line(hold: &Hold) -> String {
    let what = match hold.plan.kind {
        Kind::Run => command_line(hold.plan.argv.iter()),
        Kind::Edit => {
            let diff = hold.plan.diff.as_ref().map_or(&[][..], |diff| diff.as_bytes());
            let paths = Patch::parse(diff).map(|patch| patch.paths()).unwrap_or_default();
            let names: Vec<String> = paths.iter().map(|path| encoded(&path.to_string_lossy())).collect();
            format!("edit {}", names.join(" "))
        }
    };
    let state = match &hold.state {
        State::Pending => format!("pending, {} s left", hold.expires_at.since(UnixMs::now()).as_secs()),
        State::Denied { by, reason } => format!("denied by {}: {}", encoded(by), encoded(reason)),
        other => other.name().to_owned(),
    };
    format!("{}  {}  {what}  ({state})\n", hold.id, hold.digest.short())
}
