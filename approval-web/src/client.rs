//! The blocking client of a runner or an operator: speaks to the server over its unix socket.
//!
//! Every call may be repeated without harm, so a call that met a server just going down is repeated for a while: a
//! restarted server finds its holds again.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::Uid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::api::{
    CancelHold, CreateHold, DecideHold, FinishHold, PROTOCOL, PairingLink, Problem, ReleaseHold, STOPPING, ServerInfo,
    Word,
};
use crate::error::Error;
use crate::hold::random_word;
pub use crate::hold::{Decision, Hold, HoldId};
use crate::plan::{Digest, HoldPlan};
use crate::server::dir::SOCKET;
use crate::state::{Outcome, State};

/// How long a call other than `wait` puts up with a server that is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take to answer a call that does not wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long one request of `wait` lasts; the server's own limit is the same.
const ONE_WAIT: Duration = Duration::from_secs(50);
/// How many closed holds `list` asks for.
const MOST_CLOSED: usize = 100;
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// A connection to the approval server of a state directory. Calls may be made from several threads at once.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
    url: String,
}

/// Why a call got no answer from a server.
enum Failed {
    /// Nobody listens there.
    Nobody(std::io::Error),
    /// Somebody is there, but is not a server of this user.
    Foreign(String),
    /// The conversation broke off; what was asked for may have happened or not.
    Broken(String),
    /// The server said no.
    Answered(Problem),
}

impl Client {
    /// Connects to the server of a state directory. `None` when no server runs there.
    ///
    /// # Errors
    /// [`Error::Foreign`] when the socket is there but nobody of ours answers behind it.
    pub fn connect(state_dir: &Path) -> Result<Option<Self>, Error> {
        let socket = state_dir.join(SOCKET);
        let foreign = |why: String| Error::Foreign { path: socket.clone(), why };
        match fs::symlink_metadata(&socket) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(foreign(e.to_string())),
            Ok(meta) if !meta.file_type().is_socket() => return Err(foreign("it is not a socket".into())),
            Ok(meta) if meta.uid() != Uid::effective().as_raw() => {
                return Err(foreign(format!("it belongs to user {}", meta.uid())));
            }
            Ok(_) => {}
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| foreign(e.to_string()))?;
        let mut client = Self { socket: socket.clone(), runtime, url: String::new() };
        for last in [false, false, false, false, true] {
            match client.once::<ServerInfo>(&Method::GET, "/v1/server", None, Duration::from_secs(5)) {
                Ok(info) if info.protocol == PROTOCOL => {
                    client.url = info.url;
                    return Ok(Some(client));
                }
                Ok(info) => return Err(foreign(format!("it speaks {}, not {PROTOCOL}", info.protocol.escape_debug()))),
                // A socket without a listener is what a killed server leaves behind.
                Err(Failed::Nobody(e)) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                    return Ok(None);
                }
                Err(Failed::Nobody(e)) => return Err(foreign(e.to_string())),
                Err(Failed::Foreign(why)) => return Err(foreign(why)),
                Err(Failed::Answered(problem)) => return Err(foreign(problem.error)),
                // A server that is just stopping breaks off; a moment later there is none.
                Err(Failed::Broken(why)) if last => return Err(foreign(why)),
                Err(Failed::Broken(_)) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Ok(None)
    }

