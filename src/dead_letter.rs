//! Dead letters: rejected records with the reason, in a topic as Kafka Connect writes them, or as lines of a file.
//!
//! A dead letter contains the rejected record and its origin. If only a part of a record was rejected, it contains
//! that part and its position in the record.
//!
//! - In a topic, the key, value, headers and timestamp are the record's own. Headers named `__connect.errors.*` have
//!   the rest.
//! - In a file, one line of JSON has everything.
//!
//! `docs/output.md` lists the fields.
//!
//! # Notes
//!
//! Nothing here waits for a broker: letters are queued, and [`DeadLetters::poll`] sends them. A worker stops reading
//! while [`DeadLetters::is_full`]. A record that is too long for the topic is truncated, and the letter says so.

mod letter;
mod line;
#[cfg(test)]
mod tests;

use crate::output::kafka::{Message, Offered, Producer};
use crate::output::{FileSink, Sent, Sink, SinkError};
use crate::streams::Stream;
use deltacart_inputs::kafka::KafkaSettings;
use deltacart_inputs::{PartReject, RawRecord, Reject};
use letter::Letter;
pub(crate) use letter::TOPIC_HEADER;
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

/// The size, in bytes, of the letters waiting for room in the producer at which the worker should stop reading.
const QUEUED_BYTES_MAX: usize = 16 << 20;

/// The origin of a rejected record, besides its partition and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The topic or file.
    pub found: Found<'a>,
    /// The name of the format that it was decoded as.
    pub format: &'a str,
}

impl<'a> Origin<'a> {
    /// The origin of a record of the partition `number` of a stream.
    pub fn of(stream: &'a Stream, number: u32) -> Origin<'a> {
        let path = stream.file(number).and_then(|path| path.to_str()).unwrap_or_default();
        let found = stream.topic().map_or(Found::File(path), Found::Topic);
        Origin { found, format: stream.decode.format.name() }
    }
}

/// The topic or file in which a rejected record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The topic of this name.
    Topic(&'a str),
    /// The file with this path.
    File(&'a str),
}

impl<'a> Found<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Found::Topic(name) | Found::File(name) => name,
        }
    }
}

/// The job and worker that rejected a record, for dead letters in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The job's name: `__connect.errors.connector.name`.
    pub connector: String,
    /// The worker's index: `__connect.errors.task.id`.
    pub task: usize,
}

/// A rejected record, or the rejected part of a record.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    reject: &'a Reject,
    /// The index of the event in the record, from 0. `None` if the record has one event.
    event: Option<u32>,
    /// The index of the line in the event, from 0. `None` if all of its lines are rejected.
    line: Option<u32>,
    is_part: bool,
    /// The number of other rejected parts of the record that have no letter of their own.
    more: u32,
}

