//! One epoch on one worker: changes in, the few exact counts asked for, each touched row rebuilt once.

use crate::neighbours::estimate::Estimate;
use crate::neighbours::row::{Ranking, Rows, Supports};
use crate::neighbours::spread::{Routed, Update};
use crate::neighbours::store::Store;
use crate::{Basket, Diff, Item, List, ListParams, Name, Names, Neighbour, SharedNames};
use std::rc::Rc;

/// All that a worker knows of the items it owns.
pub(super) struct Engine {
    share: Share,
    params: ListParams,
    names: SharedNames,
    store: Store,
    supports: Supports,
    estimate: Estimate,
    rows: Rows,
    touched: Touched,
    /// Σ |basket|² over the baskets held: what recounting every row would read.
    squares: u64,
}

/// Which items are this worker's.
#[derive(Clone, Copy)]
struct Share {
    workers: u32,
    index: u32,
}

impl Share {
    /// Asked for every pair, so the division is left out where there is one worker.
    fn owns(self, item: Item) -> bool {
        self.workers == 1 || item % self.workers == self.index
    }

    /// The place of an item that is this worker's among its rows.
    fn row(self, item: Item) -> u32 {
        item / self.workers
    }

    fn item(self, row: u32) -> Item {
        row * self.workers + self.index
    }
}

/// A line that came or went.
type Change = (Basket, Item, bool);

/// Following a pair costs as much as reading this many lines in a recount.
const FOLLOW_COST: u64 = 4;

/// From this many exact counts in one row, one pass over the row's baskets may be cheaper.
const COUNTS_TOGETHER: usize = 4;

impl Engine {
    pub(super) fn new(index: usize, workers: usize, params: ListParams, names: SharedNames) -> Self {
        Engine {
            share: Share { workers: workers as u32, index: index as u32 },
            params,
            names,
            store: Store::default(),
            supports: Supports::default(),
            estimate: Estimate::new(),
            rows: Rows::new(workers as u32),
            touched: Touched::default(),
            squares: 0,
        }
    }

    /// Takes an epoch's updates and tells the lists that went (−1) and came (+1).
    pub(super) fn update(&mut self, updates: &mut Vec<Routed>, tell: &mut impl FnMut(Name, List, Diff)) {
        let mut changes: Vec<Change> = Vec::new();
        let mut moved: Vec<Item> = Vec::new();
        let total = self.supports.total;
        for (_worker, update) in updates.drain(..) {
            match update {
                Update::Line(basket, item, more) => changes.push((basket, item, more)),
                Update::Support(item, diff) => {
                    self.supports.change(item, diff);
                    self.rows.make_room(item);
                    moved.push(item);
                }
                Update::Total(diff) => {
                    let changed = self.supports.total.checked_add_signed(diff);
                    self.supports.total = changed.expect("there are never fewer than no baskets");
                }
            }
        }
        changes.sort_unstable();
        moved.sort_unstable();
        moved.dedup();

        let names = Rc::clone(&self.names);
        let names = names.borrow();
        self.touched.begin(self.rows.len());
        let fallen = self.move_supports(&moved);
        if self.supports.total != total && self.params.lists_use_total() {
            (0..self.rows.len() as u32).for_each(|row| self.touched.touch(row, false));
        }
        let candidates = self.change_baskets(&changes, &names);
        for &item in &fallen {
            self.raise(item, &names);
        }
        self.count(candidates, &names);
        self.rebuild(&names, tell);
    }

    /// Touches the rows that a moved support concerns; returns the items whose bound had to fall.
    fn move_supports(&mut self, moved: &[Item]) -> Vec<Item> {
        let mut fallen = Vec::new();
        for &item in moved {
            if self.supports.settle(item) {
                fallen.push(item);
            }
            let (touched, share) = (&mut self.touched, self.share);
            self.rows.watchers(item, |row| touched.touch(share.row(row), false));
            if share.owns(item) {
                touched.touch(share.row(item), false);
            }
        }
        fallen
    }

