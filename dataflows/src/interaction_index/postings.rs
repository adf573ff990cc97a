//! Postings: the baskets of one item, and how many of them two items share.
//!
//! ```text
//! both have bits                  and bit by bit, count ones          frequent with frequent
//! one has bits                    test a bit for each of the others   frequent with rare
//! lists of similar length         merge                               rare with rare
//! one list is much longer         search the longer                   less rare with very rare
//! ```

use crate::id_vec::Id;
use crate::state_stats::bytes;
use crate::{Basket, compact_vec};

/// The baskets of one item.
#[derive(Default)]
pub(super) struct Postings {
    /// Rising.
    baskets: Vec<Basket>,
    /// A bit per basket. Empty but for the most frequent items, where it is no larger than the list.
    bits: Vec<u64>,
}

/// An item gets its bits when it is in one of this many baskets. It loses them when it is in one of twice as many.
const BITS_FROM: usize = 64;

/// The fewest baskets of an item that gets bits: shorter lists are searched as fast.
pub(super) const BITS_MIN: usize = 32;

/// The ratio of lengths from which searching the longer list costs less than merging the two.
const MERGE_RATIO: usize = 8;

impl Postings {
    /// The bytes that the postings have allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.baskets) + bytes(&self.bits)
    }

    /// The baskets, rising.
    pub(super) fn baskets(&self) -> &[Basket] {
        &self.baskets
    }

    /// Whether the baskets are also there as bits.
    pub(super) fn has_bits(&self) -> bool {
        !self.bits.is_empty()
    }

    /// The number of baskets that are in both. Intersects bits if both have them, tests bits if one has them, and
    /// otherwise merges two lists or searches the longer one.
    pub(super) fn intersection_size(&self, other: &Postings) -> u32 {
        let (few, many) =
            if self.baskets.len() <= other.baskets.len() { (self, other) } else { (other, self) };
        // Either may be without bits: they are made late and dropped late.
        if few.has_bits() && many.has_bits() && few.bits.len() < few.baskets.len() {
            return few.bits.iter().zip(&many.bits).map(|(x, y)| (x & y).count_ones()).sum();
        }
        if many.has_bits() {
            return few.baskets.iter().map(|&basket| u32::from(many.contains(basket))).sum();
        }
        match many.baskets.len() < few.baskets.len() * MERGE_RATIO {
            true => merge(&few.baskets, &many.baskets),
            false => search(&few.baskets, &many.baskets),
        }
    }

    /// Inserts a basket, where the index has so many `baskets`.
    pub(super) fn insert(&mut self, basket: Basket, baskets: usize) {
        compact_vec::make_room(&mut self.baskets, 1);
        match self.baskets.last() {
            Some(&last) if last > basket => {
                let at = self.baskets.partition_point(|&other| other < basket);
                self.baskets.insert(at, basket);
            }
            _ => self.baskets.push(basket),
        }
        if !self.bits.is_empty() {
            self.set(basket, true);
        } else if self.baskets.len() >= BITS_MIN && self.baskets.len() * BITS_FROM >= baskets {
            (0..self.baskets.len()).for_each(|at| self.set(self.baskets[at], true));
        }
    }

    /// Removes a basket, where the index has so many `baskets`.
    pub(super) fn remove(&mut self, basket: Basket, baskets: usize) {
        let at = self.baskets.binary_search(&basket).expect("a basket is removed from postings that have it");
        self.baskets.remove(at);
        compact_vec::trim(&mut self.baskets);
        if self.baskets.len() < BITS_MIN / 2 || self.baskets.len() * BITS_FROM * 2 < baskets {
            self.bits = Vec::new();
        } else if !self.bits.is_empty() {
            self.set(basket, false);
        }
    }

    /// Whether a basket is among them.
    pub(super) fn holds(&self, basket: Basket) -> bool {
        if self.has_bits() { self.contains(basket) } else { self.baskets.binary_search(&basket).is_ok() }
    }

    /// Whether a basket is among them. There must be bits.
    fn contains(&self, basket: Basket) -> bool {
        self.bits.get(basket.index() / 64).is_some_and(|word| word >> (basket.number() % 64) & 1 == 1)
    }

    /// Sets or clears the bit of a basket.
    fn set(&mut self, basket: Basket, is_in: bool) {
        let word = basket.index() / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let bit = 1 << (basket.number() % 64);
        self.bits[word] = if is_in { self.bits[word] | bit } else { self.bits[word] & !bit };
    }
}

/// Baskets of each list that are compared at once.
const BLOCK: usize = 4;

/// The number of baskets that two rising lists share, by merging them.
///
/// Blocks of both lists are compared, each basket with each, which the compiler turns into vector
/// instructions. Then the block that ends first is left behind, or both.
fn merge(mut x: &[Basket], mut y: &[Basket]) -> u32 {
    let mut equal = [0; BLOCK];
    while let (Some(u), Some(v)) = (x.first_chunk::<BLOCK>(), y.first_chunk::<BLOCK>()) {
        for shift in 0..BLOCK {
            for lane in 0..BLOCK {
                equal[lane] += u32::from(u[lane] == v[(lane + shift) % BLOCK]);
            }
        }
        // The comparison is no branch, because no processor could predict it.
        let (last_u, last_v) = (u[BLOCK - 1], v[BLOCK - 1]);
        x = &x[BLOCK * usize::from(last_u <= last_v)..];
        y = &y[BLOCK * usize::from(last_v <= last_u)..];
    }
    equal.iter().sum::<u32>() + merge_one_by_one(x, y)
}

/// The number of baskets that two rising lists share, without blocks.
fn merge_one_by_one(x: &[Basket], y: &[Basket]) -> u32 {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < x.len() && j < y.len() {
        let (u, v) = (x[i], y[j]);
        count += u32::from(u == v);
        i += usize::from(u <= v);
        j += usize::from(v <= u);
    }
    count
}

/// The number of baskets that two rising lists share, by searching the second, which is far longer.
///
/// The next basket lies a little further on. Doubling steps pass it, and bisection finds it in the last step.
fn search(few: &[Basket], mut many: &[Basket]) -> u32 {
    let mut count = 0;
    for &basket in few {
        let mut step = MERGE_RATIO / 2;
        while many.get(step).is_some_and(|&other| other < basket) {
            many = &many[step..];
            step *= 2;
        }
        let near = &many[..many.len().min(step + 1)];
        many = &many[near.partition_point(|&other| other < basket)..];
        count += u32::from(many.first() == Some(&basket));
    }
    count
}
