//! A table on one worker: an epoch's updates become list changes, and these become records.
//!
//! ```text
//!                  ┌──────────────── catching up ───────────────┐
//! lists ────────────▶│ computed: item → list ┐                    │    from then on
//! consumer state ───▶│                       ├─▶ the difference ──┼──▶ every epoch's changes ──▶ records
//!   (in the output)  │ held: key → value ────┘                    │
//!                    └────────────────────────────────────────────┘
//! ```
//!
//! A table that resumes computes without publishing until the job has read the input that was there when it began.
//! Then it publishes the difference to the consumer state, which is the last published record of each key. After that
//! it publishes every epoch. So a consumer sees each list once, and no list goes back to an older state. A table that
//! does not resume publishes every epoch.
//!
//! With a [`Cadence`], changes are held back and merged.

use super::cadence::{Cadence, Changes, HeldBack};
use super::list_changes::{ListChanges, Update};
use super::publisher::{EpochHold, Inbox, StreamPublisher};
use crate::output::consumer_state::{ConsumerRecord, ConsumerState, Correction};
use crate::output::{ListChange, OutputOptions, Records, encode};
use crate::summary::{Counter, Tally};
use anyhow::{Context, Result};
use deltacart_dataflows::{Epoch, List, Name};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::rc::Rc;
use timely::dataflow::operators::{Capability, InputCapability};

/// The most updates that an emptied buffer keeps room for; one large epoch must not hold its memory for ever.
const SPARE_UPDATES_MAX: usize = 1 << 16;

/// One worker's part of a table.
pub(super) struct Table {
    options: OutputOptions,
    cadence: Rc<Cadence>,
    tally: Rc<RefCell<Tally>>,
    updates: Inbox<Update>,
    consumer_records: Inbox<ConsumerRecord>,
    list_changes: ListChanges,
    waiting: BTreeMap<Epoch, Vec<Update>>,
    spare: Vec<Update>,
    held_back: HeldBack,
    /// Set until the difference is queued.
    catching_up: Option<CatchingUp>,
    /// Changes that are still to be encoded.
    unencoded: Option<Unencoded>,
}

/// The two sides of the difference.
#[derive(Default)]
struct CatchingUp {
    consumer_state: ConsumerState,
    computed: HashMap<Name, List>,
}

/// Changes that may be too many to be encoded at once.
enum Unencoded {
    /// The difference to the consumer state.
    Difference(Correction),
    /// Changes that were held back, and their published epoch.
    Changes(Epoch, btree_map::IntoIter<Name, (List, List)>),
}

impl Unencoded {
    /// Encodes the next piece and returns how many lists it changes; `None` when nothing is left.
    fn encode_next(&mut self, options: &OutputOptions, records: &mut Records) -> Option<u64> {
        match self {
            Unencoded::Difference(correction) => correction.encode_next(records),
            Unencoded::Changes(epoch, changes) => {
                let (item, (before, after)) = changes.next()?;
                let already = records.len();
                encode(&ListChange { item, epoch: *epoch, before, after }, options, records);
                Some(u64::from(records.len() > already))
            }
        }
    }
}

impl Table {
    pub(super) fn new(
        options: OutputOptions,
        cadence: Rc<Cadence>,
        tally: Rc<RefCell<Tally>>,
        (updates, consumer_records): (Inbox<Update>, Inbox<ConsumerRecord>),
        resumes: bool,
    ) -> Table {
        Table {
            options,
            cadence,
            tally,
            updates,
            consumer_records,
            list_changes: ListChanges::default(),
            waiting: BTreeMap::new(),
            spare: Vec::new(),
            held_back: HeldBack::default(),
            catching_up: resumes.then(CatchingUp::default),
            unencoded: None,
        }
    }

    fn hold_back(&mut self, hold: &EpochHold, updates: &mut [Update]) {
        self.held_back.add(hold.delivered.clone(), updates, &mut self.list_changes);
    }

