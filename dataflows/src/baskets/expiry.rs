//! Expiry: which baskets had no event for too long, by the clocks of their partitions. Used for `--basket-idle`, and a
//! second time for the baskets that are recent ([`tracking`](super::tracking)).
//!
//! ```text
//! clock of a partition   the largest time of its events so far
//! a basket expires       when the clock of its partition reaches the time of its last event + idle
//! ```
//!
//! An expired basket loses its lines at the end of the epoch. An event that finds its basket expired by the
//! event's own time starts a new basket. So expiry does not depend on where epochs end. Each partition has
//! its own clock, so it does not depend on how fast partitions are read either.
//!
//! # Example
//! With an idle time of 10 minutes:
//!
//! ```text
//! 12:00  add to basket b      the queue has b at 12:00
//! 12:07  add to basket b      the last event is at 12:07; the queue stays
//! 12:10  any event            b comes to the front, is not expired, and is queued again at 12:07
//! 12:17  any event            b comes to the front, and is expired
//! ```
//!
//! Time 0 means unknown. Events have it before the first known time of their partition. Their baskets get that
//! first time once it is known.
//!
//! # Notes
//! A queue has each basket once, by the time of one of its events. Later events do not move it: the queue entry is
//! corrected when it comes to the front. So an event costs no search, and a basket a few searches per idle time.

use crate::state_stats::bytes;
use crate::{Millis, Partition};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

/// The clocks of all partitions, and the last events of one worker's baskets.
pub(super) struct Expiry {
    /// The time without an event after which a basket expires.
    idle: NonZeroU64,
    /// The largest time of each partition.
    clocks: BTreeMap<Partition, Millis>,
    /// Partitions whose clock has advanced, or which have another basket, and whose queue was not checked since.
    unchecked: BTreeSet<Partition>,
    /// By the basket's local number.
    last: Vec<Option<LastEvent>>,
    /// Baskets by partition, and by the time of one of their events.
    queue: BTreeSet<(Partition, Millis, u32)>,
}

/// The last event of a basket.
#[derive(Clone, Copy)]
struct LastEvent {
    /// The time of the event.
    time: Millis,
    /// The partition whose clock the basket follows.
    partition: Partition,
    /// The time of the basket's queue entry.
    queued: Millis,
}

impl Expiry {
    /// No clocks and no baskets.
    pub(super) fn new(idle: NonZeroU64) -> Expiry {
        let (clocks, unchecked, last, queue) = Default::default();
        Expiry { idle, clocks, unchecked, last, queue }
    }

    /// Gives the first known time of a partition to its baskets whose events have none. A later call finds none.
    pub(super) fn set_first_time(&mut self, partition: Partition, time: Millis) {
        let untimed = (partition, 0, 0)..=(partition, 0, u32::MAX);
        let numbers: Vec<u32> = self.queue.range(untimed).map(|&(_, _, number)| number).collect();
        for number in numbers {
            let last = self.last[number as usize].as_mut().expect("a basket in the queue has had an event");
            if last.time == 0 {
                last.time = time;
            }
            last.queued = last.time;
            self.queue.remove(&(partition, 0, number));
            self.queue.insert((partition, last.queued, number));
        }
    }

    /// Advances the clock of a partition to this time. An earlier time changes nothing.
    pub(super) fn advance_clock(&mut self, partition: Partition, time: Millis) {
        let clock = self.clocks.entry(partition).or_default();
        if *clock < time {
            *clock = time;
            self.unchecked.insert(partition);
        }
    }

    /// Records an event of a basket. The first event decides which partition's clock the basket follows.
    pub(super) fn record_event(&mut self, number: u32, partition: Partition, time: Millis) {
        let index = number as usize;
        if self.last.len() <= index {
            self.last.resize(index + 1, None);
        }
        match &mut self.last[index] {
            Some(last) => last.time = last.time.max(time),
            none => {
                *none = Some(LastEvent { time, partition, queued: time });
                self.queue.insert((partition, time, number));
                // An event of another partition may have been so slow that the clock has passed it.
                self.unchecked.insert(partition);
            }
        }
    }

    /// The largest time of a partition so far; 0 when it is unknown.
    fn clock(&self, partition: Partition) -> Millis {
        self.clocks.get(&partition).copied().unwrap_or_default()
    }

    /// The clocks of all partitions.
    pub(super) fn clocks(&self) -> &BTreeMap<Partition, Millis> {
        &self.clocks
    }

    /// Whether the basket has had an event and was not removed since.
    pub(super) fn has(&self, number: u32) -> bool {
        self.last.get(number as usize).is_some_and(Option::is_some)
    }

