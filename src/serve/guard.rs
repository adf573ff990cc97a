//! What every request passes before its handler: the token, the origin, the limits of size and time.

use super::options::ServeOptions;
use super::problem::Problem;
use super::service::Service;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The most bytes of a body.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;

/// The time limit from the head of a request to the head of its response.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a browser may remember what another origin is allowed, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// What the guard of requests knows.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) options: Arc<ServeOptions>,
    pub(super) service: Arc<Service>,
}

impl Guard {
    /// Whether a request may have an answer. The page and its files have nothing to hide.
    fn admits(&self, path: &str, headers: &HeaderMap) -> bool {
        let Some(token) = &self.options.token else { return true };
        let is_open = !path.starts_with("/v1/") && !path.starts_with("/api/");
        let bearer = || headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ");
        // The header of Gorse's clients.
        let key = || headers.get("x-api-key").map(HeaderValue::as_bytes);
        is_open || bearer().or_else(key).is_some_and(|given| token.is(given.trim_ascii()))
    }

    /// The origin that may read the response, if it is the one that asks.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let allowed = self.options.origin.as_deref()?;
        let asks = headers.get(header::ORIGIN)?;
        (allowed == "*" || asks.as_bytes() == allowed.as_bytes()).then(|| asks.clone())
    }
}

/// Lets a request pass, if it may, and limits the time of its answer.
pub(super) async fn guard(State(guard): State<Guard>, request: Request<Body>, next: Next) -> Response {
    let origin = guard.allowed_origin(request.headers());
    let is_preflight = request.method() == Method::OPTIONS && origin.is_some();
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else if guard.admits(request.uri().path(), request.headers()) {
        let answered = timeout(REQUEST_TIME_MAX, next.run(request)).await;
        answered.unwrap_or_else(|_elapsed| {
            Problem::too_late(format!("no answer within {} s", REQUEST_TIME_MAX.as_secs())).into_response()
        })
    } else {
        Problem::unauthorized().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if guard.options.origin.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if is_preflight {
            let methods = HeaderValue::from_static("GET, POST");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let wanted = HeaderValue::from_static("authorization, content-type, last-event-id, x-api-key");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
        }
    }
    guard.service.meter.responded(response.status().as_u16());
    response
}
