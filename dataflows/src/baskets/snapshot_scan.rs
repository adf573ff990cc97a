//! A snapshot scan: all baskets of a worker are copied as they were at the end of one epoch, while later epochs run.
//!
//! ```text
//! numbers  0 ········ next ────────────────── end ····
//!            copied        still to be copied     not in use at the end of the epoch
//!                               │
//!          an event is about to change one of these: it is copied first, and the scan skips it later
//! ```
//!
//! [`snapshot_request`](super::snapshot_request) starts scans and advances them, the [`ledger`](super::ledger) copies.

use crate::{Action, Event, Item, LineTouch, Millis, Name, Partition, Position, Restored, Touch, Units};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// A basket as it was at the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasketCopy<I = Name> {
    /// Its id.
    pub basket: Name,
    /// The partition of its events.
    pub partition: Partition,
    /// The clock of that partition at the end of the epoch. 0 where neither expiry nor touches need it.
    pub clock: Millis,
    /// The time of its last event. 0 where baskets never expire.
    pub last: Millis,
    /// When it was last touched. None where touches are not tracked.
    pub touch: Option<Touch>,
    /// The users that had events of it, by name.
    pub users: Vec<Name>,
    /// Each item with what the basket holds of it, oldest line first.
    pub lines: Vec<(I, Units)>,
    /// When each of the lines was last touched. Empty where touches are not tracked, and where the order of the
    /// touches is that of the lines.
    pub touches: Vec<LineTouch>,
}

impl<I> BasketCopy<I> {
    /// The copy with `f(item)` in place of each item.
    pub(super) fn map_items<J>(self, mut f: impl FnMut(I) -> J) -> BasketCopy<J> {
        let BasketCopy { basket, partition, clock, last, touch, users, lines, touches } = self;
        let lines = lines.into_iter().map(|(item, units)| (f(item), units)).collect();
        BasketCopy { basket, partition, clock, last, touch, users, lines, touches }
    }
}

impl BasketCopy {
    /// The events that restore the basket. Baskets that are restored in one epoch need rising numbers.
    ///
    /// Their time is the clock of the basket's partition, so they set the clock to what it was.
    ///
    /// Each event restores a line and names a user. If there are more users than lines, the last line is restored again
    /// with each further user. A basket without lines has no events.
    pub fn into_events(self, number: u64) -> impl Iterator<Item = Event> {
        let BasketCopy { basket, partition, clock, last, touch, users, lines, touches } = self;
        let count = if lines.is_empty() { 0 } else { lines.len().max(users.len()) };
        (0..count).map(move |index| {
            let at = index.min(lines.len() - 1);
            let (item, units) = lines[at].clone();
            let line = touches.get(at).copied().unwrap_or_default();
            Event {
                position: Position { partition, offset: number, index: index as u32 },
                basket: basket.clone(),
                user: users.get(index).cloned(),
                time: clock,
                action: Action::Restore(item, Box::new(Restored { units, last, touch, line })),
            }
        })
    }
}

/// The progress of a scan.
#[derive(Default)]
pub(super) struct SnapshotScan {
    /// Numbers that the scan has not reached.
    remaining: Range<u32>,
    /// Those of them that are done: the basket was copied early, or there was none.
    done_early: HashSet<u32, RandomState>,
    /// Copies that have not been taken yet.
    copies: Vec<BasketCopy<Item>>,
    /// The work so far: lines, users and numbers.
    lines: usize,
    /// The clocks of partitions at the end of the epoch.
    clocks: BTreeMap<Partition, Millis>,
}

impl SnapshotScan {
    /// A scan of the numbers below `end`, at the end of an epoch with these clocks.
    pub(super) fn of(end: usize, clocks: BTreeMap<Partition, Millis>) -> SnapshotScan {
        SnapshotScan { remaining: 0..end as u32, clocks, ..SnapshotScan::default() }
    }

    /// The clock of a partition at the end of the epoch.
    pub(super) fn clock(&self, partition: Partition) -> Millis {
        self.clocks.get(&partition).copied().unwrap_or_default()
    }

    /// The next number to copy.
    pub(super) fn next(&mut self) -> Option<u32> {
        let done = &mut self.done_early;
        self.remaining.find(|number| done.is_empty() || !done.remove(number))
    }

    /// Marks a number as copied before the scan has reached it. Returns false if it needs no copy.
    pub(super) fn mark_copied(&mut self, number: u32) -> bool {
        self.remaining.contains(&number) && self.done_early.insert(number)
    }

    /// Adds the copy of a number, or that there is no basket.
    pub(super) fn add(&mut self, copy: Option<BasketCopy<Item>>) {
        // A number without a basket takes a little time, too.
        self.lines += 1 + copy.as_ref().map_or(0, |copy| copy.lines.len() + copy.users.len());
        self.copies.extend(copy);
    }

    /// The work so far, in lines.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Takes the copies that were made since the last call.
    pub(super) fn take_copies(&mut self) -> Vec<BasketCopy<Item>> {
        std::mem::take(&mut self.copies)
    }
}
