//! The judgement: a pure function of policy, action and what the hooks said.
//!
//! Every part of the policy gives its verdict and the strictest wins. The approval mode speaks first: in `suggest` everything
//! waits, in `auto-edit` commands wait, in `full-auto` nothing does. An `allow` rule of the person takes back only that first
//! word. Whatever the mode, the following still count: `ask` and `deny` rules, the verdicts that somebody wrote for the catalog
//! of known commands, denied programs and files, and every hook. The catalog's own defaults count where commands are held anyway.

mod files;
mod run;

use crate::action::Action;
use crate::catalog;
use crate::hook::{HookOutcomes, HookResult};
use crate::mode::ApprovalMode;
use crate::policy::Policy;
use crate::verdict::{Judgement, Reason, Verdict};
use std::ffi::OsString;

/// Judges one action. The same input gives the same judgement, always; the judgement has at least one reason.
///
/// ```
/// use holdpoint_policy::layer::{Flags, compile};
/// use holdpoint_policy::{Action, HookOutcome, HookOutcomes, HookResult, Run, Verdict, evaluate::evaluate};
///
/// let policy = compile(&[], None, &Flags::default())?;
/// let test = Action::Run(Run { argv: vec!["cargo".into(), "test".into()], cwd: "/src".into() });
/// let held = evaluate(&policy, &test, &HookOutcomes::default());
/// assert_eq!(held.verdict, Verdict::Ask);
/// assert_eq!(held.reasons[0].rule, "approval_policy = \"suggest\"");
///
/// let blocked = HookResult::Blocked { reason: "not on a Friday".into() };
/// let hooks = HookOutcomes(vec![HookOutcome { hook: "config.toml:7".into(), result: blocked }]);
/// let denied = evaluate(&policy, &test, &hooks);
/// assert_eq!(denied.verdict, Verdict::Deny);
/// assert_eq!(denied.reasons[0].text, "not on a Friday");
/// # Ok::<(), holdpoint_policy::ConfigError>(())
/// ```
pub fn evaluate(policy: &Policy, action: &Action, hooks: &HookOutcomes) -> Judgement {
    let judged = match action {
        Action::Run(run) => run::judge(policy, &run.argv),
        Action::Edit(edit) => files::edit(policy, edit),
        Action::Write { path } => files::write(policy, path),
        Action::Read { path } => files::read(policy, path),
        Action::Tool { name, input } => tool(policy, name, input),
    };
    judged.tighten(hook_verdicts(hooks))
}

/// Judges a program that something inside the sandbox is about to execute (`exec_guard`). What started it was judged before,
/// so the approval mode has no say: rules, denied programs and the catalog have. That a script cannot be read before it runs
/// counts only where somebody wrote so, because each program that comes out of it is judged itself.
///
/// ```
/// use holdpoint_policy::layer::{Flags, compile};
/// use holdpoint_policy::{Verdict, evaluate::started};
///
/// let policy = compile(&[], None, &Flags::default())?;
/// assert_eq!(started(&policy, &["cargo".into(), "test".into()]).verdict, Verdict::Allow);
/// assert_eq!(started(&policy, &["sh".into(), "-c".into(), "\"$@\"".into()]).verdict, Verdict::Allow);
/// assert_eq!(started(&policy, &["git".into(), "push".into(), "--force".into()]).verdict, Verdict::Ask);
/// # Ok::<(), holdpoint_policy::ConfigError>(())
/// ```
pub fn started(policy: &Policy, argv: &[OsString]) -> Judgement {
    run::started(policy, argv)
}

/// What the approval mode says when `held_in` and every stricter mode hold this kind of action.
fn by_approval(policy: &Policy, held_in: ApprovalMode, what: &str) -> Judgement {
    let mode = policy.approval.value;
    let (verdict, text) = match mode >= held_in {
        true => (Verdict::Ask, format!("{what} waits for a person")),
        false => (Verdict::Allow, format!("{what} goes ahead inside the sandbox")),
    };
    Judgement::of(Reason::new(verdict, format!("approval_policy = \"{mode}\""), &policy.approval.origin, text))
}

/// A tool of the agent: held as a command is; its name and the text in its input are compared with the catalog.
fn tool(policy: &Policy, name: &str, input: &str) -> Judgement {
    let base = by_approval(policy, ApprovalMode::AutoEdit, "a tool call");
    catalog::tool(name, input).into_iter().fold(base, |judged, hit| judged.tighten(run::by_catalog(policy, &hit)))
}

fn hook_verdicts(hooks: &HookOutcomes) -> Judgement {
    let refused = hooks.0.iter().filter_map(|outcome| {
        let text = match &outcome.result {
            HookResult::Passed => return None,
            HookResult::Blocked { reason } if reason.trim().is_empty() => "a hook refused this".to_owned(),
            HookResult::Blocked { reason } => reason.clone(),
            HookResult::Failed { reason } => format!("a hook that cannot do its work blocks: {reason}"),
        };
        Some(Judgement::of(Reason::new(Verdict::Deny, "[[hooks]]", &outcome.hook, text)))
    });
    refused.fold(Judgement::default(), Judgement::tighten)
}
