//! Transactions that are open in the input: nothing behind them can be read, and without a word a job that stands there
//! looks like one that has read everything.
//!
//! ```text
//! offset   0 1 2 3 4 5 6 7
//!              ╰ open    ╰ high watermark: where the next record will be
//!              ╰ last stable offset: readers of committed records stop here
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a partition may stand at an open transaction until somebody is told. Most last for a moment; a producer
/// that commits with each checkpoint of its own keeps one open for longer, and is told of once for each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The offset that the next record will have.
    pub(super) high_watermark: u64,
    /// The offset before which everything is decided; the high watermark where no transaction is open, or does not
    /// matter.
    pub(super) stable: u64,
}

impl End {
    /// Offsets that cannot be read yet.
    pub(super) fn hidden(self) -> u64 {
        self.high_watermark.saturating_sub(self.stable)
    }
}

/// The partitions that stand at an open transaction.
#[derive(Debug, Default)]
pub(super) struct OpenTransactions(BTreeMap<u32, Standing>);

#[derive(Debug)]
struct Standing {
    at: u64,
    since: Instant,
    is_told: bool,
}

impl OpenTransactions {
    /// Takes in where a partition ends now. Says how long its transaction has been open when somebody is to be told,
    /// which is once for each.
    pub(super) fn follow(&mut self, partition: u32, end: End, now: Instant) -> Option<Duration> {
        if end.hidden() == 0 {
            self.0.remove(&partition);
            return None;
        }
        let fresh = || Standing { at: end.stable, since: now, is_told: false };
        let standing = self.0.entry(partition).or_insert_with(fresh);
        if standing.at != end.stable {
            *standing = fresh();
        }
        let open = now.saturating_duration_since(standing.since);
        let is_due = open >= PATIENCE && !std::mem::replace(&mut standing.is_told, open >= PATIENCE);
        is_due.then_some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_only_if_it_lasts() {
        let start = Instant::now();
        let mut open = OpenTransactions::default();
        let mut follow = |second: u64, stable, high_watermark| {
            let told = open.follow(3, End { high_watermark, stable }, start + Duration::from_secs(second));
            told.map(|open| open.as_secs())
        };
        assert_eq!(follow(0, 5, 5), None);
        assert_eq!(follow(1, 5, 9), None);
        assert_eq!(follow(10, 5, 10), None);
        assert_eq!(follow(12, 5, 11), Some(11));
        assert_eq!(follow(60, 5, 12), None, "it is known");
        assert_eq!(follow(61, 8, 12), None, "another one");
        assert_eq!(follow(70, 8, 12), None);
        assert_eq!(follow(71, 8, 12), Some(10));
        assert_eq!(follow(72, 12, 12), None);
        assert_eq!(follow(99, 12, 13), None, "it has only begun");
    }
}
