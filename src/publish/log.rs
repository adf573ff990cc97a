//! A log on one worker: each record is published once.
//!
//! ```text
//! records, by lane ──▶ those beyond the end of their lane ──▶ in the order of their places ──▶ encoded
//! the log, read back ──▶ the end of each lane
//! ```
//!
//! A *lane* is a part of the log whose records have an order that follows from the input alone, such as the notes of
//! one input partition. One worker publishes all records of a lane, in the order of their places and in transactions
//! that are committed one after the other. So a log that has a record has all records of its lane before it, whenever
//! and wherever the job was killed, and whatever the number of workers was.
//!
//! A job that resumes reads the log back, and remembers the last place of each lane. It computes records again, and
//! publishes those that lie beyond. That needs no catching up: the records of an epoch are published with the epoch,
//! as soon as the log has been read back.
//!
//! A log whose records depend on where epochs end cannot be computed again. Nothing of it is published until the job
//! has caught up ([`LogFormat::REPEATS`]).
//!
//! # Notes
//! With delivery at least once, the records of an epoch may reach the topic in any order. Then the last epoch of a
//! lane may be incomplete, and all of its records are published again.

use super::publisher::{EpochHold, Inbox, StreamPublisher};
use crate::output::{LogFormat, Mark, Records};
use anyhow::Result;
use deltacart_dataflows::Epoch;
use std::collections::{BTreeMap, btree_map};
use std::rc::Rc;
use timely::dataflow::operators::{Capability, InputCapability};

/// One worker's part of a log.
pub(super) struct Log<F: LogFormat> {
    format: Rc<F>,
    arrived: Inbox<F::Record>,
    marks: Inbox<Mark<F>>,
    waiting: BTreeMap<Epoch, Vec<F::Record>>,
    ends: Ends<F>,
    /// Whether the job reads again what an earlier run has read.
    is_catching_up: bool,
}

impl<F: LogFormat> Log<F> {
    /// A log of which nothing has been read back. `keeps_order` says whether records reach the log in the order in
    /// which they are published, and `resumes` whether it is read back at all.
    pub(super) fn new(
        format: Rc<F>,
        (arrived, marks): (Inbox<F::Record>, Inbox<Mark<F>>),
        keeps_order: bool,
        resumes: bool,
    ) -> Log<F> {
        let ends = Ends { keeps_order, lanes: BTreeMap::new() };
        Log { format, arrived, marks, waiting: BTreeMap::new(), ends, is_catching_up: resumes }
    }

    /// Whether a record is to be published.
    fn is_new(&self, lane: &F::Lane, place: &F::Place) -> bool {
        if F::REPEATS { self.ends.is_beyond(lane, place) } else { !self.is_catching_up }
    }
}

/// The ends of the lanes, as they were read back.
struct Ends<F: LogFormat> {
    keeps_order: bool,
    lanes: BTreeMap<F::Lane, End<F::Place>>,
}

/// The end of one lane.
struct End<P> {
    /// The last epoch of the lane, and its last place.
    epoch: Epoch,
    last: P,
    /// The last place of the epochs before that one.
    before: Option<P>,
}

impl<F: LogFormat> Ends<F> {
    /// Adds a record of the log. The records of a lane may come in any order.
    fn add(&mut self, (lane, epoch, place): Mark<F>) {
        let end = match self.lanes.entry(lane) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(End { epoch, last: place, before: None });
                return;
            }
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
        };
        if epoch > end.epoch {
            let last = std::mem::replace(&mut end.last, place);
            (end.epoch, end.before) = (epoch, end.before.take().max(Some(last)));
        } else if epoch == end.epoch {
            end.last = end.last.clone().max(place);
        } else {
            end.before = end.before.take().max(Some(place));
        }
    }

    /// Whether a place lies beyond the end of its lane.
    fn is_beyond(&self, lane: &F::Lane, place: &F::Place) -> bool {
        let Some(End { last, before, .. }) = self.lanes.get(lane) else { return true };
        if self.keeps_order { place > last } else { Some(place) > before.as_ref() }
    }
}

