//! The one place that composes: policy, hooks, a person and the sandbox, in the order in which they stand before a command.
//!
//! ```text
//! files, flags ──► policy ──► hooks ──► verdict ──► deny: 77
//!                    ▲                     ├─────► ask: hold ──► person ──► same plan as shown? ──► release ─┐
//!                    └── look again ◄──────┼────────────────────────────── no ◄────┘                         │
//!                                          └─────► allow ──► sandbox ──► execute ◄───────────────────────────┘
//! ```
//!
//! Nothing is executed by any other way than [`run`] and nothing is edited by any other way than [`edit`].

use std::cell::Cell;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use holdpoint_approval_web::hold::HoldId;
use holdpoint_approval_web::plan::HoldPlan;
use holdpoint_approval_web::state::Outcome;
use holdpoint_hooks::event::{About, Event};
use holdpoint_hooks::runner;
use holdpoint_policy::{Action, HookEvent, HookOutcomes, HookResult, Judgement, Reason, Verdict, evaluate};
use holdpoint_runtime::{Enforced, Opening};
use serde_json::json;

use crate::apply::{self, Change, Patch};
use crate::approver::{Approver, Granted, Waiting};
use crate::args::PolicyFlags;
use crate::attend::{Bounds, Ended, Finished, attend};
use crate::confine::{Confinement, confinement, plan_of_edits};
use crate::error::Error;
use crate::held;
use crate::inner::Here;
use crate::load::{Loaded, load};
use crate::places::Workspace;
use crate::process::{self, Execution, Prepared};
use crate::program;
use crate::reached;
use crate::report;
use crate::session::{Rights, Seat};
use crate::signals::Signals;

/// What holds for one invocation.
struct Invocation<'a> {
    flags: &'a PolicyFlags,
    loaded: Loaded,
    signals: &'a Signals,
    about: About,
    host_env: Vec<(OsString, OsString)>,
    /// The sandbox of the command, as far as it needs no plan.
    opening: Cell<Option<Opening>>,
}

/// What came of a verdict.
enum Cleared {
    /// It goes ahead without a person.
    Allowed,
    /// A person has approved exactly this plan; it must be released before it is carried out.
    Granted(Box<(Approver, Granted)>),
}

/// Run a command, as far as everybody who has a say lets it; the exit code of `holdpoint run`.
///
/// # Errors
/// Whatever kept it from being run: see [`Error`].
pub(crate) fn run(
    flags: &PolicyFlags,
    argv: &[OsString],
    ttl: Duration,
    opening: Option<Opening>,
) -> Result<u8, Error> {
    let signals = Signals::take()?;
    let mut invocation = Invocation::open(flags, &signals, None)?;
    invocation.opening.set(opening);
    invocation.tell(HookEvent::SessionStart);
    let done = invocation.run(argv, ttl, None);
    invocation.tell(HookEvent::SessionEnd);
    done
}

/// Run a command in a living sandbox, as far as everybody who has a say lets it; the exit code of `holdpoint session run`.
/// `flags` are those of the session.
///
/// # Errors
/// As [`run`], and [`Error::Session`] when the sandbox is not the one that would be made now.
pub(crate) fn run_in(seat: &Seat, flags: &PolicyFlags, argv: &[OsString], ttl: Duration) -> Result<u8, Error> {
    let signals = Signals::take()?;
    Invocation::open(flags, &signals, Some(seat.id()))?.run(argv, ttl, Some(seat))
}

/// A moment of the session `id`: its hooks run, and what they have to complain about is told.
pub(crate) fn tell(flags: &PolicyFlags, signals: &Signals, id: &str, event: HookEvent) -> Result<(), Error> {
    Invocation::open(flags, signals, Some(id))?.tell(event);
    Ok(())
}

/// Apply a patch, as far as everybody who has a say lets it.
///
/// # Errors
/// Whatever kept it from being applied; nothing was changed then.
pub(crate) fn edit(flags: &PolicyFlags, patch: &Patch, ttl: Duration) -> Result<u8, Error> {
    let signals = Signals::take()?;
    let mut invocation = Invocation::open(flags, &signals, None)?;
    invocation.edit(patch, ttl)
}

