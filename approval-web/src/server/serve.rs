//! The two accept loops: who may connect, how many, and how slowly.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::runner::Runner;

const MOST_BROWSERS: usize = 256;
const MOST_RUNNERS: usize = 16 * 1024;
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const BODY_WITHIN: Duration = Duration::from_secs(15);
/// How long open answers may take to end when the server stops.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The process at the other end of the unix socket.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pid: Option<u32>,
}

impl Peer {
    pub(crate) fn runner(&self) -> Option<Runner> {
        self.pid.and_then(Runner::of_pid)
    }
}

/// A listener, and whom it lets in.
pub(crate) trait Door: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connections at one time.
    const MOST: usize;

    /// The next connection and who it is, when that is known here; `None` when it was turned away.
    fn admit(&self) -> impl Future<Output = io::Result<Option<(Self::Stream, Option<Peer>)>>> + Send;
}

/// Browsers say who they are with every request.
impl Door for TcpListener {
    type Stream = TcpStream;
    const MOST: usize = MOST_BROWSERS;

    async fn admit(&self) -> io::Result<Option<(TcpStream, Option<Peer>)>> {
        self.accept().await.map(|(stream, _)| Some((stream, None)))
    }
}

/// Runners are known by their process.
impl Door for UnixListener {
    type Stream = UnixStream;
    const MOST: usize = MOST_RUNNERS;

    async fn admit(&self) -> io::Result<Option<(UnixStream, Option<Peer>)>> {
        let (stream, _) = self.accept().await?;
        Ok(peer_of(&stream).map(|peer| (stream, Some(peer))))
    }
}

/// Serves whom a door lets in until the server stops.
pub(crate) async fn serve<D: Door>(door: D, routes: Router, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(D::MOST));
    loop {
        let admitted = tokio::select! {
            admitted = door.admit() => admitted,
            _ = stopping.changed() => return,
        };
        match (admitted, Arc::clone(&room).try_acquire_owned()) {
            (Ok(Some((stream, peer))), Ok(place)) => {
                let (routes, stopping) = (routes.clone(), stopping.clone());
                tokio::spawn(async move {
                    connection(stream, routes, peer, stopping).await;
                    drop(place);
                });
            }
            // Turned away, or too many: the connection closes at once.
            (Ok(_), _) => {}
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The peer, when it is this user in this user namespace.
///
/// The socket is in no sandbox's view. Should one reach it all the same, its user number would look like ours through
/// a user namespace: so the namespace is compared as well, and who cannot be looked at is turned away.
fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    if credentials.uid() != nix::unistd::Uid::effective().as_raw() {
        return None;
    }
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)?;
    let namespace = |of: String| std::fs::read_link(format!("/proc/{of}/ns/user")).ok();
    let theirs = namespace(pid.to_string())?;
    (namespace("self".into())? == theirs).then_some(Peer { pid: Some(pid) })
}

async fn connection<S>(stream: S, routes: Router, peer: Option<Peer>, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let stop = async {
        // An error means that the server is gone already.
        stopping.wait_for(|stop| *stop).await.ok();
    };
    tokio::select! {
        // How one connection ended concerns nobody else.
        _ = served.as_mut() => return,
        () = stop => {}
    }
    served.as_mut().graceful_shutdown();
    tokio::time::timeout(END_WITHIN, served).await.ok();
}

/// A body that comes too slowly ends the request. Only for routes that answer at once.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(BODY_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}
