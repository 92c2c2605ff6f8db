//! The host's side of one opener: a question, an answer, one at a time.

use crate::{
    error::{Error, Result},
    socket,
    sys::opener_wire::{ABSENT, ANSWERED, Absent, Ask, FORK, FOUND, OPENED, Told, WHO, needs_release},
};
use std::{
    ffi::OsStr,
    io::IoSlice,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

/// What an opener did or found.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Failed(i32),
    Opened(OwnedFd, Status),
    Found(OwnedFd, Status),
    Absent(OwnedFd, PathBuf),
    Who,
}

/// Of a file, as stat(2) has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) mode: u32,
    pub(super) inode: (u64, u64),
}

impl Status {
    pub(super) fn is(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }
}

#[derive(Debug)]
pub(super) struct Opener {
    socket: OwnedFd,
    /// The process: what kills it ends a wait.
    process: OwnedFd,
}

impl Opener {
    /// Waits until the opener behind `socket` has started.
    pub(super) fn greet(socket: OwnedFd) -> Result<Self> {
        let gone = Error::Ended { why: "its opener did not start" };
        let (told, _, fd) = receive(&socket)?.ok_or(Error::Ended { why: "its opener did not start" })?;
        match fd {
            Some(process) if told.what == ANSWERED => Ok(Self { socket, process }),
            _ => Err(gone),
        }
    }

    /// Another opener, for a call that may wait.
    pub(super) fn fork(&self) -> Result<Self> {
        let (ours, theirs) = socket::pair()?;
        self.send(&Ask { op: FORK, ..Ask::default() }, &[], Some(theirs.as_fd()))?;
        drop(theirs);
        Self::greet(ours)
    }

    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, ask: &Ask, path: &[u8], from: Option<BorrowedFd<'_>>) -> Result<Answer> {
        self.send(ask, path, from)?;
        self.hear(ask.flags)
    }

    /// Only asks.
    pub(super) fn send(&self, ask: &Ask, path: &[u8], from: Option<BorrowedFd<'_>>) -> Result<()> {
        let header = bytes_of(ask);
        let parts = [IoSlice::new(&header), IoSlice::new(path), IoSlice::new(&[0])];
        let fds: Vec<RawFd> = from.iter().map(AsRawFd::as_raw_fd).collect();
        match socket::send_packet(self.socket(), &parts, &fds) {
            Ok(true) => Ok(()),
            Ok(false) => Err(GONE),
            Err(errno) => Err(Error::errno("send to the opener")(errno)),
        }
    }

    /// Waits for the answer to an open with `flags`.
    pub(super) fn hear(&self, flags: u64) -> Result<Answer> {
        let (told, name, fd) = receive(&self.socket)?.ok_or(GONE)?;
        let status = Status { mode: told.mode, inode: (told.device, told.inode) };
        let answer = match (told.what, fd) {
            (ANSWERED, _) if told.value == 0 => Answer::Done,
            (ANSWERED, _) => Answer::Failed(told.value),
            (WHO, _) => Answer::Who,
            (OPENED, Some(fd)) => Answer::Opened(fd, status),
            (FOUND, Some(fd)) => Answer::Found(fd, status),
            (ABSENT, Some(fd)) => Answer::Absent(fd, name),
            // A descriptor that did not arrive: this process has no room for it.
            _ => Answer::Failed(libc::EMFILE),
        };
        if told.what == OPENED && needs_release(flags, told.mode) {
            receive(&self.socket)?.ok_or(GONE)?;
        }
        Ok(answer)
    }
}

const GONE: Error = Error::Ended { why: "its opener is gone" };

fn bytes_of(ask: &Ask) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<Ask>());
    let words = |bytes: &mut Vec<u8>, numbers: &[u32]| numbers.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    words(&mut bytes, &[ask.op, ask.place]);
    for word in [ask.flags, ask.mode, ask.resolve] {
        bytes.extend(word.to_ne_bytes());
    }
    words(&mut bytes, &[ask.umask, ask.follow, ask.process as u32, ask.thread as u32, ask.wait, 0]);
    bytes
}

/// The next packet: what was told, the name that follows it, the descriptor that came along. `None` at the end.
fn receive(socket: &OwnedFd) -> Result<Option<(Told, PathBuf, Option<OwnedFd>)>> {
    let mut buffer = [0u8; size_of::<Absent>()];
    let packet =
        socket::receive_packet(socket.as_fd(), &mut buffer, true).map_err(Error::errno("hear from the opener"))?;
    let Some((length, mut fds)) = packet.filter(|(length, _)| *length >= size_of::<Told>()) else { return Ok(None) };
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| buffer[at + index]));
    let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| buffer[at + index]));
    let told =
        Told { what: word(0), value: word(4) as i32, mode: word(8), _room: 0, device: long(16), inode: long(24) };
    let name = buffer[size_of::<Told>()..length].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some((told, PathBuf::from(OsStr::from_bytes(name)), fds.pop())))
}
