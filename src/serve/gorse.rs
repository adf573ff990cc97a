//! The paths of Gorse, for those who come from it: another base URL, and the same requests.

use super::asking::newest_first;
use super::problem::{Problem, ProblemDocument};
use super::query::{Id, Selection};
use super::questions::JsonBody;
use super::service::{Json, Recommended, Service};
use crate::output::RowKind;
use axum::extract::State;
use deltacart_dataflows::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// An item with its score, by Gorse's names.
#[derive(Serialize, ToSchema)]
pub(super) struct Scored {
    #[serde(rename = "Id")]
    #[schema(value_type = String)]
    id: Name,
    #[serde(rename = "Score")]
    score: f64,
}

fn scored(answer: Recommended) -> Vec<Scored> {
    let items = answer.items.into_iter();
    let score = |score: crate::output::Decimal| score.units() as f64 / 1e9;
    items.map(|item| Scored { id: item.item, score: item.score.map_or(0.0, score) }).collect()
}

/// The neighbours of an item
#[utoipa::path(get, path = "/api/item/{id}/neighbors", tag = "Gorse",
    params(("id" = String, Path, description = "The id of the item"), Selection),
    responses((status = 200, body = Vec<Scored>), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn neighbors(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
) -> Result<Json<Vec<Scored>>, Problem> {
    service.look_up(RowKind::Item, &id, &selection).await.map(|answer| Json(scored(answer)))
}

/// The ids recommended for a user
#[utoipa::path(get, path = "/api/recommend/{user}", tag = "Gorse",
    params(("user" = String, Path, description = "The id of the user"), Selection),
    responses((status = 200, body = Vec<String>), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn recommend(
    State(service): State<Arc<Service>>,
    Id(user): Id,
    selection: Selection,
) -> Result<Json<Vec<Name>>, Problem> {
    let answer = service.look_up(RowKind::User, &user, &selection).await?;
    Ok(Json(answer.items.into_iter().map(|item| item.item).collect()))
}

/// One thing that a visitor did.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Feedback {
    #[schema(value_type = String)]
    item_id: Name,
    #[serde(default)]
    #[schema(value_type = String)]
    user_id: Name,
    /// RFC 3339. Without one, the order of the array counts.
    timestamp: Option<String>,
}

/// Recommendations for what a visitor did in a session
#[utoipa::path(post, path = "/api/session/recommend", tag = "Gorse", params(Selection),
    request_body = Vec<Feedback>,
    responses((status = 200, body = Vec<Scored>), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn session(
    State(service): State<Arc<Service>>,
    selection: Selection,
    JsonBody(mut feedback): JsonBody<Vec<Feedback>>,
) -> Result<Json<Vec<Scored>>, Problem> {
    let time = |feedback: &Feedback| feedback.timestamp.as_ref()?.parse::<jiff::Timestamp>().ok();
    feedback.sort_by_cached_key(time);
    let user = feedback.iter().rev().map(|feedback| feedback.user_id.clone()).find(|user| !user.is_empty());
    let items = newest_first(feedback.into_iter().map(|feedback| feedback.item_id).collect())?;
    service.ask(items, user, &selection).await.map(|answer| Json(scored(answer)))
}