/// Do something with the sandbox that a command would have if nobody had to be asked about it. Nothing is executed here, and
/// what is done may be carried out many times later: a person's release, which is for one time, is no use for that.
///
/// # Errors
/// [`Error::Denied`] when the command is denied or would be held, and whatever `act` says.
pub(crate) fn unattended<T>(
    flags: &PolicyFlags,
    argv: &[OsString],
    act: impl FnOnce(&Loaded, &mut Confinement, &[(OsString, OsString)]) -> Result<T, Error>,
) -> Result<T, Error> {
    let signals = Signals::take()?;
    let invocation = Invocation::open(flags, &signals, None)?;
    let event = Event::command(HookEvent::PreToolUse, argv, &invocation.about);
    let judgement = invocation.judge(&action(&invocation.loaded, argv), &event)?;
    match judgement.verdict {
        Verdict::Allow => {}
        Verdict::Deny => return Err(denied(&judgement)),
        Verdict::Ask => {
            let by = "the policy: it would be held, and nobody can be asked here".into();
            return Err(Error::Denied { by, reasons: judgement.deciding().cloned().collect() });
        }
    }
    let Some(mut confined) = confinement(&invocation.loaded)? else {
        let why = "the profile says sandbox = \"none\", so there is no sandbox to write down".into();
        return Err(Error::Usage { why, next: "choose another profile, or --sandbox workspace-write".into() });
    };
    confined.warnings.iter().for_each(|warning| report::say(&report::encoded(warning)));
    act(&invocation.loaded, &mut confined, &invocation.environment())
}

impl<'a> Invocation<'a> {
    /// `session` is the one that hooks are told of: a living one, or this invocation alone.
    fn open(flags: &'a PolicyFlags, signals: &'a Signals, session: Option<&str>) -> Result<Self, Error> {
        let loaded = load(flags)?;
        for warning in &loaded.policy.warnings {
            report::say(&report::encoded(&format!("{}: {}", warning.origin, warning.text)));
        }
        let session = match session {
            Some(session) => session.to_owned(),
            None => HoldId::new().map_err(crate::approver::away)?.to_string(),
        };
        let about = About {
            cwd: loaded.workspace.cwd.clone(),
            profile: loaded.policy.profile.clone(),
            session,
            approval: loaded.policy.approval.value.to_string(),
        };
        let host_env = std::env::vars_os().collect();
        Ok(Self { flags, loaded, signals, about, host_env, opening: Cell::new(None) })
    }

