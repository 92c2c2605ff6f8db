//! What can go wrong, grouped by what the caller can do about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::hold::HoldId;
use crate::state::State;

/// Every failure of this crate. None of them ever means "go ahead".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan is larger than a person can be asked to review.
    #[error("too large to review: {what} is {size}, the limit is {limit}; split the action, or put it in a file")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size, in bytes or entries.
        size: usize,
        /// The limit, in the same unit.
        limit: usize,
    },
    /// The state directory cannot be used.
    #[error("state directory {path}: {why}", path = path.display())]
    StateDir {
        /// The directory or the file in it.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// Another server holds the lock of the state directory.
    #[error("another approval server already runs on {path}; stop it, or use it", path = path.display())]
    AlreadyRunning {
        /// The state directory.
        path: PathBuf,
    },
    /// The address of the page is not a loopback address.
    #[error("{addr} is not a loopback address; the approval page is never served to the network")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {what}: {why}")]
    Listen {
        /// Address or path.
        what: String,
        /// What the system said.
        why: String,
    },
    /// The server's threads cannot be had.
    #[error("cannot start a thread: {why}")]
    NoThread {
        /// What the system said.
        why: String,
    },
    /// The store failed: nothing was changed.
    #[error("store {path}: cannot {step}: {why}", path = path.display())]
    Store {
        /// The database file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the database or the system said, and what to do about it.
        why: String,
    },
    /// There is a socket, but not a server of ours behind it.
    #[error("{path} does not lead to an approval server of this user: {why}", path = path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The server is away, and stayed away until the deadline. Nothing may run.
    #[error("the approval server is away: {why}")]
    ServerAway {
        /// What was seen last.
        why: String,
    },
    /// There is no such hold.
    #[error("no hold {id}")]
    NoSuchHold {
        /// The id asked for.
        id: String,
    },
    /// The hold is not in a state that allows this; it stays as it is.
    #[error("hold {id} is already {state}", state = state.name())]
    Refused {
        /// The hold.
        id: HoldId,
        /// The state it is in, with who decided and why.
        state: Box<State>,
    },
    /// The digest named is not the one of the plan that is held.
    #[error("hold {id} has changed since it was shown; look at it again")]
    Changed {
        /// The hold.
        id: HoldId,
    },
    /// The request itself is not acceptable.
    #[error("{why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// The other side did not keep to the protocol.
    #[error("the approval server answered with something else: {why}")]
    Protocol {
        /// What was seen.
        why: String,
    },
}
