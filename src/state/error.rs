//! The errors of snapshots.

use std::io;
use thiserror::Error;

/// Why a snapshot cannot be written or used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The store failed.
    #[error("cannot {what}")]
    Store {
        /// What was to be done, with the name and the store.
        what: String,
        /// The error of the operating system or the service.
        source: io::Error,
    },
    /// The content read is not the content written.
    #[error("{name} is damaged: {what}")]
    Damaged {
        /// The name of the part or manifest.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A newer program wrote it.
    #[error("{name} has format {format}, written by deltacart {program}; this program reads up to {known}")]
    TooNew {
        /// The name of the manifest.
        name: String,
        /// The format that the manifest states.
        format: u32,
        /// The version of the program that wrote it.
        program: String,
        /// The newest format that this program reads.
        known: u32,
    },
    /// Its parts have an encoding that this program does not read.
    #[error(
        "{name} is encoded as \"{codec}\": continue with the program that wrote it, or start over with an empty --state"
    )]
    OtherCodec {
        /// The name of the manifest.
        name: String,
        /// The encoding that the manifest states.
        codec: String,
    },
    /// The settings that shape the baskets have changed.
    #[error("{name} was taken with other settings: {}; run with those, or start over with an empty --state", differences.join(", "))]
    OtherSettings {
        /// The name of the manifest.
        name: String,
        /// Each setting that differs, with both values.
        differences: Vec<String>,
    },
    /// There are snapshots, and none is good.
    #[error("no snapshot in {place} is good: {}; to start over at the beginning of the input, empty it", reasons.join("; "))]
    NoneGood {
        /// The name of the store.
        place: String,
        /// What is wrong with each snapshot.
        reasons: Vec<String>,
    },
    /// Another job uses the store.
    #[error("{place} is in use by another job; each needs a folder of its own")]
    InUse {
        /// The name of the store.
        place: String,
    },
}

impl StateError {
    pub(super) fn damaged(name: &str, what: impl Into<String>) -> StateError {
        StateError::Damaged { name: name.to_owned(), what: what.into() }
    }

    pub(super) fn store(what: String) -> impl FnOnce(io::Error) -> StateError {
        |source| StateError::Store { what, source }
    }
}
