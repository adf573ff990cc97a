//! What one record says: the values of all envelopes, read. Whose it is, and what became of the list; or only whose,
//! which takes a fraction of the time.

use super::encode::{Envelope, VERSION};
use super::fold::{Entry, FoldError};
use deltacart_dataflows::{Epoch, Name};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// One value, read.
pub(super) struct ParsedRecord<L> {
    pub(super) envelope: Envelope,
    pub(super) item: Name,
    pub(super) epoch: Epoch,
    pub(super) what: What<L>,
}

/// What became of the item's list.
pub(super) enum What<L> {
    /// It is this, whole; empty if there is none any more.
    List(L),
    /// This neighbour is in it.
    Pair(Entry),
    /// This neighbour is not in it any more.
    Leave(Name),
}

/// A value of any envelope: a field is there or not.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Value<'a, R> {
    version: Option<u32>,
    op: Option<Name>,
    item: Option<Name>,
    other: Option<Name>,
    epoch: Option<Epoch>,
    rank: Option<u32>,
    #[serde(borrow)]
    score: Option<&'a RawValue>,
    count: Option<u32>,
    recommendations: Option<R>,
    before: Option<Image<R>>,
    after: Option<Image<R>>,
    source: Option<Origin>,
}

#[derive(Deserialize)]
struct Row<'a> {
    item: Name,
    #[serde(borrow)]
    score: Option<&'a RawValue>,
    count: Option<u32>,
}

#[derive(Deserialize)]
struct Image<R> {
    item: Name,
    recommendations: R,
}

#[derive(Deserialize)]
struct Origin {
    version: Name,
    epoch: Epoch,
}

/// Reads one value, or line.
pub(super) fn read(value: &[u8]) -> Result<ParsedRecord<Vec<Entry>>, FoldError> {
    let ParsedRecord { envelope, item, epoch, what } = read_as::<Vec<Row<'_>>>(value)?;
    let what = match what {
        What::List(rows) => What::List(entries(rows)?),
        What::Pair(entry) => What::Pair(entry),
        What::Leave(other) => What::Leave(other),
    };
    Ok(ParsedRecord { envelope, item, epoch, what })
}

/// The same, but for what is in a list.
pub(super) fn glance(value: &[u8]) -> Result<ParsedRecord<IgnoredAny>, FoldError> {
    read_as(value)
}

fn read_as<'a, R: Deserialize<'a> + Default>(value: &'a [u8]) -> Result<ParsedRecord<R>, FoldError> {
    let value: Value<'a, R> = serde_json::from_slice(value)?;
    if let Some(Origin { version, epoch }) = value.source {
        check_version(version.parse().unwrap_or(0))?;
        let (item, rows) = match (value.before, value.after) {
            (_, Some(after)) => (after.item, after.recommendations),
            (Some(before), None) => (before.item, R::default()),
            (None, None) => return Err(FoldError::Shape("neither before nor after")),
        };
        return Ok(ParsedRecord { envelope: Envelope::Debezium, item, epoch, what: What::List(rows) });
    }
    let version = value.version.ok_or(FoldError::Shape("no version"))?;
    let item = value.item.ok_or(FoldError::Shape("no item"))?;
    let epoch = value.epoch.ok_or(FoldError::Shape("no epoch"))?;
    check_version(version)?;
    if let Some(rows) = value.recommendations {
        return Ok(ParsedRecord { envelope: Envelope::Upsert, item, epoch, what: What::List(rows) });
    }
    let other = value.other.ok_or(FoldError::Shape("neither recommendations nor other nor source"))?;
    let what = if value.op.ok_or(FoldError::Shape("no op"))? == "leave" {
        What::Leave(other)
    } else {
        let rank = value.rank.ok_or(FoldError::Shape("no rank"))?;
        What::Pair(entry(rank, Row { item: other, score: value.score, count: value.count })?)
    };
    Ok(ParsedRecord { envelope: Envelope::Changes, item, epoch, what })
}

fn check_version(version: u32) -> Result<(), FoldError> {
    if version == VERSION { Ok(()) } else { Err(FoldError::Version(version)) }
}

fn entries(rows: Vec<Row<'_>>) -> Result<Vec<Entry>, FoldError> {
    (1..).zip(rows).map(|(rank, row)| entry(rank, row)).collect()
}

fn entry(rank: u32, row: Row<'_>) -> Result<Entry, FoldError> {
    let score = row.score.map(|score| score.get().parse()).transpose()?;
    Ok(Entry { rank, item: row.item, score, count: row.count })
}
