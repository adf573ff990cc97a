//! What consumers hold of an earlier run, and the records that bring them from there to what is computed now.
//!
//! ```text
//! records of the topic ─▶ read_consumer_record ─▶ ConsumerRecord ──to the worker that will publish──▶ ConsumerState ─┐
//!                                                                        computed lists ─────┴─▶ Correction ─▶ records
//! ```
//!
//! A consumer of a topic holds the last value of each key, so that is what is kept here, whatever its envelope. Keys
//! whose value is of another envelope than the job's are *stale*: they are forgotten by a tombstone, unless the new
//! envelope writes the same key anyway, and all lists are told anew. A file has no keys: there a record gets the one
//! that it would have in a topic.
//!
//! A key *strays* where its value lies in another partition than the one its records go to now: the topic had fewer
//! partitions when it was written. Who reads that partition alone would hold it for ever, so it gets a tombstone there,
//! and what is computed is published to where the key belongs, in one transaction.
//!
//! # Notes
//! Most records are not the last of their key, so only their heads are read: a list is when it is known to be the last.
//!
//! Scores are compared in units of the ninth digit, whatever `--score-digits` was and is; a neighbour without one has
//! [`UNSCORED`]. So a list that looks different in any way is published, and no other.

use super::encode::{UNKNOWN, UNSCORED, push_pair_key};
use super::parsed_record::{self, ParsedRecord, What};
use super::{Decimal, Entry, Envelope, FoldError, ListChange, OutputOptions, Records, encode};
use deltacart_dataflows::{Epoch, List, Name, Neighbour, route};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::vec;

/// What one record leaves under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsumerRecord {
    /// Where it was read.
    partition: u32,
    key: Vec<u8>,
    /// None when the key is to be forgotten.
    value: Option<ConsumerValue>,
}

impl ConsumerRecord {
    /// Its key in a topic.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ConsumerValue {
    envelope: Envelope,
    json: Vec<u8>,
}

/// Reads one record: from a topic with its key, a missing value being a tombstone; or a line of a file, without key.
/// Also says its epoch, which a tombstone has not.
pub(crate) fn read_consumer_record(
    partition: u32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(ConsumerRecord, Option<Epoch>), FoldError> {
    let Some(value) = value else {
        let key = key.ok_or(FoldError::Shape("neither key nor value"))?.to_vec();
        return Ok((ConsumerRecord { partition, key, value: None }, None));
    };
    let ParsedRecord { envelope, item, epoch, what } = parsed_record::glance(value)?;
    let (own_key, stays) = match what {
        What::List(_) => (item.as_bytes().to_vec(), true),
        What::Leave(other) => (pair_key(&item, &other), false),
        What::Pair(entry) => (pair_key(&item, &entry.item), true),
    };
    if key.is_some_and(|key| key != own_key) {
        return Err(FoldError::Shape("its key does not belong to its value"));
    }
    let value = stays.then(|| ConsumerValue { envelope, json: value.to_vec() });
    Ok((ConsumerRecord { partition, key: own_key, value }, Some(epoch)))
}

/// The envelope of one record; `None` for a tombstone.
pub(crate) fn envelope_of(record: &ConsumerRecord) -> Option<Envelope> {
    record.value.as_ref().map(|value| value.envelope)
}

/// Which worker a record concerns, modulo their number: the one that publishes what `envelope` writes under its key.
pub(crate) fn route_consumer_record(record: &ConsumerRecord, envelope: Envelope) -> u64 {
    route(&item_of(&record.key, envelope))
}

/// Whose list `envelope` writes under a key.
fn item_of(key: &[u8], envelope: Envelope) -> Name {
    let pair = match envelope {
        Envelope::Changes => serde_json::from_slice::<(Name, Name)>(key).ok(),
        Envelope::Upsert | Envelope::Debezium => None,
    };
    pair.map_or_else(|| String::from_utf8_lossy(key).as_ref().into(), |(item, _other)| item)
}

fn neighbour(entry: Entry) -> Neighbour {
    let score = entry.score.map_or(UNSCORED, Decimal::units);
    Neighbour { item: entry.item, score, count: entry.count.unwrap_or(0) }
}

fn pair_key(item: &str, other: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(item.len() + other.len() + 7);
    push_pair_key(&mut key, item, other);
    key
}

/// What consumers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerState {
    /// The last value of each key, in the partition where its records go.
    values: HashMap<Vec<u8>, ConsumerValue>,
    /// Keys that have a value in another partition, and in which.
    strays: BTreeSet<(Vec<u8>, u32)>,
}

