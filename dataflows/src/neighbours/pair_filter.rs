//! A rule about which pairs of items may be listed.

use crate::Item;

/// Says which other items may stand in the list of a row's item.
///
/// The answer for a pair must stay the same for as long as any basket holds both items. Items are numbers: a
/// filter that goes by names looks them up in [`Names`](crate::Names).
///
/// # Examples
/// A filter that keeps carrier bags out of all lists, and still gives them a list of their own:
///
/// ```
/// use deltacart_dataflows::{Item, PairFilter};
///
/// struct NoBags {
///     bag: Item,
/// }
///
/// impl PairFilter for NoBags {
///     fn admits(&self, _row: Item, other: Item) -> bool {
///         other != self.bag
///     }
/// }
/// ```
pub trait PairFilter: 'static {
    /// Whether every pair is admitted. The engine then asks about none.
    const ADMITS_ALL: bool = false;

    /// Whether `other` may stand in the list of `row`. The converse is a question of its own.
    fn admits(&self, row: Item, other: Item) -> bool;
}

/// Admits every pair, at no cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllPairs;

impl PairFilter for AllPairs {
    const ADMITS_ALL: bool = true;

    #[inline]
    fn admits(&self, _row: Item, _other: Item) -> bool {
        true
    }
}
