//! Lists to records: an epoch's changes leave the job, and the epoch is done when they have arrived.
//!
//! The operator holds an epoch open until the sink says that all its records have arrived. So a probe behind it tells
//! what is out: that is what bounds the work ahead, and what input offsets may be committed for.
//!
//! # Notes
//! One epoch is on its way at a time, in order, as a transaction will be. Delivery is at least once.

use crate::output::{ListChange, OutputOptions, Records, Sent, Sink, SinkError, encode};
use crate::summary::{Counter, Tally};
use crate::worker::Trouble;
use deltacart_dataflows::{Diff, Epoch, List, Name};
use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, generic::Operator};

/// Whose hands lists leave the job through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The worker that has them: for topics, which have no order between items.
    Each,
    /// Worker 0, in the order of epochs and items: for files, which are to be the same whatever the workers.
    First,
}

/// How long to wait before asking again what has arrived.
const POLL: Duration = Duration::from_millis(1);

/// What an emptied buffer keeps for the next epoch; one large epoch must not hold its memory for ever.
const SPARE_UPDATES_MAX: usize = 1 << 16;

/// One worker's way out.
pub(crate) struct Outlet {
    /// None on workers that have nothing to publish.
    sink: Option<Box<dyn Sink>>,
    options: OutputOptions,
    tally: Rc<RefCell<Tally>>,
    trouble: Trouble,
    /// Encoded, and not taken by the sink yet.
    records: Records,
    /// Scratch: an epoch's updates in the order of their items.
    order: Vec<Place>,
    /// What the tally has of what was sent.
    counted: Sent,
}

/// Where an update is, behind the first bytes of its item's name: they decide most comparisons without a look at it.
type Place = (u64, u32);

/// What is sent on: only that epochs are out.
type Nothing = CapacityContainerBuilder<Vec<()>>;

/// A list that went or came.
type Update = ((Name, List), Epoch, Diff);

/// Publishes every change of the lists. When the stream returned passes an epoch, the epoch is out.
pub(crate) fn publish<'scope>(
    lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    publisher: Publisher,
    mut outlet: Outlet,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = lists.scope();
    let index = scope.index() as u64;
    let route = Exchange::new(move |_update: &Update| match publisher {
        Publisher::Each => index,
        Publisher::First => 0,
    });
    lists.inner.unary_frontier::<Nothing, _, _, _>(route, "Publish", move |_capability, info| {
        let activator = scope.activator_for(info.address);
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<Update>)> = BTreeMap::new();
        let mut under_way: Option<Capability<Epoch>> = None;
        let mut spare: Vec<Update> = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, updates: &mut Vec<Update>| {
                // A message may hold updates of several epochs, none of them before its own.
                for update in updates.drain(..) {
                    let hold =
                        || (capability.delayed(&update.1, output.output_index()), std::mem::take(&mut spare));
                    waiting.entry(update.1).or_insert_with(hold).1.push(update);
                }
            });
            loop {
                if let Some(capability) = &under_way {
                    if !outlet.has_arrived(*capability.time()) {
                        activator.activate_after(POLL);
                        return;
                    }
                    under_way = None;
                }
                match waiting.first_entry() {
                    Some(entry) if !frontier.less_equal(entry.key()) => {
                        let (capability, mut updates) = entry.remove();
                        outlet.take(*capability.time(), &mut updates);
                        under_way = Some(capability);
                        updates.clear();
                        updates.shrink_to(SPARE_UPDATES_MAX);
                        spare = updates;
                    }
                    _ => return,
                }
            }
        }
    })
}

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
        let (records, order) = (Records::new(), Vec::new());
        Outlet { sink, options, tally, trouble, records, order, counted: Sent::default() }
    }

    /// Makes an epoch's updates records, in the order of their items; they wait to be sent.
    fn take(&mut self, epoch: Epoch, updates: &mut [Update]) {
        sort_by_item(updates, &mut self.order);
        let mut changed = 0;
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
            let before = self.records.len();
            encode(&change, &self.options, &mut self.records);
            changed += u64::from(self.records.len() > before);
        }
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    /// Pushes the epoch on; true when all its records have arrived. After a failure nothing ever arrives.
    fn has_arrived(&mut self, epoch: Epoch) -> bool {
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
        let Some(sink) = &mut self.sink else { return Ok(self.records.is_empty()) };
        if !self.records.is_empty() {
            sink.send(&mut self.records)?;
            if !self.records.is_empty() {
                sink.poll()?;
                return Ok(false);
            }
            sink.close_epoch(epoch)?;
        }
        Ok(sink.poll()? == 0)
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
