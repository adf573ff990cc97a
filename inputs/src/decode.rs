//! Bytes to events, or a reject with its reason. Total: no record, however hostile, makes it panic.

use crate::RawRecord;
use deltacart_dataflows::Event;

/// Understands the records of one `--format`. One decoder serves all partitions of a worker.
pub trait Decoder {
    /// Appends the record's events to `events`, or nothing at all when the record is rejected.
    fn decode(&mut self, record: &RawRecord<'_>, events: &mut Vec<Event>) -> Result<Decoded, Reject>;
}

/// What became of a record that was understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Events appended.
    pub events: u32,
    /// Views: understood and ignored for now.
    pub views: u32,
    /// Events of other kinds than those about carts (a page view, a search): ignored.
    pub others: u32,
    /// The record repeats an event id met within the horizon: dropped.
    pub duplicate: bool,
    /// The record is the header of a CSV file.
    pub header: bool,
}

/// A record that cannot be used: data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which kind of defect.
    pub reason: Reason,
    /// A sentence for a person: which field, and what was found there, escaped and cut to a bounded length.
    pub detail: String,
}

/// The kinds of defect a record can have. The names are stable: they are in dead letters, summaries and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No value at all.
    Empty,
}
