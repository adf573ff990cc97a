//! Placement: which rows one worker keeps, whole or in part.
//!
//! The row of an item lives on the item's owner. But a few items are in a large share of all baskets, and the other
//! workers would wait for their owner. So the row of such an item is **shared**: every worker keeps a part of it, the
//! pairs with the items that the worker owns.
//!
//! A worker has the baskets of its items anyway, so sharing moves no data. The best k of each part go to the owner, who
//! merges them ([`merge_parts`](super::merge_parts)).
//!
//! # Example
//! Four workers, and one million lines in total. A row is shared if its item has more than 1 / (16 · 4) of
//! all lines, so if more than 15,625 baskets hold the item. It stays shared until fewer than 7,813 do: a
//! support that moves a little does not move the row back and forth.
//!
//! # Notes
//! Which rows are shared follows from the supports alone. Every worker knows those, so all agree at every epoch.

use crate::Item;
use crate::id_vec::{Id, IdVec, local_id};
use crate::neighbours::supports::Supports;

local_id! {
    /// The number of a row, or of a part of one, on one worker.
    pub(super) RowId
}

/// The rows of one worker, whole or in part.
pub(super) struct Placement {
    /// The number of workers.
    workers: u32,
    /// The index of this worker.
    index: u32,
    /// Where the row of each item is.
    items: IdVec<Item, ItemPlacement>,
    /// The item of each row. `None` for a row that is not in use.
    rows: IdVec<RowId, Option<Item>>,
    /// Rows that are not in use.
    free: Vec<RowId>,
}

/// Where the row of an item is.
#[derive(Clone, Copy, Default)]
struct ItemPlacement {
    /// The row's number here plus one. 0 if none of it is kept here.
    row_plus_one: u32,
    /// Whether every worker keeps a part.
    is_shared: bool,
    /// Whether the row is shared or was shared once. From then on the owner publishes its list through the merge.
    is_merged: bool,
}

/// The share of all lines, per worker, from which a row is shared: one in 16. It stays shared down to half of that.
const SHARED_FROM: u64 = 16;

/// The fewest baskets of an item whose row is shared. A smaller row is little work.
const SHARED_MIN: u32 = 64;

/// A row that starts or stops being shared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reassigned {
    /// The item of the row.
    pub(super) item: Item,
    /// The row here before, if some of it was here.
    pub(super) before: Option<RowId>,
    /// The row here from now on, if some of it is here.
    pub(super) after: Option<RowId>,
}

impl Placement {
    /// No rows, on worker `index` of `workers`.
    pub(super) fn new(index: usize, workers: usize) -> Self {
        let (items, rows, free) = Default::default();
        Placement { workers: workers as u32, index: index as u32, items, rows, free }
    }

    /// Makes room for all items below `items`. Those that this worker owns get a row.
    pub(super) fn make_room(&mut self, items: usize) {
        for index in self.items.len()..items {
            let item = self.items.push(ItemPlacement::default());
            debug_assert_eq!(item.index(), index);
            if self.owns(item) {
                self.assign(item);
            }
        }
    }

    /// One more than the largest row.
    pub(super) fn rows_end(&self) -> usize {
        self.rows.len()
    }

    /// Whether this worker owns the item.
    #[inline]
    pub(super) fn owns(&self, item: Item) -> bool {
        // Saves the division where there is one worker.
        self.workers == 1 || item.owner(self.workers) == self.index
    }

    /// The item's row, if it is kept here, whole or in part.
    #[inline]
    pub(super) fn row(&self, item: Item) -> Option<RowId> {
        self.items[item].row_plus_one.checked_sub(1).map(RowId)
    }

    /// The item of a row. `None` if the row is not in use: others may still name it as a row that watches an item.
    #[inline]
    pub(super) fn item(&self, row: RowId) -> Option<Item> {
        self.rows[row]
    }

    /// Whether every worker keeps a part of the item's row.
    #[inline]
    pub(super) fn is_shared(&self, item: Item) -> bool {
        self.items[item].is_shared
    }

    /// Whether the item's row is shared, or was once.
    #[inline]
    pub(super) fn is_merged(&self, item: Item) -> bool {
        self.items[item].is_merged
    }

    /// Whether the pair belongs to the row of `item`, or to the part of it, that is kept here.
    #[inline]
    pub(super) fn keeps(&self, item: Item, other: Item) -> bool {
        if self.is_shared(item) { self.owns(other) } else { self.owns(item) }
    }

    /// Starts or stops sharing the item's row, if its support asks for that.
    pub(super) fn reassign(&mut self, item: Item, supports: &Supports) -> Option<Reassigned> {
        if self.workers == 1 {
            return None;
        }
        let support = supports.of(item);
        let part = u64::from(support) * SHARED_FROM * u64::from(self.workers);
        let is_shared = self.is_shared(item);
        let stays = match is_shared {
            false => support < SHARED_MIN || part <= supports.lines(),
            true => support >= SHARED_MIN / 2 && 2 * part >= supports.lines(),
        };
        if stays {
            return None;
        }
        let before = self.row(item);
        let placement = &mut self.items[item];
        placement.is_shared = !is_shared;
        placement.is_merged = true;
        if !self.owns(item) {
            match is_shared {
                false => self.assign(item),
                true => self.unassign(item),
            }
        }
        Some(Reassigned { item, before, after: self.row(item) })
    }

    /// Forgets that the item's row was ever shared. No basket holds the item.
    pub(super) fn forget(&mut self, item: Item) {
        self.items[item].is_merged = false;
    }

    /// Gives the item a row here.
    fn assign(&mut self, item: Item) {
        let row = self.free.pop().unwrap_or_else(|| self.rows.push(None));
        self.rows[row] = Some(item);
        self.items[item].row_plus_one = row.0 + 1;
    }

    /// Frees the item's row here.
    fn unassign(&mut self, item: Item) {
        let row = std::mem::take(&mut self.items[item].row_plus_one);
        if let Some(row) = row.checked_sub(1).map(RowId) {
            self.rows[row] = None;
            self.free.push(row);
        }
    }
}
