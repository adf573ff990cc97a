//! Records to a Kafka topic, without ever waiting for the broker.
//!
//! One [`KafkaSink`] serves one worker. librdkafka keeps what has been taken, in bounded memory, sends it from threads
//! of its own and hands the acknowledgements to the next [`Sink::poll`]. Whatever it has to say goes to the log.
//!
//! # Notes
//!
//! Delivery by [`KafkaSink`] is at least once and in order: the producer is idempotent and acknowledged by all replicas
//! in sync. By [`TransactionalSink`] it is exactly once.

mod open;
mod partition;
mod report;
mod topic;
mod transaction;
mod watch;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::mock;

pub use open::wait_for_open_transactions;
pub use topic::{TABLE_PROPERTIES, TopicSpec, ensure_topic};
pub use transaction::{TransactionalSink, WORKER_SLOTS, fence};
pub use watch::OutputWatch;

use super::{Delivery, Record, Records, Sent, Sink, SinkError};
use deltacart_dataflows::Epoch;
use deltacart_inputs::SourceError;
use deltacart_inputs::kafka::{KafkaSettings, Released, Role};
use partition::Partitions;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use report::Reports;
use std::sync::Arc;
use std::time::Duration;

/// Properties of every producer, unless the user gave them: what has been taken and not yet delivered is bounded,
/// for each worker, by whichever is reached first.
const QUEUE: [(&str, &str); 2] =
    [("queue.buffering.max.kbytes", "65536"), ("queue.buffering.max.messages", "200000")];

/// How many records are taken at a time: some milliseconds' worth, so that a large epoch holds nobody up.
const SEND_RECORDS_MAX: usize = 2_000;

/// A Kafka topic as the destination of one worker's records. One epoch is on its way at a time.
pub struct KafkaSink {
    producer: Producer,
    /// Epochs that are closed and on their way; the next one waits for them.
    epochs: usize,
}

impl KafkaSink {
    /// Connects to `topic`, which must exist (see [`ensure_topic`]). Fails within the settings' start-up timeout if no
    /// broker answers.
    pub fn connect(settings: &KafkaSettings, topic: &str) -> Result<Self, SinkError> {
        Ok(KafkaSink { producer: Producer::connect(settings, topic)?, epochs: 0 })
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError> {
        for _ in 0..SEND_RECORDS_MAX {
            let Some(record) = records.front().filter(|_| self.epochs == 0) else { break };
            let message = self.producer.message(&record);
            match self.producer.offer(&message)? {
                Offered::Taken => records.pop(),
                Offered::Full => break,
                Offered::TooLarge => return Err(self.producer.too_large(&message)),
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Delivery, SinkError> {
        let records = self.producer.poll()?;
        if records == 0 {
            self.epochs = 0;
        }
        Ok(Delivery { records, epochs: self.epochs })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        self.epochs += 1;
        Ok(())
    }

    fn partition_of(&self, key: &[u8]) -> Option<u32> {
        Some(self.producer.partitions.of(key))
    }

    fn sent(&self) -> Sent {
        self.producer.sent()
    }
}

/// One message for a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Without it, the partition of the key; any, without a key.
    pub(crate) partition: Option<u32>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Milliseconds since the Unix epoch; without it, the time of sending.
    pub(crate) timestamp: Option<i64>,
}

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is on its way.
    Taken,
    /// There is no room now; poll and offer it again.
    Full,
    /// It is longer than `message.max.bytes` and will never be taken.
    TooLarge,
}

/// A producer of one topic that counts what has arrived.
pub(crate) struct Producer {
    client: Released<Arc<BaseProducer<Reports>>>,
    topic: String,
    partitions: Partitions,
    sent: Sent,
    /// Messages that are not in `sent`.
    forgotten: u64,
}

impl Producer {
    /// Connects to a topic that exists, or was made a moment ago.
    pub(crate) fn connect(settings: &KafkaSettings, topic: &str) -> Result<Self, SinkError> {
        let partitions = Partitions::of_topic(settings, topic)?;
        Producer::connect_as(settings, topic, partitions, None)
    }

    /// Connects to a topic that is known to be there; with a transactional id, if there is one.
    fn connect_as(
        settings: &KafkaSettings,
        topic: &str,
        partitions: Partitions,
        id: Option<&str>,
    ) -> Result<Self, SinkError> {
        let reports = Reports::new(settings, topic);
        let mut config = settings.client_config(Role::Producer);
        for (name, value) in QUEUE {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        if let Some(id) = id {
            config.set("transactional.id", id);
        }
        let explained = Reports::new(settings, topic);
        let client = config.create_with_context(reports).map_err(|error| explained.explain(&error))?;
        Ok(Producer {
            client: Released::new(Arc::new(client)),
            topic: topic.to_owned(),
            partitions,
            sent: Sent::default(),
            forgotten: 0,
        })
    }

    /// A record as a message. Its partition is said: librdkafka would take one of those that a topic has got meanwhile.
    fn message<'a>(&self, record: &Record<'a>) -> Message<'a> {
        let Record { key, value, .. } = *record;
        let partition = record.partition.unwrap_or_else(|| self.partitions.of(key));
        Message { key: Some(key), value, partition: Some(partition), headers: &[], timestamp: None }
    }

    pub(crate) fn offer(&mut self, message: &Message<'_>) -> Result<Offered, SinkError> {
        let (key, value) = (message.key.unwrap_or_default(), message.value.unwrap_or_default());
        let mut record = BaseRecord::to(&self.topic);
        record.key = message.key;
        record.payload = message.value;
        record.partition = message.partition.map(|partition| partition as i32);
        record.timestamp = message.timestamp;
        if !message.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(message.headers.len());
            let add = |headers: OwnedHeaders, &(key, value)| headers.insert(Header { key, value });
            record.headers = Some(message.headers.iter().fold(headers, add));
        }
        match self.client.send::<[u8], [u8]>(record) {
            Ok(()) => {
                self.sent.records += 1;
                self.sent.bytes += (key.len() + value.len()) as u64;
                Ok(Offered::Taken)
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(Offered::Full),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                Ok(Offered::TooLarge)
            }
            Err((error, _)) => Err(self.client.context().explain(&error)),
        }
    }

