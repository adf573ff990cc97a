//! The epoch writer of one worker: turns an epoch's updates into list changes, and these into records for the sink.
//!
//! ```text
//! updates ── by item ──▶ list changes ── encode ──▶ records ──▶ sink
//! ```

use super::Update;
use super::cadence::Changes;
use crate::output::consumer_state::{ConsumerRecord, ConsumerState, Correction};
use crate::output::{Envelope, ListChange, OutputOptions, Records, Sent, Sink, SinkError, encode};
use crate::summary::{Counter, Tally};
use crate::worker::FirstError;
use anyhow::anyhow;
use deltacart_dataflows::{Diff, Epoch, List, Name};
use differential_dataflow::consolidation::consolidate;
use std::cell::RefCell;
use std::collections::{HashMap, btree_map};
use std::rc::Rc;

/// How many bytes are encoded ahead of the sink when many lists are to be sent at once.
const ENCODED_BYTES: usize = 1 << 20;

/// Encodes the changes of one worker and hands them to its sink.
pub(crate) struct EpochWriter {
    /// `None` on workers that publish nothing.
    sink: Option<Box<dyn Sink>>,
    options: OutputOptions,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
    /// Added to an epoch to give the published one. A restart continues the epochs of the run before.
    base: Epoch,
    /// Changes that are still to be encoded.
    unencoded: Option<Unencoded>,
    /// The epoch that is being handed to the sink.
    open: Option<Epoch>,
    /// Its encoded records that the sink has not taken yet.
    records: Records,
    /// Scratch space: an epoch's updates in the order of their items.
    order: Vec<Place>,
    /// The sink's counts that have been added to `tally` already.
    counted: Sent,
}

/// Changes that may be too many to be encoded at once.
enum Unencoded {
    /// The difference to the consumer state.
    Difference(Correction),
    /// Changes that were held back, and their published epoch.
    Changes(Epoch, btree_map::IntoIter<Name, (List, List)>),
}

impl Unencoded {
    /// Encodes the next piece and returns how many lists it changes; `None` when nothing is left.
    fn encode_next(&mut self, options: &OutputOptions, records: &mut Records) -> Option<u64> {
        match self {
            Unencoded::Difference(correction) => correction.encode_next(records),
            Unencoded::Changes(epoch, changes) => {
                let (item, (before, after)) = changes.next()?;
                let already = records.len();
                encode(&ListChange { item, epoch: *epoch, before, after }, options, records);
                Some(u64::from(records.len() > already))
            }
        }
    }
}

/// The first eight bytes of an item's name, and the index of its update. The bytes decide most comparisons without a
/// look at the name.
type Place = (u64, u32);

/// Fills `order` with the places of the updates in the order of their items. An item has few updates, usually the
/// retracted and the inserted list, so lists need no order and are not compared.
fn sort_by_item(updates: &[Update], order: &mut Vec<Place>) {
    order.clear();
    order.extend((0..).zip(updates).map(|(index, ((item, _list), _epoch, _diff))| (prefix(item), index)));
    order.sort_unstable_by(|x, y| {
        let by_name = || item(updates, x).cmp(item(updates, y));
        x.0.cmp(&y.0).then_with(by_name).then(x.1.cmp(&y.1))
    });
}

fn item<'a>(updates: &'a [Update], place: &Place) -> &'a Name {
    &updates[place.1 as usize].0.0
}

