//! Where reading begins, and for a bounded run, where it ends.

use super::client::warn_of_open_transaction;
use super::connection::Connection;
use super::open_transactions::End;
use super::settings::SettingsError;
use super::source::KafkaParams;
use crate::{OnExpired, Resume, SourceError};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Where to begin in the partitions that are there when a job starts. One that appears later is read from its
/// beginning in any case: nothing of it can have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record there is.
    Beginning,
    /// After the newest.
    End,
    /// Where the consumer group stopped; at the beginning of partitions of which it knows nothing.
    Committed,
    /// At the first record of this time or later, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

impl FromStr for StartFrom {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<StartFrom, SettingsError> {
        match text {
            "beginning" => Ok(StartFrom::Beginning),
            "end" => Ok(StartFrom::End),
            "committed" => Ok(StartFrom::Committed),
            _ => milliseconds(text).map(StartFrom::Timestamp),
        }
    }
}

/// Below this, milliseconds are of times before any topic, and seconds of our days: 1973-03-03, or the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// The end of the year 9999. What is above is not in milliseconds.
const MILLISECONDS_MAX: i64 = 253_402_300_799_999;

/// A time, as milliseconds since 1970 or in RFC 3339.
fn milliseconds(text: &str) -> Result<i64, SettingsError> {
    let is_number = text.parse::<i64>().is_ok();
    let time = text.parse::<i64>().ok();
    let time = time.or_else(|| text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond()));
    let found = time.filter(|time| *time >= 0);
    let time = found.ok_or_else(|| SettingsError::Start { text: text.chars().take(100).collect() })?;
    let written = |milliseconds| jiff::Timestamp::from_millisecond(milliseconds).map(|time| time.to_string());
    match time {
        1..SECONDS_MAX if is_number => Err(SettingsError::Seconds {
            text: text.to_owned(),
            meaning: written(time).unwrap_or_default(),
            instead: time * 1000,
            wanted: written(time * 1000).unwrap_or_default(),
        }),
        0..=MILLISECONDS_MAX => Ok(time),
        _ => Err(SettingsError::Far { text: text.to_owned() }),
    }
}

/// What there is to read of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Offset,
    /// The same as a number, as far as it is known.
    pub(super) first: u64,
    /// Where the records end that are there now; they may lie below it, for markers and compacted records have
    /// offsets too.
    pub(super) end: u64,
    /// Nothing lies between the two.
    pub(super) empty: bool,
}

/// Finds out where to begin and where the records end now. With `isolation.level=read_committed` the end is before the
/// first transaction that is still open.
pub(super) fn find_ranges(
    connection: &Connection,
    partitions: &[u32],
    params: &KafkaParams,
    resume: Option<&Resume>,
    deadline: Instant,
) -> Result<BTreeMap<u32, Range>, SourceError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let offsets_of =
        |offset| connection.ask(deadline, |patience| at_times(connection, partitions, offset, patience));
    let lows = offsets_of(Offset::Beginning)?;
    let highs = offsets_of(Offset::End)?;
    // Also asked where the answer is not needed: that the group may not be used is to be known now. Readers that never
    // commit do not ask, for it takes up to a second to find the group's coordinator.
    let asks_group = params.commits || params.from == StartFrom::Committed;
    let ask = || connection.ask(deadline, |patience| committed(connection, partitions, patience));
    let committed = asks_group.then(ask).transpose()?.unwrap_or_default();
    if let Some(resume) = resume {
        let ranges = partitions
            .iter()
            .map(|&partition| Ok((partition, resumed(connection, partition, &lows, &highs, resume)?)));
        return ranges.collect();
    }
    let wanted = match params.from {
        StartFrom::Beginning => BTreeMap::new(),
        StartFrom::End => highs.clone(),
        StartFrom::Committed => committed,
        StartFrom::Timestamp(time) => {
            let found = offsets_of(Offset::Offset(time))?;
            // Partitions without a record of that time or later are read from their end.
            highs
                .iter()
                .map(|(partition, high)| (*partition, *found.get(partition).unwrap_or(high)))
                .collect()
        }
    };
    partitions
        .iter()
        .map(|partition| Ok((*partition, range(connection, *partition, &lows, &highs, &wanted)?)))
        .collect()
}

/// Warns of partitions that end at a transaction that is open: what is behind it is not part of a bounded run.
/// `everything` is a reader of uncommitted records.
pub(super) fn warn_of_open_transactions(
    everything: &Connection,
    ranges: &BTreeMap<u32, Range>,
    deadline: Instant,
) -> Result<(), SourceError> {
    let partitions: Vec<u32> = ranges.keys().copied().collect();
    let ends =
        everything.ask(deadline, |patience| at_times(everything, &partitions, Offset::End, patience))?;
    for (&partition, range) in ranges {
        let high_watermark = ends.get(&partition).map_or(0, |end| end.unsigned_abs());
        let end = End { high_watermark, stable: range.end.min(high_watermark) };
        // Also of what was written between the two questions: rarely, and it is as true.
        if end.hidden() > 0 {
            warn_of_open_transaction(&everything.topic, partition, end, None);
        }
    }
    Ok(())
}

