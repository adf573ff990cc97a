//! Reference counts of items: how many lines of one worker's baskets each item has.
//!
//! ```text
//! epoch 1   + (ben, mug)                    mug: 0 ▶ 1           reported: held
//! epoch 2   + (ann, mug), − (ben, mug)      mug: 1 ▶ 2 ▶ 1       nothing
//! epoch 3   − (ann, mug), + (eve, mug)      mug: 1 ▶ 0 ▶ 1       nothing
//! epoch 4   − (eve, mug)                    mug: 1 ▶ 0           reported: released
//! ```
//!
//! They decide when an item may be forgotten. An item whose count rises from 0 or falls to 0 in an epoch is reported
//! once, at the end of the epoch.

use crate::id_vec::IdVec;
use crate::names::HeldChange;
use crate::{Diff, Item};

/// The lines of each item in this worker's baskets.
#[derive(Default)]
pub(super) struct ItemRefcounts {
    /// The number of lines of each item.
    lines: IdVec<Item, u32>,
    /// Items whose count rose from 0 or fell to 0 since the last epoch, once for each time.
    crossings: Vec<Item>,
}

impl ItemRefcounts {
    /// A line of the item was inserted (+1) or removed (−1).
    pub(super) fn count(&mut self, item: Item, diff: Diff) {
        let lines = self.lines.get_or_default(item);
        let before = *lines;
        let after = before.checked_add_signed(diff as i32).expect("a removed line was inserted before");
        *lines = after;
        if before == 0 || after == 0 {
            self.crossings.push(item);
        }
    }

    /// Emits the items that are held at the end of this epoch and were not at the end of the last, and the converse. In
    /// rising order of items.
    pub(super) fn end_epoch(&mut self, mut emit: impl FnMut(HeldChange)) {
        self.crossings.sort_unstable();
        for crossings in self.crossings.chunk_by(|x, y| x == y) {
            if !crossings.len().is_multiple_of(2) {
                let item = crossings[0];
                emit(HeldChange { item, is_held: self.lines[item] > 0 });
            }
        }
        self.crossings.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_reports_what_it_changed() {
        let mut refcounts = ItemRefcounts::default();
        let mut epoch = |changes: &[(u32, Diff)]| {
            changes.iter().for_each(|&(item, diff)| refcounts.count(Item::new(item), diff));
            let mut held = Vec::new();
            refcounts.end_epoch(|HeldChange { item, is_held }| held.push((item.number(), is_held)));
            held
        };
        assert_eq!(epoch(&[(7, 1), (3, 1), (7, 1)]), [(3, true), (7, true)]);
        assert_eq!(epoch(&[(7, -1), (3, -1), (3, 1), (5, 1), (5, -1)]), []);
        assert_eq!(epoch(&[(7, -1), (3, -1)]), [(3, false), (7, false)]);
        assert_eq!(epoch(&[]), []);
    }
}