/// The first eight bytes as a number that orders as they do. A shorter name is padded with zeros.
fn prefix(name: &Name) -> u64 {
    let mut first = [0; 8];
    let length = name.len().min(8);
    first[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

impl ListChange {
    fn put(&mut self, list: List, diff: Diff) {
        match diff {
            -1 => self.before = list,
            1 => self.after = list,
            _ => panic!("an item has one list"),
        }
    }
}

impl EpochWriter {
    pub(crate) fn new(
        sink: Option<Box<dyn Sink>>,
        options: OutputOptions,
        tally: Rc<RefCell<Tally>>,
        first_error: FirstError,
    ) -> Self {
        EpochWriter {
            sink,
            options,
            tally,
            first_error,
            base: 0,
            unencoded: None,
            open: None,
            records: Records::new(),
            order: Vec::new(),
            counted: Sent::default(),
        }
    }

    pub(crate) fn envelope(&self) -> Envelope {
        self.options.envelope
    }

    /// Applies a record of the output to the consumer state.
    pub(super) fn hold(&self, record: ConsumerRecord, consumer_state: &mut ConsumerState) {
        let home = self.sink.as_ref().and_then(|sink| sink.partition_of(record.key()));
        consumer_state.apply(record, home);
    }

    /// Whether another epoch may follow: the sink has taken all records of the one before.
    pub(super) fn has_room(&self) -> bool {
        self.open.is_none()
    }

    /// Encodes an epoch's updates in the order of their items. The records wait to be sent.
    pub(super) fn take(&mut self, epoch: Epoch, updates: &mut [Update]) {
        let (options, mut changed) = (self.options, 0);
        self.open = Some(epoch);
        let Some(epoch) = self.told(epoch) else { return };
        self.each_change(epoch, updates, &mut |change, records| {
            let before = records.len();
            encode(&change, &options, records);
            changed += u64::from(records.len() > before);
        });
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    /// Queues held-back changes as the next to be sent, in the order of their items.
    pub(super) fn take_changes(&mut self, epoch: Epoch, changes: Changes) {
        self.open = Some(epoch);
        let Some(epoch) = self.told(epoch) else { return };
        self.unencoded = Some(Unencoded::Changes(epoch, changes.into_iter()));
    }

    /// Queues the difference between the consumer state and the lists computed up to `epoch` as the next to be sent.
    pub(super) fn correct(
        &mut self,
        base: Epoch,
        epoch: Epoch,
        consumer_state: ConsumerState,
        computed: HashMap<Name, List>,
    ) {
        self.base = base;
        self.open = Some(epoch);
        let Some(epoch) = self.told(epoch) else { return };
        match Correction::new(consumer_state, computed, epoch, &self.options) {
            Ok(correction) => self.unencoded = Some(Unencoded::Difference(correction)),
            Err(error) => self
                .first_error
                .set(anyhow!(error).context("the output has a record that this job did not write")),
        }
    }

    /// The published epoch. Sets an error and returns `None` if it would overflow.
    fn told(&mut self, epoch: Epoch) -> Option<Epoch> {
        let told = self.base.checked_add(epoch);
        if told.is_none() {
            self.first_error
                .set(anyhow!("the output holds an epoch after which there is no other: {}", self.base));
        }
        told
    }

    /// Calls `each` with each item's change, in the order of items.
    pub(super) fn each_change(
        &mut self,
        epoch: Epoch,
        updates: &mut [Update],
        each: &mut dyn FnMut(ListChange, &mut Records),
    ) {
        sort_by_item(updates, &mut self.order);
        let mut rest = &self.order[..];
        while let Some(first) = rest.first() {
            let is_of_item =
                |place: &&Place| place.0 == first.0 && item(updates, place) == item(updates, first);
            let (of_item, others) = rest.split_at(rest.iter().take_while(is_of_item).count());
            rest = others;
            let item = item(updates, first).clone();
            let mut change = ListChange { item, epoch, before: List::new(), after: List::new() };
            let lists = of_item.iter().map(|&(_prefix, index)| {
                let ((_item, list), _epoch, diff) = &mut updates[index as usize];
                (std::mem::take(list), *diff)
            });
            if of_item.len() <= 2 {
                lists.for_each(|(list, diff)| change.put(list, diff));
            } else {
                let mut lists: Vec<(List, Diff)> = lists.collect();
                consolidate(&mut lists);
                lists.into_iter().for_each(|(list, diff)| change.put(list, diff));
            }
            if change.before != change.after {
                each(change, &mut self.records);
            }
        }
    }

    /// Continues delivery, and returns how many of the last epochs have not been delivered; `None` after a failure.
    pub(super) fn push(&mut self) -> Option<usize> {
        if self.first_error.is_some() {
            return None;
        }
        match self.try_push() {
            Ok(epochs) => {
                self.count();
                Some(epochs)
            }
            Err(error) => {
                self.first_error.set(error.into());
                None
            }
        }
    }

    fn try_push(&mut self) -> Result<usize, SinkError> {
        self.encode_more();
        let is_encoded = self.unencoded.is_none();
        let Some(sink) = &mut self.sink else {
            // Records never reach a worker without a sink, so an encoded epoch has nothing to send.
            self.open = self.open.filter(|_| !is_encoded || !self.records.is_empty());
            return Ok(usize::from(self.open.is_some()));
        };
        if !self.records.is_empty() {
            sink.send(&mut self.records)?;
        }
        if is_encoded
            && self.records.is_empty()
            && let Some(epoch) = self.open.take()
        {
            sink.close_epoch(epoch)?;
        }
        Ok(sink.poll()?.epochs + usize::from(self.open.is_some()))
    }

    /// Encodes more of the queued changes, if there is room.
    fn encode_more(&mut self) {
        let mut changed = 0;
        while let Some(unencoded) = &mut self.unencoded
            && self.records.bytes() < ENCODED_BYTES
        {
            match unencoded.encode_next(&self.options, &mut self.records) {
                Some(lists) => changed += lists,
                None => self.unencoded = None,
            }
        }
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    fn count(&mut self) {
        let Some(sink) = &self.sink else { return };
        let (sent, before) = (sink.sent(), std::mem::replace(&mut self.counted, sink.sent()));
        let mut tally = self.tally.borrow_mut();
        tally.add(Counter::RecordsOut, sent.records - before.records);
        tally.add(Counter::BytesOut, sent.bytes - before.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Envelope;
    use deltacart_dataflows::Neighbour;

    fn update(item: &str, other: &str, diff: Diff) -> Update {
        ((item.into(), vec![Neighbour { item: other.into(), score: 1, count: 1 }]), 7, diff)
    }

    #[test]
    fn an_epochs_records_are_ordered_by_item_and_what_cancels_is_none() {
        let options = OutputOptions { envelope: Envelope::Upsert, scores: true, score_digits: 3 };
        let mut epoch_writer = EpochWriter::new(None, options, Rc::default(), FirstError::default());
        let mut updates = [
            update("longer-than-eight-b", "x", 1),
            update("same", "x", -1),
            update("longer-than-eight-a", "x", 1),
            update("shared", "x", -1),
            update("short", "y", 1),
            update("same", "x", 1),
            update("shared", "y", 1),
            update("shared", "y", -1),
            update("short", "x", -1),
            update("shared", "z", 1),
        ];
        epoch_writer.take(7, &mut updates);
        let keys: Vec<&[u8]> = epoch_writer.records.iter().map(|record| record.key).collect();
        assert_eq!(keys, [&b"longer-than-eight-a"[..], b"longer-than-eight-b", b"shared", b"short"]);
        let shared =
            String::from_utf8_lossy(epoch_writer.records.iter().nth(2).unwrap().line.unwrap()).into_owned();
        assert!(shared.contains(r#""added":["z"],"removed":["x"]"#), "{shared}");
        assert_eq!(epoch_writer.tally.borrow().get(&Counter::ListsChanged), 4);
    }
}
