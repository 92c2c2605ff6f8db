//! Hostile text in every field of a plan and of a decision: the page holds it as text only, and never raw.

use std::time::Duration;

use holdpoint_approval_web::client::{Client, Decision};
use holdpoint_approval_web::plan::{Bytes, Content, Digest, EnvRef, FileRef, Kind, Reason, Stdin};

use crate::fixture::{Browser, plan, server};

const CORPUS: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></textarea><svg/onload=alert(1)>",
    "<!-- --> ]]> <![CDATA[",
    "&lt;script&gt; &amp;amp; &#60;",
    "{{ csrf }} {% raw %} ${7*7}",
    "\u{202e}gpj.exe\u{202c} \u{2066}\u{2069}",
    "zero\u{200b}width\u{feff}\u{ad}joiner\u{200d}",
    "\u{1b}[2J\u{1b}]0;owned\u{7} \u{9b}31m \u{85}",
    "line\nfeed\r\ncarriage\ttab\0nul",
    "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}",
    "\u{e0041}\u{e007f}\u{fe0f}\u{2800}\u{3164}\u{3000}\u{a0}\u{2028}",
    "\\u{202e} \\n \\x1b \\\\",
];

/// What must not be in any page: characters that an encoder of ours would never let through.
fn raw(page: &str) -> Option<char> {
    page.chars().find(|c| {
        *c != '\n'
            && (c.is_control()
                || matches!(u32::from(*c), 0xa0 | 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800
                    | 0x3000 | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe0fff))
    })
}

#[test]
fn hostile_text_in_each_field_is_only_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = Client::connect(&dir.path().join("state")).unwrap().unwrap();
    let browser = Browser::pair(&server);
    let tags = |page: &str| page.matches('<').count();
    for (at, nasty) in CORPUS.iter().enumerate() {
        let fill = |text: &str| {
            let bytes = || Bytes::from(text);
            let file = || FileRef { path: bytes(), dev: 1, ino: 1, sha256: Digest::of(b""), len: 0 };
            let mut plan = plan();
            plan.kind = Kind::Edit;
            plan.argv = vec![bytes(), bytes()];
            plan.cwd = bytes();
            plan.executable = Some(file());
            plan.operands = vec![file()];
            plan.env = vec![EnvRef { name: bytes(), sha256: Digest::of(b"") }];
            plan.stdin = Stdin::Piped { content: Some(Content { len: 1, sha256: Digest::of(b""), head: bytes() }) };
            plan.profile = text.into();
            plan.policy_digest = text.into();
            plan.reasons = vec![Reason { rule: text.into(), origin: text.into(), text: text.into() }];
            plan.sandbox = vec![text.into()];
            plan.diff = Some(text.replace('\n', " ").as_str().into());
            plan.host = text.into();
            plan.user = text.into();
            plan
        };
        let page = |plan: &holdpoint_approval_web::plan::HoldPlan, decide: &str| {
            let id = client.hold(plan, Duration::from_secs(60)).unwrap();
            let card = browser.get(&format!("holds/{id}/card")).send(&browser.address);
            assert_eq!(card.status, 200);
            let deny = Decision::Deny { reason: decide.into() };
            client.decide(&id, plan.digest(), deny, decide).unwrap();
            let closed = browser.get(&format!("holds/{id}/card")).send(&browser.address);
            let index = browser.get("").send(&browser.address);
            [card.body, closed.body, index.body]
        };
        let pages = page(&fill(nasty), nasty);
        for body in &pages {
            assert_eq!(raw(body), None, "corpus {at}");
            for tag in ["<script>alert", "<img", "<svg/", "onerror=alert(1)>", "<textarea"] {
                assert!(!body.contains(tag), "corpus {at}: {tag}");
            }
        }
        // The same page for harmless text of the same shape has the same tags, but for the chips around escapes.
        let harmless = page(&fill("harmless"), "harmless");
        for (body, same) in pages.iter().zip(&harmless).take(2) {
            let chips = body.matches("<span class=\"esc").count();
            let padding = 2 * chips;
            assert_eq!(tags(body) - padding, tags(same), "corpus {at} changed the structure of the page");
        }
    }
}

#[test]
fn the_shell_form_and_the_arguments_keep_their_boundaries() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let client = Client::connect(&dir.path().join("state")).unwrap().unwrap();
    let browser = Browser::pair(&server);
    let mut tricky = plan();
    tricky.argv = vec!["echo".into(), "a b".into(), "".into(), "c; rm -rf /".into()];
    let id = client.hold(&tricky, Duration::from_secs(60)).unwrap();
    let page = browser.get(&format!("holds/{id}/card")).send(&browser.address).body;
    assert_eq!(page.matches("<li class=\"arg").count(), 4);
    assert!(page.contains("echo &#39;a b&#39; &#39;&#39; &#39;c; rm -rf /&#39;"), "{page}");
    assert!(page.contains(">empty<"));
}
