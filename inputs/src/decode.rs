//! Bytes to events, or a reject with its reason. Total: no record, however hostile, makes it panic.
//!
//! ```text
//!            ┌────────┐ bytes ┌──────────────────────┐ text ┌────────────────┐ what was said ┌──────┐
//!  record ──▶│ limits ├──────▶│ JSON: schema's frame,├─────▶│ plain · ga4 ·  ├──────────────▶│ sink ├──▶ events
//!            └────┬───┘       │ CloudEvents envelope │      │ segment ·      │               └──────┘
//!                 │           └──────────────────────┘      │ snowplow       │                  ▲
//!                 │                                         └────────────────┘                  │
//!                 └──────────▶ CSV rows by column, presets, baskets by line ────────────────────┘
//! ```
//!
//! Each format only says what a record *means* (a kind, the ids, its lines); the [`sink::Sink`] alone turns that into
//! [`Event`]s, under one set of rules for quantities, missing ids and duplicates. `docs/formats.md` is the
//! specification, and its examples are tests.

mod reject;
pub use reject::{Defects, Flaw, PartReject, Reason, Reject};
mod limits;
pub use limits::Limits;
mod error;
pub use error::FormatError;
mod columns;
pub use columns::{Column, Columns, Delimiter};
mod nulls;
pub use nulls::NullWords;
mod paths;
pub use paths::FieldPaths;
mod options;
mod choices;
pub use choices::{RepeatedOrders, Tombstones};
pub use options::{Basket, BasketField, DecodeOptions, EventNames, Format};
mod fields;
mod utf8;
mod times;
mod time_format;
pub use time_format::TimeFormat;
mod joined;
mod duplicates;
pub use duplicates::EventIds;
mod sink;
mod wire;
#[cfg(feature = "schema-registry")]
pub(crate) use utf8::{json_string, json_text};
pub(crate) use wire::{Framed, SchemaId};
#[cfg(feature = "schema-registry")]
pub(crate) use wire::{Hyphenated, MessageOf};
mod values;
mod broken;
mod json;
mod key;
mod wrapped;
mod list;
mod cloudevents;
mod plain;
mod ga4;
mod segment;
mod snowplow;
mod tree;
mod mapped;
mod shops;
mod csv;
mod presets;
mod baskets;
mod fimi;

use crate::RawRecord;
use crate::registry::{Readiness, RegistryError};
use compact_str::CompactString;
use deltacart_dataflows::{Event, Position};
use duplicates::Duplicates;
use sink::Sink;

/// Understands the records of one `--format`. One decoder serves all partitions of a worker.
pub trait Decoder {
    /// Sees to it that the record can be decoded. To be called before [`Decoder::decode`], and again later when the
    /// answer is [`Readiness::Waiting`]; never waits itself.
    ///
    /// # Errors
    /// When the schema registry can be of no use to anybody.
    fn prepare(&mut self, record: &RawRecord<'_>) -> Result<Readiness, RegistryError> {
        let _ = record;
        Ok(Readiness::Ready)
    }

    /// Appends the record's events to `events`, or nothing at all when the record is rejected. Their times are those of
    /// the record, in any order. A line that cannot be used costs the others nothing: [`Decoded::defects`] has it.
    /// Their partition is left to the caller, who knows which stream the record is from.
    fn decode(&mut self, record: &RawRecord<'_>, events: &mut Vec<Event>) -> Result<Decoded, Reject>;

    /// How many event ids are remembered now, to find those that come again.
    fn ids_remembered(&self) -> usize {
        0
    }

    /// Whether the record at offset 0 of a partition says how to read the others: a job that resumes at a later
    /// offset must decode that record first.
    fn needs_header(&self) -> bool {
        false
    }

    /// The event ids that are remembered of each partition, for a snapshot.
    fn remembered(&self) -> Vec<(u32, EventIds)> {
        Vec::new()
    }

    /// Remembers ids of a partition as if they had just been met in this order.
    fn remember(&mut self, partition: u32, ids: &mut dyn Iterator<Item = CompactString>) {
        let _ = (partition, ids);
    }
}

/// What became of a record that was understood, at least in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Events appended.
    pub events: u32,
    /// Views that are no events: understood and ignored ([`DecodeOptions::views`]).
    pub views: u32,
    /// Events of other kinds than those about carts (a page view, a search): ignored.
    pub others: u32,
    /// Events of visitors who gave no consent, and which therefore have no id for a basket: ignored.
    pub anonymous: u32,
    /// Events that repeat an event id met within the horizon, or the record does: dropped.
    pub duplicates: u32,
    /// Purchases that repeat an order met within the horizon: dropped.
    pub repeated_orders: u32,
    /// The record is the header of a CSV file.
    pub header: bool,
    /// What of the record could not be used; nearly always nothing.
    pub defects: Option<Box<Defects>>,
}

