//! How often an item can be together with those that its row leaves out, at most: half a byte per hashed item, or a
//! whole one.
//!
//! Every pair that is left out adds its count to its cell. Pairs may share a cell, so a cell is never below the count
//! of any of them, and a cell of 0 says that none of them was ever together. A full cell stays full and says nothing.
//! Most pairs are together once or twice, so most tables have narrow cells; one of which too many are full is made anew
//! with wide ones.
//!
//! # Notes
//! One small table per row and not one large one: an epoch's changes of a row then meet in the same few cache lines.
//! A crowded table is made anew from exact counts; since it doubles, that costs less than filling it did.

use crate::Item;
use crate::neighbours::prefetch::prefetch;

/// The estimates of one row. There is always a cell for every item, also when no pair is left out: the next one may be.
pub(super) struct Estimate {
    /// Of a narrow table two cells to a byte, the even one in its low half.
    bytes: Box<[u8]>,
    /// How many cells are not 0, where a full narrow cell counts as [`FULL_WEIGHS`] of them.
    filled: u32,
    is_narrow: bool,
}

/// Bits of a narrow cell.
const NARROW_BITS: u32 = 4;

/// A cell that has reached this says nothing any more.
const FULL: u8 = u8::MAX;
const FULL_NARROW: u8 = FULL >> NARROW_BITS;

/// A table is narrow when at most one in so many of its pairs is together at least so often.
const NARROW_OFTEN: u32 = FULL_NARROW as u32 / 2;
const NARROW_MOST: usize = 64;

/// A full cell costs an exact count at every touch, which a wide one might save.
const FULL_WEIGHS: u32 = 16;

/// Cells per pair in a new table, and the least cells that a table has.
const CELLS_PER_PAIR: usize = 2;
const CELLS_MIN: usize = 64;

/// A table is crowded when more than so many of eight of its cells are filled.
const CROWDED: usize = 5;

impl Estimate {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The table of these pairs and their counts, with room for as many more.
    pub(super) fn of(pairs: impl ExactSizeIterator<Item = (Item, u32)> + Clone) -> Self {
        let cells = (pairs.len() * CELLS_PER_PAIR).max(CELLS_MIN);
        let often = pairs.clone().filter(|&(_item, count)| count >= NARROW_OFTEN).count();
        let is_narrow = often <= pairs.len() / NARROW_MOST;
        let bytes = if is_narrow { cells.div_ceil(2) } else { cells };
        let mut table = Estimate { bytes: vec![0; bytes].into(), filled: 0, is_narrow };
        pairs.for_each(|(item, count)| table.add(item, count));
        table
    }

    /// A pair of this count is left out, or one that is came together in so many more baskets.
    pub(super) fn add(&mut self, item: Item, count: u32) {
        let (cell, full) = (self.cell(item), self.full());
        let before = self.get(cell);
        let after = (u32::from(before).saturating_add(count)).min(full.into()) as u8;
        if after == before {
            return;
        }
        self.set(cell, after);
        self.filled += u32::from(before == 0);
        if self.is_narrow && after == full {
            self.filled += FULL_WEIGHS - 1;
        }
    }

    /// A pair of this count is left out no more, or one that is came apart in so many baskets.
    pub(super) fn remove(&mut self, item: Item, count: u32) {
        let cell = self.cell(item);
        let before = self.get(cell);
        if before < self.full() {
            let left = u32::from(before).checked_sub(count);
            let after = left.expect("what a cell holds is the sum of what was added") as u8;
            self.set(cell, after);
            self.filled -= u32::from(after == 0 && before > 0);
        }
    }

    /// At least the pair's count, or nothing known.
    pub(super) fn at_most(&self, item: Item) -> Option<u32> {
        let at_most = self.get(self.cell(item));
        (at_most < self.full()).then_some(at_most.into())
    }

    /// Tells the processor that the item's cell is wanted soon.
    pub(super) fn prefetch(&self, item: Item) {
        prefetch(self.bytes.as_ptr().wrapping_add(self.place(self.cell(item)).0), 1);
    }

    /// Whether so many pairs share cells, or are in full ones, that the table should be made anew.
    pub(super) fn is_crowded(&self) -> bool {
        self.filled as usize * 8 > self.cells() * CROWDED
    }

    fn cells(&self) -> usize {
        self.bytes.len() << u32::from(self.is_narrow)
    }

    fn full(&self) -> u8 {
        FULL >> (u32::from(self.is_narrow) * NARROW_BITS)
    }

    fn get(&self, cell: usize) -> u8 {
        let (byte, shift) = self.place(cell);
        self.bytes[byte] >> shift & self.full()
    }

