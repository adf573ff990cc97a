//! The interactions, twice: the baskets of each item and the items of each basket; and exact counts from them.
//!
//! Both are sorted vectors by number, so any count is an intersection of two of them and any row one pass over the
//! baskets of its item.

use crate::neighbours::changes::Change;
use crate::neighbours::prefetch::{prefetch, prefetch_ahead};
use crate::neighbours::tally::Tally;
use crate::sizes::{bytes, bytes_of_all};
use crate::{Basket, Item, tight};

/// The baskets that one worker holds copies of.
#[derive(Default)]
pub(super) struct Store {
    baskets: Vec<Vec<Item>>,
    postings: Vec<Postings>,
}

/// The baskets of one item.
#[derive(Default)]
struct Postings {
    /// Rising.
    baskets: Vec<Basket>,
    /// The same as a bit per basket; empty for all but the most frequent items, where it is no larger than the list.
    bits: Vec<u64>,
}

/// An item gets its bits when it is in one of so many baskets, and loses them when it is in one of twice as many.
const BITS_FROM: usize = 64;

/// No item with fewer baskets than this gets its bits: lists as short are searched as fast.
const BITS_MIN: usize = 32;

/// Merging two lists costs about as much as searching the longer one for each element of the shorter one when it is so
/// many times as long.
const MERGE_RATIO: usize = 8;

impl Store {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        let postings = self.postings.iter().map(|item| bytes(&item.baskets) + bytes(&item.bits));
        bytes_of_all(&self.baskets) + bytes(&self.postings) + postings.sum::<u64>()
    }

    /// The items of a basket, rising.
    pub(super) fn basket(&self, basket: Basket) -> &[Item] {
        self.baskets.get(basket as usize).map_or(&[], Vec::as_slice)
    }

    /// The baskets of an item, rising.
    pub(super) fn baskets(&self, item: Item) -> &[Basket] {
        self.postings.get(item as usize).map_or(&[], |postings| postings.baskets.as_slice())
    }

    /// Applies the changes of one basket, which are sorted.
    pub(super) fn change(&mut self, basket: Basket, changes: &[Change]) {
        let index = basket as usize;
        if self.baskets.len() <= index {
            self.baskets.resize_with(index + 1, Vec::new);
        }
        let held = &mut self.baskets[index];
        let of = |more| changes.iter().filter(move |change| change.2 == more).map(|change| change.1);
        let mut gone = of(false).peekable();
        held.retain(|&item| gone.next_if_eq(&item).is_none());
        tight::make_room(held, of(true).count());
        held.extend(of(true));
        held.sort_unstable();
        tight::trim(held);
        of(true).for_each(|item| self.post(item, basket));
        of(false).for_each(|item| self.unpost(item, basket));
    }

    /// Drops the copy of a basket.
    pub(super) fn forget(&mut self, basket: Basket) {
        let items = self.baskets.get_mut(basket as usize).map(std::mem::take);
        for item in items.unwrap_or_default() {
            self.unpost(item, basket);
        }
    }

    fn post(&mut self, item: Item, basket: Basket) {
        if self.postings.len() <= item as usize {
            self.postings.resize_with(item as usize + 1, Postings::default);
        }
        self.postings[item as usize].add(basket, self.baskets.len());
    }

    fn unpost(&mut self, item: Item, basket: Basket) {
        self.postings[item as usize].remove(basket, self.baskets.len());
    }

    /// c(a, b): in how many baskets the two are together, where all baskets of at least one of them are held here.
    pub(super) fn count(&self, a: Item, b: Item) -> u32 {
        let (Some(mut few), Some(mut many)) = (self.postings.get(a as usize), self.postings.get(b as usize))
        else {
            return 0;
        };
        if few.baskets.len() > many.baskets.len() {
            std::mem::swap(&mut few, &mut many);
        }
        // Either may be without bits: they come late and go late.
        let both_have_bits = !few.bits.is_empty() && !many.bits.is_empty();
        if both_have_bits && few.bits.len() < few.baskets.len() {
            return few.bits.iter().zip(&many.bits).map(|(x, y)| (x & y).count_ones()).sum();
        }
        if !many.bits.is_empty() {
            return few.baskets.iter().map(|&basket| u32::from(many.has(basket))).sum();
        }
        match many.baskets.len() < few.baskets.len() * MERGE_RATIO {
            true => merge(&few.baskets, &many.baskets),
            false => search(&few.baskets, &many.baskets),
        }
    }

    /// Tells the processor that the item's baskets are wanted soon.
    pub(super) fn prefetch(&self, item: Item) {
        if let Some(postings) = self.postings.get(item as usize) {
            prefetch(postings.baskets.as_ptr(), 2);
        }
    }

    /// Adds up the row of an item: c(item, other) for every other item that shares a basket with it.
    pub(super) fn row(&self, item: Item, tally: &mut Tally) {
        let Some(postings) = self.postings.get(item as usize) else { return };
        for (at, &basket) in postings.baskets.iter().enumerate() {
            prefetch_ahead(&self.baskets, &postings.baskets, at, |items| prefetch(items.as_ptr(), 1));
            tally.add(&self.baskets[basket as usize], 1);
        }
        tally.take(item);
    }
}

impl Postings {
    fn add(&mut self, basket: Basket, baskets: usize) {
        tight::make_room(&mut self.baskets, 1);
        match self.baskets.last() {
            Some(&last) if last > basket => {
                let at = self.baskets.partition_point(|&other| other < basket);
                self.baskets.insert(at, basket);
            }
            _ => self.baskets.push(basket),
        }
        if !self.bits.is_empty() {
            self.set(basket, true);
        } else if self.baskets.len() >= BITS_MIN && self.baskets.len() * BITS_FROM >= baskets {
            (0..self.baskets.len()).for_each(|at| self.set(self.baskets[at], true));
        }
    }

