//! Consumer state: what consumers have from an earlier run, and the records that correct it to the computed lists.
//!
//! ```text
//! records of the topic ─▶ read_consumer_record ─▶ ConsumerRecord ──▶ ConsumerState ─┐  on the worker that
//!                                                   computed lists ─────────────────┴─▶ Correction ─▶ records
//! ```
//!
//! A consumer of a topic keeps the last value of each key, so a [`ConsumerState`] keeps the same, whatever the
//! envelope. A file has no keys: its records get the keys that they would have in a topic.
//!
//! - A key is *stale* if its value has another envelope than the job's. A tombstone deletes it, unless the new
//!   envelope writes the same key anyway. All lists are then published again.
//! - A key *strays* if its value is in another partition than the one its records go to now. The topic had fewer
//!   partitions when it was written. A consumer of that partition alone would keep the value for ever. So the key
//!   gets a tombstone there, in the same transaction as the new list in the partition of the key.
//!
//! # Notes
//! Most records are not the last of their key, so a record is parsed without the entries of its list. These are
//! parsed once the record is known to be the last.
//!
//! Scores are compared in units of 10^−9, whatever `--score-digits` was and is. A neighbour without a score has
//! [`UNSCORED`]. So a list is published if, and only if, it differs in any visible way.

use super::encode::{RowKind, UNKNOWN, UNSCORED, push_pair_key};
use super::parsed_record::{self, ListUpdate, ParsedRecord};
use super::{Decimal, Entry, Envelope, FoldError, ListChange, OutputOptions, Records, encode};
use deltacart_dataflows::{Epoch, List, Name, Neighbour, route};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::vec;

/// The state that one record leaves under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsumerRecord {
    /// The partition that it was read from.
    partition: u32,
    key: Vec<u8>,
    /// `None` if the record deletes the key.
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
    rows: RowKind,
    json: Vec<u8>,
}

/// Parses one record. A record of a topic has a key, and no value if it is a tombstone. A line of a file has no key.
/// Also returns the epoch, which a tombstone does not have.
///
/// # Errors
/// When the record is not one of a job, or its key is not the one of its value.
pub(crate) fn read_consumer_record(
    partition: u32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(ConsumerRecord, Option<Epoch>), FoldError> {
    let Some(value) = value else {
        let key = key.ok_or(FoldError::Shape("neither key nor value"))?.to_vec();
        return Ok((ConsumerRecord { partition, key, value: None }, None));
    };
    let ParsedRecord { envelope, rows, item, epoch, update } = parsed_record::read_head(value)?;
    let (own_key, stays) = match update {
        ListUpdate::List(_) => (item.as_bytes().to_vec(), true),
        ListUpdate::Leave(other) => (pair_key(&item, &other), false),
        ListUpdate::Pair(entry) => (pair_key(&item, &entry.item), true),
    };
    if key.is_some_and(|key| key != own_key) {
        return Err(FoldError::Shape("its key does not belong to its value"));
    }
    let value = stays.then(|| ConsumerValue { envelope, rows, json: value.to_vec() });
    Ok((ConsumerRecord { partition, key: own_key, value }, Some(epoch)))
}

/// The envelope of one record. `None` for a tombstone.
pub(crate) fn envelope_of(record: &ConsumerRecord) -> Option<Envelope> {
    record.value.as_ref().map(|value| value.envelope)
}

/// What the list of one record is for. `None` for a tombstone.
pub(crate) fn rows_of(record: &ConsumerRecord) -> Option<RowKind> {
    record.value.as_ref().map(|value| value.rows)
}

/// The worker, modulo the number of workers, that publishes what `envelope` writes under the record's key.
pub(crate) fn route_consumer_record(record: &ConsumerRecord, envelope: Envelope) -> u64 {
    route(&item_of(&record.key, envelope))
}

/// The item whose list `envelope` writes under a key.
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

/// The last value of every key, as consumers have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerState {
    /// The last value of each key, in the partition that its records go to.
    values: HashMap<Vec<u8>, ConsumerValue>,
    /// Keys that have a value in another partition, each with that partition.
    strays: BTreeSet<(Vec<u8>, u32)>,
}

type ConsumerLists = BTreeMap<Name, ConsumerList>;

/// The longest list in which ranks may be missing. No job writes a longer one.
const GAPPED_RANKS_MAX: u32 = 10_000;

/// One item's list as consumers have it.
#[derive(Debug, Default)]
struct ConsumerList {
    /// A neighbour is [`UNKNOWN`] if its pair strays and is therefore not kept.
    list: List,
    /// Two neighbours share a rank: the records of the epoch were not written to the end.
    is_torn: bool,
}

