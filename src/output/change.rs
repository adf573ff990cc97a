//! One list change: the input of the encoder.

use deltacart_dataflows::{Epoch, List, Name};

/// The change of one item's list in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListChange {
    /// The item that the list belongs to.
    pub item: Name,
    /// The epoch that changed it.
    pub epoch: Epoch,
    /// The list as last published. Empty if there was none.
    pub before: List,
    /// The new list. Empty if the item has none any more. Never equal to `before`.
    pub after: List,
}
