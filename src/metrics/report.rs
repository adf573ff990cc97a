//! What one worker leaves for those who watch, and when.

use super::Meter;
use crate::streams::Stream;
use crate::summary::{Counter, Tally};
use deltacart_dataflows::{Epoch, Millis, Sampling, StateCollector, StateStats, Work};
use deltacart_inputs::Lag;
use deltacart_inputs::registry::RegistryStatus;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a worker leaves a copy of what it has counted.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked at how much it holds: that takes time in proportion, so ...
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// ... no more often than makes it one part in so many of the worker's time.
const MEASURE_SHARE: u32 = 500;

/// A worker's numbers at one moment.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// When the worker came round.
    pub(super) at: Instant,
    /// It will not come round again: its part is done.
    pub(super) is_last: bool,
    pub(super) tally: Tally,
    pub(super) work: u64,
    /// Items in too many baskets, where that is limited.
    pub(super) items_sampled: u64,
    pub(super) epoch: Epoch,
    /// How many epochs are not out.
    pub(super) open: u64,
    pub(super) step: Step,
    pub(super) reached_end: bool,
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

    /// What a worker is at that has not caught up.
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

/// How far a worker is with its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It restores a snapshot.
    Restoring,
    /// It reads what consumers hold, and has read so many records.
    ReadingOutput {
        /// How many.
        records: u64,
    },
    /// It reads the input.
    Reading,
}

/// What is known on every turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The epoch that is read into.
    pub(crate) epoch: Epoch,
    /// The oldest that is not out.
    pub(crate) oldest: Option<Epoch>,
    /// The oldest that is neither out nor held back.
    pub(crate) oldest_ahead: Option<Epoch>,
    /// Whether a record was read into this epoch.
    pub(crate) has_read: bool,
    /// Whether each partition has been read to its end once.
    pub(crate) reached_end: bool,
    /// What is being done.
    pub(crate) step: Step,
}

/// What a partition of the input is called: its topic or its file, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionLabel {
    /// What `name` is the name of: `topic` or `file`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) number: u32,
}

impl PartitionLabel {
    /// The partition of this number of a stream.
    pub(crate) fn new(stream: &Stream, number: u32) -> PartitionLabel {
        let path = || stream.file(number).map_or_else(String::new, |path| path.display().to_string());
        match stream.topic() {
            Some(topic) => PartitionLabel { kind: "topic", name: topic.to_owned(), number },
            None => PartitionLabel { kind: "file", name: path(), number },
        }
    }
}

/// What is asked for when a report is due.
pub(crate) struct Probe {
    /// How far each partition is behind.
    pub(crate) lags: Vec<(PartitionLabel, Lag)>,
    /// The largest time of an event of each partition, where events have times.
    pub(crate) clocks: Vec<(PartitionLabel, Millis)>,
    /// Event ids remembered.
    pub(crate) ids_remembered: usize,
    /// Records that wait for their schema.
    pub(crate) waiting: u64,
    /// The schema registry, which the workers of a process share.
    pub(crate) registry: RegistryStatus,
}

/// A worker's end of the meter.
pub(crate) struct WorkerMeter {
    /// None when nobody watches.
    meter: Option<Meter>,
    worker: usize,
    tally: Rc<RefCell<Tally>>,
    work: Work,
    sampling: Option<Sampling>,
    state_stats: StateCollector,
    stats: StateStats,
    measure_at: Instant,
    report_at: Instant,
    /// The epoch that was told as begun last.
    begun: Option<Epoch>,
    /// What was out when it was told last.
    oldest: Option<Epoch>,
    /// When this epoch is the oldest, what there was at the start is out.
    target: Option<Epoch>,
    caught_up: bool,
}

impl WorkerMeter {
    /// Of a worker that counts in `tally` and `work`, and holds what `state_stats` tells.
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

    /// To be called whenever the worker comes round; asks `probe` only when a report is due.
    pub(crate) fn turn(&mut self, turn: Turn, probe: impl FnOnce() -> Probe) {
        if self.meter.is_some() {
            self.watched_turn(turn, probe, false);
        }
    }

    /// The same, when everything is out and the worker does not come round again.
    pub(crate) fn last_turn(&mut self, turn: Turn, probe: impl FnOnce() -> Probe) {
        self.report_at = Instant::now();
        self.measure_at = self.report_at;
        if self.meter.is_some() {
            self.watched_turn(turn, probe, true);
        }
    }

    /// Items in too many baskets now, of those that the worker owns, where that is limited.
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
