//! When an epoch ends, and how much may be read into it.
//!
//! By the clock, worker 0 calls the next epoch when the tick has passed, somebody has read something and not too many
//! are open; when they are, the epoch goes on and grows, so throughput rises with the load. By count, an epoch takes so
//! many records of each partition, and ends when all of them gave theirs: no clock, no other worker, nothing that could
//! differ next time.
//!
//! Where snapshots are taken, epochs by count are called, too, well ahead: that a worker waits for a call changes when
//! an epoch ends, and nothing of what is in it.

use crate::job::{AheadLimits, Cut};
use crate::worker::coordination::Coordination;
use crate::worker::ingest::{EpochBudget, Ingest};
use anyhow::Result;
use deltacart_dataflows::{Epoch, Event};
use std::time::{Duration, Instant};

/// A worker's pace.
pub(super) struct EpochScheduler {
    cut: Cut,
    limits: AheadLimits,
    epoch: Epoch,
    /// Epochs by count wait for their call as others do.
    is_called: bool,
    /// Worker 0's: when the epoch was called.
    called_at: Instant,
}

impl EpochScheduler {
    pub(super) fn new(cut: Cut, limits: AheadLimits, is_called: bool, now: Instant) -> Self {
        EpochScheduler { cut, limits, epoch: 0, is_called, called_at: now }
    }

    /// What was restored is an epoch of its own: what is read belongs to the next.
    pub(super) fn begin_after_restore(&mut self, coordination: &mut Coordination) -> Epoch {
        self.epoch = 1;
        coordination.call(self.epoch);
        self.epoch
    }

    /// The epoch that records are read into.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Reads what may be read now; true if there was something.
    ///
    /// `oldest` is the oldest epoch that is neither out nor held back.
    pub(super) fn fetch(
        &self,
        ingest: &mut Ingest<'_>,
        coordination: &mut Coordination,
        oldest: Option<Epoch>,
        send: &mut dyn FnMut(&mut Vec<Event>),
    ) -> Result<bool> {
        if self.is_ahead(oldest) {
            return Ok(false);
        }
        let AheadLimits { epoch_events: events, epoch_bytes: bytes, .. } = self.limits;
        let (budget, is_called) = match self.cut {
            Cut::Tick(_) => (EpochBudget { partition_records: u64::MAX, events, bytes }, true),
            Cut::Records(records) => {
                let partition_records = records.get();
                (EpochBudget { partition_records, events: usize::MAX, bytes: usize::MAX }, self.is_called)
            }
        };
        let found = ingest.fetch(budget, send)?;
        if found && is_called {
            coordination.report_used(self.epoch);
        }
        Ok(found)
    }

    /// The next epoch, if this one is over.
    pub(super) fn next_epoch(&mut self, ingest: &Ingest<'_>, coordination: &Coordination) -> Option<Epoch> {
        let next = match self.cut {
            Cut::Tick(_) => coordination.called()?,
            Cut::Records(records) if ingest.all_gave(records.get()) => self.epoch + 1,
            Cut::Records(_) => self.epoch,
        };
        let may_end = !self.is_called || coordination.called() >= Some(next);
        (may_end && next > self.epoch).then(|| {
            self.epoch = next;
            next
        })
    }

    /// The epoch called last, if it is not the worker's: for a worker that has no more to read.
    pub(super) fn follow(&mut self, coordination: &Coordination) -> Option<Epoch> {
        let next = coordination.called().filter(|called| *called > self.epoch)?;
        self.epoch = next;
        Some(next)
    }

    /// Worker 0 calls the next epoch, if it is time. To be called on every turn, also when this worker has no more to
    /// read: the others go by it.
    pub(super) fn keep_time(&mut self, coordination: &mut Coordination, oldest: Option<Epoch>, now: Instant) {
        if let (Cut::Records(_), true) = (self.cut, self.is_called) {
            // Further than any worker can be that has not told yet how far it is.
            let used = coordination.used_by_any().map_or(0, |used| used + 1);
            coordination.call(used + self.limits.epochs + 1);
        }
        let (Cut::Tick(tick), Some(called), Some(oldest)) = (self.cut, coordination.called(), oldest) else {
            return;
        };
        let may_call = coordination.is_used(called) && called.saturating_sub(oldest) < self.limits.epochs;
        if may_call && now.saturating_duration_since(self.called_at) >= tick {
            self.called_at = now;
            coordination.call(called + 1);
        }
    }

    /// How long a worker with nothing to do may sleep. Records that arrive, other workers and operators wake it; what
    /// does not is the clock by which it has an epoch to call, and [`Ingest::patience`].
    pub(super) fn patience(
        &self,
        ingest: &Ingest<'_>,
        coordination: &Coordination,
        now: Instant,
    ) -> Duration {
        let until_call = match (self.cut, coordination.called()) {
            (Cut::Tick(tick), Some(called)) if coordination.is_used(called) => {
                // Zero when as many epochs are open as may be: then it is their progress that wakes it.
                let passed = now.saturating_duration_since(self.called_at);
                Some(tick.saturating_sub(passed)).filter(|left| !left.is_zero())
            }
            _ => None,
        };
        ingest.patience().min(until_call.unwrap_or(Duration::MAX))
    }

    fn is_ahead(&self, oldest: Option<Epoch>) -> bool {
        oldest.is_some_and(|oldest| self.epoch.saturating_sub(oldest) > self.limits.epochs)
    }
}
