//! By item, the rows whose list may change when the item's support rises.
//!
//! A row is noted when it begins to watch an item, and not taken out when it stops: such notes are cleaned away when
//! they are a third, so cleaning costs little more than noting did.

use crate::neighbours::prefetch::prefetch_value;
use crate::sizes::{bytes, bytes_of_all};
use crate::{Item, tight};

/// Who watches whom.
#[derive(Default)]
pub(super) struct Watchers {
    /// The rows that watch the item, and some that did once; and how many really do.
    rows: Vec<Vec<u32>>,
    watching: Vec<u32>,
}

/// Stale notes that a list of watchers may have before it is worth a look.
const STALE_MIN: usize = 4;

impl Watchers {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of_all(&self.rows) + bytes(&self.watching)
    }

    /// Makes room for all items below `items`.
    pub(super) fn make_room(&mut self, items: usize) {
        if self.rows.len() < items {
            self.rows.resize_with(items, Vec::new);
            self.watching.resize(items, 0);
        }
    }

    /// A row that watched `before` watches `after` now.
    pub(super) fn change(&mut self, row: u32, before: &[Item], after: &[Item]) {
        for &item in after {
            prefetch_value(&self.rows[item as usize]);
            prefetch_value(&self.watching[item as usize]);
        }
        for &item in after {
            if !before.contains(&item) {
                tight::push(&mut self.rows[item as usize], row);
            }
            self.watching[item as usize] += 1;
        }
        for &item in before {
            self.watching[item as usize] -= 1;
        }
    }

    /// The rows that watch the item, and perhaps some that do not; `watches` says which do, after `soon` was told which
    /// will be asked for.
    pub(super) fn of(&mut self, item: Item, soon: impl Fn(u32), watches: impl Fn(u32) -> bool) -> &[u32] {
        let rows = &mut self.rows[item as usize];
        let watching = self.watching[item as usize] as usize;
        if rows.len() > watching + watching / 2 + STALE_MIN {
            rows.sort_unstable();
            rows.dedup();
            rows.iter().for_each(|&row| soon(row));
            rows.retain(|&row| watches(row));
            tight::trim(rows);
        }
        rows
    }
}