    /// Where the page is. It opens only in a connected browser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds a plan for at most `ttl`. The calling process is the runner: when it goes away the hold is cancelled.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when a person could not review it; [`Error::ServerAway`].
    pub fn hold(&self, plan: &HoldPlan, ttl: Duration) -> Result<HoldId, Error> {
        plan.check_size()?;
        let id = HoldId::new()?;
        let body = CreateHold { plan: plan.clone(), ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX) };
        let hold: Hold = self.call(&Method::PUT, &format!("/v1/holds/{id}"), Some(&body), Some(&id))?;
        if hold.digest != plan.digest() {
            // It would be shown as something else than what runs.
            return Err(Error::Protocol { why: format!("it holds another plan under {id}") });
        }
        Ok(id)
    }

    /// Waits until a hold is no longer pending, or `timeout` is over (then its state is still pending). Rides out a
    /// restart of the server. How a hold ended is in its [`State`]: denied (with the reason), expired and cancelled
    /// are different answers.
    ///
    /// # Errors
    /// [`Error::ServerAway`] when the server is away at the deadline; [`Error::NoSuchHold`].
    pub fn wait(&self, id: &HoldId, timeout: Duration) -> Result<Hold, Error> {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_millis(50);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(ONE_WAIT);
            let path = format!("/v1/holds/{id}?wait_ms={}", wait.as_millis());
            match self.once::<Hold>(&Method::GET, &path, None, wait + ANSWER_WITHIN) {
                Ok(hold) if hold.state != State::Pending || Instant::now() >= deadline => return Ok(hold),
                Ok(_) => pause = Duration::from_millis(50),
                Err(failed) => self.pause(failed, &mut pause, deadline, Some(id))?,
            }
        }
    }

    /// Spends the approval: durable when this returns, and possible once. Execute only after `Ok`.
    ///
    /// # Errors
    /// [`Error::Changed`] when `digest` is not what was approved, [`Error::Refused`] when it is not approved (any more),
    /// [`Error::ServerAway`].
    pub fn release(&self, id: &HoldId, digest: Digest) -> Result<(), Error> {
        // The ticket makes the repetition of this very release harmless, and nobody else's possible.
        let body = ReleaseHold { digest, ticket: random_word()? };
        let path = format!("/v1/holds/{id}/release");
        let hold: Hold = self.call(&Method::POST, &path, Some(&body), Some(id))?;
        match hold.state {
            State::Released { .. } if hold.digest == digest && hold.id == *id => Ok(()),
            _ => Err(Error::Protocol { why: format!("hold {id} is not released after its release") }),
        }
    }

    /// Reports how a released action ended.
    ///
    /// # Errors
    /// [`Error::Refused`] when it was not released; [`Error::ServerAway`].
    pub fn finish(&self, id: &HoldId, outcome: Outcome) -> Result<(), Error> {
        let path = format!("/v1/holds/{id}/finish");
        self.call::<Hold>(&Method::POST, &path, Some(&FinishHold { outcome }), Some(id)).map(drop)
    }

    /// Withdraws a hold that was not released.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is released or closed; [`Error::ServerAway`].
    pub fn cancel(&self, id: &HoldId, why: &str) -> Result<(), Error> {
        let path = format!("/v1/holds/{id}/cancel");
        self.call::<Hold>(&Method::POST, &path, Some(&CancelHold { why: why.to_owned() }), Some(id)).map(drop)
    }

    /// The open holds, oldest first, then (with `closed`) the latest closed ones.
    ///
    /// # Errors
    /// [`Error::ServerAway`].
    pub fn list(&self, closed: bool) -> Result<Vec<Hold>, Error> {
        let most = if closed { MOST_CLOSED } else { 0 };
        self.call(&Method::GET, &format!("/v1/holds?closed={most}"), None::<&()>, None)
    }

    /// One hold, as it stands now.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`]; [`Error::ServerAway`].
    pub fn get(&self, id: &HoldId) -> Result<Hold, Error> {
        self.call(&Method::GET, &format!("/v1/holds/{id}"), None::<&()>, Some(id))
    }

    /// Decides a hold, naming the digest of the plan that the person was shown. The same decision again is no error.
    ///
    /// # Errors
    /// [`Error::Changed`] for another digest, [`Error::Refused`] when it is already decided or closed,
    /// [`Error::Invalid`] for a reason that is too long, [`Error::ServerAway`].
    pub fn decide(&self, id: &HoldId, digest: Digest, decision: Decision, by: &str) -> Result<Hold, Error> {
        let (decision, reason) = match decision {
            Decision::Approve => (Word::Approve, String::new()),
            Decision::Deny { reason } => (Word::Deny, reason),
        };
        let body = DecideHold { digest, decision, reason, by: by.to_owned() };
        self.call(&Method::POST, &format!("/v1/holds/{id}/decide"), Some(&body), Some(id))
    }

    /// A new one-time link that connects a browser; valid for ten minutes.
    ///
    /// # Errors
    /// [`Error::ServerAway`].
    pub fn pair(&self) -> Result<String, Error> {
        self.call::<PairingLink>(&Method::POST, "/v1/pair", None::<&()>, None).map(|link| link.url)
    }

    /// One call, repeated while the server is away, for at most [`PATIENCE`].
    fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
        id: Option<&HoldId>,
    ) -> Result<T, Error> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|e| Error::Invalid { why: format!("cannot be sent: {e}") })?;
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(50);
        loop {
            match self.once(method, path, body.clone(), ANSWER_WITHIN) {
                Ok(answer) => return Ok(answer),
                Err(failed) => self.pause(failed, &mut pause, deadline, id)?,
            }
        }
    }

    /// Waits a moment before the next try, or ends the tries.
    fn pause(&self, failed: Failed, pause: &mut Duration, deadline: Instant, id: Option<&HoldId>) -> Result<(), Error> {
        let why = match failed {
            Failed::Answered(problem) => return Err(problem.into_error(id)),
            Failed::Foreign(why) => return Err(Error::Foreign { path: self.socket.clone(), why }),
            Failed::Nobody(e) => format!("nobody listens at {} ({e})", self.socket.display()),
            Failed::Broken(why) => why,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::ServerAway { why });
        }
        std::thread::sleep((*pause).min(left));
        *pause = (*pause * 2).min(Duration::from_secs(1));
        Ok(())
    }

    fn once<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
        within: Duration,
    ) -> Result<T, Failed> {
        let exchange = self.exchange(method, path, body);
        let (status, bytes) = self
            .runtime
            .block_on(async { tokio::time::timeout(within, exchange).await })
            .map_err(|_| Failed::Broken("it does not answer".into()))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| Failed::Foreign(format!("its answer is not ours: {e}")));
        }
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.code == STOPPING => Failed::Broken(problem.error),
            Ok(problem) => Failed::Answered(problem),
            Err(_) => Failed::Answered(Problem::new("status", format!("status {status}"))),
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), Failed> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Failed::Nobody)?;
        let owner = stream.peer_cred().map_err(|e| Failed::Foreign(e.to_string()))?.uid();
        if owner != Uid::effective().as_raw() {
            return Err(Failed::Foreign(format!("user {owner} answers there")));
        }
        let broken = |e: hyper::Error| Failed::Broken(format!("the conversation broke off: {e}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "holdpoint")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|e| Failed::Broken(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(|e| Failed::Broken(format!("the answer broke off: {e}")))?;
            Ok((status, body.to_bytes()))
        };
        let answer = answer.await;
        // Dropped now, not when the runtime next runs: otherwise the socket would stay open until then.
        connection.abort();
        connection.await.ok();
        answer
    }
}
