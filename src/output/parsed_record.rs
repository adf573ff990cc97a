//! The parser of record values, for all envelopes. It yields the item, the epoch and the new content of the list.
//!
//! The entries of lists can be skipped, which takes a fraction of the time.

use super::encode::{Envelope, RowKind, VERSION};
use super::fold::{Entry, FoldError};
use deltacart_dataflows::{Epoch, Name};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// One parsed value.
pub(super) struct ParsedRecord<L> {
    pub(super) envelope: Envelope,
    pub(super) rows: RowKind,
    /// The item, the cart or the user.
    pub(super) item: Name,
    pub(super) epoch: Epoch,
    pub(super) update: ListUpdate<L>,
}

/// The change that a record makes to the item's list.
pub(super) enum ListUpdate<L> {
    /// The whole list. Empty if there is none any more.
    List(L),
    /// This neighbour is in the list.
    Pair(Entry),
    /// This neighbour is no longer in the list.
    Leave(Name),
}

/// The fields of all envelopes, each optional.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Value<'a, R> {
    version: Option<u32>,
    op: Option<Name>,
    item: Option<Name>,
    cart: Option<Name>,
    user: Option<Name>,
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
    item: Option<Name>,
    cart: Option<Name>,
    user: Option<Name>,
    recommendations: R,
}

/// What a list is for, by the field that a record has.
fn row(item: Option<Name>, cart: Option<Name>, user: Option<Name>) -> Result<(RowKind, Name), FoldError> {
    match (item, cart, user) {
        (Some(item), None, None) => Ok((RowKind::Item, item)),
        (None, Some(cart), None) => Ok((RowKind::Cart, cart)),
        (None, None, Some(user)) => Ok((RowKind::User, user)),
        _ => Err(FoldError::Shape("not one of item, cart and user")),
    }
}

#[derive(Deserialize)]
struct Origin {
    version: Name,
    epoch: Epoch,
}

/// Parses one value, or one line of a file.
pub(super) fn read(value: &[u8]) -> Result<ParsedRecord<Vec<Entry>>, FoldError> {
    let ParsedRecord { envelope, rows, item, epoch, update } = read_as::<Vec<Row<'_>>>(value)?;
    let update = match update {
        ListUpdate::List(list) => ListUpdate::List(entries(list)?),
        ListUpdate::Pair(entry) => ListUpdate::Pair(entry),
        ListUpdate::Leave(other) => ListUpdate::Leave(other),
    };
    Ok(ParsedRecord { envelope, rows, item, epoch, update })
}

/// Parses everything but the entries of a list.
pub(super) fn read_head(value: &[u8]) -> Result<ParsedRecord<IgnoredAny>, FoldError> {
    read_as(value)
}

fn read_as<'a, R: Deserialize<'a> + Default>(value: &'a [u8]) -> Result<ParsedRecord<R>, FoldError> {
    let value: Value<'a, R> = serde_json::from_slice(value)?;
    if let Some(Origin { version, epoch }) = value.source {
        check_version(version.parse().unwrap_or(0))?;
        let (image, is_gone) = match (value.before, value.after) {
            (_, Some(after)) => (after, false),
            (Some(before), None) => (before, true),
            (None, None) => return Err(FoldError::Shape("neither before nor after")),
        };
        let (rows, item) = row(image.item, image.cart, image.user)?;
        let list = if is_gone { R::default() } else { image.recommendations };
        return Ok(ParsedRecord {
            envelope: Envelope::Debezium,
            rows,
            item,
            epoch,
            update: ListUpdate::List(list),
        });
    }
    let version = value.version.ok_or(FoldError::Shape("no version"))?;
    let (rows, item) = row(value.item, value.cart, value.user)?;
    let epoch = value.epoch.ok_or(FoldError::Shape("no epoch"))?;
    check_version(version)?;
    if let Some(list) = value.recommendations {
        return Ok(ParsedRecord {
            envelope: Envelope::Upsert,
            rows,
            item,
            epoch,
            update: ListUpdate::List(list),
        });
    }
    let other = value.other.ok_or(FoldError::Shape("neither recommendations nor other nor source"))?;
    let update = if value.op.ok_or(FoldError::Shape("no op"))? == "leave" {
        ListUpdate::Leave(other)
    } else {
        let rank = value.rank.ok_or(FoldError::Shape("no rank"))?;
        ListUpdate::Pair(entry(rank, Row { item: other, score: value.score, count: value.count })?)
    };
    Ok(ParsedRecord { envelope: Envelope::Changes, rows, item, epoch, update })
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