    fn set(&mut self, cell: usize, value: u8) {
        let (byte, shift) = self.place(cell);
        let others = self.bytes[byte] & !(self.full() << shift);
        self.bytes[byte] = others | value << shift;
    }

    /// The cell's byte, and its lowest bit there. Without a branch: no processor could foresee which row is narrow.
    fn place(&self, cell: usize) -> (usize, u32) {
        let narrow = usize::from(self.is_narrow);
        (cell >> narrow, (cell & narrow) as u32 * NARROW_BITS)
    }

    /// The item's cell: a product with the golden ratio, which all bits of the item move, as a fraction of the table.
    /// See Lemire, "Fast random integer generation in an interval", 2019.
    fn cell(&self, item: Item) -> usize {
        let fraction = u64::from(item.wrapping_mul(0x9E37_79B9));
        ((fraction * self.cells() as u64) >> u32::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Empty, with room for so many pairs of that count.
    fn room_for(pairs: u32, count: u32) -> Estimate {
        let pairs: Vec<_> = (0..pairs).map(|item| (item, count)).collect();
        let mut estimate = Estimate::of(pairs.iter().copied());
        let exact = pairs.iter().filter(|&&(item, count)| estimate.at_most(item) == Some(count)).count();
        assert!(exact * 2 > pairs.len(), "only {exact} of {} are exact", pairs.len());
        pairs.into_iter().for_each(|(item, count)| estimate.remove(item, count));
        assert_eq!(estimate.filled, 0, "a cell is left");
        estimate
    }

    /// Whatever comes, goes and shares a cell, no estimate falls below a count; most are exact; and when all is gone,
    /// nothing is left.
    #[test]
    fn never_below_the_count() {
        for (count, is_narrow) in [(1, true), (9, false)] {
            let mut estimate = room_for(4000, count);
            assert_eq!(estimate.is_narrow, is_narrow);
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
                let at_most = estimate.at_most(item).unwrap_or(u32::MAX);
                assert!(at_most >= counts[&item], "{item}: {at_most} < {}", counts[&item]);
            }
            let mut exact = 0;
            for (&item, &count) in &counts {
                let at_most = estimate.at_most(item).unwrap_or(u32::MAX);
                assert!(at_most >= count, "{item}: {at_most} < {count}");
                exact += usize::from(at_most == count);
            }
            // These pairs are together too often for narrow cells: most of those are full.
            assert!(is_narrow || exact * 2 > counts.len(), "only {exact} of {} are exact", counts.len());
            counts.iter().for_each(|(&item, &count)| estimate.remove(item, count));
            let left: Vec<u8> =
                (0..estimate.cells()).map(|cell| estimate.get(cell)).filter(|&n| n > 0).collect();
            assert!(left.iter().all(|&cell| cell == estimate.full()), "cells are left");
            let weigh = if is_narrow { FULL_WEIGHS } else { 1 };
            assert_eq!(estimate.filled, left.len() as u32 * weigh);
        }
    }

    #[test]
    fn a_full_cell_says_nothing() {
        for (room, full) in [(1, u32::from(FULL_NARROW)), (9, u32::from(FULL))] {
            let mut estimate = room_for(1, room);
            estimate.add(1, full - 1);
            assert_eq!(estimate.at_most(1), Some(full - 1));
            estimate.add(1, 1);
            assert_eq!(estimate.at_most(1), None);
            estimate.remove(1, full);
            assert_eq!(estimate.at_most(1), None);
        }
    }

    #[test]
    fn a_table_gets_crowded() {
        for count in [1, 9] {
            let mut estimate = room_for(100, count);
            let crowd = (0..).take_while(|&item| {
                estimate.add(item, 1);
                !estimate.is_crowded()
            });
            let crowd = crowd.count();
            assert!((100..2000).contains(&crowd), "crowded after {crowd} pairs");
        }
    }

    /// Few full cells are enough for a narrow table to be made anew, with wide cells then.
    #[test]
    fn full_narrow_cells_crowd() {
        let mut pairs: Vec<(Item, u32)> = (0..256).map(|item| (item, 1)).collect();
        let mut estimate = Estimate::of(pairs.iter().copied());
        let mut often = 0;
        while !estimate.is_crowded() {
            estimate.add(pairs[often].0, 20);
            pairs[often].1 += 20;
            often += 1;
        }
        assert!((5..20).contains(&often), "crowded after {often} pairs");
        let estimate = Estimate::of(pairs.iter().copied());
        assert!(!estimate.is_narrow && !estimate.is_crowded());
    }
}
