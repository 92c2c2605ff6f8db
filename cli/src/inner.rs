//! Judging what runs inside: each program that anything in a sandbox is about to execute, by the policy and, where that asks, by
//! a person (`exec_guard`). The command itself was judged before it was started and is not judged here.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdpoint_approval_web::plan::Digest;
use holdpoint_policy::{Judgement, Reason, Verdict, evaluate};
use holdpoint_runtime::{Exec, ExecAnswer, ExecGuard, Stage};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sha2::{Digest as _, Sha256};

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
#[derive(Default)]
pub(crate) struct Here(Log);

impl Told for Here {
    fn tell(&self, _: i32, text: &str) {
        self.0.tell(text);
    }
}

/// Most bytes about executions in one log: what runs inside could fill the disk with them.
const MOST_TOLD: usize = 1 << 20;

/// Our own standard error, for as many texts as a person might read.
#[derive(Default)]
pub(crate) struct Log(AtomicUsize);

impl Log {
    /// Writes one, or that there are more when they have become too many.
    pub(crate) fn tell(&self, text: &str) {
        let before = self.0.fetch_add(text.len().min(MOST_TOLD), Ordering::Relaxed);
        if before <= MOST_TOLD {
            report::tell(text);
            if before + text.len() > MOST_TOLD {
                report::say("there is more about what was executed inside, which is left out from here on");
            }
        }
    }
}

/// A policy as judge of what runs inside.
pub(crate) struct Inner {
    shared: Arc<Shared>,
    allowed: Mutex<HashSet<Digest>>,
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
struct Refused(Mutex<HashMap<i32, Digest>>);

impl Refused {
    fn again(&self, exec: &Exec) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&exec.pid).is_some_and(|before| Some(*before) == asked_for(exec))
    }

    fn remember(&self, exec: &Exec) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() == REMEMBERED {
            refused.clear();
        }
        refused.extend(asked_for(exec).map(|digest| (exec.pid, digest)));
    }
}

/// The file that would run and its arguments, whatever it was called.
fn asked_for(exec: &Exec) -> Option<Digest> {
    exec.stages.first().map(|stage| digest([bytes(&stage.program)].into_iter().chain(stage.argv.iter().map(bytes))))
}

/// All that an execution is judged by.
fn judged_by(stages: &[Stage]) -> Digest {
    let of_stage = |stage: &Stage| {
        digest([bytes(&stage.program), bytes(&stage.name)].into_iter().chain(stage.argv.iter().map(bytes)))
    };
    let stages: Vec<Digest> = stages.iter().map(of_stage).collect();
    digest(stages.iter().map(|stage| &stage.as_bytes()[..]))
}

/// A digest of words, each behind its length. The words themselves may be megabytes.
fn digest<'a>(words: impl Iterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update(word.len().to_be_bytes());
        hasher.update(word);
    }
    Digest::from(<[u8; 32]>::from(hasher.finalize()))
}

fn bytes(word: &impl AsRef<OsStr>) -> &[u8] {
    word.as_ref().as_bytes()
}

impl Inner {
    /// `ttl` is how long a hold waits for its decision.
    pub(crate) fn new(loaded: Loaded, ttl: Duration, told: Arc<dyn Told>) -> Self {
        let shared = Shared { loaded, ttl, refused: Refused::default(), told };
        Self { shared: Arc::new(shared), allowed: Mutex::default() }
    }

    fn known(&self, execution: &Digest) -> bool {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).contains(execution)
    }

    fn remember(&self, execution: Digest) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed.len() == REMEMBERED {
            allowed.clear();
        }
        allowed.insert(execution);
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
        let execution = judged_by(&exec.stages);
        if self.known(&execution) {
            return ExecAnswer::Allow;
        }
        if self.shared.refused.again(exec) {
            return ExecAnswer::Refuse;
        }
        let judgement = self.judge_stages(&exec.stages);
        match judgement.verdict {
            Verdict::Allow => {
                self.remember(execution);
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
    let plan = held::of_exec(loaded, exec, judgement)?;
    let (told, pid) = (Arc::clone(&shared.told), exec.pid);
    let audience: Audience = Arc::new(move |text| told.tell(pid, text));
    let mut approver = Approver::find(loaded.places.state()?, Arc::clone(&audience))?;
    audience(&report::line(&format!("waits inside: {}", shown(&exec.stages))));
    let granted = approver.ask(plan, *ttl, Waiting::Inside(process.as_fd()))?;
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
    for reason in reasons.take(report::SHOWN_REASONS) {
        let from =
            if reason.rule.is_empty() { String::new() } else { format!("  ({}, {})", reason.rule, reason.origin) };
        text += &report::line(&format!("  {}", report::readable(&format!("{}{from}", reason.text))));
    }
    text
}

/// What was asked for: the file that would run, and its arguments; of many only as much as a person wants to see.
fn shown(stages: &[Stage]) -> String {
    let Some(stage) = stages.first() else { return String::new() };
    let words = stage.argv.iter().skip(1).map(|word| word.to_string_lossy());
    let line = std::iter::once(stage.program.to_string_lossy()).chain(words).collect::<Vec<_>>().join(" ");
    report::short(&encoded(&report::short(&line))).into_owned()
}
