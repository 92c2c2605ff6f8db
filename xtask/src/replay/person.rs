//! The person: a client of the approval server who reads each hold, releases the harmless ones and refuses the last.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use holdpoint_approval_web::client::{Client, Decision, Hold};
use holdpoint_approval_web::text;
use nix::sys::signal::Signal;

use super::scene::Scene;
use super::{at_home, layer};
use crate::process;

/// What the person types when refusing.
pub(crate) const REFUSAL: &str = "that would delete the production volume; ask me for the right credential";

/// How long `holdpoint serve` may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A person at an approval server of their own.
pub(crate) struct Person {
    server: Child,
    leave: Arc<AtomicBool>,
    eyes: JoinHandle<Result<Vec<Seen>>>,
    expects_refusal: bool,
}

/// One hold that was looked at.
struct Seen {
    command: String,
    refused: bool,
}

impl Person {
    /// Starts `holdpoint serve` in the home directory of the scene and begins to look at what is held.
    pub(crate) fn sit_down(binary: &Path, scene: &Scene, layer: layer::Layer) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut serve = Command::new(binary);
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut server = at_home(&mut serve, scene).spawn().context("could not start `holdpoint serve`")?;
        let client = match connect(&mut server, &scene.home.join(".local/state/holdpoint")) {
            Ok(client) => client,
            Err(error) => {
                process::end(&server, Signal::SIGKILL);
                server.wait()?;
                return Err(error);
            }
        };
        let leave = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&leave);
        let eyes = std::thread::spawn(move || watch(&client, &stop));
        Ok(Self { server, leave, eyes, expects_refusal: layer == layer::Layer::Approval })
    }

    /// Stops looking and says what did not go as it must.
    pub(crate) fn stand_up(mut self) -> Vec<String> {
        self.leave.store(true, Ordering::Relaxed);
        let seen = self.eyes.join();
        process::end(&self.server, Signal::SIGTERM);
        let ended = process::wait(&mut self.server, Duration::from_secs(10));
        let mut faults = Vec::new();
        if !matches!(ended, Ok((_, false))) {
            faults.push("the approval server did not stop when asked to".to_owned());
        }
        match seen {
            Ok(Ok(seen)) if self.expects_refusal => {
                let refused: Vec<_> = seen.iter().filter(|seen| seen.refused).collect();
                if seen.len() != 6 || refused.len() != 1 {
                    faults.push(format!("the person saw {} holds and refused {} of them", seen.len(), refused.len()));
                }
                if !refused.iter().all(|seen| seen.command.contains("volumeDelete")) {
                    faults.push("the person refused another command".to_owned());
                }
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => faults.push(format!("the person could not look: {error:#}")),
            Err(_) => faults.push("the person could not look".to_owned()),
        }
        faults
    }
}

/// Waits until the server answers.
fn connect(server: &mut Child, state: &Path) -> Result<Client> {
    let start = Instant::now();
    loop {
        if let Some(status) = server.try_wait()? {
            bail!("`holdpoint serve` ended with {}", process::code(status));
        }
        match Client::connect(state) {
            Ok(Some(client)) => return Ok(client),
            other if start.elapsed() > START => {
                other?;
                bail!("`holdpoint serve` did not open {}", state.display());
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Looks at every hold until told to leave.
fn watch(client: &Client, stop: &AtomicBool) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for hold in client.list(false)?.iter().filter(|hold| hold.state.name() == "pending") {
            seen.push(decide(client, hold)?);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(seen)
}

/// Reads the command that would run, and answers.
fn decide(client: &Client, hold: &Hold) -> Result<Seen> {
    let command: Vec<_> = hold.plan.argv.iter().map(|argument| text::visible(argument.as_bytes())).collect();
    let command = command.join(" ");
    let refused = command.contains("volumeDelete");
    let decision = if refused { Decision::Deny { reason: REFUSAL.to_owned() } } else { Decision::Approve };
    client.decide(&hold.id, hold.digest, decision, "the person of the replay")?;
    Ok(Seen { command, refused })
}
