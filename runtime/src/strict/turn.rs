//! One held call, from the caller's path to the answer.

use super::{
    Shared,
    call::{Call, Name},
    opener::{Answer, Opener, Status},
};
use crate::{
    notify::{Listener, Target, path_of},
    proc,
    sys::{
        notify::Held,
        opener_wire::{
            Ask, CHMOD, CREATE, EMPTY, FOLLOW, LINK, OBJECT, OPEN, OPEN_FOUND, PLACE, RENAME, UNLINK, needs_release,
        },
    },
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Longest path, without its NUL (`PATH_MAX`).
const LONGEST: usize = 4095;
/// What covers something at every one of so many looks is an attack on its own opens.
const LOOKS: usize = 64;
/// Rules of openat2(2) by which absolute paths start elsewhere, or not at all.
const ROOTED: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_BENEATH;
const RENAME_NOREPLACE: u64 = 1;
const RENAME_EXCHANGE: u64 = 2;
const RENAME_WHITEOUT: u64 = 4;
const ACCESS: u64 = 3;
const CREAT: u64 = libc::O_CREAT as u64;
const TMPFILE: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

/// Why a call was not carried out.
pub(super) enum Stop {
    Errno(i32),
    /// It may wait for somebody; the next call must not wait with it.
    Waits,
    /// The opener or the watch is gone.
    Broken,
}

type Result<T> = std::result::Result<T, Stop>;

pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) opener: &'a Opener,
    pub(super) listener: &'a Listener,
    pub(super) held: &'a Held,
    /// Whether this turn may wait.
    pub(super) waits: bool,
}

/// Who calls, as /proc/PID/status says it; read only when it matters.
#[derive(Clone, Copy, Default)]
struct Caller {
    umask: u32,
    /// Its numbers inside.
    process: i32,
    thread: i32,
    /// Its number on the host.
    host: i32,
}

/// One resolved name.
struct Placed {
    /// Where it is, when it is somewhere.
    path: PathBuf,
    object: Option<(OwnedFd, Status)>,
}

