//! The accumulator: a signed number per item, in which the baskets of one row are added up.
//!
//! ```text
//! tea's baskets: {tea, milk}, {tea, milk, mug}      add [tea, milk], add [tea, milk, mug], take tea
//! counts:  milk 2, mug 1                            met: tea, milk, mug
//! ```
//!
//! The numbers lie in one slot per item, so an addition is one store. All are 0 between two uses. Only items that were
//! met are reset.

use crate::Item;
use crate::id_vec::IdVec;

/// A number for each item, 0 unless something was added.
#[derive(Default)]
pub(crate) struct Accumulator {
    /// The number of each item.
    counts: IdVec<Item, i32>,
    /// Items whose number may differ from 0, some of them twice. Behind `met_end` are leftovers.
    met: Vec<Item>,
    /// The end of the items that were met since the last reset.
    met_end: usize,
    /// Additions since the start.
    additions: u64,
}

impl Accumulator {
    /// Makes room for all items below `items`.
    pub(crate) fn make_room(&mut self, items: usize) {
        self.counts.make_room(items);
    }

    /// Adds `weight`, which is not 0, to the number of each of `items`.
    ///
    /// This is the one place where the weight of a basket's interactions counts. It is negative for pairs that part.
    pub(crate) fn add(&mut self, items: &[Item], weight: i32) {
        self.additions += items.len() as u64;
        if self.met.len() < self.met_end + items.len() {
            self.met.resize(2 * (self.met_end + items.len()), Item::default());
        }
        for &item in items {
            // Whether the item was met before is no branch, because no processor could predict it.
            let count = &mut self.counts[item];
            self.met[self.met_end] = item;
            self.met_end += usize::from(*count == 0);
            *count += weight;
        }
    }

    /// Additions since the start: the items read while rows were updated and recounted.
    pub(crate) fn additions(&self) -> u64 {
        self.additions
    }

    /// The item's number, which becomes 0.
    pub(crate) fn take(&mut self, item: Item) -> i32 {
        std::mem::take(&mut self.counts[item])
    }

    /// The item's number.
    pub(crate) fn get(&self, item: Item) -> i32 {
        self.counts[item]
    }

    /// The items whose number may differ from 0, some of them twice.
    pub(crate) fn met(&self) -> &[Item] {
        &self.met[..self.met_end]
    }

    /// Calls `each` for every item whose number is not 0, and resets it.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Item, i32)) {
        for &item in &self.met[..std::mem::take(&mut self.met_end)] {
            let count = std::mem::take(&mut self.counts[item]);
            if count != 0 {
                each(item, count);
            }
        }
    }

    /// Resets the numbers of the items that `keep` rejects.
    pub(crate) fn retain(&mut self, keep: impl Fn(Item) -> bool) {
        self.met.truncate(self.met_end);
        let counts = &mut self.counts;
        self.met.retain(|&item| {
            let keeps = keep(item);
            if !keeps {
                counts[item] = 0;
            }
            keeps
        });
        self.met_end = self.met.len();
    }

    /// Resets all numbers.
    pub(crate) fn clear(&mut self) {
        self.drain(|_item, _count| {});
    }
}
