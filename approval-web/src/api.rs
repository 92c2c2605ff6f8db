//! The wire types: what runner, operator and browser send, and how a failure is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hold::{Decision, HoldId};
use crate::plan::{Digest, HoldPlan};
use crate::state::{Outcome, State};

/// The name and version a server of ours answers with.
pub(crate) const PROTOCOL: &str = "holdpoint-approval/1";

/// `GET /v1/server`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerInfo {
    pub(crate) protocol: String,
    pub(crate) url: String,
}

/// `PUT /v1/holds/{id}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateHold {
    pub(crate) plan: HoldPlan,
    pub(crate) ttl_ms: u64,
}

/// `GET /v1/holds/{id}`: with `wait_ms` it waits while the hold is pending, and renews the runner's lease.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitFor {
    pub(crate) wait_ms: Option<u64>,
}

/// `GET /v1/holds`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListHolds {
    #[serde(default)]
    pub(crate) closed: usize,
}

/// `POST /v1/holds/{id}/release`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseHold {
    pub(crate) digest: Digest,
    pub(crate) ticket: String,
}

/// `POST /v1/holds/{id}/finish`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishHold {
    pub(crate) outcome: Outcome,
}

/// `POST /v1/holds/{id}/cancel`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelHold {
    pub(crate) why: String,
}

/// The two words of a decision, as JSON and as a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    Approve,
    Deny,
}

/// `POST /v1/holds/{id}/decide` of an operator, who says who he is (the peer is this user himself).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideHold {
    pub(crate) digest: Digest,
    pub(crate) decision: Word,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) by: String,
}

/// `POST …/api/holds/{id}/decide` of a browser: who it is comes from the session, never from the body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vote {
    pub(crate) digest: Digest,
    pub(crate) decision: Word,
    #[serde(default)]
    pub(crate) reason: String,
}

/// The word and the reason as one decision.
pub(crate) fn decision(word: Word, reason: String) -> Decision {
    match word {
        Word::Approve => Decision::Approve,
        Word::Deny => Decision::Deny { reason },
    }
}

/// `POST /v1/pair`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PairingLink {
    pub(crate) url: String,
}

/// `GET …/api/session` and the answer to a pairing by JSON
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionInfo {
    pub(crate) csrf: String,
    pub(crate) by: String,
}

/// A failure on the wire: `code` for programs, `error` for people.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) error: String,
    /// With `refused`: the state the hold is in, with who decided and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) state: Option<State>,
}

impl Problem {
    pub(crate) fn new(code: &str, error: impl Into<String>) -> Self {
        Self { code: code.to_owned(), error: error.into(), state: None }
    }

    /// The failure as the client's caller sees it.
    pub(crate) fn into_error(self, id: Option<&HoldId>) -> Error {
        match (self.code.as_str(), id, self.state) {
            ("refused", Some(id), Some(state)) => Error::Refused { id: id.clone(), state: Box::new(state) },
            ("changed", Some(id), _) => Error::Changed { id: id.clone() },
            ("no-such-hold", Some(id), _) => Error::NoSuchHold { id: id.to_string() },
            ("invalid" | "too-large", ..) => Error::Invalid { why: self.error },
            ("store", ..) => Error::ServerAway { why: self.error },
            (code, ..) => Error::Protocol { why: format!("{code}: {}", self.error) },
        }
    }
}

/// What a server answers that is about to go: as good as no answer.
pub(crate) const STOPPING: &str = "stopping";

/// The status and the wire form of a failure.
pub(crate) fn problem(error: &Error) -> (StatusCode, Problem) {
    let (status, code, state) = match error {
        Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", None),
        Error::NoSuchHold { .. } => (StatusCode::NOT_FOUND, "no-such-hold", None),
        Error::Refused { state, .. } => (StatusCode::CONFLICT, "refused", Some(state.as_ref().clone())),
        Error::Changed { .. } => (StatusCode::PRECONDITION_FAILED, "changed", None),
        Error::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", None),
        Error::Store { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store", None),
        Error::ServerAway { .. } => (StatusCode::SERVICE_UNAVAILABLE, STOPPING, None),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
    };
    (status, Problem { code: code.to_owned(), error: error.to_string(), state })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, problem) = problem(&self);
        (status, Json(problem)).into_response()
    }
}