impl Turn<'_> {
    /// Carries the call out and answers it, or says why not.
    pub(super) fn take(&self, call: &Call) -> Result<()> {
        match *call {
            Call::Name => {
                self.listener.proceed(self.held);
                Ok(())
            }
            Call::Open { name, flags, mode, resolve } => self.open(name, flags, mode, resolve),
            Call::Rename { from, to, flags } => self.rename(from, to, flags),
            Call::Link { from, to, flags } => self.link(from, to, flags),
            Call::Unlink { name, flags } => self.unlink(name, flags),
            Call::Chmod { name, mode, flags } => self.chmod(name, mode, flags),
        }
    }

    fn open(&self, name: Name, flags: u64, mode: u64, resolve: u64) -> Result<()> {
        let (path, from) = self.read(name, false, resolve & ROOTED != 0)?;
        let mut caller = if flags & (CREAT | TMPFILE) != 0 { self.caller()? } else { Caller::default() };
        let mut path = path;
        for _ in 0..LOOKS {
            let Caller { umask, process, thread, .. } = caller;
            let ask = Ask { op: OPEN, flags, mode, resolve, umask, process, thread, ..Ask::default() };
            let answer = self.ask(&ask, &path, from.as_ref())?;
            if self.shared.late.settle().map_err(|_| Stop::Broken)? {
                // Something was covered: perhaps just this, after it was found.
                continue;
            }
            match answer {
                Answer::Who => caller = self.caller()?,
                Answer::Failed(errno) => return Err(Stop::Errno(errno)),
                Answer::Done => return Err(Stop::Broken),
                Answer::Opened(fd, status) => {
                    self.admit(&fd, status)?;
                    return self.give(fd, flags, status);
                }
                Answer::Found(place, status) => {
                    let at = self.admit(&place, status)?;
                    if status.is(libc::S_IFCHR) && at == Path::new("/dev/tty") {
                        path = self.terminal()?;
                        continue;
                    }
                    let (fd, status) = self.open_found(&at, status, flags)?;
                    return self.give(fd, flags, status);
                }
                Answer::Absent(directory, name) => {
                    let at = path_of(directory.as_fd()).map_err(errno)?.join(name);
                    // What is made under a denied name can be filled, and not read: others may fill it, too.
                    if self.shared.late.denies(&at, false) && flags & ACCESS != libc::O_WRONLY as u64 {
                        return Err(Stop::Errno(libc::EACCES));
                    }
                    let make = Ask { op: CREATE, flags, ..Ask::default() };
                    match self.ask(&make, &[], None)? {
                        Answer::Opened(fd, status) => return self.give(fd, flags, status),
                        Answer::Failed(libc::EEXIST) if flags & libc::O_EXCL as u64 == 0 => {}
                        Answer::Failed(errno) => return Err(Stop::Errno(errno)),
                        _ => return Err(Stop::Broken),
                    }
                }
            }
        }
        Err(Stop::Errno(libc::EACCES))
    }

    /// Opens the place that the opener still holds.
    fn open_found(&self, at: &Path, status: Status, flags: u64) -> Result<(OwnedFd, Status)> {
        let memory = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
        let at_once =
            status.is(libc::S_IFREG) || status.is(libc::S_IFDIR) || memory.iter().any(|path| at == Path::new(path));
        if !at_once && !self.waits {
            return Err(Stop::Waits);
        }
        let ask = Ask { op: OPEN_FOUND, flags, wait: u32::from(self.waits), ..Ask::default() };
        let answer = if self.waits { self.ask_and_wait(&ask)? } else { self.ask(&ask, &[], None)? };
        match answer {
            Answer::Opened(fd, status) => Ok((fd, status)),
            Answer::Failed(libc::EAGAIN) if !self.waits && flags & libc::O_NONBLOCK as u64 == 0 => Err(Stop::Waits),
            Answer::Failed(errno) => Err(Stop::Errno(errno)),
            _ => Err(Stop::Broken),
        }
    }

    /// Waits for an answer as long as the caller does.
    fn ask_and_wait(&self, ask: &Ask) -> Result<Answer> {
        self.opener.send(ask, &[], None).map_err(|_| Stop::Broken)?;
        let caller = crate::sys::opens::process(self.caller()?.host).map_err(Stop::Errno)?;
        let mut waits = [self.opener.socket(), caller.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        loop {
            match poll(&mut waits, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Err(Stop::Broken),
            }
            let [answered, ended] = [&waits[0], &waits[1]].map(|wait| wait.any().unwrap_or(true));
            if answered {
                return self.opener.hear(ask.flags).map_err(|_| Stop::Broken);
            }
            if ended {
                // Nobody is left to give it to, and nobody outside may meet it in a pipe.
                crate::sys::opens::kill(self.opener.process());
                return Err(Stop::Errno(libc::EINTR));
            }
        }
    }

    fn rename(&self, from: Name, to: Name, flags: u64) -> Result<()> {
        const ALL: u64 = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
        if flags & !ALL != 0 || (flags & RENAME_EXCHANGE != 0 && flags != RENAME_EXCHANGE) {
            return Err(Stop::Errno(libc::EINVAL));
        }
        let late = &self.shared.late;
        let (from, to) = (self.place(0, from, 0)?.path, self.place(1, to, 0)?.path);
        let exchange = flags & RENAME_EXCHANGE != 0;
        let onto_denied = late.denies(&to, true);
        // As for a mount point, which it is or is about to become.
        if late.denies(&from, true) || (exchange && onto_denied) {
            return Err(Stop::Errno(libc::EBUSY));
        }
        if late.frees(&from, &to) || (exchange && late.frees(&to, &from)) {
            return Err(Stop::Errno(libc::EXDEV));
        }
        let keep = onto_denied && flags == 0;
        let ask = Ask { op: RENAME, flags: if keep { RENAME_NOREPLACE } else { flags }, ..Ask::default() };
        match self.ask(&ask, &[], None)? {
            Answer::Failed(libc::EEXIST) if keep => Err(Stop::Errno(libc::EBUSY)),
            answer => self.done(answer),
        }
    }

    fn link(&self, from: Name, to: Name, flags: i32) -> Result<()> {
        if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Stop::Errno(libc::EINVAL));
        }
        let from = self.place(0, from, OBJECT | following(flags & libc::AT_SYMLINK_FOLLOW != 0, flags))?;
        self.judged(&from, libc::EXDEV)?;
        self.place(1, to, 0)?;
        let answer = self.ask(&Ask { op: LINK, ..Ask::default() }, &[], None)?;
        self.done(answer)
    }

    fn unlink(&self, name: Name, flags: u64) -> Result<()> {
        if flags & !(libc::AT_REMOVEDIR as u64) != 0 {
            return Err(Stop::Errno(libc::EINVAL));
        }
        let placed = self.place(0, name, 0)?;
        self.judged(&placed, libc::EBUSY)?;
        let answer = self.ask(&Ask { op: UNLINK, flags, ..Ask::default() }, &[], None)?;
        self.done(answer)
    }

    fn chmod(&self, name: Name, mode: u64, flags: i32) -> Result<()> {
        if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Stop::Errno(libc::EINVAL));
        }
        let placed = self.place(0, name, OBJECT | following(flags & libc::AT_SYMLINK_NOFOLLOW == 0, flags))?;
        self.judged(&placed, libc::EROFS)?;
        let answer = self.ask(&Ask { op: CHMOD, mode, ..Ask::default() }, &[], None)?;
        self.done(answer)
    }

    /// Resolves a name into one of the opener's places.
    fn place(&self, place: u32, name: Name, follow: u32) -> Result<Placed> {
        let (path, from) = self.read(name, follow & EMPTY != 0, false)?;
        let follow = if path.is_empty() { follow | OBJECT } else { follow & !EMPTY };
        let mut caller = Caller::default();
        loop {
            let Caller { process, thread, .. } = caller;
            let ask = Ask { op: PLACE, place, follow, process, thread, ..Ask::default() };
            return match self.ask(&ask, &path, from.as_ref())? {
                Answer::Who => {
                    caller = self.caller()?;
                    continue;
                }
                Answer::Found(object, status) => {
                    Ok(Placed { path: path_of(object.as_fd()).map_err(errno)?, object: Some((object, status)) })
                }
                Answer::Absent(directory, name) => {
                    Ok(Placed { path: path_of(directory.as_fd()).map_err(errno)?.join(name), object: None })
                }
                Answer::Failed(errno) => Err(Stop::Errno(errno)),
                _ => Err(Stop::Broken),
            };
        }
    }

    /// Refuses with `errno` what is denied.
    fn judged(&self, placed: &Placed, errno: i32) -> Result<()> {
        let denied = match &placed.object {
            Some((object, status)) => self.shared.denies(object, &placed.path, *status).map_err(Stop::Errno)?,
            None => self.shared.late.denies(&placed.path, true),
        };
        if denied { Err(Stop::Errno(errno)) } else { Ok(()) }
    }

    /// Where an open place is, unless it is denied.
    fn admit(&self, place: &OwnedFd, status: Status) -> Result<PathBuf> {
        let path = path_of(place.as_fd()).map_err(|_| Stop::Errno(libc::EACCES))?;
        if self.shared.denies(place, &path, status).map_err(Stop::Errno)? {
            Err(Stop::Errno(libc::EACCES))
        } else {
            Ok(path)
        }
    }

    /// The caller's path, and the directory it starts from. `rooted`: an absolute one, too.
    fn read(&self, name: Name, empty: bool, rooted: bool) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let path = Target::of(self.held).read_string(name.address, LONGEST).map_err(Stop::Errno)?;
        if path.is_empty() && !empty {
            return Err(Stop::Errno(libc::ENOENT));
        }
        let from = if path.starts_with(b"/") && !rooted { None } else { Some(self.directory(name.directory)?) };
        if !self.listener.is_valid(self.held) {
            // Another process may have that number by now.
            return Err(Stop::Errno(libc::EINTR));
        }
        Ok((path, from))
    }

    fn directory(&self, directory: i32) -> Result<OwnedFd> {
        let thread = self.held.thread;
        let (link, none) = match directory {
            libc::AT_FDCWD => (format!("/proc/{thread}/cwd"), libc::ENOENT),
            fd => (format!("/proc/{thread}/fd/{fd}"), libc::EBADF),
        };
        openat(AT_FDCWD, link.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Stop::Errno(if errno == Errno::ENOENT { none } else { errno as i32 }))
    }

    fn caller(&self) -> Result<Caller> {
        let status = proc::text(format!("/proc/{}/status", self.held.thread)).map_err(|_| Stop::Errno(libc::ESRCH))?;
        let last = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or(Stop::Errno(libc::ESRCH))?;
            line.split_whitespace().next_back().ok_or(Stop::Errno(libc::ESRCH))
        };
        let number = |key: &str| last(key)?.parse().map_err(|_| Stop::Errno(libc::ESRCH));
        let umask = u32::from_str_radix(last("Umask:")?, 8).map_err(|_| Stop::Errno(libc::ESRCH))?;
        Ok(Caller { umask, process: number("NStgid:")?, thread: number("NSpid:")?, host: number("Tgid:")? })
    }

    /// The caller's controlling terminal by its own name, for `/dev/tty` would be the opener's (proc_pid_stat(5), `tty_nr`).
    fn terminal(&self) -> Result<Vec<u8>> {
        const PTS: u32 = 136;
        let status = proc::text(format!("/proc/{}/stat", self.held.thread)).map_err(|_| Stop::Errno(libc::ESRCH))?;
        let device: u32 = proc::fields(&status).and_then(|mut fields| fields.nth(4)?.parse().ok()).unwrap_or(0);
        let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
        if major == PTS { Ok(format!("/dev/pts/{minor}").into_bytes()) } else { Err(Stop::Errno(libc::ENXIO)) }
    }

    fn ask(&self, ask: &Ask, path: &[u8], from: Option<&OwnedFd>) -> Result<Answer> {
        self.opener.ask(ask, path, from.map(OwnedFd::as_fd)).map_err(|_| Stop::Broken)
    }

    fn done(&self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Done => {
                self.listener.answer_with_value(self.held, 0);
                Ok(())
            }
            Answer::Failed(errno) => Err(Stop::Errno(errno)),
            _ => Err(Stop::Broken),
        }
    }

    /// Answers with the file. What somebody could notice being held here as well is let go of before the caller goes on.
    fn give(&self, fd: OwnedFd, flags: u64, status: Status) -> Result<()> {
        let close_on_exec = flags & libc::O_CLOEXEC as u64 != 0;
        if needs_release(flags, status.mode) {
            let number = self.listener.place(self.held, &fd, close_on_exec).map_err(Stop::Errno)?;
            drop(fd);
            self.listener.answer_with_value(self.held, number);
            return Ok(());
        }
        self.listener.answer_with(self.held, fd, close_on_exec).map_err(Stop::Errno)
    }
}

fn following(follow: bool, flags: i32) -> u32 {
    let empty = if flags & libc::AT_EMPTY_PATH != 0 { EMPTY } else { 0 };
    if follow { FOLLOW | empty } else { empty }
}

fn errno(errno: Errno) -> Stop {
    Stop::Errno(errno as i32)
}
