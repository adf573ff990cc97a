//! The row of an item: its reserve of candidates, its floor, and the list that comes of them.
//!
//! The promise of a row: for every pair that is left out of its reserve, the bound (at the row's [`Base`], at the other
//! item's low support) does not come before the **floor** in the total order. So whatever in the reserve stands before
//! the floor at its true score stands before everything left out; and while there are k of those, they are the list.
//! When there are fewer, the row is recounted from its baskets. A row without a floor leaves nothing out.
//!
//! ```text
//! reserve:   watched, in the order of the list │ the others                       left out: estimates
//!            ranked at every touch             │ bounds at most `rest`  │ floor ───── bounds under the floor
//! ```
//!
//! The front of the reserve is **watched**: a support that rises can only concern those. The others matter when the
//! list's last score has fallen to `rest`; then the whole reserve is ranked.

use crate::neighbours::counter::Counter;
use crate::neighbours::estimate::Estimate;
use crate::neighbours::prefetch::prefetch;
use crate::neighbours::ranking::{Base, Candidate, Floor, Place, Ranking};
use crate::neighbours::supports::SLACK;
use crate::neighbours::tally::Tally;
use crate::sizes::bytes;
use crate::{Item, Neighbour, tight};

/// The row of one item.
#[derive(Default)]
pub(super) struct Row {
    /// The first `watched` may come into the list, or leave it, by a change of their supports alone.
    reserve: Vec<Entry>,
    watched: usize,
    /// More entries than this lead to a cut.
    most: usize,
    /// At least the bound of every entry that is not watched.
    rest: f64,
    /// The pairs that are not in the reserve. Without a cut, every pair of the row is in the reserve.
    cut: Option<Cut>,
    /// Bounds of this row were taken at these supports.
    base: Base,
    /// Σ c(item, other): what a recount reads.
    mass: u64,
    /// The list as published last.
    pub(super) list: Vec<Neighbour<Item>>,
}

/// The pairs that a row leaves out, and the floor that they stay under.
///
/// A floor without estimates would lose the next pair that is left out, and estimates without a floor would hold pairs
/// that nothing keeps out of the list: so they are made together and go together. Pairs may all move into the reserve
/// again; the floor then stays, and the estimates keep room for the next pair that falls under it.
struct Cut {
    /// No pair that is left out comes before the floor.
    floor: Floor,
    /// No pair of a smaller count, scaled, can come before the floor, whatever the other item's support.
    least: u32,
    /// At most how often each pair that is left out is together.
    estimates: Estimate,
}

impl Cut {
    /// Leaves out these pairs, none of which comes before `place`.
    fn at(place: Place, base: Base, left_out: &[Candidate], ranking: &Ranking<'_>) -> Self {
        let floor = ranking.floor(place);
        let least = ranking.least_count(base, &floor);
        Cut { floor, least, estimates: Estimate::of(pairs(left_out)) }
    }

    /// Raises the floor to `place`, and leaves out these pairs as well, none of which comes before it.
    fn raise(&mut self, place: Place, base: Base, left_out: &[Candidate], ranking: &Ranking<'_>) {
        self.floor = ranking.floor(place);
        self.least = ranking.least_count(base, &self.floor);
        pairs(left_out).for_each(|(item, count)| self.estimates.add(item, count));
    }
}

/// So few pairs of a row are looked for in its reserve one by one.
const FEW: usize = 6;

/// A pair that a row does not leave out, with its exact count.
#[derive(Clone, Copy)]
struct Entry {
    item: Item,
    count: u32,
}

impl From<&Candidate> for Entry {
    fn from(candidate: &Candidate) -> Self {
        Entry { item: candidate.place.item, count: candidate.count }
    }
}

/// Scratch of ranking: used for one row after the other.
#[derive(Default)]
pub(super) struct Scratch {
    candidates: Vec<Candidate>,
    /// The list that was ranked last, at true scores.
    pub(super) top: Vec<Candidate>,
}

impl Row {
    /// Tells the processor that the row's reserve is wanted soon.
    pub(super) fn prefetch_reserve(&self) {
        prefetch(self.reserve.as_ptr(), 2);
    }

    /// The same of its list.
    pub(super) fn prefetch_list(&self) {
        prefetch(self.list.as_ptr(), 3);
    }

    /// Whether it says nothing: no pair, no list.
    pub(super) fn is_empty(&self) -> bool {
        self.reserve.is_empty() && self.list.is_empty() && self.mass == 0
    }