    fn run(&mut self, argv: &[OsString], ttl: Duration, seat: Option<&Seat>) -> Result<u8, Error> {
        let action = action(&self.loaded, argv);
        let event = |kind| Event::command(kind, argv, &self.about);
        let mut judgement = self.judge(&action, &event(HookEvent::PreToolUse))?;
        if judgement.verdict == Verdict::Deny {
            return Err(denied(&judgement));
        }
        let mut confined = self.confined(ttl)?;
        let mut env = self.environment();
        let mut program = argv[0].clone();
        let mut asked: Option<(Approver, Granted)> = None;
        // A person's approval covers one plan; when the world has changed meanwhile, the person is asked again.
        let (prepared, cleared) = loop {
            match (judgement.verdict, &asked) {
                (Verdict::Deny, _) => return Err(denied(&judgement)),
                (Verdict::Allow, None) => break (self.at_once(confined.as_ref(), seat)?, Cleared::Allowed),
                _ => {}
            }
            if asked.is_none() {
                self.rehearse(confined.as_ref(), seat)?;
            }
            let plan = self.plan(argv, &env, confined.as_ref(), &judgement, seat)?;
            let (approver, granted) = self.ask(plan, ttl, asked)?;
            self.loaded = load(self.flags)?;
            confined = self.confined(ttl)?;
            env = self.environment();
            // The sandbox is started before the last look, so that nothing lies between that and the command.
            let prepared = self.prepare(confined.as_ref(), seat)?;
            judgement = self.look_again(&action, judgement);
            let now = self.plan(argv, &env, confined.as_ref(), &judgement, seat)?;
            if now.digest() == granted.plan.digest() {
                program = now.executable.map_or(program, |file| file.path.to_os_string());
                break (prepared, Cleared::Granted(Box::new((approver, granted))));
            }
            judgement = self.judge(&action, &event(HookEvent::PreToolUse))?;
            asked = Some((approver, granted));
        };
        self.signals.check()?;
        let Workspace { root, cwd, .. } = &self.loaded.workspace;
        let execution = Execution { program, argv, cwd, root, env: &env };
        let limits = &self.loaded.policy.limits;
        let bare = prepared.is_bare();
        let bounds = Bounds {
            time: limits.wall_time.as_ref().filter(|_| bare).map(|limit| limit.value),
            output: limits.output.as_ref().map(|limit| limit.value),
        };
        let finished = cleared.carry_out(|| {
            let process = prepared.spawn(&execution)?;
            process.enforced().into_iter().for_each(remark);
            Ok(attend(process, self.signals, bounds))
        })?;
        let reached = reached::of(&finished, limits, seat.map_or(&Rights::default(), Seat::rights));
        reached.iter().for_each(|limit| report::say(&report::encoded(&limit.line)));
        reached::refused_architecture(&finished).filter(|_| !bare).into_iter().for_each(report::say);
        let mut response = match finished.ended {
            Ended::Itself(status) => json!({"exit_code": status.code(), "signal": signal_of(status)}),
            Ended::Killed(signal) => json!({"exit_code": null, "signal": signal as i32}),
            Ended::OutOfTime | Ended::TooMuch => json!({"exit_code": null, "signal": 9}),
        };
        response["limits_reached"] = reached.iter().map(|limit| limit.key).collect();
        response["left_behind"] = finished.traps.iter().map(ToString::to_string).collect();
        if reached.iter().any(|limit| limit.key == "wall_time") {
            response["out_of_time"] = true.into();
        }
        self.report_hooks(&event(HookEvent::PostToolUse).with_response(response));
        Ok(finished.ended.code())
    }

    fn edit(&mut self, patch: &Patch, ttl: Duration) -> Result<u8, Error> {
        let workspace = self.loaded.workspace.root.clone();
        let action = Action::Edit(holdpoint_policy::Edit { workspace, paths: patch.paths() });
        let diff = patch.render();
        let event = |kind| Event::edit(kind, &patch.paths(), &diff, &self.about);
        let mut judgement = self.judge(&action, &event(HookEvent::PreToolUse))?;
        let mut asked: Option<(Approver, Granted)> = None;
        let (change, cleared) = loop {
            if judgement.verdict == Verdict::Deny {
                return Err(denied(&judgement));
            }
            let change = self.fit(patch)?;
            if judgement.verdict == Verdict::Allow && asked.is_none() {
                break (change, Cleared::Allowed);
            }
            let plan = held::of_edit(&self.loaded, &diff, change.targets(), &judgement)?;
            let (approver, granted) = self.ask(plan, ttl, asked)?;
            self.loaded = load(self.flags)?;
            judgement = self.look_again(&action, judgement);
            let change = self.fit(patch)?;
            let now = held::of_edit(&self.loaded, &diff, change.targets(), &judgement)?;
            if now.digest() == granted.plan.digest() {
                break (change, Cleared::Granted(Box::new((approver, granted))));
            }
            judgement = self.judge(&action, &event(HookEvent::PreToolUse))?;
            asked = Some((approver, granted));
        };
        self.signals.check()?;
        cleared.carry_out(|| change.commit().map(Ok))?;
        self.report_hooks(&event(HookEvent::PostToolUse).with_response(json!({"applied": true})));
        Ok(crate::exit::SUCCESS)
    }

