//! Every change of a hold goes through here: into the store first, and only when it is durable are waiters woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::error::Error;
use crate::hold::{Decision, Hold, HoldId, LASTING, MAX_BY, MAX_REASON, UnixMs};
use crate::plan::{Digest, HoldPlan};
use crate::runner::Runner;
use crate::state::{Event, Outcome, State};
use crate::store::{Change, Logged, NewHold, Store};

/// How long a runner may stay away before its hold is cancelled.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The holds of one server.
#[derive(Debug)]
pub(crate) struct Holds {
    store: Box<dyn Store>,
    /// Held over a write and its announcement, so that announcements come in the order of the events.
    order: Mutex<()>,
    wake: broadcast::Sender<Logged>,
    leases: Mutex<HashMap<HoldId, Lease>>,
    lease: Duration,
}

#[derive(Debug)]
struct Lease {
    waiters: usize,
    until: Instant,
    /// The expiry by the monotonic clock: setting the wall clock back does not give a hold more time.
    deadline: Instant,
}

/// Keeps the lease of a hold for as long as its runner waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    holds: Arc<Holds>,
    id: HoldId,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(lease) = self.holds.leases().get_mut(&self.id) {
            lease.waiters = lease.waiters.saturating_sub(1);
            lease.until = Instant::now() + self.holds.lease;
        }
    }
}

