//! Holds protected names that do not exist: puts something harmless there for the time of a run, and takes it away again.
//!
//! A mount needs something to stand on, on the host. What is put there is an empty directory, which git does not list and
//! whose removal can never remove data; only in git directories, where git fails when it meets a directory in place of a
//! file, it is a file. Each carries a mark: sticky, and writable by nobody.
//!
//! Overlapping runs share a reservation: each holds a shared lock on it, and only who can turn that into an exclusive one
//! removes it. Whatever a crash left behind carries the mark, so the survey calls the name absent, and the next run takes
//! the reservation over and removes it at its end.

use std::ffi::{CString, OsStr};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::survey::{Kind, kind_of};

const STICKY: u32 = 0o1000;
const SPECIAL_OR_WRITE: u32 = 0o7222;
const DIRECTORY: u32 = 0o1555;
const FILE: u32 = 0o1444;
/// Another run may be removing what this one wants to share.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(2);

/// One name that is held. Dropping it leaves the name to the sweeper or to the next run: see [`release`].
#[derive(Debug)]
pub(crate) struct Reservation {
    /// What stands there, with a shared lock on it.
    fd: OwnedFd,
    parent: OwnedFd,
    name: CString,
    file: bool,
}

impl Reservation {
    /// What stands there, and the directory that holds the name.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.fd.as_fd(), self.parent.as_fd()]
    }
}

/// What a process needs that removes a reservation after its owner was killed: the lock on `lock` made exclusive, and then,
/// as long as `parent` and `name` still lead to the inode of `lock`, `unlinkat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// The directory that holds the name; opened as a place only.
    pub(crate) parent: RawFd,
    /// The last part of the path.
    pub(crate) name: CString,
    /// What stands there; a duplicate shares the lock.
    pub(crate) lock: RawFd,
    /// A file: to be unlinked. Otherwise a directory, to be removed with `AT_REMOVEDIR`.
    pub(crate) file: bool,
}

/// Why a name cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReserveError {
    /// Nothing can be created there.
    #[error("cannot reserve the protected name {path}: {source}; {advice}")]
    Create {
        /// The name.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Something came into being there since the survey.
    #[error("{path} came into being while the sandbox was starting; start again")]
    Changed {
        /// The name.
        path: PathBuf,
    },
}

/// Reserves every name, or none: each with an empty directory, or with a file of the content given.
pub(crate) fn reserve<'a>(
    names: impl IntoIterator<Item = (&'a Path, Option<&'a str>)>,
) -> Result<Vec<Reservation>, ReserveError> {
    let mut held = Vec::new();
    for (path, content) in names {
        match reserve_one(path, content) {
            Ok(reservation) => held.push(reservation),
            Err(error) => {
                release(held);
                return Err(error);
            }
        }
    }
    Ok(held)
}

/// Removes what no other run holds.
pub(crate) fn release(held: Vec<Reservation>) {
    // The deepest first: a reserved directory can hold another.
    for reservation in held.into_iter().rev() {
        let Reservation { fd, parent, name, file } = reservation;
        let lock = File::from(fd);
        if lock.try_lock().is_err() || !still_there(&lock, &parent, &name) {
            continue;
        }
        let flag = if file { UnlinkatFlags::NoRemoveDir } else { UnlinkatFlags::RemoveDir };
        if unlinkat(&parent, name.as_c_str(), flag).is_err() {
            // Somebody outside put something in it: it is theirs now, so the mark goes.
            if let Err(errno) = fchmod(&lock, Mode::from_bits_truncate(if file { 0o644 } else { 0o755 })) {
                debug_assert!(errno == Errno::EROFS || errno == Errno::EPERM, "{errno}");
            }
        }
    }
}

/// What the sweeper needs to know, in the order in which it removes.
pub(crate) fn sweep_list(held: &[Reservation]) -> Vec<Sweep> {
    let sweep = |held: &Reservation| Sweep {
        parent: held.parent.as_raw_fd(),
        name: held.name.clone(),
        lock: held.fd.as_raw_fd(),
        file: held.file,
    };
    held.iter().rev().map(sweep).collect()
}

/// Whether what `status` describes was put there by a reservation.
pub(crate) fn is_marked(status: &FileStat) -> bool {
    status.st_mode & SPECIAL_OR_WRITE == STICKY && matches!(kind_of(status), Kind::Directory | Kind::File)
}

fn reserve_one(path: &Path, content: Option<&str>) -> Result<Reservation, ReserveError> {
    let fail =
        |errno: Errno| ReserveError::Create { path: path.to_owned(), source: errno.into(), advice: advice(errno) };
    let (Some(directory), Some(last)) = (path.parent(), path.file_name().and_then(name)) else {
        return Err(fail(Errno::EINVAL));
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let parent = openat2(AT_FDCWD, directory, how).map_err(fail)?;
    for _ in 0..ATTEMPTS {
        match create(&parent, &last, content) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fail(errno)),
        }
        // Not blocking, in case somebody put a FIFO there.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let lock = match openat(&parent, last.as_c_str(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => continue,
            Err(Errno::ELOOP) => return Err(ReserveError::Changed { path: path.to_owned() }),
            Err(errno) => return Err(fail(errno)),
        };
        let status = fstat(&lock).map_err(fail)?;
        let file = kind_of(&status) == Kind::File;
        if !is_marked(&status) || file != content.is_some() {
            return Err(ReserveError::Changed { path: path.to_owned() });
        }
        match lock.try_lock_shared() {
            Ok(()) if still_there(&lock, &parent, &last) => {
                return Ok(Reservation { fd: lock.into(), parent, name: last, file });
            }
            // Its owner is just removing it, or has just done so.
            Ok(()) | Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            Err(TryLockError::Error(source)) => {
                let advice = "protected names need a file system with locks";
                return Err(ReserveError::Create { path: path.to_owned(), source, advice });
            }
        }
    }
    Err(fail(Errno::EBUSY))
}

