//! The registry: assigns numbers to items, and frees the numbers of items that no basket holds.
//!
//! ```text
//!          requested          some basket holds it,
//!   free ───────────▶ in use ◀─────────────────────── or it is requested again
//!    ▲                  │  no basket holds it, and all epochs are closed     ▲
//!    │                  │  in which it was requested                         │
//!    │                  ▼                                                    │
//!    └──────────────── retiring: all workers stop numbering events with it ──┘
//!     all confirmed,             each confirms when no event with it is in flight
//!     none holds it
//! ```
//!
//! A number may be reused when nothing names it any more: no event in flight, no line, no unpublished list.
//! Epochs order all of that:
//!
//! 1. A worker confirms that it has forgotten the number once every epoch is closed of which it may have numbered
//!    events with it. Closed means behind the lists.
//! 2. Workers report by epoch whether a basket of theirs holds the item.
//! 3. So when all have confirmed and none holds the item by then, none ever will.
//!
//! # Example
//! Two workers. Epochs are those behind the lists:
//!
//! ```text
//! epoch 3   the last basket with a mug is emptied, on worker 1: holders of mug fall to 0
//! epoch 4   epoch 3 is closed: the registry retires mug, number 8, generation 1. All workers note it
//! epoch 6   worker 0 has closed all epochs in which it numbered mugs: it forgets the name, and confirms
//! epoch 7   worker 1 does. All have confirmed and none holds it: 8 is free
//! epoch 9   a new item, lamp, gets number 8
//! ```
//!
//! # Notes
//! - An item that returns while it retires keeps its number: the worker requests it, and the registry
//!   announces it again.
//! - Nothing downstream waits for this. The feedback to the registry delays no epoch of the events.

use super::name_table::{Generation, SharedNames, route};
use crate::id_vec::{IdVec, local_id};
use crate::interner::Interner;
use crate::{Epoch, Item, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

/// The baskets of one worker began to hold an item in an epoch, or none of them holds it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldChange {
    /// The item.
    pub(crate) item: Item,
    /// Whether a basket holds it at the end of the epoch.
    pub(crate) is_held: bool,
}

/// A worker's report to the registry of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A basket of the worker holds the item since that epoch, or none does any more.
    Held(HeldChange),
    /// The worker has forgotten a retired item. It requests the name before it numbers another event with it.
    Forgotten {
        /// The item.
        item: Item,
        /// The retirement that this confirms.
        generation: Generation,
    },
}

impl Report {
    /// The item that the report is about.
    fn item(self) -> Item {
        match self {
            Report::Held(HeldChange { item, .. }) | Report::Forgotten { item, .. } => item,
        }
    }
}

/// Assigns numbers to requested names and announces them to all workers. Retires items that no basket holds.
///
/// The output is every assignment, on every worker. Retirements go to `names` directly.
pub(super) fn assign_numbers<'scope>(
    requests: StreamVec<'scope, Epoch, Name>,
    reports: StreamVec<'scope, Epoch, Report>,
    names: &SharedNames,
) -> StreamVec<'scope, Epoch, (Item, Name)> {
    let scope = requests.scope();
    let mut registry = Registry::new(scope.index() as u32, scope.peers() as u32);
    let mut builder = OperatorBuilder::new("NumberItems".to_owned(), scope);
    let mut requests = builder.new_input(requests, Exchange::new(|name: &Name| route(name)));
    let to_owner = Exchange::new(|report: &Report| report.item().number().into());
    let mut reports = builder.new_input(reports, to_owner);
    let same_epoch = || Antichain::from_elem(0);
    let (assigned, assignments) = builder.new_output_connection([(0, same_epoch())]);
    let mut assigned = OutputBuilder::from(assigned);
    let (retired, retirements) = builder.new_output_connection([(1, same_epoch())]);
    let mut retired = OutputBuilder::from(retired);
    let shared = Rc::clone(names);
    builder.build(move |capabilities| {
        // The capability of retirements, kept because one may be due when no report arrives.
        let mut held = capabilities.into_iter().nth(1);
        let mut stash: BTreeMap<Epoch, Vec<Report>> = BTreeMap::new();
        move |frontiers| {
            let mut assigned = assigned.activate();
            requests.for_each(|capability, names: &mut Vec<Name>| {
                let Some(&epoch) = capability.least() else { return };
                let mut session = assigned.session(&capability);
                names.drain(..).for_each(|name| session.give((registry.assign(&name, epoch), name)));
            });
            reports.for_each(|capability, reports: &mut Vec<Report>| {
                let Some(&time) = capability.least() else { return };
                stash.entry(time).or_default().append(reports);
            });
            let (Some(&time), Some(capability)) = (frontiers[1].frontier().first(), &mut held) else {
                held = None;
                return;
            };
            while let Some(entry) = stash.first_entry().filter(|entry| *entry.key() < time) {
                // The feedback edge added one epoch.
                let (time, reports) = entry.remove_entry();
                registry.apply(&reports, time - 1);
            }
            capability.downgrade(&time);
            let mut retired = retired.activate();
            let mut session = retired.session(&*capability);
            registry.retire(time.saturating_sub(1), &mut |retirement| session.give(retirement));
            shared.borrow_mut().set_forgotten(registry.forgotten);
        }
    });
    let names = Rc::clone(names);
    let retirements = retirements.broadcast();
    retirements.inspect(move |&(item, generation)| names.borrow_mut().retire(item, generation));
    assignments.broadcast()
}