impl<'a> Rejected<'a> {
    /// A whole record.
    pub fn record(reject: &'a Reject) -> Rejected<'a> {
        Rejected { reject, event: None, line: None, is_part: false, more: 0 }
    }

    /// A part of a record. Its text is the value of the letter. `more` other parts have no letter of their own.
    pub fn part(part: &'a PartReject, more: u32) -> Rejected<'a> {
        Rejected { reject: &part.reject, event: part.event, line: part.line, is_part: true, more }
    }
}

/// The destination of one worker's dead letters.
pub struct DeadLetters {
    destination: Destination,
}

enum Destination {
    File { sink: FileSink, line: Vec<u8> },
    Topic(Topic),
}

/// The producer of a topic of dead letters.
pub(crate) trait LetterProducer {
    /// Offers a message.
    fn offer(&mut self, message: &Message<'_>) -> Result<Offered, SinkError>;

    /// Advances delivery. Returns the number of messages taken and not yet delivered.
    fn poll(&mut self) -> Result<usize, SinkError>;

    /// The messages and bytes sent so far.
    fn sent(&self) -> Sent;
}

impl LetterProducer for Producer {
    fn offer(&mut self, message: &Message<'_>) -> Result<Offered, SinkError> {
        Producer::offer(self, message)
    }

    fn poll(&mut self) -> Result<usize, SinkError> {
        Producer::poll(self)
    }

    fn sent(&self) -> Sent {
        Producer::sent(self)
    }
}

struct Topic {
    producer: Box<dyn LetterProducer>,
    name: String,
    labels: Labels,
    /// Letters that the producer has not taken yet.
    queue: VecDeque<Letter>,
    /// The size of the queue in bytes.
    queued: usize,
}

impl DeadLetters {
    /// To a file or standard output. The workers of a process share it through clones of one sink.
    pub fn to_file(sink: FileSink) -> Self {
        DeadLetters { destination: Destination::File { sink, line: Vec::new() } }
    }

    /// To a topic, which must exist.
    ///
    /// # Errors
    /// When no broker answers within the settings' start-up timeout.
    pub fn to_topic(settings: &KafkaSettings, topic: &str, labels: Labels) -> Result<Self, SinkError> {
        let producer = Producer::connect(settings, &[topic])?;
        Ok(DeadLetters::to_producer(Box::new(producer), topic, labels))
    }

    /// To the topic of a producer.
    pub(crate) fn to_producer(producer: Box<dyn LetterProducer>, topic: &str, labels: Labels) -> Self {
        let name = topic.to_owned();
        let topic = Topic { producer, name, labels, queue: VecDeque::new(), queued: 0 };
        DeadLetters { destination: Destination::Topic(topic) }
    }

    /// Takes one rejected record, or a part of one, with the reason.
    ///
    /// # Errors
    /// When a letter cannot be delivered.
    pub fn write(
        &mut self,
        origin: Origin<'_>,
        record: &RawRecord<'_>,
        rejected: &Rejected<'_>,
    ) -> Result<(), SinkError> {
        match &mut self.destination {
            Destination::File { sink, line } => {
                line.clear();
                line::push_line(line, origin, record, rejected);
                sink.write_line(line)
            }
            Destination::Topic(topic) => {
                let letter = Letter::new(origin, record, rejected, &topic.labels);
                topic.queued += letter.bytes();
                topic.queue.push_back(letter);
                topic.send()
            }
        }
    }

    /// Whether so many letters are waiting that the worker should stop reading.
    pub fn is_full(&self) -> bool {
        match &self.destination {
            Destination::File { .. } => false,
            Destination::Topic(topic) => topic.queued >= QUEUED_BYTES_MAX,
        }
    }

    /// Advances delivery. Returns the number of letters taken and not yet delivered.
    ///
    /// # Errors
    /// When a letter cannot be delivered.
    pub fn poll(&mut self) -> Result<usize, SinkError> {
        match &mut self.destination {
            Destination::File { sink, .. } => {
                if sink.poll()?.records > 0 {
                    sink.flush()?;
                }
                Ok(0)
            }
            Destination::Topic(topic) => {
                let in_flight = topic.producer.poll()?;
                topic.send()?;
                Ok(in_flight + topic.queue.len())
            }
        }
    }

    /// Waits until every letter taken has been delivered.
    ///
    /// # Errors
    /// [`SinkError::Timeout`] after `patience`, or when a letter cannot be delivered.
    pub fn finish(&mut self, patience: Duration) -> Result<(), SinkError> {
        if let Destination::File { sink, .. } = &mut self.destination {
            return sink.finish(patience);
        }
        let deadline = Instant::now() + patience;
        loop {
            let in_flight = self.poll()?;
            if in_flight == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(SinkError::Timeout { in_flight, seconds: patience.as_secs() });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The letters and bytes sent so far.
    pub fn sent(&self) -> Sent {
        match &self.destination {
            Destination::File { sink, .. } => sink.sent(),
            Destination::Topic(topic) => topic.producer.sent(),
        }
    }
}

impl Topic {
    /// Offers queued letters to the producer until its queue is full.
    fn send(&mut self) -> Result<(), SinkError> {
        while let Some(letter) = self.queue.front() {
            let bytes = letter.bytes();
            match letter.offer(&mut *self.producer)? {
                Offered::Taken => {
                    self.queued -= bytes;
                    self.queue.pop_front();
                }
                Offered::Full => break,
                Offered::TooLarge => {
                    let message = format!(
                        "a dead letter for topic {} is too large even without its record: raise -X message.max.bytes",
                        self.name
                    );
                    return Err(SinkError::Kafka { message });
                }
            }
        }
        Ok(())
    }
}
