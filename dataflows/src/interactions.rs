//! 2 · Interactions: which basket holds which item, each once, whatever the quantity.

use crate::{Basket, Diff, Epoch, Item, Line};
use differential_dataflow::VecCollection;

/// The set of (basket, item). A line whose quantity changed goes and comes in one epoch, which adds up to nothing.
pub fn interactions<'scope>(
    lines: VecCollection<'scope, Epoch, Line, Diff>,
) -> VecCollection<'scope, Epoch, (Basket, Item), Diff> {
    lines.map(|(basket, item, _quantity)| (basket, item))
}
