//! Holds protected names that do not exist: puts something harmless there for the time of a run, and takes it away again.
//!
//! A mount needs something to stand on, on the host. What is put there is a socket that nobody serves: it holds no data, git
//! does not list it, opening it fails at once, and making and removing one costs a twentieth of a directory. Only in git
//! directories, where git reads what it finds, it is a file. Each carries a mark: sticky, and writable by nobody.
//!
//! Overlapping runs share reservations. Each holds a shared lock on the directory for as long as it has names there, and
//! only who can turn that into an exclusive one removes them. Whatever a crash left behind carries the mark, so the survey
//! calls the name absent, and the next run takes it over and removes it at its end.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::sys::wire::RESERVED;

const STICKY: u32 = 0o1000;
const SPECIAL_OR_WRITE: u32 = 0o7222;
const MARK: u32 = 0o1444;
/// The name that a link holds.
const GIT: &[u8] = b".git";

/// The names that are held in one directory. Dropping it leaves them to the sweeper or to the next run: see [`release`].
#[derive(Debug)]
pub(crate) struct Reservation {
    path: PathBuf,
    /// The directory, with a shared lock on it.
    directory: File,
    names: Vec<CString>,
    /// What each holds; nothing for a socket.
    contents: Vec<Option<Box<str>>>,
}

impl Reservation {
    /// The locked directory; a duplicate shares the lock.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The names in it, to be removed by who holds the lock alone if they still carry the mark.
    pub(crate) fn names(&self) -> &[CString] {
        &self.names
    }
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

impl ReserveError {
    fn of(path: &Path, errno: Errno) -> Self {
        Self::Create { path: path.to_owned(), source: errno.into(), advice: advice(errno) }
    }
}

/// Locks the directories of names that are to be reserved: each with a socket, or with a file of the content given.
pub(crate) fn lock<'a>(
    names: impl IntoIterator<Item = (&'a Path, Option<&'a str>)>,
) -> Result<Vec<Reservation>, ReserveError> {
    let mut held: Vec<Reservation> = Vec::new();
    let mut places: HashMap<&Path, usize> = HashMap::new();
    for (path, content) in names {
        let fail = |errno| ReserveError::of(path, errno);
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else { return Err(fail(Errno::EINVAL)) };
        let name = CString::new(last.as_bytes()).map_err(|_| fail(Errno::EINVAL))?;
        let place = match places.get(parent) {
            Some(place) => *place,
            None => {
                let (directory, names, contents) = (locked(path, parent)?, Vec::new(), Vec::new());
                held.push(Reservation { path: parent.to_owned(), directory, names, contents });
                places.insert(parent, held.len() - 1);
                held.len() - 1
            }
        };
        held[place].names.push(name);
        held[place].contents.push(content.map(Into::into));
    }
    Ok(held)
}

/// Reserves every name. After an error some are, until [`release`].
pub(crate) fn create(held: &[Reservation]) -> Result<(), ReserveError> {
    held.iter().try_for_each(Reservation::create)
}

/// Removes what no other run holds, and lets go of the directories. Gives what was removed.
pub(crate) fn release(held: &[Reservation]) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for Reservation { path, directory, names, .. } in held {
        if directory.try_lock().is_ok() {
            let gone = names.iter().filter(|name| remove(directory, name));
            removed.extend(gone.map(|name| path.join(OsStr::from_bytes(name.to_bytes()))));
        }
        // The sweeper has a copy of the descriptor, and with it of the lock.
        directory.unlock().unwrap_or_default();
    }
    removed
}

/// Whether it was there and is gone now; else it went meanwhile, or lies in a directory that is read-only now.
fn remove(directory: &File, name: &CString) -> bool {
    let here = fstatat(directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
    here.is_ok_and(|here| is_marked(directory.as_fd(), name.as_c_str(), &here))
        && unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir).is_ok()
}

/// Whether what holds a name, with this content, is a symbolic link.
pub(crate) fn is_held_by_link(name: &[u8], content: Option<&str>) -> bool {
    content.is_none() && name == GIT
}

/// Whether nothing is at `path` but what a sandbox has put there to hold the name of a protected file or directory that does
/// not exist, for as long as it lives.
pub fn is_reserved(path: &Path) -> bool {
    fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|status| is_marked(AT_FDCWD, path, &status))
}

/// Whether what `name` in `directory` is, which has this status, was put there by a reservation.
pub(crate) fn is_marked<P: NixPath + ?Sized>(directory: BorrowedFd<'_>, name: &P, status: &FileStat) -> bool {
    match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFSOCK | SFlag::S_IFREG => status.st_mode & SPECIAL_OR_WRITE == STICKY,
        SFlag::S_IFLNK if usize::try_from(status.st_size) == Ok(RESERVED.len()) => {
            readlinkat(directory, name).is_ok_and(|target| target.as_bytes() == RESERVED)
        }
        _ => false,
    }
}

