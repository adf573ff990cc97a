//! What can be seen of a running job: how it does, in numbers; whether it is alive; whether it is ready.
//!
//! ```text
//!  worker ──┐ what it has counted and holds,      ┌───────┐ at each request  ┌────────┐   ┌ GET /metrics
//!  worker ──┼─ four times a second ──────────────▶│ Meter ├─────────────────▶│ server │◀──┼ GET /healthz
//!  worker ──┘ epochs begun and out, snapshots     └───────┘                  └────────┘   └ GET /readyz
//! ```
//!
//! A worker keeps counting for itself, as it does without `--metrics`, and now and then leaves a copy here. Whoever
//! asks adds the copies up; a request never reaches a worker, and never makes one wait for more than a copy.
//!
//! Numbers are those of one process: a scraper adds processes up.

mod page;
mod report;
mod server;

pub use server::{ServeError, serve};

pub(crate) use report::{PartitionLabel, Probe, Step, Turn, WorkerMeter};

use deltacart_dataflows::Epoch;
use page::Page;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use report::Report;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A worker that has not come round for so long is stuck: a step of it takes milliseconds, and the largest epoch
/// measured some seconds.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What the threads of a process know of each other's state. Clones share it.
#[derive(Clone, Default)]
pub struct Meter(Arc<Inner>);

struct Inner {
    /// Whether anybody looks: without a server, workers leave nothing here.
    watched: AtomicBool,
    /// What the job waits for, as a whole, before it is ready.
    held: Mutex<Option<String>>,
    seen: Mutex<Seen>,
    /// When the first record was read into each epoch that is not out.
    begun: Mutex<BTreeMap<Epoch, Instant>>,
    epoch_seconds: Histogram,
    snapshot_seconds: Histogram,
}

/// How far a process has come with its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputProgress {
    /// Records read.
    pub records: u64,
    /// Records of topics that are there and not read; 0 where that is not known.
    pub left: u64,
    /// What is waited for until everything that was there at the start has been read and is out; nothing then.
    pub waits_for: Option<String>,
}

/// What has been left here.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// How many workers this process is to have.
    workers: usize,
    /// By the worker's index.
    reports: BTreeMap<usize, Report>,
    bounds: Vec<(&'static str, u64)>,
    snapshot: Option<Snapshot>,
}

/// The last one taken.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    at: Instant,
    bytes: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            watched: AtomicBool::default(),
            held: Mutex::default(),
            seen: Mutex::default(),
            begun: Mutex::default(),
            // From a millisecond to a minute, each twice the one before.
            epoch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 17)),
            // From 10 ms to 40 minutes.
            snapshot_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 10)),
        }
    }
}

/// What is kept is valid after every assignment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Says that the job starts with so many workers in this process, and within which bounds.
    pub(crate) fn starts(&self, workers: usize, bounds: Vec<(&'static str, u64)>) {
        let mut seen = lock(&self.0.seen);
        (seen.workers, seen.bounds) = (workers, bounds);
    }

    /// Holds readiness back, and says what for: what the job does as a whole before its workers run.
    pub(crate) fn wait_for(&self, what: impl Into<String>) {
        *lock(&self.0.held) = Some(what.into());
    }

    /// Lets readiness depend on the workers alone, as at first.
    pub(crate) fn wait_no_more(&self) {
        *lock(&self.0.held) = None;
    }

    /// Asks the workers to leave what they have counted.
    pub fn watch(&self) {
        self.0.watched.store(true, Ordering::Relaxed);
    }

    /// How far this process has come with its input.
    pub fn progress(&self) -> InputProgress {
        let waits_for = self.readiness(Instant::now()).err();
        let seen = lock(&self.0.seen);
        let records = seen.reports.values().map(Report::records).sum();
        let lags =
            seen.reports.values().flat_map(|report| report.lags.iter().map(|(_partition, lag)| lag.offsets));
        InputProgress { records, left: lags.sum(), waits_for }
    }

    /// A snapshot was completed at `at`, took so long, and has so many bytes.
    pub fn snapshot_taken(&self, at: Instant, seconds: f64, bytes: u64) {
        self.0.snapshot_seconds.observe(seconds);
        lock(&self.0.seen).snapshot = Some(Snapshot { at, bytes });
    }

    /// An epoch is out, so long after the first record was read into it.
    pub fn epoch_out(&self, seconds: f64) {
        self.0.epoch_seconds.observe(seconds);
    }

    /// A record was read into an epoch; the first counts.
    fn epoch_begun(&self, epoch: Epoch, at: Instant) {
        lock(&self.0.begun).entry(epoch).or_insert(at);
    }

    /// All epochs before `oldest` are out, or all, without one. Every worker may say so.
    fn epochs_out(&self, oldest: Option<Epoch>, now: Instant) {
        let mut begun = lock(&self.0.begun);
        while let Some(first) = begun.first_entry() {
            if oldest.is_some_and(|oldest| *first.key() >= oldest) {
                break;
            }
            self.epoch_out(now.saturating_duration_since(first.remove()).as_secs_f64());
        }
    }

    fn is_watched(&self) -> bool {
        self.0.watched.load(Ordering::Relaxed)
    }

    fn leave(&self, worker: usize, report: Report) {
        lock(&self.0.seen).reports.insert(worker, report);
    }

    /// Whether all workers come round; if not, why in one line.
    fn health(&self, now: Instant) -> Result<(), String> {
        let seen = lock(&self.0.seen);
        for (worker, report) in &seen.reports {
            let silent = now.saturating_duration_since(report.at);
            if silent > STUCK_AFTER && !report.is_last {
                return Err(format!("worker {worker} has not come round for {} s", silent.as_secs()));
            }
        }
        Ok(())
    }

    /// Whether everything that was there when the job started has been read and is out; if not, why in one line.
    /// Once it is so, it stays: how far the job is behind later on is its lag.
    fn readiness(&self, now: Instant) -> Result<(), String> {
        self.health(now)?;
        if let Some(held) = &*lock(&self.0.held) {
            return Err(format!("starting: waiting for {held}"));
        }
        let seen = lock(&self.0.seen);
        let running = seen.reports.len();
        if seen.workers == 0 || running < seen.workers {
            return Err(format!("starting: {running} of {} workers run", seen.workers.max(1)));
        }
        let behind = seen.reports.iter().find(|(_worker, report)| !report.caught_up);
        match behind {
            Some((worker, report)) if report.reached_end => {
                Err(format!("worker {worker} has read what there was, and waits for it to be out"))
            }
            Some((worker, report)) => Err(report.doing(*worker)),
            None => Ok(()),
        }
    }

    /// Everything, as OpenMetrics text.
    fn page(&self, now: Instant) -> String {
        let ready = self.readiness(now).is_ok();
        let seen = lock(&self.0.seen).clone();
        let histograms = (self.0.epoch_seconds.clone(), self.0.snapshot_seconds.clone());
        Page { now, ready, seen, histograms }.text()
    }
}

#[cfg(test)]
mod tests;
