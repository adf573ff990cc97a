//! What a basket holds at the end of an epoch: the record of the stream `states`.

use crate::{Basket, Item, Name, Touch};
use serde::{Deserialize, Serialize};

/// What a basket holds at the end of an epoch that changed it.
///
/// Emitted once for each epoch in which a line, a quantity or a user of the basket changed, and once when the basket
/// stops being recent. A basket that is gone has a record without lines, with the users and the touch that it had. In
/// one epoch, the records of baskets that are gone come first: a basket that was deleted and made again may have two
/// records, and the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BasketState<I = Item> {
    /// Its number. Another basket may get it when this one is gone.
    pub basket: Basket,
    /// Its id.
    pub name: Name,
    /// The users that had events of it, by name.
    pub users: Vec<Name>,
    /// The largest touch of the events that changed it.
    pub touch: Touch,
    /// Its lines, the most recently touched first. Empty when the basket is gone: deleted, expired, or all removed.
    pub lines: Vec<StateLine<I>>,
    /// Whether its last touch is less than [`Params::open_for`](crate::Params::open_for) before the clock of the
    /// partition of its first event.
    ///
    /// A touch of unknown time counts as time 0, and so does the clock of a partition without known times. So a basket
    /// of unknown time is recent until the first known time of its partition.
    pub is_recent: bool,
}

impl BasketState {
    /// The items of the basket as an open cart: those that its customer wants, the most recently touched first. Empty
    /// if it is no open cart.
    pub(crate) fn open_cart(&self) -> Vec<Item> {
        let wanted = self.lines.iter().filter(|line| self.is_recent && line.is_wanted());
        wanted.map(|line| line.item).collect()
    }
}

/// One line of a basket's state. It is there whether it is an interaction or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateLine<I = Item> {
    /// The item.
    pub item: I,
    /// Whether units are in the cart.
    pub in_cart: bool,
    /// Whether units are bought.
    pub bought: bool,
    /// Whether the item was viewed. Never where views are no evidence.
    pub viewed: bool,
    /// Whether it is an interaction, by the [`Evidence`](crate::Evidence) that counts.
    pub is_interaction: bool,
}

impl<I> StateLine<I> {
    /// Whether the line is part of an open cart: units are in the cart, or the item was viewed and not bought since.
    ///
    /// ```
    /// use deltacart_dataflows::StateLine;
    /// let viewed = StateLine { item: "tea", in_cart: false, bought: false, viewed: true, is_interaction: true };
    /// assert!(viewed.is_wanted());
    /// assert!(!StateLine { bought: true, ..viewed }.is_wanted());
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.in_cart || self.viewed && !self.bought
    }
}
