//! `holdpoint serve` and `holdpoint pair`: the approval page, and the way to it.

use holdpoint_approval_web::Error as Web;
use holdpoint_approval_web::client::Client;
use holdpoint_approval_web::server::{Server, ServerConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::approver::away;
use crate::args::{Answer, Serve};
use crate::error::Error;
use crate::exit;
use crate::places::Places;
use crate::report;
use crate::signals::Signals;

/// Serve until a signal says to stop.
///
/// # Errors
/// [`Error::Usage`] for an address that is not loopback, and when another server runs already; [`Error::Io`] for an address that
/// others have.
pub(super) fn serve(args: &Serve) -> Result<u8, Error> {
    let signals = Signals::take()?;
    let places = Places::find()?;
    let state = places.state()?.to_owned();
    if !args.listen.ip().is_loopback() {
        return Err(Error::Usage {
            why: format!("{} is not an address of this machine's loopback", args.listen),
            next: "whoever reaches the page may try to decide; reach it from elsewhere through ssh -L".into(),
        });
    }
    let mut config = ServerConfig::new(state);
    config.listen = args.listen;
    let server = Server::start(config).map_err(|error| match error {
        Web::AlreadyRunning { .. } => {
            let next = "use it (`holdpoint pair` prints a link to its page), or stop it".into();
            Error::Usage { why: format!("an approval server runs already on {}", places.state.display()), next }
        }
        Web::Listen { what, why } => Error::io(format!("listen on {what}"), why),
        other => away(other),
    })?;
    let link = server.pairing_url().map_err(away)?;
    if args.answer.json {
        report::result(&json!({"url": server.url(), "pairing_url": link}))?;
    } else {
        let text = format!(
            "The approval page is at {}\nConnect a browser with this link, once, within ten minutes:\n\n  {link}\n",
            server.url()
        );
        report::output(text.as_bytes())?;
    }
    let stopped = loop {
        let mut fds = [PollFd::new(signals.stop_fd(), PollFlags::POLLIN)];
        // Interrupted or failed: look whether there is a signal, and sleep again.
        poll(&mut fds, PollTimeout::NONE).ok();
        if let Some(signal) = signals.stopped() {
            break signal;
        }
    };
    server.stop();
    report::say(&format!("stopped by {stopped}; what is held waits in the store"));
    Ok(exit::SUCCESS)
}

/// Print a new one-time link.
///
/// # Errors
/// [`Error::NoDecision`] when no server runs.
pub(super) fn pair(answer: &Answer) -> Result<u8, Error> {
    let link = connect(&Places::find()?)?.pair().map_err(away)?;
    if answer.json {
        report::result(&json!({"pairing_url": link}))?;
    } else {
        report::output(format!("{link}\n").as_bytes())?;
    }
    Ok(exit::SUCCESS)
}

/// The server that runs.
///
/// # Errors
/// [`Error::NoDecision`] when none does.
pub(super) fn connect(places: &Places) -> Result<Client, Error> {
    let client = Client::connect(&places.state).map_err(away)?;
    client.ok_or_else(|| Error::NoDecision {
        why: format!("no approval server runs on {}", places.state.display()),
        next: "start one with `holdpoint serve`".into(),
    })
}
