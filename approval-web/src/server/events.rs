//! The live stream of a connected page: server-sent events with numbers, resumable by `Last-Event-ID`.
//!
//! An event says *that* a hold changed and to what state; the page then fetches the card, so there is one renderer.
//! - `hello` `{now, seq}` first; `tick` `{now}` every few seconds, so that a page knows that it is live
//! - `hold` `{id, state}`, with the event's number as its id
//! - `resync` when more was missed than is worth replaying: the page loads itself anew

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::App;
use crate::error::Error;
use crate::hold::UnixMs;
use crate::store::Logged;

const TICK: Duration = Duration::from_secs(5);
/// More missed events than this are not replayed.
const MOST_REPLAYED: usize = 1000;

/// Opens the stream for a browser that has seen everything up to the event `last`.
pub(crate) fn stream(app: Arc<App>, last: Option<i64>) -> Response {
    let Ok(place) = Arc::clone(&app.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n").into_response();
    };
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        // It ends when the page or the server goes away; either way there is nobody left to tell.
        pump(&app, last, &sender).await.ok();
        drop(place);
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(EventBody(receiver))).into_response()
}

/// Why a stream ended.
struct Ended;

async fn pump(app: &Arc<App>, last: Option<i64>, page: &mpsc::Sender<Bytes>) -> Result<(), Ended> {
    // Listen first, read then: nothing can fall between.
    let mut changes = app.holds.watch();
    let (newest, missed) = app.run(move |app| missed(app, last)).await.map_err(|_| Ended)?;
    let mut sent = last.filter(|last| *last <= newest).unwrap_or(newest);
    send(page, "hello", None, &json!({ "now": UnixMs::now(), "seq": newest })).await?;
    match missed {
        Some(missed) => {
            for logged in missed {
                sent = logged.seq;
                send_hold(page, &logged).await?;
            }
        }
        None => {
            sent = newest;
            send(page, "resync", Some(newest), &json!({})).await?;
        }
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(logged) if logged.seq > sent => {
                    sent = logged.seq;
                    send_hold(page, &logged).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => send(page, "resync", None, &json!({})).await?,
                Err(RecvError::Closed) => return Err(Ended),
            },
            _ = tick.tick() => send(page, "tick", None, &json!({ "now": UnixMs::now() })).await?,
            () = page.closed() => return Err(Ended),
            () = app.stopped() => return Err(Ended),
        }
    }
}

/// The newest event's number, and what came after `last`: `None` when that is too much, or `last` is of another store.
fn missed(app: &App, last: Option<i64>) -> Result<(i64, Option<Vec<Logged>>), Error> {
    let newest = app.holds.store().last_event()?;
    let missed = match last {
        None => Some(Vec::new()),
        Some(last) if last > newest => None,
        Some(last) => {
            let events = app.holds.store().events_after(last, MOST_REPLAYED + 1)?;
            (events.len() <= MOST_REPLAYED).then_some(events)
        }
    };
    Ok((newest, missed))
}

async fn send_hold(page: &mpsc::Sender<Bytes>, logged: &Logged) -> Result<(), Ended> {
    send(page, "hold", Some(logged.seq), &json!({ "id": logged.id, "state": logged.state.name() })).await
}

async fn send(page: &mpsc::Sender<Bytes>, event: &str, id: Option<i64>, data: &serde_json::Value) -> Result<(), Ended> {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // JSON on one line: no line feed of the data can end the event early.
    page.send(Bytes::from(format!("{id}event: {event}\ndata: {data}\n\n"))).await.map_err(|_| Ended)
}

/// A response body fed through a channel.
struct EventBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for EventBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}
