//! Output: list changes are encoded as records and delivered to a topic, a file or standard output.
//!
//! ```text
//!  ListChange ┌────────┐ Records  ┌──────┐ keys and values ──▶ topic
//! ───────────▶│ encode ├─────────▶│ Sink ├──────────────────────────────┐
//!             └────────┘ a buffer └──────┘ lines ──▶ file, stdout       │
//!                                                                       ▼
//!                                          Lists, as a reader has them: fold
//! ```
//!
//! - [`encode`] is a pure function of the change and the [`OutputOptions`]. Its bytes are the same on every machine.
//! - A [`Sink`] takes the records of an epoch without blocking and reports when all of them have been delivered.
//! - [`Lists`] reads records of any envelope back into lists. `top` prints them, and two runs are compared by them.
//!
//! `docs/output.md` is the contract with readers. `schemas/` states it for machines.

mod change;
mod decimal;
mod records;
mod difference;
mod encode;
mod parsed_record;
mod fold;
mod log_format;
mod input_place;
mod note;
mod prediction;
pub(crate) mod consumer_state;
mod sink;
mod sink_set;
mod file;
pub(crate) mod kafka;
#[doc(hidden)]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use change::ListChange;
pub use decimal::{Decimal, DecimalError};
pub use encode::{CONNECTOR, Envelope, EnvelopeError, OutputOptions, RowKind, VERSION, encode};
pub use file::{FileSink, Lines};
pub use fold::{Entry, FoldError, Lists, Published};
pub(crate) use input_place::{InputOrigin, InputOrigins};
pub use kafka::{
    KafkaSink, OutputWatch, TABLE_PROPERTIES, TopicSpec, TransactionalSink, WORKER_SLOTS, ensure_topic,
    fence, wait_for_open_transactions,
};
pub(crate) use log_format::{LogFormat, Mark};
pub(crate) use note::NoteFormat;
pub(crate) use prediction::PredictionFormat;
pub use records::{Record, Records};
pub use sink::{Delivery, Sent, Sink, SinkError, StreamNumber, Watch};
pub(crate) use sink_set::SinkSet;
