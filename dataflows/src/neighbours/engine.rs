//! One epoch on one worker: changes in, the few exact counts asked for, each touched row ranked once.

use crate::neighbours::changes::{Change, Changes};
use crate::neighbours::counter::Counter;
use crate::neighbours::merge::Part;
use crate::neighbours::placement::{Placement, Turned};
use crate::neighbours::prefetch::{prefetch_ahead, prefetch_value};
use crate::neighbours::ranking::Ranking;
use crate::neighbours::row::{Row, Scratch};
use crate::neighbours::sample::Sample;
use crate::neighbours::spread::{Routed, Update};
use crate::neighbours::store::Store;
use crate::neighbours::supports::Supports;
use crate::neighbours::tally::Tally;
use crate::neighbours::touched::Touched;
use crate::neighbours::watchers::Watchers;
use crate::sampling::Sampling;
use crate::sizes::{StateStats, bytes};
use crate::{Diff, Item, List, ListParams, Name, Names, Neighbour, SharedNames};
use std::rc::Rc;

/// All that a worker knows of the items it owns.
pub(crate) struct Engine {
    worker: u32,
    placement: Placement,
    params: ListParams,
    names: SharedNames,
    /// Where items are limited: all lines that are not in the store.
    sample: Option<Sample>,
    store: Store,
    supports: Supports,
    rows: Vec<Row>,
    watchers: Watchers,
    changes: Changes,
    /// Rows whose pairs an epoch changes, and rows whose list may change by that or otherwise.
    linked: Touched,
    touched: Touched,
    /// How many of the touched rows are ranked.
    ranked: usize,
    /// Items that no basket holds any more since the last epoch.
    gone: Vec<Item>,
    tally: Tally,
    scratch: Scratch,
    /// Baskets looked at for single counts, and entries ranked.
    steps: u64,
}

/// What an epoch does to the lists.
pub(super) enum Told {
    /// A list went (−1) or came (+1).
    List(Name, List, Diff),
    /// The list of this worker's part of a shared row.
    Part(Part),
}

/// Rows ranked in a step: their lists, a kilobyte each, are taken downstream while they are in the cache.
const ROWS_PER_STEP: usize = 512;

/// From this many exact counts in one row, one pass over the row's baskets may be cheaper.
const COUNTS_TOGETHER: usize = 4;

impl Engine {
    pub(super) fn new(
        index: usize,
        workers: usize,
        params: ListParams,
        names: SharedNames,
        sampling: Option<Sampling>,
    ) -> Self {
        Engine {
            worker: index as u32,
            placement: Placement::new(index, workers),
            params,
            names,
            store: Store::default(),
            supports: Supports::limited(sampling.as_ref().map_or(0, Sampling::max)),
            sample: sampling.map(Sample::new),
            rows: Vec::new(),
            watchers: Watchers::default(),
            changes: Changes::default(),
            linked: Touched::default(),
            touched: Touched::default(),
            ranked: 0,
            gone: Vec::new(),
            tally: Tally::default(),
            scratch: Scratch::default(),
            steps: 0,
        }
    }

    /// What this worker has done so far, whatever the time it took: pairs followed, items read in recounts, baskets
    /// looked at for single counts, and entries ranked.
    pub(super) fn work(&self) -> u64 {
        self.steps + self.tally.additions()
    }

    /// Adds up what it holds from epoch to epoch; scratch is left out.
    pub(crate) fn measure(&self, sizes: &mut StateStats) {
        sizes.rows = self.rows.iter().filter(|row| !row.is_empty()).count() as u64;
        sizes.index_bytes = self.store.bytes() + self.sample.as_ref().map_or(0, Sample::bytes);
        let rows = bytes(&self.rows) + self.rows.iter().map(Row::bytes).sum::<u64>();
        sizes.rows_bytes = rows + self.watchers.bytes() + self.supports.bytes();
    }

