//! A server for the browser test: commands as JSON lines on standard input, answers as JSON lines on standard output.
//!
//! `{"do":"hold","plan":{…overrides…},"ttl_ms":60000}` holds a plan and waits for it on a thread; a released one
//! "runs" by finishing with code 0. `{"do":"pair"}` gives a new link, `{"do":"stop"}` and `{"do":"start"}` the server.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // Its standard output is its interface.

use std::error::Error;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdpoint_approval_web::client::Client;
use holdpoint_approval_web::plan::HoldPlan;
use holdpoint_approval_web::server::{Server, ServerConfig};
use holdpoint_approval_web::state::{Outcome, State};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let state_dir: PathBuf = std::env::args_os().nth(1).ok_or("usage: e2e_server STATE_DIR")?.into();
    let mut config = ServerConfig::new(state_dir.clone());
    let mut server = Some(Server::start(config.clone())?);
    if let Some(server) = &server {
        let port = server.url().split(['/', ':']).nth(4).and_then(|port| port.parse().ok()).unwrap_or_default();
        config.listen = SocketAddr::new(config.listen.ip(), port);
        println!("{}", json!({ "started": server.url(), "pair": server.pairing_url()? }));
    }
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        match command["do"].as_str() {
            Some("hold") => hold(&state_dir, &command)?,
            Some("pair") => match &server {
                Some(server) => println!("{}", json!({ "pair": server.pairing_url()? })),
                None => println!("{}", json!({ "error": "stopped" })),
            },
            Some("stop") => {
                drop(server.take());
                println!("{}", json!({ "stopped": true }));
            }
            Some("start") => {
                server = Some(Server::start(config.clone())?);
                println!("{}", json!({ "started": true }));
            }
            _ => println!("{}", json!({ "error": "unknown command" })),
        }
    }
    Ok(())
}

/// Holds the plan that the command describes, and follows it on a thread of its own.
fn hold(state_dir: &Path, command: &Value) -> Result<(), Box<dyn Error>> {
    let mut plan = json!({
        "kind": "run", "argv": ["true"], "cwd": "/home/dana/app", "cwd_id": { "dev": 1, "ino": 2 }, "executable": null,
        "operands": [], "env": [], "stdin": "null", "profile": "production-adjacent", "policy_digest": "00",
        "reasons": [], "sandbox": [], "diff": null, "host": "build-7", "user": "dana"
    });
    for (key, value) in command["plan"].as_object().into_iter().flatten() {
        plan[key] = value.clone();
    }
    let plan: HoldPlan = serde_json::from_value(plan)?;
    let client = Client::connect(state_dir)?.ok_or("no server")?;
    let ttl = Duration::from_millis(command["ttl_ms"].as_u64().unwrap_or(600_000));
    let id = client.hold(&plan, ttl)?;
    println!("{}", json!({ "held": id }));
    std::thread::spawn(move || {
        let answer = match follow(&client, &plan, &id, ttl) {
            Ok(state) => json!({ "ended": id, "result": state }),
            Err(error) => json!({ "ended": id, "error": error.to_string() }),
        };
        println!("{answer}");
    });
    Ok(())
}

fn follow(
    client: &Client,
    plan: &HoldPlan,
    id: &holdpoint_approval_web::hold::HoldId,
    ttl: Duration,
) -> Result<State, holdpoint_approval_web::Error> {
    let hold = client.wait(id, ttl + Duration::from_secs(5))?;
    if matches!(hold.state, State::Approved { .. }) {
        client.release(id, plan.digest())?;
        client.finish(id, Outcome::Exited(0))?;
        return Ok(client.get(id)?.state);
    }
    Ok(hold.state)
}