impl Holds {
    /// Takes over the holds of a store; runners of an earlier server get a lease's time to come back.
    pub(crate) fn new(store: Box<dyn Store>, lease: Duration) -> Result<Self, Error> {
        let (wake, _) = broadcast::channel(1024);
        let holds = Self { store, order: Mutex::default(), wake, leases: Mutex::default(), lease };
        for open in holds.store.open()? {
            holds.grant(&open.id, open.expires_at.since(UnixMs::now()));
        }
        holds.sweep()?;
        Ok(holds)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Announcements of every change from now on, in the order of their numbers.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Logged> {
        self.wake.subscribe()
    }

    pub(crate) fn create(
        &self,
        id: HoldId,
        plan: HoldPlan,
        ttl: Duration,
        runner: Option<Runner>,
    ) -> Result<Hold, Error> {
        plan.check_size()?;
        if !LASTING.contains(&ttl) {
            return Err(Error::Invalid { why: "a hold lasts between one second and 24 hours".into() });
        }
        let now = UnixMs::now();
        let new = NewHold { id, plan, expires_at: now.after(ttl), runner };
        let order = self.order();
        let written = self.store.create(&new, now)?;
        if written.fresh {
            self.grant(&written.hold.id, ttl);
            self.announce(&written.hold);
        }
        drop(order);
        Ok(written.hold)
    }

    pub(crate) fn decide(&self, id: HoldId, digest: Digest, decision: Decision, by: &str) -> Result<Hold, Error> {
        let by = by.trim().to_owned();
        if by.is_empty() || by.chars().count() > MAX_BY {
            return Err(Error::Invalid { why: format!("a decision needs a name of 1 to {MAX_BY} characters") });
        }
        let event = match decision {
            Decision::Approve => Event::Approve { by },
            Decision::Deny { reason } => {
                let reason = reason.trim().to_owned();
                if reason.chars().count() > MAX_REASON {
                    return Err(Error::Invalid { why: format!("the reason is longer than {MAX_REASON} characters") });
                }
                Event::Deny { by, reason }
            }
        };
        self.change(&Change::new(id, event).of_plan(digest))
    }

    pub(crate) fn release(
        &self,
        id: HoldId,
        digest: Digest,
        ticket: String,
        runner: Option<Runner>,
    ) -> Result<Hold, Error> {
        if ticket.len() < 16 || ticket.len() > 64 {
            return Err(Error::Invalid { why: "a release needs a ticket of 16 to 64 characters".into() });
        }
        let change = Change { ticket: Some(ticket), runner, ..Change::new(id, Event::Release).of_plan(digest) };
        self.change(&change)
    }

    pub(crate) fn finish(&self, id: HoldId, outcome: Outcome) -> Result<Hold, Error> {
        self.change(&Change::new(id, Event::Finish { outcome }))
    }

    pub(crate) fn cancel(&self, id: HoldId, why: &str) -> Result<Hold, Error> {
        let why = why.chars().take(MAX_REASON).collect();
        self.change(&Change::new(id, Event::Cancel { why }))
    }

    /// Notes that the runner of a hold waits for it.
    pub(crate) fn waiting(self: &Arc<Self>, id: &HoldId) -> Waiting {
        if let Some(lease) = self.leases().get_mut(id) {
            lease.waiters += 1;
        }
        Waiting { holds: Arc::clone(self), id: id.clone() }
    }

    /// Ends what time or a lost runner has ended.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let now = UnixMs::now();
        let instant = Instant::now();
        let open = self.store.open()?;
        for hold in open {
            let gone = hold.runner.as_ref().is_some_and(|runner| !runner.is_alive());
            let (late, lapsed) = self.leases().get(&hold.id).map_or((false, false), |lease| {
                (instant >= lease.deadline, lease.waiters == 0 && instant >= lease.until)
            });
            let event = if hold.released {
                if !gone {
                    continue;
                }
                Event::Lose
            } else if now >= hold.expires_at || late {
                Event::Expire
            } else if gone || lapsed {
                Event::Cancel { why: "the program that asked went away".into() }
            } else {
                continue;
            };
            match self.change(&Change::new(hold.id, event)) {
                // Somebody else changed it since it was listed.
                Ok(_) | Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn change(&self, change: &Change) -> Result<Hold, Error> {
        let order = self.order();
        let result = self.store.change(change, UnixMs::now());
        match &result {
            Ok(written) if written.fresh => {
                match written.hold.state {
                    State::Approved { .. } => self.grant(&written.hold.id, crate::store::USE_WITHIN),
                    _ => drop(self.leases().remove(&written.hold.id)),
                }
                self.announce(&written.hold);
            }
            // It may have expired just now, because of this very attempt.
            Err(Error::Refused { id, state }) if **state == State::Expired => {
                self.leases().remove(id);
                self.announce(&self.store.get(id)?);
            }
            _ => {}
        }
        drop(order);
        result.map(|written| written.hold)
    }

    fn grant(&self, id: &HoldId, ttl: Duration) {
        let now = Instant::now();
        let mut leases = self.leases();
        let waiters = leases.get(id).map_or(0, |lease| lease.waiters);
        leases.insert(id.clone(), Lease { waiters, until: now + self.lease, deadline: now + ttl });
    }

    fn announce(&self, hold: &Hold) {
        let logged = Logged { seq: hold.seq, at: hold.changed_at, id: hold.id.clone(), state: hold.state.clone() };
        // Nobody may be listening; whoever waits reads the store itself.
        self.wake.send(logged).ok();
    }

    fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<HoldId, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FileId, Kind, Stdin};
    use crate::store::sqlite::Sqlite;

    fn plan() -> HoldPlan {
        HoldPlan {
            kind: Kind::Run,
            argv: vec!["true".into()],
            cwd: "/".into(),
            cwd_id: FileId { dev: 1, ino: 2 },
            executable: None,
            operands: vec![],
            env: vec![],
            stdin: Stdin::Null,
            profile: "default".into(),
            policy_digest: String::new(),
            reasons: vec![],
            sandbox: vec![],
            diff: None,
            host: "h".into(),
            user: "u".into(),
        }
    }

    fn holds(dir: &tempfile::TempDir, lease: Duration) -> Arc<Holds> {
        let store = Sqlite::open(&dir.path().join("db")).unwrap();
        Arc::new(Holds::new(Box::new(store), lease).unwrap())
    }

    fn hold(holds: &Holds) -> Hold {
        holds.create(HoldId::new().unwrap(), plan(), Duration::from_secs(60), None).unwrap()
    }

    #[test]
    fn a_runner_that_stops_asking_loses_its_hold_and_one_that_waits_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let holds = holds(&dir, Duration::ZERO);
        let (waits, gone) = (hold(&holds), hold(&holds));
        let waiting = holds.waiting(&waits.id);
        holds.sweep().unwrap();
        assert_eq!(holds.store().get(&waits.id).unwrap().state, State::Pending);
        assert!(matches!(holds.store().get(&gone.id).unwrap().state, State::Cancelled { .. }));
        drop(waiting);
        holds.sweep().unwrap();
        assert!(matches!(holds.store().get(&waits.id).unwrap().state, State::Cancelled { .. }));
    }

    #[test]
    fn a_lease_that_is_not_over_keeps_the_hold() {
        let dir = tempfile::tempdir().unwrap();
        let holds = holds(&dir, LEASE);
        let hold = hold(&holds);
        holds.sweep().unwrap();
        assert_eq!(holds.store().get(&hold.id).unwrap().state, State::Pending);
    }

    #[test]
    fn a_released_hold_has_no_lease_and_is_not_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let holds = holds(&dir, Duration::ZERO);
        let hold = hold(&holds);
        holds.decide(hold.id.clone(), hold.digest, Decision::Approve, "dana").unwrap();
        holds.release(hold.id.clone(), hold.digest, "0123456789abcdef".into(), None).unwrap();
        holds.sweep().unwrap();
        assert!(matches!(holds.store().get(&hold.id).unwrap().state, State::Released { .. }));
    }

    #[test]
    fn setting_the_wall_clock_back_gives_no_more_time() {
        let dir = tempfile::tempdir().unwrap();
        let holds = holds(&dir, LEASE);
        let hold = hold(&holds);
        // By the wall clock it has a minute; by the monotonic one its time is over.
        holds.leases().get_mut(&hold.id).unwrap().deadline = Instant::now();
        holds.sweep().unwrap();
        assert_eq!(holds.store().get(&hold.id).unwrap().state, State::Expired);
    }

    #[test]
    fn every_change_is_announced_in_the_order_of_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let holds = holds(&dir, LEASE);
        let mut changes = holds.watch();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let hold = hold(&holds);
                    holds.decide(hold.id, hold.digest, Decision::Approve, "dana").unwrap();
                });
            }
        });
        let seen: Vec<i64> = std::iter::from_fn(|| changes.try_recv().ok()).map(|logged| logged.seq).collect();
        assert_eq!(seen, (1..=16).collect::<Vec<_>>());
    }
}
