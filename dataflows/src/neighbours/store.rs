//! The interactions, twice: the baskets of each item and the items of each basket; and exact counts from them.
//!
//! Both are sorted vectors by number, so any count is an intersection of two of them and any row one pass over the
//! baskets of its item.

use crate::{Basket, Item};

/// The baskets that one worker holds copies of.
#[derive(Default)]
pub(super) struct Store {
    baskets: Vec<Vec<Item>>,
    postings: Vec<Vec<Basket>>,
    /// Scratch of [`Store::row`]: counts by item, 0 outside of a call and of its result's life.
    counts: Vec<u32>,
    met: Vec<Item>,
}

/// Merging two postings costs about as much as looking up this many baskets of the shorter one.
const MERGE_RATIO: usize = 4;

/// A basket of at most this many items is scanned, a larger one searched by halves.
const SCAN_MAX: usize = 32;

impl Store {
    /// The items of a basket, rising.
    pub(super) fn basket(&self, basket: Basket) -> &[Item] {
        self.baskets.get(basket as usize).map_or(&[], Vec::as_slice)
    }

    /// The baskets of an item that are held here, rising.
    pub(super) fn postings(&self, item: Item) -> &[Basket] {
        self.postings.get(item as usize).map_or(&[], Vec::as_slice)
    }

    /// Makes `items`, which is sorted, the content of the basket; `added` and `removed` say how it differs.
    pub(super) fn replace(&mut self, basket: Basket, items: &[Item], added: &[Item], removed: &[Item]) {
        let index = basket as usize;
        if self.baskets.len() <= index {
            self.baskets.resize_with(index + 1, Vec::new);
        }
        let held = &mut self.baskets[index];
        held.clear();
        held.extend_from_slice(items);
        if items.is_empty() {
            *held = Vec::new();
        }
        for &item in added {
            if self.postings.len() <= item as usize {
                self.postings.resize_with(item as usize + 1, Vec::new);
                self.counts.resize(item as usize + 1, 0);
            }
            let postings = &mut self.postings[item as usize];
            match postings.last() {
                Some(&last) if last > basket => {
                    let at = postings.partition_point(|&other| other < basket);
                    postings.insert(at, basket);
                }
                _ => postings.push(basket),
            }
        }
        for &item in removed {
            let postings = &mut self.postings[item as usize];
            let at = postings.binary_search(&basket).expect("a removed item was in the basket");
            postings.remove(at);
        }
    }

    /// c(a, b): in how many baskets the two are together, where all baskets of at least one of them are held here.
    pub(super) fn count(&self, a: Item, b: Item) -> u32 {
        let (mut few, mut many) = (self.postings(a), self.postings(b));
        let mut frequent = b;
        if few.len() > many.len() {
            std::mem::swap(&mut few, &mut many);
            frequent = a;
        }
        if many.len() < few.len() * MERGE_RATIO {
            return intersection(few, many);
        }
        few.iter().filter(|&&basket| contains(&self.baskets[basket as usize], frequent)).count() as u32
    }

    /// Calls `each` for every other item that shares a basket with `item`, with their count, in no particular order.
    pub(super) fn row(&mut self, item: Item, mut each: impl FnMut(Item, u32)) {
        let Some(postings) = self.postings.get(item as usize) else { return };
        for &basket in postings {
            for &other in &self.baskets[basket as usize] {
                let count = &mut self.counts[other as usize];
                if *count == 0 {
                    self.met.push(other);
                }
                *count += 1;
            }
        }
        for other in self.met.drain(..) {
            let count = std::mem::take(&mut self.counts[other as usize]);
            if other != item {
                each(other, count);
            }
        }
    }

    /// Calls `each` with c(item, other) for each of `others`, in their order: one pass over the baskets of `item`.
    pub(super) fn counts(
        &mut self,
        item: Item,
        others: impl Iterator<Item = Item>,
        mut each: impl FnMut(Item, u32),
    ) {
        for &basket in &self.postings[item as usize] {
            for &other in &self.baskets[basket as usize] {
                self.counts[other as usize] += 1;
            }
        }
        for other in others {
            each(other, self.counts[other as usize]);
        }
        for &basket in &self.postings[item as usize] {
            for &other in &self.baskets[basket as usize] {
                self.counts[other as usize] = 0;
            }
        }
    }
}

fn contains(items: &[Item], item: Item) -> bool {
    if items.len() <= SCAN_MAX { items.contains(&item) } else { items.binary_search(&item).is_ok() }
}

/// How many baskets two rising lists share.
fn intersection(x: &[Basket], y: &[Basket]) -> u32 {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < x.len() && j < y.len() {
        // Without a branch on the comparison, which no processor could foresee.
        let (u, v) = (x[i], y[j]);
        count += u32::from(u == v);
        i += usize::from(u <= v);
        j += usize::from(v <= u);
    }
    count
}
