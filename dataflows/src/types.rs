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

/// A part of the input that has an order of its own: a partition of a topic, or a file. Ordered by stream, then by
/// number.
///
/// An input is one or more streams, numbered from 0, each of one or more partitions, numbered from 0. The two numbers
/// are packed into four bytes, because every basket and every event in flight has one.
///
/// ```
/// use deltacart_dataflows::Partition;
/// let partition = Partition::new(2, 7).unwrap();
/// assert_eq!((partition.stream(), partition.number()), (2, 7));
/// assert!(Partition::new(0, 9) < Partition::new(1, 0));
/// assert_eq!(Partition::new(0, Partition::NUMBER_MAX + 1), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u8, u32)", into = "(u8, u32)")]
pub struct Partition(u32);

impl Partition {
    /// The largest number of a partition in its stream. A broker has far fewer.
    pub const NUMBER_MAX: u32 = (1 << 24) - 1;

    /// How many streams an input has at most.
    pub const STREAMS_MAX: usize = 1 << 8;

    /// The partition `number` of `stream`; none if the number is larger than [`Partition::NUMBER_MAX`].
    pub const fn new(stream: u8, number: u32) -> Option<Partition> {
        if number > Partition::NUMBER_MAX {
            return None;
        }
        Some(Partition((stream as u32) << 24 | number))
    }

    /// The stream it belongs to.
    pub const fn stream(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// Its number in the stream.
    pub const fn number(self) -> u32 {
        self.0 & Partition::NUMBER_MAX
    }
}

impl From<Partition> for (u8, u32) {
    fn from(partition: Partition) -> (u8, u32) {
        (partition.stream(), partition.number())
    }
}

impl TryFrom<(u8, u32)> for Partition {
    type Error = String;

    fn try_from((stream, number): (u8, u32)) -> Result<Partition, String> {
        Partition::new(stream, number).ok_or_else(|| format!("there is no partition {number}"))
    }
}

/// Where an event stands in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
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
    Restore(I, Quantity, Quantity),
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
            | Action::Restore(item, ..) => Some(item),
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
            Action::Restore(item, cart, bought) => Action::Restore(f(item), cart, bought),
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

impl<I> Event<I> {
    /// What orders the events of one epoch: their time, then their position. Within a partition this is the order of
    /// the records, because the clock of a partition does not go back.
    pub fn order(&self) -> (Millis, Position) {
        (self.time, self.position)
    }
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
