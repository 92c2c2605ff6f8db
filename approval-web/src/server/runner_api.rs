//! The routes of the unix socket, for runners and operators of the same user.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::serve::Peer;
use super::{App, session};
use crate::api::{
    CancelHold, CreateHold, DecideHold, FinishHold, ListHolds, PROTOCOL, PairingLink, Problem, ReleaseHold, ServerInfo,
    WaitFor, decision,
};
use crate::error::Error;
use crate::hold::{Hold, HoldId};
use crate::state::State as HoldState;

/// The longest one request waits; a runner asks again.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// A plan of the largest size, with every byte escaped.
const MAX_BODY: usize = 16 * 1024 * 1024;

type Answer<T> = Result<Json<T>, Error>;

pub(crate) fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/server", get(server))
        .route("/v1/holds", get(list))
        .route("/v1/holds/{id}", put(create).get(wait))
        .route("/v1/holds/{id}/release", post(release))
        .route("/v1/holds/{id}/finish", post(finish))
        .route("/v1/holds/{id}/cancel", post(cancel))
        .route("/v1/holds/{id}/decide", post(decide))
        .route("/v1/pair", post(pair))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(Problem::new("no-such-route", "there is no such route"))) })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

async fn server(State(app): State<Arc<App>>) -> Json<ServerInfo> {
    Json(ServerInfo { protocol: PROTOCOL.to_owned(), url: app.url.clone() })
}

async fn list(State(app): State<Arc<App>>, Query(query): Query<ListHolds>) -> Answer<Vec<Hold>> {
    app.run(move |app| app.holds.store().list(query.closed.min(1000))).await.map(Json)
}

async fn create(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<HoldId>,
    Json(body): Json<CreateHold>,
) -> Answer<Hold> {
    let ttl = Duration::from_millis(body.ttl_ms);
    app.run(move |app| app.holds.create(id, body.plan, ttl, peer.runner())).await.map(Json)
}

/// Waits while the hold is pending, at most [`LONGEST_WAIT`]. What it answers is always read from the store.
async fn wait(State(app): State<Arc<App>>, Path(id): Path<HoldId>, Query(query): Query<WaitFor>) -> Answer<Hold> {
    let mut changes = app.holds.watch();
    let mut stopping = app.stopping.clone();
    let wait = query.wait_ms.map(|ms| Duration::from_millis(ms).min(LONGEST_WAIT));
    let lease = wait.map(|_| app.holds.waiting(&id));
    let deadline = Instant::now() + wait.unwrap_or_default();
    loop {
        let name = id.clone();
        let hold = app.run(move |app| app.holds.store().get(&name)).await?;
        if hold.state != HoldState::Pending || Instant::now() >= deadline || *stopping.borrow() {
            drop(lease);
            return Ok(Json(hold));
        }
        let changed = async {
            loop {
                match changes.recv().await {
                    Ok(logged) if logged.id != id => {}
                    Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => break,
                }
            }
        };
        tokio::select! {
            () = changed => {}
            () = sleep_until(deadline) => {}
            // Either answer means that the server stops, or is gone.
            _ = stopping.changed() => {}
        }
    }
}

async fn release(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<HoldId>,
    Json(body): Json<ReleaseHold>,
) -> Answer<Hold> {
    app.run(move |app| app.holds.release(id, body.digest, body.ticket, peer.runner())).await.map(Json)
}

async fn finish(State(app): State<Arc<App>>, Path(id): Path<HoldId>, Json(body): Json<FinishHold>) -> Answer<Hold> {
    app.run(move |app| app.holds.finish(id, body.outcome)).await.map(Json)
}

async fn cancel(State(app): State<Arc<App>>, Path(id): Path<HoldId>, Json(body): Json<CancelHold>) -> Answer<Hold> {
    app.run(move |app| app.holds.cancel(id, &body.why)).await.map(Json)
}

async fn decide(State(app): State<Arc<App>>, Path(id): Path<HoldId>, Json(body): Json<DecideHold>) -> Answer<Hold> {
    let answer = decision(body.decision, body.reason);
    app.run(move |app| app.holds.decide(id, body.digest, answer, &body.by)).await.map(Json)
}

async fn pair(State(app): State<Arc<App>>) -> Answer<PairingLink> {
    app.run(session::new_pairing).await.map(|url| Json(PairingLink { url }))
}
