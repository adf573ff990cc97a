//! Questions: what would be recommended for these items now? The dataflow answers at the close of an epoch.

use super::asking::Asking;
use super::problem::{Problem, ProblemDocument};
use super::service::{Json, Recommended, Service};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A body of JSON.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody<T>, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is too long"),
                _ => Problem::bad("the body cannot be read"),
            }
        })?;
        let parsed = serde_json::from_slice(&body);
        parsed.map(JsonBody).map_err(|error| Problem::bad(format!("the body: {error}")))
    }
}

/// Recommendations for the items of a cart, as they would be now
///
/// The question changes nothing: its items are in no basket. It is answered at the close of an epoch, from the same
/// state on all workers.
#[utoipa::path(post, path = "/v1/recommendations", tag = "Questions", request_body = Asking,
    responses((status = 200, body = Recommended), (status = "4XX", body = ProblemDocument<'static>),
        (status = 501, body = ProblemDocument<'static>, description = "A replica computes nothing"),
        (status = 503, body = ProblemDocument<'static>, description = "Too many questions, or not ready")))]
pub(super) async fn recommend(
    State(service): State<Arc<Service>>,
    JsonBody(asking): JsonBody<Asking>,
) -> Result<Json<Recommended>, Problem> {
    let (items, user, selection) = asking.parts()?;
    service.ask(items, user, &selection).await.map(Json)
}
