//! Why there is no snapshot.

use std::io;
use thiserror::Error;

/// Why a snapshot cannot be written or used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The store failed.
    #[error("cannot {what}")]
    Store {
        /// What was to be done, with the name and the place.
        what: String,
        /// What the operating system or the service said.
        source: io::Error,
    },
    /// What was read is not what was written.
    #[error("{name} is damaged: {what}")]
    Damaged {
        /// Which part or manifest.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// Another program wrote it.
    #[error("{name} has format {format}, written by deltacart {program}; this program reads up to {known}")]
    TooNew {
        /// Which manifest.
        name: String,
        /// The format it says.
        format: u32,
        /// The version that wrote it.
        program: String,
        /// The newest format that this program knows.
        known: u32,
    },
    /// Its parts are encoded in a way that is not this program's.
    #[error(
        "{name} is encoded as \"{codec}\": go on with the program that wrote it, or begin anew with an empty --state"
    )]
    OtherCodec {
        /// Which manifest.
        name: String,
        /// How it is encoded.
        codec: String,
    },
    /// The settings that shape what is saved are others now.
    #[error("{name} was taken with other settings: {}; run with those, or begin anew with an empty --state", differences.join(", "))]
    OtherSettings {
        /// Which manifest.
        name: String,
        /// Each that differs, with both values.
        differences: Vec<String>,
    },
    /// There are snapshots, and none is good.
    #[error("no snapshot in {place} is good: {}; to begin anew at the start of the input, empty it", reasons.join("; "))]
    NoneGood {
        /// The store.
        place: String,
        /// What is wrong with each.
        reasons: Vec<String>,
    },
    /// Another job writes there.
    #[error("{place} is in use by another job; each needs a folder of its own")]
    InUse {
        /// The store.
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
