//! The row of an item: its reserve of candidates, its floor, and the list that comes of them.
//!
//! The promise of a row: for every item that is left out of its reserve, the bound of the pair (at the row's `low` and
//! `high`, at the other item's `low`) does not come before the **floor** in the total order, score falling, then name.
//! So whatever in the reserve stands before the floor at its true score stands before everything left out; and while
//! there are k of those, they are the list. When there are fewer, the row is recounted from its baskets.

use crate::neighbours::store::Store;
use crate::{Counts, Item, ListParams, Names, Neighbour};
use std::cmp::Ordering;

/// The supports of all items, and under-estimates of them that stay put while the supports move a little.
#[derive(Default)]
pub(super) struct Supports {
    support: Vec<u32>,
    low: Vec<u32>,
    pub(super) total: u32,
}

/// Bounds are taken at supports this fraction under the true ones, so that removals seldom invalidate them.
const SLACK: u32 = 16;

impl Supports {
    pub(super) fn of(&self, item: Item) -> u32 {
        self.support.get(item as usize).copied().unwrap_or(0)
    }

    fn low(&self, item: Item) -> u32 {
        self.low.get(item as usize).copied().unwrap_or(0)
    }

    pub(super) fn change(&mut self, item: Item, diff: i32) {
        let index = item as usize;
        if self.support.len() <= index {
            self.support.resize(index + 1, 0);
            self.low.resize(index + 1, 0);
        }
        let support = &mut self.support[index];
        *support = support.checked_add_signed(diff).expect("a support is never negative");
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

/// A place in a row's total order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: f64,
    pub(super) item: Item,
}

/// A place held at a bound, with the pair's exact count.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: Place,
    count: u32,
}

/// The row of one item.
#[derive(Default)]
pub(super) struct Row {
    /// The reserve. The first `watched` may come into the list by a change of their supports alone.
    items: Vec<Item>,
    counts: Vec<u32>,
    watched: usize,
    /// Nothing that is left out comes before this; without a floor, nothing that scores is left out.
    floor: Option<Place>,
    /// The bounds of this row were taken at this support of its own, and at this number of baskets.
    low: u32,
    high: u32,
    /// The list as published last.
    list: Vec<Neighbour<Item>>,
}

impl Row {
    /// Moves the pair's count by one if the item is in the reserve; false if it is not.
    pub(super) fn follow(&mut self, item: Item, more: bool) -> bool {
        let Some(at) = self.items.iter().position(|&other| other == item) else { return false };
        self.counts[at] = if more { self.counts[at] + 1 } else { self.counts[at] - 1 };
        true
    }

    pub(super) fn holds(&self, item: Item) -> bool {
        self.items.contains(&item)
    }

    fn watched(&self) -> &[Item] {
        &self.items[..self.watched]
    }

    /// Whether the row's bounds still hold for its own support and the number of baskets.
    fn is_stale(&self, row: Item, ranking: &Ranking<'_>) -> bool {
        let scoring = &ranking.params.scoring;
        scoring.order_uses_row() && ranking.supports.of(row) < self.low
            || scoring.order_uses_total() && ranking.supports.total > self.high
    }
}

/// What decides order: the measure, the supports and the names, as they are at one epoch.
pub(super) struct Ranking<'a> {
    pub(super) params: &'a ListParams,
    pub(super) supports: &'a Supports,
    pub(super) names: &'a Names,
}

