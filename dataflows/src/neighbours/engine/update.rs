//! The ten steps of an epoch's update, from updates to dirty rows.
//!
//! ```text
//!  1 read       updates become sorted changes of lines; supports and N take their new values
//!  2 room       every item and row of the epoch gets its place
//!  3 supports   lower bounds of supports follow; rows that a changed support concerns become dirty
//!  4 placement  rows start or stop being shared
//!  5 unheld     items without a basket are noted, to be cleared in the next epoch
//!  6 N          all rows become dirty if N changed and lists depend on it
//!  7 index      baskets change in the index; their pair changes are linked to rows
//!  8 rebuild    rows of step 4 are recounted
//!  9 counts     pair changes are applied to the other rows; uncertain pairs are counted exactly
//! 10 bounds     pairs whose bound rose enter the reserves that they pass into
//! ```
//!
//! # Example
//! Ben has a basket with tea. One epoch brings a mug into it, the first of this worker:
//!
//! ```text
//!  1 (ben, mug) is a line that is added; n(mug) = 1
//!  2 mug gets a row, because this worker owns it
//!  3 the row of mug is dirty; no other row watches it
//!  7 the index has {tea, mug} for ben; tea's row and mug's row are linked to the change
//!  9 neither row has pairs yet, so both are recounted: tea has mug once, mug has tea once; both rows are dirty
//! ```
//!
//! Both rows are ranked afterwards. Had tea many pairs, mug would enter its reserve, or only its estimate would rise.
//!
//! # Order
//! Why the steps are in this order:
//! - Supports and levels (1, 3, 7) come before every bound (8, 9, 10), because a bound is taken at them.
//! - Placement (4) comes before the index (7), which links changes to the rows that are kept from now on.
//! - The index (7) comes before every exact count (8, 9, 10), so that counts are those of the end of the epoch.
//! - A rebuilt row (8) drops its pair changes, so it is not changed twice in step 9.
//! - Raised bounds come last (10): a pair that enters a reserve takes its count out of the estimates, where step 9
//!   has brought it up to date.

use super::{Emitted, Engine};
use crate::Item;
use crate::id_vec::Id;
use crate::interaction_index::{Accumulator, LineChange};
use crate::names::Names;
use crate::neighbours::kept_pairs::KeptPairs;
use crate::neighbours::merge_parts::Part;
use crate::neighbours::pair_filter::PairFilter;
use crate::neighbours::placement::{Reassigned, RowId};
use crate::neighbours::row::Row;
use crate::neighbours::row::ranking::Ranking;
use crate::neighbours::sample::SampleChanges;
use crate::neighbours::spread::{Routed, Update};
use crate::prefetch::{prefetch_ahead, prefetch_value};

/// From this many uncertain pairs of one row, one pass over the row's baskets may be cheaper than single counts.
const COUNTS_TOGETHER: usize = 4;

impl<F: PairFilter> Engine<F> {
    /// Applies an epoch's updates, and makes the list of dirty rows. See the module for the order of the steps.
    pub(super) fn update(
        &mut self,
        updates: &mut Vec<Routed>,
        names: &Names,
        emit: &mut impl FnMut(Emitted),
    ) {
        let total_before = self.supports.total();
        let (changes, changed_items) = self.read_updates(updates); // 1
        self.make_room(); // 2
        let mut risen = self.update_supports(&changed_items); // 3
        let reassigned = self.reassign_rows(&changed_items); // 4
        self.unheld.extend(changed_items.iter().filter(|&&item| self.supports.of(item) == 0)); // 5
        if self.supports.total() != total_before && self.params.lists_use_total() {
            self.mark_all(); // 6
        }
        risen.extend(self.update_index(&changes, &changed_items)); // 7
        self.line_changes = changes;
        self.rebuild_reassigned(&reassigned, names, emit); // 8
        self.update_counts(names); // 9
        for &item in &risen {
            self.raise_bounds(item, names); // 10
        }
        self.dirty.make_list();
    }

    /// Clears what is left of items that no basket held after the last epoch. Their lists were retracted, and their
    /// numbers may be reused for other items. Other rows know of them only that they share no basket, and that is as
    /// true of a new item.
    pub(super) fn forget_unheld(&mut self) {
        let Engine { placement, rows, watchers, unheld, .. } = self;
        for item in unheld.drain(..) {
            placement.forget(item);
            if let Some(id) = placement.row(item) {
                let row = std::mem::take(&mut rows[id]);
                assert!(
                    row.mass() == 0 && row.list.is_none(),
                    "an item in no basket has no pairs and no list"
                );
                watchers.change(id, &row.watched().collect::<Vec<_>>(), &[]);
            }
        }
    }