impl ConsumerList {
    /// Sorts pairs by rank and fills gaps with [`UNKNOWN`].
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
    /// Applies a record. Records of one key and partition must come in order. `home` is the partition that the key's
    /// records go to, if the output has partitions.
    pub(crate) fn apply(&mut self, record: ConsumerRecord, home: Option<u32>) {
        let ConsumerRecord { partition, key, value } = record;
        match (home.is_none_or(|home| home == partition), value) {
            (true, Some(value)) => drop(self.values.insert(key, value)),
            (true, None) => drop(self.values.remove(&key)),
            (false, Some(_)) => drop(self.strays.insert((key, partition))),
            (false, None) => drop(self.strays.remove(&(key, partition))),
        }
    }

    /// The lists written in `envelope`, and the keys of values in all other envelopes.
    fn into_lists(self, envelope: Envelope) -> Result<(ConsumerLists, Vec<Vec<u8>>), FoldError> {
        let (mut lists, mut stale) = (ConsumerLists::new(), Vec::new());
        let mut pairs = BTreeMap::<Name, Vec<(u32, Neighbour)>>::new();
        for (key, value) in self.values {
            if value.envelope != envelope {
                stale.push(key);
                continue;
            }
            let ParsedRecord { item, update, .. } = parsed_record::read(&value.json)?;
            match update {
                ListUpdate::Pair(entry) => {
                    pairs.entry(item).or_default().push((entry.rank, neighbour(entry)))
                }
                ListUpdate::List(list) if !list.is_empty() => {
                    let list = list.into_iter().map(neighbour).collect();
                    lists.insert(item, ConsumerList { list, is_torn: false });
                }
                ListUpdate::List(_) | ListUpdate::Leave(_) => {}
            }
        }
        lists.extend(pairs.into_iter().map(|(item, of_item)| (item, ConsumerList::of_pairs(of_item))));
        stale.sort_unstable();
        Ok((lists, stale))
    }
}

/// A key, and a partition that holds it but that it does not belong to.
type Stray = (Vec<u8>, u32);

/// The records that correct the consumer state to the computed lists, grouped by item and encoded piece by piece.
pub(crate) struct Correction {
    stale: vec::IntoIter<Vec<u8>>,
    /// Strays whose item has no change.
    alone: vec::IntoIter<Stray>,
    /// The other strays, by item: their tombstones are written with the item's change.
    strays: BTreeMap<Name, Vec<Stray>>,
    changes: vec::IntoIter<ListChange>,
    options: OutputOptions,
}

impl Correction {
    /// Compares the consumer state with the computed lists.
    ///
    /// # Errors
    /// When a kept value turns out not to be a list of a job.
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
        let (mut published, mut stale) = consumer_state.into_lists(options.envelope)?;
        stale.retain(|key| !writes(&computed, key, options.envelope));
        let mut changes = Vec::new();
        for (item, list) in computed {
            let (after, before) = (shown(list, options), published.remove(&item).unwrap_or_default());
            if before.is_torn {
                let none = ListChange { item, epoch, before: before.list, after: List::new() };
                changes.push(ListChange { before: List::new(), after, ..none.clone() });
                changes.push(none);
            } else if before.list != after {
                changes.push(ListChange { item, epoch, before: before.list, after });
            }
        }
        let gone = published.into_iter();
        changes.extend(gone.map(|(item, list)| ListChange {
            item,
            epoch,
            before: list.list,
            after: List::new(),
        }));
        // A torn list has two changes. The one that removes it comes first.
        changes.sort_by(|x, y| (&x.item, x.before.is_empty()).cmp(&(&y.item, y.before.is_empty())));
        let changing: HashSet<&Name> = changes.iter().map(|change| &change.item).collect();
        let (strays, alone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            strays.into_iter().partition(|(item, _strays)| changing.contains(item));
        let alone: Vec<Stray> = alone.into_values().flatten().collect();
        // Scores are published in the units in which they were compared, so that each has one form.
        let options = OutputOptions { scores: true, score_digits: Decimal::DIGITS_MAX, ..*options };
        Ok(Correction {
            stale: stale.into_iter(),
            alone: alone.into_iter(),
            strays,
            changes: changes.into_iter(),
            options,
        })
    }

    /// Encodes the next piece. Returns the number of lists that it changes (0 or 1), or `None` at the end.
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
        // Tombstones first, so that a reader of all partitions at once has the list in the end.
        for (key, partition) in self.strays.remove(&change.item).unwrap_or_default() {
            records.push_stray_tombstone(&key, partition);
        }
        encode(&change, &self.options, records);
        records.end_list();
        Some(1)
    }
}

/// Whether publishing all of `computed`, from nothing, writes `key`.
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

/// A list as the job's records show it, with scores in units of 10^−9.
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