    /// The time of the basket's last event.
    pub(super) fn last(&self, number: u32) -> Millis {
        self.last[number as usize].map_or(0, |last| last.time)
    }

    /// The partition whose clock the basket follows.
    pub(super) fn partition(&self, number: u32) -> Partition {
        self.last[number as usize].map_or_else(Partition::default, |last| last.partition)
    }

    /// Whether the basket is expired at this time. Never, while the time of its last event is unknown.
    pub(super) fn is_expired(&self, number: u32, time: Millis) -> bool {
        let last = self.last(number);
        last > 0 && is_expired(last, self.idle, time)
    }

    /// Removes a basket.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(LastEvent { partition, queued, .. }) =
            self.last.get_mut(number as usize).and_then(Option::take)
        {
            self.queue.remove(&(partition, queued, number));
        }
    }

    /// An expired basket, which must be removed before the next call. None when no basket is expired.
    pub(super) fn next_expired(&mut self) -> Option<u32> {
        while let Some(&partition) = self.unchecked.first() {
            let clock = self.clock(partition);
            let first = self.queue.range((partition, 0, 0)..=(partition, clock, u32::MAX)).next().copied();
            let Some(entry @ (_, _, number)) = first.filter(|entry| is_expired(entry.1, self.idle, clock))
            else {
                self.unchecked.pop_first();
                continue;
            };
            let last = self.last[number as usize].as_mut().expect("a queued basket has had an event");
            if is_expired(last.time, self.idle, clock) {
                return Some(number);
            }
            last.queued = last.time;
            self.queue.remove(&entry);
            self.queue.insert((partition, last.queued, number));
        }
        None
    }

    /// The bytes that it has allocated, approximately.
    pub(super) fn bytes(&self) -> u64 {
        // The nodes of a B-tree are about two thirds full.
        bytes(&self.last) + (self.queue.len() * size_of::<(Partition, Millis, u32)>() * 3 / 2) as u64
    }
}

/// Whether a basket with this last event is expired at this time.
fn is_expired(last: Millis, idle: NonZeroU64, time: Millis) -> bool {
    last.saturating_add(idle.get()) <= time
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Partition = Partition::new(0, 0).unwrap();
    const OTHER: Partition = Partition::new(3, 0).unwrap();

    fn expired(expiry: &mut Expiry) -> Vec<u32> {
        let mut expired: Vec<u32> =
            std::iter::from_fn(|| expiry.next_expired().inspect(|&number| expiry.remove(number))).collect();
        expired.sort_unstable();
        expired
    }

    #[test]
    fn a_basket_expires_by_the_clock_of_its_partition() {
        let mut expiry = Expiry::new(NonZeroU64::new(10).unwrap());
        for (number, partition, time) in
            [(0, FIRST, 5), (1, FIRST, 5), (2, OTHER, 5), (1, FIRST, 9), (3, FIRST, 2)]
        {
            expiry.record_event(number, partition, time);
        }
        expiry.advance_clock(FIRST, 11);
        assert!(expired(&mut expiry).is_empty());
        expiry.advance_clock(FIRST, 15);
        assert_eq!(expired(&mut expiry), [0, 3]);
        assert!(expiry.is_expired(1, 19) && !expiry.is_expired(1, 18));
        expiry.advance_clock(FIRST, 3);
        assert!(expired(&mut expiry).is_empty(), "a clock does not go back");
        expiry.advance_clock(FIRST, 1_000);
        expiry.record_event(1, OTHER, 995);
        assert!(expired(&mut expiry).is_empty());
        expiry.advance_clock(OTHER, 15);
        expiry.advance_clock(FIRST, 1_005);
        assert_eq!(expired(&mut expiry), [1, 2]);
        assert!(expiry.queue.is_empty() && expiry.last.iter().all(Option::is_none));
    }

    #[test]
    fn a_basket_of_unknown_time_gets_the_first_time_of_its_partition() {
        let mut expiry = Expiry::new(NonZeroU64::new(10).unwrap());
        for (number, partition, time) in [(0, FIRST, 0), (1, FIRST, 0), (2, OTHER, 0), (1, OTHER, 7)] {
            expiry.record_event(number, partition, time);
        }
        assert!(!expiry.is_expired(0, 1_000), "the time of its last event is unknown");
        expiry.set_first_time(FIRST, 100);
        expiry.set_first_time(FIRST, 105);
        expiry.advance_clock(FIRST, 109);
        assert_eq!(expired(&mut expiry), [1], "it has the time of the other partition");
        assert!(!expiry.is_expired(0, 109) && expiry.is_expired(0, 110));
        expiry.advance_clock(FIRST, 110);
        assert_eq!(expired(&mut expiry), [0]);
        assert_eq!(expiry.queue.len(), 1);
    }
}
