//! Judging what runs inside: each program that anything in a sandbox is about to execute, by the policy and, where that asks, by
//! a person (`exec_guard`). The command itself was judged before it was started and is not judged here.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdpoint_policy::{Judgement, Reason, Verdict, evaluate};
use holdpoint_runtime::{Exec, ExecAnswer, ExecGuard, Stage};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::approver::{Approver, Waiting};
use crate::error::Error;
use crate::held;
use crate::load::Loaded;
use crate::report::{self, Audience, encoded};

/// How long a hold inside waits where nobody said.
pub(crate) const HOLD: Duration = Duration::from_secs(600);

/// Executions remembered that went ahead: the policy is a pure function, so they will again.
const REMEMBERED: usize = 4096;

/// Who is told what becomes of executions.
pub(crate) trait Told: Send + Sync {
    /// `text`, encoded and in lines, is about what the process with this number on the host wants to execute. Called while
    /// everybody inside waits: it must not.
    fn tell(&self, process: i32, text: &str);
}

/// Our own standard error: there is one command.
pub(crate) struct Here;

impl Told for Here {
    fn tell(&self, _: i32, text: &str) {
        report::tell(text);
    }
}

/// A policy as judge of what runs inside.
pub(crate) struct Inner {
    shared: Arc<Shared>,
    hasher: RandomState,
    allowed: Mutex<HashMap<u64, Vec<Stage>>>,
}

/// What those who wait for a person need, too.
struct Shared {
    loaded: Loaded,
    ttl: Duration,
    refused: Refused,
    told: Arc<dyn Told>,
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
    pub(crate) fn new(loaded: Loaded, ttl: Duration, told: Arc<dyn Told>) -> Self {
        let shared = Shared { loaded, ttl, refused: Refused::default(), told };
        Self { shared: Arc::new(shared), hasher: RandomState::new(), allowed: Mutex::default() }
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
        words
            .map(|argv| evaluate::started(&self.shared.loaded.policy, &argv))
            .fold(Judgement::default(), Judgement::tighten)
    }
}

impl ExecGuard for Inner {
    fn judge(&self, exec: &Exec) -> ExecAnswer {
        if self.known(&exec.stages) {
            return ExecAnswer::Allow;
        }
        if self.shared.refused.again(exec) {
            return ExecAnswer::Refuse;
        }
        let judgement = self.judge_stages(&exec.stages);
        match judgement.verdict {
            Verdict::Allow => {
                self.remember(&exec.stages);
                ExecAnswer::Allow
            }
            Verdict::Deny => {
                self.shared.refuse(exec, &refused(&exec.stages, judgement.deciding()));
                ExecAnswer::Refuse
            }
            Verdict::Ask => {
                let shared = Arc::clone(&self.shared);
                ExecAnswer::Later(Box::new(move |exec| {
                    let Err(error) = approved(&shared, exec, &judgement) else { return true };
                    let text = match &error {
                        Error::Denied { reasons, .. } => refused(&exec.stages, reasons.iter()),
                        error => {
                            let what = report::line(&format!("not executed: {}", shown(&exec.stages)));
                            what + &report::rendered(error, false)
                        }
                    };
                    shared.refuse(exec, &text);
                    false
                }))
            }
        }
    }

    fn killed(&self, allowed: &Exec) {
        let line = shown(&allowed.stages);
        let text =
            report::line(&format!("killed: a process that was allowed to execute {line} executed something else"));
        self.shared.told.tell(allowed.pid, &text);
    }
}

impl Shared {
    fn refuse(&self, exec: &Exec, text: &str) {
        self.refused.remember(exec);
        self.told.tell(exec.pid, text);
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
fn approved(shared: &Arc<Shared>, exec: &Exec, judgement: &Judgement) -> Result<(), Error> {
    let Shared { loaded, ttl, .. } = &**shared;
    let process = Pid::from_raw(exec.pid).ok_or(Errno::SRCH);
    let process = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()));
    let process = process.map_err(|errno| Error::io("wait with a process", errno))?;
    let (told, pid) = (Arc::clone(&shared.told), exec.pid);
    let audience: Audience = Arc::new(move |text| told.tell(pid, text));
    let mut approver = Approver::find(loaded.places.state()?, Arc::clone(&audience))?;
    audience(&report::line(&format!("waits inside: {}", shown(&exec.stages))));
    let granted = approver.ask(held::of_exec(loaded, exec, judgement)?, *ttl, Waiting::Inside(process.as_fd()))?;
    let now = held::of_exec(loaded, exec, judgement)?;
    if now.digest() != granted.plan.digest() {
        let why = "it has changed since it was shown";
        approver.withdraw(&granted, why);
        let reasons = vec![Reason::new(Verdict::Deny, "", "", why)];
        return Err(Error::Denied { by: "the comparison with what was approved".into(), reasons });
    }
    approver.release(&granted)
}

/// That it is refused, and why.
fn refused<'a>(stages: &[Stage], reasons: impl Iterator<Item = &'a Reason>) -> String {
    let mut text = report::line(&format!("refused inside: {}", shown(stages)));
    for reason in reasons {
        let from =
            if reason.rule.is_empty() { String::new() } else { format!("  ({}, {})", reason.rule, reason.origin) };
        text += &report::line(&format!("  {}", encoded(&format!("{}{from}", reason.text))));
    }
    text
}

/// What was asked for: the file that would run, and its arguments.
fn shown(stages: &[Stage]) -> String {
    let Some(stage) = stages.first() else { return String::new() };
    let words = stage.argv.iter().skip(1).map(|word| word.to_string_lossy());
    encoded(&std::iter::once(stage.program.to_string_lossy()).chain(words).collect::<Vec<_>>().join(" "))
}
