//! One server and its runners: decisions, races, restarts, kills, and who is let in.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdpoint_approval_web::Error;
use holdpoint_approval_web::client::{Client, Decision, Hold, HoldId};
use holdpoint_approval_web::plan::{Digest, MAX_ARGV};
use holdpoint_approval_web::server::{Server, ServerConfig};
use holdpoint_approval_web::state::{Outcome, State};

use crate::fixture::{Browser, child, child_under, marked_lines, plan, server};

const LONG: Duration = Duration::from_secs(60);

fn connect(dir: &Path) -> Client {
    Client::connect(&dir.join("state")).unwrap().unwrap()
}

fn deny(reason: &str) -> Decision {
    Decision::Deny { reason: reason.into() }
}

#[test]
fn an_approved_hold_is_released_once_and_finished() {
    let dir = tempfile::tempdir().unwrap();
    let _server = server(dir.path());
    let client = connect(dir.path());
    let digest = plan().digest();
    let id = client.hold(&plan(), LONG).unwrap();
    assert_eq!(client.wait(&id, Duration::ZERO).unwrap().state, State::Pending);
    assert!(matches!(client.release(&id, digest), Err(Error::Refused { state, .. }) if *state == State::Pending));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.wait(&id, LONG).unwrap());
        client.decide(&id, digest, Decision::Approve, "dana").unwrap();
        assert_eq!(waiting.join().unwrap().state, State::Approved { by: "dana".into() });
    });
    assert!(matches!(client.release(&id, Digest::of(b"changed")), Err(Error::Changed { .. })));
    client.release(&id, digest).unwrap();
    assert!(matches!(client.release(&id, digest), Err(Error::Refused { state, .. }) if state.name() == "released"));
    assert!(matches!(client.cancel(&id, "late"), Err(Error::Refused { .. })));
    client.finish(&id, Outcome::Exited(3)).unwrap();
    let hold = client.get(&id).unwrap();
    assert_eq!(hold.state, State::Finished { by: "dana".into(), outcome: Outcome::Exited(3) });
    assert!(matches!(client.release(&id, digest), Err(Error::Refused { .. })));
}

#[test]
fn racing_runners_get_one_release() {
    let dir = tempfile::tempdir().unwrap();
    let _server = server(dir.path());
    let client = connect(dir.path());
    let id = client.hold(&plan(), LONG).unwrap();
    client.decide(&id, plan().digest(), Decision::Approve, "dana").unwrap();
    let released: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| usize::from(connect(dir.path()).release(&id, plan().digest()).is_ok())))
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(released, 1);
}

#[test]
fn each_end_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let _server = server(dir.path());
    let client = connect(dir.path());
    let hold = |ttl| client.hold(&plan(), ttl).unwrap();
    let denied = hold(LONG);
    client.decide(&denied, plan().digest(), deny("not on a Friday"), "dana").unwrap();
    let state = State::Denied { by: "dana".into(), reason: "not on a Friday".into() };
    assert_eq!(client.wait(&denied, LONG).unwrap().state, state);
    let cancelled = hold(LONG);
    client.cancel(&cancelled, "Ctrl-C").unwrap();
    assert_eq!(client.wait(&cancelled, LONG).unwrap().state, State::Cancelled { why: "Ctrl-C".into() });
    let expired = hold(Duration::from_secs(1));
    assert_eq!(client.wait(&expired, LONG).unwrap().state, State::Expired);
    let refused = client.decide(&expired, plan().digest(), Decision::Approve, "dana");
    assert!(matches!(refused, Err(Error::Refused { state, .. }) if *state == State::Expired));
    let nobody: HoldId = "0123456789abcdef".parse().unwrap();
    assert!(matches!(client.wait(&nobody, LONG), Err(Error::NoSuchHold { .. })));
}

#[test]
fn the_first_decision_stands_and_the_second_learns_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = connect(dir.path());
    let id = client.hold(&plan(), LONG).unwrap();
    let digest = plan().digest();
    assert!(matches!(client.decide(&id, Digest::of(b"other"), Decision::Approve, "a"), Err(Error::Changed { .. })));
    client.decide(&id, digest, deny("no"), "terminal").unwrap();
    let again: Hold = client.decide(&id, digest, deny("no"), "terminal").unwrap();
    assert_eq!(again.state.name(), "denied", "the same vote again is no error");
    let other = client.decide(&id, digest, Decision::Approve, "terminal").unwrap_err();
    assert!(
        matches!(&other, Error::Refused { state, .. } if matches!(&**state, State::Denied { by, .. } if by == "terminal"))
    );
    // The same over the browser's listener: 409, with who and what.
    let browser = Browser::pair(&server);
    let answer = browser.decide(id.as_str(), &digest.to_string(), "approve", "").send(&browser.address);
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["state"]["by"], "terminal");
    let page = browser.decide(id.as_str(), &digest.to_string(), "approve", "").with("Accept", Some("text/html"));
    let page = page.send(&browser.address);
    assert_eq!(page.status, 409);
    assert!(page.body.contains("Denied by terminal"), "{}", page.body);
}

