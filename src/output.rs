//! Changed lists become records, and records leave the job.
//!
//! ```text
//!  ListChange ┌────────┐ Records  ┌──────┐ keys and values ──▶ topic
//! ───────────▶│ encode ├─────────▶│ Sink ├──────────────────────────────┐
//!             └────────┘ an arena └──────┘ lines ──▶ file, stdout       │
//!                                                                       ▼
//!                                     Lists, what a reader's table holds: fold
//! ```
//!
//! [`encode`] is a pure function of the change and the [`OutputOptions`]; its bytes are the same on every machine. A
//! [`Sink`] takes an epoch's records without waiting and says when all of them have been delivered. [`Lists`] reads
//! the records of every envelope back: `top` prints it, and two runs are compared by it. `docs/output.md` is the
//! contract with readers, `schemas/` the same for machines.

mod change;
mod decimal;
mod records;
mod difference;
mod encode;
mod parsed_record;
mod fold;
pub(crate) mod consumer_state;
mod sink;
mod file;
pub(crate) mod kafka;
#[doc(hidden)]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use change::ListChange;
pub use decimal::{Decimal, DecimalError};
pub use encode::{CONNECTOR, Envelope, EnvelopeError, OutputOptions, STREAM, VERSION, encode};
pub use file::{FileSink, Lines};
pub use fold::{Entry, FoldError, Lists, Published};
pub use kafka::{
    KafkaSink, OutputWatch, TABLE_PROPERTIES, TopicSpec, TransactionalSink, WORKER_SLOTS, ensure_topic,
    fence, wait_for_open_transactions,
};
pub use records::{Record, Records};
pub use sink::{Delivery, Sent, Sink, SinkError, Watch};
