//! The partitions of a topic that one worker reads.
//!
//! # Notes
//! - Each partition has a queue of its own, taken before the partition is assigned: then no record reaches the
//!   consumer's main queue, which carries errors and log lines.
//! - A message lives in librdkafka's memory while it is handed over; nothing of it is copied.

use super::client::ClientLog;
use super::commit::Commits;
use super::connection::{Connection, is_permanent};
use super::headers::with_headers;
use super::settings::{KafkaSettings, Role};
use super::start::{Range, StartFrom, find_ranges, of_this_topic, warn_of_open_transactions};
use super::topic::{TopicChange, Watch};
use crate::{Fetched, Lag, RawRecord, Resume, Share, Source, SourceError};
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What one call of `fetch` hands over at most, so that a backlog of large records holds nobody up.
const FETCH_BYTES_MAX: usize = 8 << 20;
/// Events of the main queue that are dealt with at a time.
const EVENTS_MAX: usize = 100;

/// What is read, and by whom.
#[derive(Clone, Debug)]
pub struct KafkaParams {
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: StartFrom,
    /// End where the records end that are there at the start, rather than never. Then new partitions are not looked
    /// for.
    pub until_end: bool,
    /// The longest value handed over whole, in bytes; of a longer one this much of its beginning.
    pub record_bytes_max: usize,
    /// How often to look for new partitions; at least every 0.1 s. Usually 10 s.
    pub metadata_refresh: Duration,
    /// Which of the partitions are this worker's.
    pub share: Share,
    /// Whether to ask for the topic's id, which tells one that was created again from it: needs brokers that have ids.
    pub asks_id: bool,
    /// Whether offsets will be committed for the group. Then a permission that is missing is found at the start.
    pub commits: bool,
}

impl KafkaParams {
    /// What reads all of a topic from its beginning to its present end, for nobody's group.
    pub fn whole(topic: &str, record_bytes_max: usize) -> KafkaParams {
        KafkaParams {
            topic: topic.to_owned(),
            from: StartFrom::Beginning,
            until_end: true,
            record_bytes_max,
            metadata_refresh: Duration::from_secs(10),
            share: Share::WHOLE,
            asks_id: false,
            commits: false,
        }
    }
}

/// A topic as a source.
pub struct KafkaSource {
    // NB: dropped in this order: the connection, which releases the consumer, last.
    /// `None` in a bounded run.
    watch: Option<Watch>,
    commits: Commits,
    partitions: BTreeMap<u32, Partition>,
    /// How many partitions the topic has, other workers' with them.
    partition_count: usize,
    params: KafkaParams,
    /// The topic's id, if the brokers have given it one.
    topic_id: Option<String>,
    /// A partition has come to its end since positions were asked for last.
    may_have_passed_markers: bool,
    /// Whom to wake when a record arrives.
    reader: Thread,
    connection: Arc<Connection>,
}

struct Partition {
    queue: PartitionQueue<ClientLog>,
    first: u64,
    /// In a bounded run, the offset that is not read any more.
    end: Option<u64>,
    ended: bool,
    /// Where the records ended at the start.
    known_end: u64,
    /// They have been handed over.
    caught_up: bool,
    /// The offset after the last record handed over, or after markers that follow it.
    next: Option<u64>,
    /// Nothing that can be read stood behind the last record when the broker was asked last.
    at_end: bool,
}

impl KafkaSource {
    /// Connects, finds the topic and the offsets to begin at. Fails within the settings' start-up timeout if no broker
    /// answers, if there is no such topic, or if a permission is missing.
    pub fn new(settings: &KafkaSettings, params: KafkaParams) -> Result<KafkaSource, SourceError> {
        KafkaSource::open(settings, params, None)
    }

    /// The same for a topic of which a part was read before: `params.from` does not matter. Also fails if a partition
    /// does not have the offset to resume at, unless `resume` says otherwise.
    pub fn resume(
        settings: &KafkaSettings,
        params: KafkaParams,
        resume: &Resume,
    ) -> Result<KafkaSource, SourceError> {
        KafkaSource::open(settings, params, Some(resume))
    }

