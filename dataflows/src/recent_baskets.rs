//! The most recent baskets of each item, without a scan of its postings.
//!
//! ```text
//! an item in few baskets     its postings are all there is to know
//! a frequent item            a list of baskets, oldest first: the newest `wanted` and some more │ floor: older ones
//! ```
//!
//! Baskets are ordered by their last [`Touch`]. A touch moves its basket to the end of the lists of its frequent
//! items, where it mostly lies already. So a touch costs a few comparisons for each frequent item of the basket.
//!
//! # Notes
//! A list has between `wanted` and twice as many baskets. **Its promise:** a basket is in the list if and only if its
//! touch is after the floor. When removals leave fewer than `wanted`, the list is made again from the postings. That
//! takes at least half of `wanted` removals, so it is rare.

use crate::id_vec::IdVec;
use crate::interaction_index::{InteractionIndex, LineChange};
use crate::state_stats::bytes;
use crate::{Basket, Item, Touch};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::cmp::Reverse;

/// The recency of baskets, and the newest baskets of frequent items.
pub(crate) struct RecentBaskets {
    /// How many baskets of an item are wanted, at least 1.
    wanted: usize,
    /// The last touch of each basket.
    touches: IdVec<Basket, Touch>,
    /// The items that are in more than `wanted` baskets, or were until recently.
    frequent: HashMap<Item, Newest, RandomState>,
}

/// The newest baskets of a frequent item.
struct Newest {
    /// Oldest first.
    baskets: Vec<Basket>,
    /// Where the list begins. All other baskets of the item are at or before it. None: there are no others.
    floor: Option<Recency>,
}

/// The order of baskets: the last touch. Touches of different events differ, so the number decides nothing that is
/// published.
type Recency = (Touch, Basket);

impl RecentBaskets {
    /// No baskets. Of each item the newest `wanted` are kept.
    pub(crate) fn new(wanted: usize) -> Self {
        RecentBaskets { wanted: wanted.max(1), touches: IdVec::default(), frequent: HashMap::default() }
    }

