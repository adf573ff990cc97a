//! Look-ups: the lists of items, carts and users as they were delivered, and the most popular items.

use super::popular::popularity;
use super::problem::{Problem, ProblemDocument};
use super::query::{Id, Selection};
use super::service::{Json, Recommended, Service};
use crate::output::RowKind;
use axum::extract::State;
use deltacart_dataflows::Epoch;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The items most similar to an item
#[utoipa::path(get, path = "/v1/items/{id}/similar", tag = "Look-ups",
    params(("id" = String, Path, description = "The id of the item, percent-encoded"), Selection),
    responses((status = 200, body = Recommended), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn similar(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
) -> Result<Json<Recommended>, Problem> {
    service.look_up(RowKind::Item, &id, &selection).await.map(Json)
}

/// The items recommended for an open cart
#[utoipa::path(get, path = "/v1/carts/{id}/recommendations", tag = "Look-ups",
    params(("id" = String, Path, description = "The id of the cart, percent-encoded"), Selection),
    responses((status = 200, body = Recommended), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn cart(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
) -> Result<Json<Recommended>, Problem> {
    service.look_up(RowKind::Cart, &id, &selection).await.map(Json)
}

/// The items recommended for a user
#[utoipa::path(get, path = "/v1/users/{id}/recommendations", tag = "Look-ups",
    params(("id" = String, Path, description = "The id of the user, percent-encoded"), Selection),
    responses((status = 200, body = Recommended), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn user(
    State(service): State<Arc<Service>>,
    Id(id): Id,
    selection: Selection,
) -> Result<Json<Recommended>, Problem> {
    service.look_up(RowKind::User, &id, &selection).await.map(Json)
}

/// An item that has a list.
#[derive(Serialize, ToSchema)]
pub(super) struct KnownItem {
    item: String,
    /// The epoch that this is of.
    #[schema(value_type = u64)]
    epoch: Epoch,
    /// The epoch in which its list changed last.
    #[schema(value_type = u64)]
    changed: Epoch,
    /// The items of its list.
    list: usize,
    /// The largest count of its list: the most baskets that hold the item and one of its neighbours.
    popularity: u32,
}

/// What is known of an item
#[utoipa::path(get, path = "/v1/items/{id}", tag = "Look-ups",
    params(("id" = String, Path, description = "The id of the item, percent-encoded")),
    responses((status = 200, body = KnownItem),
        (status = 404, body = ProblemDocument<'static>, description = "The item has no list")))]
pub(super) async fn item(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Json<KnownItem>, Problem> {
    let epoch = service.epoch(&Selection::default()).await?;
    let list = service.table(RowKind::Item)?.get(&id);
    let list = list.ok_or_else(|| Problem::not_found("no basket has the item together with another one"))?;
    let (epoch, changed) = (epoch.max(list.epoch), list.epoch);
    Ok(Json(KnownItem { item: id, epoch, changed, list: list.entries.len(), popularity: popularity(&list) }))
}

/// The most popular items
///
/// The popularity of an item is the most baskets that it shares with another one. The ranking is at most a second old.
#[utoipa::path(get, path = "/v1/popular", tag = "Look-ups", params(Selection),
    responses((status = 200, body = Recommended), (status = "4XX", body = ProblemDocument<'static>)))]
pub(super) async fn popular(
    State(service): State<Arc<Service>>,
    selection: Selection,
) -> Result<Json<Recommended>, Problem> {
    let epoch = service.epoch(&selection).await?;
    Ok(Json(Recommended::of_popular(epoch, &service.popular().await, &selection)))
}