    /// Step 1. Returns the changes of lines, sorted, and the items whose support changed, rising.
    fn read_updates(&mut self, updates: &mut Vec<Routed>) -> (Vec<LineChange>, Vec<Item>) {
        let mut changes: Vec<LineChange> = Vec::with_capacity(updates.len());
        let mut changed_items: Vec<Item> = Vec::new();
        for (_worker, update) in updates.drain(..) {
            match update {
                Update::Line { basket, item, is_added, level } => {
                    changes.push(LineChange { basket, item, is_added });
                    if let Some(sample) = &mut self.sample {
                        sample.set_level(basket, level);
                    }
                }
                Update::Support { item, diff } => {
                    self.supports.change(item, diff);
                    changed_items.push(item);
                }
                Update::Total { diff } => self.supports.change_total(diff),
            }
        }
        // The updates of each sender are sorted already. A stable sort merges such runs.
        changes.sort();
        changed_items.sort();
        changed_items.dedup();
        (changes, changed_items)
    }

    /// Step 2. Makes room for all items and rows, and drops the pair changes of the last epoch.
    fn make_room(&mut self) {
        let items = self.supports.items_end();
        self.pair_changes.clear();
        self.placement.make_room(items);
        self.watchers.make_room(items);
        self.accumulator.make_room(items);
        self.make_room_for_rows();
    }

    /// Makes room for all rows that are kept here.
    fn make_room_for_rows(&mut self) {
        let rows = self.placement.rows_end();
        self.rows.make_room(rows);
        self.pair_changes.make_room(rows);
        self.changed.make_room(rows);
        self.dirty.make_room(rows);
    }

    /// Step 3. Marks the rows that a changed support concerns. Returns the items whose lower bound fell.
    fn update_supports(&mut self, changed_items: &[Item]) -> Vec<Item> {
        let Engine { placement, supports, rows, watchers, dirty, .. } = self;
        let mut fallen = Vec::new();
        for &item in changed_items {
            if supports.update_low(item) {
                fallen.push(item);
            }
            let watches = |row: RowId| rows[row].watched().any(|other| other == item);
            let prefetch = |row: RowId| rows[row].prefetch_reserve();
            watchers.of(item, prefetch, watches).iter().for_each(|&row| dirty.mark(row));
            placement.row(item).into_iter().for_each(|row| dirty.mark(row));
        }
        fallen
    }

    /// Step 4. Shares the rows of items that became frequent, and gives others back to their owners.
    fn reassign_rows(&mut self, changed_items: &[Item]) -> Vec<Reassigned> {
        let reassign = |&item: &Item| self.placement.reassign(item, &self.supports);
        let reassigned = changed_items.iter().filter_map(reassign).collect();
        self.make_room_for_rows();
        reassigned
    }

    /// Step 6. Marks all rows that are kept.
    fn mark_all(&mut self) {
        let items = (0..self.supports.items_end()).map(Item::from_index);
        items.filter_map(|item| self.placement.row(item)).for_each(|row| self.dirty.mark(row));
    }

    /// Step 7. Applies the changes to the index; with a sample, the changes of sampled lines. Returns the items whose
    /// counts stand for more than before.
    fn update_index(&mut self, changes: &[LineChange], changed_items: &[Item]) -> Vec<Item> {
        let Engine { placement, index, supports, sample: Some(sample), .. } = self else {
            self.change_baskets(changes);
            return Vec::new();
        };
        let SampleChanges { lines, risen } =
            sample.change(changes, changed_items, supports, index, placement);
        self.change_baskets(&lines);
        if let Some(sample) = &mut self.sample {
            sample.drop_baskets(changes, &mut self.index, &self.placement);
        }
        risen
    }

    /// Applies sorted changes to the baskets of the index, and links the pair changes to rows.
    fn change_baskets(&mut self, changes: &[LineChange]) {
        let Engine { placement, index, changed, pair_changes, sample, .. } = self;
        for (basket, changes) in LineChange::by_basket(changes) {
            let after = pair_changes.add_basket(index.basket(basket), changes);
            let is_needed = after.iter().any(|&item| placement.owns(item));
            pair_changes.link(placement, |row| changed.mark(row));
            index.change(basket, changes);
            if !is_needed && sample.is_none() {
                index.drop_basket(basket);
            }
        }
    }