    /// Applies the changes, sorted by basket; returns the pairs (row, item) whose exact count is wanted.
    fn change_baskets(&mut self, changes: &[Change], names: &Names) -> Vec<(Item, Item)> {
        let (mut pairs, mut squares) = (0, 0);
        for change in changes.chunk_by(|x, y| x.0 == y.0) {
            let before = self.store.basket(change[0].0).len() as u64;
            let came = change.iter().filter(|line| line.2).count() as u64;
            let after = before + came - (change.len() as u64 - came);
            pairs += before.max(after) * change.len() as u64;
            squares += after * after;
            self.squares -= before * before;
        }
        self.squares += squares;
        self.estimate.reserve(pairs);
        // Each pair concerns two rows.
        let recount = 2 * pairs * FOLLOW_COST > self.squares;
        let mut candidates = Vec::new();
        let mut basket = BasketChange::default();
        for change in changes.chunk_by(|x, y| x.0 == y.0) {
            basket.read(self.store.basket(change[0].0), change);
            self.follow_basket(&basket, recount, names, &mut candidates);
            self.replace_basket(change[0].0, &mut basket);
        }
        candidates
    }

    /// Follows the pairs of one basket into the rows that this worker owns.
    fn follow_basket(
        &mut self,
        basket: &BasketChange,
        recount: bool,
        names: &Names,
        candidates: &mut Vec<(Item, Item)>,
    ) {
        let Engine { share, rows, estimate, touched, .. } = self;
        let ranking = Ranking { params: &self.params, supports: &self.supports, names };
        for &(item, part) in &basket.members {
            if !share.owns(item) {
                continue;
            }
            touched.touch(share.row(item), recount);
            let row = rows.row_mut(item);
            let (gained, lost) = basket.partners(part);
            for &other in lost.iter().filter(|&&other| other != item) {
                // Each pair has one cell: the first of its two rows to be here moves it.
                if item < other || !share.owns(other) {
                    estimate.remove(item, other);
                }
                if !recount {
                    row.follow(other, false);
                }
            }
            for &other in gained.iter().filter(|&&other| other != item) {
                if item < other || !share.owns(other) {
                    estimate.add(item, other);
                }
                let settled = recount || row.follow(other, true);
                if !settled && ranking.may_enter(row, item, other, estimate.at_most(item, other)) {
                    candidates.push((item, other));
                }
            }
        }
    }

    /// Stores a basket's new content, or drops the copy when nothing in it is owned here any more.
    fn replace_basket(&mut self, number: Basket, basket: &mut BasketChange) {
        if basket.after.iter().any(|&item| self.share.owns(item)) {
            self.store.replace(number, &basket.after, &basket.added, &basket.removed);
        } else {
            let length = basket.after.len() as u64;
            self.squares -= length * length;
            self.store.replace(number, &[], &[], &basket.before);
        }
    }

    /// An item's support fell below its bound: where it is left out it may have risen. Its own row says where.
    fn raise(&mut self, item: Item, names: &Names) {
        let ranking = Ranking { params: &self.params, supports: &self.supports, names };
        let (rows, touched, share) = (&mut self.rows, &mut self.touched, self.share);
        self.store.row(item, |other, count| {
            if share.owns(other) {
                rows.enter(other, item, count, &ranking);
                if rows.row(other).holds(item) {
                    touched.touch(share.row(other), false);
                }
            }
        });
    }

    /// Counts the candidates exactly and takes those that pass their row's floor into its reserve.
    fn count(&mut self, mut candidates: Vec<(Item, Item)>, names: &Names) {
        let ranking = Ranking { params: &self.params, supports: &self.supports, names };
        candidates.sort_unstable();
        candidates.dedup();
        for of_row in candidates.chunk_by(|x, y| x.0 == y.0) {
            let row = of_row[0].0;
            let support = self.supports.of(row);
            let one_by_one: u64 =
                of_row.iter().map(|&(_row, item)| u64::from(self.supports.of(item).min(support))).sum();
            let rows = &mut self.rows;
            if of_row.len() > COUNTS_TOGETHER && one_by_one > 4 * u64::from(support) {
                let items = of_row.iter().map(|&(_row, item)| item);
                self.store.counts(row, items, |item, count| rows.enter(row, item, count, &ranking));
            } else {
                for &(_row, item) in of_row {
                    rows.enter(row, item, self.store.count(row, item), &ranking);
                }
            }
        }
    }

