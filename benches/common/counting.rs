//! Hash counting alone: the least work of any program that stores its counts, and the baseline of every figure.
//!
//! It takes the same changes in the same epochs. It keeps the baskets, because it needs the other items of a basket
//! when an item enters or leaves it. For each of them it changes c(a, b) and c(b, a), each in a hash row of its item
//! (hashbrown with foldhash, the fastest we know). A count that falls to 0 leaves the row. There are no scores and no
//! lists, and nothing is published. It does not check whether a line is new, because each change of a workload has an
//! effect.
//!
//! In bulk it may take the fastest path: first all baskets, then the pairs of each whole basket.

use super::workload::Change;
use hashbrown::HashMap;

type Row = HashMap<u32, u32, foldhash::fast::FixedState>;

/// The baskets, and the counts of all pairs that share one.
#[derive(Default)]
pub(crate) struct Counting {
    baskets: Vec<Vec<u32>>,
    rows: Vec<Row>,
}

impl Counting {
    /// Counts the changes of one epoch.
    pub(crate) fn epoch(&mut self, changes: &[Change]) {
        for change in changes {
            let a = change.item;
            self.grow(change);
            let basket = &mut self.baskets[change.basket as usize];
            // The row of a is taken out, so that it and the rows of the other items can be written together.
            let mut row = std::mem::take(&mut self.rows[a as usize]);
            if change.comes {
                for &b in basket.iter() {
                    *row.entry(b).or_default() += 1;
                    *self.rows[b as usize].entry(a).or_default() += 1;
                }
                basket.push(a);
            } else if let Some(place) = basket.iter().position(|&item| item == a) {
                basket.swap_remove(place);
                for &b in basket.iter() {
                    take_one(&mut row, b);
                    take_one(&mut self.rows[b as usize], a);
                }
            }
            self.rows[a as usize] = row;
        }
    }

    /// Counts all changes at once, from an empty state.
    pub(crate) fn bulk(&mut self, changes: &[Change]) {
        for change in changes {
            self.grow(change);
            let basket = &mut self.baskets[change.basket as usize];
            if change.comes {
                basket.push(change.item);
            } else if let Some(place) = basket.iter().position(|&item| item == change.item) {
                basket.swap_remove(place);
            }
        }
        for basket in &self.baskets {
            for (place, &a) in basket.iter().enumerate() {
                for &b in &basket[..place] {
                    *self.rows[a as usize].entry(b).or_default() += 1;
                    *self.rows[b as usize].entry(a).or_default() += 1;
                }
            }
        }
    }

    /// The number of directed pairs that share a basket.
    pub(crate) fn pairs(&self) -> u64 {
        self.rows.iter().map(|row| row.len() as u64).sum()
    }

    fn grow(&mut self, change: &Change) {
        if self.baskets.len() <= change.basket as usize {
            self.baskets.resize_with(change.basket as usize + 1, Vec::new);
        }
        if self.rows.len() <= change.item as usize {
            self.rows.resize_with(change.item as usize + 1, Row::default);
        }
    }
}

fn take_one(row: &mut Row, other: u32) {
    if let Some(count) = row.get_mut(&other) {
        *count -= 1;
        if *count == 0 {
            row.remove(&other);
        }
    }
}
