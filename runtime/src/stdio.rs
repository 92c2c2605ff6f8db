//! Where a command's standard streams lead.
//!
//! Whoever has a descriptor of a file can change the file's mode, times and attributes, and through `/proc/self/fd` open it anew
//! with other rights (proc(5)); from a directory everything below is reached: all of it on the caller's mounts, past those of
//! the sandbox. A socket belongs to the caller's network: it can be connected anew, and asked about interfaces (tcp(7), netdevice(7)).
//! So files and sockets come in and go out through a [pipe](crate::relay), and a directory is refused. Whoever has the reading end
//! of a pipe can open the other; so a pipe that is read is [lent](crate::relay::Lent).

use crate::error::{Error, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::{SFlag, fstat, major, minor},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

/// A standard stream of a [`Command`](crate::Command), as [`std::process::Stdio`]. A file or a
/// socket is read and written through a pipe, so that a command has no more of it than its bytes, and cannot seek in it; a directory
/// is refused. Out of a pipe that others read too a command takes no more than it reads, and it cannot write into it.
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// The caller's own stream.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Nothing to read; what is written is discarded.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A new pipe, whose other end stands in the [`Child`](crate::Child).
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Self {
        Self(Kind::Fd(fd.into()))
    }
}

/// What the command's end of a stream is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Far {
    /// `/dev/null`, which the sandbox has its own of.
    Null,
    /// Bytes of a file or a disk, by its device and number.
    File(u64, u64),
    /// A directory, or a descriptor for nothing but a path.
    Place,
    /// A socket, by its device and number.
    Socket(u64, u64),
    /// A pipe, perhaps a named one.
    Pipe,
    Terminal,
    Device,
}

impl Far {
    /// What `stream` is (stat(2), open(2) for `O_PATH`).
    pub(crate) fn of(stream: BorrowedFd<'_>) -> nix::Result<Self> {
        let status = fstat(stream)?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        let path_only = || fcntl(stream, FcntlArg::F_GETFL).map(|flags| flags & OFlag::O_PATH.bits() != 0);
        Ok(match kind {
            _ if kind == SFlag::S_IFDIR || path_only()? => Self::Place,
            SFlag::S_IFREG | SFlag::S_IFBLK => Self::File(status.st_dev, status.st_ino),
            SFlag::S_IFSOCK => Self::Socket(status.st_dev, status.st_ino),
            SFlag::S_IFCHR if (major(status.st_rdev), minor(status.st_rdev)) == (1, 3) => Self::Null,
            SFlag::S_IFIFO => Self::Pipe,
            _ if stream.is_terminal() => Self::Terminal,
            _ => Self::Device,
        })
    }
}

/// The same terminal, of which nothing can be read: it was given to print to, and what is typed is for others. Landlock keeps it
/// from being opened once more.
pub(crate) fn only_to_print(terminal: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let again = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    Ok(OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(again)?.into())
}

/// The command's end of a stream and, for a pipe, the caller's end.
pub(crate) struct Ends {
    pub(crate) inside: OwnedFd,
    pub(crate) outside: Option<OwnedFd>,
}

impl Kind {
    /// Opens the stream with number `index` (0, 1 or 2).
    pub(crate) fn open(&self, index: usize) -> Result<Ends> {
        let only = |inside| Ok(Ends { inside, outside: None });
        match self {
            Self::Inherit => only(duplicate_own(index).map_err(Error::io("inherit a standard stream"))?),
            Self::Null => only(null().map_err(Error::io("open /dev/null"))?.into()),
            Self::Fd(fd) => only(fd.try_clone().map_err(Error::io("pass a standard stream"))?),
            Self::Piped => {
                let (read, write) = io::pipe().map_err(Error::io("make a pipe"))?;
                let (inside, outside) = if index == 0 {
                    (OwnedFd::from(read), OwnedFd::from(write))
                } else {
                    (OwnedFd::from(write), OwnedFd::from(read))
                };
                Ok(Ends { inside, outside: Some(outside) })
            }
        }
    }
}

fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// A caller without the stream (closed by who started it) gets `/dev/null`.
fn duplicate_own(index: usize) -> io::Result<OwnedFd> {
    let own = match index {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        _ => io::stderr().as_fd().try_clone_to_owned(),
    };
    own.or_else(|_| null().map(OwnedFd::from))
}
