//! Schemas from a schema registry, and values by their schemas as JSON text.
//!
//! ```text
//!  decoder ── which schema? ──▶ Schemas ──▶ Registry ── wanted ──▶ thread ──▶ HTTP, or a folder
//!     ▲                            │           ▲                      │
//!     └── JSON text ◀── value ─────┘           └────── schemas ◀──────┘  wakes the readers
//! ```
//!
//! Nobody who reads records waits here. A schema that is not known yet is asked for by a thread; until it is there the
//! reader of that record is told to come again, and is woken when it is.
//!
//! # Notes
//! - Needs the feature `schema-registry`. Without it there is no [`Registry`], and all that is left is to say so.

#[cfg(feature = "schema-registry")]
mod shared;
#[cfg(feature = "schema-registry")]
pub use shared::Registry;
#[cfg(feature = "schema-registry")]
pub(crate) use shared::Schemas;

#[cfg(feature = "schema-registry")]
mod address;
#[cfg(feature = "schema-registry")]
mod client;
#[cfg(feature = "schema-registry")]
mod folder;
#[cfg(feature = "schema-registry")]
mod asker;
#[cfg(feature = "schema-registry")]
pub(crate) mod schema;
#[cfg(feature = "schema-registry")]
pub(crate) mod avro;
#[cfg(feature = "schema-registry")]
pub(crate) mod protobuf;

#[cfg(not(feature = "schema-registry"))]
mod absent;
#[cfg(not(feature = "schema-registry"))]
pub use absent::Registry;
#[cfg(not(feature = "schema-registry"))]
pub(crate) use absent::Schemas;

use thiserror::Error;

/// Whether a record can be decoded now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// Its schema is not there yet. The thread that asked is unparked when that may have changed.
    Waiting,
}

/// Why a schema registry cannot be used. Each says what to change; none holds a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct RegistryError(pub(crate) String);

/// How a registry does, for those who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryStatus {
    /// It does not answer, and somebody waits for a schema.
    pub is_away: bool,
    /// How many schemas are known.
    pub schemas: u64,
    /// How many schemas were asked for.
    pub requests: u64,
    /// How many times it did not answer.
    pub failures: u64,
}

#[cfg(feature = "schema-registry")]
#[cfg(test)]
mod tests;
