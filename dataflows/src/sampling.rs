//! Sampling of items that are in too many baskets (`--max-item-baskets F`): their counts are estimated from a sample.
//!
//! ```text
//! level(basket)   the trailing zero bits of the fixed hash of its name: at least L for one basket in 2^L
//! L(a)            the least L with n(a) ≤ F · 2^L: 0 for every item up to the limit
//! sampled         level(basket) ≥ L(a): about n(a) / 2^L(a) of the n(a) baskets of a, so about F at most
//! c(a,b)          baskets sampled for both · 2^max(L(a), L(b)), at most n(a), and at most n(b)
//! ```
//!
//! The sample is **coordinated**. Of two items, every basket sampled for the one with the higher level is also sampled
//! for the other, if it holds it. So the baskets sampled for both are a fair sample of those that hold both. Scaled up,
//! they give the count without bias, except where it is capped at a support. Supports and N stay exact.
//!
//! The sample is a function of names and supports, so of the state. Workers, batching and restarts do not
//! matter, and an item that falls under the limit again is exact again.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::rc::Rc;

/// The level of a basket: it is sampled for items of at most this level. From 0 to 64.
///
/// ```
/// use deltacart_dataflows::basket_level;
/// assert_eq!(basket_level("536382"), 2);
/// let sampled = (0..1000).filter(|basket| basket_level(&format!("basket {basket}")) >= 1).count();
/// assert!((400..600).contains(&sampled), "about half of all baskets are of level 1 or more");
/// ```
///
/// The hash never changes: another one would draw another sample, and so lead to other lists.
pub fn basket_level(name: &str) -> u8 {
    fixed_hash(name).trailing_zeros() as u8
}

/// A hash of a name that is the same for ever: FNV-1a of 64 bits, then the finalizer of MurmurHash3.
pub(crate) fn fixed_hash(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // FNV's low bits alone follow the name's low bits.
    let mixed = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

/// L(a) of an item in `support` baskets, where the limit is `max`.
pub(crate) fn item_level(support: u32, max: u32) -> u8 {
    let mut level = 0;
    while u64::from(support) > u64::from(max) << level {
        level += 1;
    }
    level
}

/// The state of sampling on one worker, shared by its operators.
///
/// The operator of baskets sets the levels of baskets, and the operators behind it read them. They run on one thread,
/// and a level is set before the first line of its basket is emitted.
#[derive(Clone)]
pub struct Sampling {
    /// The most baskets from which an item is counted.
    max: NonZeroU32,
    /// By the basket's local number. A number keeps its level: it is reused for baskets of the same level only.
    levels: Rc<RefCell<Vec<u8>>>,
    /// The items over the limit.
    over: Rc<Cell<u64>>,
}

impl Sampling {
    /// Sampling with at most `max` baskets per item.
    pub fn new(max: NonZeroU32) -> Self {
        Sampling { max, levels: Rc::default(), over: Rc::default() }
    }

    /// The number of items over the limit, of those that this worker owns. Their counts are estimates.
    pub fn over(&self) -> u64 {
        self.over.get()
    }

    /// Adds to the number of items over the limit.
    pub(crate) fn add_over(&self, more: i64) {
        self.over.set(self.over.get().wrapping_add_signed(more));
    }

    /// The most baskets from which an item is counted.
    pub(crate) fn max(&self) -> u32 {
        self.max.get()
    }

    /// Sets the level of the basket with this local number, now and for ever.
    pub(crate) fn set_level(&self, number: u32, level: u8) {
        let mut levels = self.levels.borrow_mut();
        let index = number as usize;
        if levels.len() <= index {
            levels.resize(index + 1, 0);
        }
        levels[index] = level;
    }

    /// The level of the basket with this local number.
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
