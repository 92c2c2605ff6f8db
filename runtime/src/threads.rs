//! Threads beside the caller's own, where there are processors for them.

mod crew;

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use std::{
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

pub(crate) use crew::{each, work_off};

/// Processors that this thread may run on, when they are not more than `most`.
pub(crate) fn processors(most: usize) -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    allowed.map_or(1, |set| (0..CpuSet::count()).filter(|at| set.is_set(*at).unwrap_or(false)).take(most).count())
}

/// Does both, `other` on a thread of its own where that is of use.
pub(crate) fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    if processors(2) < 2 {
        return (other(), own());
    }
    // Left here when no thread can be had.
    let other = Mutex::new(Some(other));
    let take = || other.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (done, own) = thread::scope(|scope| {
        let work = || take().map(|other| other());
        let thread = thread::Builder::new().name("beside".into()).spawn_scoped(scope, work);
        let own = own();
        (thread.ok().and_then(|thread| thread.join().unwrap_or_else(|why| panic::resume_unwind(why))), own)
    });
    match done.or_else(|| take().map(|other| other())) {
        Some(done) => (done, own),
        None => unreachable!("whoever takes it does it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_and_beside_each_other_where_there_are_processors() {
        let (here, text) = (thread::current().id(), String::from("what the other borrows"));
        let (other, own) = beside(|| (text.len(), thread::current().id()), || thread::current().id());
        assert_eq!((other.0, own), (22, here));
        assert_eq!(other.1 != here, processors(2) > 1);
    }
}
