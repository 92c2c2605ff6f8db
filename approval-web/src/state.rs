//! The life of a hold as a pure function: [`apply`] takes a state and an event and gives the next state, or refuses.
//!
//! ```text
//!            approve            release (spent once)         finish
//! pending ────────────► approved ────────────► released ────────────► finished
//!   │ │ │                 │  │                    │
//!   │ │ └ deny → denied   │  └ expire → expired   └ runner lost → unknown (never run again)
//!   │ └ expire → expired  └ cancel → cancelled
//!   └ cancel → cancelled
//! ```
//!
//! No clock and no storage here: the store decides *when* an event happens, and makes it durable before it has effect.

use serde::{Deserialize, Serialize};

/// Where a hold stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It waits for a person.
    Pending,
    /// A person let it run; it has not been released to run yet.
    Approved {
        /// Who.
        by: String,
    },
    /// The approval was spent: the runner is executing it. There is no second release.
    Released {
        /// Who had approved.
        by: String,
    },
    /// It ran and this is how it ended.
    Finished {
        /// Who had approved.
        by: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// A person refused it.
    Denied {
        /// Who.
        by: String,
        /// The reason the person typed; may be empty.
        reason: String,
    },
    /// Nobody decided in time, or the approval was not used in time.
    Expired,
    /// The runner withdrew it, or went away before it was released.
    Cancelled {
        /// Why.
        why: String,
    },
    /// It was released and its runner is gone without an outcome: it may or may not have run. Never run again.
    Unknown {
        /// Who had approved.
        by: String,
    },
}

impl State {
    /// The state's name, as in JSON and in the store.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved { .. } => "approved",
            Self::Released { .. } => "released",
            Self::Finished { .. } => "finished",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether nothing can happen to it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !matches!(self, Self::Pending | Self::Approved { .. } | Self::Released { .. })
    }
}

/// How a released command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It was released but never started; the text says why.
    NotStarted(String),
}

/// What can happen to a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A person lets it run.
    Approve {
        /// Who.
        by: String,
    },
    /// A person refuses it.
    Deny {
        /// Who.
        by: String,
        /// Why, in the person's words.
        reason: String,
    },
    /// Its time is over.
    Expire,
    /// The runner withdraws it, or is gone.
    Cancel {
        /// Why.
        why: String,
    },
    /// The runner spends the approval, to execute.
    Release,
    /// The runner reports how it ended.
    Finish {
        /// How it ended.
        outcome: Outcome,
    },
    /// The runner of a released hold is gone.
    Lose,
}

impl Event {
    /// The event's name, as in JSON and in the store.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Deny { .. } => "deny",
            Self::Expire => "expire",
            Self::Cancel { .. } => "cancel",
            Self::Release => "release",
            Self::Finish { .. } => "finish",
            Self::Lose => "lose",
        }
    }
}

/// The event is not possible in that state; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {event} a hold that is {state}")]
pub struct Refused {
    /// The state it is in.
    pub state: &'static str,
    /// The event that was refused.
    pub event: &'static str,
}

/// The next state, or a refusal that changes nothing.
///
/// # Errors
/// [`Refused`] for every pair that is not an arrow of the picture above.
pub fn apply(state: &State, event: &Event) -> Result<State, Refused> {
    Ok(match (state, event) {
        (State::Pending, Event::Approve { by }) => State::Approved { by: by.clone() },
        (State::Pending, Event::Deny { by, reason }) => State::Denied { by: by.clone(), reason: reason.clone() },
        (State::Pending | State::Approved { .. }, Event::Expire) => State::Expired,
        (State::Pending | State::Approved { .. }, Event::Cancel { why }) => State::Cancelled { why: why.clone() },
        (State::Approved { by }, Event::Release) => State::Released { by: by.clone() },
        (State::Released { by }, Event::Finish { outcome }) => {
            State::Finished { by: by.clone(), outcome: outcome.clone() }
        }
        (State::Released { by }, Event::Lose) => State::Unknown { by: by.clone() },
        (state, event) => return Err(Refused { state: state.name(), event: event.name() }),
    })
}