/// Where to resume in the topic that has this id now: nowhere, if it is another one than was read before.
pub(super) fn of_this_topic(
    connection: &Connection,
    resume: &Resume,
    id: Option<&str>,
) -> Result<Resume, SourceError> {
    let topic = &connection.topic;
    match (resume.identity.as_deref(), id) {
        (Some(then), Some(now)) if then != now => match resume.on_expired {
            OnExpired::Fail => {
                let message = format!(
                    "topic {topic} is not the one that was read before: it was deleted and created again (its id was \
                     {then} and is {now}); --on-expired continue keeps what was read of the old one and reads the new \
                     one from its beginning; without the snapshots, the job starts over"
                );
                Err(SourceError::Kafka { message })
            }
            OnExpired::Continue => {
                tracing::warn!(
                    topic,
                    then,
                    now,
                    "the topic was created again; reading it from its beginning"
                );
                Ok(Resume { offsets: BTreeMap::new(), ..resume.clone() })
            }
        },
        _ => Ok(resume.clone()),
    }
}

/// What there is to read of a partition of which a part was read before.
fn resumed(
    connection: &Connection,
    partition: u32,
    lows: &BTreeMap<u32, i64>,
    highs: &BTreeMap<u32, i64>,
    resume: &Resume,
) -> Result<Range, SourceError> {
    let offset_in =
        |offsets: &BTreeMap<u32, i64>| offsets.get(&partition).map(|offset| offset.unsigned_abs());
    let low = offset_in(lows).unwrap_or(0);
    let high = offset_in(highs).unwrap_or(low);
    let (topic, next) = (&connection.topic, resume.offsets.get(&partition).copied());
    match next {
        Some(next) if next > high => {
            let message = format!(
                "partition {partition} of topic {topic} ends at offset {high}, but it was read to {next} before: \
                 records are lost, or it is another topic of that name; without the snapshots, the job starts over"
            );
            return Err(SourceError::Kafka { message });
        }
        Some(next) if next < low => match resume.on_expired {
            OnExpired::Fail => {
                let message = format!(
                    "partition {partition} of topic {topic} begins at offset {low}, but the job is to resume at \
                     {next}: retention has removed {} offsets that were not read; --on-expired continue resumes \
                     without them",
                    low - next
                );
                return Err(SourceError::Kafka { message });
            }
            OnExpired::Continue => tracing::warn!(
                topic,
                partition,
                read_to = next,
                beginning = low,
                "retention has removed records that were not read; going on without them"
            ),
        },
        _ => {}
    }
    let first = next.unwrap_or(low).max(low);
    let start = match next {
        // From the beginning by name: retention may move it before the first fetch.
        None => Offset::Beginning,
        Some(_) => Offset::Offset(first as i64),
    };
    Ok(Range { start, first, end: high, empty: first >= high })
}

/// What there is to read of one partition, given its offsets: the oldest, the next, and where to begin.
fn range(
    connection: &Connection,
    partition: u32,
    lows: &BTreeMap<u32, i64>,
    highs: &BTreeMap<u32, i64>,
    wanted: &BTreeMap<u32, i64>,
) -> Result<Range, SourceError> {
    let offset_in = |offsets: &BTreeMap<u32, i64>| offsets.get(&partition).copied();
    let low = offset_in(lows).unwrap_or(0);
    let high = offset_in(highs).unwrap_or(low);
    let start = offset_in(wanted).unwrap_or(low);
    if start > high {
        return Err(connection.error(&KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetOutOfRange)));
    }
    if start < low {
        let topic = &connection.topic;
        tracing::warn!(
            topic,
            partition,
            committed = start,
            beginning = low,
            "retention has removed records that were not read; going on at the beginning"
        );
    }
    // From the beginning by name: retention may move it before the first fetch.
    let offset = if start <= low { Offset::Beginning } else { Offset::Offset(start) };
    let first = start.max(low);
    Ok(Range { start: offset, first: first.unsigned_abs(), end: high.unsigned_abs(), empty: first >= high })
}

/// The offsets that a point in time (or the beginning, or the end) has in each partition; without those partitions
/// where there is none.
fn at_times(
    connection: &Connection,
    partitions: &[u32],
    time: Offset,
    patience: Duration,
) -> KafkaResult<Option<BTreeMap<u32, i64>>> {
    let mut times = TopicPartitionList::new();
    for partition in partitions {
        times.add_partition_offset(&connection.topic, *partition as i32, time)?;
    }
    offsets(&connection.consumer.offsets_for_times(times, patience)?).map(Some)
}

fn committed(
    connection: &Connection,
    partitions: &[u32],
    patience: Duration,
) -> KafkaResult<Option<BTreeMap<u32, i64>>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(&connection.topic, *partition as i32);
    }
    offsets(&connection.consumer.committed_offsets(asked, patience)?).map(Some)
}

/// The offsets of a list that has them.
fn offsets(list: &TopicPartitionList) -> KafkaResult<BTreeMap<u32, i64>> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition().unsigned_abs(), offset);
        }
    }
    Ok(offsets)
}