type ConsumerLists = BTreeMap<Name, ConsumerList>;

/// The longest list in which ranks may be missing: longer than any that a job writes.
const GAPPED_RANKS_MAX: u32 = 10_000;

/// One item's list as consumers hold it.
#[derive(Debug, Default)]
struct ConsumerList {
    /// A neighbour whose pair is not held, because it strays, is [`UNKNOWN`].
    list: List,
    /// Ranks are doubled: the end of an epoch was never written.
    is_torn: bool,
}

impl ConsumerList {
    /// Puts pairs in the order of their ranks.
    fn of_pairs(mut pairs: Vec<(u32, Neighbour)>) -> ConsumerList {
        pairs.sort_unstable();
        let last = pairs.last().map_or(0, |(rank, _neighbour)| *rank);
        let is_torn = last > GAPPED_RANKS_MAX || pairs.windows(2).any(|two| two[0].0 == two[1].0);
        let mut list = List::new();
        for (rank, neighbour) in pairs {
            while !is_torn && list.len() + 1 < rank as usize {
                list.push(Neighbour { item: UNKNOWN.into(), score: UNSCORED, count: 0 });
            }
            list.push(neighbour);
        }
        ConsumerList { list, is_torn }
    }
}

impl ConsumerState {
    /// Takes in a record; those of one key and partition in their order. `home` is the partition to which records of
    /// the key go, where the output has partitions.
    pub(crate) fn apply(&mut self, record: ConsumerRecord, home: Option<u32>) {
        let ConsumerRecord { partition, key, value } = record;
        match (home.is_none_or(|home| home == partition), value) {
            (true, Some(value)) => drop(self.values.insert(key, value)),
            (true, None) => drop(self.values.remove(&key)),
            (false, Some(_)) => drop(self.strays.insert((key, partition))),
            (false, None) => drop(self.strays.remove(&(key, partition))),
        }
    }

    /// The lists of one envelope, and the keys of all others.
    fn into_lists(self, envelope: Envelope) -> Result<(ConsumerLists, Vec<Vec<u8>>), FoldError> {
        let (mut lists, mut stale) = (ConsumerLists::new(), Vec::new());
        let mut pairs = BTreeMap::<Name, Vec<(u32, Neighbour)>>::new();
        for (key, value) in self.values {
            if value.envelope != envelope {
                stale.push(key);
                continue;
            }
            let ParsedRecord { item, what, .. } = parsed_record::read(&value.json)?;
            match what {
                What::Pair(entry) => pairs.entry(item).or_default().push((entry.rank, neighbour(entry))),
                What::List(list) if !list.is_empty() => {
                    let list = list.into_iter().map(neighbour).collect();
                    lists.insert(item, ConsumerList { list, is_torn: false });
                }
                What::List(_) | What::Leave(_) => {}
            }
        }
        lists.extend(pairs.into_iter().map(|(item, of_item)| (item, ConsumerList::of_pairs(of_item))));
        stale.sort_unstable();
        Ok((lists, stale))
    }
}

/// A key, and a partition where it does not belong.
type Stray = (Vec<u8>, u32);

/// What is to be published so that consumers hold what is computed: by item, and encoded piece by piece.
pub(crate) struct Correction {
    stale: vec::IntoIter<Vec<u8>>,
    /// Strays whose item has no change.
    alone: vec::IntoIter<Stray>,
    /// The others, by their item: each leaves with its change.
    strays: BTreeMap<Name, Vec<Stray>>,
    changes: vec::IntoIter<ListChange>,
    options: OutputOptions,
}