#[test]
fn a_browser_repeats_its_own_vote_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = connect(dir.path());
    let id = client.hold(&plan(), LONG).unwrap();
    let browser = Browser::pair(&server);
    for _ in 0..2 {
        let vote = browser.decide(id.as_str(), &plan().digest().to_string(), "approve", "");
        assert_eq!(vote.send(&browser.address).status, 200);
    }
    assert_eq!(client.list(false).unwrap().len(), 1);
}

#[test]
fn what_nobody_can_review_is_refused_by_client_and_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = connect(dir.path());
    let mut large = plan();
    large.argv.push(vec![b'x'; MAX_ARGV].into());
    assert!(matches!(client.hold(&large, LONG), Err(Error::TooLarge { .. })));
    // The largest that is allowed, of bytes that grow most when encoded, arrives whole.
    let mut largest = plan();
    largest.argv = vec!["sh".into(), vec![0xff; MAX_ARGV - 10].into()];
    let id = client.hold(&largest, LONG).unwrap();
    let held = client.get(&id).unwrap();
    assert_eq!((held.digest, held.plan), (largest.digest(), largest.clone()));
    // And is not approved by someone who has not opened the folded middle.
    let browser = Browser::pair(&server);
    let vote = browser.decide(id.as_str(), &largest.digest().to_string(), "approve", "");
    assert_eq!(vote.clone().send(&browser.address).status, 422);
    let read = vote.body.clone() + "&read=all";
    assert_eq!(vote.body(read).send(&browser.address).status, 200);
}

#[test]
fn a_pending_hold_survives_a_restart_and_its_runner_goes_on_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let first = server(dir.path());
    let client = connect(dir.path());
    let id = client.hold(&plan(), LONG).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.wait(&id, LONG).unwrap());
        first.stop();
        assert!(Client::connect(&dir.path().join("state")).unwrap().is_none());
        let _second = server(dir.path());
        let operator = connect(dir.path());
        assert_eq!(operator.list(false).unwrap()[0].state, State::Pending);
        operator.decide(&id, plan().digest(), Decision::Approve, "dana").unwrap();
        assert_eq!(waiting.join().unwrap().state.name(), "approved");
        client.release(&id, plan().digest()).unwrap();
    });
}

#[test]
fn without_a_server_waiting_ends_at_the_deadline_and_never_as_an_approval() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = connect(dir.path());
    let id = client.hold(&plan(), LONG).unwrap();
    server.stop();
    let error = client.wait(&id, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::ServerAway { .. }), "{error}");
}

/// Serves until it is killed.
#[test]
fn serve_as_a_child() {
    let Some(dir) = std::env::var_os("HOLDPOINT_TEST_SERVE") else { return };
    let server = server(Path::new(&dir));
    println!("@@ {}", server.url());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_server_leaves_a_stale_socket_and_whole_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = child("server::serve_as_a_child", "HOLDPOINT_TEST_SERVE", dir.path());
    marked_lines(&mut killed).next().unwrap();
    let client = connect(dir.path());
    let (waits, runs) = (client.hold(&plan(), LONG).unwrap(), client.hold(&plan(), LONG).unwrap());
    client.decide(&runs, plan().digest(), Decision::Approve, "dana").unwrap();
    client.release(&runs, plan().digest()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.wait(&waits, LONG).unwrap());
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(dir.path().join("state/server.sock").exists());
        assert!(Client::connect(&dir.path().join("state")).unwrap().is_none(), "a stale socket is no server");
        let _server = server(dir.path());
        let operator = connect(dir.path());
        // Its runner (this process) lives: it is still running, and not for a second time.
        assert_eq!(operator.get(&runs).unwrap().state.name(), "released");
        assert!(matches!(operator.release(&runs, plan().digest()), Err(Error::Refused { .. })));
        client.finish(&runs, Outcome::Exited(0)).unwrap();
        operator.decide(&waits, plan().digest(), deny("later"), "dana").unwrap();
        assert_eq!(waiting.join().unwrap().state.name(), "denied");
    });
}

/// Holds one plan, has another released, and says so; then waits to be killed.
#[test]
fn run_as_a_child() {
    let Some(dir) = std::env::var_os("HOLDPOINT_TEST_RUN") else { return };
    let client = connect(Path::new(&dir));
    let (waits, runs) = (client.hold(&plan(), LONG).unwrap(), client.hold(&plan(), LONG).unwrap());
    client.decide(&runs, plan().digest(), Decision::Approve, "dana").unwrap();
    client.release(&runs, plan().digest()).unwrap();
    println!("@@ {waits} {runs}");
    client.wait(&waits, LONG).unwrap();
}

