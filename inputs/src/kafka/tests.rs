//! Reading topics of librdkafka's mock brokers; `settings` and `real` hold what needs no broker, and a real one.

mod mock;
mod real;
mod settings;

use super::*;
use crate::{Resume, Share, Source, SourceError};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record as a test wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    partition: u32,
    offset: u64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    timestamp: Option<i64>,
    truncated: bool,
}

fn params(topic: &str) -> KafkaParams {
    KafkaParams {
        topic: topic.to_string(),
        from: StartFrom::Beginning,
        until_end: true,
        record_bytes_max: 1 << 20,
        metadata_refresh: Duration::from_millis(200),
        share: Share::WHOLE,
        asks_id: false,
        commits: true,
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Fetches once from each partition; says whether all have ended.
fn fetch(source: &mut KafkaSource, seen: &mut Vec<Seen>) -> Result<bool, SourceError> {
    let mut ended = true;
    for partition in source.partitions()? {
        let before = seen.len();
        let fetched = source.fetch(partition, 100, &mut |record| {
            seen.push(Seen {
                partition: record.partition,
                offset: record.offset,
                key: text(record.key),
                value: text(record.value),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), text(*value)))
                    .collect(),
                timestamp: record.timestamp,
                truncated: record.truncated,
            });
        })?;
        assert_eq!(fetched.records, seen.len() - before);
        assert!(seen[before..].iter().all(|record| record.partition == partition));
        ended &= fetched.ended;
    }
    Ok(ended)
}

/// Reads to the end of a bounded source.
fn read_to_end(source: &mut KafkaSource) -> Result<Vec<Seen>, SourceError> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while !fetch(source, &mut seen)? {
        assert!(Instant::now() < deadline, "no end in sight after {} records", seen.len());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(seen)
}

/// Reads until there are `count` records, and a little longer, so that too many are seen too.
fn read(source: &mut KafkaSource, count: usize) -> Result<Vec<Seen>, SourceError> {
    let mut deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let mut enough = false;
    while Instant::now() < deadline {
        fetch(source, &mut seen)?;
        if !enough && seen.len() >= count {
            enough = true;
            deadline = Instant::now() + Duration::from_millis(300);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(seen)
}

fn values(seen: &[Seen]) -> Vec<&str> {
    seen.iter().filter_map(|record| record.value.as_deref()).collect()
}

fn producer(settings: &KafkaSettings) -> BaseProducer {
    settings.client_config(Role::Producer).create().unwrap()
}

/// Sends `values` to one partition and waits until they are there.
fn send(producer: &BaseProducer, topic: &str, partition: i32, values: &[&str]) {
    for value in values {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// What a source says that cannot begin, and how long it took to say so.
fn refusal(settings: &KafkaSettings, params: KafkaParams) -> (String, Duration) {
    let began = Instant::now();
    let error = KafkaSource::new(settings, params).map(|_| ()).unwrap_err();
    (error.to_string(), began.elapsed())
}
