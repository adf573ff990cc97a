//! Streams: a list each time that it changes, as server-sent events.
//!
//! A stream looks at its list when lists have been delivered. It keeps no queue: a reader that is slow gets the newest
//! list when it reads on, and never those between. The id of an event is the epoch in which the list changed, so a
//! reader that comes back with `Last-Event-ID` gets the list only if it has changed since.

use super::problem::{Problem, ProblemDocument};
use super::query::{Id, Selection};
use super::service::{Recommended, Service};
use super::tables::State as Delivered;
use crate::metrics::Open;
use crate::output::RowKind;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use deltacart_dataflows::Epoch;
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The most streams that are open at a time.
const STREAMS_MAX: u64 = 256;

/// The least time between two looks at a list.
const PACE: Duration = Duration::from_millis(50);

/// After how long without an event a comment is sent, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The list of an item, each time that it changes
///
/// Server-sent events named `list`. The data is that of `/v1/items/{id}/similar`, the id is the epoch of the change.
#[utoipa::path(get, path = "/v1/items/{id}/stream", tag = "Streams",
    params(("id" = String, Path, description = "The id of the item, percent-encoded"), Selection,
        ("Last-Event-ID" = Option<u64>, Header, description = "The id of the last event that the reader has")),
    responses((status = 200, content_type = "text/event-stream", body = Recommended),
        (status = 503, body = ProblemDocument<'static>, description = "Too many streams, or not ready")))]
pub(super) async fn item(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(service, RowKind::Item, id, selection, &headers).await
}

/// The recommendations of an open cart, each time that they change
#[utoipa::path(get, path = "/v1/carts/{id}/stream", tag = "Streams",
    params(("id" = String, Path, description = "The id of the cart, percent-encoded"), Selection,
        ("Last-Event-ID" = Option<u64>, Header, description = "The id of the last event that the reader has")),
    responses((status = 200, content_type = "text/event-stream", body = Recommended),
        (status = 503, body = ProblemDocument<'static>, description = "Too many streams, or not ready")))]
pub(super) async fn cart(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(service, RowKind::Cart, id, selection, &headers).await
}

/// A reader of one list.
struct Reader {
    service: Arc<Service>,
    rows: RowKind,
    id: String,
    selection: Selection,
    /// The epoch of the list that the reader has; within, `None` if it knows that there is no list. `None` if it has
    /// nothing.
    has: Option<Option<Epoch>>,
    delivered: watch::Receiver<Delivered>,
    _open: Open,
}

async fn stream(
    service: Arc<Service>,
    rows: RowKind,
    id: String,
    selection: Selection,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    service.table(rows)?;
    service.epoch(&selection).await?;
    let full = || Problem::unavailable(format!("{STREAMS_MAX} streams are open, and no more are served"));
    let open = service.meter.stream(STREAMS_MAX).ok_or_else(full)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<Epoch>().ok());
    let delivered = service.tables.follow();
    let selection = Selection { at_least_epoch: None, ..selection };
    let reader = Reader { service, rows, id, selection, has: last.map(Some), delivered, _open: open };
    let events = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let mut response = Sse::new(events).into_response();
    // Of proxies that would keep events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Reader {
    /// The next event: the list, as soon as it is another one than the reader has.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.delivered.borrow_and_update();
            let answer = self.service.look_up(self.rows, &self.id, &self.selection).await.ok()?;
            if self.has != Some(answer.changed()) {
                self.has = Some(answer.changed());
                return event(&answer);
            }
            match timeout(KEEP_ALIVE, self.delivered.changed()).await {
                Ok(Ok(())) => sleep(PACE).await,
                Ok(Err(_ended)) => return None,
                Err(_elapsed) => return Some(Event::default().comment("")),
            }
        }
    }
}

fn event(answer: &Recommended) -> Option<Event> {
    let data = serde_json::to_string(answer).ok()?;
    let event = Event::default().event("list").data(data);
    // A list that is gone changes the id to nothing: whoever comes back gets what there is then.
    Some(event.id(answer.changed().map(|epoch| epoch.to_string()).unwrap_or_default()))
}
