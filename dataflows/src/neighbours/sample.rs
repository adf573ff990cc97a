//! The sample on one worker: changes of all lines become changes of the lines that are sampled.
//!
//! ```text
//! changes of lines ──────▶ sample ──▶ changes of sampled lines ──▶ index, pair changes, rows
//! changes of supports ───▶    └ left out: the lines that are not sampled
//! ```
//!
//! [`sampling`](crate::sampling) says which lines are sampled. When an item's level changes, some of its
//! lines enter the sample or leave it. Those are changes like any other, so the rows know nothing of the
//! sample. Only [`ranking`](super::row::ranking) does, which scales the counts up.
//!
//! # Example
//! At most 100 baskets count for an item. Tea is in 100 baskets, so its level is 0 and all of them count. One basket
//! more, and its level is 1. Its lines in baskets of level 0, about half of them, leave the sample: removals for the
//! rows, though no basket changed. The other 50 or so count twice. If tea falls back to 100 baskets, the lines return.
//!
//! Each line is either in the index or left out, never in both. So sampling takes no more memory.

use crate::id_vec::IdVec;
use crate::interaction_index::{InteractionIndex, LineChange};
use crate::neighbours::placement::Placement;
use crate::neighbours::supports::{LevelChange, Supports};
use crate::sampling::Sampling;
use crate::{Basket, Item};

/// The lines that are not sampled on one worker.
pub(super) struct Sample {
    /// Counts the items over the limit.
    sampling: Sampling,
    /// The levels of baskets.
    levels: IdVec<Basket, u8>,
    /// The lines.
    left_out: InteractionIndex,
}

/// The changes of the sample in one epoch.
pub(super) struct SampleChanges {
    /// Changes of sampled lines, sorted.
    pub(super) lines: Vec<LineChange>,
    /// Items whose level rose, so that each of their counts stands for more than before.
    pub(super) risen: Vec<Item>,
}

impl Sample {
    /// An empty sample.
    pub(super) fn new(sampling: Sampling) -> Self {
        Sample { sampling, levels: IdVec::default(), left_out: InteractionIndex::default() }
    }

    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.levels.bytes() + self.left_out.bytes()
    }

    /// Sets the level of a basket, of which a line has changed.
    pub(super) fn set_level(&mut self, basket: Basket, level: u8) {
        *self.levels.get_or_default(basket) = level;
    }

    /// Turns sorted changes of lines into changes of sampled lines.
    ///
    /// `changed_items` are the items whose support changed, rising. `index` has the sampled lines before the epoch.
    pub(super) fn change(
        &mut self,
        changes: &[LineChange],
        changed_items: &[Item],
        supports: &mut Supports,
        index: &InteractionIndex,
        placement: &Placement,
    ) -> SampleChanges {
        let level_changes = self.change_levels(changed_items, supports, placement);
        let level_before = |item: Item| match level_changes.binary_search_by_key(&item, |change| change.item)
        {
            Ok(at) => level_changes[at].before,
            Err(_) => supports.level(item),
        };
        let (mut lines, mut left_out) = (Vec::with_capacity(changes.len()), Vec::new());
        for &change in changes {
            // A removed line is where the item's old level had put it.
            let level = if change.is_added { supports.level(change.item) } else { level_before(change.item) };
            let side = if self.levels[change.basket] >= level { &mut lines } else { &mut left_out };
            side.push(change);
        }
        for &LevelChange { item, before, after } in &level_changes {
            let is_removed =
                |basket| changes.binary_search(&LineChange { basket, item, is_added: false }).is_ok();
            let enters = after < before;
            let from = if enters { &self.left_out } else { index };
            for &basket in from.baskets(item) {
                let is_sampled = self.levels[basket] >= after;
                if is_sampled == enters && !is_removed(basket) {
                    lines.push(LineChange { basket, item, is_added: enters });
                    left_out.push(LineChange { basket, item, is_added: !enters });
                }
            }
        }
        lines.sort_unstable();
        left_out.sort_unstable();
        LineChange::by_basket(&left_out).for_each(|(basket, changes)| self.left_out.change(basket, changes));
        let risen = level_changes.iter().filter(|change| change.after > change.before);
        SampleChanges { lines, risen: risen.map(|change| change.item).collect() }
    }

    /// Sets the levels of items by their supports, and counts the items over the limit.
    fn change_levels(
        &self,
        changed_items: &[Item],
        supports: &mut Supports,
        placement: &Placement,
    ) -> Vec<LevelChange> {
        let change_level = |&item: &Item| {
            let change = supports.update_level(item)?;
            if placement.owns(item) {
                self.sampling.add_over(i64::from(change.after > 0) - i64::from(change.before > 0));
            }
            Some(change)
        };
        changed_items.iter().filter_map(change_level).collect()
    }

    /// Drops the copies of changed baskets that hold no item of this worker any more. Their owners send no further
    /// changes of them.
    pub(super) fn drop_baskets(
        &mut self,
        changes: &[LineChange],
        index: &mut InteractionIndex,
        placement: &Placement,
    ) {
        for (basket, _changes) in LineChange::by_basket(changes) {
            let mut items = index.basket(basket).iter().chain(self.left_out.basket(basket));
            if !items.any(|&item| placement.owns(item)) {
                index.drop_basket(basket);
                self.left_out.drop_basket(basket);
            }
        }
    }
}
