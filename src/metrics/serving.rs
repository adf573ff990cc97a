//! What the API of `--serve` counts.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counts of the API. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServingMeter(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// Responses by the first digit of their status, from 1.
    responses: [AtomicU64; 5],
    questions_refused: AtomicU64,
    connections: AtomicU64,
    connections_closed: AtomicU64,
    streams: AtomicU64,
    question_seconds: Histogram,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            responses: Default::default(),
            questions_refused: AtomicU64::default(),
            connections: AtomicU64::default(),
            connections_closed: AtomicU64::default(),
            streams: AtomicU64::default(),
            // 15 buckets, from 1 ms to 16 s, each twice the one before.
            question_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        }
    }
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServingCounts {
    pub(super) responses: [u64; 5],
    pub(super) questions_refused: u64,
    pub(super) connections: u64,
    pub(super) connections_closed: u64,
    pub(super) streams: u64,
}

/// A connection or a stream that is open.
pub(crate) struct Open {
    counts: Arc<Counts>,
    what: fn(&Counts) -> &AtomicU64,
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.what)(&self.counts).fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServingMeter {
    /// Counts a response by its status.
    pub(crate) fn responded(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.0.responses[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a question that was answered so long after it was asked.
    pub(crate) fn question_answered(&self, after: Duration) {
        self.0.question_seconds.observe(after.as_secs_f64());
    }

    /// Counts a question that found its queue full.
    pub(crate) fn question_refused(&self) {
        self.0.questions_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection as open, until the result is dropped.
    pub(crate) fn connection(&self) -> Open {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Open { counts: Arc::clone(&self.0), what: |counts| &counts.connections }
    }

    /// Counts a connection that was closed to make room for another one.
    pub(crate) fn connection_closed(&self) {
        self.0.connections_closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream as open, until the result is dropped. `None` if as many as `most` are open.
    pub(crate) fn stream(&self, most: u64) -> Option<Open> {
        let has_room = |open: u64| (open < most).then_some(open + 1);
        let taken = self.0.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room);
        taken.ok().map(|_before| Open { counts: Arc::clone(&self.0), what: |counts| &counts.streams })
    }

    pub(super) fn counts(&self) -> ServingCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServingCounts {
            responses: self.0.responses.each_ref().map(load),
            questions_refused: load(&self.0.questions_refused),
            connections: load(&self.0.connections),
            connections_closed: load(&self.0.connections_closed),
            streams: load(&self.0.streams),
        }
    }

    pub(super) fn question_seconds(&self) -> &Histogram {
        &self.0.question_seconds
    }
}
