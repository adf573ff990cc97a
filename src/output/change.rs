//! The change of a list, which records tell.

use deltacart_dataflows::{Epoch, List, Name};

/// What one epoch did to one item's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListChange {
    /// Whose list it is.
    pub item: Name,
    /// The epoch that changed it.
    pub epoch: Epoch,
    /// The list as it was published last; empty if there was none.
    pub before: List,
    /// The list as it is now; empty if there is none any more. Never equal to `before`.
    pub after: List,
}
