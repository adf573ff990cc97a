//! The fold of all records into lists by item, as a reader of the output keeps them.
//!
//! The first value determines the envelope. Records of one item must be applied in the order in which they were sent,
//! which a partition of a topic and a file keep. Records of different items may come in any order. A record of the
//! `changes` envelope is complete for its pair, rank included, so there even pairs may come in any order.
//!
//! # Notes
//!
//! A tombstone before the first value is ignored. After it, keys are parsed as that envelope writes them. So the id
//! of an item may look like the key of a pair.

use super::encode::{Envelope, RowKind, VERSION, push_list, push_text};
use super::parsed_record::{self, ListUpdate, ParsedRecord};
use super::{Decimal, DecimalError};
use deltacart_dataflows::{Epoch, Name};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use thiserror::Error;

/// The lists that result from the records applied so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    lists: BTreeMap<Name, Arc<Published>>,
    envelope: Option<Envelope>,
    only: Option<Name>,
    /// What the lists must be for. `None` takes any.
    rows: Option<RowKind>,
    /// The partition and the epoch of the last value of each key, where partitions are known.
    places: BTreeMap<Vec<u8>, (u32, Epoch)>,
}

/// One item's list, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The epoch of the last record that changed it.
    pub epoch: Epoch,
    /// The neighbours by rising rank, none twice.
    pub entries: Vec<Entry>,
}

/// One neighbour in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its rank, from 1. In the `changes` envelope, ranks have no gaps at the end of an epoch.
    pub rank: u32,
    /// The id of the neighbour.
    pub item: Name,
    /// Its similarity. `None` when scores are off.
    pub score: Option<Decimal>,
    /// The number of baskets that hold both items. `None` when scores are off.
    pub count: Option<u32>,
}

