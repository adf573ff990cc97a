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

use crate::neighbours::tally::Tally;
use crate::{Basket, Item};

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
    part: Part,
    /// The row's next link and one, or 0.
    next: u32,
}

/// What became of a row's own item in a basket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Came,
    Stayed,
    Went,
}

/// The most links that an epoch can have.
const LINKS: &str = "four billion changes of baskets at once do not fit in memory";

impl Changes {
    /// Forgets everything, for rows up to `rows`. The heads are 0 already: who follows a row takes its chain.
    pub(super) fn begin(&mut self, rows: usize) {
        self.items.clear();
        self.baskets.clear();
        self.links.clear();
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

    /// Links the basket that was read last to the rows of its items, where `row` says which they are. Calls `touch`
    /// with each.
    pub(super) fn link(&mut self, row: impl Fn(Item) -> Option<u32>, mut touch: impl FnMut(u32)) {
        let basket = u32::try_from(self.baskets.len() - 1).expect(LINKS);
        let Cuts { came, stayed, went, end } = self.baskets[basket as usize];
        for (part, items) in
            [(Part::Came, came..stayed), (Part::Stayed, stayed..went), (Part::Went, went..end)]
        {
            for row in self.items[items].iter().filter_map(|&item| row(item)) {
                let head = &mut self.heads[row as usize];
                self.links.push(Link { basket, part, next: *head });
                *head = u32::try_from(self.links.len()).expect(LINKS);
                touch(row);
            }
        }
    }

    /// Adds up how many baskets the items of a row came together in, less those they parted in; once for each row.
    /// Returns how many pairs that were.
    pub(super) fn tally(&mut self, row: u32, tally: &mut Tally) -> u64 {
        let mut next = std::mem::take(&mut self.heads[row as usize]);
        let mut pairs = 0;
        while let Some(at) = next.checked_sub(1) {
            let link = self.links[at as usize];
            let Cuts { came, stayed, went, end } = self.baskets[link.basket as usize];
            let (met, parted) = match link.part {
                Part::Came => (came..went, end..end),
                Part::Stayed => (came..stayed, went..end),
                Part::Went => (end..end, stayed..end),
            };
            pairs += (met.len() + parted.len()) as u64;
            tally.add(&self.items[met], 1);
            tally.add(&self.items[parted], -1);
            next = link.next;
        }
        pairs
    }
}
