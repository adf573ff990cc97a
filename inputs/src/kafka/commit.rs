//! Offsets on their way to the consumer group, one request at a time.
//!
//! # Notes
//! A thread of its own waits for each answer. Through rdkafka's event interface librdkafka leaves asynchronous commits
//! unanswered, so nobody would know when an orderly end may end, or that a permission is missing.

use super::connection::{Connection, is_permanent};
use crate::SourceError;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Offsets are sent no more often than this: epochs end far more often, and lag is not that precise.
const PERIOD: Duration = Duration::from_millis(500);

/// The next offset to read of each partition.
type Offsets = BTreeMap<u32, u64>;

/// What a worker has committed and the group does not know yet.
pub(super) struct Commits {
    connection: Arc<Connection>,
    waiting: Offsets,
    under_way: Option<Offsets>,
    last_sent: Option<Instant>,
    requests: Sender<Offsets>,
    answers: Receiver<KafkaResult<()>>,
}

impl Commits {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn new(connection: &Arc<Connection>) -> std::io::Result<Commits> {
        let (requests, requested) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let client = Arc::clone(connection);
        thread::Builder::new().name("kafka-commit".into()).spawn(move || {
            // Ends when either side has gone away.
            requested.iter().all(|offsets| answer.send(commit(&client, &offsets)).is_ok())
        })?;
        let connection = Arc::clone(connection);
        let (waiting, under_way, last_sent) = (Offsets::new(), None, None);
        Ok(Commits { connection, waiting, under_way, last_sent, requests, answers })
    }

    /// Takes offsets that are newer than those before.
    pub(super) fn add(&mut self, offsets: &[(u32, u64)]) {
        self.waiting.extend(offsets.iter().copied());
    }

    /// Takes in an answer and sends what waits, if it is time. Never waits. Fails if the group may not be used.
    pub(super) fn serve(&mut self) -> Result<(), SourceError> {
        self.serve_every(PERIOD)
    }

    /// Sends what waits until all is answered.
    pub(super) fn finish(&mut self, deadline: Instant) -> Result<(), SourceError> {
        while !self.waiting.is_empty() || self.under_way.is_some() {
            self.serve_every(Duration::ZERO)?;
            if Instant::now() >= deadline {
                return Err(self
                    .connection
                    .error(&KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn serve_every(&mut self, period: Duration) -> Result<(), SourceError> {
        if let Ok(answer) = self.answers.try_recv() {
            let sent = self.under_way.take();
            if let Err(error) = answer {
                let explained = self.connection.error(&error);
                if is_permanent(&error) {
                    return Err(explained);
                }
                tracing::warn!("offsets were not committed, trying again: {explained}");
                // Newer offsets, which wait already, win.
                for (partition, offset) in sent.into_iter().flatten() {
                    self.waiting.entry(partition).or_insert(offset);
                }
            }
        }
        let too_soon = self.last_sent.is_some_and(|sent| sent.elapsed() < period);
        if !self.waiting.is_empty() && self.under_way.is_none() && !too_soon {
            let offsets = std::mem::take(&mut self.waiting);
            // The thread listens as long as this sender exists.
            let _ = self.requests.send(offsets.clone());
            self.under_way = Some(offsets);
            self.last_sent = Some(Instant::now());
        }
        Ok(())
    }
}

/// Sends offsets to the group and waits for its answer.
fn commit(connection: &Connection, offsets: &Offsets) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&connection.topic, *partition as i32, offset)?;
    }
    connection.consumer.commit(&list, CommitMode::Sync)
}
