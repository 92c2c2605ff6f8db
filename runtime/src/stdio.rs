//! Where a command's standard streams lead.

use crate::error::{Error, Result};
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, OwnedFd},
};

/// A standard stream of a [`Command`](crate::Command), as [`std::process::Stdio`].
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
