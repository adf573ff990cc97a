//! The rows that an epoch touches, each once: a bit per row while they are found, then a list as they lie in memory.
//!
//! Reading the bits off orders the rows, at the cost of an eighth of a byte for each row there is.

/// The rows that an epoch touches.
#[derive(Default)]
pub(super) struct Touched {
    /// By row: whether it is touched, 64 rows to a word.
    bits: Vec<u64>,
    /// Those that were touched when they were listed last, rising.
    rows: Vec<u32>,
}

impl Touched {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
        self.rows.clear();
    }

    /// Makes room for so many rows.
    pub(super) fn make_room(&mut self, rows: usize) {
        if self.bits.len() < rows.div_ceil(64) {
            self.bits.resize(rows.div_ceil(64), 0);
        }
    }

    /// Touches a row, again or for the first time.
    pub(super) fn touch(&mut self, row: u32) {
        self.bits[row as usize / 64] |= 1 << (row % 64);
    }

    /// Lists the rows that are touched so far.
    pub(super) fn list(&mut self) {
        self.rows.clear();
        for (word, &bits) in (0..).zip(&self.bits) {
            let mut left = bits;
            while left != 0 {
                self.rows.push(word * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    /// The rows that were listed last, rising.
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_each_row_once_in_order() {
        let mut touched = Touched::default();
        touched.make_room(200);
        [130, 0, 199, 63, 64, 130, 0].into_iter().for_each(|row| touched.touch(row));
        touched.list();
        assert_eq!(touched.rows(), [0, 63, 64, 130, 199]);
        touched.touch(1);
        touched.list();
        assert_eq!(touched.rows(), [0, 1, 63, 64, 130, 199]);
        touched.clear();
        touched.touch(65);
        touched.list();
        assert_eq!(touched.rows(), [65]);
    }
}
