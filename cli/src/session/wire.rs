//! What is said over a session's socket: JSON in frames, each after its length, descriptors beside the first byte.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use holdpoint_approval_web::plan::{Bytes, Digest, FileId};
use holdpoint_runtime::Limit;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::rights::Rights;
use super::terms::Terms;

/// The largest frame. The kernel bounds arguments and environment together to a tenth of it.
const LARGEST: u32 = 64 << 20;

/// What a keeper says first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The version of Holdpoint that the keeper is.
    pub(crate) version: String,
    /// The session as hooks know it.
    pub(crate) id: String,
    pub(crate) terms: Terms,
    /// What the sandbox was made of.
    pub(crate) made_of: Digest,
    /// The directory that the workspace was then.
    pub(crate) workspace: FileId,
}

/// What is asked of a keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Run a command. Descriptors: standard input, output and error.
    Run(Box<Run>),
    /// Send this signal to the command's process group.
    Signal(i32),
    /// Kill the command and everything it has started.
    Kill,
    Status,
    /// End everything inside, and the session.
    Stop,
}

/// A command, judged by the one who asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What the sandbox would be made of if it were made now.
    pub(crate) made_of: Digest,
    /// The directory that the workspace is now.
    pub(crate) workspace: FileId,
    pub(crate) program: Bytes,
    pub(crate) argv: Vec<Bytes>,
    pub(crate) env: Vec<(Bytes, Bytes)>,
    pub(crate) cwd: Bytes,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) rights: Rights,
    /// That of who asks, if it is known.
    pub(crate) umask: Option<u32>,
}

/// The command gets a terminal of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    /// Standard error is the terminal too.
    pub(crate) error: bool,
}

/// What a keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The command runs. Descriptor: the master side of its terminal, when it has one.
    Started,
    /// The sandbox is not the one that would be made now.
    Stale,
    /// The execution itself failed: with this errno, or before there was one.
    NotExecuted {
        errno: Option<i32>,
        why: String,
    },
    /// The command did not come to its execution.
    NotStarted {
        why: String,
    },
    /// The rights that were asked for cannot be given: because of what they are, or (`unsupported`) because of this machine.
    NotGiven {
        why: String,
        unsupported: bool,
    },
    /// What the command printed could not all be written. How it ended follows.
    NotWritten {
        what: String,
        why: String,
    },
    /// The command ended with this wait status; which limits were reached meanwhile, by it or another one.
    Ended {
        status: i32,
        reached: Vec<Limit>,
    },
    Status(Status),
    /// What became of something that the command wanted to execute, for a person: encoded and in lines.
    Said(String),
    /// The session ends, and everything in it.
    Gone {
        why: String,
    },
}

/// How a session is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// What it is called.
    pub(crate) name: String,
    /// The workspace.
    pub(crate) workspace: Bytes,
    /// The profile in force.
    pub(crate) profile: String,
    /// The keeper.
    pub(crate) pid: u32,
    /// How long it lives, in seconds.
    pub(crate) age: u64,
    /// Commands started so far.
    pub(crate) commands: u64,
    /// Commands that run now.
    pub(crate) running: usize,
}

/// Send one message.
pub(crate) fn send<T: Serialize>(mut stream: &UnixStream, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= LARGEST);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is too long"))?;
    let frame = [&length.to_ne_bytes()[..], &body].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("there are too many descriptors"));
    }
    let sent = loop {
        match rustix::net::sendmsg(stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => break sent?,
        }
    };
    stream.write_all(&frame[sent..])
}

/// Receive one message with its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut head = [0; 4];
    let (length, fds) = match receive_some(stream, &mut head) {
        Ok((0, _)) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        received => received?,
    };
    stream.read_exact(&mut head[length..])?;
    let length = u32::from_ne_bytes(head);
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}

fn receive_some(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = loop {
        match rustix::net::recvmsg(stream.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::{Ask, receive, send};
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        send(&ours, &Ask::Signal(15), &[file.as_fd(), file.as_fd()]).unwrap();
        send(&ours, &Ask::Status, &[]).unwrap();
        let (first, fds) = receive::<Ask>(&theirs).unwrap().unwrap();
        assert!(matches!(first, Ask::Signal(15)) && fds.len() == 2);
        assert!(matches!(receive::<Ask>(&theirs).unwrap(), Some((Ask::Status, fds)) if fds.is_empty()));
        drop(ours);
        assert!(receive::<Ask>(&theirs).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&[255, 255, 255, 255][..], &[3, 0, 0, 0, b'{'], &[2, 0, 0, 0, b'{', b'}'], &[1, 0]] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert!(receive::<Ask>(&theirs).is_err(), "{bytes:?}");
        }
    }
}
