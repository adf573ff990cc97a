//! Observation of a running job: metrics, health and readiness.
//!
//! ```text
//!  worker ──┐ counters and state sizes,           ┌───────┐ at each request  ┌────────┐   ┌ GET /metrics
//!  worker ──┼─ four times a second ──────────────▶│ Meter ├─────────────────▶│ server │◀──┼ GET /healthz
//!  worker ──┘ epochs begun, delivered; snapshots  └───────┘                  └────────┘   └ GET /readyz
//! ```
//!
//! Each worker counts for itself, with or without `--metrics`. If the meter is watched, the worker also leaves a copy
//! of its counters here every 250 ms, as a report. A request adds up the reports. It never reaches a worker, and a
//! worker waits for a request at most while a report is copied.
//!
//! The numbers are those of one process. A scraper adds up the processes of a cluster.

mod page;
mod report;
mod server;
mod serving;

pub use server::{ServeError, serve};
pub(crate) use serving::{Open, ServingMeter};

pub(crate) use report::{PartitionLabel, Probe, Step, Turn, WorkerMeter};

use deltacart_dataflows::Epoch;
use page::Page;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use report::Report;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A worker that has not reported for longer than this is stuck. A turn of its loop takes milliseconds, and the
/// largest epoch measured took some seconds.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// The shared observations of one process: its workers write them, the server and the log read them. Clones share one
/// meter.
#[derive(Clone, Default)]
pub struct Meter(Arc<Inner>);

struct Inner {
    /// Whether anything reads the meter. If not, workers leave no reports.
    watched: AtomicBool,
    /// What the whole job waits for before its workers run, such as other processes. The job is not ready until this
    /// is none.
    held: Mutex<Option<String>>,
    seen: Mutex<Seen>,
    /// For each open epoch that has a record, when its first record was read.
    begun: Mutex<BTreeMap<Epoch, Instant>>,
    /// The seconds from the first record of an epoch to its delivery.
    epoch_seconds: Histogram,
    /// The seconds that snapshots took.
    snapshot_seconds: Histogram,
    /// What the API of `--serve` counts, if it is served.
    serving: Mutex<Option<ServingMeter>>,
}

/// How far this process has read its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputProgress {
    /// Records read.
    pub records: u64,
    /// Records of topics that exist but have not been read. 0 where the number is not known.
    pub left: u64,
    /// Why the job is not ready, in one line. `None` when all input that existed at the start is read and its lists
    /// delivered.
    pub waits_for: Option<String>,
}

/// The latest observations.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The number of workers that this process starts.
    workers: usize,
    /// The latest report of each worker, by its index in the cluster.
    reports: BTreeMap<usize, Report>,
    /// The limits that the job runs with, by name.
    bounds: Vec<(&'static str, u64)>,
    snapshot: Option<Snapshot>,
}

/// The snapshot that was completed last.
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
            serving: Mutex::default(),
            // 17 buckets, from 1 ms to 65.5 s, each twice the one before.
            epoch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 17)),
            // 10 buckets, from 10 ms to 44 minutes, each four times the one before.
            snapshot_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 10)),
        }
    }
}

/// Locks a mutex, also after a panic elsewhere: the values here are valid after every assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Announces that the job starts with `workers` workers in this process, and the limits that it runs with.
    pub(crate) fn starts(&self, workers: usize, bounds: Vec<(&'static str, u64)>) {
        let mut seen = lock(&self.0.seen);
        (seen.workers, seen.bounds) = (workers, bounds);
    }

    /// Makes the job not ready, and says what it waits for. For steps of the whole job, before its workers run.
    pub(crate) fn wait_for(&self, what: impl Into<String>) {
        *lock(&self.0.held) = Some(what.into());
    }

    /// Ends [`Meter::wait_for`]: readiness depends on the workers alone again.
    pub(crate) fn wait_no_more(&self) {
        *lock(&self.0.held) = None;
    }

    /// Makes workers leave reports from now on. A worker that has been created already is not affected.
    pub fn watch(&self) {
        self.0.watched.store(true, Ordering::Relaxed);
    }

    /// Counts what the API of `--serve` does from now on.
    pub(crate) fn serves(&self) -> ServingMeter {
        lock(&self.0.serving).get_or_insert_default().clone()
    }

    /// How far this process has read its input, from the latest reports.
    pub fn progress(&self) -> InputProgress {
        let waits_for = self.readiness(Instant::now()).err();
        let seen = lock(&self.0.seen);
        let records = seen.reports.values().map(Report::records).sum();
        let lags =
            seen.reports.values().flat_map(|report| report.lags.iter().map(|(_partition, lag)| lag.offsets));
        InputProgress { records, left: lags.sum(), waits_for }
    }

    /// Records that a snapshot was completed at `at`. It took `seconds` and has `bytes` bytes.
    pub fn snapshot_taken(&self, at: Instant, seconds: f64, bytes: u64) {
        self.0.snapshot_seconds.observe(seconds);
        lock(&self.0.seen).snapshot = Some(Snapshot { at, bytes });
    }

    /// Records that an epoch was delivered, `seconds` after the first record was read into it.
    pub fn epoch_out(&self, seconds: f64) {
        self.0.epoch_seconds.observe(seconds);
    }

    /// Records that a record was read into `epoch`. Only the first call for an epoch counts.
    fn epoch_begun(&self, epoch: Epoch, at: Instant) {
        lock(&self.0.begun).entry(epoch).or_insert(at);
    }

    /// Records that all epochs before `oldest` are delivered; without `oldest`, all epochs. Any worker may call this,
    /// repeatedly.
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

    /// Checks that all workers report.
    ///
    /// # Errors
    /// One line that names a worker which has not reported for [`STUCK_AFTER`].
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

    /// Checks that all input which existed when the job started is read, and that the lists of it are delivered.
    ///
    /// Once a job is ready, it stays so while its workers report. How far it falls behind later is its lag.
    ///
    /// # Errors
    /// The reason in one line, if the job is not ready.
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

    /// All metrics of this process as OpenMetrics text.
    fn page(&self, now: Instant) -> String {
        let ready = self.readiness(now).is_ok();
        let seen = lock(&self.0.seen).clone();
        let histograms = (self.0.epoch_seconds.clone(), self.0.snapshot_seconds.clone());
        let serving = lock(&self.0.serving).clone();
        Page { now, ready, seen, histograms, serving }.text()
    }
}

#[cfg(test)]
mod tests;
