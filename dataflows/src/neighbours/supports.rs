//! Supports: n(item) for all items, N, and a lower bound of each support that seldom changes.
//!
//! ```text
//! n(tea)   100  101  102  99   97   95     low = n − n / 24 when it is set
//! low       96   97   98  98   93   93     at 97 the support fell below it: bounds rise, and low is set again
//! ```
//!
//! Bounds on scores are taken at the lower bound of a support. While the support stays above it, those bounds hold.

use crate::Item;
use crate::id_vec::IdVec;
use crate::interaction_index::ItemSupports;
use crate::sampling::item_level;

/// What every worker knows of every item and of the baskets.
#[derive(Default)]
pub(super) struct Supports {
    /// n(item).
    supports: IdVec<Item, u32>,
    /// At most n(item).
    lows: IdVec<Item, u32>,
    /// The sum of all supports: the number of lines.
    lines: u64,
    /// N, the number of baskets that are not empty.
    total: u32,
    /// The most baskets from which an item is counted. 0 without a limit.
    sample_max: u32,
    /// Levels of items, see [`sampling`](crate::sampling). Items behind the end are at level 0.
    levels: IdVec<Item, u8>,
}

/// Lower bounds are this fraction under the support, so that removals seldom invalidate them.
pub(super) const SLACK: u32 = 24;

/// A change of an item's level.
pub(super) struct LevelChange {
    /// The item.
    pub(super) item: Item,
    /// Its level before.
    pub(super) before: u8,
    /// Its level from now on.
    pub(super) after: u8,
}

impl ItemSupports for Supports {
    fn of(&self, item: Item) -> u32 {
        self.supports.get(item).copied().unwrap_or(0)
    }

    fn total(&self) -> u32 {
        self.total
    }
}

impl Supports {
    /// Supports where an item is counted from at most `sample_max` baskets, or from all if that is 0.
    pub(super) fn new(sample_max: u32) -> Self {
        Supports { sample_max, ..Supports::default() }
    }

    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.supports.bytes() + self.lows.bytes() + self.levels.bytes()
    }

    /// The most baskets from which an item is counted. 0 without a limit.
    pub(super) fn sample_max(&self) -> u32 {
        self.sample_max
    }

    /// L(item): 0 where the item is counted from all of its baskets.
    #[inline]
    pub(super) fn level(&self, item: Item) -> u8 {
        self.levels.get(item).copied().unwrap_or(0)
    }

    /// Sets the item's level by its support. Returns the change, if there is one.
    pub(super) fn update_level(&mut self, item: Item) -> Option<LevelChange> {
        let (before, after) = (self.level(item), item_level(self.of(item), self.sample_max));
        if before == after {
            return None;
        }
        *self.levels.get_or_default(item) = after;
        Some(LevelChange { item, before, after })
    }

    /// One more than the largest item that was ever in a basket.
    pub(super) fn items_end(&self) -> usize {
        self.supports.len()
    }

    /// The number of lines of all baskets.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// N, the number of baskets that are not empty.
    #[inline]
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// n(item).
    #[inline]
    pub(super) fn of(&self, item: Item) -> u32 {
        self.supports[item]
    }

    /// The lower bound of n(item).
    #[inline]
    pub(super) fn low(&self, item: Item) -> u32 {
        self.lows[item]
    }

    /// Changes n(item).
    pub(super) fn change(&mut self, item: Item, diff: i32) {
        self.lows.get_or_default(item);
        let support = self.supports.get_or_default(item);
        *support = support.checked_add_signed(diff).expect("a support is never negative");
        self.lines = self.lines.wrapping_add_signed(i64::from(diff));
    }

    /// Changes N.
    pub(super) fn change_total(&mut self, diff: i32) {
        self.total = self.total.checked_add_signed(diff).expect("the number of baskets is never negative");
    }

    /// Updates the lower bound of n(item) after a change. Returns whether it fell, so that bounds on scores may have
    /// risen.
    pub(super) fn update_low(&mut self, item: Item) -> bool {
        let support = self.supports[item];
        let low = &mut self.lows[item];
        let fell = support < *low;
        let wanted = support - support / SLACK;
        *low = if fell { wanted } else { wanted.max(*low) };
        fell
    }
}
