//! Who may speak to the browser listener at all: every request is judged here before any route sees it.
//!
//! A website, or a development server on another port, can make the approver's browser send requests to this listener.
//! Each check below stops one way of doing that; none of them relies on another.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::pages;

/// The only host and origin this listener answers for.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) host: String,
    pub(crate) origin: String,
}

impl Own {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        // Browsers leave the default port out.
        let host = match addr {
            SocketAddr::V4(v4) if v4.port() == 80 => v4.ip().to_string(),
            SocketAddr::V6(v6) if v6.port() == 80 => format!("[{}]", v6.ip()),
            other => other.to_string(),
        };
        let origin = format!("http://{host}");
        Self { host, origin }
    }
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It names another host (DNS rebinding), none, or several.
    Host,
    /// The browser says that another site started it.
    Site,
    /// It would change something and does not come from our own page.
    Origin,
    /// It would change something with a body that a plain cross-site form could send.
    ContentType,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Site | Self::Origin => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Host => {
                "This address is not the one the approval page is served at. Open the link that Holdpoint printed."
            }
            Self::Site => "Another site started this request. Open the approval page itself.",
            Self::Origin => "This request does not come from the approval page.",
            Self::ContentType => "A request here is a form or JSON.",
        }
    }
}

/// Judges one request by its head.
pub(crate) fn judge(own: &Own, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if only(headers, &HOST) != Some(own.host.as_bytes()) {
        return Err(Refusal::Host);
    }
    if uri.authority().is_some_and(|authority| authority.as_str() != own.host) {
        return Err(Refusal::Host);
    }
    let safe = matches!(*method, Method::GET | Method::HEAD);
    match only(headers, &HeaderName::from_static("sec-fetch-site")) {
        None if headers.contains_key("sec-fetch-site") => return Err(Refusal::Site),
        // Not a browser, or an old one: Origin decides.
        None | Some(b"same-origin") => {}
        // Typed, bookmarked, or opened from a terminal.
        Some(b"none") if safe => {}
        // A link on another site may lead here, as a page of its own: it shows nothing without the (strict) cookie.
        Some(_) if safe && is_page_visit(headers) => {}
        Some(_) => return Err(Refusal::Site),
    }
    match only(headers, &ORIGIN) {
        Some(origin) if origin == own.origin.as_bytes() => {}
        None if safe && !headers.contains_key(ORIGIN) => {}
        _ => return Err(Refusal::Origin),
    }
    let media = only(headers, &CONTENT_TYPE).map(|value| value.split(|b| *b == b';').next().unwrap_or(value));
    match media {
        _ if safe => Ok(()),
        Some(b"application/x-www-form-urlencoded" | b"application/json") => Ok(()),
        _ => Err(Refusal::ContentType),
    }
}

/// The value of a header that stands there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

fn is_page_visit(headers: &HeaderMap) -> bool {
    only(headers, &HeaderName::from_static("sec-fetch-mode")) == Some(b"navigate")
        && only(headers, &HeaderName::from_static("sec-fetch-dest")) == Some(b"document")
}

/// The guard as a layer around every route, found or not.
pub(crate) async fn guard(State(own): State<Arc<Own>>, request: Request, next: Next) -> Response {
    let mut response = match judge(&own, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => (refusal.status(), pages::notice("Not from here", refusal.text())).into_response(),
    };
    protect(response.headers_mut());
    response
}

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                   form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; \
                   trusted-types 'none'";

/// The headers that every answer carries. There is no CORS header among them, ever.
fn protect(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, CSP);
    set(X_FRAME_OPTIONS, "DENY");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(CACHE_CONTROL, "no-store");
    // Not "no-referrer": under that, browsers send "Origin: null" with our own forms, and the page could not work
    // without JavaScript. Nothing is sent to any other origin either way.
    set(REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}
