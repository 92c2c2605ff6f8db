//! The store: killed at any moment it loses nothing it promised, and no release happens twice.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdpoint_approval_web::Error;
use holdpoint_approval_web::hold::{Hold, HoldId, UnixMs};
use holdpoint_approval_web::state::{Event, Outcome, State, apply};
use holdpoint_approval_web::store::sqlite::Sqlite;
use holdpoint_approval_web::store::{Change, NewHold, Store};
use proptest::prelude::*;

use crate::fixture::{child, marked_lines, plan};

const MINUTE: Duration = Duration::from_secs(60);

fn open(dir: &Path) -> Sqlite {
    Sqlite::open(&dir.join("holds.sqlite")).unwrap()
}

fn create(store: &dyn Store) -> Hold {
    let now = UnixMs::now();
    let new = NewHold { id: HoldId::new().unwrap(), plan: plan(), expires_at: now.after(MINUTE), runner: None };
    store.create(&new, now).unwrap().hold
}

fn approve(hold: &Hold) -> Change {
    Change::new(hold.id.clone(), Event::Approve { by: "dana".into() }).of_plan(hold.digest)
}

fn release(hold: &Hold, ticket: &str) -> Change {
    let mut change = Change::new(hold.id.clone(), Event::Release).of_plan(hold.digest);
    change.ticket = Some(ticket.into());
    change
}

#[test]
fn two_hundred_racing_releases_give_exactly_one() {
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<Sqlite> = (0..4).map(|_| open(dir.path())).collect();
    for _ in 0..5 {
        let hold = create(&stores[0]);
        stores[0].change(&approve(&hold), UnixMs::now()).unwrap();
        let released = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for at in 0..200 {
                let (store, hold, released) = (&stores[at % stores.len()], &hold, &released);
                scope.spawn(move || match store.change(&release(hold, &format!("runner {at}")), UnixMs::now()) {
                    Ok(written) => {
                        assert!(written.fresh);
                        released.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(Error::Refused { state, .. }) => assert!(matches!(*state, State::Released { .. })),
                    Err(error) => panic!("{error}"),
                });
            }
        });
        assert_eq!(released.into_inner(), 1);
    }
}

#[test]
fn the_first_of_many_decisions_stands() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hold = create(&store);
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for at in 0..64 {
            let (store, hold, won) = (&store, &hold, &won);
            scope.spawn(move || {
                let by = format!("person {at}");
                let event = if at % 2 == 0 { Event::Approve { by } } else { Event::Deny { by, reason: "no".into() } };
                if store.change(&Change::new(hold.id.clone(), event).of_plan(hold.digest), UnixMs::now()).is_ok() {
                    won.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 1);
}

#[test]
fn the_same_ticket_repeats_a_release_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hold = create(&store);
    store.change(&approve(&hold), UnixMs::now()).unwrap();
    assert!(store.change(&release(&hold, "mine"), UnixMs::now()).unwrap().fresh);
    assert!(!store.change(&release(&hold, "mine"), UnixMs::now()).unwrap().fresh);
    assert!(matches!(store.change(&release(&hold, "yours"), UnixMs::now()), Err(Error::Refused { .. })));
    let mut without = release(&hold, "");
    without.ticket = None;
    assert!(matches!(store.change(&without, UnixMs::now()), Err(Error::Refused { .. })));
}

#[test]
fn a_decision_about_another_plan_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hold = create(&store);
    let other = holdpoint_approval_web::plan::Digest::of(b"other");
    for change in [approve(&hold).of_plan(other), release(&hold, "t").of_plan(other)] {
        assert!(matches!(store.change(&change, UnixMs::now()), Err(Error::Changed { .. })));
    }
    assert_eq!(store.get(&hold.id).unwrap().state, State::Pending);
}

#[test]
fn the_clock_decides_even_before_the_sweep_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hold = create(&store);
    let late = hold.expires_at;
    assert!(
        matches!(store.change(&approve(&hold), late), Err(Error::Refused { state, .. }) if *state == State::Expired)
    );
    assert_eq!(store.get(&hold.id).unwrap().state, State::Expired);
    // An approval that was not used in time is worth nothing either.
    let hold = create(&store);
    let approved = store.change(&approve(&hold), UnixMs::now()).unwrap().hold;
    let late = approved.expires_at;
    assert!(matches!(store.change(&release(&hold, "t"), late), Err(Error::Refused { .. })));
    assert_eq!(store.get(&hold.id).unwrap().state, State::Expired);
}

