//! What the handlers share: the delivered lists, the questions, and how a part of a list becomes an answer.

use super::popular::{Popular, Ranked};
use super::problem::Problem;
use super::query::{Fallback, Selection};
use super::question_queue::{QuestionQueue, Refused};
use super::tables::{Table, Tables};
use crate::metrics::{InputProgress, ServingMeter};
use crate::output::{Decimal, Entry, Published, RowKind};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use deltacart_dataflows::{Epoch, Name, Question};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// The most items of which a left-out one is reported. A list is no longer; an answer of a question may be.
const LEFT_OUT_MAX: usize = 1000;

/// Says how far the input is read.
pub(super) type Progress = Box<dyn Fn() -> InputProgress + Send + Sync>;

/// What the handlers share.
pub(super) struct Service {
    pub(super) tables: Tables,
    /// `None` on a replica, which computes nothing.
    pub(super) questions: Option<QuestionQueue>,
    popular: Arc<Popular>,
    pub(super) progress: Progress,
    pub(super) meter: ServingMeter,
}

/// An answer: the recommended items, best first.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Recommended {
    /// The item that the answer is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// The cart that the answer is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cart: Option<String>,
    /// The user that the answer is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The epoch that the answer is of.
    #[schema(value_type = u64)]
    epoch: Epoch,
    /// The epoch in which the list changed last. Absent where there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    changed: Option<Epoch>,
    /// `popular` where there was nothing to recommend, and the items are the most popular ones instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'static str>,
    /// The items, best first.
    pub(super) items: Vec<RecommendedItem>,
    /// The better items that the request did not want, with the parameter that says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

/// A recommended item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecommendedItem {
    /// The id of the item.
    #[schema(value_type = String)]
    pub(super) item: Name,
    /// How good it is: comparable within the answer only. Absent with `--scores off`, and for popular items.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "decimal")]
    #[schema(value_type = Option<f64>)]
    pub(super) score: Option<Decimal>,
    /// How many baskets speak for it. Absent with `--scores off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

/// An item that was left out.
#[derive(Debug, Serialize, ToSchema)]
struct LeftOut {
    /// The id of the item.
    #[schema(value_type = String)]
    item: Name,
    /// `exclude` or `min_score`.
    why: &'static str,
}

fn decimal<S: Serializer>(score: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    match score {
        Some(score) if score.digits() == 0 => serializer.serialize_i64(score.units() / 1_000_000_000),
        Some(score) => serializer.serialize_f64(score.units() as f64 / 1e9),
        None => serializer.serialize_none(),
    }
}

/// A response of JSON, which nobody caches: the next epoch may change it.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => json_response(body),
            Err(_error) => Problem::unavailable("the answer cannot be written").into_response(),
        }
    }
}

/// A response of JSON that is written already.
pub(super) fn json_response(body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body.into()).into_response()
}

/// What an answer is for.
#[derive(Clone, Copy)]
pub(super) enum For<'a> {
    Row(RowKind, &'a str),
    /// A question about these items.
    Items(&'a [Name]),
}

impl For<'_> {
    /// An answer that says what it is for, and nothing else.
    fn named(self) -> Recommended {
        let answer = Recommended::default();
        match self {
            For::Row(RowKind::Item, id) => Recommended { item: Some(id.to_owned()), ..answer },
            For::Row(RowKind::Cart, id) => Recommended { cart: Some(id.to_owned()), ..answer },
            For::Row(RowKind::User, id) => Recommended { user: Some(id.to_owned()), ..answer },
            For::Items(_) => answer,
        }
    }
}

impl Service {
    /// A service of these lists. Without `questions`, it answers look-ups only.
    pub(super) fn new(
        tables: Tables,
        questions: Option<QuestionQueue>,
        progress: Progress,
        meter: ServingMeter,
    ) -> Service {
        Service { tables, questions, popular: Arc::default(), progress, meter }
    }

    /// The lists of one kind.
    ///
    /// # Errors
    /// If this process has none.
    pub(super) fn table(&self, rows: RowKind) -> Result<&Table, Problem> {
        self.tables.of(rows).ok_or_else(|| {
            let of = rows.field();
            Problem::not_found(format!(
                "no lists of {of}s here: run wants --recommend {of}s, serve wants --{of}s"
            ))
        })
    }

    /// Waits until the lists are those of the epoch that the request wants, and returns theirs.
    ///
    /// # Errors
    /// If the lists of an earlier run are still being caught up with.
    pub(super) async fn epoch(&self, selection: &Selection) -> Result<Epoch, Problem> {
        let mut end = self.tables.follow();
        let wanted = selection.at_least_epoch.map(|least| least.saturating_add(1));
        let reached = end.borrow_and_update().end;
        let Some(reached) = reached else {
            return Err(Problem::unavailable("not ready: what was published before is being caught up with"));
        };
        let reached = match wanted {
            Some(wanted) if wanted > reached => {
                let found = end.wait_for(|state| state.end >= Some(wanted)).await.map(|state| state.end);
                found.ok().flatten().unwrap_or(reached)
            }
            _ => reached,
        };
        Ok(reached.saturating_sub(1))
    }

