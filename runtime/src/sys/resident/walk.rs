//! A path, walked one name after the other as the kernel walks it (path_resolution(7)), for a caller that is not the one
//! who walks: `/proc/self` is somebody else, and the last name may not exist.

use crate::{
    files::{self, DIRECTORY, EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EISDIR, NO_MAGICLINKS, NONE, O_CLOEXEC, O_NOFOLLOW, O_PATH, SYMLINK, Status},
    syscall::{self, Result},
};
use core::{ffi::CStr, ops::Range};

/// As many symbolic links as the kernel follows.
const LINKS: usize = 40;
/// Room for a path and the links in it.
const ROOM: usize = 3 * 4096;
const LONGEST_NAME: usize = 255;
const PLACE: u64 = O_PATH | O_NOFOLLOW | O_CLOEXEC;

/// What is still to be walked: the end of the buffer, always before a NUL.
pub(crate) struct Text {
    bytes: [u8; ROOM],
    start: usize,
}

impl Text {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; ROOM], start: ROOM - 1 }
    }

    pub(crate) fn set(&mut self, path: &[u8]) -> Result<()> {
        self.start = ROOM - 1;
        self.push(path)
    }

    /// Puts a link's text before what is left.
    fn push(&mut self, text: &[u8]) -> Result<()> {
        let start = self.start.checked_sub(text.len()).ok_or(ENAMETOOLONG)?;
        self.bytes[start..self.start].copy_from_slice(text);
        self.start = start;
        Ok(())
    }

    /// The next name. What follows it stays, slashes first.
    fn next(&mut self) -> Option<Range<usize>> {
        while self.bytes[self.start] == b'/' {
            self.start += 1;
        }
        let first = self.start;
        while !matches!(self.bytes[self.start], 0 | b'/') {
            self.start += 1;
        }
        (first < self.start).then_some(first..self.start)
    }

    fn only_slashes_left(&self) -> bool {
        self.bytes[self.start..ROOM - 1].iter().all(|byte| *byte == b'/')
    }
}

/// A name in a directory.
pub(crate) struct Name {
    bytes: [u8; LONGEST_NAME + 2],
    length: usize,
}

impl Name {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; LONGEST_NAME + 2], length: 0 }
    }

    pub(crate) fn set(&mut self, name: &[u8], slash: bool) -> Result<()> {
        if name.len() > LONGEST_NAME {
            return Err(ENAMETOOLONG);
        }
        self.bytes[..name.len()].copy_from_slice(name);
        self.length = name.len();
        if slash {
            self.bytes[self.length] = b'/';
            self.length += 1;
        }
        self.bytes[self.length] = 0;
        Ok(())
    }

    pub(crate) fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// How a walk ends.
#[derive(Clone, Copy)]
pub(crate) struct Ending {
    /// A link as last name is followed.
    pub(crate) follow: bool,
    /// Only the directory of the last name is wanted.
    pub(crate) parent: bool,
    /// The last name need not exist.
    pub(crate) create: bool,
    /// Links that are no text (proc_pid_fd(5)) are refused.
    pub(crate) no_magic: bool,
}

/// What `/proc/self` and `/proc/thread-self` mean.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) process: i32,
    pub(crate) thread: i32,
}

/// Where a walk ended.
pub(crate) enum End {
    Object(i32, Status),
    /// In this directory; the name was put where the caller said.
    Directory(i32),
    /// It cannot go on before it is known who walks.
    Who,
}

enum Link {
    Text(usize),
    Jump(i32),
    Who,
}

/// Walks from `from`, which it closes, or from the root (`NONE`).
pub(crate) fn walk(from: i32, text: &mut Text, ending: Ending, who: Who, name: &mut Name) -> Result<End> {
    let mut walker = Walker { at: from, links: 0 };
    let end = walker.walk(text, ending, who, name);
    if walker.at != NONE {
        syscall::close(walker.at);
    }
    end
}

struct Walker {
    at: i32,
    links: usize,
}

impl Walker {
    fn enter(&mut self, directory: i32) {
        if self.at != NONE {
            syscall::close(self.at);
        }
        self.at = directory;
    }

    fn leave(&mut self) -> i32 {
        core::mem::replace(&mut self.at, NONE)
    }