    fn rebuild(&mut self, names: &Names, tell: &mut impl FnMut(Name, List, Diff)) {
        let ranking = Ranking { params: &self.params, supports: &self.supports, names };
        let named = |list: &[Neighbour<Item>]| -> List {
            list.iter()
                .map(|&Neighbour { item, score, count }| Neighbour {
                    item: names.name(item).clone(),
                    score,
                    count,
                })
                .collect()
        };
        self.touched.rows.sort_unstable();
        for &row in &self.touched.rows {
            let item = self.share.item(row);
            let recount = self.touched.recount[row as usize];
            if let Some(changed) = self.rows.rebuild(item, recount, &mut self.store, &ranking) {
                let name = names.name(item);
                if !changed.before.is_empty() {
                    tell(name.clone(), named(&changed.before), -1);
                }
                if !changed.after.is_empty() {
                    tell(name.clone(), named(changed.after), 1);
                }
            }
        }
    }
}

/// The rows that an epoch touches, each once, and whether they are to be recounted.
#[derive(Default)]
struct Touched {
    rows: Vec<u32>,
    /// By row: in `rows` already, and to be recounted. All false between epochs.
    is_touched: Vec<bool>,
    recount: Vec<bool>,
}

impl Touched {
    fn begin(&mut self, rows: usize) {
        for row in self.rows.drain(..) {
            self.is_touched[row as usize] = false;
            self.recount[row as usize] = false;
        }
        self.is_touched.resize(rows, false);
        self.recount.resize(rows, false);
    }

    fn touch(&mut self, row: u32, recount: bool) {
        let index = row as usize;
        if !std::mem::replace(&mut self.is_touched[index], true) {
            self.rows.push(row);
        }
        self.recount[index] |= recount;
    }
}

/// What an epoch did to one basket. All lists rise.
#[derive(Default)]
struct BasketChange {
    before: Vec<Item>,
    after: Vec<Item>,
    added: Vec<Item>,
    removed: Vec<Item>,
    /// Every item that was or is in the basket.
    members: Vec<(Item, Part)>,
}

/// What an epoch did to one item of a basket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Stays,
    Comes,
    Goes,
}

impl BasketChange {
    /// The items that an item of this part has come together with, and those it has parted from; perhaps itself.
    fn partners(&self, part: Part) -> (&[Item], &[Item]) {
        match part {
            Part::Stays => (&self.added, &self.removed),
            Part::Comes => (&self.after, &[]),
            Part::Goes => (&[], &self.before),
        }
    }

    /// Reads the changes of a basket that held `before`.
    fn read(&mut self, before: &[Item], changes: &[Change]) {
        let of = |more| changes.iter().filter(move |change| change.2 == more).map(|change| change.1);
        self.before.clear();
        self.before.extend_from_slice(before);
        self.added.clear();
        self.added.extend(of(true));
        self.removed.clear();
        self.removed.extend(of(false));
        self.members.clear();
        let stays = |item: &Item| self.removed.binary_search(item).is_err();
        self.members
            .extend(before.iter().map(|&item| (item, if stays(&item) { Part::Stays } else { Part::Goes })));
        self.members.extend(self.added.iter().map(|&item| (item, Part::Comes)));
        self.members.sort_unstable();
        self.after.clear();
        let after = self.members.iter().filter(|member| member.1 != Part::Goes);
        self.after.extend(after.map(|member| member.0));
        let lengths = before.len() + self.added.len() - self.removed.len();
        assert_eq!(self.after.len(), lengths, "what goes was there, what comes was not");
    }
}
