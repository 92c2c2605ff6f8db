//! Executions with strict reads: a denied file is not executed either, for a process can read its own program, and a script's
//! first line becomes arguments that others can see.

use super::{Shared, Strict, opener::Status};
use crate::exec::Withheld;
use nix::sys::stat::fstat;
use std::{os::fd::OwnedFd, path::Path, sync::Arc};

impl Strict {
    /// What the exec guard may let nobody execute, whoever else allows it.
    pub(crate) fn withheld(&self) -> Arc<dyn Withheld> {
        Arc::clone(&self.shared) as Arc<dyn Withheld>
    }
}

impl Withheld for Shared {
    fn check(&self, place: &OwnedFd, path: &Path) -> Result<(), i32> {
        let found = fstat(place).map_err(|errno| errno as i32)?;
        // What has appeared until now is covered before the kernel looks the name up again.
        if self.late.settle().is_err() {
            self.ending.end();
            return Err(libc::EACCES);
        }
        let status = Status { mode: found.st_mode, inode: (found.st_dev, found.st_ino) };
        if self.denies(place, path, status)? { Err(libc::EACCES) } else { Ok(()) }
    }
}
