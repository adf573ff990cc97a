//! What every source gives: records at offsets of partitions, a bounded batch at a time.

use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// One record as it was found, borrowed from the source's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// The partition of the topic, or the number of the file, from 0.
    pub partition: u32,
    /// The offset in the partition, or the number of the record in the file, from 0.
    pub offset: u64,
    /// The record's key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The record's headers, in their order.
    pub headers: Headers<'a>,
    /// Milliseconds since the Unix epoch, if the record has a time of its own.
    pub timestamp: Option<i64>,
    /// The record was longer than the limit: `value` holds its beginning only.
    pub truncated: bool,
}

/// A record's headers in their order: a name and, unless it is null, a value.
pub type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

/// How far one call of [`Source::fetch`] got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// How many records were handed over.
    pub records: usize,
    /// How many bytes of keys and values they had.
    pub bytes: usize,
    /// No record will ever follow in this partition.
    pub ended: bool,
    /// Records were passed over that an earlier run has read: go on, although none was handed over.
    pub skipped: bool,
    /// Everything that is there now has been handed over; more may come.
    pub at_end: bool,
}

/// Where a stopped job resumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The next offset of each partition that was read. One that is not here is read from its beginning.
    pub offsets: BTreeMap<u32, u64>,
    /// Of which source they are, by [`Source::identity`], if that was known.
    pub identity: Option<String>,
    /// What to do where the offset is not there any more, or where it is another source now.
    pub on_expired: OnExpired,
}

/// What to do when records that were not read are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpired {
    /// Say so and end.
    #[default]
    Fail,
    /// Say so and resume at the oldest that is left.
    Continue,
}

impl std::str::FromStr for OnExpired {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fail" => Ok(OnExpired::Fail),
            "continue" => Ok(OnExpired::Continue),
            _ => Err("want fail or continue".to_owned()),
        }
    }
}

/// The partitions that one worker reads.
///
/// A source wakes the thread that made it ([`std::thread::Thread::unpark`]) when records arrive after there were none;
/// so a reader that found nothing may park, for as long as it can do without errors and new partitions.
pub trait Source {
    /// The partitions this worker reads now, rising. A call may find new ones.
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError>;

    /// Hands at most `records_max` records of `partition` to `each`, in the order of their offsets, and never waits
    /// for one to arrive. May hand over fewer, also none, at any time.
    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError>;

    /// The offset at which reading of a partition that `partitions` returned began: nothing before it will be handed
    /// over, or only what says how to read the rest.
    fn first_offset(&self, partition: u32) -> u64 {
        let _ = partition;
        0
    }

    /// What tells this source from another of the same name, where there is such a thing: a topic that was deleted and
    /// created again is another.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// Whether new partitions may still appear, so that the job does not end when those known have.
    fn may_grow(&self) -> bool {
        false
    }

    /// Whether everything has been handed over that was there when the source was made. What has no end to be known,
    /// such as a pipe, held nothing then.
    fn has_caught_up(&self) -> bool {
        true
    }

    /// How far each partition is behind its end, where that is known and costs nothing to know: it may be seconds old.
    fn lags(&self) -> Vec<Lag> {
        Vec::new()
    }

    /// Where reading of each partition has come to, where that may be further than the offset after the last record:
    /// offsets that hold no record, such as the markers of transactions, are behind it.
    fn positions(&mut self) -> Result<Vec<(u32, u64)>, SourceError> {
        Ok(Vec::new())
    }

    /// Says that everything before `offset` of `partition` has been dealt with for good: the offset that a group's
    /// lag is measured from. Sources without such a memory do nothing.
    fn commit(&mut self, offsets: &[(u32, u64)]) -> Result<(), SourceError> {
        let _ = offsets;
        Ok(())
    }

    /// Waits at most `patience` until what was committed is safe. Call it once, after the last commit of an orderly
    /// end; dropping the source without it loses nothing but the newest commits.
    fn close(&mut self, patience: Duration) -> Result<(), SourceError> {
        let _ = patience;
        Ok(())
    }
}

/// How far reading of a partition is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: u32,
    /// Offsets between what has been handed over and the end of the partition.
    pub offsets: u64,
    /// How many of those cannot be read yet, because they are behind a transaction that is open.
    pub hidden: u64,
}

/// Which partitions are a worker's: the same rule on every worker, so that each has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The worker, from 0.
    pub worker: usize,
    /// How many workers there are, over all processes; at least 1.
    pub workers: usize,
}

impl Share {
    /// Everything to one worker.
    pub const WHOLE: Share = Share { worker: 0, workers: 1 };

    /// Whether this worker reads `partition`.
    pub fn owns(self, partition: u32) -> bool {
        partition as usize % self.workers == self.worker
    }
}

/// Why a source cannot go on. Each names the thing and, where there is one, the setting to change.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file could not be opened or read.
    #[error("cannot read {path}")]
    File {
        /// The file's path as it was given.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The broker, the topic or a permission.
    #[error("{message}")]
    Kafka {
        /// What is wrong, with what, and the property or flag to change.
        message: String,
    },
}
