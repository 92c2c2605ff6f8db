//! The approval server: a private unix socket for runners and operators, a loopback listener for browsers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::error::Error;

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Loopback address of the page; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Directory of the store, the lock and the socket; created with mode 0700.
    pub state_dir: PathBuf,
}

impl ServerConfig {
    /// Any free port of 127.0.0.1.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), state_dir }
    }
}

/// A running server, on a thread of its own. Stops when dropped.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// Starts a server; when this returns, both listeners accept.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`], [`Error::StateDir`], [`Error::NotLoopback`], [`Error::Listen`], [`Error::Store`].
    pub fn start(config: ServerConfig) -> Result<Self, Error> {
        Err(Error::StateDir { path: config.state_dir, why: "not built yet".into() })
    }

    /// Where the page is, without any secret: `http://127.0.0.1:PORT/LABEL/`.
    #[must_use]
    pub fn url(&self) -> &str {
        ""
    }

    /// A new one-time link that connects a browser; valid for ten minutes.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn pairing_url(&self) -> Result<String, Error> {
        Err(Error::ServerAway { why: "not built yet".into() })
    }

    /// Ends every connection and waits until the server is gone. Pending holds stay in the store.
    pub fn stop(self) {}
}
