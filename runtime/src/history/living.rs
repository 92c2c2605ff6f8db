//! The history of git while a sandbox lives: what is written to it meanwhile is looked through as it would be at a start, and what
//! has to be hidden of it is covered. For the next command that is before it begins, for one that runs a moment later.

use super::{Hidden, Request, Shown, hide};
use crate::{
    ending::Ending,
    enforced::Protection,
    error::{Error, Result},
    guard::Late,
    plan::{Denied, Masked, Mount, Plan, Replaced},
    survey,
};
use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Git may remove a pack while it is read, and then there is another.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// Between two looks that nobody waits for.
const REST: Duration = Duration::from_millis(100);

const NOT_SEEN: &str = "the history of git changed and could not be looked through; the next start says why";

/// The looks that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    count: Mutex<Count>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Count {
    asked: u64,
    done: u64,
    waiting: u32,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Failed,
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a look at what is there now.
    pub(crate) fn ask(&self) {
        self.lock().asked += 1;
        self.changed.notify_all();
    }

    /// Waits until everything that was asked for is done. False when it cannot be.
    fn wait(&self) -> bool {
        let mut count = self.lock();
        let until = count.asked;
        count.waiting += 1;
        self.changed.notify_all();
        let pending = |count: &mut Count| count.done < until && count.end.is_none();
        count = self.changed.wait_while(count, pending).unwrap_or_else(PoisonError::into_inner);
        count.waiting -= 1;
        count.end.is_none()
    }

    /// Waits for the next one; none when there will be none.
    fn next(&self) -> Option<u64> {
        let idle = |count: &mut Count| count.done == count.asked && count.end.is_none();
        let count = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        count.end.is_none().then_some(count.asked)
    }

    /// All up to this one are done. Returns when the next may begin.
    fn done(&self, upto: u64) {
        let mut count = self.lock();
        count.done = upto;
        self.changed.notify_all();
        let unhurried = |count: &mut Count| count.waiting == 0 && count.end.is_none();
        drop(self.changed.wait_timeout_while(count, REST, unhurried));
    }

    fn end(&self, how: End) {
        self.lock().end.get_or_insert(how);
        self.changed.notify_all();
    }

    fn has(&self, end: End) -> bool {
        self.lock().end == Some(end)
    }
}

/// Who looks, on a thread of its own. Dropping it tells the thread to end; nobody waits for that.
#[derive(Debug)]
pub(crate) struct Living {
    looks: Arc<Looks>,
}

impl Living {
    /// Does the `looks` for the sandbox of a plan; ends it when one cannot be done.
    pub(crate) fn start(plan: &Plan, looks: Arc<Looks>, late: Arc<Late>, ending: Arc<Ending>) -> Result<Self> {
        let Some(mut watched) = Watched::of(plan) else { return Ok(Self { looks }) };
        let works = Arc::clone(&looks);
        let work = move || {
            while let Some(upto) = works.next() {
                if watched.look_again(&works, &late).is_err() && !works.has(End::Stopped) {
                    works.end(End::Failed);
                    ending.end();
                    return;
                }
                works.done(upto);
            }
        };
        thread::Builder::new().name("history".into()).spawn(work).map_err(Error::io("watch the history of git"))?;
        Ok(Self { looks })
    }

    /// Waits until everything is covered that has to be of what was noticed so far.
    pub(crate) fn settle(&self) -> Result<()> {
        self.looks.wait().then_some(()).ok_or(Error::Ended { why: NOT_SEEN })
    }

    /// Why the sandbox was ended, if it was.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.looks.has(End::Failed).then_some(NOT_SEEN)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.looks.end(End::Stopped);
    }
}

/// What a plan says about the history of git, and what is hidden of it by now.
struct Watched {
    state: PathBuf,
    workspace: Option<PathBuf>,
    roots: Vec<PathBuf>,
    view: Vec<Mount>,
    deny: Vec<Denied>,
    allow_missing: BTreeSet<Protection>,
    covered: HashSet<PathBuf>,
    shown: Shown,
}

impl Watched {
    fn of(plan: &Plan) -> Option<Self> {
        Some(Self {
            state: plan.git_history.clone()?,
            workspace: plan.workspace.clone(),
            roots: plan.roots.clone(),
            view: plan.view.clone(),
            deny: plan.deny_read.clone(),
            allow_missing: plan.allow_missing.clone(),
            covered: plan.masks.iter().map(|mask| mask.path.clone()).collect(),
            shown: plan.replaced.iter().map(|replaced| (replaced.path.clone(), replaced.by.clone())).collect(),
        })
    }

    /// Covers what has to be hidden now.
    fn look_again(&mut self, looks: &Looks, late: &Late) -> Result<()> {
        let mut tries = 1;
        let Hidden { masks, replaced } = loop {
            match self.look() {
                Err(_) if tries < TRIES && !looks.has(End::Stopped) => tries += 1,
                hidden => break hidden?,
            }
            thread::sleep(BETWEEN_TRIES);
        };
        for Masked { path, .. } in masks {
            if !self.covered.contains(&path) {
                late.hide(&path)?;
                self.covered.insert(path);
            }
        }
        for Replaced { path, by } in replaced {
            if self.shown.get(&path) != Some(&by) {
                late.replace(&path, &by)?;
                self.shown.insert(path, by);
            }
        }
        Ok(())
    }

    fn look(&self) -> Result<Hidden> {
        let survey = survey::survey(&survey::Request {
            workspace: self.workspace.as_deref(),
            // Nothing is protected by this one.
            writable: false,
            roots: &self.roots,
            view: &self.view,
            deny: &self.deny,
            protect: &[],
            home: None,
            history: true,
        });
        let survey = survey.map_err(|error| Error::Plan {
            what: "workspace",
            path: self.workspace.clone().unwrap_or_default(),
            why: error.to_string(),
        })?;
        let roots: Vec<PathBuf> = self.workspace.iter().chain(&self.roots).cloned().collect();
        hide(&Request {
            state: &self.state,
            roots: &roots,
            deny: &self.deny,
            allow_missing: &self.allow_missing,
            survey: &survey,
            living: Some(&self.shown),
        })
    }
}
