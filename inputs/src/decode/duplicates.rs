//! Event ids met lately, per partition, so that a redelivered event counts once.
//!
//! ```text
//! oldest ─▶ [ 1024 ids ][ 1024 ids ][ 1024 ids ][ 17 ids ] ◀─ newest      places: hash of an id ─▶ its number
//!           closed: never changed again, so a          open
//!           snapshot shares it and copies nothing
//! ```
//!
//! The last ids themselves are kept (exact, no fingerprints: a collision would lose an event), and a hash table of
//! their places. Ids of a record wait until it is accepted: a rejected record's id is not remembered, so that its
//! corrected repetition is taken.
//!
//! # Notes
//! Memory per partition: about 40 bytes an id, and the id's own bytes where it is longer than 24.

use compact_str::CompactString;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Ids of a segment: what a snapshot copies at most.
const SEGMENT_IDS: usize = 1024;

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
        self.partitions.values().map(|recent| recent.places.len()).sum()
    }

    /// The ids of one partition, unless the check is off.
    pub(super) fn of_partition(&mut self, partition: u32) -> Option<&mut Recent> {
        if self.horizon == 0 {
            return None;
        }
        Some(self.partitions.entry(partition).or_insert_with(|| Recent::new(self.horizon)))
    }

    /// What is remembered now, by partition.
    pub(super) fn ids(&self) -> Vec<(u32, EventIds)> {
        self.partitions.iter().map(|(&partition, recent)| (partition, recent.ids.share())).collect()
    }
}

/// The ids that were remembered of one partition at one moment. Cheap to make and to move to another thread.
#[derive(Clone, Debug, Default)]
pub struct EventIds {
    segments: Vec<Arc<[CompactString]>>,
    /// Ids at the beginning that were forgotten by then.
    forgotten: usize,
}

impl EventIds {
    /// The ids, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &CompactString> {
        self.segments.iter().flat_map(|segment| segment.iter()).skip(self.forgotten)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.len()).sum::<usize>() - self.forgotten
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<CompactString> for EventIds {
    /// Ids, the oldest first.
    fn from_iter<I: IntoIterator<Item = CompactString>>(ids: I) -> EventIds {
        EventIds { segments: vec![ids.into_iter().collect()], forgotten: 0 }
    }
}

/// Ids numbered as they come, of which the oldest are forgotten.
#[derive(Default)]
struct Ids {
    closed: VecDeque<Arc<[CompactString]>>,
    open: Vec<CompactString>,
    /// The number of the first id of the first segment.
    first: u64,
    /// The number of the oldest id that is remembered.
    oldest: u64,
    /// The number of the next id.
    next: u64,
}

impl Ids {
    fn get(&self, number: u64) -> &str {
        let place = (number - self.first) as usize;
        match self.closed.get(place / SEGMENT_IDS) {
            Some(segment) => &segment[place % SEGMENT_IDS],
            None => &self.open[place % SEGMENT_IDS],
        }
    }

    fn push(&mut self, id: CompactString) {
        self.open.push(id);
        self.next += 1;
        if self.open.len() == SEGMENT_IDS {
            self.closed.push_back(self.open.drain(..).collect());
        }
    }

    fn forget_oldest(&mut self) {
        self.oldest += 1;
        if self.oldest - self.first == SEGMENT_IDS as u64 {
            self.closed.pop_front();
            self.first = self.oldest;
        }
    }

    fn share(&self) -> EventIds {
        let mut segments: Vec<Arc<[CompactString]>> = self.closed.iter().map(Arc::clone).collect();
        segments.push(self.open.as_slice().into());
        EventIds { segments, forgotten: (self.oldest - self.first) as usize }
    }
}

