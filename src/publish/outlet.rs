//! One worker's way out: an epoch's updates become changes by item, changes become records, and records are pushed on.

use super::Update;
use crate::output::held::{Correction, Held, HeldRecord};
use crate::output::{Envelope, ListChange, OutputOptions, Records, Sent, Sink, SinkError, encode};
use crate::summary::{Counter, Tally};
use crate::worker::Trouble;
use anyhow::anyhow;
use deltacart_dataflows::{Diff, Epoch, List, Name};
use differential_dataflow::consolidation::consolidate;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How much of a difference is encoded at a time.
const ENCODED_BYTES: usize = 1 << 20;

/// One worker's way out.
pub(crate) struct Outlet {
    /// None on workers that have nothing to publish.
    sink: Option<Box<dyn Sink>>,
    options: OutputOptions,
    tally: Rc<RefCell<Tally>>,
    trouble: Trouble,
    /// Added to an epoch to give the one that is told: epochs go on where those of the run before ended.
    base: Epoch,
    /// What is still to be encoded of the difference to what consumers hold.
    correction: Option<Correction>,
    /// Encoded, and not taken by the sink yet.
    records: Records,
    /// Records have been taken since the epoch before was closed.
    is_open: bool,
    /// Scratch: an epoch's updates in the order of their items.
    order: Vec<Place>,
    /// What the tally has of what was sent.
    counted: Sent,
}

/// Where an update is, behind the first bytes of its item's name: they decide most comparisons without a look at it.
type Place = (u64, u32);

/// Fills `order` with the places of updates in the order of their items. An item has few updates, mostly the list that
/// went and the one that came, so lists need no order and are not compared.
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

/// The first eight bytes, as a number that orders as they do.
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

impl Outlet {
    pub(crate) fn new(
        sink: Option<Box<dyn Sink>>,
        options: OutputOptions,
        tally: Rc<RefCell<Tally>>,
        trouble: Trouble,
    ) -> Self {
        Outlet {
            sink,
            options,
            tally,
            trouble,
            base: 0,
            correction: None,
            records: Records::new(),
            is_open: false,
            order: Vec::new(),
            counted: Sent::default(),
        }
    }

    pub(crate) fn envelope(&self) -> Envelope {
        self.options.envelope
    }

    /// Takes in what a record left with consumers.
    pub(super) fn hold(&self, record: HeldRecord, held: &mut Held) {
        let home = self.sink.as_ref().and_then(|sink| sink.partition_of(record.key()));
        held.apply(record, home);
    }

    /// Makes an epoch's updates records, in the order of their items; they wait to be sent.
    pub(super) fn take(&mut self, epoch: Epoch, updates: &mut [Update]) {
        let (options, mut changed) = (self.options, 0);
        let Some(epoch) = self.told(epoch) else { return };
        self.each_change(epoch, updates, &mut |change, records| {
            let before = records.len();
            encode(&change, &options, records);
            changed += u64::from(records.len() > before);
        });
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    /// Makes the difference between what consumers hold and what is computed up to `epoch` the next to be sent.
    pub(super) fn correct(&mut self, base: Epoch, epoch: Epoch, held: Held, computed: HashMap<Name, List>) {
        self.base = base;
        let Some(epoch) = self.told(epoch) else { return };
        match Correction::new(held, computed, epoch, &self.options) {
            Ok(correction) => self.correction = Some(correction),
            Err(error) => self
                .trouble
                .set(anyhow!(error).context("the output has a record that this job did not write")),
        }
    }

    /// The epoch that records tell.
    fn told(&mut self, epoch: Epoch) -> Option<Epoch> {
        let told = self.base.checked_add(epoch);
        if told.is_none() {
            self.trouble
                .set(anyhow!("the output holds an epoch after which there is no other: {}", self.base));
        }
        told
    }

    /// Hands each item's change to `each`, in the order of items.
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

    /// Pushes the epoch on; true when all its records have arrived. After a failure nothing ever arrives.
    pub(super) fn has_arrived(&mut self, epoch: Epoch) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        match self.push(epoch) {
            Ok(arrived) => {
                self.count();
                arrived
            }
            Err(error) => {
                self.trouble.set(error.into());
                false
            }
        }
    }

    fn push(&mut self, epoch: Epoch) -> Result<bool, SinkError> {
        self.encode_more();
        let Some(sink) = &mut self.sink else { return Ok(self.records.is_empty()) };
        if !self.records.is_empty() {
            self.is_open = true;
            sink.send(&mut self.records)?;
        }
        if !self.records.is_empty() || self.correction.is_some() {
            sink.poll()?;
            return Ok(false);
        }
        if std::mem::take(&mut self.is_open) {
            sink.close_epoch(epoch)?;
        }
        Ok(sink.poll()? == 0)
    }

    /// Encodes more of the difference, if there is room.
    fn encode_more(&mut self) {
        let mut changed = 0;
        while let Some(correction) = &mut self.correction
            && self.records.bytes() < ENCODED_BYTES
        {
            match correction.encode_next(&mut self.records) {
                Some(lists) => changed += lists,
                None => self.correction = None,
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
        let mut outlet = Outlet::new(None, options, Rc::default(), Trouble::default());
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
        outlet.take(7, &mut updates);
        let keys: Vec<&[u8]> = outlet.records.iter().map(|record| record.key).collect();
        assert_eq!(keys, [&b"longer-than-eight-a"[..], b"longer-than-eight-b", b"shared", b"short"]);
        let shared =
            String::from_utf8_lossy(outlet.records.iter().nth(2).unwrap().line.unwrap()).into_owned();
        assert!(shared.contains(r#""added":["z"],"removed":["x"]"#), "{shared}");
        assert_eq!(outlet.tally.borrow().get(&Counter::ListsChanged), 4);
    }
}
