//! The order in a row: the measure, the supports and the names, as they are at one epoch.
//!
//! Entries are ordered by a key of the measure, falling, then by name. The order is total.

use crate::neighbours::supports::{SLACK, Supports};
use crate::{Counts, Item, ListParams, Name, Names};

/// The sort key of an entry: the measure's key, falling, then the item's name, rising.
#[derive(Clone, Copy, Debug)]
pub(in crate::neighbours) struct RankKey {
    /// The key of the measure. Larger comes first.
    pub(in crate::neighbours) key: f64,
    /// The other item of the pair.
    pub(in crate::neighbours) item: Item,
}

/// A sort key that stays valid whatever becomes of its item. It has the name, because the item's number may be reused.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    /// The key of the measure.
    pub(super) key: f64,
    /// The name that breaks ties with the floor.
    name: Name,
}

/// A pair of a row with its sort key and its exact count.
#[derive(Clone, Copy, Debug)]
pub(in crate::neighbours) struct Candidate {
    /// The sort key: a bound, or the true one.
    pub(in crate::neighbours) rank: RankKey,
    /// c(row, item), of sampled baskets.
    pub(in crate::neighbours) count: u32,
}

/// The state of the row's own item and of N at which a row's bounds were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Base {
    /// At most the row's support.
    pub(super) low: u32,
    /// At least N.
    pub(super) total_max: u32,
    /// The level of the row's item.
    pub(super) level: u8,
}

/// Computes sort keys and compares them.
#[derive(Clone, Copy)]
pub(in crate::neighbours) struct Ranking<'a> {
    /// The measure.
    pub(in crate::neighbours) params: &'a ListParams,
    /// The supports after the epoch.
    pub(in crate::neighbours) supports: &'a Supports,
    /// The names of items, which break ties.
    pub(in crate::neighbours) names: &'a Names,
}

impl Ranking<'_> {
    /// The base of bounds of a row that are taken now.
    pub(super) fn base(&self, row: Item) -> Base {
        let (support, total) = (self.supports.of(row), self.supports.total());
        let level = self.supports.level(row);
        Base { low: support - support / SLACK, total_max: total.saturating_add(total / SLACK), level }
    }

    /// The true sort key of `item` in a row.
    pub(super) fn rank(&self, row: Item, item: Item, count: u32) -> RankKey {
        RankKey { key: self.params.scoring.key(self.counts(row, item, count)), item }
    }

    /// The bound of a pair: no pair of a row and `item` with at most this count has an earlier sort key.
    pub(super) fn bound(&self, base: Base, item: Item, count: u32) -> RankKey {
        let both = self.scaled_max(base, item, count);
        let counts = Counts { both, row: base.low, other: self.supports.low(item), total: base.total_max };
        RankKey { key: self.params.scoring.bound(counts), item }
    }

    /// The most that a count of sampled baskets stands for while both items stay at their levels.
    ///
    /// It does not depend on a support, because a support that rises would raise it.
    #[inline]
    pub(super) fn scaled_max(&self, base: Base, item: Item, count: u32) -> u32 {
        let (row, other) = (base.level, self.supports.level(item));
        if row.max(other) == 0 {
            return count;
        }
        let support_max = u64::from(self.supports.sample_max()) << row.min(other);
        let both = (u64::from(count) << row.max(other)).min(support_max);
        u32::try_from(both).unwrap_or(u32::MAX)
    }

    /// The smallest scaled count that may pass a row's floor, whatever the other item's support.
    pub(super) fn count_min(&self, base: Base, floor: &Floor) -> u32 {
        let passes = |both: u32| {
            let counts = Counts { both, row: base.low, other: 0, total: base.total_max };
            self.params.scoring.bound(counts) >= floor.key
        };
        // Bounds rise with the count: doubling finds a count that passes, and bisection the smallest.
        let mut high = 1;
        while high < u32::MAX / 2 && !passes(high) {
            high *= 2;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if passes(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// The four numbers that decide a pair's score. A sampled count is scaled up here.
    pub(in crate::neighbours) fn counts(&self, row: Item, item: Item, count: u32) -> Counts {
        let level = self.supports.level(row).max(self.supports.level(item));
        let (row, other) = (self.supports.of(row), self.supports.of(item));
        let both = match level {
            0 => count,
            _ => (u64::from(count) << level).min(row.min(other).into()) as u32,
        };
        Counts { both, row, other, total: self.supports.total() }
    }

    /// Whether an entry scores at all, and comes before a floor if there is one.
    pub(super) fn is_above(&self, floor: Option<&Floor>, rank: RankKey) -> bool {
        let precedes = |floor: &Floor| {
            rank.key > floor.key || rank.key == floor.key && *self.names.name(rank.item) < floor.name
        };
        rank.key > 0.0 && floor.is_none_or(precedes)
    }

    /// The floor at a sort key.
    pub(super) fn floor(&self, rank: RankKey) -> Floor {
        Floor { key: rank.key, name: self.names.name(rank.item).clone() }
    }

    /// Whether one entry comes before another.
    fn precedes(&self, x: &RankKey, y: &RankKey) -> bool {
        x.key > y.key || x.key == y.key && self.names.cmp(x.item, y.item).is_lt()
    }

    /// Moves the best `wanted` candidates to the front. Returns the sort key of the best of the others.
    pub(super) fn select_best(&self, candidates: &mut [Candidate], wanted: usize) -> RankKey {
        candidates.select_nth_unstable_by(wanted, |x, y| {
            let by_key = y.rank.key.total_cmp(&x.rank.key);
            by_key.then_with(|| self.names.cmp(x.rank.item, y.rank.item))
        });
        candidates[wanted].rank
    }

    /// Sorts candidates that are nearly sorted, by insertion.
    pub(super) fn sort(&self, candidates: &mut [Candidate]) {
        for at in 1..candidates.len() {
            let moved = candidates[at];
            let mut to = at;
            while to > 0 && self.precedes(&moved.rank, &candidates[to - 1].rank) {
                candidates[to] = candidates[to - 1];
                to -= 1;
            }
            candidates[to] = moved;
        }
    }
}
