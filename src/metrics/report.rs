//! Reports: what one worker copies into the meter, and when.

use super::Meter;
use crate::streams::Stream;
use crate::summary::{Counter, Tally};
use deltacart_dataflows::{Epoch, Millis, Sampling, StateCollector, StateStats, Work};
use deltacart_inputs::Lag;
use deltacart_inputs::registry::RegistryStatus;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a worker leaves a report.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// The shortest time between two measurements of the size of a worker's state.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// Measuring takes time in proportion to the state. At most one part in this many of a worker's time is spent on it.
const MEASURE_SHARE: u32 = 500;

/// The counters and sizes of one worker at one moment.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// When the report was made, in a turn of the worker's loop.
    pub(super) at: Instant,
    /// Whether the worker has finished. No report comes after this one, and [`Meter::health`] expects none.
    pub(super) is_last: bool,
    pub(super) tally: Tally,
    /// The engine's own count of work.
    pub(super) work: u64,
    /// Items in more baskets than `--max-item-baskets`. 0 without that limit.
    pub(super) items_sampled: u64,
    /// The epoch into which records are read.
    pub(super) epoch: Epoch,
    /// How many epochs are neither delivered nor held back.
    pub(super) open: u64,
    pub(super) step: Step,
    /// Whether each partition has been read to its end at least once.
    pub(super) reached_end: bool,
    /// Whether the lists of all input before that end have been delivered.
    pub(super) caught_up: bool,
    pub(super) lags: Vec<(PartitionLabel, Lag)>,
    pub(super) clocks: Vec<(PartitionLabel, Millis)>,
    pub(super) ids_remembered: u64,
    /// Records that wait for their schema.
    pub(super) waiting: u64,
    pub(super) registry: RegistryStatus,
    pub(super) stats: StateStats,
}

impl Report {
    pub(super) fn records(&self) -> u64 {
        self.tally.get(&Counter::Records)
    }

    /// What a worker is doing that has not caught up, in one line for `/readyz` and the log.
    pub(super) fn doing(&self, worker: usize) -> String {
        match self.step {
            Step::Restoring => format!("worker {worker} is restoring a snapshot"),
            Step::ReadingOutput { records } => {
                format!("worker {worker} is reading what the output holds: {records} records so far")
            }
            Step::Reading => {
                let (read, left) =
                    (self.records(), self.lags.iter().map(|(_partition, lag)| lag.offsets).sum::<u64>());
                let of_how_many = if left > 0 { format!(" of {}", read + left) } else { String::new() };
                let so_far = if left > 0 { "" } else { " so far" };
                format!(
                    "worker {worker} is still reading what there was: {read}{of_how_many} records{so_far}"
                )
            }
        }
    }
}

/// The step of its start that a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The worker restores a snapshot.
    Restoring,
    /// The worker reads the lists that consumers hold from the output.
    ReadingOutput {
        /// The records that it has read so far.
        records: u64,
    },
    /// The worker reads the input.
    Reading,
}

/// The state of a worker's loop that is known on every turn at no cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The epoch into which records are read.
    pub(crate) epoch: Epoch,
    /// The oldest epoch that has not been delivered. `None` after the last.
    pub(crate) oldest: Option<Epoch>,
    /// The oldest epoch that is neither delivered nor held back.
    pub(crate) oldest_ahead: Option<Epoch>,
    /// Whether a record was read into this epoch.
    pub(crate) has_read: bool,
    /// Whether each partition has been read to its end at least once.
    pub(crate) reached_end: bool,
    /// The step of its start that the worker is at.
    pub(crate) step: Step,
}

/// The name of an input partition: its topic or its file, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionLabel {
    /// The kind of `name`: `topic` or `file`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) number: u32,
}

impl PartitionLabel {
    /// The label of partition `number` of a stream.
    pub(crate) fn new(stream: &Stream, number: u32) -> PartitionLabel {
        let path = || stream.file(number).map_or_else(String::new, |path| path.display().to_string());
        match stream.topic() {
            Some(topic) => PartitionLabel { kind: "topic", name: topic.to_owned(), number },
            None => PartitionLabel { kind: "file", name: path(), number },
        }
    }
}

/// The part of a report that costs time to find out. It is requested only when a report is due.
pub(crate) struct Probe {
    /// The lag of each partition.
    pub(crate) lags: Vec<(PartitionLabel, Lag)>,
    /// The largest event time of each partition, in milliseconds since 1970, where events have times.
    pub(crate) clocks: Vec<(PartitionLabel, Millis)>,
    /// Event ids that are remembered to find duplicates.
    pub(crate) ids_remembered: usize,
    /// Records that wait for their schema.
    pub(crate) waiting: u64,
    /// The status of the schema registry, which the workers of a process share.
    pub(crate) registry: RegistryStatus,
}

