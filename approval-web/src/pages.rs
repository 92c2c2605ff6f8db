//! The pages: what of a hold is shown, and in which words. Every byte from outside passes through [`crate::text`] here;
//! the templates escape for HTML on top of that.

mod fold;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::hold::{Hold, UnixMs};
use crate::plan::{Bytes, FileRef, Kind, Stdin};
use crate::state::{Outcome, State};
use crate::text::{self, Segment};
pub(crate) use fold::is_folded;
use fold::{Arguments, Folded};

#[derive(Template)]
#[template(path = "index.html")]
struct Index<'a> {
    path: &'a str,
    now: i64,
    seq: i64,
    open: Vec<Card<'a>>,
    past: Vec<Past>,
}

#[derive(Template)]
#[template(path = "single.html")]
struct Single<'a> {
    card: Card<'a>,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
    command: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "pair.html")]
struct Pair<'a> {
    action: &'a str,
    secret: &'a str,
}

/// One hold as a card.
struct Card<'a> {
    path: &'a str,
    csrf: &'a str,
    id: String,
    digest: String,
    kind: &'static str,
    state: &'static str,
    label: &'static str,
    pending: bool,
    result: String,
    reason: Option<String>,
    expires_at: i64,
    expires: String,
    created: String,
    changed: String,
    folded: bool,
    arguments: Arguments,
    shell: String,
    cwd: Vec<Segment>,
    profile: String,
    user: String,
    host: String,
    reasons: Vec<Why>,
    sandbox: Vec<String>,
    stdin: Input,
    env: Vec<String>,
    executable: Option<FileLine>,
    operands: Vec<FileLine>,
    policy: String,
    diff: Option<Diff>,
}

struct Why {
    text: String,
    rule: String,
    origin: String,
}

struct FileLine {
    path: Vec<Segment>,
    sha256: String,
    len: u64,
}

/// Standard input, in words.
struct Input {
    text: String,
    warning: bool,
    head: Option<Vec<Segment>>,
}

struct Diff {
    added: usize,
    removed: usize,
    lines: Vec<DiffLine>,
}

struct DiffLine {
    class: &'static str,
    sign: &'static str,
    text: Vec<Segment>,
}

/// One closed hold in the list below.
struct Past {
    id: String,
    label: &'static str,
    state: &'static str,
    when: String,
    command: String,
    result: String,
    reason: Option<String>,
}

/// The page itself.
pub(crate) fn index(path: &str, csrf: &str, seq: i64, holds: &[Hold]) -> Response {
    let (past, open): (Vec<_>, Vec<_>) = holds.iter().partition(|hold| hold.state.is_closed());
    render(&Index {
        path,
        now: UnixMs::now().0,
        seq,
        open: open.into_iter().map(|hold| Card::of(path, csrf, hold)).collect(),
        past: past.into_iter().map(Past::of).collect(),
    })
}

/// A document that holds one card, for the page to take it from.
pub(crate) fn card(path: &str, csrf: &str, hold: &Hold) -> Response {
    render(&Single { card: Card::of(path, csrf, hold) })
}

/// A page that says one thing.
pub(crate) fn notice(title: &str, text: &str) -> Response {
    render(&Notice { title, text, command: None })
}

/// What a browser that is not connected sees.
pub(crate) fn unpaired() -> Response {
    let text = "Held commands are shown only to a browser that you have connected yourself. Run this in your own \
                terminal, outside the sandbox, and open the link it prints:";
    render(&Notice { title: "This browser is not connected", text, command: Some("holdpoint pair") })
}

/// What a used or outdated pairing link leads to.
pub(crate) fn spent() -> Response {
    let text = "A link connects one browser, once, within ten minutes. If this browser is connected already, open its \
                page instead. For a new link, run:";
    render(&Notice { title: "This link has been used, or is too old", text, command: Some("holdpoint pair") })
}

/// Asks whether this browser shall be connected; only the button spends the link.
pub(crate) fn pair(action: &str, secret: &str) -> Response {
    render(&Pair { action, secret })
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        // A template fails only when it cannot write to memory.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What became of a hold, in one sentence.
pub(crate) fn result_of(state: &State) -> String {
    let name = |by: &str| text::visible(by.as_bytes());
    match state {
        State::Pending => "It waits for a decision.".into(),
        State::Approved { by } => format!("Approved by {}; it starts now.", name(by)),
        State::Released { by } => format!("Approved by {}; it is running.", name(by)),
        State::Finished { by, outcome } => match outcome {
            Outcome::Exited(0) => format!("Approved by {}; it ended with exit code 0.", name(by)),
            Outcome::Exited(code) => format!("Approved by {}; it failed with exit code {code}.", name(by)),
            Outcome::Signalled(signal) => format!("Approved by {}; signal {signal} ended it.", name(by)),
            Outcome::NotStarted(why) => {
                format!("Approved by {}, but it did not start: {}.", name(by), text::visible(why.as_bytes()))
            }
        },
        State::Denied { by, .. } => format!("Denied by {}; nothing ran.", name(by)),
        State::Expired => "Nobody decided in time, or the approval was not used in time; nothing ran.".into(),
        State::Cancelled { why } => format!("Cancelled: {}; nothing ran.", text::visible(why.as_bytes())),
        State::Unknown { by } => format!(
            "Approved by {}; then its runner went away. It may or may not have run, and is never run again.",
            name(by)
        ),
    }
}

fn label_of(state: &State) -> &'static str {
    match state {
        State::Pending => "Held",
        State::Approved { .. } => "Approved",
        State::Released { .. } => "Running",
        State::Finished { outcome: Outcome::Exited(0), .. } => "Finished",
        State::Finished { .. } => "Failed",
        State::Denied { .. } => "Denied",
        State::Expired => "Expired",
        State::Cancelled { .. } => "Cancelled",
        State::Unknown { .. } => "Unknown",
    }
}

