//! Notes: what was odd about an event or a basket. It is no error, but somebody may want to know.

use crate::{Action, Event, Item, Millis, Name, Partition, Position};
use serde::{Deserialize, Serialize};

/// What was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteKind {
    /// A basket had no event for too long (`--basket-idle`).
    BasketExpired,
    /// A basket had events in more than one partition, so their order is undefined. Noted once per basket.
    SplitBasket,
    /// A new line of a full basket evicted the oldest (`--max-basket-items`).
    LineEvicted,
    /// An event changed nothing, such as the removal of an item that was never added.
    NoEffect,
}

/// Something odd about an event or a basket. `I` is the item: an [`Item`] inside the dataflow, a [`Name`] outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Note<I = Name> {
    /// What was odd.
    pub kind: NoteKind,
    /// The id of the basket.
    pub basket: Name,
    /// The evicted item, or the item that the event names.
    pub item: Option<I>,
    /// Why it was noted.
    pub cause: NoteCause,
}

/// Why something was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteCause {
    /// The event at this position.
    Event(Position),
    /// The clock of this partition. The last event of the basket has this time.
    Idle {
        /// The partition.
        partition: Partition,
        /// The time of the basket's last event.
        last: Millis,
    },
    /// A snapshot was restored under a lower limit than it was taken with.
    Restore,
}

impl<I> Note<I> {
    /// The note that a basket expired.
    pub(crate) fn of_expired(basket: &Name, cause: NoteCause) -> Note<I> {
        Note { kind: NoteKind::BasketExpired, basket: basket.clone(), item: None, cause }
    }

    /// The note with `f(item)` in place of its item.
    pub fn map_item<J>(self, f: impl FnOnce(I) -> J) -> Note<J> {
        let Note { kind, basket, item, cause } = self;
        Note { kind, basket, item: item.map(f), cause }
    }
}

/// Something odd, as the ledger finds it.
pub(super) enum Oddity {
    /// The event changed nothing.
    NoEffect,
    /// The basket of the event has events in several partitions.
    SplitBasket,
    /// The event evicted this item.
    LineEvicted(Item),
    /// A basket expired.
    Expired(Box<ExpiredBasket>),
}

/// A basket that had no event for too long.
pub(super) struct ExpiredBasket {
    /// The id of the basket.
    pub(super) basket: Name,
    /// The partition whose clock it follows.
    pub(super) partition: Partition,
    /// The time of its last event.
    pub(super) last: Millis,
}

impl Oddity {
    /// The note of it. `event` is the event that is being applied. There is none at the end of an epoch, when baskets
    /// expire by the clock.
    pub(super) fn note(self, event: Option<&Event<Item>>) -> Note<Item> {
        let cause = match event {
            Some(event) if !matches!(event.action, Action::Restore(..)) => NoteCause::Event(event.position),
            _ => NoteCause::Restore,
        };
        let named = event.and_then(|event| event.action.item()).copied();
        let (kind, item) = match self {
            Oddity::NoEffect => (NoteKind::NoEffect, named),
            Oddity::SplitBasket => (NoteKind::SplitBasket, named),
            Oddity::LineEvicted(item) => (NoteKind::LineEvicted, Some(item)),
            Oddity::Expired(expired) => {
                let ExpiredBasket { basket, partition, last } = *expired;
                // An event of the basket's own partition finds it expired as the clock would. By the time of another
                // partition, the expiry is that event's doing.
                let is_by_clock = event.is_none_or(|event| event.position.partition == partition);
                let cause = if is_by_clock { NoteCause::Idle { partition, last } } else { cause };
                return Note::of_expired(&basket, cause);
            }
        };
        let basket = event.map(|event| event.basket.clone()).unwrap_or_default();
        Note { kind, basket, item, cause }
    }
}
