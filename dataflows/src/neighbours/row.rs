//! The row of an item: its reserve of candidates, its floor, and the list that comes of them.
//!
//! A row does not keep all pairs. Its **reserve** has candidates with exact counts. All other pairs are left out, and
//! only estimates of their counts are kept ([`estimate`]).
//!
//! **The promise of a row:** no pair that is left out has a bound before the **floor**, in the order of [`ranking`]. A
//! bound is taken at the row's [`Base`] and at the other item's lower bound of its support.
//!
//! So an entry of the reserve whose true score is before the floor is better than everything left out. While
//! there are k such entries, they are the list. If there are fewer, the row is recounted from its baskets. A
//! row without a floor leaves nothing out.
//!
//! ```text
//! reserve:   watched, in the order of the list │ the others                        left out: estimates
//!            ranked whenever the row is dirty  │ bounds ≤ `unwatched_max` │ floor ─ bounds behind the floor
//! ```
//!
//! # Example
//! Lists of k = 2 by cosine, where a key is c² / n(other). The row of tea keeps 3 candidates and leaves 2 pairs out:
//!
//! ```text
//! other    c   n(other)   key     in the row of tea
//! milk     6   9          4.00    reserve, watched, in the list
//! mug      4   8          2.00    reserve, watched, in the list
//! honey    3   6          1.50    reserve, not watched: unwatched_max = 1.50
//! lemon    2   4          1.00    left out: it is the floor
//! spoon    1   5          0.20    left out: its estimate is 1
//! ```
//!
//! - Spoon joins one more basket of tea. Its estimate becomes 2, so its key is at most 2² / 5 = 0.80. That is
//!   behind the floor, so nothing else happens.
//! - The support of mug rises to 20. Mug is watched, so the row is dirty: its key is 0.80 now. The list ends below
//!   `unwatched_max`, so the whole reserve is ranked, and honey takes the place of mug. Mug is behind the floor and is
//!   left out: its estimate is 4.
//! - Milk leaves all baskets of tea. Only honey is before the floor, and the list wants two. So the row is recounted.
//!
//! The front of the reserve is **watched**: only these entries can be concerned by a support that rises. The others
//! matter when the last score of the list has fallen to `unwatched_max`. Then the whole reserve is ranked.

mod cut;

mod estimate;

pub(super) mod ranking;

use crate::interaction_index::Accumulator;
use crate::neighbours::kept_pairs::KeptPairs;
use crate::neighbours::pair_filter::PairFilter;
use crate::prefetch::prefetch;
use crate::state_stats::bytes;
use crate::{Item, Neighbour, NumberedList, compact_vec};
use cut::Cut;
use ranking::{Base, Candidate, Floor, Ranking};

/// The row of one item.
#[derive(Default)]
pub(super) struct Row {
    /// The candidates, the watched ones first.
    reserve: Vec<Entry>,
    /// The number of entries that may enter the list or leave it because their supports change, and for no
    /// other reason.
    watched: usize,
    /// A reserve with more entries is cut.
    reserve_max: usize,
    /// At least the key of the bound of every entry that is not watched.
    unwatched_max: f64,
    /// The pairs that are left out. Without a cut, every pair of the row is in the reserve.
    cut: Option<Cut>,
    /// The base of this row's bounds.
    base: Base,
    /// Σ c(item, other): the work of a recount.
    mass: u64,
    /// The list that was published last; none is empty.
    pub(super) list: Option<NumberedList>,
}

/// The most changed pairs that are searched in the reserve one by one.
const FEW: usize = 6;

/// A pair in the reserve, with its exact count.
#[derive(Clone, Copy)]
struct Entry {
    /// The other item.
    item: Item,
    /// c(row, item), of sampled baskets.
    count: u32,
}

impl From<&Candidate> for Entry {
    fn from(candidate: &Candidate) -> Self {
        Entry { item: candidate.rank.item, count: candidate.count }
    }
}

