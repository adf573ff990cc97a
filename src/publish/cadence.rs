//! How often changed lists leave, and those that wait for it.
//!
//! ```text
//! epoch   1    2         3    4    5              6          lists of a: 1 2 3 4 …
//! a      12   23        34    -   45              56         what went and what came
//! leaves 12              ──every──▶ 25             ──every──▶ 56
//! ```
//!
//! A change after a quiet time leaves with its epoch. Whatever changes in the time that follows is held back, an item's
//! changes as one, and leaves at the end of that time: from what consumers hold to what is computed at the last epoch
//! that is closed, which is the one that is told.

use super::{EpochWriter, Update};
use deltacart_dataflows::{Epoch, List, Name};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};
use timely::dataflow::operators::Capability;
use timely::scheduling::Activator;

/// When lists leave. The worker tells the time, on every turn.
pub(crate) struct Cadence {
    /// At most once in this time; with every epoch, without.
    every: Option<Duration>,
    now: Cell<Instant>,
    /// When lists left last.
    left_at: Cell<Option<Instant>>,
    /// When the operator is to be called for what is held back.
    due_at: Cell<Option<Instant>>,
    operator: RefCell<Option<Activator>>,
}

impl Cadence {
    pub(crate) fn new(every: Option<Duration>, now: Instant) -> Cadence {
        let (left_at, due_at) = (Cell::new(None), Cell::new(None));
        Cadence { every, now: Cell::new(now), left_at, due_at, operator: RefCell::default() }
    }

    /// Says what time it is. Returns how long it takes until lists leave, if some wait for it.
    pub(crate) fn turn(&self, now: Instant) -> Option<Duration> {
        self.now.set(now);
        let left = self.due_at.get()?.saturating_duration_since(now);
        if left.is_zero() {
            self.due_at.set(None);
            if let Some(operator) = &*self.operator.borrow() {
                operator.activate();
            }
        }
        Some(left)
    }

    /// The operator that is called when it is time.
    pub(super) fn calls(&self, operator: Activator) {
        *self.operator.borrow_mut() = Some(operator);
    }

    /// Whether every epoch's changes leave by themselves.
    pub(super) fn is_every_epoch(&self) -> bool {
        self.every.is_none()
    }

    /// Whether lists may leave now.
    pub(super) fn is_due(&self) -> bool {
        self.due().is_none_or(|due| self.now.get() >= due)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.left_at.get()? + self.every?)
    }

    /// Lists leave now.
    pub(super) fn leave(&self) {
        self.left_at.set(Some(self.now.get()));
        self.due_at.set(None);
    }

    /// Calls the operator when lists may leave.
    pub(super) fn wait(&self) {
        self.due_at.set(self.due());
    }
}

/// What happened to lists since consumers were told of them: before and after.
pub(super) type Changes = BTreeMap<Name, (List, List)>;

/// Changes that are held back: no more than there are lists.
#[derive(Default)]
pub(super) struct HeldBack {
    changes: Changes,
    /// Of the oldest epoch of which something is held back: it is not out.
    oldest: Option<Capability<Epoch>>,
    /// The last epoch taken in.
    newest: Epoch,
}

impl HeldBack {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes in the changes of the next epoch.
    pub(super) fn add(
        &mut self,
        epoch: Capability<Epoch>,
        updates: &mut [Update],
        epoch_writer: &mut EpochWriter,
    ) {
        epoch_writer.each_change(*epoch.time(), updates, &mut |change, _records| match self
            .changes
            .entry(change.item)
        {
            Entry::Vacant(entry) => drop(entry.insert((change.before, change.after))),
            Entry::Occupied(entry) if entry.get().0 == change.after => drop(entry.remove()),
            Entry::Occupied(mut entry) => entry.get_mut().1 = change.after,
        });
        self.newest = *epoch.time();
        self.oldest = (!self.is_empty()).then(|| self.oldest.take().unwrap_or(epoch));
    }

    /// Lets everything go: the changes, the epoch at which they are exact, and what holds that they are not out.
    pub(super) fn take(&mut self) -> Option<(Changes, Epoch, Capability<Epoch>)> {
        Some((std::mem::take(&mut self.changes), self.newest, self.oldest.take()?))
    }
}
