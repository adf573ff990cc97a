//! Pair changes: what an epoch did to baskets, turned into what it did to the pairs of each row.
//!
//! ```text
//! a basket's items:   added │ kept │ removed      an added item meets        added + kept
//!                     └── after ──┘               a kept item meets          added, and parts from   removed
//!                             └─ before ─┘        a removed item parts from  kept + removed
//! ```
//!
//! A basket of tea and milk, to which a mug is added and from which milk is removed, gives:
//!
//! ```text
//! slice   mug │ tea │ milk
//! mug     + mug, + tea          (its own number is dropped afterwards)
//! tea     + mug, − milk
//! milk    − tea, − milk
//! ```
//!
//! The items of a changed basket lie in one slice, cut in three, so each of these sets is a slice of it. Each row has a
//! chain of links to the baskets that changed it. So the pairs themselves are never stored.

use crate::Item;
use crate::id_vec::IdVec;
use crate::interaction_index::{Accumulator, LineChange};
use crate::neighbours::placement::{Placement, RowId};
use std::ops::Range;

/// The changed baskets of an epoch.
#[derive(Default)]
pub(super) struct PairChanges {
    /// The items of all changed baskets, one basket behind the other.
    items: Vec<Item>,
    /// The changed baskets.
    baskets: Vec<Cuts>,
    /// The links of all rows.
    links: Vec<Link>,
    /// The first link of each row plus one, or 0.
    heads: IdVec<RowId, u32>,
}

/// Where the items of a basket are in `items`, and where they are cut.
#[derive(Clone, Copy)]
struct Cuts {
    /// Where the added items begin.
    added: usize,
    /// Where the kept items begin.
    kept: usize,
    /// Where the removed items begin.
    removed: usize,
    /// Where the items of the basket end.
    end: usize,
}

/// A changed basket that concerns a row.
#[derive(Clone, Copy)]
struct Link {
    /// The basket, by its place in `baskets`.
    basket: u32,
    /// What happened to the row's item.
    own: Own,
    /// The row's next link plus one, or 0.
    next: u32,
}

/// What happened to the row's own item in the basket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It was added.
    Added,
    /// It was there before, and still is.
    Kept,
    /// It was removed.
    Removed,
}

/// Why links have numbers of 32 bits.
const LINKS: &str = "four billion changes of baskets at once do not fit in memory";

impl PairChanges {
    /// Drops the changes of the last epoch. The heads are 0 already, because updating a row takes its chain.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.baskets.clear();
        self.links.clear();
    }

    /// Makes room for all rows below `rows`.
    pub(super) fn make_room(&mut self, rows: usize) {
        self.heads.make_room(rows);
    }

    /// Adds the changes of a basket that held `before`. Both are sorted by item. Returns what the basket holds after
    /// them, in no particular order.
    pub(super) fn add_basket(&mut self, before: &[Item], changes: &[LineChange]) -> &[Item] {
        let added = self.items.len();
        self.items.extend(LineChange::items(changes, true));
        let kept = self.items.len();
        let mut gone = LineChange::items(changes, false).peekable();
        self.items.extend(before.iter().filter(|&&item| gone.next_if_eq(&item).is_none()));
        let removed = self.items.len();
        self.items.extend(LineChange::items(changes, false));
        let end = self.items.len();
        assert_eq!(end - kept, before.len(), "a removed item was in the basket");
        self.baskets.push(Cuts { added, kept, removed, end });
        &self.items[added..removed]
    }

    /// Links the basket that was added last to the rows of its items that are kept here. Calls `mark` with each row.
    pub(super) fn link(&mut self, placement: &Placement, mut mark: impl FnMut(RowId)) {
        let whole = self.baskets.len() - 1;
        let mut part = None;
        let Cuts { added, kept, removed, end } = self.baskets[whole];
        let slices = [(Own::Added, added..kept), (Own::Kept, kept..removed), (Own::Removed, removed..end)];
        for (own, items) in slices {
            for at in items {
                let item = self.items[at];
                let Some(row) = placement.row(item) else { continue };
                let basket = match placement.is_shared(item) {
                    false => whole,
                    true => *part.get_or_insert_with(|| self.add_part(whole, placement)),
                };
                let basket = u32::try_from(basket).expect(LINKS);
                let head = &mut self.heads[row];
                self.links.push(Link { basket, own, next: *head });
                *head = u32::try_from(self.links.len()).expect(LINKS);
                mark(row);
            }
        }
    }

    /// Adds a basket again as if it held nothing but items of this worker: what parts of shared rows see of it.
    fn add_part(&mut self, whole: usize, placement: &Placement) -> usize {
        let cuts = self.baskets[whole];
        let mut copy_owned = |range: Range<usize>| {
            let begin = self.items.len();
            for at in range {
                let item = self.items[at];
                if placement.owns(item) {
                    self.items.push(item);
                }
            }
            begin
        };
        let added = copy_owned(cuts.added..cuts.kept);
        let kept = copy_owned(cuts.kept..cuts.removed);
        let removed = copy_owned(cuts.removed..cuts.end);
        self.baskets.push(Cuts { added, kept, removed, end: self.items.len() });
        self.baskets.len() - 1
    }

    /// Adds up the changes of a row's counts: the baskets in which its item meets another, less those in which they
    /// part. Takes the row's chain, so it can be called once per row. Returns the number of pairs it read.
    pub(super) fn accumulate(&mut self, row: RowId, accumulator: &mut Accumulator) -> u64 {
        let mut next = std::mem::take(&mut self.heads[row]);
        let mut pairs = 0;
        while let Some(at) = next.checked_sub(1) {
            let link = self.links[at as usize];
            let Cuts { added, kept, removed, end } = self.baskets[link.basket as usize];
            let (met, parted) = match link.own {
                Own::Added => (added..removed, end..end),
                Own::Kept => (added..kept, removed..end),
                Own::Removed => (end..end, kept..end),
            };
            pairs += (met.len() + parted.len()) as u64;
            accumulator.add(&self.items[met], 1);
            accumulator.add(&self.items[parted], -1);
            next = link.next;
        }
        pairs
    }
}