    /// Collects acknowledgements and says how many messages are still without one.
    pub(crate) fn poll(&mut self) -> Result<usize, SinkError> {
        self.collect().map_err(|failure| self.explain(&failure))
    }

    /// The same; the error is that of the first message that failed.
    fn collect(&mut self) -> Result<usize, KafkaError> {
        let reports = self.client.context();
        let mut settled = reports.settled();
        loop {
            self.client.poll(Duration::ZERO);
            if reports.settled() == settled {
                break;
            }
            settled = reports.settled();
        }
        match reports.failure() {
            None => Ok((self.sent.records + self.forgotten - settled) as usize),
            Some(failure) => Err(failure),
        }
    }

    /// What is wrong. A fatal error fails every message, and every transaction, for no reason of its own.
    fn explain(&self, failure: &KafkaError) -> SinkError {
        let fatal = self.client.client().fatal_error().map(|(code, _)| KafkaError::MessageProduction(code));
        self.client.context().explain(fatal.as_ref().unwrap_or(failure))
    }

    /// What has been taken since the start.
    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    /// Counts from nothing again: what was sent so far is none of the job's. All of it has been acknowledged.
    fn forget_sent(&mut self) {
        self.forgotten += self.sent.records;
        self.sent = Sent::default();
    }

    fn too_large(&self, message: &Message<'_>) -> SinkError {
        let size = message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
        let key = String::from_utf8_lossy(message.key.unwrap_or_default());
        let key: String = key.chars().take(100).flat_map(char::escape_debug).collect();
        let message = format!(
            "the record of {key} has {size} bytes, too many for topic {}: lower --top-k, or raise -X message.max.bytes \
             and the topic's max.message.bytes",
            self.topic
        );
        SinkError::Kafka { message }
    }
}

impl From<SourceError> for SinkError {
    /// What a question about a topic failed with, which is asked in the same words for reading and writing.
    fn from(error: SourceError) -> Self {
        SinkError::Kafka { message: error.to_string() }
    }
}
