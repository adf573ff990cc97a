//! Records that cannot be used, kept with the reason: in a topic as Kafka Connect keeps them, or as lines of a file.
//!
//! A dead letter holds the record as it was found, and where. Of a record that was used but for a line, it holds that
//! line, and says which it was. In a topic the key, the value, the headers and the
//! timestamp are the record's own, and headers named `__connect.errors.*` say the rest; in a file a JSON line says
//! everything. `docs/output.md` lists the fields.
//!
//! # Notes
//!
//! Nobody waits here either: letters queue up, [`DeadLetters::poll`] sends them, and a worker stops reading while
//! [`DeadLetters::is_full`]. A record that is too long for the topic is cut, and says so.

mod letter;
mod line;
#[cfg(test)]
mod tests;

use crate::output::kafka::{Offered, Producer};
use crate::output::{FileSink, Sent, Sink, SinkError};
use deltacart_inputs::kafka::KafkaSettings;
use deltacart_inputs::{PartReject, RawRecord, Reject};
use letter::Letter;
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

/// How many bytes of letters may wait for room in the producer before the worker should stop reading.
const QUEUED_BYTES_MAX: usize = 16 << 20;

/// Where a rejected record is from, beside its partition and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Where it was found.
    pub found: Found<'a>,
    /// The format that it was read as, by its name.
    pub format: &'a str,
}

/// Where a rejected record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// In the topic of this name.
    Topic(&'a str),
    /// In the file of this path.
    File(&'a str),
}

impl<'a> Found<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Found::Topic(name) | Found::File(name) => name,
        }
    }
}

/// Who rejects: what a dead letter in a topic says about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The job's name: `__connect.errors.connector.name`.
    pub connector: String,
    /// The worker's index: `__connect.errors.task.id`.
    pub task: usize,
}

/// What could not be used: a whole record, or a part of one that was used.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    reject: &'a Reject,
    /// Which of the record's events it is, from 0, where there are several.
    event: Option<u32>,
    /// Which of the event's lines it is, from 0; none when it is all of them.
    line: Option<u32>,
    is_part: bool,
    /// So many other parts of the record could not be used and have no letter of their own.
    more: u32,
}

impl<'a> Rejected<'a> {
    /// A whole record.
    pub fn record(reject: &'a Reject) -> Rejected<'a> {
        Rejected { reject, event: None, line: None, is_part: false, more: 0 }
    }

    /// A part of a record, whose text is the value of the letter; `more` parts have no letter of their own.
    pub fn part(part: &'a PartReject, more: u32) -> Rejected<'a> {
        Rejected { reject: &part.reject, event: part.event, line: part.line, is_part: true, more }
    }
}

/// Where one worker's dead letters go.
pub struct DeadLetters {
    destination: Destination,
}

enum Destination {
    File { sink: FileSink, line: Vec<u8> },
    Topic(Topic),
}

struct Topic {
    producer: Producer,
    name: String,
    labels: Labels,
    /// Letters that the producer has not taken yet.
    queue: VecDeque<Letter>,
    /// How many bytes they have.
    queued: usize,
}

impl DeadLetters {
    /// To a file or standard output; the workers of a process share it through clones of one sink.
    pub fn to_file(sink: FileSink) -> Self {
        DeadLetters { destination: Destination::File { sink, line: Vec::new() } }
    }

    /// To a topic, which must exist. Fails within the settings' start-up timeout if no broker answers.
    pub fn to_topic(settings: &KafkaSettings, topic: &str, labels: Labels) -> Result<Self, SinkError> {
        let producer = Producer::connect(settings, topic)?;
        let name = topic.to_owned();
        let topic = Topic { producer, name, labels, queue: VecDeque::new(), queued: 0 };
        Ok(DeadLetters { destination: Destination::Topic(topic) })
    }

    /// Takes one record, with the value that could not be used, and why.
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

    /// Whether so much is waiting that no more should be read for now.
    pub fn is_full(&self) -> bool {
        match &self.destination {
            Destination::File { .. } => false,
            Destination::Topic(topic) => topic.queued >= QUEUED_BYTES_MAX,
        }
    }

    /// Pushes delivery on, and says how many of the letters taken have not arrived yet.
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

    /// Waits until every letter taken has arrived.
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

    /// What has left so far.
    pub fn sent(&self) -> Sent {
        match &self.destination {
            Destination::File { sink, .. } => sink.sent(),
            Destination::Topic(topic) => topic.producer.sent(),
        }
    }
}

impl Topic {
    /// Hands letters to the producer while it takes them.
    fn send(&mut self) -> Result<(), SinkError> {
        while let Some(letter) = self.queue.front() {
            let bytes = letter.bytes();
            match letter.offer(&mut self.producer)? {
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
