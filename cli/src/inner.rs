//! Judging what runs inside: each program that anything in a sandbox is about to execute, by the policy and, where that asks, by
//! a person (`exec_guard`). The command itself was judged before it was started and is not judged here.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdpoint_policy::{Judgement, Reason, Verdict, evaluate};
use holdpoint_runtime::{Exec, ExecAnswer, ExecGuard, Stage};

use crate::approver::Approver;
use crate::error::Error;
use crate::held;
use crate::load::Loaded;
use crate::report::{self, encoded};

/// How long a hold inside waits where nobody said.
pub(crate) const HOLD: Duration = Duration::from_secs(600);

/// Executions remembered that went ahead: the policy is a pure function, so they will again.
const REMEMBERED: usize = 4096;

/// A policy as judge of what runs inside.
pub(crate) struct Inner {
    loaded: Arc<Loaded>,
    ttl: Duration,
    hasher: RandomState,
    allowed: Mutex<HashMap<u64, Vec<Stage>>>,
    refused: Arc<Refused>,
}

/// What each process was refused last. Whoever looks a program up in `PATH` goes on after a refusal (execvp(3)) and may come to
/// the same file by another name: that is no new question.
#[derive(Default)]
struct Refused(Mutex<HashMap<i32, Stage>>);

impl Refused {
    fn again(&self, exec: &Exec) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(before, now): (&Stage, &Stage)| before.program == now.program && before.argv == now.argv;
        refused.get(&exec.pid).zip(exec.stages.first()).is_some_and(same)
    }

    fn remember(&self, exec: &Exec) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() == REMEMBERED {
            refused.clear();
        }
        refused.extend(exec.stages.first().map(|stage| (exec.pid, stage.clone())));
    }
}

impl Inner {
    /// `ttl` is how long a hold waits for its decision.
    pub(crate) fn new(loaded: Loaded, ttl: Duration) -> Self {
        Self {
            loaded: Arc::new(loaded),
            ttl,
            hasher: RandomState::new(),
            allowed: Mutex::default(),
            refused: Arc::default(),
        }
    }

    fn key(&self, stages: &[Stage]) -> u64 {
        self.hasher.hash_one(stages)
    }

    fn known(&self, stages: &[Stage]) -> bool {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        allowed.get(&self.key(stages)).is_some_and(|known| known == stages)
    }

    fn remember(&self, stages: &[Stage]) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed.len() == REMEMBERED {
            allowed.clear();
        }
        allowed.insert(self.key(stages), stages.to_vec());
    }

    fn judge_stages(&self, stages: &[Stage]) -> Judgement {
        let words = stages.iter().flat_map(readings);
        words.map(|argv| evaluate::started(&self.loaded.policy, &argv)).fold(Judgement::default(), Judgement::tighten)
    }
}

impl ExecGuard for Inner {
    fn judge(&self, exec: &Exec) -> ExecAnswer {
        if self.known(&exec.stages) {
            return ExecAnswer::Allow;
        }
        if self.refused.again(exec) {
            return ExecAnswer::Refuse;
        }
        let judgement = self.judge_stages(&exec.stages);
        match judgement.verdict {
            Verdict::Allow => {
                self.remember(&exec.stages);
                ExecAnswer::Allow
            }
            Verdict::Deny => {
                self.refused.remember(exec);
                refused(&exec.stages, judgement.deciding());
                ExecAnswer::Refuse
            }
            Verdict::Ask => {
                let (loaded, ttl, before) = (Arc::clone(&self.loaded), self.ttl, Arc::clone(&self.refused));
                ExecAnswer::Later(Box::new(move |exec| {
                    let Err(error) = approved(&loaded, exec, &judgement, ttl) else { return true };
                    before.remember(exec);
                    match error {
                        Error::Denied { reasons, .. } => refused(&exec.stages, reasons.iter()),
                        error => {
                            report::say(&format!("not executed: {}", shown(&exec.stages)));
                            report::error(&error);
                        }
                    }
                    false
                }))
            }
        }
    }

    fn killed(&self, allowed: &Exec) {
        let line = shown(&allowed.stages);
        report::say(&format!("killed: a process that was allowed to execute {line} executed something else"));
    }
}

/// The command lines that one stage can be read as: by the name it was called, by the file that really is, and by the name
/// the program is told, which decides what programs with many names do.
fn readings(stage: &Stage) -> Vec<Vec<OsString>> {
    let told = stage.argv.first().map(OsString::as_os_str).unwrap_or_default();
    let mut names: Vec<&OsStr> = vec![stage.name.as_os_str()];
    if stage.program != stage.name {
        names.push(stage.program.as_os_str());
    }
    if names.iter().all(|name| Path::new(name).file_name() != Path::new(told).file_name()) {
        names.push(told);
    }
    let rest = stage.argv.get(1..).unwrap_or_default();
    names.into_iter().map(|name| [name.to_owned()].into_iter().chain(rest.iter().cloned()).collect()).collect()
}

/// Holds an execution until a person has approved exactly this one, and spends the approval.
fn approved(loaded: &Loaded, exec: &Exec, judgement: &Judgement, ttl: Duration) -> Result<(), Error> {
    let mut approver = Approver::find(loaded.places.state()?)?;
    report::say(&format!("waits inside: {}", shown(&exec.stages)));
    let granted = approver.ask(held::of_exec(loaded, exec, judgement)?, ttl, None)?;
    let now = held::of_exec(loaded, exec, judgement)?;
    if now.digest() != granted.plan.digest() {
        let why = "it has changed since it was shown";
        approver.withdraw(&granted, why);
        let reasons = vec![Reason::new(Verdict::Deny, "", "", why)];
        return Err(Error::Denied { by: "the comparison with what was approved".into(), reasons });
    }
    approver.release(&granted)
}

fn refused<'a>(stages: &[Stage], reasons: impl Iterator<Item = &'a Reason>) {
    report::say(&format!("refused inside: {}", shown(stages)));
    for reason in reasons {
        let from =
            if reason.rule.is_empty() { String::new() } else { format!("  ({}, {})", reason.rule, reason.origin) };
        report::say(&format!("  {}", encoded(&format!("{}{from}", reason.text))));
    }
}

/// What was asked for: the file that would run, and its arguments.
fn shown(stages: &[Stage]) -> String {
    let Some(stage) = stages.first() else { return String::new() };
    let words = stage.argv.iter().skip(1).map(|word| word.to_string_lossy());
    encoded(&std::iter::once(stage.program.to_string_lossy()).chain(words).collect::<Vec<_>>().join(" "))
}
