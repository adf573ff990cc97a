//! Event ids met lately, per partition, so that a redelivered event counts once.
//!
//! A ring holds the last ids themselves (exact, no fingerprints: a collision would lose an event), and a hash table
//! the places in the ring. Ids of a record wait until it is accepted: a rejected record's id is not remembered, so
//! that its corrected repetition is taken.
//!
//! # Notes
//! Memory per partition: about 40 bytes an id, and the id's own bytes where it is longer than 24.

use compact_str::CompactString;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

/// The ids met in every partition of this worker.
pub(super) struct Duplicates {
    horizon: usize,
    partitions: BTreeMap<u32, Recent>,
}

impl Duplicates {
    /// Remembers the last `horizon` ids of each partition; 0 remembers none.
    pub(super) fn new(horizon: usize) -> Duplicates {
        Duplicates { horizon, partitions: BTreeMap::new() }
    }

    /// How many ids are remembered.
    pub(super) fn len(&self) -> usize {
        self.partitions.values().map(|recent| recent.ring.len()).sum()
    }

    /// The ids of one partition, unless the check is off.
    pub(super) fn of_partition(&mut self, partition: u32) -> Option<&mut Recent> {
        if self.horizon == 0 {
            return None;
        }
        Some(self.partitions.entry(partition).or_insert_with(|| Recent::new(self.horizon)))
    }
}

/// The last ids of one partition.
pub(super) struct Recent {
    horizon: usize,
    /// The ids by age, as a ring once it is full.
    ring: Vec<CompactString>,
    /// Where the next id goes: the end of the ring until it is full, then the place of the oldest id.
    next: usize,
    /// The places in `ring`, by the hash of the id that stands there.
    places: HashTable<usize>,
    /// Randomly seeded: ids are chosen by whoever writes to the topic.
    hasher: RandomState,
    /// The ids of the record that is being decoded.
    pending: Vec<CompactString>,
    /// The places in `pending`, by the hash of the id that stands there: a batch may have thousands.
    pending_places: HashTable<usize>,
}

impl Recent {
    fn new(horizon: usize) -> Recent {
        Recent {
            horizon,
            ring: Vec::new(),
            next: 0,
            places: HashTable::new(),
            hasher: RandomState::default(),
            pending: Vec::new(),
            pending_places: HashTable::new(),
        }
    }

    /// A new record: the ids of an earlier one that was not accepted are forgotten.
    pub(super) fn begin(&mut self) {
        self.pending.clear();
        self.pending_places.clear();
    }

    /// Whether `id` was not met lately, nor before in this record.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        let Recent { ring, places, hasher, pending, pending_places, .. } = self;
        let hash = hasher.hash_one(id);
        let met = places.find(hash, |&place| ring[place] == id).is_some();
        if met || pending_places.find(hash, |&place| pending[place] == id).is_some() {
            return false;
        }
        pending_places.insert_unique(hash, pending.len(), |&place| hasher.hash_one(pending[place].as_str()));
        pending.push(CompactString::from(id));
        true
    }

    /// The record is accepted: its ids are remembered, and the oldest ones forgotten.
    pub(super) fn accept(&mut self) {
        let Recent { horizon, ring, next, places, hasher, pending, .. } = self;
        for id in pending.drain(..) {
            let hash = hasher.hash_one(id.as_str());
            if ring.len() < *horizon {
                ring.push(id);
            } else {
                let oldest = hasher.hash_one(ring[*next].as_str());
                if let Ok(entry) = places.find_entry(oldest, |&place| place == *next) {
                    entry.remove();
                }
                ring[*next] = id;
            }
            places.insert_unique(hash, *next, |&place| hasher.hash_one(ring[place].as_str()));
            *next = (*next + 1) % *horizon;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;
    use proptest::prelude::*;

    proptest! {
        /// The ring and table against a plain list of the last ids.
        #[test]
        fn equals_a_list(horizon in 1usize..6, ids in prop::collection::vec(0u8..9, 0..60)) {
            let mut recent = Recent::new(horizon);
            let mut list: Vec<String> = Vec::new();
            for id in ids {
                let id = format!("an id of more than twenty-four bytes {id}");
                recent.begin();
                let is_new = recent.is_new(&id);
                prop_assert_eq!(is_new, !list.iter().rev().take(horizon).any(|met| *met == id));
                recent.accept();
                if is_new {
                    list.push(id);
                }
            }
            prop_assert!(recent.ring.len() <= horizon && recent.places.len() <= horizon);
        }
    }

    #[test]
    fn a_record_that_was_not_accepted_leaves_nothing() {
        let mut recent = Recent::new(3);
        recent.begin();
        assert!(recent.is_new("a"));
        assert!(!recent.is_new("a"), "twice in one record");
        recent.begin();
        assert!(recent.is_new("a"));
        recent.accept();
        recent.begin();
        assert!(!recent.is_new("a"));
    }
}
