//! The digest covers every field, no two plans share a form, and JSON loses no byte.

use holdpoint_approval_web::Error;
use holdpoint_approval_web::plan::{Bytes, Content, Digest, EnvRef, HoldPlan, Kind, MAX_ARGV, Reason, Stdin};
use proptest::prelude::*;

use crate::fixture::plan;

#[test]
fn changing_anything_changes_the_digest() {
    type Change = fn(&mut HoldPlan);
    let changes: Vec<(&str, Change)> = vec![
        ("kind", |p| p.kind = Kind::Edit),
        ("argv element", |p| p.argv[1] = "run.sh ".into()),
        ("argv order", |p| p.argv.swap(1, 2)),
        ("argv boundary", |p| p.argv = vec!["sh".into(), "run.shtwo words".into()]),
        ("argv end", |p| p.argv.push("".into())),
        ("cwd", |p| p.cwd = "/srv/app/".into()),
        ("cwd device", |p| p.cwd_id.dev = 9),
        ("cwd inode", |p| p.cwd_id.ino = 9),
        ("no executable", |p| p.executable = None),
        ("executable path", |p| p.executable.as_mut().unwrap().path = "/bin/sh".into()),
        ("executable device", |p| p.executable.as_mut().unwrap().dev = 9),
        ("executable inode", |p| p.executable.as_mut().unwrap().ino = 9),
        ("executable content", |p| p.executable.as_mut().unwrap().sha256 = Digest::of(b"y")),
        ("executable length", |p| p.executable.as_mut().unwrap().len = 9),
        ("executable moved to the operands", |p| {
            let file = p.executable.take().unwrap();
            p.operands.insert(0, file);
        }),
        ("operand content", |p| p.operands[0].sha256 = Digest::of(b"y")),
        ("no operands", |p| p.operands.clear()),
        ("variable name", |p| p.env[0].name = "LD_PRELOAD".into()),
        ("variable value", |p| p.env[0].sha256 = Digest::of(b"/tmp")),
        ("variable added", |p| p.env.push(EnvRef { name: "A".into(), sha256: Digest::of(b"") })),
        ("stdin terminal", |p| p.stdin = Stdin::Terminal),
        ("stdin stream", |p| p.stdin = Stdin::Piped { content: None }),
        ("stdin content", |p| {
            p.stdin = Stdin::Piped { content: Some(Content { len: 1, sha256: Digest::of(b"x"), head: "x".into() }) };
        }),
        ("profile", |p| p.profile = "other".into()),
        ("policy", |p| p.policy_digest = "e".into()),
        ("reason", |p| p.reasons[0].text = "other".into()),
        ("reason rule", |p| p.reasons[0].rule = "other".into()),
        ("reason origin", |p| p.reasons[0].origin = "other".into()),
        ("reason added", |p| p.reasons.push(Reason { rule: "".into(), origin: "".into(), text: "".into() })),
        ("sandbox", |p| p.sandbox[0] = "all of the network".into()),
        ("diff", |p| p.diff = Some("".into())),
        ("host", |p| p.host = "other".into()),
        ("user", |p| p.user = "root".into()),
    ];
    let mut seen = vec![("nothing", plan().digest())];
    for (what, change) in changes {
        let mut changed = plan();
        change(&mut changed);
        let digest = changed.digest();
        for (other, known) in &seen {
            assert_ne!(digest, *known, "changing {what} looks like {other}");
        }
        seen.push((what, digest));
        let again: HoldPlan = serde_json::from_str(&serde_json::to_string(&changed).unwrap()).unwrap();
        assert_eq!(again, changed, "{what}");
    }
}

#[test]
fn the_digest_does_not_change_between_versions() {
    // Recorded decisions name it. A new form needs a new domain name.
    assert_eq!(plan().digest().to_string(), "faced44b84c7c015a4dc8de32f899789612b9e18f57915719ee3a91f31040f93");
}

#[test]
fn a_plan_that_nobody_can_read_is_refused() {
    let mut large = plan();
    large.argv.push(vec![b'x'; MAX_ARGV].into());
    let error = large.check_size().unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "arguments", limit: MAX_ARGV, .. }), "{error}");
    assert!(error.to_string().contains("too large to review"), "{error}");
    let mut many = plan();
    many.env = vec![EnvRef { name: "A".into(), sha256: Digest::of(b"") }; 5000];
    assert!(matches!(many.check_size(), Err(Error::TooLarge { .. })));
    let mut reason = plan();
    reason.reasons[0].text = "x".repeat(1 << 20);
    assert!(matches!(reason.check_size(), Err(Error::TooLarge { .. })));
    plan().check_size().unwrap();
}

#[test]
fn unknown_fields_are_refused() {
    let mut json = serde_json::to_value(plan()).unwrap();
    json["approved"] = true.into();
    assert!(serde_json::from_value::<HoldPlan>(json).is_err());
}

proptest! {
    #[test]
    fn bytes_come_back_from_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(bytes);
        let json = serde_json::to_string(&bytes).unwrap();
        prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
    }

    #[test]
    fn other_arguments_are_another_digest(a in argv(), b in argv()) {
        let of = |argv: &[Vec<u8>]| {
            let mut plan = plan();
            plan.argv = argv.iter().map(|arg| arg.clone().into()).collect();
            plan.digest()
        };
        prop_assert_eq!(a == b, of(&a) == of(&b));
    }
}

fn argv() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0u8..3, 0..3), 0..4)
}