/// Makes what holds the name, with the mark from its first moment.
fn create(parent: &OwnedFd, name: &CString, content: Option<&str>) -> Result<(), Errno> {
    let Some(content) = content else {
        mkdirat(parent, name.as_c_str(), Mode::from_bits_retain(DIRECTORY))?;
        // The umask may have taken something away.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        return match openat(parent, name.as_c_str(), flags, Mode::empty()) {
            Ok(made) => fchmod(&made, Mode::from_bits_retain(DIRECTORY)),
            Err(_) => Ok(()),
        };
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut made = File::from(openat(parent, name.as_c_str(), flags, Mode::from_bits_retain(FILE))?);
    fchmod(&made, Mode::from_bits_retain(FILE))?;
    made.write_all(content.as_bytes())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
}

/// Whether the name still leads to what is locked.
fn still_there(lock: &File, parent: &OwnedFd, name: &CString) -> bool {
    let Ok(locked) = lock.metadata() else { return false };
    fstatat(parent, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (locked.dev(), locked.ino()))
}

fn name(last: &OsStr) -> Option<CString> {
    CString::new(last.as_bytes()).ok()
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EROFS => "the file system is read-only: use the read-only mode",
        Errno::ENOSPC | Errno::EDQUOT => "the file system is full: free some space or use the read-only mode",
        Errno::EACCES | Errno::EPERM => "make its directory writable for you or use the read-only mode",
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {
            "the workspace changed while the sandbox was starting: start again"
        }
        _ => "use the read-only mode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        (directory, root)
    }

    #[test]
    fn a_name_is_held_and_nothing_is_left() {
        let (_directory, root) = place();
        let (claude, config) = (root.join(".claude"), root.join("config"));
        let held = reserve([(claude.as_path(), None), (config.as_path(), Some("."))]).unwrap();
        assert_eq!(fs::metadata(&claude).unwrap().permissions().mode() & 0o7777, 0o1555);
        assert_eq!(fs::read(&config).unwrap(), b".");
        assert!(is_marked(&fstatat(AT_FDCWD, &claude, AtFlags::empty()).unwrap()));
        let sweeps = sweep_list(&held);
        assert_eq!(sweeps.iter().map(|sweep| sweep.file).collect::<Vec<_>>(), [true, false]);
        release(held);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }

    #[test]
    fn the_later_of_two_runs_keeps_the_name() {
        let (_directory, root) = place();
        let path = root.join(".claude");
        let first = reserve([(path.as_path(), None)]).unwrap();
        let second = reserve([(path.as_path(), None)]).unwrap();
        release(first);
        assert!(path.is_dir());
        release(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_owner_leaves_the_name_to_the_next_run_or_to_who_has_a_duplicate() {
        let (_directory, root) = place();
        let path = root.join("config");
        // Another process that holds the lock as a run would, and is killed.
        let mine = reserve([(path.as_path(), Some(""))]).unwrap();
        let mut other = Command::new("sh")
            .args(["-c", "exec 9<\"$0\"; flock -s 9; echo held; exec sleep 60"])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut line).unwrap();
        release(mine);
        assert!(path.exists(), "the other process holds it");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(path.exists());
        let next = reserve([(path.as_path(), Some(""))]).unwrap();
        release(next);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_there_already_is_not_taken() {
        let (_directory, root) = place();
        let (own, file, fifo) = (root.join("own"), root.join("file"), root.join("fifo"));
        fs::create_dir(&own).unwrap();
        fs::write(&file, "data").unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let free = root.join("free");
        for taken in [&own, &file, &fifo] {
            for content in [None, Some("")] {
                let error = reserve([(free.as_path(), None), (taken.as_path(), content)]).unwrap_err();
                assert!(matches!(error, ReserveError::Changed { .. }), "{error}");
                assert!(!free.exists(), "nothing is left of a failure");
            }
        }
        assert_eq!(fs::read(&file).unwrap(), b"data");
    }

    #[test]
    fn what_somebody_else_put_there_meanwhile_survives() {
        let (_directory, root) = place();
        let (directory, file) = (root.join("d"), root.join("f"));
        let held = reserve([(directory.as_path(), None), (file.as_path(), Some(""))]).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.join("data"), "x").unwrap();
        // As git does it: a new file renamed over the old one.
        fs::write(root.join("f.lock"), "data").unwrap();
        fs::rename(root.join("f.lock"), &file).unwrap();
        release(held);
        assert_eq!(fs::read(directory.join("data")).unwrap(), b"x");
        assert_eq!(fs::read(&file).unwrap(), b"data");
    }

    #[test]
    fn runs_that_come_and_go_never_lose_the_name_they_hold() {
        let (_directory, root) = place();
        let path = root.join(".claude");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let held = reserve([(path.as_path(), None)]).unwrap();
                        let there = fs::symlink_metadata(&path).unwrap();
                        assert_eq!(there.ino(), File::from(held[0].fd.try_clone().unwrap()).metadata().unwrap().ino());
                        release(held);
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_place_where_nothing_can_be_created_is_an_error_with_advice() {
        let error = reserve([(Path::new("/proc/self/x"), None)]).unwrap_err();
        assert!(error.to_string().contains("/proc/self/x"), "{error}");
        let (_directory, root) = place();
        let error = reserve([(root.join("no/x").as_path(), None)]).unwrap_err();
        assert!(error.to_string().contains("start again"), "{error}");
    }
}
