//! The lines of one basket, and what each action does to them.
//!
//! ```text
//! action            in the cart        bought
//! Add +n            + n
//! Remove −n         − n, or all
//! Set n             n
//! Purchase n        − n                + n
//! Refund n                             − n, or all
//! Clear             0
//! Checkout          0                  + what was in the cart
//! Cancel                               0
//! Forget            0                  0
//! Restore           as in the snapshot
//! ```
//!
//! A line is there while one of the two is above 0. Its published quantity is their sum. Quantities saturate
//! at 2^32 − 1.
//!
//! So a purchase of what is in the cart confirms it, a cleared cart keeps what was bought, and a removal of
//! what was never added leaves no debt. A full basket evicts its oldest line for a new one: the one that was added
//! first, whenever it was last touched. So the lists do not depend on whether touches are tracked.
//!
//! Where touches are tracked, an action touches the line of the item that it names, if it changes it.

use crate::baskets::basket_state::BasketState;
use crate::baskets::line_touches::LineTouches;
use crate::baskets::note::Oddity;
use crate::baskets::packed_quantity::{Overflow, PackedQuantity};
use crate::{Action, Basket, Diff, Item, LineTouch, Partition, Quantity, compact_vec};

/// A basket holds an item in a quantity above 0: units in the cart and units bought together.
pub type Line = (Basket, Item, Quantity);

/// An effect of an event.
pub(super) enum Effect {
    /// A line was inserted (+1) or removed (−1).
    Line(Line, Diff),
    /// Something was odd.
    Note(Oddity),
    /// The state of a basket that the epoch changed.
    State(Box<BasketState>),
}

/// One basket. It is stored while it has a line.
#[derive(Default)]
pub(super) struct StoredBasket {
    /// Oldest first.
    pub(super) lines: Vec<StoredLine>,
    /// The partition of its first event.
    pub(super) partition: Partition,
    /// Whether it had an event in another partition.
    pub(super) is_split: bool,
}

/// One line of a basket.
pub(super) struct StoredLine {
    /// The item.
    pub(super) item: Item,
    /// Units in the cart and units bought.
    pub(super) quantity: PackedQuantity,
}

impl StoredBasket {
    /// Applies an action to this basket, and the touch that it is to the touches of the lines, if those are tracked.
    /// Returns whether it changed anything.
    pub(super) fn apply(
        &mut self,
        basket: Basket,
        action: &Action<Item>,
        items_max: usize,
        overflow: &mut Overflow,
        mut touched: Option<(&mut LineTouches, LineTouch)>,
        emit: &mut impl FnMut(Effect),
    ) -> bool {
        let Some(&item) = action.item() else {
            let mut changed = false;
            self.lines.iter_mut().for_each(|line| changed |= line.apply(basket, action, overflow, emit));
            if let Some((touches, _touch)) = touched {
                touches.retain(|at| !self.lines[at].quantity.is_zero());
            }
            self.lines.retain(|line| !line.quantity.is_zero());
            return changed;
        };
        let count = self.lines.len();
        if let Some(at) = self.lines.iter().position(|line| line.item == item) {
            let changed = self.lines[at].apply(basket, action, overflow, emit);
            let is_gone = self.lines[at].quantity.is_zero();
            match touched {
                Some((touches, _touch)) if is_gone => touches.remove(at),
                Some((touches, touch)) if changed => touches.touch(at, touch, count),
                _ => {}
            }
            if is_gone {
                self.lines.remove(at);
                compact_vec::trim(&mut self.lines);
            }
            return changed;
        }
        let mut line = StoredLine { item, quantity: PackedQuantity::default() };
        let changed = line.apply(basket, action, overflow, emit);
        if !line.quantity.is_zero() {
            if count == items_max {
                let mut oldest = self.lines.remove(0);
                oldest.apply(basket, &Action::Forget, overflow, emit);
                emit(Effect::Note(Oddity::LineEvicted(oldest.item)));
                if let Some((touches, _touch)) = &mut touched {
                    touches.remove(0);
                }
            }
            if let Some((touches, touch)) = touched {
                touches.push(touch, self.lines.len());
            }
            compact_vec::push(&mut self.lines, line);
        }
        changed
    }
}

impl StoredLine {
    /// Applies an action to this line. Returns whether it changed anything.
    fn apply(
        &mut self,
        basket: Basket,
        action: &Action<Item>,
        overflow: &mut Overflow,
        emit: &mut impl FnMut(Effect),
    ) -> bool {
        let before = self.quantity.get(overflow);
        let after = action.quantities_after(before.0, before.1);
        if after == before {
            return false;
        }
        self.quantity.set(after.0, after.1, overflow);
        let [before, after] = [before, after].map(|(cart, bought)| cart.saturating_add(bought));
        if before != after {
            for (quantity, diff) in [(before, -1), (after, 1)] {
                if quantity > 0 {
                    emit(Effect::Line((basket, self.item, quantity), diff));
                }
            }
        }
        true
    }
}