impl Reservation {
    fn create(&self) -> Result<(), ReserveError> {
        // One that is a socket: the others are links to it, because a file system takes far longer to find a free inode than
        // to write a name.
        let mut socket = None;
        for (name, content) in self.names.iter().zip(&self.contents) {
            let path = || self.path.join(OsStr::from_bytes(name.to_bytes()));
            let fail = |errno| ReserveError::of(&path(), errno);
            match make(&self.directory, name, content.as_deref(), socket) {
                Ok(()) if content.is_none() && !is_held_by_link(name.as_bytes(), None) => {
                    socket = socket.or(Some(name))
                }
                Ok(()) => {}
                Err(Errno::EEXIST) => {
                    let there =
                        fstatat(&self.directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(fail)?;
                    let file = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
                    // While we hold the lock nobody removes it.
                    if !is_marked(self.directory.as_fd(), name.as_c_str(), &there) || file != content.is_some() {
                        return Err(ReserveError::Changed { path: path() });
                    }
                }
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(())
    }
}

/// Opens the directory of `path` and shares the lock on it.
fn locked(path: &Path, directory: &Path) -> Result<File, ReserveError> {
    let fail = |errno| ReserveError::of(path, errno);
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let directory = File::from(openat2(AT_FDCWD, directory, how).map_err(fail)?);
    match share(&directory) {
        Ok(()) => Ok(directory),
        Err(source) => {
            let advice = match source.kind() {
                io::ErrorKind::TimedOut => "end whoever keeps the lock on its directory (`lslocks` names them)",
                _ => "protected names need a file system with locks",
            };
            Err(ReserveError::Create { path: path.to_owned(), source, advice })
        }
    }
}

/// Takes a shared lock (flock(2)). Who holds it alone is removing names, which takes no time; but anybody can lock a directory, a
/// command inside as well.
fn share(directory: &File) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_micros(200);
    let limit = Instant::now() + PATIENCE;
    loop {
        match directory.try_lock_shared() {
            Err(TryLockError::WouldBlock) if Instant::now() < limit => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Makes what holds the name, with the mark from its first moment.
fn make(directory: &File, name: &CString, content: Option<&str>, socket: Option<&CString>) -> Result<(), Errno> {
    let mark = Mode::from_bits_retain(MARK);
    let Some(content) = content else {
        if is_held_by_link(name.as_bytes(), None) {
            return symlinkat(OsStr::from_bytes(RESERVED), directory, name.as_c_str());
        }
        let linked =
            socket.map(|first| linkat(directory, first.as_c_str(), directory, name.as_c_str(), AtFlags::empty()));
        return match linked {
            Some(Ok(())) => Ok(()),
            Some(Err(Errno::EEXIST)) => Err(Errno::EEXIST),
            // The first of all, or a file system without hard links.
            None | Some(Err(_)) => mknodat(directory, name.as_c_str(), SFlag::S_IFSOCK, mark, 0),
        };
    };
    if !content.is_empty() {
        match make_whole(directory, name, content) {
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {}
            done => return done,
        }
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = File::from(openat(directory, name.as_c_str(), flags, mark)?);
    fill(&made, content).inspect_err(|_| {
        // Empty, it would mean something else to git.
        unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir).unwrap_or_default();
    })
}

/// Makes a file that has its content when it appears: git may look at any moment (`O_TMPFILE`, open(2)). Not every file system
/// can do that.
fn make_whole(directory: &File, name: &CString, content: &str) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
    let made = File::from(openat(directory, c".", flags, Mode::from_bits_retain(MARK))?);
    fill(&made, content)?;
    let nameless = format!("/proc/self/fd/{}", made.as_raw_fd());
    linkat(AT_FDCWD, nameless.as_str(), directory, name.as_c_str(), AtFlags::AT_SYMLINK_FOLLOW)
}

fn fill(mut made: &File, content: &str) -> Result<(), Errno> {
    // git must be able to read it whatever the umask.
    fchmod(made, Mode::from_bits_retain(MARK))?;
    made.write_all(content.as_bytes())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
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

    /// Both steps; nothing is left of a failure.
    fn reserve<'a>(
        names: impl IntoIterator<Item = (&'a Path, Option<&'a str>)>,
    ) -> Result<Vec<Reservation>, ReserveError> {
        let held = lock(names)?;
        create(&held).inspect_err(|_| drop(release(&held))).map(|()| held)
    }
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::process::{Command, Stdio};
    use std::thread;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        (directory, root)
    }

    #[test]
    fn the_name_of_a_repository_is_held_by_nothing_that_looks_like_one() {
        let (_directory, root) = place();
        let (git, claude) = (root.join(".git"), root.join(".claude"));
        let names = || [(git.as_path(), None), (claude.as_path(), None)];
        let first = reserve(names()).unwrap();
        assert!(git.is_symlink() && is_reserved(&git) && !git.exists());
        assert!(fs::create_dir(&git).is_err() && fs::write(&git, "gitdir: elsewhere").is_err());
        assert!(fs::symlink_metadata(&claude).unwrap().file_type().is_socket());
        let second = reserve(names()).unwrap();
        release(&first);
        assert!(is_reserved(&git));
        release(&second);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        // Another link is somebody's own.
        std::os::unix::fs::symlink("/proc/holdpoint/another1", &git).unwrap();
        assert!(!is_reserved(&git));
        assert!(matches!(reserve(names()).unwrap_err(), ReserveError::Changed { .. }));
        assert!(git.is_symlink());
    }

    #[test]
    fn a_name_is_held_and_nothing_is_left() {
        let (_directory, root) = place();
        let (claude, config) = (root.join(".claude"), root.join("config"));
        let held = reserve([(claude.as_path(), None), (config.as_path(), Some("."))]).unwrap();
        let there = fs::symlink_metadata(&claude).unwrap();
        assert!(there.file_type().is_socket());
        assert_eq!(there.permissions().mode() & SPECIAL_OR_WRITE, STICKY);
        assert_eq!(fs::read(&config).unwrap(), b".");
        assert!(is_reserved(&claude) && is_reserved(&config));
        assert_eq!(held.len(), 1, "one lock for one directory");
        assert_eq!(held[0].names(), [CString::from(c".claude"), c"config".into()]);
        release(&held);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }

    #[test]
    fn git_does_not_list_what_is_held() {
        let (_directory, root) = place();
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(&root).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        git(&["init", "--quiet"]);
        let path = root.join("AGENTS.md");
        let held = reserve([(path.as_path(), None)]).unwrap();
        assert_eq!(git(&["status", "--porcelain"]), "");
        git(&["add", "--all"]);
        assert_eq!(git(&["ls-files"]), "");
        release(&held);
    }

    #[test]
    fn a_file_is_never_there_without_its_content() {
        let (_directory, root) = place();
        let path = root.join("commondir");
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                for _ in 0..2000 {
                    release(&reserve([(path.as_path(), Some("."))]).unwrap());
                }
            });
            while !other.is_finished() {
                assert!(fs::read(&path).map_or(true, |content| content == b"."));
            }
        });
    }

    #[test]
    fn the_later_of_two_runs_keeps_the_name() {
        let (_directory, root) = place();
        let path = root.join(".claude");
        let first = reserve([(path.as_path(), None)]).unwrap();
        let second = reserve([(path.as_path(), None)]).unwrap();
        release(&first);
        assert!(path.exists());
        release(&second);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_that_somebody_keeps_is_an_error_and_no_hang() {
        let (directory, root) = place();
        let kept = File::open(directory.path()).unwrap();
        kept.lock().unwrap();
        let refused = reserve([(root.join("config").as_path(), Some(""))]).unwrap_err();
        assert!(refused.to_string().contains("end whoever keeps the lock"), "{refused}");
        kept.unlock().unwrap();
        release(&reserve([(root.join("config").as_path(), Some(""))]).unwrap());
    }

    #[test]
    fn a_killed_owner_leaves_the_name_to_the_next_run() {
        let (_directory, root) = place();
        let path = root.join("config");
        // Another process that holds the lock as a run would, and is killed.
        let mine = reserve([(path.as_path(), Some(""))]).unwrap();
        let mut other = Command::new("sh")
            .args(["-c", "exec 9<\"$0\"; flock -s 9; echo held; exec sleep 60"])
            .arg(&root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut line).unwrap();
        release(&mine);
        assert!(path.exists(), "the other process holds it");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(path.exists());
        let next = reserve([(path.as_path(), Some(""))]).unwrap();
        release(&next);
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
        let (socket, file) = (root.join("s"), root.join("f"));
        let held = reserve([(socket.as_path(), None), (file.as_path(), Some(""))]).unwrap();
        // As editors and git do it: a new file renamed over the old one.
        for path in [&socket, &file] {
            fs::write(root.join("new"), "data").unwrap();
            fs::rename(root.join("new"), path).unwrap();
        }
        release(&held);
        assert_eq!((fs::read(&socket).unwrap(), fs::read(&file).unwrap()), (b"data".to_vec(), b"data".to_vec()));
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
                        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
                        release(&held);
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
