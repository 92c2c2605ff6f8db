//! The routes of the loopback listener: the page, its live events, and decisions.
//!
//! Reading needs the session cookie. Deciding needs, besides, the session's token, which stands in the page's forms.
//! All of it stands behind [`super::guard`].

use std::sync::Arc;

use axum::extract::rejection::{FormRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::guard::{Own, guard};
use super::session::{self, Person};
use super::{App, events, serve};
use crate::api::{ListHolds, Problem, SessionInfo, Vote, Word, decision, problem};
use crate::error::Error;
use crate::hold::{Hold, HoldId};
use crate::pages;
use crate::plan::Digest;

/// Closed holds shown below the open ones.
const HISTORY: usize = 25;
/// A decision with a reason of the greatest length, every character escaped by the form.
const MAX_BODY: usize = 16 * 1024;
/// The header in which a program sends the session's token; a form has a field.
pub(crate) const CSRF_HEADER: &str = "x-holdpoint-csrf";

pub(crate) fn routes(app: Arc<App>, own: Own) -> Router {
    let page = Router::new()
        .route("/pair/{secret}", get(ask_to_pair).post(pair))
        .route("/holds/{id}/card", get(card))
        .route("/holds/{id}/decide", post(decide_by_form))
        .route("/events", get(live))
        .route("/api/session", get(session_info))
        .route("/api/holds", get(list))
        .route("/api/holds/{id}", get(one))
        .route("/api/holds/{id}/decide", post(decide_by_json));
    Router::new()
        .nest(app.path.trim_end_matches('/'), page)
        // A nested "/" would answer for the path without its last slash.
        .route(&app.path, get(index))
        .route("/", get(front))
        .route("/assets/page.css", get(|| asset("text/css; charset=utf-8", include_str!("../../assets/page.css"))))
        .route("/assets/page.js", get(|| asset("text/javascript; charset=utf-8", include_str!("../../assets/page.js"))))
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", include_str!("../../assets/icon.svg"))))
        .fallback(|| async { (StatusCode::NOT_FOUND, pages::notice("Nothing here", "There is no such page.")) })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST")], "method not allowed\n")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(serve::in_time))
        .layer(from_fn_with_state(Arc::new(own), guard))
        .with_state(app)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// The bare address. It does not know who asks: the cookie is bound to the page's own path.
async fn front() -> Response {
    (StatusCode::UNAUTHORIZED, pages::unpaired()).into_response()
}

async fn index(State(app): State<Arc<App>>, person: Person, headers: HeaderMap) -> Response {
    let read = |app: &App| Ok((app.holds.store().last_event()?, app.holds.store().list(HISTORY)?));
    match app.run(read).await {
        Ok((seq, holds)) => pages::index(&app.path, &person.csrf, seq, &holds),
        Err(error) => failure(&headers, &error),
    }
}

async fn card(State(app): State<Arc<App>>, person: Person, Path(id): Path<HoldId>, headers: HeaderMap) -> Response {
    match app.run(move |app| app.holds.store().get(&id)).await {
        Ok(hold) => pages::card(&app.path, &person.csrf, &hold),
        Err(error) => failure(&headers, &error),
    }
}

/// The number of the last event a page has seen: it stands in the page, and a reconnect sends it as a header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    after: Option<i64>,
}

async fn live(State(app): State<Arc<App>>, _person: Person, Query(seen): Query<Seen>, headers: HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    events::stream(app, last.or(seen.after))
}

async fn ask_to_pair(State(app): State<Arc<App>>, Path(secret): Path<String>, headers: HeaderMap) -> Response {
    let action = format!("{}pair/", app.path);
    let asked = secret.clone();
    match app.run(move |app| session::can_pair(app, &asked)).await {
        Ok(true) => pages::pair(&action, &secret),
        Ok(false) => (StatusCode::GONE, pages::spent()).into_response(),
        Err(error) => failure(&headers, &error),
    }
}

async fn pair(State(app): State<Arc<App>>, Path(secret): Path<String>, headers: HeaderMap) -> Response {
    match app.run(move |app| session::pair(app, &secret)).await {
        Ok(Some(new)) if wants_json(&headers) => {
            let info = SessionInfo { csrf: new.person.csrf, by: new.person.by };
            ([(SET_COOKIE, new.cookie)], Json(info)).into_response()
        }
        Ok(Some(new)) => {
            (StatusCode::SEE_OTHER, [(SET_COOKIE, new.cookie), (LOCATION, app.path.clone())]).into_response()
        }
        Ok(None) if wants_json(&headers) => {
            (StatusCode::GONE, Json(Problem::new("link-spent", "this link was used, or is too old"))).into_response()
        }
        Ok(None) => (StatusCode::GONE, pages::spent()).into_response(),
        Err(error) => failure(&headers, &error),
    }
}

/// The fields of the page's own forms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecideForm {
    csrf: String,
    digest: Digest,
    decision: Word,
    #[serde(default)]
    reason: String,
    /// Present when the plan is long and the person says that all of it was opened.
    #[serde(default)]
    read: Option<String>,
}

