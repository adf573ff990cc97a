//! The records that enter and leave the dataflow: events, their positions, and neighbour lists.
//!
//! Ids arrive as text ([`Name`]). Each gets a number once ([`Item`](crate::Item), [`Basket`](crate::Basket)), so that
//! the hot path moves and compares small integers. Published records have names again, and every tie is broken by name.

use crate::Item;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The timestamp of the dataflow. Epochs are slices of arrival, numbered from 0 at the start of the job.
pub type Epoch = u64;

/// An id as the shop wrote it. Ids of up to 24 bytes need no allocation. Names are ordered by their bytes.
pub type Name = CompactString;

/// Units of one item. Sums saturate at `u32::MAX`.
pub type Quantity = u32;

/// Milliseconds since 1970, UTC. 0 means that the time is unknown.
pub type Millis = u64;

/// A signed multiplicity, as differential dataflow counts.
pub type Diff = isize;

/// A part of the input whose records are in order: a partition of a topic, or a file.
///
/// Partitions are ordered by stream, then by number.
///
/// An input is one or more streams, and a stream is one or more partitions. Both are numbered from 0. The two numbers
/// share four bytes, because every basket and every event in flight has them.
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
    /// The largest number of a partition in its stream: 2^24 − 1.
    pub const NUMBER_MAX: u32 = (1 << 24) - 1;

    /// The most streams of an input.
    pub const STREAMS_MAX: usize = 1 << 8;

    /// The partition `number` of `stream`. None if the number is larger than [`Partition::NUMBER_MAX`].
    pub const fn new(stream: u8, number: u32) -> Option<Partition> {
        if number > Partition::NUMBER_MAX {
            return None;
        }
        Some(Partition((stream as u32) << 24 | number))
    }

    /// The stream that the partition belongs to.
    pub const fn stream(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The number of the partition in its stream.
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

/// The place of an event in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The offset in the partition, or the number of the record in the file, from 0.
    pub offset: u64,
    /// The place in the record, from 0. A record may carry several events and lines.
    pub index: u32,
}

/// What a basket holds of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Units {
    /// Units in the cart.
    pub cart: Quantity,
    /// Units bought.
    pub bought: Quantity,
    /// Whether the item was viewed.
    pub viewed: bool,
}

impl Units {
    /// Whether nothing of the item is left.
    ///
    /// ```
    /// use deltacart_dataflows::Units;
    /// assert!(Units::default().is_zero());
    /// assert!(!Units { viewed: true, ..Units::default() }.is_zero());
    /// ```
    pub fn is_zero(self) -> bool {
        self == Units::default()
    }
}

/// What an event does to one basket. `I` is the item: a [`Name`] in the input, an [`Item`](crate::Item) once numbered.
///
/// A line has two quantities, units *in the cart* and units *bought*, and may have been *viewed*. Neither quantity
/// falls below 0. Which of the three make the line an interaction is [`Evidence`](crate::Evidence).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action<I> {
    /// Views the item.
    View(I),
    /// Adds units of the item to the cart.
    Add(I, Quantity),
    /// Removes units from the cart. None removes all.
    Remove(I, Option<Quantity>),
    /// Sets the units in the cart.
    Set(I, Quantity),
    /// Adds units bought, and removes as many from the cart.
    Purchase(I, Quantity),
    /// Removes units bought. None removes all.
    Refund(I, Option<Quantity>),
    /// Empties the cart. Units bought stay.
    Clear,
    /// Moves all units in the cart to units bought.
    Checkout,
    /// Sets all units bought to 0.
    Cancel,
    /// Deletes all lines of the basket.
    Forget,
    /// Deletes all lines of every basket that had an event of this event's user.
    ForgetUser,
    /// Makes a line as a snapshot has it. For recovery only, no format of events has it.
    Restore(I, Box<Restored>),
}

/// A line and its basket as a snapshot has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Restored {
    /// What the basket holds of the item.
    pub units: Units,
    /// The time of the basket's last event. 0 where it is unknown.
    pub last: Millis,
    /// When the basket was last touched. None where touches were not tracked.
    pub touch: Option<Touch>,
    /// When the line was last touched.
    pub line: LineTouch,
}

impl<I> Action<I> {
    /// The item of the action, if it names one.
    ///
    /// ```
    /// use deltacart_dataflows::Action;
    /// assert_eq!(Action::Add("tea", 1).item(), Some(&"tea"));
    /// assert_eq!(Action::<&str>::Checkout.item(), None);
    /// ```
    pub fn item(&self) -> Option<&I> {
        match self {
            Action::View(item)
            | Action::Add(item, _)
            | Action::Remove(item, _)
            | Action::Set(item, _)
            | Action::Purchase(item, _)
            | Action::Refund(item, _)
            | Action::Restore(item, ..) => Some(item),
            Action::Clear | Action::Checkout | Action::Cancel | Action::Forget | Action::ForgetUser => None,
        }
    }