/// The one decoder: the limits and the duplicates around a format.
struct FormatDecoder {
    format: FormatKind,
    limits: Limits,
    tombstones: Tombstones,
    views: bool,
    duplicates: Duplicates,
}

/// How the bytes of a record are laid out.
enum FormatKind {
    Json(Box<json::Json>),
    Csv(Box<csv::Csv>),
    Baskets(Box<baskets::Baskets>),
    Fimi,
}

impl Decoder for FormatDecoder {
    fn prepare(&mut self, record: &RawRecord<'_>) -> Result<Readiness, RegistryError> {
        match &mut self.format {
            FormatKind::Json(json) => json.prepare(record),
            FormatKind::Csv(_) | FormatKind::Baskets(_) | FormatKind::Fimi => Ok(Readiness::Ready),
        }
    }

    fn decode(&mut self, record: &RawRecord<'_>, events: &mut Vec<Event>) -> Result<Decoded, Reject> {
        let before = events.len();
        let position = Position { offset: record.offset, ..Position::default() };
        let recent = self.duplicates.of_partition(record.partition);
        let mut sink = Sink::new(events, &self.limits, recent, position);
        (sink.key, sink.keeps_views) = (record.key, self.views);
        let result = match record.value {
            None if record.truncated => {
                Err(Reject::new(Reason::TooLarge, "the record is longer than the limit"))
            }
            None => tombstone(self.tombstones, &mut sink),
            Some(value) => checked(record, value, &self.limits).and_then(|value| match &mut self.format {
                FormatKind::Json(json) => json.decode(record.headers, value, &mut sink),
                FormatKind::Csv(csv) => csv.decode(record, value, &mut sink),
                FormatKind::Baskets(baskets) => baskets.decode(record, value, &mut sink),
                FormatKind::Fimi => fimi::decode(record, value, &mut sink),
            }),
        };
        let decoded = result.and_then(|()| {
            sink.bound_times(record.timestamp);
            sink.accept()
        });
        if decoded.is_err() {
            // The events before the defect go as well.
            events.truncate(before);
        }
        decoded
    }

    fn ids_remembered(&self) -> usize {
        self.duplicates.len()
    }

    fn needs_header(&self) -> bool {
        matches!(&self.format, FormatKind::Csv(csv) if csv.needs_header())
    }

    fn remembered(&self) -> Vec<(u32, EventIds)> {
        self.duplicates.ids()
    }

    fn remember(&mut self, partition: u32, ids: &mut dyn Iterator<Item = CompactString>) {
        if let Some(recent) = self.duplicates.of_partition(partition) {
            for id in ids {
                recent.begin();
                recent.is_new(&id);
                recent.accept();
            }
        }
    }
}

/// A record without a value.
fn tombstone(tombstones: Tombstones, sink: &mut Sink<'_>) -> Result<(), Reject> {
    match tombstones {
        Tombstones::Reject => {
            let detail =
                "no value: a tombstone (--tombstones forget takes its key's basket back, ignore counts it)";
            Err(Reject::new(Reason::Empty, detail))
        }
        Tombstones::Ignore => {
            sink.counts.others += 1;
            Ok(())
        }
        Tombstones::Forget => sink.forget_key(),
    }
}

/// The record's value, if it is whole.
fn checked<'a>(record: &RawRecord<'_>, value: &'a [u8], limits: &Limits) -> Result<&'a [u8], Reject> {
    if record.truncated || value.len() > limits.record_bytes_max {
        let detail = format!("the value is longer than {} bytes", limits.record_bytes_max);
        return Err(Reject::new(Reason::TooLarge, detail));
    }
    if value.is_empty() {
        return Err(Reject::new(Reason::Empty, "the value is empty"));
    }
    Ok(value)
}