/// The items that one worker numbers.
struct Registry {
    /// The index of the worker.
    index: u32,
    /// The number of workers.
    workers: u32,
    /// The local numbers of names.
    interner: Interner,
    /// What is known of each local number.
    entries: IdVec<LocalItem, Entry>,
    /// Items that no basket held at some point of an epoch, to be checked when the epoch is closed.
    unheld: VecDeque<(Epoch, LocalItem)>,
    /// Items forgotten by all workers since the start.
    forgotten: u64,
}

local_id! {
    /// An item's number among those of its registry.
    LocalItem
}

/// What the registry knows of a number.
#[derive(Default)]
struct Entry {
    /// Whether an item has it.
    state: State,
    /// The last epoch in which its name was requested.
    requested: Epoch,
    /// Workers that have a basket with the item.
    holders: u32,
    /// How often the number was retired.
    generation: Generation,
}

/// The state of a number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// No item has it.
    #[default]
    Free,
    /// An item has it.
    InUse,
    /// Workers are forgetting its item.
    Retiring {
        /// Workers that have forgotten it in this generation.
        confirmed: u32,
    },
}

impl Registry {
    /// A registry without items, on worker `index`.
    fn new(index: u32, workers: u32) -> Registry {
        let (interner, entries, unheld) = Default::default();
        Registry { index, workers, interner, entries, unheld, forgotten: 0 }
    }

    /// The item of a name that was requested in an epoch. It stays in use while that epoch is open.
    fn assign(&mut self, name: &Name, epoch: Epoch) -> Item {
        let local = LocalItem(self.interner.get_or_insert(name).0);
        let entry = self.entries.get_or_default(local);
        entry.state = State::InUse;
        entry.requested = entry.requested.max(epoch);
        if entry.holders == 0 {
            self.unheld.push_back((epoch, local));
        }
        Item::from_local(local.0, self.index, self.workers).expect("fewer than four billion items")
    }

    /// Applies all reports of an epoch. Holders come first, because they decide whether a forgotten number is freed.
    fn apply(&mut self, reports: &[Report], epoch: Epoch) {
        for report in reports {
            if let Report::Held(HeldChange { item, is_held }) = *report {
                let local = self.local(item);
                let holders = &mut self.entries[local].holders;
                let now = holders.checked_add_signed(if is_held { 1 } else { -1 });
                *holders = now.expect("a worker that holds an item no more held it");
                if *holders == 0 {
                    self.unheld.push_back((epoch, local));
                }
            }
        }
        for report in reports {
            if let Report::Forgotten { item, generation } = *report {
                self.confirm(self.local(item), generation);
            }
        }
    }

    /// An item's number in this registry.
    fn local(&self, item: Item) -> LocalItem {
        LocalItem(item.local(self.workers))
    }

    /// One more worker has forgotten a number. The last one frees it.
    fn confirm(&mut self, local: LocalItem, generation: Generation) {
        let entry = &mut self.entries[local];
        let State::Retiring { confirmed } = &mut entry.state else { return };
        if entry.generation != generation {
            return;
        }
        *confirmed += 1;
        if *confirmed < self.workers {
            return;
        }
        if entry.holders > 0 {
            // An event that was in flight brought the item back.
            entry.state = State::InUse;
            return;
        }
        entry.state = State::Free;
        self.interner.remove(local.0);
        self.forgotten += 1;
    }

