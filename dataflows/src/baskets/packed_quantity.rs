//! The two quantities of a line, units in the cart and units bought, in four bytes.
//!
//! ```text
//! bit 31 = 0:  15 bits in the cart │ 16 bits bought
//! bit 31 = 1:  31 bits: a slot of the overflow table
//! ```
//!
//! Lines are the most numerous records of a ledger, and nearly all have small quantities. The others are in an
//! [`Overflow`] table.

use crate::Quantity;
use crate::state_stats::bytes;

/// The quantities of a line. They must be set to 0 before the line is dropped, because they may occupy a slot.
#[derive(Default)]
pub(super) struct PackedQuantity(u32);

/// Quantities that do not fit into four bytes.
#[derive(Default)]
pub(super) struct Overflow {
    /// Units in the cart and units bought, by slot.
    slots: Vec<(Quantity, Quantity)>,
    /// Slots that are not in use.
    free: Vec<u32>,
}

/// The bit that marks the others as a slot of [`Overflow`].
const IS_OVERFLOW: u32 = 1 << 31;

/// Bits of the units bought. The units in the cart are above them.
const BOUGHT_BITS: u32 = 16;

/// The most units bought that fit.
const BOUGHT_MAX: Quantity = (1 << BOUGHT_BITS) - 1;

/// The most units in the cart that fit.
const CART_MAX: Quantity = (1 << (31 - BOUGHT_BITS)) - 1;

impl PackedQuantity {
    /// Whether nothing is in the cart and nothing is bought.
    pub(super) fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Units in the cart, and units bought.
    pub(super) fn get(&self, overflow: &Overflow) -> (Quantity, Quantity) {
        match self.slot() {
            Some(slot) => overflow.slots[slot as usize],
            None => (self.0 >> BOUGHT_BITS, self.0 & BOUGHT_MAX),
        }
    }

    /// Sets the units in the cart and the units bought.
    pub(super) fn set(&mut self, cart: Quantity, bought: Quantity, overflow: &mut Overflow) {
        overflow.free.extend(self.slot());
        self.0 = match cart <= CART_MAX && bought <= BOUGHT_MAX {
            true => cart << BOUGHT_BITS | bought,
            false => overflow.insert((cart, bought)) | IS_OVERFLOW,
        };
    }

    /// The slot, if the quantities are in the overflow table.
    fn slot(&self) -> Option<u32> {
        (self.0 & IS_OVERFLOW != 0).then_some(self.0 & !IS_OVERFLOW)
    }
}

impl Overflow {
    /// The bytes that the table has allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.slots) + bytes(&self.free)
    }

    /// Whether no slot is in use.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Stores quantities in a free slot.
    fn insert(&mut self, quantities: (Quantity, Quantity)) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = quantities;
            return slot;
        }
        self.slots.push(quantities);
        let slot = u32::try_from(self.slots.len() - 1).ok().filter(|slot| slot & IS_OVERFLOW == 0);
        slot.expect("two billion lines of large quantities do not fit in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of quantities at a limit is stored as it is, whatever was there before, and slots are reused.
    #[test]
    fn all_quantities_are_stored() {
        let limits = [0, 1, CART_MAX, CART_MAX + 1, BOUGHT_MAX, BOUGHT_MAX + 1, IS_OVERFLOW, u32::MAX];
        let pairs: Vec<_> = limits.iter().flat_map(|&cart| limits.map(|bought| (cart, bought))).collect();
        let mut overflow = Overflow::default();
        let (mut one, mut other) = (PackedQuantity::default(), PackedQuantity::default());
        for &before in &pairs {
            for &(cart, bought) in &pairs {
                other.set(before.0, before.1, &mut overflow);
                one.set(cart, bought, &mut overflow);
                assert_eq!(one.get(&overflow), (cart, bought));
                assert_eq!(other.get(&overflow), before);
                assert_eq!(one.is_zero(), (cart, bought) == (0, 0));
            }
        }
        assert_eq!(overflow.slots.len(), 2, "slots are reused");
        one.set(0, 0, &mut overflow);
        other.set(0, 0, &mut overflow);
        assert!(overflow.is_empty());
    }
}
