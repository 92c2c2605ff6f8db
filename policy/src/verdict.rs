//! Verdicts form a lattice: `allow < ask < deny`, and combining them only tightens.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is to become of an action. The order is the strictness: the strictest of several verdicts wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// It goes ahead, inside the sandbox.
    #[default]
    Allow,
    /// It is held for a person.
    Ask,
    /// It does not happen, and nobody is asked.
    Deny,
}

impl Verdict {
    /// The stricter of the two.
    #[must_use]
    pub fn tighten(self, other: Verdict) -> Verdict {
        self.max(other)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Allow => "allow",
            Verdict::Ask => "ask",
            Verdict::Deny => "deny",
        })
    }
}

/// Why one part of the policy gave its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The verdict this reason alone asks for.
    pub verdict: Verdict,
    /// The rule, as a person would find it: `approval_policy = "suggest"`, `[[rules]] git push`, `catalog: git`.
    pub rule: String,
    /// Where the rule stands: `FILE:LINE` or `built-in`.
    pub origin: String,
    /// One sentence for a person.
    pub text: String,
}

impl Reason {
    /// A reason for `verdict`.
    pub fn new(
        verdict: Verdict,
        rule: impl Into<String>,
        origin: impl Into<String>,
        text: impl Into<String>,
    ) -> Reason {
        Reason { verdict, rule: rule.into(), origin: origin.into(), text: text.into() }
    }
}

/// A verdict and everything that spoke for it, the strictest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The strictest of all the reasons' verdicts.
    pub verdict: Verdict,
    /// Why, strictest first; never empty in what [`crate::evaluate::evaluate`] returns.
    pub reasons: Vec<Reason>,
}

impl Judgement {
    /// A judgement of one reason.
    pub fn of(reason: Reason) -> Judgement {
        Judgement { verdict: reason.verdict, reasons: vec![reason] }
    }

    /// Both together: the stricter verdict, the reasons of both.
    ///
    /// ```
    /// use holdpoint_policy::{Judgement, Reason, Verdict};
    ///
    /// let held = Judgement::of(Reason::new(Verdict::Ask, "approval_policy", "built-in", "every command waits"));
    /// let denied = Judgement::of(Reason::new(Verdict::Deny, "[[rules]] dd", "config.toml:9", "no raw disks"));
    /// let both = held.tighten(denied);
    /// assert_eq!(both.verdict, Verdict::Deny);
    /// assert_eq!(both.reasons[0].origin, "config.toml:9");
    /// ```
    #[must_use]
    pub fn tighten(mut self, other: Judgement) -> Judgement {
        self.verdict = self.verdict.tighten(other.verdict);
        for reason in other.reasons {
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
        // Stable: reasons of equal strictness keep the order in which they were found.
        self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
        self
    }

    /// The reasons that ask for the verdict that was reached; the others would have let more through.
    pub fn deciding(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| reason.verdict == self.verdict)
    }
}