    fn open(
        settings: &KafkaSettings,
        params: KafkaParams,
        resume: Option<&Resume>,
    ) -> Result<KafkaSource, SourceError> {
        let deadline = Instant::now() + settings.startup_timeout();
        let connection = Arc::new(Connection::new(settings, Role::Consumer, &params.topic)?);
        let Some(partition_count) = connection.partitions(deadline)? else {
            return Err(connection.absent());
        };
        let topic_id = if params.asks_id { connection.topic_id(deadline)? } else { None };
        let resume =
            resume.map(|resume| of_this_topic(&connection, resume, topic_id.as_deref())).transpose()?;
        let no_thread =
            |error| SourceError::Kafka { message: format!("no thread to serve {}: {error}", params.topic) };
        let commits = Commits::new(&connection).map_err(no_thread)?;
        let refresh = (!params.until_end).then_some(params.metadata_refresh);
        let watch = refresh.map(|period| Watch::new(Arc::clone(&connection), partition_count, period));
        let watch = watch.transpose().map_err(no_thread)?;
        let partitions = BTreeMap::new();
        let reader = thread::current();
        let mut source = KafkaSource {
            watch,
            commits,
            partitions,
            partition_count,
            params,
            topic_id,
            may_have_passed_markers: false,
            reader,
            connection,
        };
        let owned = source.owned(0..partition_count);
        let ranges = find_ranges(&source.connection, &owned, &source.params, resume.as_ref(), deadline)?;
        // A run without an end comes to see them.
        if source.params.until_end && source.params.commits && !ranges.is_empty() {
            let topic = &source.params.topic;
            let everything = Connection::new(&settings.with_uncommitted(), Role::Consumer, topic)?;
            warn_of_open_transactions(&everything, &ranges, deadline)?;
        }
        source.assign(ranges)?;
        Ok(source)
    }

    /// The partitions among `partitions` that are this worker's.
    fn owned(&self, partitions: std::ops::Range<usize>) -> Vec<u32> {
        partitions
            .map(|partition| partition as u32)
            .filter(|partition| self.params.share.owns(*partition))
            .collect()
    }

    fn assign(&mut self, ranges: BTreeMap<u32, Range>) -> Result<(), SourceError> {
        let topic = &self.params.topic;
        let mut assignment = TopicPartitionList::new();
        for (partition, range) in ranges {
            let id = partition as i32;
            let queue = self.connection.consumer.split_partition_queue(topic, id);
            let mut queue = queue
                .ok_or_else(|| self.connection.error(&KafkaError::MetadataFetch(Code::UnknownPartition)))?;
            let reader = self.reader.clone();
            queue.set_nonempty_callback(move || reader.unpark());
            let end = self.params.until_end.then_some(range.end);
            let ended = self.params.until_end && range.empty;
            if !ended {
                let added = assignment.add_partition_offset(topic, id, range.start);
                added.map_err(|error| self.connection.error(&error))?;
            }
            // One that has appeared since the start was not there then.
            let (known_end, caught_up) = (range.end, range.empty || range.end == 0);
            let first = range.first;
            self.partitions.insert(
                partition,
                Partition { queue, first, end, ended, known_end, caught_up, next: None, at_end: false },
            );
        }
        if assignment.count() == 0 {
            return Ok(());
        }
        self.connection
            .consumer
            .incremental_assign(&assignment)
            .map_err(|error| self.connection.error(&error))
    }

    /// Deals with errors, log lines and commits.
    fn serve(&mut self) -> Result<(), SourceError> {
        for _ in 0..EVENTS_MAX {
            match self.connection.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    // NB: leans on queues being taken before partitions are assigned. Going on would lose the record.
                    let (topic, partition) = (&self.params.topic, message.partition());
                    let message =
                        format!("a record of topic {topic}, partition {partition}, came by the wrong queue");
                    return Err(SourceError::Kafka { message });
                }
                Some(Err(error)) if is_permanent(&error) => return Err(self.connection.error(&error)),
                // librdkafka tries again, and the context has noted it.
                Some(Err(_)) => {}
            }
        }
        self.commits.serve()
    }

    /// Takes in what the watch has seen.
    fn follow_topic(&mut self) -> Result<(), SourceError> {
        let news: Vec<TopicChange> = self.watch.iter().flat_map(Watch::news).collect();
        for news in news {
            match news {
                TopicChange::Deleted | TopicChange::Replaced => return Err(self.connection.absent()),
                TopicChange::Grown(partition_count) => {
                    let appeared = self.owned(self.partition_count..partition_count);
                    tracing::info!(
                        topic = self.params.topic,
                        partition_count,
                        ?appeared,
                        "the topic has grown"
                    );
                    // Whatever `--from` says: nothing of them can have been seen.
                    let whole = Range { start: Offset::Beginning, first: 0, end: 0, empty: false };
                    self.assign(appeared.into_iter().map(|partition| (partition, whole)).collect())?;
                    self.partition_count = partition_count;
                }
            }
        }
        Ok(())
    }

    /// Stops fetching what lies beyond the end of a bounded run.
    fn pause(&self, partition: u32) -> Result<(), SourceError> {
        let mut ended = TopicPartitionList::new();
        ended.add_partition(&self.params.topic, partition as i32);
        self.connection.consumer.pause(&ended).map_err(|error| self.connection.error(&error))
    }
}

