//! Which browser is connected: one-time pairing, the session cookie, and the token its forms carry.
//!
//! A browser gets a session only by a link that this user's own terminal printed. The cookie is bound to the page's
//! random path: cookies ignore ports, so without that a development server on another port would be handed it.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

use super::App;
use crate::error::Error;
use crate::hold::{UnixMs, random_word};
use crate::plan::Digest;

/// How long a pairing link may be used.
pub(crate) const PAIR_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long a browser stays connected.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Makes a pairing secret: 160 random bits, of which only the hash is kept.
pub(crate) fn new_pairing(app: &App) -> Result<String, Error> {
    let secret = format!("{}{}", random_word()?, random_word()?);
    let now = UnixMs::now();
    app.holds.store().add_pairing(&Digest::of(secret.as_bytes()), now, now.after(PAIR_WITHIN))?;
    Ok(format!("{}pair/{secret}", app.url))
}

/// Whether a pairing secret could be spent; looking spends nothing.
pub(crate) fn can_pair(app: &App, secret: &str) -> Result<bool, Error> {
    app.holds.store().has_pairing(&Digest::of(secret.as_bytes()), UnixMs::now())
}

/// Spends a pairing secret. `None` when it is unknown, spent or too old.
pub(crate) fn pair(app: &App, secret: &str) -> Result<Option<NewSession>, Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::Invalid { why: format!("no randomness from the system: {e}") })?;
    let session = Digest::from(bytes).to_string();
    let hash = Digest::of(session.as_bytes());
    let now = UnixMs::now();
    if !app.holds.store().spend_pairing(&Digest::of(secret.as_bytes()), &hash, now, now.after(SESSION))? {
        return Ok(None);
    }
    let cookie = format!(
        "{}={session}; Path={}; Max-Age={}; HttpOnly; SameSite=Strict",
        app.cookie,
        app.path,
        SESSION.as_secs()
    );
    Ok(Some(NewSession { cookie, person: Person::of(&session, &hash) }))
}

/// A browser that has just been connected.
pub(crate) struct NewSession {
    /// The value of `Set-Cookie`.
    pub(crate) cookie: String,
    pub(crate) person: Person,
}

/// The person behind a connected browser.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// The name that stands beside a decision.
    pub(crate) by: String,
    /// What a form must carry, so that a request made with the cookie alone decides nothing.
    pub(crate) csrf: String,
}

impl Person {
    fn of(session: &str, hash: &Digest) -> Self {
        let csrf = Digest::of(format!("holdpoint/csrf/1 {session}").as_bytes()).to_string();
        let name: String = hash.to_string().chars().take(4).collect();
        Self { by: format!("browser {name}"), csrf }
    }

    /// Whether a form or header carries this session's token.
    pub(crate) fn sent(&self, token: &str) -> bool {
        self.csrf.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// The session cookie's value, when it stands there exactly once.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Some(session) = cookie(&parts.headers, &app.cookie).map(str::to_owned) else {
            return Err(super::browser::unpaired(&parts.headers));
        };
        let hash = Digest::of(session.as_bytes());
        let known = app.run(move |app| app.holds.store().has_session(&hash, UnixMs::now())).await;
        match known {
            Ok(true) => Ok(Self::of(&session, &hash)),
            Ok(false) => Err(super::browser::unpaired(&parts.headers)),
            Err(error) => Err(super::browser::failure(&parts.headers, &error)),
        }
    }
}
