//! The routes of the API, and its OpenAPI document, which is made from the handlers.

use super::guard::{BODY_BYTES_MAX, Guard, guard};
use super::options::ServeOptions;
use super::problem::Problem;
use super::service::{Service, json_response};
use super::{gorse, lookups, page, questions, status, streams};
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Router, body::Bytes};
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The document but for its paths, which the routes add.
#[derive(OpenApi)]
#[openapi(info(
    title = "deltacart",
    description = "Recommendations for items, carts and users, exact at the epoch that each answer names. With a \
                   token, requests carry it as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`."
))]
struct Document;

/// All routes.
pub(super) fn router(service: Arc<Service>, options: Arc<ServeOptions>) -> Router {
    let (router, document) = routed().split_for_parts();
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let guard_state = Guard { options, service: Arc::clone(&service) };
    router
        .with_state(service)
        .route("/openapi.json", get(move || std::future::ready(json_response(document.clone()))))
        .merge(page::router())
        .fallback(|| std::future::ready(Problem::not_found("no such path: see /openapi.json")))
        .method_not_allowed_fallback(|| std::future::ready(Problem::wrong_method()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(guard_state, guard))
}

fn routed() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(lookups::similar))
        .routes(routes!(lookups::cart))
        .routes(routes!(lookups::user))
        .routes(routes!(lookups::item))
        .routes(routes!(lookups::popular))
        .routes(routes!(questions::recommend))
        .routes(routes!(streams::item))
        .routes(routes!(streams::cart))
        .routes(routes!(status::status))
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(gorse::neighbors))
        .routes(routes!(gorse::recommend))
        .routes(routes!(gorse::session))
}
