//! Topics that hold something already: no command writes among records of another kind.
//!
//! A name on the command line may be a mistake, and what is written to a topic cannot be taken back. So the first
//! record of each partition is looked at before anything is made or written. A table, such as the lists, needs no look:
//! whoever publishes it reads what is there anyway.

use crate::dead_letter::TOPIC_HEADER;
use crate::output::Lines;
use anyhow::{Result, ensure};
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource, topic_partitions};
use deltacart_inputs::{RawRecord, Source};
use std::thread;
use std::time::{Duration, Instant};

/// What a command writes to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records that could not be used.
    DeadLetters,
    /// Records that are known by their first bytes.
    Lines(Lines),
}

/// How much of a record is looked at.
const RECORD_BYTES: usize = 1 << 20;

/// How long a partition is left alone whose first record is on its way.
const PAUSE: Duration = Duration::from_millis(5);

impl Kind {
    /// What they are called.
    fn name(self) -> &'static str {
        match self {
            Kind::DeadLetters => "dead letters",
            Kind::Lines(Lines::EVENTS) => "events of deltacart generate",
            Kind::Lines(lines) => lines.name,
        }
    }

    fn has(self, record: &RawRecord<'_>) -> bool {
        let is_letter = record.headers.iter().any(|(name, _value)| *name == TOPIC_HEADER);
        match self {
            Kind::DeadLetters => is_letter,
            Kind::Lines(lines) => {
                !is_letter && record.value.is_some_and(|value| lines.has_beginning_of(value))
            }
        }
    }
}

/// What a topic holds, as far as its first records tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Nothing that could be read.
    Nothing,
    /// Records of the kind that is to be written.
    Same,
}

/// Looks at the first record of each partition. A topic that is not there, or may not be read, holds nothing.
///
/// # Errors
/// When one of them is of another kind; the message names `flag`.
pub(crate) fn refuse_other_records(
    kafka: &KafkaSettings,
    (flag, topic): (&str, &str),
    kind: Kind,
) -> Result<Holding> {
    if topic_partitions(kafka, topic)?.is_none() {
        return Ok(Holding::Nothing);
    }
    let params =
        KafkaParams { metadata_refresh: kafka.startup_timeout(), ..KafkaParams::whole(topic, RECORD_BYTES) };
    let Ok(mut source) = KafkaSource::new(kafka, params) else { return Ok(Holding::Nothing) };
    let (mut holding, start) = (Holding::Nothing, Instant::now());
    for partition in source.partitions()? {
        let mut first = None;
        while first.is_none() && start.elapsed() < kafka.startup_timeout() {
            let look = &mut |record: RawRecord<'_>| first = Some((record.offset, kind.has(&record)));
            let Ok(fetched) = source.fetch(partition, 1, look) else { return Ok(holding) };
            match first {
                None if fetched.ended => break,
                None => thread::sleep(PAUSE),
                Some(_) => holding = Holding::Same,
            }
        }
        let other = first.filter(|(_offset, is_same)| !is_same);
        ensure!(
            other.is_none(),
            "{flag} kafka:{topic} holds other records than {}, the first at offset {} of partition {partition}: name \
             another topic",
            kind.name(),
            other.map_or(0, |(offset, _is_same)| offset)
        );
    }
    Ok(holding)
}
