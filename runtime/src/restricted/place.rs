//! The directory that stands in for a private `/tmp` and home: made for one run on the host, removed after it. Its lock is
//! held by the owner and by the supervisor inside, so one whose lock is free was left behind and goes with the next start.

use crate::{
    error::{Error, Result},
    plan::{Mount, Plan},
};
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkdtemp};
use std::{
    env, fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, symlink},
    },
    path::{Path, PathBuf},
};

const PREFIX: &str = "holdpoint-run-";
/// Under this name nobody takes it for one that was left behind.
const UNLOCKED: &str = "holdpoint-new-";

/// One private directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    lock: Flock<OwnedFd>,
    home: Option<PathBuf>,
}

impl Place {
    /// Makes the directory. Below the private home what the plan shows of the real one can be found by symbolic links.
    pub(super) fn make(plan: &Plan) -> Result<Self> {
        let above = env::temp_dir();
        remove_abandoned(&above);
        let made =
            mkdtemp(&above.join(format!("{UNLOCKED}XXXXXX"))).map_err(Error::errno("make a private directory"))?;
        let lock = lock(&made).map_err(Error::io("lock the private directory"))?;
        let name = made.to_string_lossy().replace(UNLOCKED, PREFIX);
        fs::rename(&made, &name).map_err(Error::io("name the private directory"))?;
        let path = fs::canonicalize(&name).map_err(Error::io("resolve the private directory"))?;
        let home = plan.view.iter().find_map(|mount| match mount {
            Mount::Private { path, .. } => Some(path.clone()),
            _ => None,
        });
        let place = Self { path, lock, home };
        place.fill(plan).map_err(Error::io("fill the private directory"))?;
        Ok(place)
    }

    fn fill(&self, plan: &Plan) -> io::Result<()> {
        fs::create_dir(self.scratch())?;
        fs::create_dir(self.own_home())?;
        for mount in &plan.view {
            let (Mount::Bind { path, .. }, Some(home)) = (mount, &self.home) else { continue };
            let Ok(below) = path.strip_prefix(home) else { continue };
            let name = self.own_home().join(below);
            // What lies below another that is shown is there already.
            if name.symlink_metadata().is_err() && !below.as_os_str().is_empty() {
                let parents = name.parent().unwrap_or(&self.path);
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parents)?;
                symlink(path, name)?;
            }
        }
        for (path, text) in plan.private_files() {
            let Some(below) = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok()) else { continue };
            let name = self.own_home().join(below);
            let parents = name.parent().unwrap_or(&self.path);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parents)?;
            fs::write(name, text)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    fn scratch(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn own_home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// What a command's environment has to say so that programs find their way here.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let home = self.home.is_some().then(|| ("HOME", self.own_home()));
        ["TMPDIR", "TMP", "TEMP"].into_iter().map(|name| (name, self.scratch())).chain(home)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.path).is_err() {
            // Made unremovable inside: the next start tries again.
        }
    }
}

fn lock(path: &Path) -> io::Result<Flock<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// Removes what owners that were killed have left in `above`.
fn remove_abandoned(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let ours = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
        if named && ours() && lock(&entry.path()).is_ok_and(|_held| fs::remove_dir_all(entry.path()).is_err()) {
            // Something in it cannot be removed by us; it takes room and tells nobody anything.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Sandbox};

    #[test]
    fn the_home_leads_to_what_is_shown_and_goes_with_its_run() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().canonicalize().unwrap().join("home");
        fs::create_dir_all(home.join(".tools/bin")).unwrap();
        fs::create_dir_all(home.join("work")).unwrap();
        let mut builder = Sandbox::builder();
        builder.home(&home).workspace(home.join("work"), Access::ReadWrite).toolchain(home.join(".tools/bin"));
        let place = Place::make(&builder.plan().unwrap()).unwrap();
        let inside = place.own_home();
        assert_eq!(fs::read_link(inside.join(".tools/bin")).unwrap(), home.join(".tools/bin"));
        assert_eq!(fs::read_link(inside.join("work")).unwrap(), home.join("work"));
        let path = place.path().to_owned();
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_owner_left_goes_with_the_next_start_and_what_is_held_stays() {
        let above = tempfile::tempdir().unwrap();
        let (left, held) = (above.path().join(format!("{PREFIX}a")), above.path().join(format!("{PREFIX}b")));
        let other = above.path().join("other");
        for path in [&left, &held, &other] {
            fs::create_dir_all(path.join("tmp/x")).unwrap();
        }
        let _lock = lock(&held).unwrap();
        remove_abandoned(above.path());
        assert_eq!((left.exists(), held.exists(), other.exists()), (false, true, true));
    }
}