/// The part of a worker that reports to the meter.
pub(crate) struct WorkerMeter {
    /// `None` when the meter is not watched: then no reports are made.
    meter: Option<Meter>,
    worker: usize,
    tally: Rc<RefCell<Tally>>,
    work: Work,
    sampling: Option<Sampling>,
    state_stats: StateCollector,
    stats: StateStats,
    /// When the size of the state is measured next.
    measure_at: Instant,
    /// When the next report is due.
    report_at: Instant,
    /// The last epoch that was announced as begun.
    begun: Option<Epoch>,
    /// The oldest undelivered epoch of the last announcement.
    oldest: Option<Epoch>,
    /// The worker has caught up when no epoch before this one is undelivered. Set when all partitions have been read
    /// to their end.
    target: Option<Epoch>,
    caught_up: bool,
}

impl WorkerMeter {
    /// The meter's part for a worker that counts in `tally` and `work`, and whose state `state_stats` measures.
    pub(crate) fn new(
        meter: &Meter,
        worker: usize,
        tally: Rc<RefCell<Tally>>,
        work: Work,
        sampling: Option<Sampling>,
        state_stats: StateCollector,
    ) -> Self {
        let meter = meter.is_watched().then(|| meter.clone());
        let now = Instant::now();
        WorkerMeter {
            meter,
            worker,
            tally,
            work,
            sampling,
            state_stats,
            stats: StateStats::default(),
            measure_at: now,
            report_at: now,
            begun: None,
            oldest: None,
            target: None,
            caught_up: false,
        }
    }

    /// Reports, if a report is due. The worker calls it on every turn of its loop; `probe` is called only for a
    /// report.
    pub(crate) fn turn(&mut self, turn: Turn, probe: impl FnOnce() -> Probe) {
        if self.meter.is_some() {
            self.watched_turn(turn, probe, false);
        }
    }

    /// Reports for the last time. The worker calls it when all epochs are delivered and its loop ends.
    pub(crate) fn last_turn(&mut self, turn: Turn, probe: impl FnOnce() -> Probe) {
        self.report_at = Instant::now();
        self.measure_at = self.report_at;
        if self.meter.is_some() {
            self.watched_turn(turn, probe, true);
        }
    }

    /// Of the items that this worker owns, how many are in more baskets than `--max-item-baskets`. 0 without that
    /// limit.
    pub(crate) fn items_sampled(&self) -> u64 {
        self.sampling.as_ref().map_or(0, Sampling::over)
    }

    fn watched_turn(&mut self, turn: Turn, probe: impl FnOnce() -> Probe, is_last: bool) {
        let Some(meter) = &self.meter else { return };
        let now = Instant::now();
        if turn.has_read && self.begun < Some(turn.epoch) {
            self.begun = Some(turn.epoch);
            meter.epoch_begun(turn.epoch, now);
        }
        if self.oldest != turn.oldest {
            self.oldest = turn.oldest;
            meter.epochs_out(turn.oldest, now);
        }
        if !self.caught_up {
            let after_this = turn.epoch + Epoch::from(turn.has_read);
            let target = turn.reached_end.then(|| *self.target.get_or_insert(after_this));
            self.caught_up = target.is_some_and(|target| turn.oldest.is_none_or(|oldest| oldest >= target));
            if self.caught_up {
                self.report_at = now;
            }
        }
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            let report = self.report(turn, probe(), now, is_last);
            if let Some(meter) = &self.meter {
                meter.leave(self.worker, report);
            }
        }
    }

    fn report(&mut self, turn: Turn, probe: Probe, now: Instant, is_last: bool) -> Report {
        if now >= self.measure_at {
            self.stats = self.state_stats.collect();
            let took = now.elapsed();
            self.measure_at = now + MEASURE_EVERY.max(took * MEASURE_SHARE);
        }
        Report {
            at: now,
            is_last,
            tally: self.tally.borrow().clone(),
            work: self.work.get(),
            items_sampled: self.items_sampled(),
            epoch: turn.epoch,
            open: turn.oldest_ahead.map_or(0, |oldest| (turn.epoch + 1).saturating_sub(oldest)),
            step: turn.step,
            reached_end: turn.reached_end,
            caught_up: self.caught_up,
            lags: probe.lags,
            clocks: probe.clocks,
            ids_remembered: probe.ids_remembered as u64,
            waiting: probe.waiting,
            registry: probe.registry,
            stats: self.stats,
        }
    }
}
