//! Where cart events come from, and how their bytes become events.
//!
//! ```text
//!  source (file, Kafka, generator)            decoder
//! ┌───────────────────────────────┐ records ┌──────────┐ events
//! │ partitions, each with its own ├────────▶│ --format ├────────▶ dataflows
//! │ offsets, read a batch a time  │         └────┬─────┘
//! └───────────────────────────────┘              └─ rejects ──▶ dead letters
//! ```
//!
//! A [`Source`] knows bytes, offsets and brokers; a [`Decoder`] knows event shapes; neither knows similarity.

mod record;
pub use record::{Fetched, Headers, Lag, OnExpired, RawRecord, Resume, Share, Source, SourceError};

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;

pub mod registry;

mod decode;
pub use decode::{
    Basket, BasketField, Column, Columns, DecodeOptions, Decoded, Decoder, Defects, Delimiter, EventIds,
    EventNames, FieldPaths, Flaw, Format, FormatError, Limits, NullWords, PartReject, Reason, Reject,
    RepeatedOrders, TimeFormat, Tombstones,
};

pub mod generate;

pub mod secrets;

#[doc(hidden)]
pub mod fuzz;

#[cfg(all(test, feature = "kafka"))]
#[path = "../../tests/skipped.rs"]
mod skipped;
