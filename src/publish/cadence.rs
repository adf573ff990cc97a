//! The cadence: how often changed lists are sent, and the changes that are held back in between.
//!
//! ```text
//! epoch   1    2         3    4    5              6          lists of a: 1 2 3 4 …
//! a      12   23        34    -   45              56         list before and after each epoch
//! sent   12              ──every──▶ 25             ──every──▶ 56
//! ```
//!
//! A change after a quiet period is sent with its epoch. Changes in the following period are held back and merged by
//! item. They are sent at the end of that period, as one change from the consumer state to the list at the last
//! closed epoch. That epoch is the published one.

use super::list_changes::{ListChanges, Update};
use deltacart_dataflows::{Epoch, List, Name};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};
use timely::dataflow::operators::Capability;
use timely::scheduling::Activator;

/// When lists may be sent. The worker supplies the time on every turn.
pub(crate) struct Cadence {
    /// The shortest time between two sends. `None` sends with every epoch.
    every: Option<Duration>,
    now: Cell<Instant>,
    /// When lists were sent last.
    left_at: Cell<Option<Instant>>,
    /// When the operator must be activated for held-back changes.
    due_at: Cell<Option<Instant>>,
    operator: RefCell<Option<Activator>>,
}

impl Cadence {
    pub(crate) fn new(every: Option<Duration>, now: Instant) -> Cadence {
        let (left_at, due_at) = (Cell::new(None), Cell::new(None));
        Cadence { every, now: Cell::new(now), left_at, due_at, operator: RefCell::default() }
    }

    /// Sets the time. Returns how long until held-back lists may be sent, if there are any.
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

    /// Sets the operator that is activated when held-back lists may be sent.
    pub(super) fn calls(&self, operator: Activator) {
        *self.operator.borrow_mut() = Some(operator);
    }

    /// Whether changes are sent with every epoch.
    pub(super) fn is_every_epoch(&self) -> bool {
        self.every.is_none()
    }

    /// Whether lists may be sent now.
    pub(super) fn is_due(&self) -> bool {
        self.due().is_none_or(|due| self.now.get() >= due)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.left_at.get()? + self.every?)
    }

    /// Notes that lists are sent now.
    pub(super) fn leave(&self) {
        self.left_at.set(Some(self.now.get()));
        self.due_at.set(None);
    }

    /// Has the operator activated when lists may be sent.
    pub(super) fn wait(&self) {
        self.due_at.set(self.due());
    }
}

/// Each item's list as consumers hold it, and as it is now.
pub(super) type Changes = BTreeMap<Name, (List, List)>;

/// Changes that are held back. There are at most as many as lists.
#[derive(Default)]
pub(super) struct HeldBack {
    changes: Changes,
    /// Holds open the oldest epoch with held-back changes: it is not delivered.
    oldest: Option<Capability<Epoch>>,
    /// The last epoch that was added.
    newest: Epoch,
}

impl HeldBack {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Merges the changes of the next epoch.
    pub(super) fn add(
        &mut self,
        epoch: Capability<Epoch>,
        updates: &mut [Update],
        list_changes: &mut ListChanges,
    ) {
        list_changes.each(*epoch.time(), updates, |change| match self.changes.entry(change.item) {
            Entry::Vacant(entry) => drop(entry.insert((change.before, change.after))),
            Entry::Occupied(entry) if entry.get().0 == change.after => drop(entry.remove()),
            Entry::Occupied(mut entry) => entry.get_mut().1 = change.after,
        });
        self.newest = *epoch.time();
        self.oldest = (!self.is_empty()).then(|| self.oldest.take().unwrap_or(epoch));
    }

    /// Takes all changes, the epoch at which they are exact, and the capability that holds their oldest epoch open.
    pub(super) fn take(&mut self) -> Option<(Changes, Epoch, Capability<Epoch>)> {
        Some((std::mem::take(&mut self.changes), self.newest, self.oldest.take()?))
    }
}