    fn remove(&mut self, basket: Basket, baskets: usize) {
        let at = self.baskets.binary_search(&basket).expect("a removed item was in the basket");
        self.baskets.remove(at);
        tight::trim(&mut self.baskets);
        if self.baskets.len() < BITS_MIN / 2 || self.baskets.len() * BITS_FROM * 2 < baskets {
            self.bits = Vec::new();
        } else if !self.bits.is_empty() {
            self.set(basket, false);
        }
    }

    /// Whether the item is in the basket, where there are bits.
    fn has(&self, basket: Basket) -> bool {
        self.bits.get(basket as usize / 64).is_some_and(|word| word >> (basket % 64) & 1 == 1)
    }

    fn set(&mut self, basket: Basket, has: bool) {
        let word = basket as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let bit = 1 << (basket % 64);
        self.bits[word] = if has { self.bits[word] | bit } else { self.bits[word] & !bit };
    }
}

/// Baskets that are compared with as many others at once.
const BLOCK: usize = 4;

/// How many baskets two rising lists share. Block by block, each basket of one with each of the other, which is what
/// vector instructions are for; whichever block ends first is done with.
fn merge(mut x: &[Basket], mut y: &[Basket]) -> u32 {
    let mut equal = [0; BLOCK];
    while let (Some(u), Some(v)) = (x.first_chunk::<BLOCK>(), y.first_chunk::<BLOCK>()) {
        for turn in 0..BLOCK {
            for lane in 0..BLOCK {
                equal[lane] += u32::from(u[lane] == v[(lane + turn) % BLOCK]);
            }
        }
        // Without a branch on the comparison, which no processor could foresee.
        let (last_u, last_v) = (u[BLOCK - 1], v[BLOCK - 1]);
        x = &x[BLOCK * usize::from(last_u <= last_v)..];
        y = &y[BLOCK * usize::from(last_v <= last_u)..];
    }
    equal.iter().sum::<u32>() + merge_one_by_one(x, y)
}

fn merge_one_by_one(x: &[Basket], y: &[Basket]) -> u32 {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < x.len() && j < y.len() {
        let (u, v) = (x[i], y[j]);
        count += u32::from(u == v);
        i += usize::from(u <= v);
        j += usize::from(v <= u);
    }
    count
}

/// How many baskets two rising lists share, of which the second is far longer: the next one lies a little further on,
/// so steps that double find where, and halves find it there.
fn search(few: &[Basket], mut many: &[Basket]) -> u32 {
    let mut count = 0;
    for &basket in few {
        let mut step = MERGE_RATIO / 2;
        while many.get(step).is_some_and(|&other| other < basket) {
            many = &many[step..];
            step *= 2;
        }
        let near = &many[..many.len().min(step + 1)];
        many = &many[near.partition_point(|&other| other < basket)..];
        count += u32::from(many.first() == Some(&basket));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// An item that was frequent still has its bits when it is in fewer baskets than one that never had any. Their
    /// count was 0: found as two lists in the wrong order, after an item had fallen back under `--max-item-baskets`.
    #[test]
    fn counts_where_only_the_rarer_item_has_bits() {
        let mut store = Store::default();
        for basket in 0..BITS_MIN as Basket {
            store.change(basket, &[(basket, 0, true)]);
        }
        for basket in (0..BITS_MIN as Basket).step_by(4) {
            store.change(basket, &[(basket, 0, false)]);
        }
        for basket in 1..BITS_MIN as Basket {
            store.change(basket, &[(basket, 1, true)]);
        }
        let has_bits = |item: usize| !store.postings[item].bits.is_empty();
        assert!(has_bits(0) && !has_bits(1));
        assert!(store.postings[0].bits.len() < store.postings[0].baskets.len());
        assert_eq!((store.count(0, 1), store.count(1, 0)), (24, 24));
    }

    /// Items from rare to in every second basket come and go; every count is that of the sets of baskets, whether it is
    /// merged, searched or read off the bits.
    #[test]
    fn counts_are_those_of_sets() {
        let mut store = Store::default();
        let mut sets = vec![BTreeSet::new(); 12];
        let mut random = 1u64;
        for _ in 0..60_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (item, number) = ((random >> 33) as usize % sets.len(), (random >> 40) as u32);
            // The n-th item is in about one of 2^n baskets, and all thin out in the end.
            let basket = number % 4096;
            let comes = number >> 12 & ((1 << item) - 1) == 0 && sets[item].insert(basket);
            if comes || number >> 12 & 3 == 1 && sets[item].remove(&basket) {
                store.change(basket, &[(basket, item as Item, comes)]);
            }
        }
        let with_bits = store.postings.iter().filter(|postings| !postings.bits.is_empty()).count();
        assert!(with_bits > 0 && with_bits < sets.len(), "{with_bits} items have bits");
        for (a, x) in sets.iter().enumerate() {
            let mut tally = Tally::default();
            tally.make_room(sets.len());
            store.row(a as Item, &mut tally);
            for (b, y) in sets.iter().enumerate().filter(|&(b, _)| b != a) {
                let count = x.intersection(y).count();
                assert_eq!(store.count(a as Item, b as Item) as usize, count, "items {a} and {b}");
                assert_eq!(tally.take(b as Item) as usize, count, "row {a}, item {b}");
            }
        }
    }
}
