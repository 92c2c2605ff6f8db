//! The judgement: a pure function of policy, action and what the hooks said.

use crate::action::Action;
use crate::hook::HookOutcomes;
use crate::policy::Policy;
use crate::verdict::{Judgement, Reason, Verdict};

/// Judges one action.
pub fn evaluate(policy: &Policy, action: &Action, hooks: &HookOutcomes) -> Judgement {
    let _unused = (action, hooks);
    Judgement::of(Reason::new(Verdict::Ask, "approval_policy", policy.approval.origin.clone(), "to be written"))
}
