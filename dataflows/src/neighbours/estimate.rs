//! How often an item can be together with those that its row leaves out, at most: a byte per hashed item.
//!
//! Every pair that is left out adds its count to its cell. Pairs may share a cell, so a cell is never below the count
//! of any of them, and a cell of 0 says that none of them was ever together. A cell that reaches 255 stays there and
//! says nothing.
//!
//! # Notes
//! One small table per row and not one large one: an epoch's changes of a row then meet in the same few cache lines.
//! A crowded table is made anew from exact counts; since it doubles, that costs less than filling it did.

use crate::Item;
use crate::neighbours::prefetch::prefetch;

/// The estimates of one row. An empty table is for a row that leaves nothing out.
#[derive(Default)]
pub(super) struct Estimate {
    cells: Box<[u8]>,
    /// How many cells are not 0.
    filled: u32,
}

/// A cell that has reached this says nothing any more.
const SATURATED: u8 = u8::MAX;

/// Cells per pair in a new table, and the least cells that a table has.
const CELLS_PER_PAIR: usize = 2;
const CELLS_MIN: usize = 64;

/// A table is crowded when more than so many of eight of its cells are filled.
const CROWDED: usize = 5;

impl Estimate {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.cells.len() as u64
    }

    /// An empty table with room for so many pairs.
    pub(super) fn for_pairs(pairs: usize) -> Self {
        if pairs == 0 {
            return Estimate::default();
        }
        let cells = (pairs * CELLS_PER_PAIR).max(CELLS_MIN);
        Estimate { cells: vec![0; cells].into(), filled: 0 }
    }

    /// A pair of this count is left out, or one that is came together in so many more baskets.
    pub(super) fn add(&mut self, item: Item, count: u32) {
        let cell = self.cell(item);
        let cell = &mut self.cells[cell];
        self.filled += u32::from(*cell == 0);
        *cell = u8::try_from(count).map_or(SATURATED, |count| cell.saturating_add(count));
    }

    /// A pair of this count is left out no more, or one that is came apart in so many baskets.
    pub(super) fn remove(&mut self, item: Item, count: u32) {
        let cell = self.cell(item);
        let cell = &mut self.cells[cell];
        if *cell < SATURATED {
            let left = u32::from(*cell).checked_sub(count);
            *cell = left.expect("what a cell holds is the sum of what was added") as u8;
            self.filled -= u32::from(*cell == 0 && count > 0);
        }
    }

    /// At least the pair's count, or nothing known.
    pub(super) fn at_most(&self, item: Item) -> Option<u32> {
        let cell = self.cells[self.cell(item)];
        (cell < SATURATED).then_some(u32::from(cell))
    }

    /// Tells the processor that the item's cell is wanted soon.
    pub(super) fn prefetch(&self, item: Item) {
        if !self.cells.is_empty() {
            prefetch(self.cells.as_ptr().wrapping_add(self.cell(item)), 1);
        }
    }

    /// Whether so many pairs share cells that the table should be made anew.
    pub(super) fn is_crowded(&self) -> bool {
        self.filled as usize * 8 > self.cells.len() * CROWDED
    }

    /// The item's cell: a product with the golden ratio, which all bits of the item move, as a fraction of the table.
    /// See Lemire, "Fast random integer generation in an interval", 2019.
    fn cell(&self, item: Item) -> usize {
        let fraction = u64::from(item.wrapping_mul(0x9E37_79B9));
        ((fraction * self.cells.len() as u64) >> u32::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Whatever comes, goes and shares a cell, no estimate falls below a count; most are exact; and when all is gone,
    /// nothing is left.
    #[test]
    fn never_below_the_count() {
        let mut estimate = Estimate::for_pairs(4000);
        let mut counts: BTreeMap<Item, u32> = BTreeMap::new();
        for step in 0u32..200_000 {
            let item = step.wrapping_mul(2_654_435_761) >> 20;
            estimate.add(item, 1 + step % 2);
            *counts.entry(item).or_default() += 1 + step % 2;
            let old = (step / 2).wrapping_mul(2_654_435_761) >> 20;
            if step % 5 > 0 && counts.get(&old).is_some_and(|&count| count > 0) {
                estimate.remove(old, 1);
                *counts.entry(old).or_default() -= 1;
            }
        }
        let mut exact = 0;
        for (&item, &count) in &counts {
            let at_most = estimate.at_most(item).unwrap_or(u32::MAX);
            assert!(at_most >= count, "{item}: {at_most} < {count}");
            exact += usize::from(at_most == count);
        }
        assert!(exact * 2 > counts.len(), "only {exact} of {} estimates are exact", counts.len());
        counts.iter().for_each(|(&item, &count)| estimate.remove(item, count));
        let left = estimate.cells.iter().filter(|&&cell| cell > 0 && cell < SATURATED).count();
        assert_eq!(left, 0, "cells are left");
    }

    #[test]
    fn a_full_cell_says_nothing() {
        let mut estimate = Estimate::for_pairs(1);
        estimate.add(1, 300);
        assert_eq!(estimate.at_most(1), None);
        estimate.remove(1, 300);
        assert_eq!(estimate.at_most(1), None);
    }

    #[test]
    fn a_table_gets_crowded() {
        let mut estimate = Estimate::for_pairs(100);
        let crowd = (0..).take_while(|&item| {
            estimate.add(item, 1);
            !estimate.is_crowded()
        });
        let crowd = crowd.count();
        assert!((100..2000).contains(&crowd), "crowded after {crowd} pairs");
    }
}
