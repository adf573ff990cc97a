//! What a worker holds: counts, and the bytes they take. Nothing is kept up for it; whoever asks has it walked over.
//!
//! Bytes are those that the collections have allocated, used or not; what the allocator adds is not known here.

use crate::SharedNames;
use crate::baskets::SharedLedger;
use crate::neighbours::SharedEngine;

/// What one worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStats {
    /// Baskets with at least one line, of those that this worker owns.
    pub baskets: u64,
    /// Their lines.
    pub lines: u64,
    /// Users with at least one of those baskets.
    pub users: u64,
    /// Items that have a name; every worker knows all of them.
    pub items: u64,
    /// Items that were forgotten since the start, of those that this worker numbers.
    pub items_forgotten: u64,
    /// Items whose row this worker keeps, or a part of it.
    pub rows: u64,
    /// The baskets with their lines, names and users.
    pub ledger_bytes: u64,
    /// The names of items.
    pub names_bytes: u64,
    /// The interactions, by basket and by item.
    pub index_bytes: u64,
    /// Reserves, estimates, lists and supports.
    pub rows_bytes: u64,
}

/// Where the sizes of one worker can be asked for, between two steps of it.
#[derive(Clone)]
pub struct StateCollector {
    pub(crate) ledger: SharedLedger,
    pub(crate) names: SharedNames,
    /// None for the reference, whose arrangements do not tell.
    pub(crate) engine: Option<SharedEngine>,
}

impl StateCollector {
    /// Walks over everything: some nanoseconds for each basket, item and row.
    pub fn collect(&self) -> StateStats {
        let mut stats = StateStats::default();
        self.ledger.borrow().measure(&mut stats);
        self.names.borrow().measure(&mut stats);
        if let Some(engine) = &self.engine {
            engine.borrow().measure(&mut stats);
        }
        stats
    }
}

/// The bytes that a vector has allocated.
pub(crate) fn bytes<T>(vector: &Vec<T>) -> u64 {
    (vector.capacity() * size_of::<T>()) as u64
}

/// The same for one of vectors, with theirs.
pub(crate) fn bytes_of_all<T>(vectors: &Vec<Vec<T>>) -> u64 {
    bytes(vectors) + vectors.iter().map(bytes).sum::<u64>()
}
