//! The live stream: numbered, resumable, and honest when it cannot resume.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use holdpoint_approval_web::client::{Client, Decision};

use crate::fixture::{Browser, Request, plan, server};

/// One event: its number, kind and data.
type Event = (Option<i64>, String, serde_json::Value);

/// Reads events of a stream as they come.
fn stream(browser: &Browser, target: &str, last: Option<&str>) -> impl Iterator<Item = Event> + use<> {
    let request: Request = browser.get(target).with("Last-Event-ID", last);
    let lines = BufReader::new(request.open(&browser.address)).lines().map_while(Result::ok);
    let mut lines = lines.skip_while(|line| !line.is_empty()).skip(1);
    std::iter::from_fn(move || {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let line = lines.next()?;
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.parse().ok();
            } else if let Some(value) = line.strip_prefix("event: ") {
                kind = value.into();
            } else if let Some(value) = line.strip_prefix("data: ") {
                return Some((id, kind, serde_json::from_str(value).unwrap()));
            }
        }
    })
    .scan(0, |ticks, event| {
        *ticks = if event.1 == "tick" { *ticks + 1 } else { 0 };
        assert!(*ticks < 5, "nothing comes");
        Some(event)
    })
    .filter(|(_, kind, _)| kind != "tick")
}

#[test]
fn a_stream_resumes_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = Client::connect(&dir.path().join("state")).unwrap().unwrap();
    let browser = Browser::pair(&server);
    let hold = || client.hold(&plan(), Duration::from_secs(60)).unwrap();

    let before = hold();
    let mut live = stream(&browser, "events", None);
    let (_, kind, hello) = live.next().unwrap();
    assert_eq!((kind.as_str(), &hello["seq"]), ("hello", &1.into()));
    let seen = hold();
    let (id, kind, data) = live.next().unwrap();
    assert_eq!(
        (kind.as_str(), data["id"].as_str(), data["state"].as_str()),
        ("hold", Some(seen.as_str()), Some("pending"))
    );
    drop(live);

    let missed = hold();
    client.decide(&before, plan().digest(), Decision::Deny { reason: "no".into() }, "dana").unwrap();
    let after = id.unwrap().to_string();
    let told = |(_, kind, data): Event| (kind, data["id"].as_str().unwrap_or("").to_owned(), data["state"].clone());
    for (target, last) in [("events".to_owned(), Some(after.as_str())), (format!("events?after={after}"), None)] {
        let mut resumed = stream(&browser, &target, last);
        assert_eq!(resumed.next().unwrap().1, "hello");
        assert_eq!(told(resumed.next().unwrap()), ("hold".into(), missed.to_string(), "pending".into()));
        assert_eq!(told(resumed.next().unwrap()), ("hold".into(), before.to_string(), "denied".into()));
    }
    // It goes on live, without repeating or losing anything.
    let mut resumed = stream(&browser, "events", Some(&after)).skip(3);
    let new = hold();
    client.cancel(&new, "done").unwrap();
    assert_eq!(told(resumed.next().unwrap()), ("hold".into(), new.to_string(), "pending".into()));
    assert_eq!(told(resumed.next().unwrap()), ("hold".into(), new.to_string(), "cancelled".into()));
}

#[test]
fn a_number_of_another_store_or_too_long_ago_asks_for_a_fresh_look() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = Client::connect(&dir.path().join("state")).unwrap().unwrap();
    let browser = Browser::pair(&server);
    let mut ahead = stream(&browser, "events", Some("999999"));
    assert_eq!(ahead.next().unwrap().1, "hello");
    assert_eq!(ahead.next().unwrap().1, "resync");
    for _ in 0..501 {
        let id = client.hold(&plan(), Duration::from_secs(60)).unwrap();
        client.cancel(&id, "").unwrap();
    }
    let mut old = stream(&browser, "events", Some("0"));
    assert_eq!(old.next().unwrap().1, "hello");
    let (id, kind, _) = old.next().unwrap();
    assert_eq!((id, kind.as_str()), (Some(1002), "resync"));
    let new = client.hold(&plan(), Duration::from_secs(60)).unwrap();
    assert_eq!(old.next().unwrap().2["id"].as_str(), Some(new.as_str()));
}

#[test]
fn streams_end_when_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let browser = Browser::pair(&server);
    let mut live = stream(&browser, "events", None);
    assert_eq!(live.next().unwrap().1, "hello");
    server.stop();
    assert!(live.next().is_none());
}
