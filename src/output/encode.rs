//! The encoder: one list change becomes the bytes of its records.
//!
//! Fields have a fixed order, numbers are exact decimals, and nothing is read from a hash table. So equal changes
//! give equal bytes everywhere. `docs/output.md` defines the fields.
//!
//! # Notes
//!
//! A change that no reader could see gives no record: only scores differ, and scores are off.

use super::ListChange;
use super::decimal::{Decimal, push_integer};
use super::difference::{Change, Difference};
use super::records::{Form, Records, Span};
use deltacart_dataflows::Neighbour;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The version of the record layout, part of every value. It rises when a reader of the previous version would be
/// misled.
pub const VERSION: u32 = 1;

/// The value of `source.connector` in Debezium records.
pub const CONNECTOR: &str = "deltacart";

/// What the lists of a table are for. The records of a table name it by a field of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKind {
    /// Items: the field `item`.
    #[default]
    Item,
    /// Open carts: the field `cart`.
    Cart,
    /// Users: the field `user`.
    User,
}

impl RowKind {
    /// The name of the field.
    pub fn field(self) -> &'static str {
        match self {
            RowKind::Item => "item",
            RowKind::Cart => "cart",
            RowKind::User => "user",
        }
    }

    /// The value of `source.name` in Debezium records: which of the job's outputs this is.
    pub fn stream(self) -> &'static str {
        match self {
            RowKind::Item => "recommendations",
            RowKind::Cart => "carts",
            RowKind::User => "users",
        }
    }
}

/// The layout of the output records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Envelope {
    /// Keyed by item: the whole new list and its changes. An emptied list is a tombstone.
    #[default]
    Upsert,
    /// Keyed by item and neighbour: one record for each neighbour that entered, left, was rescored or changed rank.
    Changes,
    /// Keyed by item: the list before and after, as Debezium represents the change of a row.
    Debezium,
}

impl Envelope {
    /// All envelopes, in the order of the documentation.
    pub const ALL: [Envelope; 3] = [Envelope::Upsert, Envelope::Changes, Envelope::Debezium];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Envelope::Upsert => "upsert",
            Envelope::Changes => "changes",
            Envelope::Debezium => "debezium",
        }
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// The text is not the name of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown envelope: expected upsert, changes or debezium")]
pub struct EnvelopeError;

impl FromStr for Envelope {
    type Err = EnvelopeError;

    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        Envelope::ALL.into_iter().find(|envelope| envelope.name() == text).ok_or(EnvelopeError)
    }
}

/// The score of a neighbour that is, or was, published without one. No computed score has this value.
pub(crate) const UNSCORED: i64 = i64::MIN;

/// In a list of an earlier run: the name of a neighbour of which only the rank is known. No record is written when it
/// leaves. No item has this id.
pub(crate) const UNKNOWN: &str = "";

/// How list changes are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputOptions {
    /// What the lists are for.
    pub rows: RowKind,
    /// The layout of the records.
    pub envelope: Envelope,
    /// Whether records contain scores and counts. Without them, a list changes only when its items or their order
    /// change.
    pub scores: bool,
    /// The number of digits after the point in the dataflow's integer scores, at most [`Decimal::DIGITS_MAX`].
    pub score_digits: u32,
}

/// Appends the records of one change to `records`, or none if the change is not visible.
///
/// - `upsert` gives one record, which is a tombstone for an emptied list.
/// - `debezium` gives one record, and a tombstone after a delete.
/// - `changes` gives one record for each changed neighbour, and a tombstone after each one that left.
pub fn encode(change: &ListChange, options: &OutputOptions, records: &mut Records) {
    let Records { bytes, spans, difference, .. } = records;
    difference.compare(&change.before, &change.after, options.scores);
    if difference.is_none() {
        return;
    }
    let mut encoder = Encoder { change, options, difference, bytes, spans };
    match options.envelope {
        Envelope::Upsert => encoder.upsert(),
        Envelope::Changes => encoder.changes(),
        Envelope::Debezium => encoder.debezium(),
    }
    if let Some(last) = spans.last_mut() {
        last.is_last = true;
    }
}

struct Encoder<'a> {
    change: &'a ListChange,
    options: &'a OutputOptions,
    difference: &'a Difference,
    bytes: &'a mut Vec<u8>,
    spans: &'a mut Vec<Span>,
}

