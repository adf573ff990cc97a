//! What decides order in a row: the measure, the supports and the names, as they are at one epoch.

use crate::neighbours::supports::Supports;
use crate::{Counts, Item, ListParams, Name, Names};

/// A place in a row's total order: key falling, then name rising.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: f64,
    pub(super) item: Item,
}

/// A place that stays, whatever becomes of the item: its number may mean another one day, whose name is another.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    pub(super) key: f64,
    name: Name,
}

/// A place with the pair's exact count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) place: Place,
    pub(super) count: u32,
}

/// The supports that a row's bounds were taken at: its own, and the number of baskets; and its own level.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Base {
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) level: u8,
}

/// Order, as it is at one epoch.
#[derive(Clone, Copy)]
pub(super) struct Ranking<'a> {
    pub(super) params: &'a ListParams,
    pub(super) supports: &'a Supports,
    pub(super) names: &'a Names,
}

impl Ranking<'_> {
    /// The place of a pair of `row` and `item`.
    pub(super) fn place(&self, row: Item, item: Item, count: u32) -> Place {
        Place { key: self.params.scoring.key(self.counts(row, item, count)), item }
    }

    /// The place that no pair of a row and `item` with at most `count` can come before.
    pub(super) fn bound(&self, base: Base, item: Item, count: u32) -> Place {
        let both = self.at_most(base, item, count);
        let counts = Counts { both, row: base.low, other: self.supports.low(item), total: base.high };
        Place { key: self.params.scoring.bound(counts), item }
    }

    /// What a count of kept baskets stands for at most, while both items stay at their levels: no support is looked at,
    /// since one that rises would raise it.
    #[inline]
    pub(super) fn at_most(&self, base: Base, item: Item, count: u32) -> u32 {
        let (row, other) = (base.level, self.supports.level(item));
        if row.max(other) == 0 {
            return count;
        }
        let support_max = u64::from(self.supports.max()) << row.min(other);
        let both = (u64::from(count) << row.max(other)).min(support_max);
        u32::try_from(both).unwrap_or(u32::MAX)
    }

    /// The smallest count, scaled, that may pass a row's floor, whatever the other item's support. A few bounds, seldom
    /// more.
    pub(super) fn least_count(&self, base: Base, floor: &Floor) -> u32 {
        let passes = |both: u32| {
            let counts = Counts { both, row: base.low, other: 0, total: base.high };
            self.params.scoring.bound(counts) >= floor.key
        };
        // Bounds rise with the count: by doubling to a count that passes, then by halves.
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

    /// The four numbers that decide a pair's score.
    pub(super) fn counts(&self, row: Item, item: Item, count: u32) -> Counts {
        let level = self.supports.level(row).max(self.supports.level(item));
        let (row, other) = (self.supports.of(row), self.supports.of(item));
        let both = match level {
            0 => count,
            _ => (u64::from(count) << level).min(row.min(other).into()) as u32,
        };
        Counts { both, row, other, total: self.supports.total }
    }

    /// Whether a place is listed at all and comes before a floor.
    pub(super) fn above(&self, floor: Option<&Floor>, place: Place) -> bool {
        let before = |floor: &Floor| {
            place.key > floor.key || place.key == floor.key && *self.names.name(place.item) < floor.name
        };
        place.key > 0.0 && floor.is_none_or(before)
    }

    /// A floor at a place.
    pub(super) fn floor(&self, place: Place) -> Floor {
        Floor { key: place.key, name: self.names.name(place.item).clone() }
    }

    /// Whether one place comes before another.
    pub(super) fn before(&self, x: &Place, y: &Place) -> bool {
        x.key > y.key || x.key == y.key && self.names.cmp(x.item, y.item).is_lt()
    }

    /// Brings the best `wanted` candidates to the front; the best of the others is the floor.
    pub(super) fn cut(&self, candidates: &mut [Candidate], wanted: usize) -> Place {
        candidates.select_nth_unstable_by(wanted, |x, y| {
            let by_key = y.place.key.total_cmp(&x.place.key);
            by_key.then_with(|| self.names.cmp(x.place.item, y.place.item))
        });
        candidates[wanted].place
    }

    /// Sorts candidates, which nearly are already.
    pub(super) fn sort(&self, candidates: &mut [Candidate]) {
        for at in 1..candidates.len() {
            let moved = candidates[at];
            let mut to = at;
            while to > 0 && self.before(&moved.place, &candidates[to - 1].place) {
                candidates[to] = candidates[to - 1];
                to -= 1;
            }
            candidates[to] = moved;
        }
    }
}