    fn walk(&mut self, text: &mut Text, ending: Ending, who: Who, name: &mut Name) -> Result<End> {
        if self.at == NONE || text.bytes[text.start] == b'/' {
            self.enter(files::open(NONE, c"/", PLACE, 0, 0)?);
        }
        loop {
            let Some(range) = text.next() else {
                // Nothing but slashes: the root itself.
                name.set(b"/", false)?;
                if ending.parent {
                    return Ok(End::Directory(self.leave()));
                }
                return self.object(self.at).inspect(|_| self.at = NONE);
            };
            let slash = text.bytes[range.end] == b'/';
            let last = text.only_slashes_left();
            // For calls that take a name a slash says that it must be a directory's.
            name.set(&text.bytes[range], slash && last && ending.parent)?;
            if last && ending.parent {
                // Only a directory can be searched for a name, also for one that is not looked up here.
                syscall::close(files::open(self.at, c".", PLACE, 0, 0)?);
                return Ok(End::Directory(self.leave()));
            }
            if last && slash && ending.create && !matches!(name.text().to_bytes(), b"." | b"..") {
                // No file is made under a name that says directory, whatever is there.
                syscall::close(files::open(self.at, c".", PLACE, 0, 0)?);
                return Err(EISDIR);
            }
            let next = match files::open(self.at, name.text(), PLACE, 0, 0) {
                Err(ENOENT) if last && ending.create => return Ok(End::Directory(self.leave())),
                next => next?,
            };
            let status = match files::status(next) {
                Ok(status) => status,
                Err(errno) => {
                    syscall::close(next);
                    return Err(errno);
                }
            };
            if status.kind() == SYMLINK && (!last || slash || ending.follow) {
                match self.follow(next, name, text, ending, who)? {
                    Link::Who => return Ok(End::Who),
                    Link::Text(_) => {}
                    Link::Jump(place) => {
                        let status = files::status(place)?;
                        if last && slash && status.kind() != DIRECTORY {
                            syscall::close(place);
                            return Err(ENOTDIR);
                        }
                        if last {
                            return Ok(End::Object(place, status));
                        }
                        self.enter(place);
                    }
                }
                continue;
            }
            if (!last || slash) && status.kind() != DIRECTORY {
                syscall::close(next);
                return Err(ENOTDIR);
            }
            if last {
                return Ok(End::Object(next, status));
            }
            self.enter(next);
        }
    }

    fn object(&mut self, place: i32) -> Result<End> {
        files::status(place).map(|status| End::Object(place, status))
    }

    /// Follows `link`, called `name` here, and closes it.
    fn follow(&mut self, link: i32, name: &Name, text: &mut Text, ending: Ending, who: Who) -> Result<Link> {
        let followed = self.target(link, name, text, ending, who);
        syscall::close(link);
        if let Ok(Link::Text(length)) = followed {
            // What the link says starts at the root, at its own directory, or nowhere.
            match (length, text.bytes[text.start]) {
                (0, _) => return Err(ENOENT),
                (_, b'/') => self.enter(files::open(NONE, c"/", PLACE, 0, 0)?),
                _ => {}
            }
        }
        followed
    }

    fn target(&mut self, link: i32, name: &Name, text: &mut Text, ending: Ending, who: Who) -> Result<Link> {
        self.links += 1;
        if self.links > LINKS {
            return Err(ELOOP);
        }
        let mut target = [0; 4096];
        if files::is_proc(link) {
            let own = matches!(name.text().to_bytes(), b"self" | b"thread-self");
            if own && files::status(self.at).is_ok_and(|at| at.inode == PROC_ROOT) {
                if who.process == 0 {
                    return Ok(Link::Who);
                }
                let length = own_name(who, name.text().to_bytes() == b"thread-self", &mut target);
                text.push(&target[..length])?;
                return Ok(Link::Text(length));
            }
            match files::open(self.at, name.text(), O_PATH | O_CLOEXEC, 0, NO_MAGICLINKS) {
                Ok(plain) => syscall::close(plain),
                Err(ELOOP) if ending.no_magic => return Err(ELOOP),
                // What is open to us alone is not for others.
                Err(ELOOP) if ours(self.at).is_some() => return Err(EACCES),
                Err(ELOOP) => return files::open(self.at, name.text(), O_PATH | O_CLOEXEC, 0, 0).map(Link::Jump),
                // A text that leads nowhere from here may lead somewhere for the caller.
                Err(_) => {}
            }
        }
        let length = files::read_link(link, &mut target)?;
        text.push(&target[..length])?;
        Ok(Link::Text(length))
    }
}

/// The inode of procfs' root (`PROC_ROOT_INO`, part of the kernel's interface).
const PROC_ROOT: u64 = 1;

/// `PROCESS` or `PROCESS/task/THREAD`.
fn own_name(who: Who, thread: bool, text: &mut [u8]) -> usize {
    let mut length = files::decimal(who.process as usize, text);
    if thread {
        let task = b"/task/";
        text[length..length + task.len()].copy_from_slice(task);
        length += task.len();
        length += files::decimal(who.thread as usize, &mut text[length..]);
    }
    length
}

/// What an open place is below our own directory in procfs, if it lies there: everything in it is open to its own process
/// (ptrace(2), "Ptrace access mode checking"), whoever asks through it.
pub(crate) fn ours(place: i32) -> Option<Below> {
    let mut text = [0; 64];
    let length = files::path_of(place, &mut text).ok()?;
    let mut own = *b"/proc/\0\0\0\0\0\0\0\0\0\0";
    let end = 6 + files::decimal(files::process() as usize, &mut own[6..]);
    let rest = text[..length].strip_prefix(&own[..end])?;
    // Its threads' directories hold the same.
    match rest {
        b"" | b"/task" | b"/stat" | b"/statm" | b"/status" | b"/cmdline" | b"/comm" => Some(Below::Harmless),
        [b'/', ..] => Some(Below::Private),
        _ => None,
    }
}

/// What may be seen of a process that cannot be traced, and what may not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    Harmless,
    Private,
}