    /// Step 8. Recounts the rows that start or stop being shared, from baskets as they are after the epoch.
    fn rebuild_reassigned(
        &mut self,
        reassigned: &[Reassigned],
        names: &Names,
        emit: &mut impl FnMut(Emitted),
    ) {
        let Engine { placement, index, supports, rows, watchers, pair_changes, accumulator, .. } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        let pairs = KeptPairs { index, placement, filter: &self.filter };
        for &Reassigned { item, before, after } in reassigned {
            if let Some(id) = before {
                let watched: Vec<Item> = rows[id].watched().collect();
                watchers.change(id, &watched, &[]);
                let row = std::mem::take(&mut rows[id]);
                let published = row.list.as_deref().map(<[_]>::to_vec);
                emit(Emitted::Part(Part { item, worker: self.worker, list: Vec::new(), published }));
            }
            if let Some(id) = after {
                pair_changes.accumulate(id, accumulator);
                accumulator.clear();
                pairs.accumulate_row(item, accumulator);
                rows[id].recount(item, accumulator, &ranking);
                self.dirty.mark(id);
            }
        }
    }

    /// Step 9. Applies the pair changes to the counts of rows, and marks the rows whose list may have changed.
    ///
    /// A row that gets more changes than it has pairs is recounted instead.
    fn update_counts(&mut self, names: &Names) {
        let Engine { placement, index, supports, rows, watchers, pair_changes, changed, accumulator, .. } =
            self;
        let ranking = Ranking { params: &self.params, supports, names };
        let pairs = KeptPairs { index, placement, filter: &self.filter };
        let (mut uncertain, mut watched) = (Vec::new(), Vec::new());
        changed.make_list();
        for (at, &id) in changed.list().iter().enumerate() {
            prefetch_ahead(rows, changed.list(), at, Row::prefetch_reserve);
            let changes = pair_changes.accumulate(id, accumulator);
            if changes == 0 {
                continue;
            }
            let item = placement.item(id).expect("changes are linked to rows in use");
            let row = &mut rows[id];
            accumulator.take(item);
            pairs.drop_excluded(item, accumulator);
            if changes > row.mass() {
                if row.mass() > 0 {
                    accumulator.clear();
                    pairs.accumulate_row(item, accumulator);
                }
                watched.clear();
                watched.extend(row.watched());
                watchers.change(id, &watched, &[]);
                row.recount(item, accumulator, &ranking);
                self.dirty.mark(id);
            } else {
                let mut may_change = row.apply_changes(item, accumulator, &ranking, &mut uncertain);
                may_change |=
                    count_uncertain(item, row, &mut uncertain, pairs, accumulator, &ranking, &mut self.steps);
                if may_change {
                    self.dirty.mark(id);
                }
                row.rebuild_estimates_if_crowded(item, pairs, accumulator);
            }
        }
    }

    /// Step 10. The lower bound of an item's support fell, or its level rose. Bounds of its pairs rose in all rows that
    /// leave it out. Its own row says which rows those are.
    fn raise_bounds(&mut self, item: Item, names: &Names) {
        let Engine { placement, index, supports, rows, dirty, accumulator, .. } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        let pairs = KeptPairs { index, placement, filter: &self.filter };
        index.accumulate_row(item, accumulator);
        let prefetch_row = |row: RowId| prefetch_value(&rows[row]);
        accumulator.met().iter().filter_map(|&other| placement.row(other)).for_each(prefetch_row);
        accumulator.drain(|other, count| {
            if let Some(row) = placement.row(other)
                && pairs.keeps(other, item)
                && rows[row].raise_bound(item, count as u32, &ranking)
            {
                dirty.mark(row);
            }
        });
    }
}

/// Counts the uncertain pairs of a row exactly, and moves those that pass the floor into its reserve. Returns whether
/// there are any. Adds the baskets that single counts looked at to `steps`.
fn count_uncertain<F: PairFilter>(
    item: Item,
    row: &mut Row,
    uncertain: &mut Vec<Item>,
    pairs: KeptPairs<'_, F>,
    accumulator: &mut Accumulator,
    ranking: &Ranking<'_>,
    steps: &mut u64,
) -> bool {
    let mut entered = false;
    let supports = ranking.supports;
    let support = supports.of(item);
    let one_by_one: u64 = uncertain.iter().map(|&other| u64::from(supports.of(other).min(support))).sum();
    if uncertain.len() > COUNTS_TOGETHER && one_by_one > row.mass() {
        pairs.accumulate_row(item, accumulator);
        for other in uncertain.drain(..) {
            entered |= row.try_enter(other, accumulator.get(other) as u32, ranking);
        }
        accumulator.clear();
    } else {
        uncertain.iter().for_each(|&other| pairs.index.prefetch(other));
        for other in uncertain.drain(..) {
            entered |= row.try_enter(other, pairs.count(item, other), ranking);
        }
        *steps += one_by_one;
    }
    entered
}
