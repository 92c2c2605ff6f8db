//! The state machine: no path releases twice, none without approval, and closed stays closed.

use holdpoint_approval_web::state::{Event, Outcome, Refused, State, apply};
use proptest::prelude::*;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let by = prop_oneof![Just("dana".to_owned()), Just("eve".to_owned())];
    let event = prop_oneof![
        3 => by.clone().prop_map(|by| Event::Approve { by }),
        1 => by.prop_map(|by| Event::Deny { by, reason: "no".into() }),
        1 => Just(Event::Expire),
        1 => Just(Event::Cancel { why: "gone".into() }),
        3 => Just(Event::Release),
        2 => any::<i32>().prop_map(|code| Event::Finish { outcome: Outcome::Exited(code) }),
        1 => Just(Event::Lose),
    ];
    prop::collection::vec(event, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_path_releases_twice_or_without_approval(events in events()) {
        let mut state = State::Pending;
        let mut past = vec![state.clone()];
        let (mut approvals, mut releases) = (0, 0);
        for event in events {
            match apply(&state, &event) {
                Ok(next) => {
                    prop_assert!(!state.is_closed(), "{state:?} was closed, and {event:?} changed it");
                    prop_assert_ne!(&next, &state);
                    approvals += i32::from(matches!(next, State::Approved { .. }));
                    if matches!(next, State::Released { .. }) {
                        let approved = matches!(state, State::Approved { .. });
                        prop_assert!(approved, "released from {:?}", state);
                        releases += 1;
                    }
                    state = next;
                    past.push(state.clone());
                }
                Err(refused) => prop_assert_eq!(refused, Refused { state: state.name(), event: event.name() }),
            }
        }
        prop_assert!(approvals <= 1 && releases <= approvals, "{past:?}");
        let ran = past.iter().any(|s| matches!(s, State::Released { .. } | State::Finished { .. } | State::Unknown { .. }));
        let refused = past.iter().any(|s| matches!(s, State::Denied { .. } | State::Expired | State::Cancelled { .. }));
        prop_assert!(!(ran && refused), "{past:?}");
    }

    #[test]
    fn a_state_comes_back_from_json(events in events()) {
        let mut state = State::Pending;
        for event in events {
            let again: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            prop_assert_eq!(&again, &event);
            state = apply(&state, &event).unwrap_or(state);
            let again: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            prop_assert_eq!(&again, &state);
        }
    }
}

#[test]
fn every_arrow_of_the_picture_is_possible() {
    let by = || "dana".to_owned();
    let path = |events: &[Event]| {
        events.iter().try_fold(State::Pending, |state, event| apply(&state, event)).map(|state| state.name())
    };
    let approve = || Event::Approve { by: by() };
    let finish = || Event::Finish { outcome: Outcome::Signalled(9) };
    let cancel = || Event::Cancel { why: String::new() };
    assert_eq!(path(&[approve(), Event::Release, finish()]), Ok("finished"));
    assert_eq!(path(&[approve(), Event::Release, Event::Lose]), Ok("unknown"));
    assert_eq!(path(&[approve(), Event::Expire]), Ok("expired"));
    assert_eq!(path(&[approve(), cancel()]), Ok("cancelled"));
    assert_eq!(path(&[Event::Deny { by: by(), reason: "r".into() }]), Ok("denied"));
    assert_eq!(path(&[Event::Expire]), Ok("expired"));
    assert_eq!(path(&[cancel()]), Ok("cancelled"));
}