/// The last ids of one partition.
pub(super) struct Recent {
    horizon: usize,
    ids: Ids,
    /// The numbers of the ids, by their hash.
    places: HashTable<u64>,
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
            ids: Ids::default(),
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
        let Recent { ids, places, hasher, pending, pending_places, .. } = self;
        let hash = hasher.hash_one(id);
        let met = places.find(hash, |&number| ids.get(number) == id).is_some();
        if met || pending_places.find(hash, |&place| pending[place] == id).is_some() {
            return false;
        }
        pending_places.insert_unique(hash, pending.len(), |&place| hasher.hash_one(pending[place].as_str()));
        pending.push(CompactString::from(id));
        true
    }

    /// How many ids of this record wait.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// All but the first `count` ids of this record were not met.
    pub(super) fn take_back(&mut self, count: usize) {
        let Recent { hasher, pending, pending_places, .. } = self;
        for place in (count..pending.len()).rev() {
            let hash = hasher.hash_one(pending[place].as_str());
            if let Ok(entry) = pending_places.find_entry(hash, |&it| it == place) {
                entry.remove();
            }
        }
        pending.truncate(count);
    }

    /// The record is accepted: its ids are remembered, and the oldest ones forgotten.
    pub(super) fn accept(&mut self) {
        let Recent { horizon, ids, places, hasher, pending, .. } = self;
        for id in pending.drain(..) {
            if ids.next - ids.oldest == *horizon as u64 {
                let oldest = ids.oldest;
                if let Ok(entry) = places.find_entry(hasher.hash_one(ids.get(oldest)), |&it| it == oldest) {
                    entry.remove();
                }
                ids.forget_oldest();
            }
            let (hash, number) = (hasher.hash_one(id.as_str()), ids.next);
            ids.push(id);
            places.insert_unique(hash, number, |&number| hasher.hash_one(ids.get(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meet(recent: &mut Recent, id: &str) -> bool {
        recent.begin();
        let is_new = recent.is_new(id);
        recent.accept();
        is_new
    }

    proptest! {
        /// Segments and table against a plain list of the last ids.
        #[test]
        fn equals_a_list(horizon in 1usize..6, ids in prop::collection::vec(0u8..9, 0..60)) {
            let mut recent = Recent::new(horizon);
            let mut list: Vec<String> = Vec::new();
            for id in ids {
                let id = format!("an id of more than twenty-four bytes {id}");
                let is_new = meet(&mut recent, &id);
                prop_assert_eq!(is_new, !list.iter().rev().take(horizon).any(|met| *met == id));
                if is_new {
                    list.push(id);
                }
            }
            prop_assert!(recent.places.len() <= horizon);
            let kept: Vec<String> = recent.ids.share().iter().map(|id| id.to_string()).collect();
            prop_assert_eq!(&kept[..], &list[list.len().saturating_sub(horizon)..]);
        }
    }

    #[test]
    fn segments_come_and_go() {
        let horizon = SEGMENT_IDS * 2 + 100;
        let mut recent = Recent::new(horizon);
        for number in 0..SEGMENT_IDS * 7 + 3 {
            assert!(meet(&mut recent, &number.to_string()));
            assert!(recent.ids.closed.len() <= 3, "forgotten segments are given up");
            let oldest = (number + 1).saturating_sub(horizon);
            assert!(!meet(&mut recent, &oldest.to_string()), "{oldest} is remembered at {number}");
            let shared = recent.ids.share();
            assert_eq!(shared.len(), (number + 1).min(horizon));
            assert_eq!(shared.iter().next().unwrap(), &oldest.to_string());
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

    #[test]
    fn an_event_that_was_taken_back_leaves_nothing() {
        let mut recent = Recent::new(3);
        recent.begin();
        assert!(recent.is_new("a") && recent.is_new("b") && recent.is_new("c"));
        recent.take_back(1);
        assert_eq!(recent.pending(), 1);
        assert!(!recent.is_new("a") && recent.is_new("c"));
        recent.accept();
        recent.begin();
        assert!(!recent.is_new("c") && recent.is_new("b"));
    }
}