/// The record was not written by a job.
#[derive(Debug, Error)]
pub enum FoldError {
    /// The value is not JSON, or a field has a wrong type.
    #[error("not a recommendation record")]
    Json(#[from] serde_json::Error),
    /// The value is JSON, but a field is missing.
    #[error("not a recommendation record: {0}")]
    Shape(&'static str),
    /// The score is not a decimal number that a job writes.
    #[error("not a recommendation record: the score is {0}")]
    Score(#[from] DecimalError),
    /// The record's version is not the one that this program reads.
    #[error("a recommendation record of version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// The envelope differs from that of the records before.
    #[error("a record of envelope {found} among records of envelope {first}")]
    Mixed {
        /// The envelope of the records before.
        first: Envelope,
        /// The envelope of this record.
        found: Envelope,
    },
    /// The record is the list of something else.
    #[error("the list of one {found} among lists of one {wanted}", found = found.field(), wanted = wanted.field())]
    Rows {
        /// What the lists are for.
        wanted: RowKind,
        /// What this list is for.
        found: RowKind,
    },
}

impl Lists {
    /// No lists. The first value determines the envelope.
    pub fn new() -> Self {
        Lists::default()
    }

    /// No lists. Only the list of `item` will be kept.
    pub fn of_item(item: Name) -> Self {
        Lists { only: Some(item), ..Lists::default() }
    }

    /// No lists. Only lists of this kind are accepted.
    pub fn of_rows(rows: RowKind) -> Self {
        Lists { rows: Some(rows), ..Lists::default() }
    }

    /// Applies one record and returns the item whose list it changed. Returns `None` if that list is not kept or the
    /// record changes nothing. A record of a topic has a key, and no value if it is a tombstone. A line of a file has
    /// no key.
    ///
    /// # Errors
    /// When the record is not one of a job, or has another envelope than those before.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Name>, FoldError> {
        match (key, value) {
            (_, Some(value)) => self.apply_value(parsed_record::read(value)?),
            (Some(key), None) => self.apply_tombstone(key),
            (None, None) => Err(FoldError::Shape("neither key nor value")),
        }
    }

    /// Applies one record of a topic, read from `partition`. Returns the item whose list it changed.
    ///
    /// In a topic that has grown, lists have moved: the old partition holds a value and its tombstone, the new one
    /// the list. Only epochs say which was written first. So a value is ignored if another partition has one as new
    /// or newer. A tombstone is ignored if another partition has a value.
    ///
    /// # Errors
    /// As for [`Lists::apply`].
    pub fn apply_in(
        &mut self,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<Name>, FoldError> {
        let Some(key) = key else { return self.apply(None, value) };
        let elsewhere = self.places.get(key).copied().filter(|(other, _epoch)| *other != partition);
        let Some(value) = value else {
            if elsewhere.is_some() {
                return Ok(None);
            }
            self.places.remove(key);
            return self.apply_tombstone(key);
        };
        let parsed = parsed_record::read(value)?;
        if elsewhere.is_some_and(|(_other, epoch)| parsed.epoch <= epoch) {
            return Ok(None);
        }
        self.places.insert(key.to_vec(), (partition, parsed.epoch));
        self.apply_value(parsed)
    }

    /// The item whose list a record concerns, if a job wrote it. [`Lists::apply`] reports whether it changes that
    /// list.
    pub(crate) fn about(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Name> {
        match (key, value, self.envelope) {
            (_, Some(value), _) => {
                parsed_record::read(value).ok().map(|parsed: ParsedRecord<Vec<Entry>>| parsed.item)
            }
            (Some(key), None, Some(Envelope::Changes)) => {
                serde_json::from_slice::<(Name, Name)>(key).ok().map(|(item, _other)| item)
            }
            (Some(key), None, _) => std::str::from_utf8(key).ok().map(Into::into),
            (None, None, _) => None,
        }
    }

    fn apply_value(&mut self, parsed: ParsedRecord<Vec<Entry>>) -> Result<Option<Name>, FoldError> {
        let ParsedRecord { envelope, rows: found, item, epoch, update } = parsed;
        if let Some(wanted) = self.rows.filter(|wanted| *wanted != found) {
            return Err(FoldError::Rows { wanted, found });
        }
        match *self.envelope.get_or_insert(envelope) {
            first if first != envelope => return Err(FoldError::Mixed { first, found: envelope }),
            _ => {}
        }
        Ok(match update {
            ListUpdate::List(entries) if entries.is_empty() => self.remove(item),
            ListUpdate::List(entries) if self.keeps(&item) => {
                self.lists.insert(item.clone(), Arc::new(Published { epoch, entries }));
                Some(item)
            }
            ListUpdate::List(_) => None,
            ListUpdate::Pair(entry) => self.insert_pair(item, epoch, entry),
            ListUpdate::Leave(other) => self.remove_pair(item, &other, Some(epoch)),
        })
    }

    fn apply_tombstone(&mut self, key: &[u8]) -> Result<Option<Name>, FoldError> {
        match self.envelope {
            None => Ok(None),
            Some(Envelope::Upsert | Envelope::Debezium) => {
                let item = std::str::from_utf8(key).map_err(|_| FoldError::Shape("the key is not UTF-8"))?;
                Ok(self.remove(item.into()))
            }
            Some(Envelope::Changes) => {
                let (item, other): (Name, Name) = serde_json::from_slice(key)?;
                Ok(self.remove_pair(item, &other, None))
            }
        }
    }

    fn keeps(&self, item: &Name) -> bool {
        self.only.as_ref().is_none_or(|only| only == item)
    }

    fn remove(&mut self, item: Name) -> Option<Name> {
        self.lists.remove(&item).map(|_| item)
    }

    fn insert_pair(&mut self, item: Name, epoch: Epoch, entry: Entry) -> Option<Name> {
        if !self.keeps(&item) {
            return None;
        }
        let list = Arc::make_mut(self.lists.entry(item.clone()).or_default());
        list.epoch = epoch;
        list.entries.retain(|other| other.item != entry.item);
        // Within an epoch, two neighbours may share a rank for a while. The item breaks the tie, so the order stays
        // total.
        let place =
            list.entries.partition_point(|other| (other.rank, &other.item) < (entry.rank, &entry.item));
        list.entries.insert(place, entry);
        Some(item)
    }

    fn remove_pair(&mut self, item: Name, other: &Name, epoch: Option<Epoch>) -> Option<Name> {
        let list = Arc::make_mut(self.lists.get_mut(&item)?);
        let length = list.entries.len();
        list.entries.retain(|entry| entry.item != *other);
        if list.entries.len() == length {
            return None;
        }
        list.epoch = epoch.unwrap_or(list.epoch);
        if list.entries.is_empty() {
            self.lists.remove(&item);
        }
        Some(item)
    }

    /// The list of `item`, if it has one.
    pub fn get(&self, item: &str) -> Option<&Published> {
        self.lists.get(item).map(|list| &**list)
    }

    /// The list of `item`, if it has one, shared with these lists until they change it.
    pub fn get_shared(&self, item: &str) -> Option<Arc<Published>> {
        self.lists.get(item).map(Arc::clone)
    }

    /// All lists by rising item.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Published)> {
        self.lists.iter().map(|(item, list)| (item, &**list))
    }

    /// The number of items that have a list.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether no item has a list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The envelope of the records applied. `None` before the first value.
    pub fn envelope(&self) -> Option<Envelope> {
        self.envelope
    }

    /// Writes one line for each item, by rising item, without epochs and changes. Two runs over one input agree on
    /// these bytes, whatever their envelopes, workers and epochs.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_canonical(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = Vec::new();
        for item in self.lists.keys() {
            line.clear();
            self.push_json(item, &mut line);
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(())
    }

    /// Appends the list of `item` as JSON, without a line break: `{"item":…,"recommendations":[…]}`. An item without
    /// a list has an empty array.
    pub fn push_json(&self, item: &str, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"item\":");
        push_text(line, item);
        line.extend_from_slice(b",\"recommendations\":");
        let entries = self.get(item).map(|list| list.entries.as_slice()).unwrap_or_default();
        push_list(line, entries.iter().map(|entry| (entry.item.as_str(), entry.score.zip(entry.count))));
        line.push(b'}');
    }
}
