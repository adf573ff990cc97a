//! The interaction index of one worker: the baskets of each item, and the items of each basket.
//!
//! ```text
//! item ──▶ postings: its baskets, rising; frequent items also as a bit per basket
//! basket ─▶ its items, rising
//! ```
//!
//! - A count c(a, b) is the size of an intersection of two postings ([`postings`]).
//! - A whole row of counts is one pass over the baskets of its item, added up in an [`Accumulator`].
//!
//! # Example
//! ```text
//! baskets        postings            c(tea, milk) = |{0, 2} ∩ {0, 1, 2}| = 2
//! 0  tea milk    tea    0 2
//! 1  milk mug    milk   0 1 2        the row of tea: the items of baskets 0 and 2, without tea
//! 2  tea milk    mug    1            milk 2
//! ```
//!
//! # Notes
//! Both ways count each interaction once: the index stores no weights. Bits and sorted lists are the form of the index
//! for interactions that all weigh [`Weight::One`](crate::Weight::One).

mod accumulator;
pub(crate) use accumulator::Accumulator;

mod postings;

use crate::id_vec::IdVec;
use crate::prefetch::{prefetch, prefetch_ahead};
use crate::state_stats::bytes_of_all;
use crate::{Basket, Item, compact_vec};
use postings::Postings;

/// A line that was inserted into a basket or removed from it. Ordered by basket, then by item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineChange {
    /// The basket.
    pub(crate) basket: Basket,
    /// The item of the line.
    pub(crate) item: Item,
    /// Whether the line was inserted. Otherwise it was removed.
    pub(crate) is_added: bool,
}

impl LineChange {
    /// The items of the changes that are additions, or those of the removals. They keep their order.
    pub(crate) fn items(changes: &[LineChange], is_added: bool) -> impl Iterator<Item = Item> {
        changes.iter().filter(move |change| change.is_added == is_added).map(|change| change.item)
    }

    /// Splits changes, sorted by basket, into those of each basket.
    pub(crate) fn by_basket(changes: &[LineChange]) -> impl Iterator<Item = (Basket, &[LineChange])> {
        changes.chunk_by(|x, y| x.basket == y.basket).map(|changes| (changes[0].basket, changes))
    }
}

/// In how many baskets items are, on all workers together.
pub(crate) trait ItemSupports {
    /// n(item). 0 for an item that no basket ever held.
    fn of(&self, item: Item) -> u32;

    /// N, the number of baskets that are not empty.
    fn total(&self) -> u32;
}

/// Reads the index at the end of each epoch, beside the lists: there is one copy of it.
pub(crate) trait IndexFollower: 'static {
    /// What is asked of it.
    type Question: Clone + 'static;

    /// What it replies.
    type Reply: Clone + 'static;

    /// Takes the changes of lines of an epoch, sorted, which the index has already. Then it takes the questions of the
    /// epoch, and replies. The index has all baskets of the items that `owns` says. `supports` has all items.
    fn end_epoch(
        &mut self,
        index: &InteractionIndex,
        changes: &[LineChange],
        owns: &dyn Fn(Item) -> bool,
        supports: &dyn ItemSupports,
        questions: &mut Vec<Self::Question>,
        reply: &mut dyn FnMut(Self::Reply),
    );
}

/// Reads nothing.
pub(crate) struct NoFollower;

/// A question that nobody can ask, and a reply that nobody can give.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Never {}

impl IndexFollower for NoFollower {
    type Question = Never;
    type Reply = Never;

    fn end_epoch(
        &mut self,
        _index: &InteractionIndex,
        _changes: &[LineChange],
        _owns: &dyn Fn(Item) -> bool,
        _supports: &dyn ItemSupports,
        _questions: &mut Vec<Never>,
        _reply: &mut dyn FnMut(Never),
    ) {
    }
}

/// The baskets of which one worker has a copy, by basket and by item.
#[derive(Default)]
pub(crate) struct InteractionIndex {
    /// The items of each basket, rising.
    baskets: IdVec<Basket, Vec<Item>>,
    /// The baskets of each item.
    postings: IdVec<Item, Postings>,
}

