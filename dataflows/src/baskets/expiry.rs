//! Which baskets nothing has happened to for too long (`--basket-idle`), by the clocks of the partitions.
//!
//! ```text
//! clock of a partition   the largest time of its events so far
//! a basket is over       when the clock of its partition is at its last event + idle, or later
//! ```
//!
//! A basket that is over gives its lines back at the end of the epoch; an event that finds its basket over by its own
//! time begins a new one, so it does not matter where epochs end. Partitions have clocks of their own, so it does not
//! matter how fast they are read either: what the baskets hold is a function of each partition's events.
//!
//! # Notes
//! A queue has each basket once, at a time that it had an event at. What comes later is noted, and looked at when the
//! basket's turn comes: an event costs no search, and a basket a few of them in all the time that it is idle for.

use crate::sizes::bytes;
use crate::{Millis, Partition};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

/// The clocks, and the baskets of one worker by the time of their last events.
pub(super) struct Expiry {
    idle: NonZeroU64,
    clocks: BTreeMap<Partition, Millis>,
    /// Partitions whose clock has moved since baskets were looked for last.
    moved: BTreeSet<Partition>,
    /// By the basket's number.
    last: Vec<Option<Last>>,
    queue: BTreeSet<(Partition, Millis, u32)>,
}

/// The last event of a basket.
#[derive(Clone, Copy)]
struct Last {
    time: Millis,
    /// Where the basket stands in the queue.
    partition: Partition,
    queued: Millis,
}

impl Expiry {
    pub(super) fn new(idle: NonZeroU64) -> Expiry {
        let (clocks, moved, last, queue) = Default::default();
        Expiry { idle, clocks, moved, last, queue }
    }

    /// A partition has come to this time.
    pub(super) fn tick(&mut self, partition: Partition, time: Millis) {
        let clock = self.clocks.entry(partition).or_default();
        if *clock < time {
            *clock = time;
            self.moved.insert(partition);
        }
    }

    /// Something happened to a basket at this time. What happens first says whose clock it goes by.
    pub(super) fn touch(&mut self, number: u32, partition: Partition, time: Millis) {
        let index = number as usize;
        if self.last.len() <= index {
            self.last.resize(index + 1, None);
        }
        match &mut self.last[index] {
            Some(last) => last.time = last.time.max(time),
            none => {
                *none = Some(Last { time, partition, queued: time });
                self.queue.insert((partition, time, number));
            }
        }
    }

    /// The time of the basket's last event.
    pub(super) fn last(&self, number: u32) -> Millis {
        self.last[number as usize].map_or(0, |last| last.time)
    }

    /// Whether the basket is over at this time.
    pub(super) fn is_over(&self, number: u32, time: Millis) -> bool {
        is_over(self.last(number), self.idle, time)
    }

    /// The basket is given up.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(Last { partition, queued, .. }) = self.last[number as usize].take() {
            self.queue.remove(&(partition, queued, number));
        }
    }

    /// A basket that is over, to be given up before this is called again; none is left when there is none.
    pub(super) fn next_over(&mut self) -> Option<u32> {
        while let Some(&partition) = self.moved.first() {
            let clock = self.clocks[&partition];
            let first = self.queue.range((partition, 0, 0)..=(partition, clock, u32::MAX)).next().copied();
            let Some(entry @ (_, _, number)) = first.filter(|entry| is_over(entry.1, self.idle, clock))
            else {
                self.moved.pop_first();
                continue;
            };
            let last = self.last[number as usize].as_mut().expect("what is in the queue has had an event");
            if is_over(last.time, self.idle, clock) {
                return Some(number);
            }
            last.queued = last.time;
            self.queue.remove(&entry);
            self.queue.insert((partition, last.queued, number));
        }
        None
    }

    /// The bytes it has allocated, about.
    pub(super) fn bytes(&self) -> u64 {
        // A tree is two thirds full, or thereabouts.
        bytes(&self.last) + (self.queue.len() * size_of::<(Partition, Millis, u32)>() * 3 / 2) as u64
    }
}

/// Whether a basket with this last event is over at this time.
fn is_over(last: Millis, idle: NonZeroU64, time: Millis) -> bool {
    last.saturating_add(idle.get()) <= time
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Partition = Partition::new(0, 0).unwrap();
    const OTHER: Partition = Partition::new(3, 0).unwrap();

    fn over(expiry: &mut Expiry) -> Vec<u32> {
        let mut over: Vec<u32> =
            std::iter::from_fn(|| expiry.next_over().inspect(|&number| expiry.remove(number))).collect();
        over.sort_unstable();
        over
    }

    #[test]
    fn each_by_the_clock_of_its_partition() {
        let mut expiry = Expiry::new(NonZeroU64::new(10).unwrap());
        for (number, partition, time) in
            [(0, FIRST, 5), (1, FIRST, 5), (2, OTHER, 5), (1, FIRST, 9), (3, FIRST, 2)]
        {
            expiry.touch(number, partition, time);
        }
        expiry.tick(FIRST, 11);
        assert_eq!(over(&mut expiry), []);
        expiry.tick(FIRST, 15);
        assert_eq!(over(&mut expiry), [0, 3]);
        assert!(expiry.is_over(1, 19) && !expiry.is_over(1, 18));
        expiry.tick(FIRST, 3);
        assert_eq!(over(&mut expiry), [], "a clock does not go back");
        expiry.tick(FIRST, 1_000);
        expiry.touch(1, OTHER, 995);
        assert_eq!(over(&mut expiry), []);
        expiry.tick(OTHER, 15);
        expiry.tick(FIRST, 1_005);
        assert_eq!(over(&mut expiry), [1, 2]);
        assert!(expiry.queue.is_empty() && expiry.last.iter().all(Option::is_none));
    }
}
