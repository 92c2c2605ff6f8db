//! Which bounds were reached: what a caller tells a person whose command was ended.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// One field of [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::memory`](crate::Limits::memory): the largest process was killed, or everything where none was large.
    Memory,
    /// [`Limits::pids`](crate::Limits::pids): a new process was refused. Told by control groups only.
    Pids,
    /// [`Limits::wall_time`](crate::Limits::wall_time): a command was killed.
    WallTime,
    /// [`Limits::disk`](crate::Limits::disk): everything inside was ended.
    Disk,
    /// [`Limits::files`](crate::Limits::files): everything inside was ended.
    Files,
    /// [`Limits::output`](crate::Limits::output): a command was killed.
    Output,
}

impl Limit {
    /// In the order of their counts in [`Hits`].
    const ALL: [Self; 6] = [Self::Memory, Self::Pids, Self::WallTime, Self::Disk, Self::Files, Self::Output];
}

impl fmt::Display for Limit {
    /// The name of the field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::WallTime => "wall_time",
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Output => "output",
        })
    }
}

/// What was reached so far and how often, for every thread that watches.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    reached: [AtomicU64; Limit::ALL.len()],
    end: OnceLock<Limit>,
}

impl Hits {
    pub(crate) fn reached(&self, limit: Limit) {
        if let Some(count) = self.reached.get(limit as usize) {
            count.fetch_add(1, Ordering::Release);
        }
    }

    /// Reached, and everything inside is ended for it.
    pub(crate) fn ended(&self, limit: Limit) {
        self.reached(limit);
        self.end.get_or_init(|| limit);
    }

    pub(crate) fn all(&self) -> BTreeMap<Limit, u64> {
        let counts = self.reached.iter().map(|count| count.load(Ordering::Acquire));
        Limit::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// For what everything inside was ended.
    pub(crate) fn end(&self) -> Option<Limit> {
        self.end.get().copied()
    }
}
