//! Control groups: the kernel's own bounds on memory, processes and processor time of a whole sandbox. One group is made for
//! each sandbox and hierarchy, its pid 1 starts in it, and it is removed when the sandbox has ended.

mod find;
mod group;

pub(crate) use find::{Hierarchies, Parent};
pub(crate) use group::Group;

use std::{ffi::CString, fmt, os::fd::BorrowedFd, path::PathBuf};

/// What a group can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    /// Bytes of memory, file systems in memory included, page cache given back first.
    Memory,
    /// Processes and threads.
    Pids,
    /// Thousandths of a processor.
    Cpu,
}

impl Controller {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Which kind of group holds a bound, as the report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "control group v1",
            Self::Two => "control group v2",
        })
    }
}

/// Where a group is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The group around it.
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
}

/// The groups of one sandbox; dropping them removes them, for which everything inside must have ended.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    /// Makes groups for those bounds that a group can hold here; [`holder`](Self::holder) says which.
    pub(crate) fn make(bounds: &[(Controller, u64)]) -> Self {
        let mut groups = Self::default();
        if bounds.is_empty() {
            return groups;
        }
        let hierarchies = Hierarchies::read();
        for (controller, bound) in bounds {
            if let Some(parent) = hierarchies.parent(*controller) {
                groups.bound(&parent, *controller, *bound);
            }
        }
        groups
    }

    /// A bound that the kernel does not take is one that no group holds.
    fn bound(&mut self, parent: &Parent, controller: Controller, bound: u64) {
        let (version, directory) = match parent {
            Parent::Unified(directory) if find::switch_on(directory, controller).is_err() => return,
            Parent::Unified(directory) => (Version::Two, directory),
            Parent::Single(directory) => (Version::One, directory),
        };
        let at = self.0.iter().position(|group| group.is_below(directory)).or_else(|| {
            self.0.push(Group::make(directory, version).ok()?);
            Some(self.0.len() - 1)
        });
        if let Some(group) = at.and_then(|at| self.0.get_mut(at))
            && group.bound(controller, bound).is_err()
            && group.holds_nothing()
        {
            self.0.retain(|group| !group.holds_nothing());
        }
    }

    /// The kind of group that holds the bound on `controller`, if one does.
    pub(crate) fn holder(&self, controller: Controller) -> Option<Version> {
        self.0.iter().find(|group| group.holds(controller)).map(Group::version)
    }

    /// The group of version 2, in which a process can be started (`CLONE_INTO_CGROUP`, clone(2)).
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|group| group.version() == Version::Two).map(Group::directory)
    }

    /// The files of version 1 into which a process writes itself.
    pub(crate) fn doors(&self) -> impl Iterator<Item = CString> {
        self.0.iter().filter(|group| group.version() == Version::One).filter_map(Group::door)
    }

    /// For who removes the groups when their owner cannot.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.0.iter().map(Group::place).collect()
    }

    /// How many processes the kernel killed because the group's memory was used up.
    pub(crate) fn killed_for_memory(&self) -> u64 {
        self.0.iter().filter(|group| group.holds(Controller::Memory)).map(Group::killed_for_memory).sum()
    }

    /// How many processes and threads were refused because there were too many.
    pub(crate) fn refused_processes(&self) -> u64 {
        self.0.iter().filter(|group| group.holds(Controller::Pids)).map(Group::refused_processes).sum()
    }
}
