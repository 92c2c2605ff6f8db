//! Packets with descriptors between the host side and the resident program.

use crate::{
    error::{Error, Result},
    sys::{
        launch::adopt,
        wire::{Reply, Request},
    },
};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg,
        shutdown, socketpair,
    },
};
use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// A connected pair of packet sockets, both closed on `execve`.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(Error::errno("make a socket pair"))
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<Self>());
        bytes.extend(self.op.to_ne_bytes());
        bytes.extend(self.id.to_ne_bytes());
        bytes.extend(self.length.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(self.value.to_ne_bytes());
        bytes.extend(self.rows.to_ne_bytes());
        bytes.extend(self.columns.to_ne_bytes());
        bytes.resize(size_of::<Self>(), 0);
        bytes
    }
}

/// Tells the other side that nothing more will come; what serves there ends. Nothing is done where it has gone before.
pub(crate) fn hang_up(socket: &OwnedFd) {
    if shutdown(socket.as_raw_fd(), Shutdown::Both).is_err() {
        // Not connected any more.
    }
}

/// Sends one packet and descriptors with it. False when the other side is gone.
pub(crate) fn send_packet(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[RawFd]) -> nix::Result<bool> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    match sendmsg::<()>(socket.as_raw_fd(), parts, control, MsgFlags::MSG_NOSIGNAL, None) {
        Ok(_) => Ok(true),
        Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes the next packet up: its length, and the descriptors that came with it. A packet of no bytes is the end, and so is
/// `None`.
pub(crate) fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: bool,
) -> nix::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    let mut parts = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => break message,
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(adopt));
        }
    }
    Ok(Some((message.bytes, fds)))
}

/// Sends a request, its trailing bytes and descriptors as one packet.
pub(crate) fn send(socket: BorrowedFd<'_>, request: &Request, trailing: &[u8], fds: &[RawFd]) -> Result<()> {
    let header = request.bytes();
    match send_packet(socket, &[IoSlice::new(&header), IoSlice::new(trailing)], fds) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Ended { why: "its pid 1 is gone" }),
        Err(errno) => Err(Error::errno("send to the sandbox")(errno)),
    }
}

/// Waits for the next reply. `None` when the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>, wait: bool) -> Result<Option<(Reply, Vec<OwnedFd>)>> {
    let mut buffer = [0u8; size_of::<Reply>()];
    let packet = receive_packet(socket, &mut buffer, wait).map_err(Error::errno("hear from the sandbox"))?;
    let Some((_, fds)) = packet.filter(|(length, _)| *length == buffer.len()) else { return Ok(None) };
    let number = |at: usize| -> [u8; 4] { std::array::from_fn(|index| buffer[at + index]) };
    let reply = Reply {
        kind: u32::from_ne_bytes(number(0)),
        value: i32::from_ne_bytes(number(4)),
        stage: u32::from_ne_bytes(number(8)),
    };
    Ok(Some((reply, fds)))
}