impl Correction {
    /// Fails if what is held is no list of a job after all.
    pub(crate) fn new(
        mut consumer_state: ConsumerState,
        computed: HashMap<Name, List>,
        epoch: Epoch,
        options: &OutputOptions,
    ) -> Result<Correction, FoldError> {
        let mut strays = BTreeMap::<Name, Vec<Stray>>::new();
        for stray in std::mem::take(&mut consumer_state.strays) {
            strays.entry(item_of(&stray.0, options.envelope)).or_default().push(stray);
        }
        let (mut consumer_state, mut stale) = consumer_state.into_lists(options.envelope)?;
        stale.retain(|key| !writes(&computed, key, options.envelope));
        let mut changes = Vec::new();
        for (item, list) in computed {
            let (after, before) = (shown(list, options), consumer_state.remove(&item).unwrap_or_default());
            if before.is_torn {
                let none = ListChange { item, epoch, before: before.list, after: List::new() };
                changes.push(ListChange { before: List::new(), after, ..none.clone() });
                changes.push(none);
            } else if before.list != after {
                changes.push(ListChange { item, epoch, before: before.list, after });
            }
        }
        let gone = consumer_state.into_iter();
        changes.extend(gone.map(|(item, consumer_state)| ListChange {
            item,
            epoch,
            before: consumer_state.list,
            after: List::new(),
        }));
        // Of the two of a torn list, the one that takes it away comes first.
        changes.sort_by(|x, y| (&x.item, x.before.is_empty()).cmp(&(&y.item, y.before.is_empty())));
        let changing: HashSet<&Name> = changes.iter().map(|change| &change.item).collect();
        let (strays, alone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            strays.into_iter().partition(|(item, _strays)| changing.contains(item));
        let alone: Vec<Stray> = alone.into_values().flatten().collect();
        // What is compared in units of the ninth digit is told in them: a score has one form.
        let options = OutputOptions { scores: true, score_digits: Decimal::DIGITS_MAX, ..*options };
        Ok(Correction {
            stale: stale.into_iter(),
            alone: alone.into_iter(),
            strays,
            changes: changes.into_iter(),
            options,
        })
    }

    /// Encodes the next piece; `None` when there is none left, else how many lists change.
    pub(crate) fn encode_next(&mut self, records: &mut Records) -> Option<u64> {
        if let Some(key) = self.stale.next() {
            records.push_tombstone(&key);
            return Some(0);
        }
        if let Some((key, partition)) = self.alone.next() {
            records.push_stray_tombstone(&key, partition);
            records.end_list();
            return Some(0);
        }
        let change = self.changes.next()?;
        // First what is to be forgotten: a reader of all partitions at once holds the list in the end.
        for (key, partition) in self.strays.remove(&change.item).unwrap_or_default() {
            records.push_stray_tombstone(&key, partition);
        }
        encode(&change, &self.options, records);
        records.end_list();
        Some(1)
    }
}

/// Whether publishing these lists, none of which is held, writes `key`.
fn writes(computed: &HashMap<Name, List>, key: &[u8], envelope: Envelope) -> bool {
    match envelope {
        Envelope::Upsert | Envelope::Debezium => {
            std::str::from_utf8(key).is_ok_and(|item| computed.contains_key(item))
        }
        Envelope::Changes => serde_json::from_slice::<(Name, Name)>(key).is_ok_and(|(item, other)| {
            let in_list = |list: &List| list.iter().any(|neighbour| neighbour.item == other);
            pair_key(&item, &other) == key && computed.get(&item).is_some_and(in_list)
        }),
    }
}

/// A list as records of the job show it, in units of the ninth digit.
fn shown(mut list: List, options: &OutputOptions) -> List {
    for neighbour in &mut list {
        if options.scores {
            neighbour.score = Decimal::new(neighbour.score, options.score_digits).units();
        } else {
            (neighbour.score, neighbour.count) = (UNSCORED, 0);
        }
    }
    list
}

#[cfg(test)]
mod tests;