async fn decide_by_form(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<HoldId>,
    headers: HeaderMap,
    form: Result<Form<DecideForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return failure(&headers, &Error::Invalid { why: rejection.body_text() }),
    };
    if !person.sent(&form.csrf) {
        return forbidden(&headers);
    }
    let name = id.clone();
    let decided = app
        .run(move |app| {
            if form.decision == Word::Approve && form.read.is_none() {
                let hold = app.holds.store().get(&name)?;
                if pages::is_folded(&hold.plan) {
                    return Err(Error::Invalid {
                        why: "open every folded part, and say so, before you approve".into(),
                    });
                }
            }
            app.holds.decide(name, form.digest, decision(form.decision, form.reason), &person.by)
        })
        .await;
    match decided {
        Ok(hold) if wants_json(&headers) => Json(hold).into_response(),
        Ok(_) => (StatusCode::SEE_OTHER, [(LOCATION, format!("{}#hold-{id}", app.path))]).into_response(),
        Err(error) => failure(&headers, &error),
    }
}

async fn session_info(person: Person) -> Json<SessionInfo> {
    Json(SessionInfo { csrf: person.csrf, by: person.by })
}

async fn list(
    State(app): State<Arc<App>>,
    _person: Person,
    Query(query): Query<ListHolds>,
) -> Result<Json<Vec<Hold>>, Error> {
    app.run(move |app| app.holds.store().list(query.closed.min(1000))).await.map(Json)
}

async fn one(State(app): State<Arc<App>>, _person: Person, Path(id): Path<HoldId>) -> Result<Json<Hold>, Error> {
    app.run(move |app| app.holds.store().get(&id)).await.map(Json)
}

async fn decide_by_json(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<HoldId>,
    headers: HeaderMap,
    vote: Result<Json<Vote>, JsonRejection>,
) -> Response {
    let token = headers.get(CSRF_HEADER).and_then(|token| token.to_str().ok()).unwrap_or_default();
    if !person.sent(token) {
        return (StatusCode::FORBIDDEN, Json(csrf_problem())).into_response();
    }
    let vote = match vote {
        Ok(Json(vote)) => vote,
        Err(rejection) => return Error::Invalid { why: rejection.body_text() }.into_response(),
    };
    let decided =
        app.run(move |app| app.holds.decide(id, vote.digest, decision(vote.decision, vote.reason), &person.by)).await;
    match decided {
        Ok(hold) => Json(hold).into_response(),
        Err(error) => error.into_response(),
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"))
}

fn csrf_problem() -> Problem {
    Problem::new("csrf", "this request does not carry the token of its session; load the page again")
}

fn forbidden(headers: &HeaderMap) -> Response {
    let problem = csrf_problem();
    if wants_json(headers) {
        return (StatusCode::FORBIDDEN, Json(problem)).into_response();
    }
    (StatusCode::FORBIDDEN, pages::notice("Load the page again", &problem.error)).into_response()
}

/// The answer to a browser that is not connected.
pub(crate) fn unpaired(headers: &HeaderMap) -> Response {
    if wants_json(headers) {
        let problem = Problem::new("not-paired", "this browser is not connected; run `holdpoint pair`");
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    (StatusCode::UNAUTHORIZED, pages::unpaired()).into_response()
}

/// A failure, as a page or as JSON.
pub(crate) fn failure(headers: &HeaderMap, error: &Error) -> Response {
    let (status, problem) = problem(error);
    if wants_json(headers) {
        return (status, Json(problem)).into_response();
    }
    let title = match error {
        Error::Refused { .. } => "Already decided",
        Error::Changed { .. } => "It has changed",
        Error::NoSuchHold { .. } => "No such hold",
        _ => "That did not work",
    };
    let mut text = problem.error;
    if let Some(state) = &problem.state {
        text = format!("{text}. {}", pages::result_of(state));
    }
    (status, pages::notice(title, &text)).into_response()
}
