//! Asking a person: through the running server, or one of our own when there is none, and at the terminal as well.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use holdpoint_approval_web::client::{Client, Decision, Hold, HoldId};
use holdpoint_approval_web::plan::{Digest, HoldPlan};
use holdpoint_approval_web::server::{Server, ServerConfig};
use holdpoint_approval_web::state::{Outcome, State};
use holdpoint_approval_web::{Error as Web, text};
use holdpoint_policy::{Reason, Verdict};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::held;
use crate::process::chain;
use crate::prompt::{Answer, Prompt};
use crate::report::{self, Audience};
use crate::signals::Signals;

/// How long a server may be away before another one takes its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the people who decide.
pub(crate) struct Approver {
    state: PathBuf,
    client: Arc<Client>,
    /// Ours, when nobody else serves.
    server: Option<Server>,
    /// Who is told where to decide, and what was decided.
    audience: Audience,
}

/// Who waits for a decision.
#[derive(Clone, Copy)]
pub(crate) enum Waiting<'a> {
    /// This process, which is asked at its terminal too and listens to signals.
    Here(&'a Signals),
    /// A process inside, of which this is a pidfd. The terminal is its command's.
    Inside(BorrowedFd<'a>),
}

impl<'a> Waiting<'a> {
    /// Readable when somebody has to look whether it still waits.
    fn fd(self) -> BorrowedFd<'a> {
        match self {
            Self::Here(signals) => signals.stop_fd(),
            Self::Inside(process) => process,
        }
    }

    /// Whether it still waits.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or [`Error::NoDecision`] when the process has ended.
    fn check(self) -> Result<(), Error> {
        match self {
            Self::Here(signals) => signals.check(),
            Self::Inside(process) => match poll(&mut [PollFd::new(process, PollFlags::POLLIN)], PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => Ok(()),
                _ => Err(Error::NoDecision {
                    why: "the process that waited for it has ended".into(),
                    next: String::new(),
                }),
            },
        }
    }
}

/// A plan a person has approved, not spent yet.
pub(crate) struct Granted {
    /// The hold.
    pub(crate) id: HoldId,
    /// What was shown.
    pub(crate) plan: HoldPlan,
    digest: Digest,
}

impl Approver {
    /// Find the server of this state directory, or become it.
    ///
    /// # Errors
    /// [`Error::NoDecision`] when neither is possible, [`Error::Internal`] without a thread for it.
    pub(crate) fn find(state: &Path, audience: Audience) -> Result<Self, Error> {
        let (client, server) = connect(state)?;
        Ok(Self { state: state.to_owned(), client: Arc::new(client), server, audience })
    }

    /// Hold `plan` and wait for the decision.
    ///
    /// # Errors
    /// [`Error::Denied`] with the person's reason, [`Error::NoDecision`] when there is none, [`Error::Interrupted`].
    pub(crate) fn ask(&mut self, plan: HoldPlan, ttl: Duration, waiting: Waiting<'_>) -> Result<Granted, Error> {
        let digest = plan.digest();
        let id = self.client.hold(&plan, ttl).map_err(away)?;
        self.announce(&id)?;
        let hold = match self.decided(&id, &plan, ttl, waiting) {
            Ok(hold) => hold,
            Err(error) => {
                // A hold that nobody waits for must not be shown any longer; the lease would end it a little later.
                drop(self.client.cancel(&id, &error.to_string()));
                return Err(error);
            }
        };
        match hold.state {
            State::Approved { by } => {
                self.say(&format!("approved by {}", text::visible(by.as_bytes())));
                Ok(Granted { id, plan, digest })
            }
            state => Err(refused(state)),
        }
    }

    fn say(&self, line: &str) {
        (self.audience)(&report::line(line));
    }

