//! The delivered lists of a process, shared by the workers that write them and the server that reads them.
//!
//! Each table is divided into shards by the hash of the key, and each shard has a lock of its own. A reader holds a
//! lock while it copies a pointer, and a writer while it replaces one. So a look-up never waits for an epoch, and a
//! worker waits for a look-up no longer than a copy of a pointer takes.

use crate::output::{Decimal, Entry, ListChange, Published, RowKind};
use deltacart_dataflows::{Epoch, List, Name};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// The shards of a table. There are far more than threads, so that two rarely meet.
const SHARDS: usize = 256;

/// What the lists of a table are for, and whether a process has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Whether there are lists of carts.
    pub carts: bool,
    /// Whether there are lists of users.
    pub users: bool,
}

/// How many decimals the scores of lists have. `None` where lists have no scores.
pub(crate) type ScoreDigits = Option<u32>;

/// How far the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// All epochs before this one are in the tables. `None` while the lists of an earlier run are being caught up with.
    pub(super) end: Option<Epoch>,
    /// Changes whenever lists have been written.
    pub(super) version: u64,
}

/// The delivered lists. Clones share them.
#[derive(Clone)]
pub(crate) struct Tables(Arc<Inner>);

struct Inner {
    items: Table,
    carts: Option<Table>,
    users: Option<Table>,
    /// For each writer, the epoch before which it has written everything. `None` before it has begun.
    written: Mutex<Vec<Option<Epoch>>>,
    /// What readers follow.
    state: watch::Sender<State>,
}

impl Tables {
    /// Empty tables, which `writers` threads will write.
    pub(crate) fn new(kinds: Kinds, writers: usize) -> Tables {
        Tables(Arc::new(Inner {
            items: Table::default(),
            carts: kinds.carts.then(Table::default),
            users: kinds.users.then(Table::default),
            written: Mutex::new(vec![None; writers]),
            state: watch::Sender::new(State::default()),
        }))
    }

    /// The lists of one kind. `None` if the process has none of the kind.
    pub(crate) fn of(&self, rows: RowKind) -> Option<&Table> {
        match rows {
            RowKind::Item => Some(&self.0.items),
            RowKind::Cart => self.0.carts.as_ref(),
            RowKind::User => self.0.users.as_ref(),
        }
    }

    /// Says that a writer has written all epochs before `end`, and perhaps more.
    pub(crate) fn advance(&self, writer: usize, end: Epoch) {
        let mut written = self.0.written.lock().unwrap_or_else(PoisonError::into_inner);
        written[writer] = Some(end);
        let least = written.iter().min().copied().flatten();
        self.0.state.send_modify(|state| {
            state.end = least.max(state.end);
            state.version += 1;
        });
    }

    /// All epochs before this one are in the tables. `None` while the lists of an earlier run are being caught up with.
    pub(crate) fn end(&self) -> Option<Epoch> {
        self.0.state.borrow().end
    }

    /// Follows how far the tables are.
    pub(super) fn follow(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }
}

/// Lists of one kind, by id.
#[derive(Default)]
pub(crate) struct Table {
    shards: Shards,
    hasher: RandomState,
    /// How often a list was replaced or removed.
    changes: AtomicU64,
}

type Shard = RwLock<HashMap<Name, Arc<Published>, RandomState>>;

struct Shards(Box<[Shard]>);

impl Default for Shards {
    fn default() -> Shards {
        Shards((0..SHARDS).map(|_shard| Shard::default()).collect())
    }
}

impl Table {
    fn shard(&self, id: &str) -> &Shard {
        &self.shards.0[self.hasher.hash_one(id) as usize % SHARDS]
    }

    /// The list of `id`, if it has one.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Published>> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(id).map(Arc::clone)
    }

    /// Replaces the list of `id`, or removes it.
    pub(crate) fn put(&self, id: Name, list: Option<Arc<Published>>) {
        let mut shard = self.shard(&id).write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::Relaxed);
        // What is replaced is dropped after the lock.
        let _replaced = match list {
            Some(list) => shard.insert(id, list),
            None => shard.remove(&id),
        };
        drop(shard);
    }

    /// How often a list was replaced or removed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The number of lists.
    pub(super) fn len(&self) -> usize {
        self.shards.0.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Calls `each` with every list, one shard after the other.
    pub(super) fn each(&self, mut each: impl FnMut(&Name, &Published)) {
        for shard in &self.shards.0 {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().for_each(|(id, list)| each(id, list));
        }
    }

    /// Applies the change of a list, which is published with `epoch`.
    pub(crate) fn change(&self, change: ListChange, epoch: Epoch, digits: ScoreDigits) {
        let list = (!change.after.is_empty()).then(|| Arc::new(published(change.after, epoch, digits)));
        self.put(change.item, list);
    }
}

/// A list of the dataflow as it is published.
pub(crate) fn published(list: List, epoch: Epoch, digits: ScoreDigits) -> Published {
    let entries = (1..).zip(list).map(|(rank, neighbour)| Entry {
        rank,
        item: neighbour.item,
        score: digits.map(|digits| Decimal::new(neighbour.score, digits)),
        count: digits.map(|_digits| neighbour.count),
    });
    Published { epoch, entries: entries.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_that_of_the_slowest_writer_and_never_falls() {
        let tables = Tables::new(Kinds::default(), 2);
        tables.advance(0, 7);
        assert_eq!(tables.end(), None, "one of two writers has not begun");
        tables.advance(1, 3);
        assert_eq!(tables.end(), Some(3));
        tables.advance(1, 9);
        assert_eq!(tables.end(), Some(7));
        assert!(tables.of(RowKind::Cart).is_none());
    }

    #[test]
    fn a_list_that_is_empty_is_gone() {
        let table = Table::default();
        let change = |after: &[&str]| ListChange {
            item: "tea".into(),
            epoch: 0,
            before: List::new(),
            after: after
                .iter()
                .map(|other| deltacart_dataflows::Neighbour { item: (*other).into(), score: 50, count: 2 })
                .collect(),
        };
        table.change(change(&["milk", "mug"]), 4, Some(2));
        let list = table.get("tea").unwrap();
        let entries: Vec<_> = list.entries.iter().map(|entry| (entry.rank, entry.item.as_str())).collect();
        assert_eq!((list.epoch, entries.as_slice()), (4, [(1, "milk"), (2, "mug")].as_slice()));
        assert_eq!(list.entries[0].score.map(|score| score.to_string()).as_deref(), Some("0.5"));
        assert_eq!(table.len(), 1);
        table.change(change(&[]), 5, Some(2));
        assert!(table.get("tea").is_none() && table.len() == 0);
    }
}