    /// The bytes it has allocated beside itself.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.reserve) + bytes(&self.list) + self.cut.as_ref().map_or(0, |cut| cut.estimates.bytes())
    }

    /// The items whose rising support may change the list.
    pub(super) fn watched(&self) -> impl Iterator<Item = Item> {
        self.reserve[..self.watched].iter().map(|entry| entry.item)
    }

    /// How many pairs, each counted as often as it is together: what a recount reads.
    pub(super) fn mass(&self) -> u64 {
        self.mass
    }

    /// Takes what an epoch did to the pairs of the row. Returns whether that may change its list: not if only pairs far
    /// behind the list, or left out, are together less often, or not often enough. Tells the pairs that are left out
    /// and may have passed the floor: their counts are wanted.
    pub(super) fn follow(
        &mut self,
        row: Item,
        tally: &mut Tally,
        ranking: &Ranking<'_>,
        unsure: &mut Vec<Item>,
    ) -> bool {
        let support = ranking.supports.of(row);
        let (mut mass, mut may_change) = (self.mass, false);
        if tally.met().len() <= FEW {
            // Looking for each in the reserve reads less than asking for every entry.
            for at in 0..tally.met().len() {
                let item = tally.met()[at];
                if let Some(at) = self.reserve.iter().position(|entry| entry.item == item) {
                    let diff = tally.take(item);
                    mass = mass.wrapping_add_signed(diff.into());
                    may_change |= self.change(at, diff, ranking);
                }
            }
        } else {
            for at in 0..self.reserve.len() {
                let diff = tally.take(self.reserve[at].item);
                mass = mass.wrapping_add_signed(diff.into());
                may_change |= self.change(at, diff, ranking);
            }
        }
        mass = mass.wrapping_add_signed(self.follow_rest(support, tally, ranking, unsure, &mut may_change));
        self.mass = mass;
        may_change
    }

    /// Takes what an epoch did to the pairs that are not in the reserve; returns by how much the mass moves.
    fn follow_rest(
        &mut self,
        support: u32,
        tally: &mut Tally,
        ranking: &Ranking<'_>,
        unsure: &mut Vec<Item>,
        may_change: &mut bool,
    ) -> i64 {
        let mut mass = 0;
        let Some(cut) = &mut self.cut else {
            tally.drain(|item, diff| {
                let count = u32::try_from(diff).expect("a row without a cut has in its reserve what parts");
                mass += i64::from(count);
                self.push(item, count, ranking);
                *may_change = true;
            });
            return mass;
        };
        tally.met().iter().for_each(|&item| cut.estimates.prefetch(item));
        let base = self.base;
        let mut entering = Vec::new();
        tally.drain(|item, diff| {
            mass += i64::from(diff);
            let Ok(more) = u32::try_from(diff) else {
                return cut.estimates.remove(item, diff.unsigned_abs());
            };
            let before = cut.estimates.at_most(item);
            let at_most = before.map_or(u32::MAX, |before| before + more);
            let may_enter = ranking.at_most(base, item, at_most) >= cut.least && {
                let at_most = at_most.min(support).min(ranking.supports.of(item));
                ranking.above(Some(&cut.floor), ranking.bound(base, item, at_most))
            };
            if may_enter && before == Some(0) {
                entering.push((item, more));
            } else {
                cut.estimates.add(item, more);
                if may_enter {
                    unsure.push(item);
                }
            }
        });
        *may_change |= !entering.is_empty();
        entering.into_iter().for_each(|(item, count)| self.push(item, count, ranking));
        mass
    }

    /// Changes the count of an entry; returns whether that may change the list.
    fn change(&mut self, at: usize, diff: i32, ranking: &Ranking<'_>) -> bool {
        if diff == 0 {
            return false;
        }
        let entry = &mut self.reserve[at];
        let count = entry.count.checked_add_signed(diff);
        entry.count = count.expect("a pair that parts has been together");
        let Entry { item, count } = *entry;
        let is_watched = at < self.watched;
        if !is_watched && diff > 0 {
            self.raise_rest(item, count, ranking);
        }
        is_watched || diff > 0
    }

    /// Takes a pair of known count into the reserve, if it is left out and its bound comes before the floor. Returns
    /// whether it does.
    pub(super) fn enter(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) -> bool {
        let bound = ranking.bound(self.base, item, count);
        let Some(cut) = self.cut.as_mut().filter(|cut| ranking.above(Some(&cut.floor), bound)) else {
            return false;
        };
        cut.estimates.remove(item, count);
        self.push(item, count, ranking);
        true
    }

    /// The bound of the pair has risen, as the item's support fell. Returns whether that may concern the list.
    pub(super) fn raise(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) -> bool {
        if self.cut.as_ref().is_some_and(|cut| ranking.at_most(self.base, item, count) < cut.least) {
            return false;
        }
        let bound = ranking.bound(self.base, item, count);
        if self.cut.as_ref().is_some_and(|cut| !ranking.above(Some(&cut.floor), bound)) {
            // Also in the reserve: what does not come before the floor is not listed.
            return false;
        }
        match self.reserve.iter().position(|entry| entry.item == item) {
            Some(at) if at < self.watched => {}
            Some(_) => self.rest = self.rest.max(bound.key),
            None => {
                let cut = self.cut.as_mut().expect("a row without a cut has every pair in its reserve");
                cut.estimates.remove(item, count);
                self.push(item, count, ranking);
            }
        }
        true
    }

    /// Makes the estimates anew if too many pairs share their cells.
    pub(super) fn make_room(&mut self, row: Item, counter: &Counter<'_>, tally: &mut Tally) {
        let Some(cut) = self.cut.as_mut().filter(|cut| cut.estimates.is_crowded()) else { return };
        counter.row(row, tally);
        self.reserve.iter().for_each(|entry| _ = tally.take(entry.item));
        let mut pairs = Vec::new();
        tally.drain(|item, count| pairs.push((item, count as u32)));
        cut.estimates = Estimate::of(pairs.into_iter());
    }

    fn push(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) {
        tight::push(&mut self.reserve, Entry { item, count });
        self.raise_rest(item, count, ranking);
    }

    fn raise_rest(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) {
        self.rest = self.rest.max(ranking.bound(self.base, item, count).key);
    }

    /// Ranks the row anew, from its reserve while that suffices: `scratch.top` is its list then. Returns whether the
    /// whole reserve was ranked: [`Row::watch`] has to take it over then.
    pub(super) fn rank(
        &mut self,
        row: Item,
        counter: &Counter<'_>,
        tally: &mut Tally,
        scratch: &mut Scratch,
        ranking: &Ranking<'_>,
    ) -> bool {
        let stale = self.is_stale(row, ranking);
        if !stale && self.reserve.len() <= self.most && self.rank_front(row, scratch, ranking) {
            return false;
        }
        if self.cut.is_some() && stale || !self.rank_reserve(row, scratch, ranking) {
            self.rank_all(row, counter, tally, scratch, ranking);
        }
        true
    }

    /// Whether the row's bounds hold no more for its own support, its level and the number of baskets.
    fn is_stale(&self, row: Item, ranking: &Ranking<'_>) -> bool {
        let scoring = &ranking.params.scoring;
        scoring.order_uses_row() && ranking.supports.of(row) < self.base.low
            || scoring.order_uses_total() && ranking.supports.total > self.base.high
            || ranking.supports.level(row) != self.base.level
    }

    /// The list from the front of the reserve; false if the rest may matter.
    fn rank_front(&mut self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) -> bool {
        let top = &mut scratch.top;
        top.clear();
        let watched = &mut self.reserve[..self.watched];
        let true_place = |&Entry { item, count }: &Entry| ranking.place(row, item, count);
        top.extend(watched.iter().map(|entry| Candidate { place: true_place(entry), count: entry.count }));
        ranking.sort(top);
        watched.iter_mut().zip(top.iter()).for_each(|(entry, candidate)| *entry = candidate.into());
        self.keep_listed(top, ranking);
        match top.len() == ranking.params.k {
            true => top.last().is_some_and(|last| last.place.key > self.rest),
            false => self.rest <= 0.0 && self.leaves_out_nothing(),
        }
    }

    /// Of sorted candidates, keeps the best k that come before the floor.
    fn keep_listed(&self, top: &mut Vec<Candidate>, ranking: &Ranking<'_>) {
        top.truncate(ranking.params.k);
        while top.pop_if(|last| !ranking.above(self.floor(), last.place)).is_some() {}
    }

    /// Whether nothing that is left out scores.
    fn leaves_out_nothing(&self) -> bool {
        self.floor().is_none_or(|floor| floor.key <= 0.0)
    }

    fn floor(&self) -> Option<&Floor> {
        self.cut.as_ref().map(|cut| &cut.floor)
    }

    /// The list from the whole reserve; false if it does not suffice.
    fn rank_reserve(&mut self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) -> bool {
        if self.cut.is_none() {
            self.base = base(row, ranking);
        }
        let candidates = &mut scratch.candidates;
        candidates.clear();
        for &Entry { item, count } in self.reserve.iter().filter(|entry| entry.count > 0) {
            let place = ranking.bound(self.base, item, count);
            match &mut self.cut {
                Some(cut) if !ranking.above(Some(&cut.floor), place) => cut.estimates.add(item, count),
                _ => candidates.push(Candidate { place, count }),
            }
        }
        self.most = self.most.max(ranking.params.reserve_max());
        if candidates.len() > self.most {
            let wanted = ranking.params.reserve();
            let place = ranking.cut(candidates, wanted);
            let left_out = &candidates[wanted..];
            match &mut self.cut {
                Some(cut) => cut.raise(place, self.base, left_out, ranking),
                None => self.cut = Some(Cut::at(place, self.base, left_out, ranking)),
            }
            candidates.truncate(wanted);
        }
        self.select(row, scratch, ranking);
        scratch.top.len() == ranking.params.k || self.leaves_out_nothing()
    }

    /// The list, and a new reserve, from the row's baskets.
    fn rank_all(
        &mut self,
        row: Item,
        counter: &Counter<'_>,
        tally: &mut Tally,
        scratch: &mut Scratch,
        ranking: &Ranking<'_>,
    ) {
        counter.row(row, tally);
        let mut wanted = ranking.params.reserve();
        let mut all = self.read(row, tally, ranking);
        loop {
            self.take_best(&mut all, wanted, ranking);
            if self.rank_reserve(row, scratch, ranking) {
                return;
            }
            // Many bounds lie close together: too few true scores passed the floor.
            wanted *= 2;
        }
    }

    /// A new reserve from the counts of the whole row.
    /// The caller takes its watchers away before.
    pub(super) fn recount(&mut self, row: Item, tally: &mut Tally, ranking: &Ranking<'_>) {
        let mut all = self.read(row, tally, ranking);
        self.take_best(&mut all, ranking.params.reserve(), ranking);
    }

    /// All pairs of the row, at the bounds that hold from now on.
    fn read(&mut self, row: Item, tally: &mut Tally, ranking: &Ranking<'_>) -> Vec<Candidate> {
        self.base = base(row, ranking);
        self.mass = 0;
        let mut all = Vec::new();
        tally.drain(|item, count| {
            let count = u32::try_from(count).expect("a pair is together or it is not");
            self.mass += u64::from(count);
            all.push(Candidate { place: ranking.bound(self.base, item, count), count });
        });
        all
    }

    /// Makes the best `wanted` of all pairs the reserve, or all if they are few. None is watched yet.
    fn take_best(&mut self, all: &mut [Candidate], wanted: usize, ranking: &Ranking<'_>) {
        self.most = wanted + ranking.params.reserve_max() - ranking.params.reserve();
        let whole = all.len() <= self.most;
        let wanted = if whole { all.len() } else { wanted };
        self.cut = (!whole).then(|| {
            let place = ranking.cut(all, wanted);
            Cut::at(place, self.base, &all[wanted..], ranking)
        });
        self.watched = 0;
        self.rest = f64::INFINITY;
        self.reserve.clear();
        self.reserve.extend(all[..wanted].iter().map(Entry::from));
    }

    /// The best k of the candidates at their true scores, of those that come before the floor.
    fn select(&self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) {
        let Scratch { candidates, top } = scratch;
        top.clear();
        top.extend(candidates.iter().map(|&Candidate { place, count }| Candidate {
            place: ranking.place(row, place.item, count),
            count,
        }));
        let k = ranking.params.k;
        if top.len() > k {
            ranking.cut(top, k);
            top.truncate(k);
        }
        ranking.sort(top);
        self.keep_listed(top, ranking);
    }

    /// Makes the candidates the reserve, and those of them watched that a rising support alone could bring into the
    /// list or out of it.
    pub(super) fn watch(&mut self, scratch: &mut Scratch, ranking: &Ranking<'_>) {
        let Scratch { candidates, top } = scratch;
        let full = top.len() == ranking.params.k;
        let bar = top.last().filter(|_| full).map_or(0.0, |last| last.place.key);
        self.watched = 0;
        self.rest = 0.0;
        for at in 0..candidates.len() {
            let key = candidates[at].place.key;
            if key >= bar {
                candidates.swap(at, self.watched);
                self.watched += 1;
            } else {
                self.rest = self.rest.max(key);
            }
        }
        self.reserve.clear();
        self.reserve.extend(candidates.iter().map(Entry::from));
        tight::trim(&mut self.reserve);
    }
}

/// The items of candidates, and their counts.
fn pairs(candidates: &[Candidate]) -> impl ExactSizeIterator<Item = (Item, u32)> + Clone {
    candidates.iter().map(|candidate| (candidate.place.item, candidate.count))
}

/// Where to take bounds from now on.
fn base(row: Item, ranking: &Ranking<'_>) -> Base {
    let (support, total) = (ranking.supports.of(row), ranking.supports.total);
    let level = ranking.supports.level(row);
    Base { low: support - support / SLACK, high: total.saturating_add(total / SLACK), level }
}