impl<F: LogFormat> StreamPublisher for Log<F> {
    fn receive(
        &mut self,
        _partition_of: &dyn Fn(&[u8]) -> Option<u32>,
        hold: &mut dyn FnMut(Epoch, &InputCapability<Epoch>),
    ) {
        let Log { arrived, marks, waiting, ends, .. } = self;
        arrived(&mut |capability, batch| {
            let Some(&epoch) = capability.least() else { return };
            let of_epoch = waiting.entry(epoch).or_insert_with(|| {
                hold(epoch, &capability);
                Vec::new()
            });
            of_epoch.append(batch);
        });
        marks(&mut |_capability, batch| batch.drain(..).for_each(|mark| ends.add(mark)));
    }

    fn is_catching_up(&self) -> bool {
        false
    }

    fn needs_room(&self, epoch: Epoch) -> bool {
        self.waiting.contains_key(&epoch)
    }

    fn take_epoch(&mut self, hold: &EpochHold, published: Epoch, records: &mut Records) -> bool {
        let Some(of_epoch) = self.waiting.remove(&hold.epoch()) else { return false };
        let with_places = of_epoch.iter().filter_map(|record| Some((self.format.place(record)?, record)));
        let mut beyond: Vec<_> =
            with_places.filter(|((lane, place), _record)| self.is_new(lane, place)).collect();
        beyond.sort_unstable_by(|x, y| x.0.cmp(&y.0));
        for (_place, record) in &beyond {
            self.format.encode(record, published, records);
        }
        !beyond.is_empty()
    }

    fn end_catching_up(&mut self, _published: Epoch) -> Result<()> {
        self.is_catching_up = false;
        Ok(())
    }

    fn release(
        &mut self,
        _base: Epoch,
        _is_last: bool,
        _has_room: bool,
    ) -> Option<(Epoch, Capability<Epoch>)> {
        None
    }

    fn encode_more(&mut self, _records: &mut Records, _bytes_max: usize) {}

    fn has_more(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records are pairs of a lane and a place.
    struct Pairs;

    impl LogFormat for Pairs {
        type Record = (u8, u8);
        type Lane = u8;
        type Place = u8;

        const REPEATS: bool = true;

        fn place(&self, record: &(u8, u8)) -> Option<(u8, u8)> {
            Some(*record)
        }

        fn route(lane: &u8) -> u64 {
            u64::from(*lane)
        }

        fn encode(&self, _record: &(u8, u8), _epoch: Epoch, _records: &mut Records) {}

        fn read(&self, _value: &[u8]) -> Result<(Epoch, Option<(u8, u8)>)> {
            anyhow::bail!("pairs are not read back from bytes")
        }
    }

    /// The places below 9 of a lane that lie beyond its end.
    fn beyond(keeps_order: bool, marks: &[Mark<Pairs>], lane: u8) -> Vec<u8> {
        let mut ends = Ends::<Pairs> { keeps_order, lanes: BTreeMap::new() };
        marks.iter().for_each(|mark| ends.add(*mark));
        (0..9).filter(|place| ends.is_beyond(&lane, place)).collect()
    }

    #[test]
    fn what_lies_beyond_the_end_of_its_lane_is_published() {
        let marks = [(0, 5, 3), (1, 7, 1), (0, 6, 5), (0, 6, 7), (0, 2, 1)];
        let mut reversed = marks;
        reversed.reverse();
        for marks in [marks, reversed] {
            assert_eq!(beyond(true, &marks, 0), [8]);
            assert_eq!(beyond(true, &marks, 1), [2, 3, 4, 5, 6, 7, 8]);
            // The last epoch of a lane may miss records before its last one.
            assert_eq!(beyond(false, &marks, 0), [4, 5, 6, 7, 8]);
            assert_eq!(beyond(false, &marks, 1).len(), 9, "all is of its last epoch");
        }
        assert_eq!(beyond(true, &marks, 2).len(), 9, "an empty lane");
    }
}
