//! Records to Kafka topics, without waiting for the broker.
//!
//! One [`KafkaSink`] serves one worker. librdkafka queues the records it has taken, in bounded memory, and sends them
//! from its own threads. The next [`Sink::poll`] receives the acknowledgements. librdkafka's messages go to the log.
//!
//! # Notes
//!
//! [`KafkaSink`] delivers at least once and in order: the producer is idempotent, and all in-sync replicas
//! acknowledge. [`TransactionalSink`] delivers exactly once.

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

use super::{Delivery, Record, Records, Sent, Sink, SinkError, StreamNumber};
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

/// Properties of every producer, unless the user sets them. Each limits, per worker, what librdkafka has taken and
/// not yet delivered. The first limit reached counts.
const QUEUE: [(&str, &str); 2] =
    [("queue.buffering.max.kbytes", "65536"), ("queue.buffering.max.messages", "200000")];

/// The number of records taken per call: a few milliseconds of work, so that a large epoch does not block the worker.
const SEND_RECORDS_MAX: usize = 2_000;

/// Kafka topics as the destinations of one worker's records, with delivery at least once. It takes the records of an
/// epoch when all earlier epochs have been delivered. The number of a stream is the index of its topic.
pub struct KafkaSink {
    producer: Producer,
    /// Epochs closed and not yet delivered. Records of the next epoch wait for them.
    epochs: usize,
}

impl KafkaSink {
    /// Connects to `topics`, which must exist (see [`ensure_topic`]).
    ///
    /// # Errors
    /// When no broker answers within the settings' start-up timeout.
    pub fn connect(settings: &KafkaSettings, topics: &[&str]) -> Result<Self, SinkError> {
        Ok(KafkaSink { producer: Producer::connect(settings, topics)?, epochs: 0 })
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        for _ in 0..SEND_RECORDS_MAX {
            let Some(record) = records.front().filter(|_| self.epochs == 0) else { break };
            let message = self.producer.message(stream, &record);
            match self.producer.offer_to(stream, &message)? {
                Offered::Taken => records.pop(),
                Offered::Full => break,
                Offered::TooLarge => return Err(self.producer.too_large(stream, &message)),
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

    fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        Some(self.producer.topics[stream].partitions.of(key))
    }

    fn sent(&self) -> Sent {
        self.producer.sent()
    }
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// The partition. Without it, the client chooses: by the key, or any partition for a message without a key.
    pub(crate) partition: Option<u32>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Milliseconds since the Unix epoch. Without it, the time of sending.
    pub(crate) timestamp: Option<i64>,
}

/// The result of offering a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The producer has taken it.
    Taken,
    /// The queue is full. Poll and offer the message again.
    Full,
    /// It is longer than `message.max.bytes` and will never be taken.
    TooLarge,
}

/// A topic that is written to.
#[derive(Clone, Debug)]
struct Topic {
    name: String,
    partitions: Partitions,
}

impl Topic {
    /// Finds topics that exist, or were created a moment ago.
    fn find_all(settings: &KafkaSettings, topics: &[&str]) -> Result<Vec<Topic>, SinkError> {
        let find = |&name: &&str| {
            let partitions = Partitions::of_topic(settings, name)?;
            Ok(Topic { name: name.to_owned(), partitions })
        };
        topics.iter().map(find).collect()
    }
}

/// The names of topics, for messages that concern all of them.
fn names(topics: &[Topic]) -> String {
    topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// A producer for one or more topics that counts acknowledgements.
pub(crate) struct Producer {
    client: Released<Arc<BaseProducer<Reports>>>,
    topics: Vec<Topic>,
    sent: Sent,
    /// Messages that `sent` no longer counts.
    forgotten: u64,
}

impl Producer {
    /// Connects to topics that exist, or were created a moment ago.
    pub(crate) fn connect(settings: &KafkaSettings, topics: &[&str]) -> Result<Self, SinkError> {
        Producer::connect_as(settings, Topic::find_all(settings, topics)?, None)
    }

    /// Connects to topics that are known to exist, with the transactional `id` if there is one.
    fn connect_as(settings: &KafkaSettings, topics: Vec<Topic>, id: Option<&str>) -> Result<Self, SinkError> {
        let reports = Reports::new(settings, &names(&topics));
        let mut config = settings.client_config(Role::Producer);
        for (name, value) in QUEUE {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        if let Some(id) = id {
            config.set("transactional.id", id);
        }
        let explained = Reports::new(settings, &names(&topics));
        let client = config.create_with_context(reports).map_err(|error| explained.explain(&error))?;
        Ok(Producer { client: Released::new(Arc::new(client)), topics, sent: Sent::default(), forgotten: 0 })
    }

    /// A record as a message. The partition is explicit: librdkafka would also use partitions that the topic has
    /// gained since.
    fn message<'a>(&self, topic: usize, record: &Record<'a>) -> Message<'a> {
        let Record { key, value, .. } = *record;
        let partition = record.partition.unwrap_or_else(|| self.topics[topic].partitions.of(key));
        Message { key: Some(key), value, partition: Some(partition), headers: &[], timestamp: None }
    }

    /// Offers a message for the first topic.
    pub(crate) fn offer(&mut self, message: &Message<'_>) -> Result<Offered, SinkError> {
        self.offer_to(0, message)
    }

    /// Offers a message for a topic, by its index.
    fn offer_to(&mut self, topic: usize, message: &Message<'_>) -> Result<Offered, SinkError> {
        let (key, value) = (message.key.unwrap_or_default(), message.value.unwrap_or_default());
        let mut record = BaseRecord::to(&self.topics[topic].name);
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

    /// Collects acknowledgements. Returns the number of unacknowledged messages.
    pub(crate) fn poll(&mut self) -> Result<usize, SinkError> {
        self.collect().map_err(|failure| self.explain(&failure))
    }

    /// Collects acknowledgements. The error is that of the first message that failed.
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

    /// Explains a failure. A fatal error of the client fails every message and transaction, so it comes first.
    fn explain(&self, failure: &KafkaError) -> SinkError {
        let fatal = self.client.client().fatal_error().map(|(code, _)| KafkaError::MessageProduction(code));
        self.client.context().explain(fatal.as_ref().unwrap_or(failure))
    }

    /// The records and bytes taken since the start.
    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    /// Resets `sent` to zero, because the messages so far were none of the job's. All of them have been acknowledged.
    fn forget_sent(&mut self) {
        self.forgotten += self.sent.records;
        self.sent = Sent::default();
    }

    fn too_large(&self, topic: usize, message: &Message<'_>) -> SinkError {
        let size = message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
        let key = String::from_utf8_lossy(message.key.unwrap_or_default());
        let key: String = key.chars().take(100).flat_map(char::escape_debug).collect();
        let message = format!(
            "the record of {key} has {size} bytes, too many for topic {}: lower --top-k, or raise -X message.max.bytes \
             and the topic's max.message.bytes",
            self.topics[topic].name
        );
        SinkError::Kafka { message }
    }
}

impl From<SourceError> for SinkError {
    /// The error of a metadata request, with the same text for reading and writing.
    fn from(error: SourceError) -> Self {
        SinkError::Kafka { message: error.to_string() }
    }
}