impl Encoder<'_> {
    fn upsert(&mut self) {
        let ListChange { item: _, epoch, before, after } = self.change;
        let key_end = self.item_key();
        self.push_version();
        self.push(b",");
        self.push_row_name();
        self.push(b",\"epoch\":");
        push_integer(self.bytes, *epoch);
        self.push(b",\"recommendations\":");
        self.push_list(after);
        self.push(b",\"changes\":{\"added\":");
        self.push_changed(Change::Added);
        self.push(b",\"removed\":");
        let gone = before.iter().zip(self.difference.gone()).filter(|(_, gone)| *gone);
        push_items(self.bytes, gone.map(|(entry, _)| entry));
        self.push(b",\"rescored\":");
        self.push_changed(Change::Rescored);
        self.push(b",\"moved\":");
        self.push_changed(Change::Moved);
        self.push(b"}}");
        self.end_record(key_end, if after.is_empty() { Form::Emptied } else { Form::Value });
    }

    fn changes(&mut self) {
        let ListChange { before, after, .. } = self.change;
        let gone = before.iter().zip(self.difference.gone()).filter(|(_, gone)| *gone);
        for (entry, _) in gone.filter(|(entry, _)| entry.item != UNKNOWN) {
            let key_end = self.pair_key(entry);
            self.push_operation("leave", entry);
            self.push(b"}");
            self.end_record(key_end, Form::Value);
            let key_end = self.pair_key(entry);
            self.end_record(key_end, Form::Tombstone);
        }
        for (index, (entry, change)) in after.iter().zip(self.difference.changes()).enumerate() {
            let operation = match change {
                Change::Added => "enter",
                Change::Rescored => "rescore",
                // The record contains the rank itself. An entry that moved among the common entries may have kept it.
                Change::Moved | Change::Shifted if !self.difference.keeps_rank(index) => "move",
                Change::Moved | Change::Shifted | Change::Same => continue,
            };
            let key_end = self.pair_key(entry);
            self.push_operation(operation, entry);
            self.push(b",\"rank\":");
            push_integer(self.bytes, index as u64 + 1);
            push_score(self.bytes, scored(entry, self.options));
            self.push(b"}");
            self.end_record(key_end, Form::Value);
        }
    }

    fn debezium(&mut self) {
        let ListChange { item: _, epoch, before, after } = self.change;
        let key_end = self.item_key();
        self.push(b"{\"before\":");
        self.push_row(before);
        self.push(b",\"after\":");
        self.push_row(after);
        self.push(b",\"source\":{\"version\":\"");
        push_integer(self.bytes, VERSION.into());
        self.push(b"\",\"connector\":");
        push_text(self.bytes, CONNECTOR);
        self.push(b",\"name\":");
        push_text(self.bytes, self.options.rows.stream());
        self.push(b",\"epoch\":");
        push_integer(self.bytes, *epoch);
        self.push(b"},\"op\":");
        push_text(
            self.bytes,
            if before.is_empty() {
                "c"
            } else if after.is_empty() {
                "d"
            } else {
                "u"
            },
        );
        self.push(b"}");
        self.end_record(key_end, Form::Value);
        if after.is_empty() {
            let key_end = self.item_key();
            self.end_record(key_end, Form::Tombstone);
        }
    }

    /// Appends what the list is for, as a field: `"item":"85123A"`.
    fn push_row_name(&mut self) {
        push_text(self.bytes, self.options.rows.field());
        self.push(b":");
        push_text(self.bytes, &self.change.item);
    }

    /// Appends the item's id as the key. Returns where the key ends.
    fn item_key(&mut self) -> usize {
        self.bytes.extend_from_slice(self.change.item.as_bytes());
        self.bytes.len()
    }

    fn pair_key(&mut self, other: &Neighbour) -> usize {
        push_pair_key(self.bytes, &self.change.item, &other.item);
        self.bytes.len()
    }

    fn push_version(&mut self) {
        self.push(b"{\"version\":");
        push_integer(self.bytes, VERSION.into());
    }

    /// Appends the beginning of a record about a pair, up to the epoch.
    fn push_operation(&mut self, operation: &str, other: &Neighbour) {
        self.push_version();
        self.push(b",\"op\":");
        push_text(self.bytes, operation);
        self.push(b",");
        self.push_row_name();
        self.push(b",\"other\":");
        push_text(self.bytes, &other.item);
        self.push(b",\"epoch\":");
        push_integer(self.bytes, self.change.epoch);
    }

    /// Appends the list as a Debezium row: `null` if it is empty.
    fn push_row(&mut self, list: &[Neighbour]) {
        if list.is_empty() {
            self.push(b"null");
            return;
        }
        self.push(b"{");
        self.push_row_name();
        self.push(b",\"recommendations\":");
        self.push_list(list);
        self.push(b"}");
    }

    fn push_list(&mut self, list: &[Neighbour]) {
        push_list(self.bytes, list.iter().map(|entry| (entry.item.as_str(), scored(entry, self.options))));
    }

    /// Appends the items of the list after whose change is `change`.
    fn push_changed(&mut self, change: Change) {
        let entries = self.change.after.iter().zip(self.difference.changes());
        push_items(self.bytes, entries.filter(|(_, found)| **found == change).map(|(entry, _)| entry));
    }

    fn push(&mut self, json: &[u8]) {
        self.bytes.extend_from_slice(json);
    }

    fn end_record(&mut self, key_end: usize, form: Form) {
        self.spans.push(Span { key_end, end: self.bytes.len(), form, is_last: false });
    }
}

/// Appends `["item","other"]`.
pub(super) fn push_pair_key(out: &mut Vec<u8>, item: &str, other: &str) {
    out.push(b'[');
    push_text(out, item);
    out.push(b',');
    push_text(out, other);
    out.push(b']');
}

fn scored(entry: &Neighbour, options: &OutputOptions) -> Option<(Decimal, u32)> {
    (options.scores && entry.score != UNSCORED)
        .then(|| (Decimal::new(entry.score, options.score_digits), entry.count))
}

/// Appends a list as records contain it: items, each with score and count unless scores are off.
pub(super) fn push_list<'a>(
    out: &mut Vec<u8>,
    list: impl Iterator<Item = (&'a str, Option<(Decimal, u32)>)>,
) {
    out.push(b'[');
    for (index, (item, scored)) in list.enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"item\":" } else { b",{\"item\":" });
        push_text(out, item);
        push_score(out, scored);
        out.push(b'}');
    }
    out.push(b']');
}

fn push_score(out: &mut Vec<u8>, scored: Option<(Decimal, u32)>) {
    if let Some((score, count)) = scored {
        out.extend_from_slice(b",\"score\":");
        score.write(out);
        out.extend_from_slice(b",\"count\":");
        push_integer(out, count.into());
    }
}

fn push_items<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = &'a Neighbour>) {
    out.push(b'[');
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, &entry.item);
    }
    out.push(b']');
}

/// Appends a JSON string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        // Nearly every id: nothing to escape.
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("every text is a JSON string, and a vector takes every byte");
    }
}
