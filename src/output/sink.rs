//! What every destination of records can do: take some without waiting, and say what has arrived.

use super::Records;
use super::file::Lines;
use deltacart_dataflows::Epoch;
use std::iter::Sum;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Where records go. One sink serves one worker.
///
/// A worker keeps calling, and nothing here waits for a reader or a broker:
///
/// ```text
/// every turn:             sink.send(&mut records)   until `records` is empty
///                         sink.poll()               how far delivery has come
/// at the end of an epoch: sink.close_epoch(epoch)   once its records have been sent
/// ```
///
/// The records of the next epoch may follow at once. Epochs arrive in their order.
///
/// What has arrived stays, and what has not, after a failure, may have: whether records can come twice is the sink's.
pub trait Sink {
    /// Takes records from the front of `records`, as many as there is room and a moment for. What is left is to be
    /// offered again after a [`Sink::poll`].
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError>;

    /// Pushes delivery on, and says how far it has come. An error is final: some record will not arrive.
    fn poll(&mut self) -> Result<Delivery, SinkError>;

    /// Says that every record of `epoch` has been taken, if it has any, and that those of later ones follow. This is
    /// where a sink makes an epoch visible as a whole, if it can.
    fn close_epoch(&mut self, epoch: Epoch) -> Result<(), SinkError>;

    /// Makes sure that nobody has taken over since this was made. May wait for the answer; called once, before the
    /// first record. Destinations that cannot be taken over have nothing to say.
    fn confirm(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The partition to which records of a key go, where the destination has partitions: the same as long as this
    /// lives, also when the destination grows.
    fn partition_of(&self, key: &[u8]) -> Option<u32> {
        let _ = key;
        None
    }

    /// What has been taken since the start.
    fn sent(&self) -> Sent;

    /// Waits until everything taken has arrived: at the end of the job, when there is nothing else to do.
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

/// Looks at a destination while others write to it.
pub trait Watch {
    /// Fails when the destination is not any more what it was when the job began. Never waits.
    fn check(&mut self) -> Result<(), SinkError>;
}

/// What is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Records that have been taken and have not arrived.
    pub records: usize,
    /// Epochs that have been closed and have not arrived, the last ones.
    pub epochs: usize,
}

/// What a sink has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Records, tombstones among them.
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

/// Why records cannot leave the job.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader at the other end of a pipe has had enough: a quiet end, not a failure.
    #[error("the reader of {path} is gone")]
    Closed {
        /// `-` or the path.
        path: String,
    },
    /// A file could not be made or written.
    #[error("cannot write {path}")]
    File {
        /// `-` or the path.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is there and holds something.
    #[error("{path} is a file of {length} bytes: --overwrite replaces it, or name another")]
    Exists {
        /// The path.
        path: String,
        /// How many bytes it has.
        length: u64,
    },
    /// A file that is to be resumed holds something else.
    #[error("{path} is not a file of {}: name another, or move it away", lines.name())]
    Foreign {
        /// The path.
        path: String,
        /// What it was to hold.
        lines: Lines,
    },
    /// The broker, the topic, a permission or a limit.
    #[error("{message}")]
    Kafka {
        /// What is wrong, with what, and the property or flag to change.
        message: String,
    },
    /// Records were still on their way when the time was up.
    #[error("{in_flight} records had not been delivered after {seconds} s")]
    Timeout {
        /// How many.
        in_flight: usize,
        /// How long they were waited for.
        seconds: u64,
    },
}
