//! When an epoch ends, and how much may be read into it.
//!
//! By the clock, worker 0 calls the next epoch when the tick has passed, somebody has read something and not too many
//! are open; when they are, the epoch goes on and grows, so throughput rises with the load. By count, an epoch takes so
//! many records of each partition, and ends when all of them gave theirs: no clock, no other worker, nothing that could
//! differ next time.

use crate::job::{AheadLimits, Cut};
use crate::worker::control::Control;
use crate::worker::intake::Intake;
use anyhow::Result;
use deltacart_dataflows::{Epoch, Event};
use std::time::{Duration, Instant};

/// A worker's pace.
pub(super) struct Pace {
    cut: Cut,
    limits: AheadLimits,
    epoch: Epoch,
    /// Worker 0's: when the epoch was called.
    called_at: Instant,
}

/// Records of one partition that are read at a time.
const BATCH_RECORDS: usize = 4096;

impl Pace {
    pub(super) fn new(cut: Cut, limits: AheadLimits) -> Self {
        Pace { cut, limits, epoch: 0, called_at: Instant::now() }
    }

    /// The epoch that is read into.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Reads what may be read now; true if there was something.
    ///
    /// `oldest` is the oldest epoch that is not out.
    pub(super) fn fetch(
        &self,
        intake: &mut Intake<'_>,
        control: &mut Control,
        oldest: Option<Epoch>,
        send: &mut dyn FnMut(&mut Vec<Event>),
    ) -> Result<bool> {
        if self.is_ahead(oldest) {
            return Ok(false);
        }
        match self.cut {
            Cut::Tick(_) => {
                let room = self.limits.epoch_events.saturating_sub(intake.epoch_events());
                if room == 0 || intake.epoch_bytes() >= self.limits.epoch_bytes {
                    return Ok(false);
                }
                let found = intake.fetch(room.min(BATCH_RECORDS), u64::MAX, send)?;
                if found {
                    control.tell_used(self.epoch);
                }
                Ok(found)
            }
            Cut::Records(records) => intake.fetch(BATCH_RECORDS, records.get(), send),
        }
    }

    /// The next epoch, if this one is over.
    pub(super) fn next_epoch(&mut self, intake: &Intake<'_>, control: &Control) -> Option<Epoch> {
        let next = match self.cut {
            Cut::Tick(_) => control.called()?,
            Cut::Records(records) if intake.all_gave(records.get()) => self.epoch + 1,
            Cut::Records(_) => self.epoch,
        };
        (next > self.epoch).then(|| {
            self.epoch = next;
            next
        })
    }

    /// Worker 0 calls the next epoch, if it is time. To be called on every turn, also when this worker has no more to
    /// read: the others go by it.
    pub(super) fn keep_time(&mut self, control: &mut Control, oldest: Option<Epoch>) {
        let (Cut::Tick(tick), Some(called), Some(oldest)) = (self.cut, control.called(), oldest) else {
            return;
        };
        let may_call = control.is_used(called) && called.saturating_sub(oldest) < self.limits.epochs;
        if may_call && self.called_at.elapsed() >= tick {
            self.called_at = Instant::now();
            control.call(called + 1);
        }
    }

    /// How long a worker with nothing to do may sleep. Records that arrive, other workers and operators wake it; what
    /// does not is the clock by which it has an epoch to call, and [`Intake::patience`].
    pub(super) fn patience(&self, intake: &Intake<'_>, control: &Control) -> Duration {
        let until_call = match (self.cut, control.called()) {
            (Cut::Tick(tick), Some(called)) if control.is_used(called) => {
                // Zero when as many epochs are open as may be: then it is their progress that wakes it.
                Some(tick.saturating_sub(self.called_at.elapsed())).filter(|left| !left.is_zero())
            }
            _ => None,
        };
        intake.patience().min(until_call.unwrap_or(Duration::MAX))
    }

    fn is_ahead(&self, oldest: Option<Epoch>) -> bool {
        oldest.is_some_and(|oldest| self.epoch.saturating_sub(oldest) > self.limits.epochs)
    }
}
