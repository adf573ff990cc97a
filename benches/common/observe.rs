//! Observation of an engine's output. It is counted, and a check also keeps it, so that programs are compared before
//! their times count.
//!
//! A check is a separate run without a clock. It encodes each change as the job would (upsert records, keys and
//! values) and keeps every list. The fingerprint of the lists is the sum, modulo 2^64, of the 64-bit FNV-1a hashes of
//! their lines in the exchange format. It takes a few lines in any language, and does not depend on the order.

use deltacart::output::{Envelope, ListChange, OutputOptions, Records, RowKind, encode};
use deltacart_dataflows::{Diff, Epoch, EpochSession, Item, List, Name, Neighbour, PerEpoch};
use deltacart_testing::{FNV_START, fnv1a};
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{ExchangeData, VecCollection};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Inspect, Probe};

use super::workload::item_name;

/// The identity of an item in a list: a name or a number.
pub(crate) trait Id: ExchangeData {
    fn name(&self) -> Name;
}

impl Id for Name {
    fn name(&self) -> Name {
        self.clone()
    }
}

impl Id for Item {
    fn name(&self) -> Name {
        item_name(self.number())
    }
}

/// A collection of lists.
pub(crate) type Lists<'scope, I> = VecCollection<'scope, Epoch, (I, Vec<Neighbour<I>>), Diff>;

/// An update that adds or retracts a list.
type Update<I> = ((I, Vec<Neighbour<I>>), Epoch, Diff);

/// The observations.
#[derive(Default)]
pub(crate) struct Seen {
    /// Lists that were emitted, retractions not counted.
    pub(crate) lists_out: u64,
    /// Records that were encoded, and the bytes of their keys and values.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// If lists are kept, the sum, modulo 2^64, of the hashes of every change of every epoch.
    pub(crate) history: u64,
    /// If lists are kept, the current lists by the item's name.
    pub(crate) lists: BTreeMap<Name, List>,
}

/// How much is done with lists that are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Lists are counted.
    Count,
    /// Lists are encoded and counted, as the job does before it sends them.
    Encode,
    /// Lists are encoded, counted and kept.
    Keep,
}

/// Observes lists. The probe shows which epochs are complete.
pub(crate) fn observe<I: Id>(
    lists: Lists<'_, I>,
    watch: Watch,
    seen: &Rc<RefCell<Seen>>,
) -> ProbeHandle<Epoch> {
    let seen = Rc::clone(seen);
    if watch == Watch::Count {
        let count = move |(_list, _epoch, diff): &(_, Epoch, Diff)| {
            seen.borrow_mut().lists_out += u64::from(*diff > 0);
        };
        return lists.inner.inspect(count).probe().0;
    }
    let mut encoder = Encoder::default();
    let take = move |_epoch, updates: &mut Vec<_>, _session: &mut EpochSession<'_, '_, ()>| {
        let mut seen = seen.borrow_mut();
        encoder.take(updates, &mut |change, records, bytes| {
            seen.records += records;
            seen.bytes += bytes;
            seen.lists_out += u64::from(!change.after.is_empty());
            if watch == Watch::Keep {
                let hash = fnv1a(
                    FNV_START,
                    format!("{} {} {:?}", change.epoch, change.item, change.after).as_bytes(),
                );
                seen.history = seen.history.wrapping_add(hash);
            }
            match (watch, change.after.is_empty()) {
                (Watch::Keep, false) => drop(seen.lists.insert(change.item, change.after)),
                (Watch::Keep, true) => drop(seen.lists.remove(&change.item)),
                _ => {}
            }
        });
    };
    lists.inner.per_epoch_of(Some(|update| update.1), Pipeline, "Encode", take).probe().0
}

/// Encodes the updates of an epoch as records, as the job does.
#[derive(Default)]
pub(crate) struct Encoder {
    records: Records,
}

impl Encoder {
    /// Encodes updates. Calls `handed_over` with each change, the number of its records and their bytes, and then
    /// drops the records.
    pub(crate) fn take<I: Id>(
        &mut self,
        updates: &mut Vec<Update<I>>,
        handed_over: &mut dyn FnMut(ListChange, u64, u64),
    ) {
        consolidate_updates(updates);
        for of_item in updates.chunk_by_mut(|x, y| x.0.0 == y.0.0) {
            let ((item, _list), epoch, _diff) = &of_item[0];
            let mut change =
                ListChange { item: item.name(), epoch: *epoch, before: List::new(), after: List::new() };
            for ((_item, list), _epoch, diff) in of_item {
                let side = if *diff > 0 { &mut change.after } else { &mut change.before };
                *side = std::mem::take(list).into_iter().map(named).collect();
            }
            encode(&change, &UPSERT, &mut self.records);
            let (records, bytes) = (self.records.len() as u64, self.records.bytes() as u64);
            (0..records).for_each(|_record| self.records.pop());
            handed_over(change, records, bytes);
        }
    }
}

fn named<I: Id>(neighbour: Neighbour<I>) -> Neighbour {
    Neighbour { item: neighbour.item.name(), score: neighbour.score, count: neighbour.count }
}

/// The job's defaults.
const UPSERT: OutputOptions =
    OutputOptions { rows: RowKind::Item, envelope: Envelope::Upsert, scores: true, score_digits: 3 };

impl Seen {
    /// The lists in the exchange format, one line each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.lists.iter().map(|(item, list)| {
            let entries: Vec<String> = list
                .iter()
                .map(|neighbour| format!("{}:{}", number(&neighbour.item), neighbour.count))
                .collect();
            format!("{}\t{}", number(item), entries.join(" "))
        })
    }

    /// A hash of the lists: two programs with the same lists have the same fingerprint.
    pub(crate) fn fingerprint(&self) -> String {
        let sum = self.lines().fold(0u64, |sum, line| sum.wrapping_add(fnv1a(FNV_START, line.as_bytes())));
        format!("{sum:016x}")
    }
}

/// An item's number in plain digits.
fn number(name: &Name) -> &str {
    let digits = name.trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}
