//! How often two items can be together at most: a byte per hashed pair.
//!
//! Every pair of items that shares a basket adds one to its cell, and takes one away when it parts. Pairs may share a
//! cell, so it is never below the true count of any of them. A cell that reaches 255 stays there and says nothing.
//!
//! # Notes
//! The table doubles as pairs come, each new cell beginning with what its parent held, so that it stays an upper bound.

use crate::Item;

/// The table of estimates of one worker.
pub(super) struct Estimate {
    cells: Vec<u8>,
    /// Pair increments less decrements, by which the table grows.
    mass: u64,
}

/// A cell that has reached this says nothing any more.
const SATURATED: u8 = u8::MAX;

/// 64 KiB: what an empty job may take.
const CELLS_MIN: usize = 1 << 16;

/// 256 MiB: a table that does not fit in memory helps nobody.
const CELLS_MAX: usize = 1 << 28;

/// Cells per pair increment: below, too many pairs share a cell and too many exact counts are asked for.
const CELLS_PER_PAIR: u64 = 2;

impl Estimate {
    pub(super) fn new() -> Self {
        Estimate { cells: vec![0; CELLS_MIN], mass: 0 }
    }

    /// The pair came together in one more basket.
    pub(super) fn add(&mut self, a: Item, b: Item) {
        let cell = self.cell(a, b);
        let cell = &mut self.cells[cell];
        *cell = cell.saturating_add(1);
        self.mass += 1;
    }

    /// The pair is together in one basket less.
    pub(super) fn remove(&mut self, a: Item, b: Item) {
        let cell = self.cell(a, b);
        let cell = &mut self.cells[cell];
        assert!(*cell > 0, "a pair that parts has been together");
        if *cell < SATURATED {
            *cell -= 1;
        }
        self.mass -= 1;
    }

    /// At least the pair's count, or nothing known.
    pub(super) fn at_most(&self, a: Item, b: Item) -> Option<u32> {
        let cell = self.cells[self.cell(a, b)];
        (cell < SATURATED).then_some(u32::from(cell))
    }

    /// Makes room for the pairs there are and so many more.
    /// To be called where nobody is between an addition and a look.
    pub(super) fn reserve(&mut self, pairs: u64) {
        let wanted = self.mass.saturating_add(pairs).saturating_mul(CELLS_PER_PAIR);
        while (self.cells.len() as u64) < wanted && self.cells.len() < CELLS_MAX {
            // The cell of a pair is its hash modulo the table: in a table twice as large, it is there or half-way on.
            self.cells.extend_from_within(..);
        }
    }

    /// The pair's cell, whichever of the two comes first.
    fn cell(&self, a: Item, b: Item) -> usize {
        let (low, high) = (a.min(b), a.max(b));
        // The finaliser of splitmix64: items are small numbers, and every bit must move the low ones.
        let mut hash = (u64::from(low) << 32 | u64::from(high)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (hash ^ (hash >> 31)) as usize & (self.cells.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes, goes and shares a cell, no estimate falls below a count; and an unloaded table is exact.
    #[test]
    fn never_below_the_count() {
        let mut estimate = Estimate::new();
        let mut counts = std::collections::BTreeMap::new();
        for step in 0u32..300_000 {
            let (a, b) = (step.wrapping_mul(2_654_435_761) >> 20, (step % 97) + 5_000);
            estimate.add(a, b);
            *counts.entry((a, b)).or_insert(0u32) += 1;
            if step % 3 == 0 {
                estimate.remove(b, a);
                *counts.get_mut(&(a, b)).expect("just added") -= 1;
            }
            if step % 10_000 == 0 {
                estimate.reserve(10_000);
            }
        }
        let mut exact = 0;
        for (&(a, b), &count) in &counts {
            let at_most = estimate.at_most(b, a).unwrap_or(u32::MAX);
            assert!(at_most >= count, "({a}, {b}): {at_most} < {count}");
            exact += usize::from(at_most == count);
        }
        assert!(exact * 4 > counts.len(), "only {exact} of {} estimates are exact", counts.len());
    }

    #[test]
    fn a_full_cell_says_nothing() {
        let mut estimate = Estimate::new();
        (0..300).for_each(|_| estimate.add(1, 2));
        assert_eq!(estimate.at_most(1, 2), None);
        (0..300).for_each(|_| estimate.remove(1, 2));
        assert_eq!(estimate.at_most(1, 2), None);
    }
}
