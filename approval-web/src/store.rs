//! Where holds, their events, browser sessions and pairing secrets are kept.
//!
//! Every change is durable when a method returns, and only then may it have effect. A decision and a release are
//! compare-and-set: whoever comes second is refused. Each change appends one event in the same transaction; a later
//! audit reads those.

pub mod sqlite;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hold::{Hold, HoldId, UnixMs};
use crate::plan::{Digest, HoldPlan};
use crate::runner::Runner;
use crate::state::{Event, State};

/// How long an approval may stay unused before it expires.
pub const USE_WITHIN: Duration = Duration::from_secs(60);

/// A hold to be created.
#[derive(Debug, Clone)]
pub struct NewHold {
    /// Its id, chosen by the runner so that creating it twice is harmless.
    pub id: HoldId,
    /// What is held.
    pub plan: HoldPlan,
    /// When it expires.
    pub expires_at: UnixMs,
    /// The process that waits for it, when it can be seen.
    pub runner: Option<Runner>,
}

/// One event to apply to one hold.
#[derive(Debug, Clone)]
pub struct Change {
    /// The hold.
    pub id: HoldId,
    /// The plan the caller means; must be the hold's own. `None` for events that concern any plan.
    pub digest: Option<Digest>,
    /// What happens.
    pub event: Event,
    /// For a release: a secret of the runner that makes repeating the same release harmless, and no other.
    pub ticket: Option<String>,
    /// For a release: the process that will execute.
    pub runner: Option<Runner>,
}

impl Change {
    /// An event without a digest, ticket or runner.
    #[must_use]
    pub fn new(id: HoldId, event: Event) -> Self {
        Self { id, digest: None, event, ticket: None, runner: None }
    }

    /// Names the plan that is meant.
    #[must_use]
    pub fn of_plan(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }
}

/// The result of a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The hold as it now stands.
    pub hold: Hold,
    /// `false` when the same was written before, and nothing changed now.
    pub fresh: bool,
}

/// An open hold, without its plan: what the expiry and lease clock needs.
#[derive(Debug, Clone)]
pub struct Open {
    /// The hold.
    pub id: HoldId,
    /// Whether it is released: its command may be running.
    pub released: bool,
    /// When it expires.
    pub expires_at: UnixMs,
    /// Its runner, when it can be seen.
    pub runner: Option<Runner>,
}

/// One entry of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Its number, growing without gaps that matter.
    pub seq: i64,
    /// When it was written.
    pub at: UnixMs,
    /// The hold it changed.
    pub id: HoldId,
    /// The state it led to.
    pub state: State,
}

/// A store of holds. One server uses it at a time, from many threads.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Creates a hold, pending. The same id with the same plan again changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a known id with another plan; [`Error::Store`].
    fn create(&self, new: &NewHold, now: UnixMs) -> Result<Written, Error>;

    /// Applies one event, by [`crate::state::apply`]. An overdue hold expires first.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`], [`Error::Changed`], [`Error::Refused`], [`Error::Store`].
    fn change(&self, change: &Change, now: UnixMs) -> Result<Written, Error>;

    /// One hold.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`], [`Error::Store`].
    fn get(&self, id: &HoldId) -> Result<Hold, Error>;

    /// All open holds, oldest first, then at most `closed` closed ones, latest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn list(&self, closed: usize) -> Result<Vec<Hold>, Error>;

    /// The open holds, without their plans.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn open(&self) -> Result<Vec<Open>, Error>;

    /// Events after number `seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<Logged>, Error>;

    /// The number of the last event; 0 when there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn last_event(&self) -> Result<i64, Error>;

    /// The random label of this store, made once.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn label(&self) -> Result<String, Error>;

    /// Remembers the hash of a pairing secret until `expires_at`.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn add_pairing(&self, secret: &Digest, now: UnixMs, expires_at: UnixMs) -> Result<(), Error>;

    /// Whether a pairing secret could be spent now; spends nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn has_pairing(&self, secret: &Digest, now: UnixMs) -> Result<bool, Error>;

    /// Spends a pairing secret for a browser session, in one transaction. `false` when it is unknown, spent or too old.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn spend_pairing(&self, secret: &Digest, session: &Digest, now: UnixMs, until: UnixMs) -> Result<bool, Error>;

    /// Whether the hash of a session secret is that of a live session.
    ///
    /// # Errors
    /// [`Error::Store`].
    fn has_session(&self, session: &Digest, now: UnixMs) -> Result<bool, Error>;
}
