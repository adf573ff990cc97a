//! What a consumer of the lists sees: it reads the topic, holds the lists, and can tell what became of each.

use super::broker::RECOMMENDATIONS;
use crate::output::{Entry, Lists};
use anyhow::Result;
use deltacart_dataflows::Name;
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource, StartFrom};
use deltacart_inputs::{RawRecord, Share, Source};
use std::collections::BTreeMap;
use std::time::Duration;

/// Records of a partition that are read before it is the next one's turn.
const BATCH_RECORDS: usize = 1_000;

/// Far more than a list of the demo takes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// A consumer of the lists.
pub(super) struct Reader {
    source: KafkaSource,
    held: Held,
}

/// The lists, and those that changed since they were shown.
#[derive(Default)]
pub(super) struct Held {
    lists: Lists,
    records: u64,
    /// As they were shown, and the number of the record that changed them last.
    changed: BTreeMap<Name, (Vec<Entry>, u64)>,
}

/// A list that is not what it was when it was shown last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangedList {
    pub(super) item: Name,
    pub(super) before: Vec<Entry>,
    pub(super) after: Vec<Entry>,
}

impl Reader {
    /// Begins at the topic's beginning.
    pub(super) fn connect(settings: &KafkaSettings) -> Result<Reader> {
        let params = KafkaParams {
            topic: RECOMMENDATIONS.to_owned(),
            from: StartFrom::Beginning,
            until_end: false,
            record_bytes_max: RECORD_BYTES_MAX,
            metadata_refresh: Duration::from_secs(60),
            share: Share::WHOLE,
            asks_id: false,
            commits: false,
        };
        Ok(Reader { source: KafkaSource::new(settings, params)?, held: Held::default() })
    }

    /// Reads a batch of each partition; false if there was nothing.
    pub(super) fn read(&mut self) -> Result<bool> {
        let before = self.held.records;
        for partition in self.source.partitions()? {
            self.source.fetch(partition, BATCH_RECORDS, &mut |record| self.held.take(&record))?;
        }
        Ok(self.held.records > before)
    }

    pub(super) fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

impl Held {
    /// How many records have been read: one for each change of a list.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// How many items have a list.
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    pub(super) fn take(&mut self, record: &RawRecord<'_>) {
        self.records += 1;
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let before = self.entries(key);
        // Whoever can reach the broker can write to the topic; what is no list of ours is none to show.
        let Ok(Some(item)) = self.lists.apply(record.key, record.value) else { return };
        self.changed.entry(item).or_insert((before, 0)).1 = self.records;
    }

    /// At most `limit` lists that changed since the last call: those of other members first, the last changed first.
    pub(super) fn take_changed(&mut self, limit: usize) -> Vec<ChangedList> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let mut changed: Vec<(u64, ChangedList)> = changed
            .map(|(item, (before, record))| {
                let after = self.entries(&item);
                (record, ChangedList { item, before, after })
            })
            .filter(|(_record, list)| list.before != list.after)
            .collect();
        changed.sort_by_key(|(record, list)| (!list.has_other_members(), u64::MAX - record));
        changed.into_iter().take(limit).map(|(_record, list)| list).collect()
    }

    fn entries(&self, item: &str) -> Vec<Entry> {
        self.lists.get(item).map_or_else(Vec::new, |list| list.entries.clone())
    }
}

impl ChangedList {
    /// Whether an item is in the list that was not there before.
    pub(super) fn is_new(&self, item: &str) -> bool {
        !self.before.iter().any(|entry| entry.item == item)
    }

    /// The items that are no longer in the list, by the rank they had.
    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        let stayed = |left: &Entry| self.after.iter().any(|entry| entry.item == left.item);
        self.before.iter().filter(move |entry| !stayed(entry)).map(|entry| entry.item.as_str())
    }

    fn has_other_members(&self) -> bool {
        self.left().next().is_some() || self.after.iter().any(|entry| self.is_new(&entry.item))
    }
}
