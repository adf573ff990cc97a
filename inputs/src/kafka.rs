//! A Kafka topic as a source: partitions owned by workers, offsets chosen by the job.
//!
//! ```text
//!  settings ──▶ client configuration ┐
//!                                    ▼              ┌ queue of partition 0 ─▶ RawRecord
//!  start (which offsets) ──────▶ one consumer ──────┼ queue of partition 2 ─▶ RawRecord
//!  topic (which partitions) ───▶  per worker        └ …
//!     ▲ a thread looks again                        ┄ main queue: errors, log lines
//! ```
//!
//! The consumer group only remembers offsets, so that tools that show lag see the job; it never decides which worker
//! reads what.

mod settings;
mod open_transactions;
mod client;
mod describe;
mod connection;
mod topic;
mod identity;
mod start;
mod source;
mod headers;
mod commit;
mod release;

pub use client::ClientLog;
pub use describe::describe;
pub use release::{Released, release};
pub use settings::{KafkaSettings, Role, SettingsError};
pub use source::{KafkaParams, KafkaSource};
pub use start::StartFrom;
pub use topic::{TopicChange, TopicState, TopicWatch, existing_partitions, existing_topic, topic_partitions};

#[cfg(test)]
mod tests;
