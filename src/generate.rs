//! The command `deltacart generate`: writes the events of a synthetic shop to a file, to standard output or to a
//! topic.
//!
//! ```text
//!  Shop ──▶ as many events as the pace allows ──▶ lines of JSON ──▶ file, stdout
//!                                             └──▶ messages keyed by basket ──▶ topic
//! ```
//!
//! The events are a function of the shop's settings alone. The pace decides when they are written, never which.
//!
//! # Notes
//!
//! Messages have the time of sending as their timestamp, not the shop's time. The shop's time lies in the past, and a
//! broker could find such messages old enough to delete.

mod pace;
#[cfg(test)]
mod tests;

use crate::files::ExistingFile;
use crate::job::Destination;
use crate::output::kafka::{Message, Offered, Producer};
use crate::output::{FileSink, Lines, Sent, Sink, SinkError, TopicSpec, ensure_topic};
use crate::plural::counted;
use crate::topics::{Holding, Kind, refuse_other_records};
use anyhow::{Context, Result, bail};
use deltacart_inputs::generate::{CartEvent, Shop, ShopError, ShopSettings};
use deltacart_inputs::kafka::KafkaSettings;
use pace::Pace;
use serde_json::{Map, Value};
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The options of `deltacart generate`: what to write, where to, and how fast.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// The settings of the shop, with the number of its events.
    pub shop: ShopSettings,
    /// The destination of the events.
    pub output: Destination,
    /// How to reach the brokers. Needed if `output` is a topic.
    pub kafka: Option<KafkaSettings>,
    /// The partitions of the topic, if it has to be created.
    pub partitions: u32,
    /// The rate in events a second, [`GenerateOptions::RATE_MIN`] to [`GenerateOptions::RATE_MAX`]. Without it,
    /// events are written as fast as possible.
    pub rate: Option<f64>,
    /// The number of events that are written at once, before `rate` applies.
    pub head_start: u64,
    /// What happens to an output file that exists already.
    pub existing: ExistingFile,
}

/// Options that are invalid. The fault lies with the command line, not with the run.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum GenerateError {
    /// The settings of the shop are invalid.
    #[error("{0} ({flags})", flags = flags_of(.0))]
    Shop(ShopError),
    /// The rate is out of range.
    #[error(
        "a rate of {0} events a second is out of range: --rate takes {min} to {max}",
        min = GenerateOptions::RATE_MIN,
        max = GenerateOptions::RATE_MAX
    )]
    Rate(f64),
    /// The output is a file and the shop has no end: the file would grow until the disk is full.
    #[error("the shop has no end, and the file {0} would grow until the disk is full: add --events")]
    EndlessFile(String),
    /// The output is a topic, the shop has no end and no rate is set: the broker's disk would fill at full speed.
    #[error("the shop has no end and would fill topic {0} as fast as it can: add --events or --rate")]
    EndlessTopic(String),
    /// The output is a topic, and no brokers are named.
    #[error("topic {0} needs brokers: add -b/--brokers")]
    NoBrokers(String),
}

/// What one call has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// The number of events.
    pub events: u64,
    /// The bytes of their lines, or of the keys and values of their messages.
    pub bytes: u64,
    /// The time that writing took.
    pub elapsed: Duration,
}

/// The most events that are written between two looks at the clock and at `stop`. They take less than a millisecond.
const TURN_EVENTS: u64 = 512;

/// The longest sleep. It bounds how late a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// The pause before a full producer queue is offered more.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// How long the brokers may take at the end to confirm the messages in flight.
const END_PATIENCE: Duration = Duration::from_secs(30);

impl From<ShopError> for GenerateError {
    fn from(error: ShopError) -> Self {
        GenerateError::Shop(error)
    }
}

/// The flags that set the invalid settings of a shop.
fn flags_of(error: &ShopError) -> &'static str {
    match error {
        ShopError::OutOfRange { setting: "items", .. } => "--items",
        ShopError::OutOfRange { setting: "users", .. } => "--users",
        ShopError::OutOfRange { setting: "zipf exponent", .. } => "--zipf",
        ShopError::OutOfRange { setting: "removes per add", .. } => "--removes",
        ShopError::OutOfRange { setting: "purchases per add", .. } => "--purchases",
        ShopError::OutOfRange { .. } => "the settings of the shop",
        ShopError::TooMuchTaken { .. } => "--removes, --purchases",
    }
}

