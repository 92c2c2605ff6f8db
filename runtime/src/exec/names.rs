//! What names mean for as long as a sandbox lives: those that nobody inside can make mean another file.

use super::{file::identity_of, fixed::Mounts};
use crate::{
    notify::{Target, View, path_of},
    sys::call::Identity,
};
use nix::{
    errno::Errno,
    sys::stat::{FileStat, fstat},
};
use std::{
    cell::OnceCell,
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Names remembered before all are forgotten.
const REMEMBERED: usize = 4096;

/// The names of one sandbox.
pub(crate) struct Names {
    /// Its pid 1, on the host.
    first: i32,
    mounts: OnceCell<Option<Mounts>>,
    /// Absolute names that were looked up before; with the file that was found and its path when the name is fixed.
    known: HashMap<PathBuf, Option<(Identity, PathBuf)>>,
}

/// A file that was named.
pub(crate) struct Named {
    pub(crate) place: OwnedFd,
    pub(crate) found: FileStat,
    /// Its path inside.
    pub(crate) program: PathBuf,
    /// Whether the kernel will find the same file, whatever anybody inside does meanwhile.
    pub(crate) fixed: bool,
}

impl Names {
    pub(crate) fn of(first: i32) -> Self {
        Self { first, mounts: OnceCell::new(), known: HashMap::new() }
    }

    /// The path that an absolute one leads to, when nobody inside can make it lead elsewhere.
    pub(crate) fn fixed(&self, view: &View, path: &Path) -> Option<PathBuf> {
        self.mounts.get_or_init(|| Mounts::of(self.first).ok()).as_ref()?.fixed(view, path)
    }

    /// As [`View::find`], and what else is to be known of the place.
    pub(crate) fn find(
        &mut self,
        view: &View,
        target: Target,
        directory: i32,
        name: &Path,
        follow: bool,
    ) -> Result<Named, Errno> {
        let place = view.find(target, directory, name, follow)?;
        let found = fstat(&place)?;
        if !name.is_absolute() || !follow {
            return Named::of(place);
        }
        let identity = identity_of(&found);
        let program = match self.known.get(name) {
            Some(None) => return Named::of(place),
            Some(Some((known, program))) if *known == identity => program.clone(),
            _ => {
                let program = path_of(place.as_fd())?;
                let fixed = self.fixed(view, name).is_some_and(|fixed| fixed == program);
                if self.known.len() == REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(name.to_owned(), fixed.then(|| (identity, program.clone())));
                return Ok(Named { place, found, program, fixed });
            }
        };
        Ok(Named { place, found, program, fixed: true })
    }
}

impl Named {
    /// A place that may be another one the next time.
    pub(crate) fn of(place: OwnedFd) -> Result<Self, Errno> {
        let (found, program) = (fstat(&place)?, path_of(place.as_fd())?);
        Ok(Self { place, found, program, fixed: false })
    }
}
