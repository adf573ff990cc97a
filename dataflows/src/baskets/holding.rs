//! Which items the baskets of one worker hold: what decides when an item may be forgotten.

use crate::{Diff, Item};

/// How many lines of this worker's baskets each item has.
#[derive(Default)]
pub(super) struct Holding {
    lines: Vec<u32>,
    /// Items that lost their last line or got their first since the last epoch, once for each time.
    crossed: Vec<Item>,
}

impl Holding {
    /// A line of the item came (+1) or went (−1).
    pub(super) fn count(&mut self, item: Item, diff: Diff) {
        let index = item as usize;
        if self.lines.len() <= index {
            self.lines.resize(index + 1, 0);
        }
        let before = self.lines[index];
        let after = before.checked_add_signed(diff as i32).expect("a line goes that came");
        self.lines[index] = after;
        if before == 0 || after == 0 {
            self.crossed.push(item);
        }
    }

    /// Calls `tell` with each item that is held at the end of an epoch and was not at the end of the one before (true),
    /// or the other way (false).
    pub(super) fn end_epoch(&mut self, mut tell: impl FnMut(Item, bool)) {
        self.crossed.sort_unstable();
        for crossings in self.crossed.chunk_by(|x, y| x == y) {
            if !crossings.len().is_multiple_of(2) {
                tell(crossings[0], self.lines[crossings[0] as usize] > 0);
            }
        }
        self.crossed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_epoch_changes() {
        let mut holding = Holding::default();
        let mut epoch = |changes: &[(Item, Diff)]| {
            changes.iter().for_each(|&(item, diff)| holding.count(item, diff));
            let mut told = Vec::new();
            holding.end_epoch(|item, is_held| told.push((item, is_held)));
            told
        };
        assert_eq!(epoch(&[(7, 1), (3, 1), (7, 1)]), [(3, true), (7, true)]);
        assert_eq!(epoch(&[(7, -1), (3, -1), (3, 1), (5, 1), (5, -1)]), []);
        assert_eq!(epoch(&[(7, -1), (3, -1)]), [(3, false), (7, false)]);
        assert_eq!(epoch(&[]), []);
    }
}