#[test]
fn a_killed_runner_cancels_what_waits_and_what_ran_is_unknown() {
    for restart in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Some(server(dir.path()));
        let mut runner = child("server::run_as_a_child", "HOLDPOINT_TEST_RUN", dir.path());
        let line = marked_lines(&mut runner).next().unwrap();
        let (waits, runs) = line.split_once(' ').unwrap();
        let (waits, runs): (HoldId, HoldId) = (waits.parse().unwrap(), runs.parse().unwrap());
        if restart {
            drop(server.take());
        }
        runner.kill().unwrap();
        runner.wait().unwrap();
        if restart {
            server = Some(crate::fixture::server(dir.path()));
        }
        let client = connect(dir.path());
        let ended = client.wait(&waits, LONG).unwrap();
        assert_eq!(ended.state.name(), "cancelled");
        let looks = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(20));
            client.get(&runs).unwrap()
        });
        let ran = looks.take(1000).find(|hold| hold.state.is_closed()).expect("it stayed released");
        assert_eq!(ran.state, State::Unknown { by: "dana".into() });
        assert!(matches!(client.release(&runs, plan().digest()), Err(Error::Refused { .. })), "run again");
        drop(server);
    }
}

#[test]
fn two_servers_cannot_share_a_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = server(dir.path());
    let second = Server::start(ServerConfig::new(dir.path().join("state"))).unwrap_err();
    assert!(matches!(second, Error::AlreadyRunning { .. }), "{second}");
    assert!(second.to_string().contains("already runs"));
    connect(dir.path());
    first.stop();
    server(dir.path()).stop();
}

#[test]
fn the_state_directory_and_the_socket_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let _server = server(dir.path());
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&state), 0o700);
    for file in ["server.sock", "holds.sqlite", "server.lock"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}

#[test]
fn what_cannot_be_served_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let said = |config: ServerConfig| Server::start(config).unwrap_err().to_string();
    let mut public = ServerConfig::new(dir.path().join("a"));
    public.listen = "0.0.0.0:0".parse().unwrap();
    assert!(said(public).contains("not a loopback address"));

    assert!(said(ServerConfig::new("/proc/holdpoint".into())).contains("cannot be created"));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(said(ServerConfig::new(dir.path().join("file"))).contains("cannot be created"));
    std::fs::create_dir_all(dir.path().join("b/holds.sqlite")).unwrap();
    assert!(said(ServerConfig::new(dir.path().join("b"))).contains("not a regular file"));
    std::fs::create_dir_all(dir.path().join("c/server.sock")).unwrap();
    assert!(said(ServerConfig::new(dir.path().join("c"))).contains("something else is there"));
    let long = dir.path().join("d".repeat(120));
    assert!(said(ServerConfig::new(long)).contains("shorter path"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ServerConfig::new(dir.path().join("e"));
    config.listen = taken.local_addr().unwrap();
    assert!(said(config).contains("cannot listen"));
}

#[test]
fn a_client_tells_no_server_from_a_foreign_one() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("server.sock");
    assert!(Client::connect(dir.path()).unwrap().is_none());
    assert!(Client::connect(&dir.path().join("missing")).unwrap().is_none());

    let foreign = || Client::connect(dir.path()).unwrap_err();
    std::fs::write(&socket, "").unwrap();
    assert!(matches!(foreign(), Error::Foreign { .. }));
    std::fs::remove_file(&socket).unwrap();

    let listener = UnixListener::bind(&socket).unwrap();
    for reply in ["", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "SSH-2.0-OpenSSH_9.2\r\n"] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::io::{Read as _, Write as _};
                loop {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut asked = [0; 4096];
                    let len = stream.read(&mut asked).unwrap();
                    if asked[..len].starts_with(b"end") {
                        return;
                    }
                    stream.write_all(reply.as_bytes()).unwrap();
                }
            });
            let error = foreign();
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
            std::io::Write::write_all(&mut UnixStream::connect(&socket).unwrap(), b"end").unwrap();
        });
    }
    drop(listener);
    assert!(Client::connect(dir.path()).unwrap().is_none(), "nobody listens any more");
}

/// Tries to reach the server and says how that went.
#[test]
fn connect_as_a_child() {
    let Some(dir) = std::env::var_os("HOLDPOINT_TEST_CONNECT") else { return };
    match Client::connect(&Path::new(&dir).join("state")) {
        Ok(client) => println!("@@ connected {}", client.is_some()),
        Err(error) => println!("@@ refused {error}"),
    }
}

#[test]
fn a_process_of_another_user_namespace_is_turned_away_though_its_user_number_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let _server = server(dir.path());
    let said = |under: &[&str]| {
        let mut child = child_under(under, "server::connect_as_a_child", "HOLDPOINT_TEST_CONNECT", dir.path());
        let said: Vec<String> = marked_lines(&mut child).collect();
        child.wait().unwrap();
        said.concat()
    };
    assert_eq!(said(&[]), "connected true");
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped: this system does not let this user make user namespaces");
        return;
    }
    let inside = said(&["unshare", "--user", "--map-root-user"]);
    assert!(inside.starts_with("refused"), "{inside}");
}

#[test]
fn a_slow_or_silent_browser_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let browser = Browser::pair(&server);
    let _silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&browser.address).unwrap()).collect();
    assert_eq!(browser.get("").send(&browser.address).status, 200);
}