    /// Encodes an epoch's updates in the order of their items.
    fn encode_all(&mut self, published: Epoch, updates: &mut [Update], records: &mut Records) {
        let (options, mut changed) = (self.options, 0);
        self.list_changes.each(published, updates, |change| {
            let before = records.len();
            encode(&change, &options, records);
            changed += u64::from(records.len() > before);
        });
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    fn empty(&mut self, mut updates: Vec<Update>) {
        updates.clear();
        updates.shrink_to(SPARE_UPDATES_MAX);
        self.spare = updates;
    }
}

impl CatchingUp {
    fn compute(&mut self, updates: &mut [Update], list_changes: &mut ListChanges) {
        list_changes.each(0, updates, |change| {
            if change.after.is_empty() {
                self.computed.remove(&change.item);
            } else {
                self.computed.insert(change.item, change.after);
            }
        });
    }
}

impl StreamPublisher for Table {
    fn receive(
        &mut self,
        partition_of: &dyn Fn(&[u8]) -> Option<u32>,
        hold: &mut dyn FnMut(Epoch, &InputCapability<Epoch>),
    ) {
        let Table { updates, consumer_records, waiting, spare, catching_up, .. } = self;
        updates(&mut |capability, batch| {
            // A message may hold updates of several epochs, none of them before its own.
            for update in batch.drain(..) {
                let of_epoch = waiting.entry(update.1).or_insert_with(|| {
                    hold(update.1, &capability);
                    std::mem::take(spare)
                });
                of_epoch.push(update);
            }
        });
        consumer_records(&mut |_capability, batch| {
            let Some(CatchingUp { consumer_state, .. }) = catching_up else { return };
            for record in batch.drain(..) {
                let home = partition_of(record.key());
                consumer_state.apply(record, home);
            }
        });
    }

    fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    fn needs_room(&self, _epoch: Epoch) -> bool {
        // If held-back changes are due, they need room, too.
        self.catching_up.is_none() && self.cadence.is_due()
    }

    fn take_epoch(&mut self, hold: &EpochHold, published: Epoch, records: &mut Records) -> bool {
        let Some(mut updates) = self.waiting.remove(&hold.epoch()) else { return false };
        let is_written = match &mut self.catching_up {
            Some(catching_up) => {
                catching_up.compute(&mut updates, &mut self.list_changes);
                false
            }
            None if self.cadence.is_every_epoch() => {
                self.encode_all(published, &mut updates, records);
                true
            }
            None => {
                self.hold_back(hold, &mut updates);
                false
            }
        };
        self.empty(updates);
        is_written
    }

    fn end_catching_up(&mut self, published: Epoch) -> Result<()> {
        let Some(CatchingUp { consumer_state, computed }) = self.catching_up.take() else { return Ok(()) };
        let correction = Correction::new(consumer_state, computed, published, &self.options);
        let correction = correction.context("the output has a record that this job did not write")?;
        self.unencoded = Some(Unencoded::Difference(correction));
        self.cadence.leave();
        Ok(())
    }

    fn release(&mut self, base: Epoch, is_last: bool, has_room: bool) -> Option<(Epoch, Capability<Epoch>)> {
        let is_time = self.cadence.is_due() || is_last;
        if !is_time && !self.held_back.is_empty() {
            self.cadence.wait();
        }
        if !is_time || !has_room {
            return None;
        }
        let (changes, epoch, delivered): (Changes, _, _) = self.held_back.take()?;
        self.unencoded = Some(Unencoded::Changes(base + epoch, changes.into_iter()));
        self.cadence.leave();
        Some((epoch, delivered))
    }

    fn encode_more(&mut self, records: &mut Records, bytes_max: usize) {
        let mut changed = 0;
        while let Some(unencoded) = &mut self.unencoded
            && records.bytes() < bytes_max
        {
            match unencoded.encode_next(&self.options, records) {
                Some(lists) => changed += lists,
                None => self.unencoded = None,
            }
        }
        self.tally.borrow_mut().add(Counter::ListsChanged, changed);
    }

    fn has_more(&self) -> bool {
        self.unencoded.is_some()
    }
}
