//! One dead letter for a topic: the record as it was, and headers in Kafka Connect's convention.

use super::{Labels, LetterProducer, Origin, Rejected};
use crate::output::SinkError;
use crate::output::kafka::{Message, Offered};
use deltacart_inputs::RawRecord;

/// The bytes kept of the value, and of the key, of a record that is too long for the topic.
const VALUE_BYTES_KEPT: usize = 64 << 10;
const KEY_BYTES_KEPT: usize = 4 << 10;

/// The header that every dead letter has: the topic or file of the record.
pub(crate) const TOPIC_HEADER: &str = "__connect.errors.topic";

/// A header: the record is incomplete. The source truncated it, or this file did.
const TRUNCATED: &str = "deltacart.truncated";

pub(super) struct Letter {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// The record's own headers.
    original: Vec<(String, Option<Vec<u8>>)>,
    /// The headers that the job adds.
    errors: Vec<(&'static str, String)>,
    timestamp: Option<i64>,
    truncated: bool,
}

impl Letter {
    pub(super) fn new(
        origin: Origin<'_>,
        record: &RawRecord<'_>,
        rejected: &Rejected<'_>,
        labels: &Labels,
    ) -> Self {
        let reject = rejected.reject;
        let own = |&(name, value): &(&str, Option<&[u8]>)| (name.to_owned(), value.map(<[u8]>::to_vec));
        let mut letter = Letter {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            original: record.headers.iter().map(own).collect(),
            errors: vec![
                (TOPIC_HEADER, origin.found.name().to_owned()),
                ("__connect.errors.partition", record.partition.to_string()),
                ("__connect.errors.offset", record.offset.to_string()),
                ("__connect.errors.connector.name", labels.connector.clone()),
                ("__connect.errors.task.id", labels.task.to_string()),
                ("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
                ("__connect.errors.class.name", format!("deltacart.format.{}", origin.format)),
                ("__connect.errors.exception.class.name", reject.reason.name().to_owned()),
                ("__connect.errors.exception.message", reject.detail.clone()),
                ("__connect.errors.exception.stacktrace", String::new()),
            ],
            // Brokers do not accept times before 1970.
            timestamp: record.timestamp.filter(|timestamp| *timestamp >= 0),
            truncated: record.truncated,
        };
        let part = [("deltacart.event", rejected.event), ("deltacart.line", rejected.line)];
        let more = ("deltacart.more", rejected.is_part.then_some(rejected.more));
        let part = part.into_iter().chain([more]);
        letter.errors.extend(part.filter_map(|(name, number)| Some((name, number?.to_string()))));
        letter
    }

    /// The approximate memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let original: usize = self.original.iter().map(|(name, value)| name.len() + length(value)).sum();
        let errors: usize = self.errors.iter().map(|(name, text)| name.len() + text.len()).sum();
        size_of::<Letter>() + length(&self.key) + length(&self.value) + original + errors
    }

    /// Offers the whole letter. If it is too long, offers the beginning of the record, and at last none of the
    /// record.
    pub(super) fn offer(&self, producer: &mut dyn LetterProducer) -> Result<Offered, SinkError> {
        let whole = self.offer_cut(producer, usize::MAX, usize::MAX)?;
        if whole != Offered::TooLarge {
            return Ok(whole);
        }
        match self.offer_cut(producer, KEY_BYTES_KEPT, VALUE_BYTES_KEPT)? {
            Offered::TooLarge => self.offer_cut(producer, 0, 0),
            offered => Ok(offered),
        }
    }

    /// Offers the letter with at most this many bytes of key and value. A truncated letter omits the record's own
    /// headers.
    fn offer_cut(
        &self,
        producer: &mut dyn LetterProducer,
        key_max: usize,
        value_max: usize,
    ) -> Result<Offered, SinkError> {
        let whole = value_max == usize::MAX;
        let original = if whole { self.original.as_slice() } else { &[] };
        let mut headers: Vec<(&str, Option<&[u8]>)> =
            original.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        headers.extend(self.errors.iter().map(|(name, text)| (*name, Some(text.as_bytes()))));
        if self.truncated || !whole {
            headers.push((TRUNCATED, Some(b"true")));
        }
        let key = self.key.as_deref().map(|key| &key[..key.len().min(key_max)]);
        let value = self.value.as_deref().map(|value| &value[..value.len().min(value_max)]);
        let (headers, timestamp) = (&headers[..], self.timestamp);
        producer.offer(&Message { key, value, partition: None, headers, timestamp })
    }
}