    /// The action with `f(item)` in place of its item.
    ///
    /// ```
    /// use deltacart_dataflows::Action;
    /// assert_eq!(Action::Set("7", 2).map_item(|item| item.parse().unwrap()), Action::Set(7, 2));
    /// ```
    pub fn map_item<J>(self, f: impl FnOnce(I) -> J) -> Action<J> {
        match self {
            Action::View(item) => Action::View(f(item)),
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
            Action::Restore(item, restored) => Action::Restore(f(item), restored),
        }
    }

    /// What the action makes of the units of a line that it concerns: those in the cart, and those bought.
    ///
    /// Sums saturate, and neither falls below 0.
    ///
    /// ```
    /// use deltacart_dataflows::Action;
    /// assert_eq!(Action::Add("tea", 2).quantities_after(1, 0), (3, 0));
    /// assert_eq!(Action::<&str>::Checkout.quantities_after(3, 1), (0, 4));
    /// ```
    pub fn quantities_after(&self, cart: Quantity, bought: Quantity) -> (Quantity, Quantity) {
        let fewer = |units: Quantity, by: Option<Quantity>| by.map_or(0, |by| units.saturating_sub(by));
        match *self {
            Action::Add(_, more) => (cart.saturating_add(more), bought),
            Action::Remove(_, by) => (fewer(cart, by), bought),
            Action::Set(_, cart) => (cart, bought),
            Action::Purchase(_, more) => (cart.saturating_sub(more), bought.saturating_add(more)),
            Action::Refund(_, by) => (cart, fewer(bought, by)),
            Action::Clear => (0, bought),
            Action::Checkout => (0, bought.saturating_add(cart)),
            Action::Cancel => (cart, 0),
            Action::Forget | Action::ForgetUser => (0, 0),
            Action::Restore(_, ref restored) => (restored.units.cart, restored.units.bought),
            Action::View(_) => (cart, bought),
        }
    }
}

/// One event of a shop, about at most one item. A record with many items is decoded to as many events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event<I = Name> {
    /// Its place in the input.
    pub position: Position,
    /// The id of the basket. Empty for [`Action::ForgetUser`] only.
    pub basket: Name,
    /// The id of the basket's user, if the record has one.
    pub user: Option<Name>,
    /// The time by the clock of its partition, which never goes back. Used for expiry
    /// ([`Params::basket_idle`](crate::Params::basket_idle)) and for touches ([`Touch`]).
    pub time: Millis,
    /// What happened.
    pub action: Action<I>,
}

impl<I> Event<I> {
    /// The sort key of the events of one epoch: time, then position. Within a partition this is the order of
    /// the records, because the clock of a partition never goes back.
    pub fn order(&self) -> (Millis, Position) {
        (self.time, self.position)
    }
}

/// When a basket or a line was last touched: the time and the place of the last event that changed it.
///
/// Touches are ordered by time, then offset, then partition, then index. So touches of different events differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Touch {
    /// The time of the event. 0 where it is unknown.
    pub time: Millis,
    /// Its offset in the partition.
    pub offset: u64,
    /// Its partition.
    pub partition: Partition,
    /// Its place in the record.
    pub index: u32,
}

impl<I> From<&Event<I>> for Touch {
    fn from(event: &Event<I>) -> Touch {
        let Position { partition, offset, index } = event.position;
        Touch { time: event.time, offset, partition, index }
    }
}

/// When a line was last touched, among the lines of its basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LineTouch {
    /// Before the basket stopped being recent: its rank among the lines touched then, the oldest first. Lines of equal
    /// rank are in the order in which they were added.
    Before(u32),
    /// By this event.
    At(Touch),
}

impl Default for LineTouch {
    fn default() -> LineTouch {
        LineTouch::Before(0)
    }
}

/// One entry of a neighbour list, as published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbour<I = Name> {
    /// The other item.
    pub item: I,
    /// The similarity in units of the last published digit (`--score-digits`): 412 for 0.412 at 3 digits.
    /// An integer, so that lists can be compared and consolidated exactly. 0 when scores are off.
    pub score: i64,
    /// The number of baskets that hold both items. 0 when scores are off.
    pub count: u32,
}

/// A neighbour list whose items are numbers. A row shares the list that it published with the updates that insert and
/// retract it, so an update costs no copy.
pub type NumberedList = Arc<[Neighbour<Item>]>;

/// A neighbour list: at most k entries, the most similar first, ties by name.
pub type List<I = Name> = Vec<Neighbour<I>>;