    /// Takes an epoch's updates, if it is not at work on an epoch; and tells what becomes of some of the lists. Returns
    /// whether the epoch is done: until then, it is to be called again.
    pub(super) fn step(&mut self, updates: &mut Vec<Routed>, tell: &mut impl FnMut(Told)) -> bool {
        let names = Rc::clone(&self.names);
        let names = names.borrow();
        if self.ranked == self.touched.rows().len() {
            self.linked.clear();
            self.touched.clear();
            self.ranked = 0;
            self.forget_gone();
            self.update(updates, &names, tell);
        }
        self.rank(&names, tell);
        self.ranked == self.touched.rows().len()
    }

    /// Clears what is left of items that no basket held after the last epoch: their lists are told, and their numbers
    /// may come to mean others. What other rows know of them is that they are together with none of them, which is as
    /// true of the others.
    fn forget_gone(&mut self) {
        let Engine { placement, rows, watchers, gone, .. } = self;
        for item in gone.drain(..) {
            placement.forget(item);
            if let Some(number) = placement.row(item) {
                let row = std::mem::take(&mut rows[number as usize]);
                assert!(
                    row.mass() == 0 && row.list.is_empty(),
                    "an item in no basket has no pairs and no list"
                );
                watchers.change(number, &row.watched().collect::<Vec<_>>(), &[]);
            }
        }
    }

    /// Takes an epoch's updates into the rows.
    fn update(&mut self, updates: &mut Vec<Routed>, names: &Names, tell: &mut impl FnMut(Told)) {
        let total = self.supports.total;
        let (mut changes, moved) = self.read(updates);
        // Each sender's are sorted, and come in pieces: a stable sort merges what is sorted already.
        changes.sort();
        self.changes.clear();
        self.make_room();
        let mut raised = self.move_supports(&moved);
        let turned = self.place(&moved);
        self.gone.extend(moved.iter().filter(|&&item| self.supports.of(item) == 0));
        if self.supports.total != total && self.params.lists_use_total() {
            let kept = (0..self.supports.items() as Item).filter_map(|item| self.placement.row(item));
            kept.for_each(|row| self.touched.touch(row));
        }
        raised.extend(self.sample(&changes, &moved));
        self.turn(&turned, names, tell);
        self.follow(names);
        for &item in &raised {
            self.raise(item, names);
        }
        self.touched.list();
    }

    /// The lines that came or went, and the items whose support moved, in rising order.
    fn read(&mut self, updates: &mut Vec<Routed>) -> (Vec<Change>, Vec<Item>) {
        let mut changes: Vec<Change> = Vec::with_capacity(updates.len());
        let mut moved: Vec<Item> = Vec::new();
        for (_worker, update) in updates.drain(..) {
            match update {
                Update::Line(basket, item, more, level) => {
                    changes.push((basket, item, more));
                    if let Some(sample) = &mut self.sample {
                        sample.learn(basket, level);
                    }
                }
                Update::Support(item, diff) => {
                    self.supports.change(item, diff);
                    moved.push(item);
                }
                Update::Total(diff) => {
                    let changed = self.supports.total.checked_add_signed(diff);
                    self.supports.total = changed.expect("there are never fewer than no baskets");
                }
            }
        }
        moved.sort();
        moved.dedup();
        (changes, moved)
    }

    fn make_room(&mut self) {
        let items = self.supports.items();
        self.placement.make_room(items);
        self.watchers.make_room(items);
        self.tally.make_room(items);
        self.make_rows();
    }

    /// Makes room for all rows that are kept.
    fn make_rows(&mut self) {
        let rows = self.placement.rows();
        if self.rows.len() < rows {
            self.rows.resize_with(rows, Row::default);
        }
        self.changes.make_room(rows);
        self.linked.make_room(rows);
        self.touched.make_room(rows);
    }

    /// Touches the rows that a moved support concerns; returns the items whose bound had to fall.
    fn move_supports(&mut self, moved: &[Item]) -> Vec<Item> {
        let Engine { placement, supports, rows, watchers, touched, .. } = self;
        let mut fallen = Vec::new();
        for &item in moved {
            if supports.settle(item) {
                fallen.push(item);
            }
            let watches = |row: u32| rows[row as usize].watched().any(|other| other == item);
            let soon = |row: u32| rows[row as usize].prefetch_reserve();
            watchers.of(item, soon, watches).iter().for_each(|&row| touched.touch(row));
            placement.row(item).into_iter().for_each(|row| touched.touch(row));
        }
        fallen
    }