impl Ranking<'_> {
    /// The place that no pair of `row` and `item` with at most `count` can come before.
    pub(super) fn bound(&self, row: &Row, item: Item, count: u32) -> Place {
        let counts = Counts { both: count, row: row.low, other: self.supports.low(item), total: row.high };
        Place { key: self.params.scoring.bound(counts), item }
    }

    /// Whether a place comes before a row's floor, and scores at all.
    pub(super) fn above_floor(&self, row: &Row, place: Place) -> bool {
        self.above(row.floor, place)
    }

    /// Whether a pair that is left out, and of which only an estimate is known, might come before the row's floor.
    pub(super) fn may_enter(&self, row: &Row, item: Item, other: Item, at_most: Option<u32>) -> bool {
        let supports = self.supports.of(item).min(self.supports.of(other));
        let count = at_most.map_or(supports, |count| count.min(supports));
        self.above(row.floor, self.bound(row, other, count))
    }

    fn above(&self, floor: Option<Place>, place: Place) -> bool {
        match floor {
            None => place.key > 0.0,
            Some(floor) => self.order(&place, &floor) == Ordering::Less,
        }
    }

    fn counts(&self, row: Item, item: Item, count: u32) -> Counts {
        let (row, other) = (self.supports.of(row), self.supports.of(item));
        Counts { both: count, row, other, total: self.supports.total }
    }

    /// The total order: key falling, then name rising.
    fn order(&self, x: &Place, y: &Place) -> Ordering {
        y.key.total_cmp(&x.key).then_with(|| self.names.cmp(x.item, y.item))
    }

    /// Keeps the best `wanted` candidates; the best of the others is the floor.
    fn cut(&self, candidates: &mut Vec<Candidate>, wanted: usize) -> Option<Place> {
        if candidates.len() <= wanted {
            return None;
        }
        candidates.select_nth_unstable_by(wanted, |x, y| self.order(&x.place, &y.place));
        let floor = candidates[wanted].place;
        candidates.truncate(wanted);
        Some(floor)
    }
}

/// The rows of the items that one worker owns, and who watches whom.
pub(super) struct Rows {
    workers: u32,
    rows: Vec<Row>,
    /// By item: the rows that watch it, and some that did once; and how many really do.
    watchers: Vec<Vec<Item>>,
    watching: Vec<u32>,
    candidates: Vec<Candidate>,
    all: Vec<Candidate>,
    top: Vec<Candidate>,
    list: Vec<Neighbour<Item>>,
}

/// How a row's list changed.
pub(super) struct Changed<'a> {
    pub(super) before: Vec<Neighbour<Item>>,
    pub(super) after: &'a [Neighbour<Item>],
}

impl Rows {
    pub(super) fn new(workers: u32) -> Self {
        Rows {
            workers,
            rows: Vec::new(),
            watchers: Vec::new(),
            watching: Vec::new(),
            candidates: Vec::new(),
            all: Vec::new(),
            top: Vec::new(),
            list: Vec::new(),
        }
    }

    pub(super) fn row(&self, item: Item) -> &Row {
        &self.rows[(item / self.workers) as usize]
    }

    pub(super) fn row_mut(&mut self, item: Item) -> &mut Row {
        &mut self.rows[(item / self.workers) as usize]
    }

