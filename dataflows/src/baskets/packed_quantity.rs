//! What a line holds of its item, units in the cart, units bought and whether it was viewed, in four bytes.
//!
//! ```text
//! bit 31 = 0:  bit 30: viewed │ 14 bits in the cart │ 16 bits bought
//! bit 31 = 1:  bit 30: viewed │ 30 bits: a slot of the overflow table
//! ```
//!
//! Lines are the most numerous records of a ledger, and nearly all have small quantities. The others are in an
//! [`Overflow`] table.

use crate::state_stats::bytes;
use crate::{Quantity, Units};

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

/// The bit that says whether the item was viewed.
const IS_VIEWED: u32 = 1 << 30;

/// The bits of a slot.
const SLOT: u32 = IS_VIEWED - 1;

/// Bits of the units bought. The units in the cart are above them.
const BOUGHT_BITS: u32 = 16;

/// The most units bought that fit.
const BOUGHT_MAX: Quantity = (1 << BOUGHT_BITS) - 1;

/// The most units in the cart that fit.
const CART_MAX: Quantity = (1 << (30 - BOUGHT_BITS)) - 1;

impl PackedQuantity {
    /// Whether nothing is in the cart, nothing is bought and nothing was viewed.
    pub(super) fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// What the line holds.
    pub(super) fn get(&self, overflow: &Overflow) -> Units {
        let (cart, bought) = match self.slot() {
            Some(slot) => overflow.slots[slot as usize],
            None => (self.0 >> BOUGHT_BITS & CART_MAX, self.0 & BOUGHT_MAX),
        };
        Units { cart, bought, viewed: self.0 & IS_VIEWED != 0 }
    }

    /// Sets what the line holds.
    pub(super) fn set(&mut self, units: Units, overflow: &mut Overflow) {
        let Units { cart, bought, viewed } = units;
        overflow.free.extend(self.slot());
        let quantities = match cart <= CART_MAX && bought <= BOUGHT_MAX {
            true => cart << BOUGHT_BITS | bought,
            false => overflow.insert((cart, bought)) | IS_OVERFLOW,
        };
        self.0 = quantities | if viewed { IS_VIEWED } else { 0 };
    }

    /// The slot, if the quantities are in the overflow table.
    fn slot(&self) -> Option<u32> {
        (self.0 & IS_OVERFLOW != 0).then_some(self.0 & SLOT)
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
        let slot = u32::try_from(self.slots.len() - 1).ok().filter(|&slot| slot <= SLOT);
        slot.expect("a billion lines of large quantities do not fit in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of quantities at a limit is stored as it is, whatever was there before, and slots are reused.
    #[test]
    fn all_quantities_are_stored() {
        let limits = [0, 1, CART_MAX, CART_MAX + 1, BOUGHT_MAX, BOUGHT_MAX + 1, IS_OVERFLOW, u32::MAX];
        let units = |cart, bought| [false, true].map(|viewed| Units { cart, bought, viewed });
        let pairs: Vec<_> = limits
            .iter()
            .flat_map(|&cart| limits.into_iter().flat_map(move |bought| units(cart, bought)))
            .collect();
        let mut overflow = Overflow::default();
        let (mut one, mut other) = (PackedQuantity::default(), PackedQuantity::default());
        for &before in &pairs {
            for &after in &pairs {
                other.set(before, &mut overflow);
                one.set(after, &mut overflow);
                assert_eq!(one.get(&overflow), after);
                assert_eq!(other.get(&overflow), before);
                assert_eq!(one.is_zero(), after.is_zero());
            }
        }
        assert_eq!(overflow.slots.len(), 2, "slots are reused");
        one.set(Units::default(), &mut overflow);
        other.set(Units::default(), &mut overflow);
        assert!(overflow.is_empty());
    }
}
