//! The words of the dataflow as types: what an event says, and how items and baskets are numbered.
//!
//! Ids come in as text ([`Name`]) and are numbered once ([`Item`], [`Basket`]), so that the hot path moves and compares
//! small integers. Numbers depend on arrival and are never shown: whatever is published, and every tie, goes by name.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The timestamp of the dataflow: a slice of arrival, counted from the start of the job.
pub type Epoch = u64;

/// An id as the shop wrote it. Ids of up to 24 bytes need no allocation. Names are ordered by their bytes.
pub type Name = CompactString;

/// An item's number, the same on every worker of a run. The worker that owns the item is `number % workers`.
pub type Item = u32;

/// A basket's number, the same on every worker of a run. The worker that owns the basket is `number % workers`.
pub type Basket = u32;

/// How many of one item a line holds; a line's sum saturates at `u32::MAX`.
pub type Quantity = u32;

/// Milliseconds since 1970, UTC; 0 where nobody knows when.
pub type Millis = u64;

/// A signed multiplicity, as differential dataflow counts.
pub type Diff = isize;

/// Where an event stands in the input. Events of one basket count in the order of their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition of the topic, or the number of the file.
    pub partition: u32,
    /// The offset in the partition, or the number of the record in the file, from 0.
    pub offset: u64,
    /// The place in the record, which may carry several events and lines, from 0.
    pub index: u32,
}

/// What one event says about one basket. `I` is the item: a [`Name`] on the way in, an [`Item`] once numbered.
///
/// A line keeps two quantities, each floored at 0: what is *in the cart* and what was *bought*. The line is an
/// interaction while either is above 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action<I> {
    /// So many more of the item are in the cart.
    Add(I, Quantity),
    /// So many fewer are in the cart; without a number, none is.
    Remove(I, Option<Quantity>),
    /// So many are in the cart now.
    Set(I, Quantity),
    /// So many more were bought; as many leave the cart, if they were in it.
    Purchase(I, Quantity),
    /// So many of the bought ones came back; without a number, all did.
    Refund(I, Option<Quantity>),
    /// The cart is empty now; what was bought stays.
    Clear,
    /// Everything in the cart was bought.
    Checkout,
    /// Everything that was bought came back.
    Cancel,
    /// The basket is to be forgotten: no line of it stays.
    Forget,
    /// Every basket in which the event's user was seen is to be forgotten.
    ForgetUser,
    /// So many are in the cart and so many were bought, whatever was before: a line as a snapshot has it. For recovery
    /// only; no shop says this.
    Hold(I, Quantity, Quantity),
}

impl<I> Action<I> {
    /// The item the action is about, if it is about one.
    pub fn item(&self) -> Option<&I> {
        match self {
            Action::Add(item, _)
            | Action::Remove(item, _)
            | Action::Set(item, _)
            | Action::Purchase(item, _)
            | Action::Refund(item, _)
            | Action::Hold(item, ..) => Some(item),
            Action::Clear | Action::Checkout | Action::Cancel | Action::Forget | Action::ForgetUser => None,
        }
    }

    /// The same action about `f(item)`.
    pub fn map_item<J>(self, f: impl FnOnce(I) -> J) -> Action<J> {
        match self {
            Action::Add(item, quantity) => Action::Add(f(item), quantity),
            Action::Remove(item, quantity) => Action::Remove(f(item), quantity),
            Action::Set(item, quantity) => Action::Set(f(item), quantity),
            Action::Purchase(item, quantity) => Action::Purchase(f(item), quantity),
            Action::Refund(item, quantity) => Action::Refund(f(item), quantity),
            Action::Clear => Action::Clear,
            Action::Checkout => Action::Checkout,
            Action::Cancel => Action::Cancel,
            Action::Forget => Action::Forget,
            Action::ForgetUser => Action::ForgetUser,
            Action::Hold(item, cart, bought) => Action::Hold(f(item), cart, bought),
        }
    }
}

/// One thing that happened in a shop, about at most one item. A record with many items is as many events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event<I = Name> {
    /// Where it stands in the input.
    pub position: Position,
    /// The basket it is about. Empty for [`Action::ForgetUser`] only.
    pub basket: Name,
    /// Whose basket it is, when the shop says.
    pub user: Option<Name>,
    /// When it happened, by the clock of its partition: no event there is before the one that it comes after. Matters
    /// where baskets are given up that nothing happens to ([`Params::basket_idle`](crate::Params::basket_idle)).
    pub time: Millis,
    /// What happened.
    pub action: Action<I>,
}

/// One entry of a neighbour list, as published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbour<I = Name> {
    /// The other item.
    pub item: I,
    /// Its similarity in units of the last published digit (`--score-digits`): 412 for 0.412 at 3 digits.
    /// An integer, so that lists can be compared and consolidated exactly. 0 when scores are off.
    pub score: i64,
    /// In how many baskets the two are together. 0 when scores are off.
    pub count: u32,
}

/// A neighbour list: at most k entries, the most similar first, ties by name.
pub type List = Vec<Neighbour>;
