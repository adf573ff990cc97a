//! What an epoch did to baskets, turned round: for each row that it concerns, the pairs that came and went.
//!
//! ```text
//! a basket's items:   came │ stayed │ went        an item that came meets     came + stayed
//!                     └── has now ──┘             an item that stayed meets   came, and parts from   went
//!                            └─ had before ─┘     an item that went parts from       stayed + went
//! ```
//!
//! The items of each changed basket lie in one slice, cut in three, so every one of these is a slice of it; and each
//! row has a chain through the baskets that concern it. So the pairs themselves are never written down.

use crate::neighbours::placement::Placement;
use crate::neighbours::tally::Tally;
use crate::{Basket, Item};
use std::ops::Range;

/// A line that came or went.
pub(super) type Change = (Basket, Item, bool);

/// The changed baskets of an epoch.
#[derive(Default)]
pub(super) struct Changes {
    items: Vec<Item>,
    baskets: Vec<Cuts>,
    links: Vec<Link>,
    /// By row: its first link and one, or 0.
    heads: Vec<u32>,
}

/// Where a basket's items begin, are cut, and end.
#[derive(Clone, Copy)]
struct Cuts {
    came: usize,
    stayed: usize,
    went: usize,
    end: usize,
}

/// A basket that concerns a row.
#[derive(Clone, Copy)]
struct Link {
    basket: u32,
    own: Own,
    /// The row's next link and one, or 0.
    next: u32,
}

/// What became of a row's own item in a basket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Came,
    Stayed,
    Went,
}

/// The most links that an epoch can have.
const LINKS: &str = "four billion changes of baskets at once do not fit in memory";

impl Changes {
    /// Forgets everything. The heads are 0 already: who follows a row takes its chain.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.baskets.clear();
        self.links.clear();
    }

    /// Makes room for so many rows.
    pub(super) fn make_room(&mut self, rows: usize) {
        if self.heads.len() < rows {
            self.heads.resize(rows, 0);
        }
    }

    /// Takes the sorted changes of a basket that held `before`, which is sorted too. Returns what it holds now, in no
    /// particular order.
    pub(super) fn read(&mut self, before: &[Item], changes: &[Change]) -> &[Item] {
        let of = |more| changes.iter().filter(move |change| change.2 == more).map(|change| change.1);
        let came = self.items.len();
        self.items.extend(of(true));
        let stayed = self.items.len();
        let mut gone = of(false).peekable();
        self.items.extend(before.iter().filter(|&&item| gone.next_if_eq(&item).is_none()));
        let went = self.items.len();
        self.items.extend(of(false));
        let end = self.items.len();
        assert_eq!(end - stayed, before.len(), "what goes was there");
        self.baskets.push(Cuts { came, stayed, went, end });
        &self.items[came..went]
    }

    /// Links the basket that was read last to the rows that are kept of its items. Calls `touch` with each.
    pub(super) fn link(&mut self, placement: &Placement, mut touch: impl FnMut(u32)) {
        let whole = self.baskets.len() - 1;
        let mut part = None;
        let Cuts { came, stayed, went, end } = self.baskets[whole];
        for (own, items) in [(Own::Came, came..stayed), (Own::Stayed, stayed..went), (Own::Went, went..end)] {
            for at in items {
                let item = self.items[at];
                let Some(row) = placement.row(item) else { continue };
                let basket = match placement.is_shared(item) {
                    false => whole,
                    true => *part.get_or_insert_with(|| self.read_part(whole, placement)),
                };
                let basket = u32::try_from(basket).expect(LINKS);
                let head = &mut self.heads[row as usize];
                self.links.push(Link { basket, own, next: *head });
                *head = u32::try_from(self.links.len()).expect(LINKS);
                touch(row);
            }
        }
    }

    /// Reads a basket again as if it held nothing but the items of this worker.
    fn read_part(&mut self, whole: usize, placement: &Placement) -> usize {
        let cuts = self.baskets[whole];
        let mut read = |range: Range<usize>| {
            let begin = self.items.len();
            for at in range {
                let item = self.items[at];
                if placement.owns(item) {
                    self.items.push(item);
                }
            }
            begin
        };
        let came = read(cuts.came..cuts.stayed);
        let stayed = read(cuts.stayed..cuts.went);
        let went = read(cuts.went..cuts.end);
        self.baskets.push(Cuts { came, stayed, went, end: self.items.len() });
        self.baskets.len() - 1
    }

    /// Adds up how many baskets the items of a row came together in, less those they parted in; once for each row.
    /// Returns how many pairs that were.
    pub(super) fn tally(&mut self, row: u32, tally: &mut Tally) -> u64 {
        let mut next = std::mem::take(&mut self.heads[row as usize]);
        let mut pairs = 0;
        while let Some(at) = next.checked_sub(1) {
            let link = self.links[at as usize];
            let Cuts { came, stayed, went, end } = self.baskets[link.basket as usize];
            let (met, parted) = match link.own {
                Own::Came => (came..went, end..end),
                Own::Stayed => (came..stayed, went..end),
                Own::Went => (end..end, stayed..end),
            };
            pairs += (met.len() + parted.len()) as u64;
            tally.add(&self.items[met], 1);
            tally.add(&self.items[parted], -1);
            next = link.next;
        }
        pairs
    }
}