    /// The list of an item, a cart or a user.
    ///
    /// # Errors
    /// If this process has no such lists, or is not ready.
    pub(super) async fn look_up(
        &self,
        rows: RowKind,
        id: &str,
        selection: &Selection,
    ) -> Result<Recommended, Problem> {
        let table = self.table(rows)?;
        let epoch = self.epoch(selection).await?;
        self.answer(For::Row(rows, id), epoch, table.get(id).as_deref(), selection).await
    }

    /// Asks the dataflow, and waits for the close of the question's epoch.
    ///
    /// # Errors
    /// If this process computes nothing, is not ready, or has too many questions.
    pub(super) async fn ask(
        &self,
        items: Vec<Name>,
        user: Option<Name>,
        selection: &Selection,
    ) -> Result<Recommended, Problem> {
        let queue = self.questions.as_ref().ok_or_else(|| {
            Problem::not_here("a replica answers look-ups only; questions go to a job with run --serve")
        })?;
        self.epoch(selection).await?;
        let k = (selection.n + selection.offset + selection.exclude.len()).min(2 * LEFT_OUT_MAX);
        let question = Question { number: 0, items: items.clone(), user, basket: None, k, params: None };
        let start = Instant::now();
        let answered = queue.ask(question).map_err(|refused| {
            self.meter.question_refused();
            match refused {
                Refused::Full => Problem::unavailable("too many questions wait: see --serve-questions"),
                Refused::Stopped => Problem::unavailable("the job is being stopped"),
            }
        })?;
        let answer = answered.await.map_err(|_gone| Problem::unavailable("the job is being stopped"))?;
        self.meter.question_answered(start.elapsed());
        self.answer(For::Items(&items), answer.epoch, Some(&answer), selection).await
    }

    /// The part of a list that is wanted; of an empty one, the fallback.
    async fn answer(
        &self,
        of: For<'_>,
        epoch: Epoch,
        list: Option<&Published>,
        selection: &Selection,
    ) -> Result<Recommended, Problem> {
        let mut answer = Recommended { epoch, ..of.named() };
        let entries = list.map(|list| list.entries.as_slice()).unwrap_or_default();
        if let (For::Row(..), Some(list)) = (of, list) {
            answer.changed = Some(list.epoch);
            // The list may be newer than the epoch that was looked at before it.
            answer.epoch = epoch.max(list.epoch);
        }
        let kept = answer.select(entries, selection);
        if kept == 0 && selection.fallback == Fallback::Popular {
            answer.fallback = Some("popular");
            let not_wanted: BTreeSet<&str> = match of {
                For::Row(RowKind::Item, id) => [id].into(),
                For::Row(..) => BTreeSet::new(),
                For::Items(items) => items.iter().map(Name::as_str).collect(),
            };
            let popular = self.popular().await;
            answer.items = popular_items(&popular, selection, &not_wanted);
        }
        Ok(answer)
    }

    /// The most popular items, best first.
    pub(super) async fn popular(&self) -> Arc<[Ranked]> {
        let (latest, is_to_be_made) = self.popular.latest();
        if !is_to_be_made {
            return latest;
        }
        let (tables, popular) = (self.tables.clone(), Arc::clone(&self.popular));
        let made = tokio::task::spawn_blocking(move || {
            tables.of(RowKind::Item).map(|items| popular.make(items)).unwrap_or_default()
        });
        // Whoever finds an older ranking is content with it.
        if latest.is_empty() { made.await.unwrap_or(latest) } else { latest }
    }
}

impl Recommended {
    /// The epoch in which the list changed last. `None` where there is no list.
    pub(super) fn changed(&self) -> Option<Epoch> {
        self.changed
    }

    /// The most popular items as an answer.
    pub(super) fn of_popular(epoch: Epoch, popular: &[Ranked], selection: &Selection) -> Recommended {
        let items = popular_items(popular, selection, &BTreeSet::new());
        Recommended { epoch, items, ..Recommended::default() }
    }

    /// Takes the wanted entries, and notes which were left out before them. Returns how many there are to take from.
    fn select(&mut self, entries: &[Entry], selection: &Selection) -> usize {
        let mut kept = 0;
        for entry in entries {
            let is_low = |least: Decimal| entry.score.is_some_and(|score| score.units() < least.units());
            let why = match () {
                () if selection.exclude.contains(&entry.item) => Some("exclude"),
                () if selection.min_score.is_some_and(is_low) => Some("min_score"),
                () => None,
            };
            let is_full = self.items.len() == selection.n;
            match why {
                Some(why) if !is_full => self.left_out.push(LeftOut { item: entry.item.clone(), why }),
                Some(_) => {}
                None => {
                    kept += 1;
                    if kept > selection.offset && !is_full {
                        let Entry { item, score, count, .. } = entry.clone();
                        self.items.push(RecommendedItem { item, score, count });
                    }
                }
            }
        }
        kept
    }
}

fn popular_items(popular: &[Ranked], selection: &Selection, but: &BTreeSet<&str>) -> Vec<RecommendedItem> {
    let wanted = popular
        .iter()
        .filter(|(item, _count)| !selection.exclude.contains(item) && !but.contains(item.as_str()));
    let part = wanted.skip(selection.offset).take(selection.n);
    let items = part.map(|(item, count)| RecommendedItem {
        item: item.clone(),
        score: None,
        count: (*count > 0).then_some(*count),
    });
    items.collect()
}
