//! `holdpoint approve` and `holdpoint deny`: deciding from a terminal or a script, by the digest of what was seen.

use std::io::{self, BufRead, IsTerminal};

use holdpoint_approval_web::client::{Client, Decision, Hold, HoldId};
use serde_json::json;

use super::serve::connect;
use crate::approver::away;
use crate::args::{Approve, Deny};
use crate::error::Error;
use crate::places::Places;
use crate::{exit, held, prompt, report};

/// Digits of a digest that are enough to name a plan one has seen.
const ENOUGH: usize = 12;

/// Approve, after the plan was seen.
///
/// # Errors
/// [`Error::Usage`] when the digest is not that of the hold, or there is none and nobody to ask.
pub(super) fn approve(args: &Approve) -> Result<u8, Error> {
    let (client, hold) = find(&args.id)?;
    match &args.digest {
        Some(given) => {
            let digest = hold.digest.to_string();
            if given.len() < ENOUGH || !digest.starts_with(&given.to_ascii_lowercase()) {
                return Err(Error::Usage {
                    why: format!(
                        "the digest {} is not that of hold {}, which is {}",
                        report::encoded(given),
                        hold.id,
                        hold.digest.short()
                    ),
                    next: format!("look at it again with `holdpoint holds`, and give {ENOUGH} digits or more"),
                });
            }
        }
        None => {
            if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
                return Err(Error::Usage {
                    why: "there is nobody to show the plan to".into(),
                    next: "give the digest of what you saw with --digest".into(),
                });
            }
            report::say(&format!("hold {}\n{}approve? [y/n]", hold.id, prompt::summary(&hold.plan)));
            let mut typed = String::new();
            io::stdin().lock().read_line(&mut typed).map_err(|error| Error::io("read the answer", error))?;
            // A whole line: the end of input hands over what was only begun.
            if !matches!(typed.strip_suffix('\n').map(str::trim), Some("y" | "Y" | "yes")) {
                return Err(Error::NoDecision {
                    why: "not approved, and not denied".into(),
                    next: "holdpoint deny does that".into(),
                });
            }
        }
    }
    decide(&client, &hold, Decision::Approve, args.answer.json)
}

/// Deny, with a reason for whoever asked.
///
/// # Errors
/// [`Error::Usage`] when there is no such hold, [`Error::NoDecision`] when it is decided already.
pub(super) fn deny(args: &Deny) -> Result<u8, Error> {
    let (client, hold) = find(&args.id)?;
    decide(&client, &hold, Decision::Deny { reason: args.reason.clone() }, args.answer.json)
}

fn find(id: &str) -> Result<(Client, Hold), Error> {
    let unknown = |why: String| Error::Usage { why, next: "list them with `holdpoint holds`".into() };
    let id: HoldId = id.parse().map_err(|error: holdpoint_approval_web::Error| unknown(error.to_string()))?;
    let client = connect(&Places::find()?)?;
    let hold = client.get(&id).map_err(|error| match error {
        holdpoint_approval_web::Error::NoSuchHold { .. } => unknown(error.to_string()),
        other => away(other),
    })?;
    Ok((client, hold))
}

fn decide(client: &Client, hold: &Hold, decision: Decision, json: bool) -> Result<u8, Error> {
    let word = match decision {
        Decision::Approve => "approved",
        Decision::Deny { .. } => "denied",
    };
    let by = format!("{} by command", held::user());
    let hold = client.decide(&hold.id, hold.digest, decision, &by).map_err(away)?;
    if json {
        report::result(&json!({"result": word, "id": hold.id, "digest": hold.digest, "state": hold.state}))?;
    } else {
        report::output(format!("{word} {}\n", hold.id).as_bytes())?;
    }
    Ok(exit::SUCCESS)
}
