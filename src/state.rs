//! Snapshots: the baskets at the end of one epoch, and the input offsets that belong to it, so that a job can go on
//! where it was.
//!
//! ```text
//!  worker 0   baskets, ids ─▶ scribe ─▶ snapshot-7.part-0 ┐
//!  worker 1   baskets, ids ─▶ scribe ─▶ snapshot-7.part-1 ┼─▶ all synced ─▶ snapshot-7.json, the manifest
//!  worker 2   …                                           ┘                 offsets, settings, parts + checksums
//! ```
//!
//! [`store`] is where they lie: things with a name that are there whole or not at all, in a [`folder`], or with the
//! feature `object-store` in a bucket. [`part`] is the layout of a part and [`manifest`] that of a manifest; a snapshot
//! without its manifest is none. [`scribe`] writes parts beside the worker, [`keeper`] completes snapshots and prunes
//! old ones, [`load`](mod@load) finds the newest good one.
//!
//! Nothing that is derived is saved: lists follow from lines. Parts are keyed by basket, so any number of workers goes
//! on from those of any other.

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
