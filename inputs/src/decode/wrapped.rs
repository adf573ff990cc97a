//! Records inside of other records: Connect's `schema` and `payload`, Debezium's changes of a row, and lists.
//!
//! A change of a row in a table of lines says what the table holds now. A row that names its event is an entry of a
//! log: it counts when it is inserted, and what becomes of it later is no event.
//!
//! | `op` | a row with an event's name | a row without |
//! |---|---|---|
//! | `c`, `r` | the row | the row |
//! | `u` | other | the line holds what `after` says; where it was another line before, that is removed |
//! | `d` | other | the line that `before` says is removed |
//! | `t`, `m` | other | other |

use super::Limits;
use super::fields::{Field, Raw};
use super::json::object;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How many records may be inside of each other.
pub(super) const WRAPPED_MAX: usize = 3;

/// What is inside of a record.
pub(super) enum Wrapped<'a> {
    /// A record.
    Record(&'a str),
    /// A change of a row.
    Change(Change<'a>),
}

/// A change of a row, as Debezium writes it.
pub(super) struct Change<'a> {
    pub(super) op: Op,
    pub(super) before: Option<&'a str>,
    pub(super) after: Option<&'a str>,
    /// When it was made, or read.
    pub(super) time: Raw<'a>,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Insert,
    Update,
    Delete,
    /// The table was emptied, or a message written: nothing about one row.
    Other,
}

/// All the fields by which an envelope is known.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: Raw<'a>,
    #[serde(borrow)]
    op: Raw<'a>,
    #[serde(borrow)]
    before: Raw<'a>,
    #[serde(borrow)]
    after: Raw<'a>,
    #[serde(borrow)]
    ts_ms: Raw<'a>,
}

/// What is in `text`, if it is an envelope.
pub(super) fn open<'a>(text: &'a str, limits: &Limits) -> Option<Wrapped<'a>> {
    let envelope: Envelope<'a> = object(Field::named("value"), text, limits).ok()?;
    let row = |raw: Raw<'a>| raw.map(RawValue::get).filter(|text| text.starts_with('{'));
    if let Some(payload) = row(envelope.payload) {
        return Some(Wrapped::Record(payload));
    }
    let op = match envelope.op?.get() {
        r#""c""# | r#""r""# => Op::Insert,
        r#""u""# => Op::Update,
        r#""d""# => Op::Delete,
        r#""t""# | r#""m""# => Op::Other,
        _ => return None,
    };
    let (before, after) = (row(envelope.before), row(envelope.after));
    let is_change = op == Op::Other || before.or(after).is_some();
    is_change.then_some(Wrapped::Change(Change { op, before, after, time: envelope.ts_ms }))
}

/// Whether `text` begins as producers write envelopes: then what is inside is looked at first.
pub(super) fn begins_as_one(text: &str) -> bool {
    [r#"{"schema":{"#, r#"{"schema":null"#, r#"{"payload":"#, r#"{"before":"#]
        .iter()
        .any(|beginning| text.starts_with(beginning))
}