impl Source for KafkaSource {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        self.serve()?;
        self.follow_topic()?;
        Ok(self.partitions.keys().copied().collect())
    }

    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        self.serve()?;
        let owned = self
            .partitions
            .get_mut(&partition)
            .expect("the caller names a partition that `partitions` returned");
        let ended_before = owned.ended;
        let fetched = owned.fetch(partition, records_max, self.params.record_bytes_max, each);
        let fetched = fetched.map_err(|error| self.connection.error(&error))?;
        self.may_have_passed_markers |= fetched.at_end;
        if fetched.ended && !ended_before {
            self.pause(partition)?;
        }
        Ok(fetched)
    }

    fn first_offset(&self, partition: u32) -> u64 {
        self.partitions.get(&partition).map_or(0, |partition| partition.first)
    }

    fn identity(&self) -> Option<&str> {
        self.topic_id.as_deref()
    }

    fn may_grow(&self) -> bool {
        !self.params.until_end
    }

    fn has_caught_up(&self) -> bool {
        self.partitions.values().all(|partition| partition.caught_up)
    }

    fn lags(&self) -> Vec<Lag> {
        let ends = self.connection.log.ends();
        let lag = |(&number, partition): (&u32, &Partition)| {
            let Some(end) = ends.get(&number) else {
                return partition.at_end.then_some(Lag { partition: number, offsets: 0, hidden: 0 });
            };
            let next = partition.next.unwrap_or(partition.first);
            let hidden = end.high_watermark.saturating_sub(end.stable.max(next));
            // Markers of transactions have offsets too, so the end may lie behind the last record.
            let offsets = if partition.at_end { hidden } else { end.high_watermark.saturating_sub(next) };
            Some(Lag { partition: number, offsets, hidden })
        };
        self.partitions.iter().filter_map(lag).collect()
    }

    fn positions(&mut self) -> Result<Vec<(u32, u64)>, SourceError> {
        // NB: librdkafka answers on its main thread, so it is asked only when it may have something to say.
        if std::mem::take(&mut self.may_have_passed_markers) {
            let positions =
                self.connection.consumer.position().map_err(|error| self.connection.error(&error))?;
            for position in positions.elements() {
                let number = position.partition().unsigned_abs();
                let (Some(partition), Offset::Offset(offset)) =
                    (self.partitions.get_mut(&number), position.offset())
                else {
                    continue;
                };
                let offset = offset.unsigned_abs().min(partition.end.unwrap_or(u64::MAX));
                partition.next = partition.next.max(Some(offset));
            }
        }
        let known = self.partitions.iter().filter(|(_number, partition)| partition.at_end || partition.ended);
        Ok(known.filter_map(|(&number, partition)| Some((number, partition.next?))).collect())
    }

    fn commit(&mut self, offsets: &[(u32, u64)]) -> Result<(), SourceError> {
        self.commits.add(offsets);
        self.commits.serve()
    }

    fn close(&mut self, patience: Duration) -> Result<(), SourceError> {
        self.serve()?;
        self.commits.finish(Instant::now() + patience)
    }
}

impl Partition {
    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        record_bytes_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, KafkaError> {
        let mut fetched = Fetched::default();
        while !self.ended && fetched.records < records_max && fetched.bytes < FETCH_BYTES_MAX {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let offset = message.offset().unsigned_abs();
                    let next = (offset + 1).min(self.end.unwrap_or(u64::MAX));
                    (self.next, self.at_end) = (Some(next), false);
                    self.ended = self.end.is_some_and(|end| offset + 1 >= end);
                    self.caught_up |= offset + 1 >= self.known_end;
                    if self.end.is_none_or(|end| offset < end) {
                        fetched.records += 1;
                        fetched.bytes += message.key_len() + message.payload_len();
                        hand_over(&message, partition, record_bytes_max, each);
                    }
                }
                // The log ends here, after all that was there at the start.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.ended = self.end.is_some();
                    self.caught_up = true;
                    self.at_end = true;
                }
                Some(Err(error)) if is_permanent(&error) => return Err(error),
                Some(Err(_)) => {}
            }
        }
        fetched.ended = self.ended;
        fetched.at_end = self.at_end;
        Ok(fetched)
    }
}

fn hand_over(
    message: &BorrowedMessage<'_>,
    partition: u32,
    record_bytes_max: usize,
    each: &mut dyn FnMut(RawRecord<'_>),
) {
    let value = message.payload();
    let held = value.map(|value| &value[..value.len().min(record_bytes_max)]);
    with_headers(message, |headers| {
        each(RawRecord {
            partition,
            offset: message.offset().unsigned_abs(),
            key: message.key(),
            value: held,
            headers,
            timestamp: message.timestamp().to_millis(),
            truncated: value.is_some_and(|value| value.len() > record_bytes_max),
        });
    });
}
