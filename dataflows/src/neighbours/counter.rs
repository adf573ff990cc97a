//! Exact counts, asked for by rows: those of the pairs that a row, or this worker's part of it, has.

use crate::Item;
use crate::neighbours::placement::Placement;
use crate::neighbours::store::Store;
use crate::neighbours::tally::Tally;

/// Counts from the interactions that this worker holds.
#[derive(Clone, Copy)]
pub(super) struct Counter<'a> {
    pub(super) store: &'a Store,
    pub(super) placement: &'a Placement,
}

impl Counter<'_> {
    /// c(item, other) for every other item whose pair is kept here.
    pub(super) fn row(&self, item: Item, tally: &mut Tally) {
        self.store.row(item, tally);
        if self.placement.is_shared(item) {
            tally.retain(|other| self.placement.owns(other));
        }
    }

    /// c(item, other) of a pair that is kept here.
    pub(super) fn pair(&self, item: Item, other: Item) -> u32 {
        self.store.count(item, other)
    }
}