    /// The patch as it fits now. Only what may be written is looked at: whether a patch fits tells what a file says.
    fn fit(&self, patch: &Patch) -> Result<Change, Error> {
        let root = &self.loaded.workspace.root;
        match apply::refusal(&plan_of_edits(&self.loaded)?, root, patch) {
            Some(reason) => Err(denied(&Judgement::of(reason))),
            None => patch.fit(root),
        }
    }

    /// As [`prepare`](Self::prepare), with nothing to be looked at before the command begins.
    fn at_once<'s>(&self, confined: Option<&'s Confinement>, seat: Option<&'s Seat>) -> Result<Prepared<'s>, Error> {
        match seat {
            Some(_) => self.prepare(confined, seat),
            None => {
                announce(confined);
                Ok(Prepared::at_once(confined, self.opening.take()))
            }
        }
    }

    /// The place in the session, or a sandbox of its own.
    fn prepare<'s>(&self, confined: Option<&Confinement>, seat: Option<&'s Seat>) -> Result<Prepared<'s>, Error> {
        match seat {
            Some(seat) => seat.agree(&self.loaded, confined).map(Prepared::Session),
            None => {
                announce(confined);
                Prepared::new(confined, self.opening.take())
            }
        }
    }

    /// See whether anything could run, for otherwise nobody has to be asked. What was started for that ends again: a person
    /// takes longer than a sandbox.
    fn rehearse(&self, confined: Option<&Confinement>, seat: Option<&Seat>) -> Result<(), Error> {
        match seat {
            Some(seat) => seat.agree(&self.loaded, confined).map(drop),
            None => Prepared::new(confined, self.opening.take()).map(drop),
        }
    }

    /// Hold a plan for a person. `before` is what was approved and is no more what would be done.
    fn ask(
        &self,
        plan: HoldPlan,
        ttl: Duration,
        before: Option<(Approver, Granted)>,
    ) -> Result<(Approver, Granted), Error> {
        let mut approver = match before {
            None => Approver::find(self.loaded.places.state()?, Arc::new(report::tell))?,
            Some((approver, granted)) => {
                approver.withdraw(&granted, "it has changed since it was shown");
                let changes = held::changes(&granted.plan, &plan).join(", ");
                report::say(&report::encoded(&format!(
                    "changed since it was approved, so it is held again: {changes}"
                )));
                approver
            }
        };
        let granted = approver.ask(plan, ttl, Waiting::Here(self.signals))?;
        Ok((approver, granted))
    }

    /// The sandbox, in which holds of what the command executes wait as long as its own.
    fn confined(&self, ttl: Duration) -> Result<Option<Confinement>, Error> {
        let mut confined = confinement(&self.loaded)?;
        if let Some(confined) = &mut confined {
            confined.judge_inside(&self.loaded, ttl, Arc::<Here>::default());
        }
        Ok(confined)
    }

    /// The hooks' word and the policy's.
    fn judge(&self, action: &Action, event: &Event) -> Result<Judgement, Error> {
        let outcomes = self.hooks(event);
        self.signals.check()?;
        Ok(evaluate::evaluate(&self.loaded.policy, action, &outcomes))
    }

    /// The policy's word as it is now. What the hooks said before still counts; they were shown this very action.
    fn look_again(&self, action: &Action, before: Judgement) -> Judgement {
        let now = evaluate::evaluate(&self.loaded.policy, action, &HookOutcomes::default());
        match now.verdict {
            // Loosened while a person was asked: the person still decides.
            Verdict::Allow => before,
            _ => now,
        }
    }

    fn plan(
        &self,
        argv: &[OsString],
        env: &[(OsString, OsString)],
        confined: Option<&Confinement>,
        judgement: &Judgement,
        seat: Option<&Seat>,
    ) -> Result<HoldPlan, Error> {
        let cwd = &self.loaded.workspace.cwd;
        let Some(executable) = program::find(&argv[0], cwd, env, confined) else {
            let next = "inside are the system, the workspace, known toolchains, and what `readable_paths` adds";
            return Err(Error::NotFound { program: argv[0].to_string_lossy().into_owned(), next: next.into() });
        };
        let mut plan = held::of_run(&self.loaded, argv, &executable, env, judgement)?;
        plan.sandbox.extend(seat.map(|seat| seat.rights().lines()).unwrap_or_default());
        Ok(plan)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        self.loaded.policy.environment(self.host_env.iter().cloned())
    }

    fn hooks(&self, event: &Event) -> HookOutcomes {
        runner::run_until(&self.loaded.policy.hooks, event, &self.host_env, Some(self.signals.stop_fd()))
    }

    /// A moment that has no say: its hooks run, and what they have to complain about is told.
    fn tell(&self, event: HookEvent) {
        self.report_hooks(&Event::moment(event, &self.about));
    }

    fn report_hooks(&self, event: &Event) {
        for outcome in self.hooks(event).0 {
            let (HookResult::Blocked { reason } | HookResult::Failed { reason }) = outcome.result else { continue };
            report::say(&report::encoded(&format!("the {} hook of {}: {reason}", event.event, outcome.hook)));
        }
    }
}

