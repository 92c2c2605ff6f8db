//! `holdpoint check`: what would happen to a command, and why. Nothing is run, not even a hook.

use holdpoint_hooks::event::{About, Event};
use holdpoint_hooks::select;
use holdpoint_policy::{HookEvent, HookOutcomes, Verdict, evaluate, explain};
use serde_json::json;

use super::program_named;
use crate::args::Check;
use crate::confine::confinement;
use crate::error::Error;
use crate::load::load;
use crate::report::{self, encoded};
use crate::{exit, invocation};

/// Say what would happen.
///
/// # Errors
/// [`Error::Usage`] for no command; [`Error::Config`] and its kin: a policy that cannot be read says nothing.
pub(super) fn check(args: &Check) -> Result<u8, Error> {
    program_named(&args.argv, "holdpoint check")?;
    let loaded = load(&args.flags)?;
    let action = invocation::action(&loaded, &args.argv);
    let judgement = evaluate::evaluate(&loaded.policy, &action, &HookOutcomes::default());
    let about = About { cwd: loaded.workspace.cwd.clone(), ..About::default() };
    let event = Event::command(HookEvent::PreToolUse, &args.argv, &about);
    let hooks: Vec<_> = select::matching(&loaded.policy.hooks, &event).collect();
    // A sandbox that cannot be had would end the run before anybody is asked.
    let refused = confinement(&loaded).err();
    let sandbox = explain::sandbox_lines(&loaded.policy, &loaded.workspace.root);
    let code = match (&refused, judgement.verdict) {
        (_, Verdict::Deny) => exit::DENIED,
        (Some(error), _) => exit::of_error(error),
        (None, Verdict::Ask) => exit::WOULD_HOLD,
        (None, Verdict::Allow) => exit::SUCCESS,
    };
    if args.flags.answer.json {
        report::result(&json!({
            "verdict": judgement.verdict,
            "exit": code,
            "profile": loaded.policy.profile,
            "workspace": loaded.workspace.root.to_string_lossy(),
            "reasons": judgement.reasons,
            "hooks": hooks.iter().map(|hook| json!({"origin": hook.origin, "command": hook.command})).collect::<Vec<_>>(),
            "sandbox": sandbox,
            "unenforceable": refused.as_ref().map(ToString::to_string),
        }))?;
        return Ok(code);
    }
    let mut out = match judgement.verdict {
        Verdict::Allow => "allow: it would run".to_owned(),
        Verdict::Ask => "ask: it would be held for a person".to_owned(),
        Verdict::Deny => "deny: it would not run".to_owned(),
    };
    out.push('\n');
    for reason in &judgement.reasons {
        let (verdict, text, rule, origin) = (reason.verdict, &reason.text, &reason.rule, &reason.origin);
        out.push_str(&format!("  {verdict}: {}  ({}, {})\n", encoded(text), encoded(rule), encoded(origin)));
    }
    for hook in hooks {
        out.push_str(&format!("  unless the hook of {} refuses (not run now)\n", encoded(&hook.origin)));
    }
    out.push_str("sandbox:\n");
    for line in sandbox {
        out.push_str(&format!("  {}\n", encoded(&line)));
    }
    report::output(out.as_bytes())?;
    if let Some(error) = &refused {
        report::error(error);
    }
    Ok(code)
}