impl Generated {
    /// Every number under its name, for JSON output.
    pub fn fields(&self) -> Map<String, Value> {
        let fields = [
            ("events", self.events.into()),
            ("bytes", self.bytes.into()),
            ("seconds", self.elapsed.as_secs_f64().into()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl GenerateOptions {
    /// The slowest rate in events a second.
    pub const RATE_MIN: f64 = 0.001;
    /// The fastest rate in events a second, far above what any machine can write.
    pub const RATE_MAX: f64 = 1e9;

    /// Checks the options without opening anything.
    ///
    /// # Errors
    /// When an option is invalid. The message names the flag to change.
    pub fn validate(&self) -> Result<(), GenerateError> {
        if let Some(rate) = self.rate
            && !(Self::RATE_MIN..=Self::RATE_MAX).contains(&rate)
        {
            return Err(GenerateError::Rate(rate));
        }
        self.shop.validate()?;
        let endless = self.shop.events.is_none();
        match &self.output {
            Destination::File(path) if endless && keeps_what_it_gets(path) => {
                Err(GenerateError::EndlessFile(path.clone()))
            }
            Destination::Topic(topic) if endless && self.rate.is_none() => {
                Err(GenerateError::EndlessTopic(topic.clone()))
            }
            Destination::Topic(topic) if self.kafka.is_none() => Err(GenerateError::NoBrokers(topic.clone())),
            _ => Ok(()),
        }
    }
}

/// Whether a path is, or will be, a regular file, which grows. Pipes and devices do not.
fn keeps_what_it_gets(path: &str) -> bool {
    path != "-" && fs::metadata(path).map_or(true, |metadata| metadata.is_file())
}

/// Writes the shop's events until there are no more or `stop` is set.
///
/// If the reader of a pipe has closed it, writing ends without an error.
///
/// # Errors
/// [`GenerateError`] when the options are invalid. Other errors when the output cannot be created or written.
pub fn generate(options: &GenerateOptions, stop: &AtomicBool) -> Result<Generated> {
    generate_watched(options, stop, &mut |_events| {})
}

/// Writes the shop's events as [`generate`] does, and calls `watch` after each turn with the number of events so far.
///
/// # Errors
/// Those of [`generate`].
pub fn generate_watched(
    options: &GenerateOptions,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(u64),
) -> Result<Generated> {
    options.validate()?;
    let mut shop = Shop::new(options.shop.clone()).map_err(GenerateError::Shop)?;
    let mut writer = EventWriter::open(options)?;
    let pace = Pace::new(options.rate, options.head_start);
    let start = Instant::now();
    let mut events = 0;
    let written = write(&mut shop, &mut writer, pace, start, stop, &mut |more| {
        events += more;
        watch(events);
    })
    .and_then(|()| writer.finish());
    match written {
        Ok(()) | Err(SinkError::Closed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Generated { events, bytes: writer.sent().bytes, elapsed: start.elapsed() })
}

/// Writes the events that are due, turn by turn. After each turn it calls `written` with the events of that turn.
fn write(
    shop: &mut Shop,
    writer: &mut EventWriter,
    pace: Pace,
    start: Instant,
    stop: &AtomicBool,
    written: &mut dyn FnMut(u64),
) -> Result<(), SinkError> {
    let mut events = 0;
    let mut text = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = pace.due(start.elapsed()).saturating_sub(events);
        if due == 0 {
            writer.turn()?;
            let wait = pace.due_at(events).saturating_sub(start.elapsed());
            thread::sleep(wait.clamp(Duration::from_millis(1), SLEEP_MAX));
            continue;
        }
        let turn = due.min(TURN_EVENTS);
        let mut done = 0;
        for event in shop.by_ref().take(turn as usize) {
            text.clear();
            event.write_json(&mut text);
            if !writer.write(&event, &text, stop)? {
                break;
            }
            done += 1;
        }
        writer.turn()?;
        events += done;
        written(done);
        if done < turn {
            break;
        }
    }
    Ok(())
}

/// Warns that the topic holds events already.
///
/// The ids of events follow from the seed, so a shop that is written twice has the same ids twice, and a job drops the
/// second copies as duplicates.
fn warn_of_earlier_events(topic: &str, shop: &ShopSettings) {
    tracing::warn!(
        "topic {topic} holds events already: if --seed {seed} has written some of them, they come again with the same \
         ids, and a job drops them as duplicates; give another --seed",
        seed = shop.seed
    );
}

/// The destination of the events, opened.
enum EventWriter {
    /// A file or standard output. If `paced`, every turn is flushed, so that readers see it at once.
    Lines {
        file: FileSink,
        paced: bool,
    },
    Topic(Box<Producer>),
}

impl EventWriter {
    fn open(options: &GenerateOptions) -> Result<EventWriter> {
        match &options.output {
            Destination::File(path) => {
                let file = FileSink::open(path, options.existing, Lines::EVENTS)?;
                Ok(EventWriter::Lines { file, paced: options.rate.is_some() })
            }
            Destination::Topic(name) => {
                let Some(kafka) = &options.kafka else { bail!(GenerateError::NoBrokers(name.clone())) };
                let holding = refuse_other_records(kafka, ("--output", name), Kind::Lines(Lines::EVENTS))?;
                let topic = TopicSpec { name, partitions: options.partitions, compacted: false };
                ensure_topic(kafka, &topic).context("cannot prepare the topic of events")?;
                if holding == Holding::Same {
                    warn_of_earlier_events(name, &options.shop);
                }
                Ok(EventWriter::Topic(Box::new(Producer::connect(kafka, &[name])?)))
            }
        }
    }

    /// Writes one event. Returns false if `stop` was set while the producer's queue was full.
    fn write(&mut self, event: &CartEvent, text: &[u8], stop: &AtomicBool) -> Result<bool, SinkError> {
        let producer = match self {
            EventWriter::Lines { file, .. } => return file.write_line(text).map(|()| true),
            EventWriter::Topic(producer) => producer,
        };
        let key = event.basket_id();
        let (key, value) = (Some(key.as_bytes()), Some(text));
        let message = Message { key, value, partition: None, headers: &[], timestamp: None };
        loop {
            match producer.offer(&message)? {
                Offered::Taken => return Ok(true),
                Offered::Full if stop.load(Ordering::Relaxed) => return Ok(false),
                Offered::Full => {
                    producer.poll()?;
                    thread::sleep(FULL_PAUSE);
                }
                Offered::TooLarge => {
                    let message = format!(
                        "an event has {} bytes, more than -X message.max.bytes: raise it",
                        text.len()
                    );
                    return Err(SinkError::Kafka { message });
                }
            }
        }
    }

    /// Ends a turn: flushes paced lines to readers, and reports failures of messages that were sent before.
    fn turn(&mut self) -> Result<(), SinkError> {
        match self {
            EventWriter::Lines { file, paced: true } => file.flush(),
            EventWriter::Lines { .. } => Ok(()),
            EventWriter::Topic(producer) => producer.poll().map(|_in_flight| ()),
        }
    }

    /// Flushes the file, or waits until the brokers have confirmed every message.
    fn finish(&mut self) -> Result<(), SinkError> {
        let producer = match self {
            EventWriter::Lines { file, .. } => return file.flush(),
            EventWriter::Topic(producer) => producer,
        };
        let deadline = Instant::now() + END_PATIENCE;
        loop {
            match producer.poll()? {
                0 => return Ok(()),
                in_flight if Instant::now() >= deadline => {
                    return Err(SinkError::Timeout { in_flight, seconds: END_PATIENCE.as_secs() });
                }
                _ => thread::sleep(FULL_PAUSE),
            }
        }
    }

    fn sent(&self) -> Sent {
        match self {
            EventWriter::Lines { file, .. } => file.sent(),
            EventWriter::Topic(producer) => producer.sent(),
        }
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, bytes) = (counted(self.events, "event(s)"), counted(self.bytes, "byte(s)"));
        write!(formatter, "{events} of {bytes}, {:.2} s", self.elapsed.as_secs_f64())
    }
}
