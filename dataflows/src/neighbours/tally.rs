//! Scratch: a signed number per item, for adding up what many baskets say about one row.
//!
//! Dense by item, so that adding is one store; all 0 between uses, so that nothing is cleared that was not met.

use crate::Item;

/// A number for each item, 0 unless said otherwise.
#[derive(Default)]
pub(super) struct Tally {
    counts: Vec<i32>,
    /// The items that may differ from 0, some of them twice; and behind `met_end` what was written there before.
    met: Vec<Item>,
    met_end: usize,
    /// How many additions there ever were.
    additions: u64,
}

impl Tally {
    /// Makes room for all items below `items`.
    pub(super) fn make_room(&mut self, items: usize) {
        if self.counts.len() < items {
            self.counts.resize(items, 0);
        }
    }

    /// Adds `diff`, which is not 0, to the number of each of `items`.
    pub(super) fn add(&mut self, items: &[Item], diff: i32) {
        self.additions += items.len() as u64;
        if self.met.len() < self.met_end + items.len() {
            self.met.resize(2 * (self.met_end + items.len()), 0);
        }
        for &item in items {
            // Without a branch on whether it is met for the first time, which no processor could foresee.
            let count = &mut self.counts[item as usize];
            self.met[self.met_end] = item;
            self.met_end += usize::from(*count == 0);
            *count += diff;
        }
    }

    /// How many additions there ever were: what following and recounting rows has read.
    pub(super) fn additions(&self) -> u64 {
        self.additions
    }

    /// The item's number, which is 0 then.
    pub(super) fn take(&mut self, item: Item) -> i32 {
        std::mem::take(&mut self.counts[item as usize])
    }

    /// The item's number.
    pub(super) fn get(&self, item: Item) -> i32 {
        self.counts[item as usize]
    }

    /// The items whose number may differ from 0; some of them twice.
    pub(super) fn met(&self) -> &[Item] {
        &self.met[..self.met_end]
    }

    /// Calls `each` for every item whose number is not 0, and makes it 0.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Item, i32)) {
        for &item in &self.met[..std::mem::take(&mut self.met_end)] {
            let count = std::mem::take(&mut self.counts[item as usize]);
            if count != 0 {
                each(item, count);
            }
        }
    }

    /// Makes the numbers of all items 0 that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(Item) -> bool) {
        self.met.truncate(self.met_end);
        let counts = &mut self.counts;
        self.met.retain(|&item| {
            let keeps = keep(item);
            if !keeps {
                counts[item as usize] = 0;
            }
            keeps
        });
        self.met_end = self.met.len();
    }

    /// Makes all numbers 0.
    pub(super) fn clear(&mut self) {
        self.drain(|_item, _count| {});
    }
}