impl Cleared {
    /// Spend the approval if there is one, do it, and report how it ended. `act` fails when it did not begin; how it
    /// ended is within, and when that is not to be known, nothing is reported and the hold becomes `unknown`.
    fn carry_out<T: Into<Outcome> + Clone>(
        self,
        act: impl FnOnce() -> Result<Result<T, Error>, Error>,
    ) -> Result<T, Error> {
        let Self::Granted(asked) = self else { return act()? };
        let (approver, granted) = *asked;
        approver.release(&granted)?;
        let done = act();
        match &done {
            Ok(Ok(ended)) => approver.finish(&granted, ended.clone().into()),
            Ok(Err(_)) => {}
            Err(error) => approver.finish(&granted, Outcome::NotStarted(error.to_string())),
        }
        done?
    }
}

impl From<Finished> for Outcome {
    fn from(finished: Finished) -> Self {
        match finished.ended {
            Ended::Itself(status) => match signal_of(status) {
                Some(signal) => Self::Signalled(signal),
                None => Self::Exited(status.code().unwrap_or(-1)),
            },
            Ended::Killed(_) | Ended::OutOfTime | Ended::TooMuch => {
                Self::Signalled(nix::sys::signal::Signal::SIGKILL as i32)
            }
        }
    }
}

fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Say what a person should know of a sandbox that stands.
pub(crate) fn remark(enforced: &Enforced) {
    if let Some(warning) = process::missing(enforced) {
        report::say(&report::encoded(&warning));
    }
    let say = |remark: &String| report::say(&report::encoded(remark));
    enforced.uncovered.iter().for_each(|what| say(&format!("not protected: {what}")));
    // The rest is for a person who looks; in a script's standard error it would stand among the command's words.
    if std::io::stderr().is_terminal() {
        enforced.warnings.iter().for_each(say);
    }
}

/// The action of running `argv`.
pub(crate) fn action(loaded: &Loaded, argv: &[OsString]) -> Action {
    Action::Run(holdpoint_policy::Run { argv: argv.to_vec(), cwd: loaded.workspace.cwd.clone() })
}

/// Say what a person should know of the sandbox, and loudly when there is none.
fn announce(confined: Option<&Confinement>) {
    match confined {
        Some(confined) => confined.warnings.iter().for_each(|warning| report::say(&report::encoded(warning))),
        None => report::say(
            "WARNING: the profile says sandbox = \"none\". This command is NOT confined: it can read, write and reach \
             whatever you can.",
        ),
    }
}

fn denied(judgement: &Judgement) -> Error {
    let reasons: Vec<Reason> = judgement.deciding().cloned().collect();
    let hook = reasons.iter().all(|reason| reason.rule == "[[hooks]]");
    Error::Denied { by: if hook { "a hook" } else { "the policy" }.into(), reasons }
}