    /// The bytes that it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        let lists: u64 = self.frequent.values().map(|newest| bytes(&newest.baskets)).sum();
        self.touches.bytes() + lists + (self.frequent.capacity() * size_of::<(Item, Newest)>()) as u64
    }

    /// The last touch of a basket.
    #[inline]
    pub(crate) fn touch(&self, basket: Basket) -> Touch {
        self.touches.get(basket).copied().unwrap_or_default()
    }

    /// The newest baskets of an item, at most `wanted` and at most as many as are kept, in no particular order.
    ///
    /// Takes constant time if `wanted` is what was wanted from the start, or more.
    pub(crate) fn of<'a>(
        &'a self,
        item: Item,
        wanted: usize,
        index: &'a InteractionIndex,
    ) -> Cow<'a, [Basket]> {
        let wanted = wanted.min(self.wanted);
        match self.frequent.get(&item) {
            Some(Newest { baskets, .. }) => baskets[baskets.len().saturating_sub(wanted)..].into(),
            None if index.baskets(item).len() <= wanted => index.baskets(item).into(),
            None => {
                let mut all = index.baskets(item).to_vec();
                all.select_nth_unstable_by_key(wanted, |&basket| Reverse((self.touch(basket), basket)));
                all.truncate(wanted);
                all.into()
            }
        }
    }

    /// Applies an epoch's changes of lines, which the index has already, and the touches of baskets. Both are sorted by
    /// basket. Every basket that has changes has a touch. The index must have all baskets of the items that `owns`
    /// says.
    pub(crate) fn change(
        &mut self,
        index: &InteractionIndex,
        changes: &[LineChange],
        touched: &[(Basket, Touch)],
        owns: impl Fn(Item) -> bool,
    ) {
        let mut shrunk = Vec::new();
        for &(basket, touch) in touched {
            let from = changes.partition_point(|change| change.basket < basket);
            let to = changes.partition_point(|change| change.basket <= basket);
            let changes = &changes[from..to];
            let before = (self.touch(basket), basket);
            for item in LineChange::items(changes, false).filter(|&item| owns(item)) {
                self.remove(item, before);
                shrunk.push(item);
            }
            let is_added = |item: Item| LineChange::items(changes, true).any(|added| added == item);
            for &item in index.basket(basket).iter().filter(|&&item| owns(item) && !is_added(item)) {
                self.remove(item, before);
                if touch < before.0 {
                    // The number belongs to another basket now, which may be older than the floor.
                    shrunk.push(item);
                }
            }
            *self.touches.get_or_default(basket) = touch;
            for &item in index.basket(basket).iter().filter(|&&item| owns(item)) {
                self.insert(item, (touch, basket));
            }
        }
        for item in LineChange::items(changes, true).filter(|&item| owns(item)) {
            if index.baskets(item).len() > self.wanted && !self.frequent.contains_key(&item) {
                self.make(item, index);
            }
        }
        for item in shrunk {
            self.shrink(item, index);
        }
    }

    /// Removes a basket from the list of an item, if it is there.
    fn remove(&mut self, item: Item, recency: Recency) {
        let RecentBaskets { touches, frequent, .. } = self;
        let Some(Newest { baskets, floor }) = frequent.get_mut(&item) else { return };
        if floor.is_none_or(|floor| recency > floor) {
            let at = baskets.partition_point(|&other| (touches[other], other) < recency);
            let removed = baskets.remove(at);
            assert_eq!(removed, recency.1, "a basket after the floor is in the list");
        }
    }

    /// Inserts a basket into the list of an item, if it is after the floor.
    fn insert(&mut self, item: Item, recency: Recency) {
        let RecentBaskets { touches, frequent, wanted } = self;
        let Some(Newest { baskets, floor }) = frequent.get_mut(&item) else { return };
        if floor.is_some_and(|floor| recency <= floor) {
            return;
        }
        let key = |basket: Basket| (touches[basket], basket);
        let at = match baskets.last() {
            Some(&last) if key(last) > recency => baskets.partition_point(|&other| key(other) < recency),
            _ => baskets.len(),
        };
        baskets.insert(at, recency.1);
        if baskets.len() > 2 * *wanted {
            let surplus = baskets.len() - (*wanted + *wanted / 2);
            *floor = Some(key(baskets[surplus - 1]));
            baskets.drain(..surplus);
        }
    }

    /// Makes the list of an item from its postings.
    fn make(&mut self, item: Item, index: &InteractionIndex) {
        let mut all: Vec<Recency> =
            index.baskets(item).iter().map(|&basket| (self.touch(basket), basket)).collect();
        let kept = self.wanted + self.wanted / 2;
        let mut floor = None;
        if all.len() > kept {
            let surplus = all.len() - kept;
            all.select_nth_unstable(surplus - 1);
            floor = Some(all[surplus - 1]);
            all.drain(..surplus);
        }
        all.sort_unstable();
        let baskets = all.into_iter().map(|(_touch, basket)| basket).collect();
        self.frequent.insert(item, Newest { baskets, floor });
    }

    /// Drops the list of an item that is rare now, or makes it again if it has run short.
    fn shrink(&mut self, item: Item, index: &InteractionIndex) {
        let Some(newest) = self.frequent.get(&item) else { return };
        let all = index.baskets(item).len();
        if all <= self.wanted / 2 {
            self.frequent.remove(&item);
        } else if newest.baskets.len() < self.wanted.min(all) {
            self.make(item, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;
    use deltacart_testing::Random;
    use std::collections::{BTreeMap, BTreeSet};

    /// Lines come and go, baskets are touched in any order, and some touches are late. The newest baskets of every item
    /// are those that sorting finds, and the lists keep their promise.
    #[test]
    fn newest_baskets_are_those_of_a_sort() {
        for (seed, wanted) in (0..).zip([1, 2, 3, 5, 8, 40]) {
            let mut random = Random::new(seed);
            let mut index = InteractionIndex::default();
            let mut recent = RecentBaskets::new(wanted);
            let (mut lines, mut touches) = (BTreeSet::new(), BTreeMap::new());
            for epoch in 0..400 {
                let growing = epoch < 200;
                let mut changes = BTreeMap::new();
                let mut touched = BTreeMap::new();
                for event in 0..random.below(6) {
                    let (basket, item) =
                        (random.below(60) as u32, random.below(4).min(random.below(4)) as u32);
                    let late = random.below(8) == 0;
                    let time = if late { random.below(400) } else { 400 + epoch };
                    let position = Position { offset: epoch * 10 + event, ..Position::default() };
                    let touch = Touch { time, offset: position.offset, ..Touch::default() };
                    touched.insert(Basket::new(basket), touch);
                    let is_added = !lines.contains(&(basket, item));
                    if changes.contains_key(&(basket, item)) || random.below(4) == 0 || growing != is_added {
                        continue;
                    }
                    changes.insert((basket, item), is_added);
                    if is_added {
                        lines.insert((basket, item))
                    } else {
                        lines.remove(&(basket, item))
                    };
                }
                let changes: Vec<LineChange> = changes
                    .into_iter()
                    .map(|((basket, item), is_added)| LineChange {
                        basket: Basket::new(basket),
                        item: Item::new(item),
                        is_added,
                    })
                    .collect();
                LineChange::by_basket(&changes).for_each(|(basket, changes)| index.change(basket, changes));
                let touched: Vec<_> = touched.into_iter().collect();
                touches.extend(touched.iter().copied());
                recent.change(&index, &changes, &touched, |_item| true);
                for item in (0..4).map(Item::new) {
                    let mut all: Vec<_> = index.baskets(item).iter().map(|b| (touches[b], *b)).collect();
                    all.sort_unstable();
                    for wanted in [wanted, wanted.div_ceil(2)] {
                        let newest = &all[all.len().saturating_sub(wanted)..];
                        let actual = recent.of(item, wanted, &index);
                        let mut actual: Vec<_> = actual.iter().map(|b| (touches[b], *b)).collect();
                        actual.sort_unstable();
                        assert_eq!(actual, newest, "item {item:?}, epoch {epoch}, seed {seed}");
                    }
                }
            }
        }
    }
}
