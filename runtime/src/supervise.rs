//! Which calls of a sandbox wait for which judge, by its plan.

use crate::{
    ending::Ending,
    enforced::{Enforced, Protection},
    error::{Error, Result},
    exec::{Anything, ExecGuard, Judge},
    notify::{Handler, Supervisor, Traps},
    plan::Plan,
    restricted::Modes,
    strict::{self, Strict},
};
use std::{path::PathBuf, sync::Arc};

/// Whoever judges must be there when the plan wants it, and only then.
pub(crate) fn check(plan: &Plan, guard: Option<&Arc<dyn ExecGuard>>) -> Result<()> {
    let why = match (plan.exec_guard, guard) {
        (true, None) => "is in the plan, but nobody judges; give one to Sandbox::start_in or Builder::on_exec",
        (false, Some(_)) => "was given, but the plan does not ask for it; set its exec_guard",
        _ => return Ok(()),
    };
    Err(Error::Plan { what: "exec guard", path: PathBuf::new(), why: why.into() })
}

/// Starts the supervisor that the plan needs, if any, before any command runs. `modes` changes files where there is no mount
/// view; `first` is pid 1's number on the host.
pub(crate) fn start(
    plan: &Plan,
    exec: Option<Arc<dyn ExecGuard>>,
    modes: Option<Modes>,
    strict: Option<Strict>,
    ending: Arc<Ending>,
    first: i32,
    enforced: &mut Enforced,
) -> Result<Option<Supervisor>> {
    let (mut traps, mut handlers) = (Traps::NONE, Vec::<Box<dyn Handler>>::new());
    if let Some(modes) = modes {
        traps |= Traps::MODES;
        handlers.push(Box::new(modes));
    }
    let withheld = strict.as_ref().map(Strict::withheld);
    let judged = withheld.is_some();
    if let Some(strict) = strict {
        traps |= Traps::OPEN;
        handlers.push(Box::new(strict));
    } else if plan.deny_read_strict {
        strict::missing(plan, enforced)?;
    }
    let guarded = exec.is_some();
    if let Some(guard) = exec.or_else(|| judged.then(|| Arc::new(Anything) as Arc<dyn ExecGuard>)) {
        traps |= Traps::EXEC;
        handlers.push(Box::new(Judge::new(guard, first)?.withholding(withheld)));
    }
    if handlers.is_empty() {
        return Ok(None);
    }
    match Supervisor::start(ending, traps, handlers) {
        Ok(supervisor) => {
            if judged {
                enforced.holds(
                    Protection::StrictReads,
                    "opens, renames, links and executions are judged before they happen",
                );
            }
            if guarded {
                let how = "every program is judged before it runs and compared before its code does";
                enforced.holds(Protection::ExecGuard, how);
            }
            Ok(Some(supervisor))
        }
        Err(Error::Setup { source, .. }) if traps == Traps::EXEC => {
            let needs = format!(
                "{source}; Linux 5.5 or newer with seccomp notifications, and no other listener above this process"
            );
            if !plan.allow_missing.contains(&Protection::ExecGuard) {
                return Err(Error::Unsupported { protection: Protection::ExecGuard, needs });
            }
            enforced.missing(Protection::ExecGuard, needs);
            Ok(None)
        }
        Err(other) => Err(other),
    }
}
