//! Which rows a worker keeps, and which parts of rows.
//!
//! Row a lives on worker `a % workers`, its owner. But a few items are in a good part of all baskets, and whoever owns
//! one would work while the others wait. So a row whose item has more than its share of all lines is **shared**: every
//! worker keeps a part of it, the pairs with the items that it owns. It holds the baskets of those already, so sharing
//! moves no data; a part's best k go to the owner, who merges them ([`merge`](super::merge)).
//!
//! Which rows are shared follows from the supports alone, which every worker knows: so all agree, at every epoch.

use crate::Item;
use crate::neighbours::supports::Supports;

/// The rows of one worker, whole or in part, numbered.
pub(super) struct Placement {
    workers: u32,
    index: u32,
    /// By item: its row's number and one, or 0 where none is kept here.
    numbers: Vec<u32>,
    /// By number: the row's item.
    items: Vec<Item>,
    /// Numbers of rows that are kept no more.
    free: Vec<u32>,
    shared: Vec<bool>,
    /// By item: whether its row is shared or was once; its lists go through [`merge`](super::merge) from then on.
    merged: Vec<bool>,
}

/// A row is shared when its item has one of so many lines per worker, and no more when it has one of twice as many.
const SHARED_FROM: u64 = 16;

/// No row of an item with fewer baskets is shared: it is little work.
const SHARED_MIN: u32 = 64;

/// A row that becomes shared, or is it no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turned {
    pub(super) item: Item,
    /// The row's number here, if it was kept here before; and if it is kept here now.
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

impl Placement {
    pub(super) fn new(index: usize, workers: usize) -> Self {
        Placement {
            workers: workers as u32,
            index: index as u32,
            numbers: Vec::new(),
            items: Vec::new(),
            free: Vec::new(),
            shared: Vec::new(),
            merged: Vec::new(),
        }
    }

    /// Makes room for all items below `items`: those that are this worker's have their rows here.
    pub(super) fn make_room(&mut self, items: usize) {
        for item in self.numbers.len()..items {
            self.numbers.push(0);
            self.shared.push(false);
            self.merged.push(false);
            if self.owns(item as Item) {
                self.keep(item as Item);
            }
        }
    }

    /// How many rows there are, or were.
    pub(super) fn rows(&self) -> usize {
        self.items.len()
    }

    /// Whether this worker has all baskets of the item.
    pub(super) fn owns(&self, item: Item) -> bool {
        // The division is left out where there is one worker.
        self.workers == 1 || item % self.workers == self.index
    }

    /// The number of the item's row, if it is kept here, whole or in part.
    pub(super) fn row(&self, item: Item) -> Option<u32> {
        self.numbers[item as usize].checked_sub(1)
    }

    /// The item of a row.
    pub(super) fn item(&self, row: u32) -> Item {
        self.items[row as usize]
    }

    /// Whether every worker keeps a part of the item's row.
    pub(super) fn is_shared(&self, item: Item) -> bool {
        self.shared[item as usize]
    }

    /// Whether the item's row is shared, or was once.
    pub(super) fn is_merged(&self, item: Item) -> bool {
        self.merged[item as usize]
    }

    /// Whether the pair is in a row, or part of a row, that is kept here.
    pub(super) fn keeps(&self, item: Item, other: Item) -> bool {
        if self.is_shared(item) { self.owns(other) } else { self.owns(item) }
    }

    /// Shares a row whose item has become frequent, or gives it back to its owner alone.
    pub(super) fn settle(&mut self, item: Item, supports: &Supports) -> Option<Turned> {
        if self.workers == 1 {
            return None;
        }
        let support = supports.of(item);
        let part = u64::from(support) * SHARED_FROM * u64::from(self.workers);
        let is_shared = self.is_shared(item);
        let stays = match is_shared {
            false => support < SHARED_MIN || part <= supports.lines(),
            true => support >= SHARED_MIN / 2 && 2 * part >= supports.lines(),
        };
        if stays {
            return None;
        }
        self.shared[item as usize] = !is_shared;
        self.merged[item as usize] = true;
        let before = self.row(item);
        if !self.owns(item) {
            match is_shared {
                false => self.keep(item),
                true => self.give_up(item),
            }
        }
        Some(Turned { item, before, after: self.row(item) })
    }

    /// Forgets what the item's row once was: no basket holds it.
    pub(super) fn forget(&mut self, item: Item) {
        self.merged[item as usize] = false;
    }

    fn keep(&mut self, item: Item) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.items.push(item);
            self.items.len() as u32 - 1
        });
        self.items[number as usize] = item;
        self.numbers[item as usize] = number + 1;
    }

    fn give_up(&mut self, item: Item) {
        let number = std::mem::take(&mut self.numbers[item as usize]);
        self.free.extend(number.checked_sub(1));
    }
}