    /// Makes room for the rows and the watchers of all items up to this one.
    pub(super) fn make_room(&mut self, item: Item) {
        let row = (item / self.workers) as usize;
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Row::default);
        }
        if self.watchers.len() <= item as usize {
            self.watchers.resize_with(item as usize + 1, Vec::new);
            self.watching.resize(item as usize + 1, 0);
        }
    }

    /// How many rows there are; the n-th is that of item `n · workers + index`.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Calls `each` for every row that watches the item, and perhaps for some that do not.
    pub(super) fn watchers(&mut self, item: Item, mut each: impl FnMut(Item)) {
        let mut watchers = std::mem::take(&mut self.watchers[item as usize]);
        // Rows that watch no more are taken out when they are the majority, so cleaning costs less than adding did.
        if watchers.len() > 2 * self.watching[item as usize] as usize + 8 {
            watchers.sort_unstable();
            watchers.dedup();
            watchers.retain(|&row| self.row(row).watched().contains(&item));
        }
        watchers.iter().for_each(|&row| each(row));
        self.watchers[item as usize] = watchers;
    }

    /// Takes a pair of known count into the row's reserve, if it is not there and comes before the floor.
    pub(super) fn enter(&mut self, row: Item, item: Item, count: u32, ranking: &Ranking<'_>) {
        let row = self.row_mut(row);
        if ranking.above_floor(row, ranking.bound(row, item, count)) && !row.holds(item) {
            row.items.push(item);
            row.counts.push(count);
        }
    }

    /// Ranks a row anew, from its reserve while that suffices; tells how its list changed, if it did.
    pub(super) fn rebuild(
        &mut self,
        item: Item,
        recount: bool,
        store: &mut Store,
        ranking: &Ranking<'_>,
    ) -> Option<Changed<'_>> {
        if recount || self.row(item).is_stale(item, ranking) || !self.rank_reserve(item, ranking) {
            self.rank_all(item, store, ranking);
        }
        self.watch(item, ranking);
        self.list.clear();
        self.list.extend(self.top.iter().map(|candidate| {
            let counts = ranking.counts(item, candidate.place.item, candidate.count);
            ranking.params.neighbour(candidate.place.item, counts)
        }));
        let row = &mut self.rows[(item / self.workers) as usize];
        if row.list == self.list {
            return None;
        }
        let before = std::mem::replace(&mut row.list, self.list.clone());
        Some(Changed { before, after: &row.list })
    }

    /// Candidates and list from the reserve; false if it does not suffice.
    fn rank_reserve(&mut self, item: Item, ranking: &Ranking<'_>) -> bool {
        let row = &self.rows[(item / self.workers) as usize];
        self.candidates.clear();
        for (&other, &count) in row.items.iter().zip(&row.counts) {
            let place = ranking.bound(row, other, count);
            if ranking.above_floor(row, place) {
                self.candidates.push(Candidate { place, count });
            }
        }
        let mut floor = row.floor;
        if self.candidates.len() > ranking.params.reserve_max() {
            floor = ranking.cut(&mut self.candidates, ranking.params.reserve());
        }
        self.select(item, floor, ranking);
        self.rows[(item / self.workers) as usize].floor = floor;
        floor.is_none() || self.top.len() >= ranking.params.k
    }

    /// Candidates and list from the row's baskets.
    fn rank_all(&mut self, item: Item, store: &mut Store, ranking: &Ranking<'_>) {
        let (support, total) = (ranking.supports.of(item), ranking.supports.total);
        let row = self.row_mut(item);
        row.low = support - support / SLACK;
        row.high = total.saturating_add(total / SLACK);
        let row = &self.rows[(item / self.workers) as usize];
        self.all.clear();
        store.row(item, |other, count| {
            let place = ranking.bound(row, other, count);
            if place.key > 0.0 {
                self.all.push(Candidate { place, count });
            }
        });
        let mut wanted = ranking.params.reserve();
        loop {
            self.candidates.clone_from(&self.all);
            let floor = ranking.cut(&mut self.candidates, wanted);
            self.select(item, floor, ranking);
            self.row_mut(item).floor = floor;
            if floor.is_none() || self.top.len() >= ranking.params.k {
                return;
            }
            // Many bounds lie close together: too few true scores passed the floor.
            wanted *= 2;
        }
    }

    /// The best k of the candidates at their true scores, of those that come before the floor.
    fn select(&mut self, item: Item, floor: Option<Place>, ranking: &Ranking<'_>) {
        self.top.clear();
        for candidate in &self.candidates {
            let counts = ranking.counts(item, candidate.place.item, candidate.count);
            let place = Place { key: ranking.params.scoring.key(counts), item: candidate.place.item };
            if place.key > 0.0 && ranking.above(floor, place) {
                self.top.push(Candidate { place, count: candidate.count });
            }
        }
        let order = |x: &Candidate, y: &Candidate| ranking.order(&x.place, &y.place);
        let k = ranking.params.k;
        if self.top.len() > k {
            self.top.select_nth_unstable_by(k, order);
            self.top.truncate(k);
        }
        self.top.sort_unstable_by(order);
    }

    /// Makes the candidates the row's reserve, and watches those that a falling support alone could bring into the
    /// list.
    fn watch(&mut self, item: Item, ranking: &Ranking<'_>) {
        let full = self.top.len() == ranking.params.k;
        let bar = self.top.last().filter(|_| full).map_or(0.0, |last| last.place.key);
        let mut watched = 0;
        for at in 0..self.candidates.len() {
            if self.candidates[at].place.key >= bar {
                self.candidates.swap(at, watched);
                watched += 1;
            }
        }
        let row = &mut self.rows[(item / self.workers) as usize];
        for candidate in &self.candidates[..watched] {
            let other = candidate.place.item;
            if !row.watched().contains(&other) {
                self.watchers[other as usize].push(item);
            }
            self.watching[other as usize] += 1;
        }
        for &other in row.watched() {
            self.watching[other as usize] -= 1;
        }
        row.watched = watched;
        row.items.clear();
        row.items.extend(self.candidates.iter().map(|candidate| candidate.place.item));
        row.counts.clear();
        row.counts.extend(self.candidates.iter().map(|candidate| candidate.count));
    }
}
