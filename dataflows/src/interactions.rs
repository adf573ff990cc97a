//! 2 · Interactions: which basket holds which item, each once, whatever the quantity.

use crate::{Basket, Diff, Epoch, Item, Line};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

/// One basket holds one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interaction<B = Basket, I = Item> {
    /// The basket.
    pub basket: B,
    /// The item that it holds.
    pub item: I,
    /// How much the interaction counts.
    pub weight: Weight,
}

/// How much an interaction counts. All count 1 so far, so a weight takes no memory.
///
/// Code that relies on this says so by the pattern `weight: Weight::One`. Another kind of weight would not
/// compile there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Weight {
    /// The interaction counts once.
    One,
}

impl<B, I> Interaction<B, I> {
    /// An interaction that counts once.
    pub const fn new(basket: B, item: I) -> Self {
        Interaction { basket, item, weight: Weight::One }
    }
}

/// The interactions of `lines`.
///
/// # Examples
/// A second unit of an item is no second interaction:
///
/// ```
/// use deltacart_dataflows::{Basket, Interaction, Item, interactions};
/// use differential_dataflow::AsCollection;
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, ToStream};
///
/// let (basket, item) = (Basket::new(0), Item::new(7));
/// let lines = [((basket, item, 1), 0, 1), ((basket, item, 1), 1, -1), ((basket, item, 2), 1, 1)];
/// let captured = timely::example(move |scope| {
///     interactions(lines.to_stream(scope).as_collection()).consolidate().inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_time, updates)| updates).collect();
/// assert_eq!(updates, [(Interaction::new(basket, item), 0, 1)]);
/// ```
///
/// A line whose quantity changed is retracted and inserted in one epoch, so its interaction adds up to no change.
/// Neither keeps state nor exchanges data.
pub fn interactions<'scope>(
    lines: VecCollection<'scope, Epoch, Line, Diff>,
) -> VecCollection<'scope, Epoch, Interaction, Diff> {
    lines.map(|(basket, item, _quantity)| Interaction::new(basket, item))
}