#[test]
fn a_store_that_is_none_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let said = |path: &Path| Sqlite::open(path).unwrap_err().to_string();

    let directory = dir.path().join("directory");
    fs::create_dir(&directory).unwrap();
    assert!(said(&directory).contains("not a regular file"), "{}", said(&directory));

    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    assert!(said(&link).contains("not a regular file"), "{}", said(&link));

    let noise = dir.path().join("noise");
    fs::write(&noise, [b'x'; 8192]).unwrap();
    assert!(said(&noise).contains("damaged"), "{}", said(&noise));

    let foreign = dir.path().join("foreign");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(connection);
    assert!(said(&foreign).contains("something else"), "{}", said(&foreign));

    // Not even root may create files here.
    let nowhere = Path::new("/proc/holds.sqlite");
    assert!(said(nowhere).contains("writable"), "{}", said(nowhere));
}

#[test]
fn a_damaged_page_and_a_newer_schema_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holds.sqlite");
    let store = open(dir.path());
    for _ in 0..50 {
        create(&store);
    }
    drop(store);
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    let end = damaged.len();
    damaged[4096..end].chunks_mut(4096).for_each(|page| page[..64].fill(0xa5));
    fs::write(&path, damaged).unwrap();
    let error = Sqlite::open(&path).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");

    fs::write(&path, sound).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Sqlite::open(&path).unwrap_err().to_string();
    assert!(error.contains("schema version 99"), "{error}");
}

#[test]
fn a_change_that_finds_no_room_is_an_error_and_changes_nothing() {
    // The child has a limit on file size, which is what a full disk looks like to a program.
    if let Some(dir) = std::env::var_os("HOLDPOINT_TEST_FULL") {
        let store = open(Path::new(&dir));
        let hold = store.list(0).unwrap().remove(0);
        let mut last = None;
        for _ in 0..2000 {
            let mut large = plan();
            large.sandbox = vec!["x".repeat(4000); 20];
            let now = UnixMs::now();
            let new = NewHold { id: HoldId::new().unwrap(), plan: large, expires_at: now.after(MINUTE), runner: None };
            if let Err(error) = store.create(&new, now) {
                last = Some((error, new.id));
                break;
            }
        }
        let (error, id) = last.expect("the limit was never reached");
        assert!(matches!(error, Error::Store { .. }), "{error}");
        assert!(matches!(store.get(&id), Err(Error::NoSuchHold { .. })), "a hold that was refused is there");
        assert_eq!(store.get(&hold.id).unwrap().state, State::Pending);
        println!("@@ {error}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    create(&open(dir.path()));
    let limit = ["sh", "-c", "trap '' XFSZ; ulimit -f 2000; exec \"$@\"", "sh"];
    let test = "store::a_change_that_finds_no_room_is_an_error_and_changes_nothing";
    let mut child = crate::fixture::child_under(&limit, test, "HOLDPOINT_TEST_FULL", dir.path());
    let said: Vec<String> = marked_lines(&mut child).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    assert!(said.len() == 1 && said[0].contains("cannot create a hold"), "{said:?}");
    // With room again it goes on.
    create(&open(dir.path()));
}

/// Makes changes as fast as it can and says each one when it is durable.
fn make_changes(dir: &Path) {
    let store = open(dir);
    let say = |what: &str, hold: &Hold| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "@@ {what} {}", hold.id).unwrap();
        out.flush().unwrap();
    };
    loop {
        let hold = create(&store);
        say("pending", &hold);
        store.change(&approve(&hold), UnixMs::now()).unwrap();
        say("approved", &hold);
        store.change(&release(&hold, "child"), UnixMs::now()).unwrap();
        say("released", &hold);
        let outcome = Outcome::Exited(0);
        store.change(&Change::new(hold.id.clone(), Event::Finish { outcome }), UnixMs::now()).unwrap();
        say("finished", &hold);
    }
}