    /// Shares the rows of items that became frequent, and gives others back.
    fn place(&mut self, moved: &[Item]) -> Vec<Turned> {
        let turned = moved.iter().filter_map(|&item| self.placement.settle(item, &self.supports)).collect();
        self.make_rows();
        turned
    }

    /// Begins the rows anew that are shared now, or no more. All baskets are as they are after the epoch.
    fn turn(&mut self, turned: &[Turned], names: &Names, tell: &mut impl FnMut(Told)) {
        let Engine { placement, store, supports, rows, watchers, changes, touched, tally, .. } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        for &Turned { item, before, after } in turned {
            if let Some(number) = before {
                let watched: Vec<Item> = rows[number as usize].watched().collect();
                watchers.change(number, &watched, &[]);
                let row = std::mem::take(&mut rows[number as usize]);
                let published = Some(row.list).filter(|list| !list.is_empty());
                tell(Told::Part(Part { item, worker: self.worker, list: Vec::new(), published }));
            }
            if let Some(number) = after {
                changes.tally(number, tally);
                tally.clear();
                Counter { store, placement }.row(item, tally);
                rows[number as usize].recount(item, tally, &ranking);
                touched.touch(number);
            }
        }
    }

    /// Applies the changes, sorted by basket: where items are limited, those of the lines that are kept. Returns the
    /// items whose counts stand for more than before.
    fn sample(&mut self, changes: &[Change], moved: &[Item]) -> Vec<Item> {
        let Engine { placement, store, supports, sample: Some(sample), .. } = self else {
            self.change_baskets(changes);
            return Vec::new();
        };
        let (kept, risen) = sample.keep(changes, moved, supports, store, placement);
        self.change_baskets(&kept);
        if let Some(sample) = &mut self.sample {
            sample.forget(changes, &mut self.store, &self.placement);
        }
        risen
    }

    /// Applies the changes, sorted by basket, and links them to the rows they concern.
    fn change_baskets(&mut self, changes: &[Change]) {
        let Engine { placement, store, linked, .. } = self;
        for of_basket in changes.chunk_by(|x, y| x.0 == y.0) {
            let basket = of_basket[0].0;
            let now = self.changes.read(store.basket(basket), of_basket);
            let is_concerned = now.iter().any(|&item| placement.owns(item));
            self.changes.link(placement, |row| linked.touch(row));
            store.change(basket, of_basket);
            if !is_concerned && self.sample.is_none() {
                store.forget(basket);
            }
        }
    }

    /// Follows the pairs that came and went into the rows they concern, and touches those whose list may change.
    fn follow(&mut self, names: &Names) {
        let Engine {
            placement, store, supports, rows, watchers, changes, linked, touched, tally, steps, ..
        } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        let counter = Counter { store, placement };
        let (mut unsure, mut watched) = (Vec::new(), Vec::new());
        linked.list();
        for (at, &number) in linked.rows().iter().enumerate() {
            prefetch_ahead(rows, linked.rows(), at, Row::prefetch_reserve);
            let pairs = changes.tally(number, tally);
            if pairs == 0 {
                continue;
            }
            let (item, row) = (placement.item(number), &mut rows[number as usize]);
            tally.take(item);
            if pairs > row.mass() {
                if row.mass() > 0 {
                    tally.clear();
                    counter.row(item, tally);
                }
                watched.clear();
                watched.extend(row.watched());
                watchers.change(number, &watched, &[]);
                row.recount(item, tally, &ranking);
                touched.touch(number);
            } else {
                let mut may_change = row.follow(item, tally, &ranking, &mut unsure);
                may_change |= count(item, row, &mut unsure, &counter, tally, &ranking, steps);
                if may_change {
                    touched.touch(number);
                }
                row.make_room(item, &counter, tally);
            }
        }
    }

