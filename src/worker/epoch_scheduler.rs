//! The epoch scheduler: decides when an epoch ends and how much may be read into it.
//!
//! The scheduler only decides; the worker's loop reads, sends and advances.
//!
//! - **By the clock** (`--epoch`), worker 0 calls the next epoch once the tick has passed, some worker has read
//!   records, and not too many epochs are open. While too many are open the current epoch grows, so throughput rises
//!   with the load.
//! - **By count** (`--epoch-events`), an epoch takes a fixed number of records of each partition. It ends when every
//!   partition has given them or has ended. It depends on no clock and no other worker, so every run has the same
//!   epochs.
//!
//! Where snapshots are taken, worker 0 calls epochs by count as well, several ahead. A worker that waits for a call
//! ends its epoch later; the records in the epoch stay the same.

use crate::job::{AheadLimits, Cut};
use crate::worker::coordination::Coordination;
use deltacart_dataflows::Epoch;
use std::time::{Duration, Instant};

/// Decides for one worker when its epochs end.
pub(super) struct EpochScheduler {
    cut: Cut,
    limits: AheadLimits,
    epoch: Epoch,
    /// Whether epochs by count wait for a call, too: they do where snapshots are taken.
    is_called: bool,
    /// When the current epoch was called; only worker 0 uses it.
    called_at: Instant,
}

/// The limits of what may be read into one epoch.
#[derive(Clone, Copy)]
pub(super) struct EpochBudget {
    /// Records of each partition.
    pub(super) partition_records: u64,
    /// Events of all partitions together. A record may have several events; those of the last record may exceed the
    /// limit.
    pub(super) events: usize,
    /// Bytes of records of all partitions together. The last batch may exceed the limit.
    pub(super) bytes: usize,
}

impl EpochScheduler {
    pub(super) fn new(cut: Cut, limits: AheadLimits, is_called: bool, now: Instant) -> Self {
        EpochScheduler { cut, limits, epoch: 0, is_called, called_at: now }
    }

    /// Begins the epoch after a restored snapshot. The snapshot is epoch 0, so this is epoch 1.
    pub(super) fn begin_after_restore(&mut self, coordination: &mut Coordination) -> Epoch {
        self.epoch = 1;
        coordination.call(self.epoch);
        self.epoch
    }

    /// The epoch that records are read into.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The budget of the current epoch; `None` while too many epochs are open. `oldest` is the oldest epoch that is
    /// neither delivered nor held back.
    pub(super) fn budget(&self, oldest: Option<Epoch>) -> Option<EpochBudget> {
        if self.is_ahead(oldest) {
            return None;
        }
        let AheadLimits { epoch_events: events, epoch_bytes: bytes, .. } = self.limits;
        Some(match self.cut {
            Cut::Tick(_) => EpochBudget { partition_records: u64::MAX, events, bytes },
            Cut::Records(records) => {
                EpochBudget { partition_records: records.get(), events: usize::MAX, bytes: usize::MAX }
            }
        })
    }

    /// Whether worker 0 calls the epochs. Then it has to know which of them have records.
    pub(super) fn waits_for_calls(&self) -> bool {
        self.is_called || matches!(self.cut, Cut::Tick(_))
    }

    /// Begins the next epoch and returns it, if the current one is over. `have_given(records)` says whether every
    /// partition has given that many records in the current epoch, or has ended.
    pub(super) fn begin_next(
        &mut self,
        have_given: impl FnOnce(u64) -> bool,
        coordination: &Coordination,
    ) -> Option<Epoch> {
        let next = match self.cut {
            Cut::Tick(_) => coordination.called()?,
            Cut::Records(records) if have_given(records.get()) => self.epoch + 1,
            Cut::Records(_) => self.epoch,
        };
        let may_end = !self.is_called || coordination.called() >= Some(next);
        (may_end && next > self.epoch).then(|| {
            self.epoch = next;
            next
        })
    }

    /// Moves to the last epoch called and returns it, if the worker is not in it yet. For workers that have ended.
    pub(super) fn follow(&mut self, coordination: &Coordination) -> Option<Epoch> {
        let next = coordination.called().filter(|called| *called > self.epoch)?;
        self.epoch = next;
        Some(next)
    }

    /// Calls the next epoch on worker 0, if it is time. The loop asks on every turn, even when this worker has no
    /// more to read, because the other workers wait for the call.
    pub(super) fn keep_time(&mut self, coordination: &mut Coordination, oldest: Option<Epoch>, now: Instant) {
        if let (Cut::Records(_), true) = (self.cut, self.is_called) {
            // This is further than any worker can be that has not reported its epoch yet.
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

    /// How long until worker 0 may call the next epoch; `None` when the clock decides nothing. A sleeping worker
    /// needs it, because records, other workers and operators wake it, but the clock does not.
    pub(super) fn until_call(&self, coordination: &Coordination, now: Instant) -> Option<Duration> {
        let (Cut::Tick(tick), Some(called)) = (self.cut, coordination.called()) else { return None };
        let left = tick.saturating_sub(now.saturating_duration_since(self.called_at));
        // If no time is left, too many epochs are open, and their progress wakes the worker.
        (coordination.is_used(called) && !left.is_zero()).then_some(left)
    }

    fn is_ahead(&self, oldest: Option<Epoch>) -> bool {
        oldest.is_some_and(|oldest| self.epoch.saturating_sub(oldest) > self.limits.epochs)
    }
}
