//! The interface of all destinations: a [`Sink`] takes records without blocking and reports what has been delivered.

use super::Records;
use super::file::Lines;
use deltacart_dataflows::Epoch;
use std::iter::Sum;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The number of an output stream in the list of the job's streams, from 0.
pub type StreamNumber = usize;

/// A destination of the records of one or more streams. One sink serves one worker.
///
/// A worker calls it again and again. Calls do not wait for a reader or a broker, unless their documentation says so:
///
/// ```text
/// every turn:             sink.send(stream, &mut records)   for each stream, until `records` is empty
///                         sink.poll()                       how much is still undelivered
/// at the end of an epoch: sink.close_epoch(epoch)           once the records of all streams have been sent
/// ```
///
/// The records of the next epoch may follow at once. Epochs are delivered in order.
///
/// Delivered records stay. After a failure, undelivered ones may have reached the destination or not. Whether a
/// record can be delivered twice depends on the sink.
pub trait Sink {
    /// Takes records of `stream` from the front of `records`, as many as there is room for, and no more than a few
    /// milliseconds' work. The caller offers the rest again after a [`Sink::poll`].
    ///
    /// # Errors
    /// When a record cannot be delivered. The error is final.
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError>;

    /// Advances delivery and reports how much is still undelivered.
    ///
    /// # Errors
    /// When some record cannot be delivered. The error is final.
    fn poll(&mut self) -> Result<Delivery, SinkError>;

    /// Marks the end of `epoch`: all of its records, if any, have been taken, and those of later epochs follow. A
    /// sink that can makes the epoch visible as a whole, in all streams together.
    fn close_epoch(&mut self, epoch: Epoch) -> Result<(), SinkError>;

    /// Checks that no other run has taken over the destination since this sink was made. Called once, before the
    /// first record. May wait for the answer. Destinations that cannot be taken over always succeed.
    fn check_not_fenced(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The partition that the stream's records of `key` go to, if its destination has partitions. It stays the same
    /// for the lifetime of the sink, also when the destination grows.
    fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        let _ = (stream, key);
        None
    }

    /// The records and bytes taken since the start.
    fn sent(&self) -> Sent;

    /// Waits until everything taken has been delivered. Called at the end of the job.
    ///
    /// # Errors
    /// [`SinkError::Timeout`] after `patience`, or when a record cannot be delivered.
    fn finish(&mut self, patience: Duration) -> Result<(), SinkError> {
        let deadline = Instant::now() + patience;
        loop {
            let in_flight = self.poll()?.records;
            if in_flight == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(SinkError::Timeout { in_flight, seconds: patience.as_secs() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A check of a destination while sinks write to it.
pub trait Watch {
    /// Checks that the destination is still the one that the job began with. Never waits.
    ///
    /// # Errors
    /// When it has been deleted, replaced or resized.
    fn check(&mut self) -> Result<(), SinkError>;
}

/// ListUpdate has been taken and not yet delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Records taken and not yet delivered.
    pub records: usize,
    /// Epochs closed and not yet delivered. They are the latest ones.
    pub epochs: usize,
}

/// The amount of output that a sink has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Records, tombstones included.
    pub records: u64,
    /// Bytes of their keys and values, or of their lines.
    pub bytes: u64,
}

impl Sum for Sent {
    fn sum<I: Iterator<Item = Sent>>(all: I) -> Sent {
        all.fold(Sent::default(), |sum, it| Sent {
            records: sum.records + it.records,
            bytes: sum.bytes + it.bytes,
        })
    }
}

/// Why records cannot be delivered.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader at the other end of a pipe has closed it. The job ends without a failure.
    #[error("the reader of {path} is gone")]
    Closed {
        /// `-` or the path.
        path: String,
    },
    /// A file could not be created or written.
    #[error("cannot write {path}")]
    File {
        /// `-` or the path.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file exists and is not empty.
    #[error("{path} is a file of {length} bytes: --overwrite replaces it, or name another")]
    Exists {
        /// The path.
        path: String,
        /// Its length in bytes.
        length: u64,
    },
    /// The file to resume or replace holds something else.
    #[error("{path} is not a file of {}: name another, or move it away", lines.name)]
    Foreign {
        /// The path.
        path: String,
        /// The kind of lines that it should hold.
        lines: Lines,
    },
    /// Something is wrong with the broker, the topic, a permission or a limit.
    #[error("{message}")]
    Kafka {
        /// ListUpdate is wrong, and the property or flag to change.
        message: String,
    },
    /// Records were still undelivered when the time was up.
    #[error("{in_flight} records had not been delivered after {seconds} s")]
    Timeout {
        /// The number of undelivered records.
        in_flight: usize,
        /// How long the sink waited, in seconds.
        seconds: u64,
    },
}
