//! The approval server: a private unix socket for runners and operators, a loopback listener for browsers.
//!
//! - `dir`: the state directory, its lock and its socket; `serve`: the accept loops
//! - `guard`: Host, Origin and Sec-Fetch checks and the headers of every answer; `session`: pairing and cookies
//! - `runner_api`, `browser`: the routes; `events`: the live stream; `holds`: every change of a hold; `clerk`: the thread for it

mod browser;
mod clerk;
pub(crate) mod dir;
mod events;
mod guard;
mod holds;
mod runner_api;
mod serve;
mod session;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::store::Store;
use crate::store::sqlite::Sqlite;
use clerk::Clerk;
use dir::StateDir;
use guard::Own;
use holds::Holds;

/// How often expiry and lost runners are looked for.
const SWEEP: Duration = Duration::from_millis(500);
const MOST_STREAMS: usize = 64;
/// How long what has begun may take to end when the server stops.
const END_WITHIN: Duration = Duration::from_secs(2);

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

/// What every route works with.
#[derive(Debug)]
pub(crate) struct App {
    holds: Arc<Holds>,
    clerk: Clerk,
    /// `http://127.0.0.1:PORT/LABEL/`
    url: String,
    /// `/LABEL/`
    path: String,
    /// The session cookie's name.
    cookie: String,
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl App {
    /// Runs something that touches the store, away from the thread that serves.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let app = Arc::clone(self);
        self.clerk.run(move || work(&app)).await
    }

    /// Returns when the server stops.
    async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the server is gone already.
        stopping.wait_for(|stop| *stop).await.ok();
    }
}

/// A running server, on threads of its own. Stops when dropped.
pub struct Server {
    app: Arc<App>,
    dir: Arc<StateDir>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server; when this returns, both listeners accept.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`], [`Error::StateDir`], [`Error::NotLoopback`], [`Error::Listen`], [`Error::Store`],
    /// [`Error::NoThread`].
    pub fn start(config: ServerConfig) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback { addr: config.listen });
        }
        let dir = Arc::new(StateDir::take(&config.state_dir)?);
        let store = Sqlite::open(&dir.database())?;
        let label = store.label()?;
        let listen_error = |e: std::io::Error| Error::Listen { what: config.listen.to_string(), why: e.to_string() };
        let page = TcpListener::bind(config.listen).map_err(listen_error)?;
        page.set_nonblocking(true).map_err(listen_error)?;
        let own = Own::new(page.local_addr().map_err(listen_error)?);
        let socket = dir.listen()?;
        let (stop, stopping) = watch::channel(false);
        let path = format!("/{label}/");
        let app = Arc::new(App {
            holds: Arc::new(Holds::new(Box::new(store), holds::LEASE)?),
            clerk: Clerk::start().map_err(no_thread)?,
            url: format!("{}{path}", own.origin),
            path,
            cookie: format!("holdpoint-{}", label.get(..6).unwrap_or_default()),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            stopping,
        });
        // With threads of its own a runtime panics when it gets none.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(listen_error)?;
        let served = Arc::clone(&app);
        let thread = thread::Builder::new()
            .name("holdpoint-server".into())
            .spawn(move || {
                runtime.block_on(serve_all(Arc::clone(&served), own, page, socket));
                served.clerk.finish(END_WITHIN);
                runtime.shutdown_timeout(END_WITHIN);
            })
            .map_err(no_thread)?;
        Ok(Self { app, dir, stop, thread: Some(thread) })
    }

    /// Where the page is: `http://127.0.0.1:PORT/LABEL/`. It opens only in a connected browser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.app.url
    }

    /// A new one-time link that connects a browser; valid for ten minutes.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn pairing_url(&self) -> Result<String, Error> {
        session::new_pairing(&self.app)
    }

    /// Ends every connection and waits until the server is gone. Holds stay in the store as they are.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // From here on nobody new finds the socket; the lock goes with `dir`, after the threads have ended.
        std::fs::remove_file(self.dir.socket()).ok();
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has ended the server already.
            thread.join().ok();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.app.url).finish_non_exhaustive()
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::NoThread { why: error.to_string() }
}

async fn serve_all(app: Arc<App>, own: Own, page: TcpListener, socket: std::os::unix::net::UnixListener) {
    let (Ok(page), Ok(socket)) = (tokio::net::TcpListener::from_std(page), tokio::net::UnixListener::from_std(socket))
    else {
        // Both are open and non-blocking: only a runtime without I/O could refuse them.
        return;
    };
    let browsers = tokio::spawn(serve::serve(page, browser::routes(Arc::clone(&app), own), app.stopping.clone()));
    let runners = tokio::spawn(serve::serve(socket, runner_api::routes(Arc::clone(&app)), app.stopping.clone()));
    let mut clock = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = clock.tick() => {
                // A store that fails now is asked again; until then nothing is decided either.
                app.run(|app| app.holds.sweep()).await.ok();
            }
            () = app.stopped() => break,
        }
    }
    for task in [browsers, runners] {
        // Only a panic could be the error.
        task.await.ok();
    }
}
