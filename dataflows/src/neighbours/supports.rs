//! The supports of all items, and under-estimates of them that stay put while the supports move a little.

use crate::Item;
use crate::sampling::item_level;
use crate::sizes::bytes;

/// What every worker knows of every item, and of all baskets.
#[derive(Default)]
pub(super) struct Supports {
    support: Vec<u32>,
    low: Vec<u32>,
    /// Their sum.
    lines: u64,
    /// How many baskets are not empty.
    pub(super) total: u32,
    /// How many baskets may speak for an item; 0 where there is no such limit.
    max: u32,
    /// By item: its level, see [`sampling`](crate::sampling). Empty without a limit; those at the end may be missing.
    levels: Vec<u8>,
}

/// Bounds are taken at supports this fraction under the true ones, so that removals seldom invalidate them.
pub(super) const SLACK: u32 = 24;

impl Supports {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.support) + bytes(&self.low) + bytes(&self.levels)
    }

    /// Supports of items for which at most `max` baskets speak.
    pub(super) fn limited(max: u32) -> Self {
        Supports { max, ..Supports::default() }
    }

    /// How many baskets may speak for an item, where there is a limit.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// L(item): 0 where all its baskets speak for it.
    #[inline]
    pub(super) fn level(&self, item: Item) -> u8 {
        self.levels.get(item as usize).copied().unwrap_or(0)
    }

    /// Moves the item's level after its support; returns what it was, and what it is.
    pub(super) fn move_level(&mut self, item: Item) -> (u8, u8) {
        let (before, after) = (self.level(item), item_level(self.of(item), self.max));
        if before != after {
            if self.levels.len() <= item as usize {
                self.levels.resize(item as usize + 1, 0);
            }
            self.levels[item as usize] = after;
        }
        (before, after)
    }

    /// One more than the largest item that was ever in a basket.
    pub(super) fn items(&self) -> usize {
        self.support.len()
    }

    /// How many lines all baskets have.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// n(item).
    pub(super) fn of(&self, item: Item) -> u32 {
        self.support[item as usize]
    }

    /// At most n(item), and seldom changed.
    pub(super) fn low(&self, item: Item) -> u32 {
        self.low[item as usize]
    }

    /// So many more baskets have the item.
    pub(super) fn change(&mut self, item: Item, diff: i32) {
        let index = item as usize;
        if self.support.len() <= index {
            self.support.resize(index + 1, 0);
            self.low.resize(index + 1, 0);
        }
        let support = &mut self.support[index];
        *support = support.checked_add_signed(diff).expect("a support is never negative");
        self.lines = self.lines.wrapping_add_signed(i64::from(diff));
    }

    /// Moves the item's bound after its support; true if it had to fall, so that pairs left out may have risen.
    pub(super) fn settle(&mut self, item: Item) -> bool {
        let support = self.support[item as usize];
        let low = &mut self.low[item as usize];
        let fell = support < *low;
        let wanted = support - support / SLACK;
        *low = if fell { wanted } else { wanted.max(*low) };
        fell
    }
}