#[test]
fn killed_at_any_moment_it_keeps_every_promise() {
    if let Some(dir) = std::env::var_os("HOLDPOINT_TEST_CRASH") {
        return make_changes(Path::new(&dir));
    }
    let rank = |state: &str| ["pending", "approved", "released", "finished"].iter().position(|s| *s == state).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for round in 0..25 {
        let mut child = child("store::killed_at_any_moment_it_keeps_every_promise", "HOLDPOINT_TEST_CRASH", dir.path());
        let mut said = Vec::new();
        let mut lines = marked_lines(&mut child);
        // A different moment each time: right after a line, and while the next change is under way.
        for line in lines.by_ref().take(1 + round * 7 % 41) {
            said.push(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);

        let store = open(dir.path());
        for promise in &said {
            let (state, id) = promise.split_once(' ').unwrap();
            let hold = store.get(&id.parse().unwrap()).unwrap();
            assert!(rank(hold.state.name()) >= rank(state), "{promise}, but it is {}", hold.state.name());
            kept += 1;
        }
        for hold in store.list(1000).unwrap() {
            match hold.state {
                State::Approved { .. } => {
                    assert!(store.change(&release(&hold, "after"), UnixMs::now()).unwrap().fresh);
                    let again = store.change(&release(&hold, "again"), UnixMs::now());
                    assert!(matches!(again, Err(Error::Refused { .. })));
                }
                State::Pending => {
                    let early = store.change(&release(&hold, "after"), UnixMs::now());
                    assert!(matches!(early, Err(Error::Refused { .. })), "released without approval");
                }
                _ => {
                    let again = store.change(&release(&hold, "after"), UnixMs::now());
                    // Released by us in an earlier round: the same ticket repeats it, and nothing is written.
                    assert!(again.is_err() || !again.unwrap().fresh, "released twice");
                }
            }
        }
        let events = store.events_after(0, usize::MAX).unwrap();
        assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        for hold in store.list(1000).unwrap() {
            let last = events.iter().rfind(|event| event.id == hold.id).unwrap();
            assert_eq!((last.seq, &last.state), (hold.seq, &hold.state), "the log and the hold disagree");
            let released = events.iter().filter(|e| e.id == hold.id && matches!(e.state, State::Released { .. }));
            assert!(released.count() <= 1);
        }
    }
    assert!(kept > 100, "the child hardly ran: {kept}");
}

#[test]
fn events_cannot_be_changed_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    create(&open(dir.path()));
    let connection = rusqlite::Connection::open(dir.path().join("holds.sqlite")).unwrap();
    for sql in ["UPDATE events SET event = 'x'", "DELETE FROM events"] {
        let error = connection.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_store_follows_the_machine(steps in prop::collection::vec((0usize..3, 0usize..7), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let holds: Vec<Hold> = (0..3).map(|_| create(&store)).collect();
        let mut model = vec![State::Pending; 3];
        for (step, (at, which)) in steps.into_iter().enumerate() {
            // Each differs from every earlier one, so that none is a harmless repetition.
            let event = match which {
                0 => Event::Approve { by: format!("person {step}") },
                1 => Event::Deny { by: format!("person {step}"), reason: String::new() },
                2 => Event::Release,
                3 => Event::Finish { outcome: Outcome::Exited(step as i32) },
                4 => Event::Lose,
                5 => Event::Expire,
                _ => Event::Cancel { why: format!("step {step}") },
            };
            let mut change = Change::new(holds[at].id.clone(), event.clone());
            change.ticket = Some(format!("ticket {step}"));
            let done = store.change(&change, UnixMs::now());
            match apply(&model[at], &event) {
                Ok(next) => {
                    prop_assert_eq!(&done.unwrap().hold.state, &next);
                    model[at] = next;
                }
                // Cancelling and expiring what is cancelled and expired already is no error, and no change.
                Err(_) => prop_assert!(done.map_or(true, |written| !written.fresh)),
            }
            prop_assert_eq!(&store.get(&holds[at].id).unwrap().state, &model[at]);
        }
    }
}