fn denial(state: &State) -> Option<String> {
    match state {
        State::Denied { reason, .. } if !reason.is_empty() => Some(text::visible(reason.as_bytes())),
        _ => None,
    }
}

impl<'a> Card<'a> {
    fn of(path: &'a str, csrf: &'a str, hold: &Hold) -> Self {
        let plan = &hold.plan;
        let lines = |texts: &[String]| texts.iter().map(|line| text::visible(line.as_bytes())).collect();
        Self {
            path,
            csrf,
            id: hold.id.to_string(),
            digest: hold.digest.to_string(),
            kind: match plan.kind {
                Kind::Run => "command",
                Kind::Edit => "file edit",
            },
            state: hold.state.name(),
            label: label_of(&hold.state),
            pending: hold.state == State::Pending,
            result: result_of(&hold.state),
            reason: denial(&hold.state),
            expires_at: hold.expires_at.0,
            expires: clock(hold.expires_at),
            created: clock(hold.created_at),
            changed: clock(hold.changed_at),
            folded: is_folded(plan),
            arguments: Arguments::of(plan),
            shell: text::command_line(&plan.argv),
            cwd: text::segments(plan.cwd.as_bytes()),
            profile: text::visible(plan.profile.as_bytes()),
            user: text::visible(plan.user.as_bytes()),
            host: text::visible(plan.host.as_bytes()),
            reasons: plan.reasons.iter().map(Why::of).collect(),
            sandbox: lines(&plan.sandbox),
            stdin: Input::of(&plan.stdin),
            env: plan.env.iter().map(|entry| entry.name.to_string()).collect(),
            executable: plan.executable.as_ref().map(FileLine::of),
            operands: plan.operands.iter().map(FileLine::of).collect(),
            policy: text::visible(plan.policy_digest.as_bytes()),
            diff: plan.diff.as_ref().map(Diff::of),
        }
    }
}

impl Why {
    fn of(reason: &crate::plan::Reason) -> Self {
        let visible = |text: &str| text::visible(text.as_bytes());
        Self { text: visible(&reason.text), rule: visible(&reason.rule), origin: visible(&reason.origin) }
    }
}

impl FileLine {
    fn of(file: &FileRef) -> Self {
        Self { path: text::segments(file.path.as_bytes()), sha256: file.sha256.to_string(), len: file.len }
    }
}

impl Input {
    fn of(stdin: &Stdin) -> Self {
        let plain = |text: &str| Self { text: text.into(), warning: false, head: None };
        match stdin {
            Stdin::Null => plain("Nothing: it is empty."),
            Stdin::Terminal => plain("The terminal of the person who started it."),
            Stdin::Piped { content: None } => Self {
                text: "It reads a stream whose content is not known yet and cannot be reviewed.".into(),
                warning: true,
                head: None,
            },
            Stdin::Piped { content: Some(content) } => Self {
                text: format!("{} bytes, SHA-256 {}. It begins:", content.len, content.sha256),
                warning: false,
                head: Some(text::segments(content.head.as_bytes())),
            },
        }
    }
}

impl Diff {
    fn of(diff: &Bytes) -> Self {
        let text = diff.as_bytes().strip_suffix(b"\n").unwrap_or(diff.as_bytes());
        let lines: Vec<DiffLine> = text.split(|byte| *byte == b'\n').map(DiffLine::of).collect();
        let count = |class: &str| lines.iter().filter(|line| line.class == class).count();
        Self { added: count("added"), removed: count("removed"), lines }
    }
}

impl DiffLine {
    fn of(line: &[u8]) -> Self {
        let (class, sign, rest) = match line {
            [b'+', b'+', b'+', b' ', ..] | [b'-', b'-', b'-', b' ', ..] => ("file", "", line),
            [b'@', b'@', ..] => ("hunk", "", line),
            [b'+', rest @ ..] => ("added", "+", rest),
            [b'-', rest @ ..] => ("removed", "-", rest),
            [b' ', rest @ ..] => ("same", " ", rest),
            _ => ("file", "", line),
        };
        Self { class, sign, text: text::segments(rest) }
    }
}

impl Past {
    fn of(hold: &Hold) -> Self {
        let line = text::command_line(&hold.plan.argv);
        let Folded { head, rest } = Folded::of(&line, 300);
        Self {
            id: hold.id.to_string(),
            label: label_of(&hold.state),
            state: hold.state.name(),
            when: clock(hold.changed_at),
            command: if rest > 0 { format!("{head} … and {rest} more characters") } else { head },
            result: result_of(&hold.state),
            reason: denial(&hold.state),
        }
    }
}

/// A time of day in the server's own zone.
fn clock(at: UnixMs) -> String {
    Timestamp::from_millisecond(at.0)
        .map(|at| at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default()
}
