//! The cut of items that are in too many baskets (`--max-item-baskets F`): a sample of baskets speaks for them.
//!
//! ```text
//! level(basket)   the zeros that the fixed hash of its name ends with: at least L for one basket of 2^L
//! L(a)            the least L with n(a) ≤ F · 2^L: 0 for every item up to the limit
//! kept            the basket speaks for a: level(basket) ≥ L(a). Of n(a) baskets, about n(a) / 2^L(a), at most F
//! c(a,b)          the baskets that speak for both · 2^max(L(a), L(b)); at most n(a), and at most n(b)
//! ```
//!
//! The sample is **coordinated**: of two items the one with the higher level keeps baskets that the other keeps too, if
//! it is in them. So what both keep is a fair sample of what they share, and scaled it is their count without bias (but
//! for the last cut, which only takes back what cannot be). Supports and the number of baskets stay exact.
//!
//! All of it is a function of names and supports, so of the state: workers, batching and restarts do not matter, and an
//! item that falls under the limit again is exact again.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::rc::Rc;

/// How rarely a basket is in a sample: at level L, it speaks for items of up to level L.
///
/// The hash is FNV-1a of 64 bits and a last mix, written out here because it must never change: a new one would be a
/// new sample, and with it new lists.
pub fn basket_level(name: &str) -> u8 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The finalizer of MurmurHash3: FNV's low bits alone follow the name's low bits.
    let mixed = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed ^ mixed >> 33).trailing_zeros() as u8
}

/// L(a) of an item in so many baskets.
pub(crate) fn item_level(support: u32, max: u32) -> u8 {
    let mut level = 0;
    while u64::from(support) > u64::from(max) << level {
        level += 1;
    }
    level
}

/// What the boxes of one worker share about the cut.
#[derive(Clone)]
pub struct Sampling {
    max: NonZeroU32,
    /// By the basket's number on this worker. A number keeps its level: it is given again to baskets of the same only.
    levels: Rc<RefCell<Vec<u8>>>,
    over: Rc<Cell<u64>>,
}

impl Sampling {
    /// At most so many baskets speak for an item.
    pub fn new(max: NonZeroU32) -> Self {
        Sampling { max, levels: Rc::default(), over: Rc::default() }
    }

    /// How many items are over the limit now, of those that this worker owns: their counts are estimates.
    pub fn over(&self) -> u64 {
        self.over.get()
    }

    /// So many more are.
    pub(crate) fn add_over(&self, more: i64) {
        self.over.set(self.over.get().wrapping_add_signed(more));
    }

    pub(crate) fn max(&self) -> u32 {
        self.max.get()
    }

    /// The basket of this number on this worker has this level, now and always.
    pub(crate) fn learn(&self, number: u32, level: u8) {
        let mut levels = self.levels.borrow_mut();
        let index = number as usize;
        if levels.len() <= index {
            levels.resize(index + 1, 0);
        }
        levels[index] = level;
    }

    /// The level of the basket of this number on this worker.
    pub(crate) fn level(&self, number: u32) -> u8 {
        self.levels.borrow()[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample is part of what lists are: these names keep their levels for ever.
    #[test]
    fn levels_of_names_stay() {
        let names = ["", "a", "b", "536365", "536382", "C536379", "basket 2", "ünï"];
        assert_eq!(names.map(basket_level), [1, 0, 4, 0, 2, 1, 0, 0]);
    }

    #[test]
    fn a_level_halves_the_baskets() {
        let mut of_level = [0u32; 65];
        (0..1 << 16).for_each(|number| of_level[basket_level(&format!("basket {number}")) as usize] += 1);
        for (level, &found) in of_level.iter().enumerate().take(8) {
            let expected = f64::from(1 << (15 - level));
            let error = (f64::from(found) - expected).abs();
            assert!(error < 5.0 * expected.sqrt(), "{found} of level {level}, not {expected}");
        }
    }

    #[test]
    fn levels_of_items() {
        let check = |support, max, level| assert_eq!(item_level(support, max), level, "{support} of {max}");
        check(0, 1, 0);
        check(1, 1, 0);
        check(2, 1, 1);
        check(3, 1, 2);
        check(10, 10, 0);
        check(11, 10, 1);
        check(20, 10, 1);
        check(21, 10, 2);
        check(u32::MAX, 1, 32);
        check(u32::MAX, u32::MAX, 0);
    }
}