impl InteractionIndex {
    /// The bytes that it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        let postings: u64 = self.postings.values().iter().map(Postings::bytes).sum();
        self.baskets.bytes() + bytes_of_all(self.baskets.values()) + self.postings.bytes() + postings
    }

    /// The items of a basket, rising.
    pub(crate) fn basket(&self, basket: Basket) -> &[Item] {
        self.baskets.get(basket).map_or(&[], Vec::as_slice)
    }

    /// One more than the largest basket that was ever here.
    pub(crate) fn baskets_end(&self) -> usize {
        self.baskets.len()
    }

    /// Whether a basket holds an item. Takes constant time for frequent items, and else a search in the postings.
    pub(crate) fn holds(&self, item: Item, basket: Basket) -> bool {
        self.postings.get(item).is_some_and(|postings| postings.holds(basket))
    }

    /// The baskets of an item, rising.
    pub(crate) fn baskets(&self, item: Item) -> &[Basket] {
        self.postings.get(item).map_or(&[], Postings::baskets)
    }

    /// Applies the changes of one basket, sorted by item.
    pub(crate) fn change(&mut self, basket: Basket, changes: &[LineChange]) {
        let items = self.baskets.get_or_default(basket);
        let mut removed = LineChange::items(changes, false).peekable();
        items.retain(|&item| removed.next_if_eq(&item).is_none());
        compact_vec::make_room(items, LineChange::items(changes, true).count());
        items.extend(LineChange::items(changes, true));
        items.sort_unstable();
        compact_vec::trim(items);
        LineChange::items(changes, true).for_each(|item| self.post(item, basket));
        LineChange::items(changes, false).for_each(|item| self.unpost(item, basket));
    }

    /// Drops the copy of a basket.
    pub(crate) fn drop_basket(&mut self, basket: Basket) {
        let items = self.baskets.get_mut(basket).map(std::mem::take);
        for item in items.unwrap_or_default() {
            self.unpost(item, basket);
        }
    }

    /// Adds a basket to the postings of an item.
    fn post(&mut self, item: Item, basket: Basket) {
        self.postings.get_or_default(item).insert(basket, self.baskets.len());
    }

    /// Removes a basket from the postings of an item.
    fn unpost(&mut self, item: Item, basket: Basket) {
        self.postings[item].remove(basket, self.baskets.len());
    }

    /// c(a, b): the number of baskets that hold both. Correct if all baskets of a, or all of b, are in the index.
    ///
    /// Time is in proportion to the shorter postings, or to a bit per basket if that is less.
    pub(crate) fn count(&self, a: Item, b: Item) -> u32 {
        match (self.postings.get(a), self.postings.get(b)) {
            (Some(a), Some(b)) => a.intersection_size(b),
            _ => 0,
        }
    }

    /// Prefetches the item's postings.
    pub(crate) fn prefetch(&self, item: Item) {
        if let Some(postings) = self.postings.get(item) {
            prefetch(postings.baskets().as_ptr(), 2);
        }
    }

    /// Adds up the row of an item: c(item, other) for every other item that shares a basket with it.
    ///
    /// Time is in proportion to the items of all of its baskets.
    pub(crate) fn accumulate_row(&self, item: Item, accumulator: &mut Accumulator) {
        let baskets = self.baskets(item);
        for (at, &basket) in baskets.iter().enumerate() {
            prefetch_ahead(&self.baskets, baskets, at, |items| prefetch(items.as_ptr(), 1));
            accumulator.add(&self.baskets[basket], 1);
        }
        if !baskets.is_empty() {
            accumulator.take(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::postings::BITS_MIN;
    use super::*;
    use deltacart_testing::Random;
    use std::collections::BTreeSet;

    fn line_change(basket: u32, item: u32, is_added: bool) -> LineChange {
        LineChange { basket: Basket::new(basket), item: Item::new(item), is_added }
    }

    /// An item that was frequent keeps its bits for a while, also when it is in fewer baskets than an item
    /// without bits. The count of such a pair was 0, so two lists came in the wrong order.
    #[test]
    fn counts_where_only_the_rarer_item_has_bits() {
        let mut index = InteractionIndex::default();
        let mut change = |item: u32, basket: u32, is_added: bool| {
            index.change(Basket::new(basket), &[line_change(basket, item, is_added)]);
        };
        let frequent = BITS_MIN as u32;
        (0..frequent).for_each(|basket| change(0, basket, true));
        (0..frequent).step_by(4).for_each(|basket| change(0, basket, false));
        (1..frequent).for_each(|basket| change(1, basket, true));
        let [few, many] = [0, 1].map(|item| &index.postings[Item::new(item)]);
        assert!(few.has_bits() && !many.has_bits());
        assert!(few.baskets().len() < many.baskets().len());
        assert_eq!((few.intersection_size(many), many.intersection_size(few)), (24, 24));
    }

    /// Items from rare to in every second basket come and go; every count is that of the sets of baskets, whether it is
    /// merged, searched or read off the bits.
    #[test]
    fn counts_are_those_of_sets() {
        let mut index = InteractionIndex::default();
        let mut sets = vec![BTreeSet::new(); 12];
        let mut random = Random::new(1);
        for _ in 0..60_000 {
            let item = random.below(sets.len() as u64) as u32;
            let basket = random.below(4096) as u32;
            // Item n is in about one of 2^n baskets, and all become rarer in the end.
            let is_added = random.below(1 << item) == 0 && sets[item as usize].insert(basket);
            if is_added || random.below(4) == 1 && sets[item as usize].remove(&basket) {
                index.change(Basket::new(basket), &[line_change(basket, item, is_added)]);
            }
        }
        let with_bits = index.postings.values().iter().filter(|postings| postings.has_bits()).count();
        assert!(with_bits > 0 && with_bits < sets.len(), "{with_bits} items have bits");
        for (a, x) in (0..).zip(&sets) {
            let mut accumulator = Accumulator::default();
            accumulator.make_room(sets.len());
            index.accumulate_row(Item::new(a), &mut accumulator);
            for (b, y) in (0..).zip(&sets).filter(|&(b, _)| b != a) {
                let count = x.intersection(y).count();
                assert_eq!(index.count(Item::new(a), Item::new(b)) as usize, count, "items {a} and {b}");
                assert_eq!(accumulator.take(Item::new(b)) as usize, count, "row {a}, item {b}");
            }
        }
    }
}
