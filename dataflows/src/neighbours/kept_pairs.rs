//! Exact counts of the pairs that one worker keeps: those of its rows and parts of rows, which the filter admits.

use crate::Item;
use crate::interaction_index::{Accumulator, InteractionIndex};
use crate::neighbours::pair_filter::PairFilter;
use crate::neighbours::placement::Placement;

/// Reads counts from the index, as they are at one epoch.
///
/// A row never has a pair that this does not keep: counts and changes of counts enter it through here only.
pub(super) struct KeptPairs<'a, F> {
    /// The interactions.
    pub(super) index: &'a InteractionIndex,
    /// The rows that are kept.
    pub(super) placement: &'a Placement,
    /// The pairs that are admitted.
    pub(super) filter: &'a F,
}

impl<F> Clone for KeptPairs<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for KeptPairs<'_, F> {}

impl<F: PairFilter> KeptPairs<'_, F> {
    /// Adds up c(item, other) for every other item whose pair is kept. Reads all baskets of the item.
    pub(super) fn accumulate_row(&self, item: Item, accumulator: &mut Accumulator) {
        self.index.accumulate_row(item, accumulator);
        if self.placement.is_shared(item) {
            accumulator.retain(|other| self.placement.owns(other));
        }
        self.drop_excluded(item, accumulator);
    }

    /// Drops the pairs of a row that the filter does not admit.
    pub(super) fn drop_excluded(&self, item: Item, accumulator: &mut Accumulator) {
        if !F::ADMITS_ALL {
            accumulator.retain(|other| self.filter.admits(item, other));
        }
    }

    /// Whether the pair is in a row that is kept here.
    pub(super) fn keeps(&self, item: Item, other: Item) -> bool {
        self.placement.keeps(item, other) && (F::ADMITS_ALL || self.filter.admits(item, other))
    }

    /// c(item, other) of a pair that is kept.
    pub(super) fn count(&self, item: Item, other: Item) -> u32 {
        self.index.count(item, other)
    }
}