    /// An item's support fell below its bound, or its level rose: where it is left out it may have risen. Its own row
    /// says where.
    fn raise(&mut self, item: Item, names: &Names) {
        let Engine { placement, store, supports, rows, touched, tally, .. } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        store.row(item, tally);
        let prefetch_row = |row: u32| prefetch_value(&rows[row as usize]);
        tally.met().iter().filter_map(|&other| placement.row(other)).for_each(prefetch_row);
        tally.drain(|other, count| {
            if let Some(row) = placement.row(other)
                && placement.keeps(other, item)
                && rows[row as usize].raise(item, count as u32, &ranking)
            {
                touched.touch(row);
            }
        });
    }

    /// Ranks some of the touched rows and tells how their lists changed.
    fn rank(&mut self, names: &Names, tell: &mut impl FnMut(Told)) {
        let Engine {
            placement, store, supports, rows, watchers, touched, ranked, tally, scratch, steps, ..
        } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        let counter = Counter { store, placement };
        let mut list = Vec::new();
        let (mut watched_before, mut watched) = (Vec::new(), Vec::new());
        let end = touched.rows().len().min(*ranked + ROWS_PER_STEP);
        for (at, &number) in touched.rows().iter().enumerate().take(end).skip(*ranked) {
            prefetch_ahead(rows, touched.rows(), at, |row| {
                row.prefetch_reserve();
                row.prefetch_list();
            });
            let (item, row) = (placement.item(number), &mut rows[number as usize]);
            watched_before.clear();
            watched_before.extend(row.watched());
            if row.rank(item, &counter, tally, scratch, &ranking) {
                row.watch(scratch, &ranking);
                watched.clear();
                watched.extend(row.watched());
                watchers.change(number, &watched_before, &watched);
            }
            *steps += watched_before.len() as u64;
            list.clear();
            list.extend(scratch.top.iter().map(|candidate| {
                let counts = ranking.counts(item, candidate.place.item, candidate.count);
                ranking.params.neighbour(candidate.place.item, counts)
            }));
            if placement.is_merged(item) {
                let keys = scratch.top.iter().map(|candidate| candidate.place.key);
                let list = keys.zip(list.drain(..)).collect();
                tell(Told::Part(Part { item, worker: self.worker, list, published: None }));
            } else if row.list != list {
                let name = names.name(item);
                if !row.list.is_empty() {
                    tell(Told::List(name.clone(), named(&row.list, names), -1));
                }
                if !list.is_empty() {
                    tell(Told::List(name.clone(), named(&list, names), 1));
                }
                row.list.clone_from(&list);
            }
        }
        *ranked = end;
    }
}

/// Counts the unsure pairs of a row exactly and takes those that pass the floor into its reserve. Returns whether there
/// are any. `steps` are the baskets that were looked at for single counts.
fn count(
    item: Item,
    row: &mut Row,
    unsure: &mut Vec<Item>,
    counter: &Counter<'_>,
    tally: &mut Tally,
    ranking: &Ranking<'_>,
    steps: &mut u64,
) -> bool {
    let mut entered = false;
    let supports = ranking.supports;
    let support = supports.of(item);
    let one_by_one: u64 = unsure.iter().map(|&other| u64::from(supports.of(other).min(support))).sum();
    if unsure.len() > COUNTS_TOGETHER && one_by_one > row.mass() {
        counter.row(item, tally);
        for other in unsure.drain(..) {
            entered |= row.enter(other, tally.get(other) as u32, ranking);
        }
        tally.clear();
    } else {
        unsure.iter().for_each(|&other| counter.store.prefetch(other));
        for other in unsure.drain(..) {
            entered |= row.enter(other, counter.pair(item, other), ranking);
        }
        *steps += one_by_one;
    }
    entered
}

/// A list as the world reads it.
pub(super) fn named(list: &[Neighbour<Item>], names: &Names) -> List {
    let entry =
        |&Neighbour { item, score, count }| Neighbour { item: names.name(item).clone(), score, count };
    list.iter().map(entry).collect()
}
