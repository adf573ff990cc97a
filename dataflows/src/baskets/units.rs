//! The units of a line, those in the cart and those bought, in four bytes.
//!
//! Nearly every line has few of both, and there are more lines than anything else in a ledger. The others have their
//! place in [`Large`], and the line has the number of the place.

use crate::Quantity;
use crate::sizes::bytes;

/// The two quantities of a line. Those of a line that goes are set to 0 first: they may have a place of their own.
#[derive(Default)]
pub(super) struct Units(u32);

/// Units that are too many for four bytes.
#[derive(Default)]
pub(super) struct Large {
    units: Vec<(Quantity, Quantity)>,
    free: Vec<u32>,
}

/// This bit says that the others are a place in [`Large`].
const IS_LARGE: u32 = 1 << 31;

/// The low bits are units bought, those above them units in the cart.
const BOUGHT_BITS: u32 = 16;
const BOUGHT_MAX: Quantity = (1 << BOUGHT_BITS) - 1;
const CART_MAX: Quantity = (1 << (31 - BOUGHT_BITS)) - 1;

impl Units {
    /// Neither in the cart nor bought.
    pub(super) fn are_none(&self) -> bool {
        self.0 == 0
    }

    /// Units in the cart, and units bought.
    pub(super) fn get(&self, large: &Large) -> (Quantity, Quantity) {
        match self.place() {
            Some(place) => large.units[place as usize],
            None => (self.0 >> BOUGHT_BITS, self.0 & BOUGHT_MAX),
        }
    }

    pub(super) fn set(&mut self, cart: Quantity, bought: Quantity, large: &mut Large) {
        large.free.extend(self.place());
        self.0 = match cart <= CART_MAX && bought <= BOUGHT_MAX {
            true => cart << BOUGHT_BITS | bought,
            false => large.keep((cart, bought)) | IS_LARGE,
        };
    }

    fn place(&self) -> Option<u32> {
        (self.0 & IS_LARGE != 0).then_some(self.0 & !IS_LARGE)
    }
}

impl Large {
    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.units) + bytes(&self.free)
    }

    /// No place is taken.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.units.len()
    }

    fn keep(&mut self, units: (Quantity, Quantity)) -> u32 {
        if let Some(place) = self.free.pop() {
            self.units[place as usize] = units;
            return place;
        }
        self.units.push(units);
        let place = u32::try_from(self.units.len() - 1).ok().filter(|place| place & IS_LARGE == 0);
        place.expect("two billion lines of many units do not fit in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of quantities at a border is kept as it is, whatever was there before; and places are given again.
    #[test]
    fn all_units_are_kept() {
        let borders = [0, 1, CART_MAX, CART_MAX + 1, BOUGHT_MAX, BOUGHT_MAX + 1, IS_LARGE, u32::MAX];
        let pairs: Vec<_> = borders.iter().flat_map(|&cart| borders.map(|bought| (cart, bought))).collect();
        let mut large = Large::default();
        let (mut one, mut other) = (Units::default(), Units::default());
        for &before in &pairs {
            for &(cart, bought) in &pairs {
                other.set(before.0, before.1, &mut large);
                one.set(cart, bought, &mut large);
                assert_eq!(one.get(&large), (cart, bought));
                assert_eq!(other.get(&large), before);
                assert_eq!(one.are_none(), (cart, bought) == (0, 0));
            }
        }
        assert_eq!(large.units.len(), 2, "places are given again");
        one.set(0, 0, &mut large);
        other.set(0, 0, &mut large);
        assert!(large.is_empty());
    }
}
