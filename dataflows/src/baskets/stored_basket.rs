//! The lines of one basket, and what each action does to them.
//!
//! ```text
//! action            in the cart        bought                       viewed
//! View                                                              yes
//! Add +n            + n
//! Remove −n         − n, or all
//! Set n             n
//! Purchase n        − n                + n
//! Refund n                             − n, or all
//! Clear             0
//! Checkout          0                  + what was in the cart
//! Cancel                               0
//! Forget            0                  0                            no
//! Restore           as in the snapshot
//! ```
//!
//! A line is stored while one of the three holds the item. Its published quantity is the sum of those that are
//! evidence ([`Evidence::quantity`]); it is no interaction while that is 0. Quantities saturate at 2^32 − 1.
//!
//! A view stays when the item is taken out of the cart again, and when an order is cancelled: it was looked at all the
//! same. Only what forgets the basket takes it back, or a newer line of a full basket. A second view of the item
//! touches its line again. Where views are no evidence, a view does nothing.
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
use crate::{Action, Basket, Diff, Evidence, Item, LineTouch, Partition, Quantity, Units, compact_vec};

/// A basket holds an item in a quantity above 0: of all units that are evidence together.
pub type Line = (Basket, Item, Quantity);

/// An effect of an event.
pub(super) enum Effect {
    /// A line with evidence was inserted (+1) or removed (−1).
    Line(Line, Diff),
    /// A line of the item, with evidence or without, is stored from now on (+1) or no more (−1).
    Stored(Item, Diff),
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
    /// What the basket holds of it.
    pub(super) quantity: PackedQuantity,
}

impl StoredBasket {
    /// Applies an action to this basket, and the touch that it is to the touches of the lines, if those are tracked.
    /// Returns whether it changed anything, or was one more view of an item.
    pub(super) fn apply(
        &mut self,
        basket: Basket,
        action: &Action<Item>,
        (items_max, evidence): (usize, Evidence),
        overflow: &mut Overflow,
        mut touched: Option<(&mut LineTouches, LineTouch)>,
        emit: &mut impl FnMut(Effect),
    ) -> bool {
        let Some(&item) = action.item() else {
            let mut changed = false;
            self.lines
                .iter_mut()
                .for_each(|line| changed |= line.apply(basket, action, evidence, overflow, emit));
            if let Some((touches, _touch)) = touched {
                touches.retain(|at| !self.lines[at].quantity.is_zero());
            }
            self.lines.retain(|line| !line.quantity.is_zero());
            return changed;
        };
        let count = self.lines.len();
        if let Some(at) = self.lines.iter().position(|line| line.item == item) {
            let changed = self.lines[at].apply(basket, action, evidence, overflow, emit);
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
        let changed = line.apply(basket, action, evidence, overflow, emit);
        if !line.quantity.is_zero() {
            if count == items_max {
                let mut oldest = self.lines.remove(0);
                oldest.apply(basket, &Action::Forget, evidence, overflow, emit);
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
    /// Applies an action to this line. Returns whether it changed anything, or was one more view.
    fn apply(
        &mut self,
        basket: Basket,
        action: &Action<Item>,
        evidence: Evidence,
        overflow: &mut Overflow,
        emit: &mut impl FnMut(Effect),
    ) -> bool {
        let before = self.quantity.get(overflow);
        let after = units_after(action, before, evidence);
        if after == before {
            // To look at an item once more is to touch it.
            return after.viewed && matches!(action, Action::View(_));
        }
        self.quantity.set(after, overflow);
        let stored = Diff::from(!after.is_zero()) - Diff::from(!before.is_zero());
        if stored != 0 {
            emit(Effect::Stored(self.item, stored));
        }
        let [before, after] = [before, after].map(|units| evidence.quantity(units));
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

/// What an action makes of what a line holds.
fn units_after(action: &Action<Item>, before: Units, evidence: Evidence) -> Units {
    let (cart, bought) = action.quantities_after(before.cart, before.bought);
    let viewed = match action {
        Action::View(_item) => before.viewed || evidence.has_views(),
        Action::Forget | Action::ForgetUser => false,
        Action::Restore(_item, restored) => restored.units.viewed,
        _ => before.viewed,
    };
    Units { cart, bought, viewed }
}