    /// Say where to look, with a one-time link when the page is ours.
    fn announce(&self, id: &HoldId) -> Result<(), Error> {
        match &self.server {
            Some(server) => {
                let link = server.pairing_url().map_err(away)?;
                self.say(&format!("held for a decision; open {link}"));
            }
            None => self.say(&format!("held as {id}; decide at {}", self.client.url())),
        }
        Ok(())
    }

    /// Wait for the first answer, from wherever it comes.
    fn decided(&mut self, id: &HoldId, plan: &HoldPlan, ttl: Duration, waiting: Waiting<'_>) -> Result<Hold, Error> {
        let deadline = Instant::now() + ttl;
        let mut prompt = match waiting {
            Waiting::Here(_) => Prompt::open(plan),
            Waiting::Inside(_) => None,
        };
        let mut waiter = Waiter::start(&self.client, id)?;
        loop {
            match waiter.told.try_recv() {
                Ok(Ok(hold)) => {
                    if let Some(prompt) = prompt {
                        prompt.close("decided elsewhere");
                    }
                    return Ok(hold);
                }
                Ok(Err(Web::ServerAway { why })) if Instant::now() < deadline => {
                    self.replace_server(id, &why)?;
                    waiter = Waiter::start(&self.client, id)?;
                }
                Ok(Err(error)) => return Err(away(error)),
                Err(mpsc::TryRecvError::Disconnected) => {
                    let why = "the thread that waits for it has failed".into();
                    return Err(Error::Internal { what: "wait for a decision".into(), why });
                }
                Err(mpsc::TryRecvError::Empty) => {}
            }
            waiting.check()?;
            let answer = wait(&waiter, prompt.as_mut(), waiting)?;
            if let Some(answer) = answer {
                prompt = None;
                self.decide(id, plan, answer);
            }
        }
    }

    /// The terminal's answer goes the same way as everybody's, so that the page shows it and the first one wins.
    fn decide(&self, id: &HoldId, plan: &HoldPlan, answer: Answer) {
        let decision = match answer {
            Answer::Approve => Decision::Approve,
            Answer::Deny(reason) => Decision::Deny { reason },
        };
        let by = format!("{} at the terminal", held::user());
        if let Err(error) = self.client.decide(id, plan.digest(), decision, &by) {
            self.say(&report::encoded(&chain(&error)));
        }
    }

    /// The server is gone: serve the same store ourselves, so that a person can still be asked.
    fn replace_server(&mut self, id: &HoldId, why: &str) -> Result<(), Error> {
        self.say(&format!("the approval server is away ({})", report::readable(&why)));
        drop(self.server.take());
        let (client, server) = connect(&self.state)?;
        (self.client, self.server) = (Arc::new(client), server);
        self.announce(id)
    }

    /// Spend the approval. Execute only after `Ok`.
    ///
    /// # Errors
    /// [`Error::NoDecision`]: it has expired, was withdrawn, or the server is away.
    pub(crate) fn release(&self, granted: &Granted) -> Result<(), Error> {
        self.client.release(&granted.id, granted.digest).map_err(|error| match error {
            Web::Refused { state, .. } => refused(*state),
            other => away(other),
        })
    }

    /// Give an approval back unused.
    pub(crate) fn withdraw(&self, granted: &Granted, why: &str) {
        // Should it fail, the approval expires by itself; it cannot be spent for anything else.
        drop(self.client.cancel(&granted.id, why));
    }

    /// Report how a released action ended.
    pub(crate) fn finish(&self, granted: &Granted, outcome: Outcome) {
        if let Err(error) = self.client.finish(&granted.id, outcome) {
            self.say(&format!("the outcome could not be recorded: {}", report::encoded(&chain(&error))));
        }
    }
}

