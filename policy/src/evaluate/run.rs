//! Judging a command: by the approval mode, the rules, the catalog and the programs that are denied.

use super::by_approval;
use crate::catalog::{self, Class, Hit};
use crate::mode::ApprovalMode;
use crate::policy::{BUILT_IN, Policy};
use crate::rules::Rule;
use crate::shell::{self, Extraction, Invocation};
use crate::verdict::{Judgement, Reason, Verdict};
use std::ffi::OsString;

pub(super) fn judge(policy: &Policy, argv: &[OsString]) -> Judgement {
    let read = shell::extract(argv);
    let judged =
        allowed_by_rules(policy, &read).unwrap_or_else(|| by_approval(policy, ApprovalMode::AutoEdit, "every command"));
    by_content(policy, &read, judged, |_| true)
}

/// A program that something already judged starts.
pub(super) fn started(policy: &Policy, argv: &[OsString]) -> Judgement {
    let text = "started by a command that went ahead";
    let judged = Judgement::of(Reason::new(Verdict::Allow, "exec_guard", &policy.exec_guard.origin, text));
    let written = policy.catalog.unreadable.origin != BUILT_IN;
    by_content(policy, &shell::extract(argv), judged, |class| class != Class::Unreadable || written)
}

/// Tightens by what was read out of a command, as far as the class of what is known of it `counts`.
fn by_content(policy: &Policy, read: &Extraction, mut judged: Judgement, counts: impl Fn(Class) -> bool) -> Judgement {
    for invocation in &read.invocations {
        for rule in policy.rules.iter().filter(|rule| rule.verdict > Verdict::Allow) {
            if let Some(verdict) = rule.judge(invocation) {
                judged = judged.tighten(Judgement::of(by_rule(rule, verdict)));
            }
        }
        if let Some(reason) = denied_program(policy, invocation) {
            judged = judged.tighten(Judgement::of(reason));
        }
    }
    for hit in catalog::hits(read).into_iter().filter(|hit| counts(hit.class)) {
        judged = judged.tighten(by_catalog(policy, &hit));
    }
    if let Some(why) = read.unknown.as_ref().filter(|_| counts(Class::Unreadable)) {
        let hit = Hit { class: Class::Unreadable, tool: "shell".to_owned(), text: why.clone() };
        judged = judged.tighten(by_catalog(policy, &hit));
    }
    judged
}

/// When every program the command starts is allowed by a rule and nothing in it is unknown: the rules instead of the mode.
fn allowed_by_rules(policy: &Policy, read: &Extraction) -> Option<Judgement> {
    if read.unknown.is_some() || read.invocations.is_empty() {
        return None;
    }
    let mut judged = Judgement::default();
    for invocation in read.invocations.iter().filter(|invocation| !invocation.carrier) {
        if !invocation.is_plain() {
            return None;
        }
        let allows = |rule: &&Rule| rule.judge(invocation) == Some(Verdict::Allow);
        judged = judged.tighten(Judgement::of(by_rule(policy.rules.iter().find(allows)?, Verdict::Allow)));
    }
    (!judged.reasons.is_empty()).then_some(judged)
}

/// The reason a rule gives; its verdict is softer than the rule's own when it only may match.
fn by_rule(rule: &Rule, verdict: Verdict) -> Reason {
    let mut text = rule.reason.clone().unwrap_or_else(|| match rule.verdict {
        Verdict::Allow => "commands that start like this go ahead".to_owned(),
        Verdict::Ask => "commands that start like this wait for a person".to_owned(),
        Verdict::Deny => "commands that start like this are denied".to_owned(),
    });
    if verdict < rule.verdict {
        text.push_str(" (this one may: a word of it is known only when it runs)");
    }
    Reason::new(verdict, rule.title(), &rule.origin, text)
}

/// What the policy gives the class of a known command; nothing when it lets the class go ahead.
pub(super) fn by_catalog(policy: &Policy, hit: &Hit) -> Judgement {
    let verdicts = &policy.catalog;
    let verdict = match hit.class {
        Class::Destructive => &verdicts.destructive,
        Class::System => &verdicts.system,
        Class::Credentials => &verdicts.credentials,
        Class::Outward => &verdicts.outward,
        Class::Unreadable => &verdicts.unreadable,
    };
    match verdict.value {
        Verdict::Allow => Judgement::default(),
        value => {
            let rule = format!("catalog.{} = \"{value}\": {}", hit.class, hit.tool);
            Judgement::of(Reason::new(value, rule, &verdict.origin, &hit.text))
        }
    }
}

/// Where a bare program name is looked for, as far as this crate may assume.
const PROGRAM_DIRECTORIES: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];

fn denied_program(policy: &Policy, invocation: &Invocation) -> Option<Reason> {
    let program = invocation.program()?;
    let denied = policy.exec_deny.iter().find(|denied| {
        let path = denied.value.as_str();
        let below =
            |program: &str| program == path || program.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        match program.contains('/') {
            true => below(program),
            false => PROGRAM_DIRECTORIES.iter().any(|directory| below(&format!("{directory}/{program}"))),
        }
    })?;
    let rule = format!("exec_deny_paths: {}", denied.value);
    Some(Reason::new(Verdict::Deny, rule, &denied.origin, format!("`{program}` cannot be executed here")))
}
