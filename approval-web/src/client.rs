//! The blocking client of a runner or an operator: speaks to the server over its unix socket.

use std::path::Path;
use std::time::Duration;

use crate::error::Error;
pub use crate::hold::{Decision, Hold, HoldId};
use crate::plan::{Digest, HoldPlan};
use crate::state::Outcome;

/// A connection to the approval server of a state directory. Calls may be made from several threads at once.
#[derive(Debug)]
pub struct Client {}

impl Client {
    /// Connects to the server of a state directory. `None` when no server runs there.
    ///
    /// # Errors
    /// [`Error::Foreign`] when the socket is there but nobody of ours answers behind it.
    pub fn connect(state_dir: &Path) -> Result<Option<Self>, Error> {
        Err(Error::ServerAway { why: format!("not built yet: {}", state_dir.display()) })
    }

    /// Where the page is, without any secret.
    #[must_use]
    pub fn url(&self) -> &str {
        ""
    }

    /// Holds a plan for at most `ttl`. The calling process is the runner: when it goes away the hold is cancelled.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when a person could not review it; [`Error::ServerAway`].
    pub fn hold(&self, plan: &HoldPlan, ttl: Duration) -> Result<HoldId, Error> {
        plan.check_size()?;
        Err(Error::ServerAway { why: format!("not built yet: {ttl:?}") })
    }

    /// Waits until a hold is no longer pending, or `timeout` is over (then its state is still pending). Rides out a
    /// restart of the server.
    ///
    /// # Errors
    /// [`Error::ServerAway`] when the server is away at the deadline; [`Error::NoSuchHold`].
    pub fn wait(&self, id: &HoldId, timeout: Duration) -> Result<Hold, Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id} {timeout:?}") })
    }

    /// Spends the approval: durable when this returns, and possible once. Execute only after `Ok`.
    ///
    /// # Errors
    /// [`Error::Changed`] when `digest` is not what was approved, [`Error::Refused`] when it is not approved (any more),
    /// [`Error::ServerAway`].
    pub fn release(&self, id: &HoldId, digest: Digest) -> Result<(), Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id} {digest}") })
    }

    /// Reports how a released action ended.
    ///
    /// # Errors
    /// [`Error::Refused`] when it was not released; [`Error::ServerAway`].
    pub fn finish(&self, id: &HoldId, outcome: Outcome) -> Result<(), Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id} {outcome:?}") })
    }

    /// Withdraws a hold that was not released.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is released or closed; [`Error::ServerAway`].
    pub fn cancel(&self, id: &HoldId, why: &str) -> Result<(), Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id} {why}") })
    }

    /// The open holds, oldest first, then (with `closed`) the latest closed ones.
    ///
    /// # Errors
    /// [`Error::ServerAway`].
    pub fn list(&self, closed: bool) -> Result<Vec<Hold>, Error> {
        Err(Error::ServerAway { why: format!("not built yet: {closed}") })
    }

    /// One hold, as it stands now.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`]; [`Error::ServerAway`].
    pub fn get(&self, id: &HoldId) -> Result<Hold, Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id}") })
    }

    /// Decides a hold, naming the digest of the plan that the person was shown. The same decision again is no error.
    ///
    /// # Errors
    /// [`Error::Changed`] for another digest, [`Error::Refused`] when it is already decided or closed,
    /// [`Error::Invalid`] for a reason that is too long, [`Error::ServerAway`].
    pub fn decide(&self, id: &HoldId, digest: Digest, decision: Decision, by: &str) -> Result<Hold, Error> {
        Err(Error::ServerAway { why: format!("not built yet: {id} {digest} {decision:?} {by}") })
    }

    /// A new one-time link that connects a browser; valid for ten minutes.
    ///
    /// # Errors
    /// [`Error::ServerAway`].
    pub fn pair(&self) -> Result<String, Error> {
        Err(Error::ServerAway { why: "not built yet".into() })
    }
}
