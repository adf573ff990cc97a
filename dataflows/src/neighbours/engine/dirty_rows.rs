//! Dirty rows: the rows that an epoch concerns, each once, in the order of memory.
//!
//! ```text
//! mark 130, 0, 64, 130      bits 1000… │ 1000… │ 0010…      list 0, 64, 130
//! ```
//!
//! Each row has a bit while the rows are found. Reading the bits gives the rows in order, for an eighth of a
//! byte per row.

use crate::id_vec::Id;
use crate::neighbours::placement::RowId;

/// A set of rows, and a list of them.
#[derive(Default)]
pub(super) struct DirtyRows {
    /// A bit per row, 64 rows to a word.
    bits: Vec<u64>,
    /// The rows that were marked when the list was made, rising.
    rows: Vec<RowId>,
}

impl DirtyRows {
    /// Empties the set and the list.
    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
        self.rows.clear();
    }

    /// Makes room for all rows below `rows`.
    pub(super) fn make_room(&mut self, rows: usize) {
        if self.bits.len() < rows.div_ceil(64) {
            self.bits.resize(rows.div_ceil(64), 0);
        }
    }

    /// Marks a row, again or for the first time.
    #[inline]
    pub(super) fn mark(&mut self, row: RowId) {
        self.bits[row.index() / 64] |= 1 << (row.index() % 64);
    }

    /// Makes the list of all rows that are marked now.
    pub(super) fn make_list(&mut self) {
        self.rows.clear();
        for (word, &bits) in self.bits.iter().enumerate() {
            let mut left = bits;
            while left != 0 {
                self.rows.push(RowId::from_index(word * 64 + left.trailing_zeros() as usize));
                left &= left - 1;
            }
        }
    }

    /// The rows of the list, rising.
    pub(super) fn list(&self) -> &[RowId] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_listed_once_in_order() {
        let mut dirty = DirtyRows::default();
        let listed = |dirty: &mut DirtyRows| -> Vec<usize> {
            dirty.make_list();
            dirty.list().iter().map(|row| row.index()).collect()
        };
        dirty.make_room(200);
        [130, 0, 199, 63, 64, 130, 0].into_iter().for_each(|row| dirty.mark(RowId::from_index(row)));
        assert_eq!(listed(&mut dirty), [0, 63, 64, 130, 199]);
        dirty.mark(RowId::from_index(1));
        assert_eq!(listed(&mut dirty), [0, 1, 63, 64, 130, 199]);
        dirty.clear();
        dirty.mark(RowId::from_index(65));
        assert_eq!(listed(&mut dirty), [65]);
    }
}
