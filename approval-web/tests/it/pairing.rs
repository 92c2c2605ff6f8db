//! Pairing: one link connects one browser, once; looking at it spends nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdpoint_approval_web::hold::UnixMs;
use holdpoint_approval_web::plan::Digest;
use holdpoint_approval_web::store::Store;
use holdpoint_approval_web::store::sqlite::Sqlite;

use crate::fixture::{Browser, Request, parts, server};

fn spend(link: &str) -> Request {
    let (address, target) = parts(link);
    Request::new("POST", target)
        .with("Host", Some(&address))
        .with("Origin", Some(&format!("http://{address}")))
        .with("Content-Type", Some("application/x-www-form-urlencoded"))
}

#[test]
fn a_link_is_spent_by_the_button_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let link = server.pairing_url().unwrap();
    let (address, target) = parts(&link);
    for _ in 0..5 {
        let look = Request::new("GET", &target).with("Host", Some(&address)).send(&address);
        assert_eq!(look.status, 200);
        assert_eq!(look.header("set-cookie"), None);
        assert!(look.body.contains("Connect this browser"));
    }
    let first = spend(&link).send(&address);
    assert_eq!(first.status, 303);
    let cookie = first.header("set-cookie").unwrap();
    let (_, path) = parts(server.url());
    for part in ["HttpOnly", "SameSite=Strict", &format!("Path={path}")] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(cookie.split(['=', ';']).nth(1).unwrap().len() == 64, "256 bits: {cookie}");
    let second = spend(&link).send(&address);
    assert_eq!((second.status, second.header("set-cookie")), (410, None));
    assert_eq!(Request::new("GET", &target).with("Host", Some(&address)).send(&address).status, 410);
}

#[test]
fn a_foreign_page_cannot_spend_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let link = server.pairing_url().unwrap();
    let (address, _) = parts(&link);
    for origin in [None, Some("null"), Some("http://evil.example")] {
        assert_eq!(spend(&link).with("Origin", origin).send(&address).status, 403);
    }
    assert_eq!(spend(&link).send(&address).status, 303);
}

#[test]
fn of_many_who_race_for_a_link_one_is_connected() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let link = server.pairing_url().unwrap();
    let (address, _) = parts(&link);
    let connected = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                if spend(&link).send(&address).status == 303 {
                    connected.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(connected.into_inner(), 1);
}

#[test]
fn a_link_and_a_session_end_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("db")).unwrap();
    let (secret, session) = (Digest::of(b"secret"), Digest::of(b"session"));
    let now = UnixMs::now();
    let later = now.after(Duration::from_secs(600));
    store.add_pairing(&secret, now, later).unwrap();
    assert!(!store.has_pairing(&secret, later).unwrap());
    assert!(!store.spend_pairing(&secret, &session, later, later.after(Duration::from_secs(1))).unwrap());
    assert!(store.has_pairing(&secret, now).unwrap());
    assert!(store.spend_pairing(&secret, &session, now, later).unwrap());
    assert!(store.has_session(&session, now).unwrap());
    assert!(!store.has_session(&session, later).unwrap());
}

#[test]
fn secrets_are_not_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let unspent = server.pairing_url().unwrap().rsplit('/').next().unwrap().to_owned();
    let browser = Browser::pair(&server);
    let session = browser.cookie.split('=').nth(1).unwrap().to_owned();
    for entry in std::fs::read_dir(dir.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in [&unspent, &session, &browser.csrf] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret stands in {}", path.display());
        }
    }
}

#[test]
fn a_browser_stays_connected_when_the_server_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = server(dir.path());
    let browser = Browser::pair(&first);
    first.stop();
    let second = server(dir.path());
    let (address, path) = parts(second.url());
    assert_eq!(path, browser.path, "the cookie is bound to it");
    let again = Browser { address: address.clone(), ..browser };
    assert_eq!(again.get("").with("Host", Some(&address)).send(&address).status, 200);
}