fn connect(state: &Path) -> Result<(Client, Option<Server>), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(client) = Client::connect(state).map_err(away)? {
            return Ok((client, None));
        }
        match Server::start(ServerConfig::new(state.to_owned())) {
            Ok(server) => match Client::connect(state).map_err(away)? {
                Some(client) => return Ok((client, Some(server))),
                None => {
                    let why = "the server just started does not answer".into();
                    return Err(Error::NoDecision { why, next: String::new() });
                }
            },
            // Somebody else was faster and is about to listen, or is on its way out.
            Err(Web::AlreadyRunning { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50))
            }
            Err(error) => return Err(away(error)),
        }
    }
}

/// A thread that waits for one hold, and a pipe that becomes readable when it has something to tell.
struct Waiter {
    told: mpsc::Receiver<Result<Hold, Web>>,
    ready: std::io::PipeReader,
}

impl Waiter {
    fn start(client: &Arc<Client>, id: &HoldId) -> Result<Self, Error> {
        let (ready, mut tell) = std::io::pipe().map_err(|error| Error::io("make a pipe", error))?;
        let (teller, told) = mpsc::channel();
        let (client, id) = (Arc::clone(client), id.clone());
        let wait = move || {
            let answer = loop {
                match client.wait(&id, PATIENCE) {
                    Ok(hold) if hold.state == State::Pending => {}
                    answer => break answer,
                }
            };
            // Whoever waited may be gone; then there is nobody to tell.
            drop(teller.send(answer));
            drop(tell.write_all(b"."));
        };
        let thread = std::thread::Builder::new().name("waiter".into()).spawn(wait);
        thread.map_err(|error| Error::no_thread("wait for a decision", &error))?;
        Ok(Self { told, ready })
    }
}

/// Sleep until the decision, an answer at the terminal, or the end of who waits.
fn wait(waiter: &Waiter, prompt: Option<&mut Prompt>, waiting: Waiting<'_>) -> Result<Option<Answer>, Error> {
    let mut fds =
        vec![PollFd::new(waiter.ready.as_fd(), PollFlags::POLLIN), PollFd::new(waiting.fd(), PollFlags::POLLIN)];
    if let Some(fd) = prompt.as_ref().and_then(|prompt| prompt.fd()) {
        fds.push(PollFd::new(fd, PollFlags::POLLIN));
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::io("wait for a decision", errno)),
    }
    let typed = fds.get(2).and_then(PollFd::revents).is_some_and(|got| !got.is_empty());
    drop(fds);
    Ok(if typed { prompt.and_then(Prompt::read) } else { None })
}

/// What a hold that cannot run any more means for the one who asked.
fn refused(state: State) -> Error {
    let none = |why: &str, next: &str| Error::NoDecision { why: why.into(), next: next.into() };
    match state {
        State::Denied { by, reason } => {
            let text = if reason.is_empty() { "no reason was given".to_owned() } else { reason };
            Error::Denied { by, reasons: vec![Reason::new(Verdict::Deny, "", "", text)] }
        }
        State::Expired => none("nobody decided in time", "ask again, or wait longer with --hold-timeout"),
        State::Cancelled { why } => none(&format!("the hold was withdrawn: {why}"), "ask again"),
        other => none(&format!("the hold is already {}", other.name()), "ask again"),
    }
}

/// An error of the approval side as one of ours. None of them is a decision.
pub(crate) fn away(error: Web) -> Error {
    let why = chain(&error);
    match error {
        Web::TooLarge { .. } => Error::Denied {
            by: "the limit on what a person can review".into(),
            reasons: vec![Reason::new(Verdict::Deny, "", "", why)],
        },
        Web::StateDir { path, why } => Error::setting(&path, why, ""),
        Web::Store { .. } => Error::Io { what: "keep the hold".into(), why },
        Web::NoThread { why } => Error::no_thread("serve the approval page", &why),
        Web::Invalid { why } => Error::Usage { why, next: String::new() },
        Web::Refused { .. } => Error::NoDecision { why, next: "list what waits with `holdpoint holds`".into() },
        _ => Error::NoDecision { why, next: "see whether `holdpoint serve` is well, then ask again".into() },
    }
}
