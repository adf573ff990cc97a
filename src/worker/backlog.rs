//! The backlog of a partition: records that wait for their schema.
//!
//! A source hands over whole batches and takes no records back. So a record that cannot be decoded yet is copied
//! here, together with the rest of its batch. Its partition is not read further until the backlog is empty. No offset
//! moves past a waiting record, so a restart reads it again. A backlog is bounded by one batch.

use deltacart_inputs::{Fetched, RawRecord, Source, SourceError};
use std::collections::VecDeque;

/// The waiting records of one partition, in the order of their offsets.
#[derive(Default)]
pub(super) struct Backlog(VecDeque<WaitingRecord>);

/// A record that owns its bytes.
struct WaitingRecord {
    partition: u32,
    offset: u64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp: Option<i64>,
    truncated: bool,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Offers a batch of a partition to `take`: the waiting records, or else new ones from the source. A record that
    /// is not taken waits, and so do all records behind it.
    pub(super) fn read(
        &mut self,
        source: &mut dyn Source,
        partition: u32,
        most: usize,
        take: &mut dyn FnMut(&RawRecord<'_>) -> bool,
    ) -> Result<Fetched, SourceError> {
        if !self.is_empty() {
            let bytes = self.offer(most, take);
            return Ok(Fetched { bytes, ..Fetched::default() });
        }
        let fetched = source.fetch(partition, most, &mut |record| {
            if !self.is_empty() || !take(&record) {
                self.push(&record);
            }
        })?;
        // While records wait, the partition is not at its end. The source reports the end again at the next fetch.
        let is_read = self.is_empty();
        Ok(Fetched { ended: fetched.ended && is_read, at_end: fetched.at_end && is_read, ..fetched })
    }

    /// Appends a record.
    fn push(&mut self, record: &RawRecord<'_>) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value)));
        self.0.push_back(WaitingRecord {
            partition: record.partition,
            offset: record.offset,
            key: owned(record.key),
            value: owned(record.value),
            headers: headers.collect(),
            timestamp: record.timestamp,
            truncated: record.truncated,
        });
    }

    /// Offers waiting records in order, at most `most`, until one is not taken. Returns the bytes of those taken.
    fn offer(&mut self, most: usize, take: &mut dyn FnMut(&RawRecord<'_>) -> bool) -> usize {
        let mut bytes = 0;
        for _ in 0..most {
            let Some(held) = self.0.front() else { break };
            if !held.lend(take) {
                break;
            }
            bytes += held.key.as_ref().map_or(0, Vec::len) + held.value.as_ref().map_or(0, Vec::len);
            self.0.pop_front();
        }
        bytes
    }
}

impl WaitingRecord {
    fn lend(&self, take: &mut dyn FnMut(&RawRecord<'_>) -> bool) -> bool {
        let headers: Vec<(&str, Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        take(&RawRecord {
            partition: self.partition,
            offset: self.offset,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            timestamp: self.timestamp,
            truncated: self.truncated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_whole_and_in_their_order() {
        let mut backlog = Backlog::default();
        let headers: [(&str, Option<&[u8]>); 2] = [("a", Some(b"1")), ("b", None)];
        for offset in 4..7 {
            let record = RawRecord {
                partition: 3,
                offset,
                key: (offset == 4).then_some(b"key"),
                value: (offset != 6).then_some(b"value"),
                headers: &headers,
                timestamp: Some(9),
                truncated: offset == 5,
            };
            backlog.push(&record);
        }
        let mut seen = Vec::new();
        let mut see = |record: &RawRecord<'_>| {
            assert_eq!((record.partition, record.timestamp, record.headers), (3, Some(9), &headers[..]));
            assert_eq!(record.key, (record.offset == 4).then_some(&b"key"[..]));
            assert_eq!(record.value, (record.offset != 6).then_some(&b"value"[..]));
            assert_eq!(record.truncated, record.offset == 5);
            seen.push(record.offset);
            seen.len() != 2
        };
        // The second is not taken at first, so it stays the first.
        assert_eq!(backlog.offer(10, &mut see), 8);
        assert_eq!(backlog.len(), 2);
        assert_eq!(backlog.offer(1, &mut see), 5);
        assert_eq!(backlog.offer(10, &mut see), 0);
        assert!(backlog.is_empty());
        assert_eq!(seen, [4, 5, 5, 6]);
    }
}
