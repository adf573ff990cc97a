//! Tracking: when baskets and their lines were last touched, and which baskets changed in an epoch.
//!
//! ```text
//! an event changes a basket ─▶ touch ─▶ its touch, its place in recency, the list of changed baskets
//! a basket loses its lines  ─▶ gone  ─▶ its last state, at once, because its number may be reused
//! the epoch ends            ─▶ baskets that are not recent any more lose touches, states are emitted, lists emptied
//! ```
//!
//! Recency is a second use of [`Expiry`]: a basket leaves it when the clock of its partition passes its last touch by
//! [`Params::open_for`](crate::Params::open_for), and comes back when it is touched. So whether a basket is recent is a
//! function of its largest touch and of that clock.

use crate::baskets::basket_state::BasketState;
use crate::baskets::expiry::Expiry;
use crate::baskets::line_touches::LineTouches;
use crate::state_stats::bytes;
use crate::{Action, Event, Item, LineTouch, Millis, Partition, Touch};
use std::num::NonZeroU64;

/// What is tracked of one worker's baskets.
pub(super) struct Tracking {
    /// The baskets that are recent, and the clocks of partitions.
    pub(super) recency: Expiry,
    /// By the basket's local number.
    baskets: Vec<TrackedBasket>,
    /// Baskets that changed in this epoch, perhaps several times.
    changed: Vec<u32>,
    /// The last states of baskets that lost their lines in this epoch.
    gone: Vec<BasketState>,
}

/// What is tracked of one basket.
#[derive(Default)]
pub(super) struct TrackedBasket {
    /// The largest touch of the events that changed it.
    pub(super) touch: Touch,
    /// The touches of its lines.
    pub(super) lines: LineTouches,
}

impl Tracking {
    /// Nothing tracked yet. A basket is recent for so many milliseconds.
    pub(super) fn new(open_for: NonZeroU64) -> Tracking {
        let (baskets, changed, gone) = Default::default();
        Tracking { recency: Expiry::new(open_for), baskets, changed, gone }
    }

    /// What is tracked of a basket. Nothing before its first change.
    pub(super) fn get(&self, number: u32) -> Option<&TrackedBasket> {
        self.baskets.get(number as usize)
    }

    /// What is tracked of a basket that is about to change.
    pub(super) fn get_or_default(&mut self, number: u32) -> &mut TrackedBasket {
        let index = number as usize;
        if self.baskets.len() <= index {
            self.baskets.resize_with(index + 1, TrackedBasket::default);
        }
        &mut self.baskets[index]
    }

    /// An event changed a basket whose first event was in `partition`.
    pub(super) fn touch(&mut self, number: u32, partition: Partition, touch: Touch) {
        let basket = self.get_or_default(number);
        basket.touch = basket.touch.max(touch);
        let Touch { time, .. } = basket.touch;
        self.recency.record_event(number, partition, time);
        self.changed.push(number);
    }

    /// A basket lost its lines. This is its last state.
    pub(super) fn add_gone(&mut self, state: BasketState) {
        self.gone.push(state);
    }

    /// Drops what is tracked of a basket.
    pub(super) fn remove(&mut self, number: u32) {
        self.recency.remove(number);
        if let Some(basket) = self.baskets.get_mut(number as usize) {
            *basket = TrackedBasket::default();
        }
    }

    /// A basket that is recent no more, which must end being recent before the next call. None when there is no other.
    pub(super) fn next_past(&mut self) -> Option<u32> {
        self.recency.next_expired()
    }

    /// Settles a basket that is recent no more.
    pub(super) fn end_recent(&mut self, number: u32) {
        self.recency.remove(number);
        self.get_or_default(number).lines.end_recent();
        self.changed.push(number);
    }

    /// Whether a basket is recent, after all others have ended.
    pub(super) fn is_recent(&self, number: u32) -> bool {
        self.recency.has(number)
    }

    /// Takes the last states of the baskets that are gone, and the numbers of those that changed, rising.
    pub(super) fn take_changes(&mut self) -> (Vec<BasketState>, Vec<u32>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        (std::mem::take(&mut self.gone), changed)
    }

    /// Advances the clock of a partition.
    pub(super) fn advance_clock(&mut self, partition: Partition, time: Millis) {
        self.recency.advance_clock(partition, time);
    }

    /// The bytes that it has allocated, approximately.
    pub(super) fn bytes(&self) -> u64 {
        let lines: u64 = self.baskets.iter().map(|basket| basket.lines.bytes()).sum();
        self.recency.bytes() + bytes(&self.baskets) + lines
    }
}

/// What an event is to the basket and to the line that it changes: a touch, or those of a snapshot.
pub(super) fn touches_of(event: &Event<Item>) -> (Touch, LineTouch) {
    match &event.action {
        Action::Restore(_item, restored) => {
            let unknown = Touch { time: restored.last, ..Touch::default() };
            (restored.touch.unwrap_or(unknown), restored.line)
        }
        _ => (event.into(), LineTouch::At(event.into())),
    }
}
