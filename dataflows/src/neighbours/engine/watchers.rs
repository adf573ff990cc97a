//! Watchers: for each item, the rows whose list may change when the item's support rises.
//!
//! ```text
//! item mug:   rows [tea, milk, tea, honey]    watching 2: tea and honey; milk stopped, and tea is there twice
//! n(mug) + 1 ─▶ the rows of tea, milk and honey become dirty; ranking milk finds no change
//! ```
//!
//! A row is added when it starts to watch an item, and it is not removed when it stops. Stale entries are removed when
//! they are a third of the list, so removing them costs little more than adding them did.

use crate::id_vec::IdVec;
use crate::neighbours::placement::RowId;
use crate::prefetch::prefetch_value;
use crate::state_stats::bytes_of_all;
use crate::{Item, compact_vec};

/// The rows that watch each item.
#[derive(Default)]
pub(super) struct Watchers {
    /// The rows that watch the item, and some that did once.
    rows: IdVec<Item, Vec<RowId>>,
    /// The number of rows that watch the item now.
    watching: IdVec<Item, u32>,
}

/// Stale entries that a list may have before it is cleaned.
const STALE_MIN: usize = 4;

impl Watchers {
    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes() + bytes_of_all(self.rows.values()) + self.watching.bytes()
    }

    /// Makes room for all items below `items`.
    pub(super) fn make_room(&mut self, items: usize) {
        self.rows.make_room(items);
        self.watching.make_room(items);
    }

    /// A row stops watching the items `before` and watches the items `after`. The two may overlap.
    pub(super) fn change(&mut self, row: RowId, before: &[Item], after: &[Item]) {
        for &item in after {
            prefetch_value(&self.rows[item]);
            prefetch_value(&self.watching[item]);
        }
        for &item in after {
            if !before.contains(&item) {
                compact_vec::push(&mut self.rows[item], row);
            }
            self.watching[item] += 1;
        }
        for &item in before {
            self.watching[item] -= 1;
        }
    }

    /// The rows that watch the item, and perhaps some that do not.
    ///
    /// If the list has too many stale entries, they are removed: `watches` says whether a row watches the item. Before
    /// that, `prefetch` is called with each row that `watches` will be asked about.
    pub(super) fn of(
        &mut self,
        item: Item,
        prefetch: impl Fn(RowId),
        watches: impl Fn(RowId) -> bool,
    ) -> &[RowId] {
        let rows = &mut self.rows[item];
        let watching = self.watching[item] as usize;
        if rows.len() > watching + watching / 2 + STALE_MIN {
            rows.sort_unstable();
            rows.dedup();
            rows.iter().for_each(|&row| prefetch(row));
            rows.retain(|&row| watches(row));
            compact_vec::trim(rows);
        }
        rows
    }
}
