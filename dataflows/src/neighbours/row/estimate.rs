//! Estimates: an upper bound on the count of each pair that a row leaves out, in half a byte or a byte per hashed item.
//!
//! Each pair that is left out adds its count to one cell. Pairs may share a cell, so a cell is never below the count of
//! any of them. An empty cell says that none of them was ever together. A full cell stays full and says nothing.
//!
//! Most pairs are together once or twice, so most tables have narrow cells. A table with too many full narrow cells is
//! rebuilt with wide ones.
//!
//! ```text
//! item ──hash──▶ cell     narrow: 0 ─ 14 exact or more than exact, 15 full       wide: 0 ─ 254, 255 full
//!
//! byte   0       1       2          two cells to a byte, the even cell in the low half
//! cell  1│0     3│2     5│4
//! ```
//!
//! # Notes
//! Each row has a small table of its own, so an epoch's changes of a row meet in the same few cache lines. A crowded
//! table is rebuilt from exact counts. Its size doubles, so rebuilding costs less than filling it did.

use crate::Item;
use crate::prefetch::prefetch;

/// The estimates of one row. Every item has a cell, also when no pair is left out yet.
pub(super) struct Estimate {
    /// A narrow table has two cells to a byte, the even one in the low half.
    bytes: Box<[u8]>,
    /// Cells that are not 0. A full narrow cell counts as [`FULL_WEIGHT`] of them.
    filled: u32,
    /// Whether cells have half a byte.
    is_narrow: bool,
}

/// Bits of a narrow cell.
const NARROW_BITS: u32 = 4;

/// The value of a full cell.
const FULL: u8 = u8::MAX;

/// The value of a full narrow cell.
const FULL_NARROW: u8 = FULL >> NARROW_BITS;

/// The count from which a pair is frequent, for a narrow table.
const FREQUENT_FROM: u32 = FULL_NARROW as u32 / 2;

/// A table is narrow when at most one in this many of its pairs is frequent.
const FREQUENT_SHARE: usize = 64;

/// The weight of a full narrow cell. It costs an exact count whenever its pair changes, which a wide cell might save.
const FULL_WEIGHT: u32 = 16;

/// Cells per pair in a new table.
const CELLS_PER_PAIR: usize = 2;

/// The fewest cells of a table.
const CELLS_MIN: usize = 64;

/// Eighths of the cells. A table is crowded when more are filled.
const CROWDED_EIGHTHS: usize = 5;

impl Estimate {
    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The table of these pairs with their counts. It has room for as many more.
    pub(super) fn of(pairs: impl ExactSizeIterator<Item = (Item, u32)> + Clone) -> Self {
        let cells = (pairs.len() * CELLS_PER_PAIR).max(CELLS_MIN);
        let frequent = pairs.clone().filter(|&(_item, count)| count >= FREQUENT_FROM).count();
        let is_narrow = frequent <= pairs.len() / FREQUENT_SHARE;
        let bytes = if is_narrow { cells.div_ceil(2) } else { cells };
        let mut table = Estimate { bytes: vec![0; bytes].into(), filled: 0, is_narrow };
        pairs.for_each(|(item, count)| table.add(item, count));
        table
    }

