//! Snapshots: the baskets at the end of one epoch and the input offsets that belong to it, from which a job resumes.
//!
//! ```text
//!  worker 0   baskets, ids ─▶ writer ─▶ snapshot-7.part-0 ┐
//!  worker 1   baskets, ids ─▶ writer ─▶ snapshot-7.part-1 ┼─▶ all synced ─▶ snapshot-7.json, the manifest
//!  worker 2   …                                           ┘                 offsets, settings, parts + checksums
//! ```
//!
//! - [`store`] is the storage: named objects, each there whole or not at all. It is a [`folder`] or, with the feature
//!   `object-store`, a bucket.
//! - [`part`] is the layout of a part and [`manifest`] that of a manifest. Without its manifest, a snapshot does not
//!   count.
//! - [`snapshot_writer`] writes a worker's parts, beside the worker.
//! - [`snapshot_catalog`] completes snapshots and prunes old ones.
//! - [`load`](mod@load) finds the newest good snapshot.
//!
//! Nothing that is derived is saved: lists follow from lines. Parts are keyed by basket, so a job can resume with
//! another number of workers.

pub mod store;

pub mod folder;

mod lock;

#[cfg(feature = "object-store")]
pub mod bucket;

mod frame;

mod fields;

#[cfg(feature = "abomonation")]
mod abomonated;

pub mod part;

pub mod manifest;

pub mod snapshot_writer;

pub mod snapshot_catalog;

pub mod load;

pub(crate) mod open;

mod error;

#[doc(hidden)]
pub(crate) mod fuzz;

pub use error::StateError;

#[cfg(test)]
mod tests;
