//! The state of the process: liveness, readiness, and numbers for the page.

use super::problem::Problem;
use super::service::{Json, Service};
use crate::output::RowKind;
use axum::extract::State;
use deltacart_dataflows::Epoch;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The state of the process.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// `job`, or `replica`, which answers no questions.
    role: &'static str,
    /// The version of deltacart.
    version: &'static str,
    /// Why the process is not ready, in one line. Absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// The last epoch whose lists are delivered.
    #[schema(value_type = u64)]
    epoch: Epoch,
    /// Items that have a list.
    items: usize,
    /// Open carts that have an answer. Absent where none are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    carts: Option<usize>,
    /// Users who have an answer. Absent where none are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<usize>,
    /// How often the list of an item was changed or removed since the start.
    changes: u64,
    /// Records read from the input.
    records: u64,
    /// Records of topics that exist and are not read yet.
    lag: u64,
}

/// The state of the process
#[utoipa::path(get, path = "/v1/status", tag = "Operation", responses((status = 200, body = Status)))]
pub(super) async fn status(State(service): State<Arc<Service>>) -> Json<Status> {
    let progress = (service.progress)();
    let len = |rows| service.tables.of(rows).map(super::tables::Table::len);
    Json(Status {
        role: if service.questions.is_some() { "job" } else { "replica" },
        version: env!("CARGO_PKG_VERSION"),
        waits_for: progress.waits_for,
        epoch: service.tables.end().unwrap_or_default().saturating_sub(1),
        items: len(RowKind::Item).unwrap_or_default(),
        carts: len(RowKind::Cart),
        users: len(RowKind::User),
        changes: service.tables.of(RowKind::Item).map(super::tables::Table::changes).unwrap_or_default(),
        records: progress.records,
        lag: progress.left,
    })
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "Operation", responses((status = 200, body = str)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether everything is read that was there at the start
#[utoipa::path(get, path = "/readyz", tag = "Operation",
    responses((status = 200, body = str), (status = 503, description = "The reason, in one line")))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    match ((service.progress)().waits_for, service.tables.end()) {
        (None, Some(_)) => Ok("ready\n"),
        (None, None) => Err(Problem::unavailable("what was published before is being caught up with")),
        (Some(why), _) => Err(Problem::unavailable(why)),
    }
}