    /// Emits the items to be retired, where all epochs before `open` are closed.
    fn retire(&mut self, open: Epoch, emit: &mut impl FnMut((Item, Generation))) {
        while let Some((_epoch, local)) = self.unheld.pop_front_if(|(epoch, _local)| *epoch < open) {
            let entry = &mut self.entries[local];
            if entry.holders > 0 || entry.state != State::InUse {
                continue;
            }
            if entry.requested >= open {
                self.unheld.push_back((entry.requested, local));
                continue;
            }
            entry.state = State::Retiring { confirmed: 0 };
            entry.generation = entry.generation.wrapping_add(1);
            let item = Item::from_local(local.0, self.index, self.workers);
            emit((item.expect("the number was assigned"), entry.generation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: u32 = 2;

    fn held(item: u32, is_held: bool) -> Report {
        Report::Held(HeldChange { item: Item::new(item), is_held })
    }

    fn forgotten(item: u32, generation: Generation) -> Report {
        Report::Forgotten { item: Item::new(item), generation }
    }

    fn assign(registry: &mut Registry, name: &str, epoch: Epoch) -> u32 {
        registry.assign(&name.into(), epoch).number()
    }

    /// What is to be retired, where epochs before `open` are closed.
    fn retired(registry: &mut Registry, open: Epoch) -> Vec<(u32, Generation)> {
        let mut retired = Vec::new();
        registry.retire(open, &mut |(item, generation)| retired.push((item.number(), generation)));
        retired
    }

    fn all_forget(registry: &mut Registry, (item, generation): (u32, Generation), epoch: Epoch) {
        registry.apply(&vec![forgotten(item, generation); WORKERS as usize], epoch);
    }

    #[test]
    fn a_number_is_reused_when_all_have_forgotten_it() {
        let mut registry = Registry::new(1, WORKERS);
        assert_eq!((assign(&mut registry, "a", 0), assign(&mut registry, "b", 0)), (1, 3));
        registry.apply(&[held(1, true), held(3, true)], 0);
        assert_eq!(retired(&mut registry, 1), []);
        registry.apply(&[held(1, false)], 4);
        assert_eq!(retired(&mut registry, 4), []);
        assert_eq!(retired(&mut registry, 5), [(1, 1)]);
        registry.apply(&[forgotten(1, 1)], 5);
        let next = assign(&mut registry, "c", 6);
        assert_eq!((registry.forgotten, next), (0, 5), "an event of one worker may still have it");
        registry.apply(&[forgotten(1, 1)], 6);
        let next = assign(&mut registry, "a", 7);
        assert_eq!((registry.forgotten, next), (1, 1), "the number is free");
    }

    #[test]
    fn an_item_that_was_never_held_is_retired_when_its_epoch_is_closed() {
        let mut registry = Registry::new(0, WORKERS);
        assert_eq!((assign(&mut registry, "a", 3), assign(&mut registry, "a", 5)), (0, 0));
        assert_eq!(retired(&mut registry, 5), []);
        assert_eq!(retired(&mut registry, 6), [(0, 1)]);
        assert_eq!(retired(&mut registry, 7), [], "once is enough");
    }

    #[test]
    fn an_item_that_returns_keeps_its_number() {
        let mut registry = Registry::new(0, WORKERS);
        assign(&mut registry, "a", 0);
        let first = retired(&mut registry, 1)[0];
        // Requested while it retires: confirmations of that generation count no more.
        assert_eq!(assign(&mut registry, "a", 2), 0);
        all_forget(&mut registry, first, 2);
        assert_eq!(registry.forgotten, 0);
        let second = retired(&mut registry, 3)[0];
        assert_eq!(second, (0, 2));
        all_forget(&mut registry, first, 3);
        assert_eq!(registry.forgotten, 0);
        // Brought back by an event that was in flight, reported in the same epoch.
        registry.apply(&[forgotten(0, 2), forgotten(0, 2), held(0, true)], 4);
        assert_eq!((registry.forgotten, retired(&mut registry, 5)), (0, vec![]));
        registry.apply(&[held(0, false)], 9);
        let third = retired(&mut registry, 10)[0];
        all_forget(&mut registry, third, 11);
        assert_eq!(registry.forgotten, 1);
    }
}