    /// Adds to the count of a pair that is left out, or leaves out a pair of this count.
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
            self.filled += FULL_WEIGHT - 1;
        }
    }

    /// Subtracts from the count of a pair that is left out, or removes a pair of this count.
    pub(super) fn remove(&mut self, item: Item, count: u32) {
        let cell = self.cell(item);
        let before = self.get(cell);
        if before < self.full() {
            let left = u32::from(before).checked_sub(count);
            let after = left.expect("a cell has the sum of what was added to it") as u8;
            self.set(cell, after);
            self.filled -= u32::from(after == 0 && before > 0);
        }
    }

    /// An upper bound on the pair's count. None if its cell is full.
    pub(super) fn count_max(&self, item: Item) -> Option<u32> {
        let count = self.get(self.cell(item));
        (count < self.full()).then_some(count.into())
    }

    /// Prefetches the item's cell.
    pub(super) fn prefetch(&self, item: Item) {
        prefetch(self.bytes.as_ptr().wrapping_add(self.byte_and_shift(self.cell(item)).0), 1);
    }

    /// Whether so many pairs share cells, or are in full ones, that the table should be rebuilt.
    pub(super) fn is_crowded(&self) -> bool {
        self.filled as usize * 8 > self.cells() * CROWDED_EIGHTHS
    }

    /// The number of cells.
    fn cells(&self) -> usize {
        self.bytes.len() << u32::from(self.is_narrow)
    }

    /// The value of a full cell of this table.
    fn full(&self) -> u8 {
        FULL >> (u32::from(self.is_narrow) * NARROW_BITS)
    }

    /// The value of a cell.
    fn get(&self, cell: usize) -> u8 {
        let (byte, shift) = self.byte_and_shift(cell);
        self.bytes[byte] >> shift & self.full()
    }

    /// Sets the value of a cell.
    fn set(&mut self, cell: usize, value: u8) {
        let (byte, shift) = self.byte_and_shift(cell);
        let others = self.bytes[byte] & !(self.full() << shift);
        self.bytes[byte] = others | value << shift;
    }

    /// The cell's byte, and its lowest bit there. There is no branch, because no processor could predict which row is
    /// narrow.
    fn byte_and_shift(&self, cell: usize) -> (usize, u32) {
        let narrow = usize::from(self.is_narrow);
        (cell >> narrow, (cell & narrow) as u32 * NARROW_BITS)
    }

    /// The item's cell: its number times the golden ratio, modulo 2^32, as a fraction of the table.
    /// See Lemire, "Fast random integer generation in an interval", 2019.
    fn cell(&self, item: Item) -> usize {
        let fraction = u64::from(item.number().wrapping_mul(0x9E37_79B9));
        ((fraction * self.cells() as u64) >> u32::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// An empty table with room for this many pairs of that count.
    fn room_for(pairs: u32, count: u32) -> Estimate {
        let pairs: Vec<_> = (0..pairs).map(|item| (Item::new(item), count)).collect();
        let mut estimate = Estimate::of(pairs.iter().copied());
        let exact = pairs.iter().filter(|&&(item, count)| estimate.count_max(item) == Some(count)).count();
        assert!(exact * 2 > pairs.len(), "only {exact} of {} are exact", pairs.len());
        pairs.into_iter().for_each(|(item, count)| estimate.remove(item, count));
        assert_eq!(estimate.filled, 0, "a cell is left");
        estimate
    }

    /// Whatever is added, removed and shares a cell: no estimate is below the count, most are exact, and when all pairs
    /// are removed, all cells that are not full are empty.
    #[test]
    fn never_below_the_count() {
        for (count, is_narrow) in [(1, true), (9, false)] {
            let mut estimate = room_for(4000, count);
            assert_eq!(estimate.is_narrow, is_narrow);
            let mut counts: BTreeMap<Item, u32> = BTreeMap::new();
            for step in 0u32..200_000 {
                let item = Item::new(step.wrapping_mul(2_654_435_761) >> 20);
                estimate.add(item, 1 + step % 2);
                *counts.entry(item).or_default() += 1 + step % 2;
                let old = Item::new((step / 2).wrapping_mul(2_654_435_761) >> 20);
                if step % 5 > 0 && counts.get(&old).is_some_and(|&count| count > 0) {
                    estimate.remove(old, 1);
                    *counts.entry(old).or_default() -= 1;
                }
                let count_max = estimate.count_max(item).unwrap_or(u32::MAX);
                assert!(count_max >= counts[&item], "{item:?}: {count_max} < {}", counts[&item]);
            }
            let mut exact = 0;
            for (&item, &count) in &counts {
                let count_max = estimate.count_max(item).unwrap_or(u32::MAX);
                assert!(count_max >= count, "{item:?}: {count_max} < {count}");
                exact += usize::from(count_max == count);
            }
            // These pairs are together too often for narrow cells: most of those are full.
            assert!(is_narrow || exact * 2 > counts.len(), "only {exact} of {} are exact", counts.len());
            counts.iter().for_each(|(&item, &count)| estimate.remove(item, count));
            let left: Vec<u8> =
                (0..estimate.cells()).map(|cell| estimate.get(cell)).filter(|&n| n > 0).collect();
            assert!(left.iter().all(|&cell| cell == estimate.full()), "cells are left");
            let weight = if is_narrow { FULL_WEIGHT } else { 1 };
            assert_eq!(estimate.filled, left.len() as u32 * weight);
        }
    }

    #[test]
    fn a_full_cell_says_nothing() {
        for (room, full) in [(1, u32::from(FULL_NARROW)), (9, u32::from(FULL))] {
            let (mut estimate, item) = (room_for(1, room), Item::new(1));
            estimate.add(item, full - 1);
            assert_eq!(estimate.count_max(item), Some(full - 1));
            estimate.add(item, 1);
            assert_eq!(estimate.count_max(item), None);
            estimate.remove(item, full);
            assert_eq!(estimate.count_max(item), None);
        }
    }

    #[test]
    fn a_table_gets_crowded() {
        for count in [1, 9] {
            let mut estimate = room_for(100, count);
            let crowd = (0..).take_while(|&item| {
                estimate.add(Item::new(item), 1);
                !estimate.is_crowded()
            });
            let crowd = crowd.count();
            assert!((100..2000).contains(&crowd), "crowded after {crowd} pairs");
        }
    }

    /// A few full cells are enough for a narrow table to be rebuilt with wide cells.
    #[test]
    fn full_narrow_cells_crowd() {
        let mut pairs: Vec<(Item, u32)> = (0..256).map(|item| (Item::new(item), 1)).collect();
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