/// Scratch memory of ranking, used for one row after the other.
#[derive(Default)]
pub(super) struct Scratch {
    /// The reserve that was ranked last, at bounds.
    candidates: Vec<Candidate>,
    /// The list that was ranked last, at true scores, best first.
    pub(super) top: Vec<Candidate>,
}

impl Row {
    /// Prefetches the reserve.
    pub(super) fn prefetch_reserve(&self) {
        prefetch(self.reserve.as_ptr(), 2);
    }

    /// Prefetches the list.
    pub(super) fn prefetch_list(&self) {
        prefetch(self.published().as_ptr(), 3);
    }

    /// The list that was published last. Without one it is empty.
    pub(super) fn published(&self) -> &[Neighbour<Item>] {
        self.list.as_deref().unwrap_or_default()
    }

    /// Whether the row has no pair and no list.
    pub(super) fn is_empty(&self) -> bool {
        self.reserve.is_empty() && self.list.is_none() && self.mass == 0
    }

    /// The bytes that it points to.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.reserve) + size_of_val(self.published()) as u64 + self.cut.as_ref().map_or(0, Cut::bytes)
    }

    /// The items whose rising support may change the list.
    pub(super) fn watched(&self) -> impl Iterator<Item = Item> {
        self.reserve[..self.watched].iter().map(|entry| entry.item)
    }

    /// The sum of all counts: what a recount reads.
    pub(super) fn mass(&self) -> u64 {
        self.mass
    }

    /// Applies the changes of an epoch to the row's counts, and empties the accumulator. Returns whether the list may
    /// change.
    ///
    /// The list cannot change if unwatched pairs only part, or if pairs that are left out stay behind the floor. Pairs
    /// that are left out and may have passed the floor are added to `uncertain`: they need an exact count.
    pub(super) fn apply_changes(
        &mut self,
        row: Item,
        accumulator: &mut Accumulator,
        ranking: &Ranking<'_>,
        uncertain: &mut Vec<Item>,
    ) -> bool {
        let support = ranking.supports.of(row);
        let (mut mass, mut may_change) = (self.mass, false);
        if accumulator.met().len() <= FEW {
            // Searching the reserve for each reads less than looking up every entry.
            for at in 0..accumulator.met().len() {
                let item = accumulator.met()[at];
                if let Some(at) = self.reserve.iter().position(|entry| entry.item == item) {
                    let diff = accumulator.take(item);
                    mass = mass.wrapping_add_signed(diff.into());
                    may_change |= self.change(at, diff, ranking);
                }
            }
        } else {
            for at in 0..self.reserve.len() {
                let diff = accumulator.take(self.reserve[at].item);
                mass = mass.wrapping_add_signed(diff.into());
                may_change |= self.change(at, diff, ranking);
            }
        }
        mass = mass.wrapping_add_signed(self.apply_changes_left_out(
            support,
            accumulator,
            ranking,
            uncertain,
            &mut may_change,
        ));
        self.mass = mass;
        may_change
    }

    /// Applies the changes of pairs that are not in the reserve. Returns the change of the mass.
    fn apply_changes_left_out(
        &mut self,
        support: u32,
        accumulator: &mut Accumulator,
        ranking: &Ranking<'_>,
        uncertain: &mut Vec<Item>,
        may_change: &mut bool,
    ) -> i64 {
        let mut mass = 0;
        let Some(cut) = &mut self.cut else {
            accumulator.drain(|item, diff| {
                let count = u32::try_from(diff).expect("without a cut, a pair that parts is in the reserve");
                mass += i64::from(count);
                self.push(item, count, ranking);
                *may_change = true;
            });
            return mass;
        };
        accumulator.met().iter().for_each(|&item| cut.estimates.prefetch(item));
        let base = self.base;
        let mut entering = Vec::new();
        accumulator.drain(|item, diff| {
            mass += i64::from(diff);
            let Ok(more) = u32::try_from(diff) else {
                return cut.estimates.remove(item, diff.unsigned_abs());
            };
            let before = cut.estimates.count_max(item);
            let count_max = before.map_or(u32::MAX, |before| before + more);
            let may_enter = ranking.scaled_max(base, item, count_max) >= cut.count_min && {
                let count_max = count_max.min(support).min(ranking.supports.of(item));
                ranking.is_above(Some(&cut.floor), ranking.bound(base, item, count_max))
            };
            if may_enter && before == Some(0) {
                entering.push((item, more));
            } else {
                cut.estimates.add(item, more);
                if may_enter {
                    uncertain.push(item);
                }
            }
        });
        *may_change |= !entering.is_empty();
        entering.into_iter().for_each(|(item, count)| self.push(item, count, ranking));
        mass
    }

    /// Changes the count of an entry. Returns whether the list may change.
    fn change(&mut self, at: usize, diff: i32, ranking: &Ranking<'_>) -> bool {
        if diff == 0 {
            return false;
        }
        let entry = &mut self.reserve[at];
        let count = entry.count.checked_add_signed(diff);
        entry.count = count.expect("a pair that parts was together");
        let Entry { item, count } = *entry;
        let is_watched = at < self.watched;
        if !is_watched && diff > 0 {
            self.raise_unwatched_max(item, count, ranking);
        }
        is_watched || diff > 0
    }

    /// Moves a pair of known count from the estimates into the reserve, if its bound is before the floor.
    /// Returns whether it did.
    pub(super) fn try_enter(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) -> bool {
        let bound = ranking.bound(self.base, item, count);
        let Some(cut) = self.cut.as_mut().filter(|cut| ranking.is_above(Some(&cut.floor), bound)) else {
            return false;
        };
        cut.estimates.remove(item, count);
        self.push(item, count, ranking);
        true
    }

    /// The bound of a pair rose, because the support of its item fell or its level rose. Moves the pair into
    /// the reserve if it passes the floor now. Returns whether the list may change.
    pub(super) fn raise_bound(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) -> bool {
        if self.cut.as_ref().is_some_and(|cut| ranking.scaled_max(self.base, item, count) < cut.count_min) {
            return false;
        }
        let bound = ranking.bound(self.base, item, count);
        if self.cut.as_ref().is_some_and(|cut| !ranking.is_above(Some(&cut.floor), bound)) {
            // Also in the reserve: an entry that is not before the floor is not listed.
            return false;
        }
        match self.reserve.iter().position(|entry| entry.item == item) {
            Some(at) if at < self.watched => {}
            Some(_) => self.unwatched_max = self.unwatched_max.max(bound.key),
            None => {
                let cut = self.cut.as_mut().expect("without a cut, every pair is in the reserve");
                cut.estimates.remove(item, count);
                self.push(item, count, ranking);
            }
        }
        true
    }

    /// Rebuilds the estimates from exact counts if too many pairs share their cells.
    pub(super) fn rebuild_estimates_if_crowded<F: PairFilter>(
        &mut self,
        row: Item,
        pairs: KeptPairs<'_, F>,
        accumulator: &mut Accumulator,
    ) {
        let Some(cut) = self.cut.as_mut().filter(|cut| cut.is_crowded()) else { return };
        pairs.accumulate_row(row, accumulator);
        self.reserve.iter().for_each(|entry| _ = accumulator.take(entry.item));
        let mut left_out = Vec::new();
        accumulator.drain(|item, count| left_out.push((item, count as u32)));
        cut.rebuild_estimates(left_out);
    }

    /// Appends an entry that is not watched.
    fn push(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) {
        compact_vec::push(&mut self.reserve, Entry { item, count });
        self.raise_unwatched_max(item, count, ranking);
    }

    /// Raises `unwatched_max` to the bound of an entry that is not watched.
    fn raise_unwatched_max(&mut self, item: Item, count: u32, ranking: &Ranking<'_>) {
        self.unwatched_max = self.unwatched_max.max(ranking.bound(self.base, item, count).key);
    }

    /// Ranks the row. Its list is in `scratch.top` afterwards. Returns whether the whole reserve was ranked: then
    /// [`Row::watch`] must be called with the same scratch.
    ///
    /// The front of the reserve is enough most of the time, then the whole reserve, and all pairs of the row at last.
    pub(super) fn rank<F: PairFilter>(
        &mut self,
        row: Item,
        pairs: KeptPairs<'_, F>,
        accumulator: &mut Accumulator,
        scratch: &mut Scratch,
        ranking: &Ranking<'_>,
    ) -> bool {
        let stale = self.is_stale(row, ranking);
        if !stale && self.reserve.len() <= self.reserve_max && self.rank_front(row, scratch, ranking) {
            return false;
        }
        if self.cut.is_some() && stale || !self.rank_reserve(row, scratch, ranking) {
            self.rank_all(row, pairs, accumulator, scratch, ranking);
        }
        true
    }

    /// Whether the row's bounds no longer hold at its support, its level and N.
    fn is_stale(&self, row: Item, ranking: &Ranking<'_>) -> bool {
        let scoring = &ranking.params.scoring;
        scoring.order_uses_row() && ranking.supports.of(row) < self.base.low
            || scoring.order_uses_total() && ranking.supports.total() > self.base.total_max
            || ranking.supports.level(row) != self.base.level
    }

    /// Ranks the watched entries. Returns whether they suffice for the list.
    fn rank_front(&mut self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) -> bool {
        let top = &mut scratch.top;
        top.clear();
        let watched = &mut self.reserve[..self.watched];
        let true_rank = |&Entry { item, count }: &Entry| ranking.rank(row, item, count);
        top.extend(watched.iter().map(|entry| Candidate { rank: true_rank(entry), count: entry.count }));
        ranking.sort(top);
        watched.iter_mut().zip(top.iter()).for_each(|(entry, candidate)| *entry = candidate.into());
        self.keep_listed(top, ranking);
        match top.len() == ranking.params.k {
            true => top.last().is_some_and(|last| last.rank.key > self.unwatched_max),
            false => self.unwatched_max <= 0.0 && self.leaves_out_nothing(),
        }
    }

    /// Keeps the best k of sorted candidates, of those before the floor.
    fn keep_listed(&self, top: &mut Vec<Candidate>, ranking: &Ranking<'_>) {
        top.truncate(ranking.params.k);
        while top.pop_if(|last| !ranking.is_above(self.floor(), last.rank)).is_some() {}
    }

    /// Whether no pair that is left out scores.
    fn leaves_out_nothing(&self) -> bool {
        self.floor().is_none_or(|floor| floor.key <= 0.0)
    }

    /// The floor, if the row leaves pairs out.
    fn floor(&self) -> Option<&Floor> {
        self.cut.as_ref().map(|cut| &cut.floor)
    }

    /// Ranks the whole reserve, and cuts it if it is too long. Returns whether it suffices for the list.
    fn rank_reserve(&mut self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) -> bool {
        if self.cut.is_none() {
            self.base = ranking.base(row);
        }
        let candidates = &mut scratch.candidates;
        candidates.clear();
        for &Entry { item, count } in self.reserve.iter().filter(|entry| entry.count > 0) {
            let rank = ranking.bound(self.base, item, count);
            match &mut self.cut {
                Some(cut) if !ranking.is_above(Some(&cut.floor), rank) => cut.estimates.add(item, count),
                _ => candidates.push(Candidate { rank, count }),
            }
        }
        self.reserve_max = self.reserve_max.max(ranking.params.reserve_max());
        if candidates.len() > self.reserve_max {
            let wanted = ranking.params.reserve();
            let floor = ranking.select_best(candidates, wanted);
            let left_out = &candidates[wanted..];
            match &mut self.cut {
                Some(cut) => cut.raise_floor(floor, self.base, left_out, ranking),
                None => self.cut = Some(Cut::new(floor, self.base, left_out, ranking)),
            }
            candidates.truncate(wanted);
        }
        self.select(row, scratch, ranking);
        scratch.top.len() == ranking.params.k || self.leaves_out_nothing()
    }

    /// Recounts the row from its baskets, and ranks it with a new reserve.
    fn rank_all<F: PairFilter>(
        &mut self,
        row: Item,
        pairs: KeptPairs<'_, F>,
        accumulator: &mut Accumulator,
        scratch: &mut Scratch,
        ranking: &Ranking<'_>,
    ) {
        pairs.accumulate_row(row, accumulator);
        let mut wanted = ranking.params.reserve();
        let mut all = self.drain_pairs(row, accumulator, ranking);
        loop {
            self.reset_reserve(&mut all, wanted, ranking);
            if self.rank_reserve(row, scratch, ranking) {
                return;
            }
            // Many bounds are close together, so too few true scores passed the floor.
            wanted *= 2;
        }
    }

    /// Replaces the reserve by one from the counts of all pairs of the row, and empties the accumulator. No entry is
    /// watched afterwards: the caller removes the row's watchers before.
    pub(super) fn recount(&mut self, row: Item, accumulator: &mut Accumulator, ranking: &Ranking<'_>) {
        let mut all = self.drain_pairs(row, accumulator, ranking);
        self.reset_reserve(&mut all, ranking.params.reserve(), ranking);
    }

    /// All pairs of the row with their bounds, taken at a new base. Sets the mass.
    fn drain_pairs(
        &mut self,
        row: Item,
        accumulator: &mut Accumulator,
        ranking: &Ranking<'_>,
    ) -> Vec<Candidate> {
        self.base = ranking.base(row);
        self.mass = 0;
        let mut all = Vec::new();
        accumulator.drain(|item, count| {
            let count = u32::try_from(count).expect("a count is never negative");
            self.mass += u64::from(count);
            all.push(Candidate { rank: ranking.bound(self.base, item, count), count });
        });
        all
    }

    /// Makes the best `wanted` of all pairs the reserve, or all pairs if they are few. No entry is watched.
    fn reset_reserve(&mut self, all: &mut [Candidate], wanted: usize, ranking: &Ranking<'_>) {
        self.reserve_max = wanted + ranking.params.reserve_max() - ranking.params.reserve();
        let whole = all.len() <= self.reserve_max;
        let wanted = if whole { all.len() } else { wanted };
        self.cut = (!whole).then(|| {
            let floor = ranking.select_best(all, wanted);
            Cut::new(floor, self.base, &all[wanted..], ranking)
        });
        self.watched = 0;
        self.unwatched_max = f64::INFINITY;
        self.reserve.clear();
        self.reserve.extend(all[..wanted].iter().map(Entry::from));
    }

    /// Puts the best k candidates at their true scores into `scratch.top`, of those before the floor.
    fn select(&self, row: Item, scratch: &mut Scratch, ranking: &Ranking<'_>) {
        let Scratch { candidates, top } = scratch;
        top.clear();
        top.extend(candidates.iter().map(|&Candidate { rank, count }| Candidate {
            rank: ranking.rank(row, rank.item, count),
            count,
        }));
        let k = ranking.params.k;
        if top.len() > k {
            ranking.select_best(top, k);
            top.truncate(k);
        }
        ranking.sort(top);
        self.keep_listed(top, ranking);
    }

    /// Makes the ranked candidates the reserve. Watches those that could enter the list or leave it because a support
    /// rises, and for no other reason.
    pub(super) fn watch(&mut self, scratch: &mut Scratch, ranking: &Ranking<'_>) {
        let Scratch { candidates, top } = scratch;
        let full = top.len() == ranking.params.k;
        let bar = top.last().filter(|_| full).map_or(0.0, |last| last.rank.key);
        self.watched = 0;
        self.unwatched_max = 0.0;
        for at in 0..candidates.len() {
            let key = candidates[at].rank.key;
            if key >= bar {
                candidates.swap(at, self.watched);
                self.watched += 1;
            } else {
                self.unwatched_max = self.unwatched_max.max(key);
            }
        }
        self.reserve.clear();
        self.reserve.extend(candidates.iter().map(Entry::from));
        compact_vec::trim(&mut self.reserve);
    }
}
