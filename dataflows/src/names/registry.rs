//! Who gives items their numbers, and takes them back.
//!
//! ```text
//!          asked            some basket holds it
//!   free ────────▶ given ◀──────────────────────── or it is asked for again
//!    ▲              │  no basket holds it, and all that asked have it     ▲
//!    │              ▼                                                    │
//!    └────────── leaving: everyone is told to ask again, and tells ──────┘
//!      all told,     when no event is under way with the number
//!      none holds
//! ```
//!
//! A number may be given to another item when nothing says it any more: no event that is under way, no line, no list
//! that is still to be told. Epochs order all of that. A worker tells that it has forgotten the number when every epoch
//! is closed, lists and all, of which it may have numbered events with it; the workers that hold baskets tell by epochs
//! whether one holds the item. When all have forgotten it, and by then none holds it, then none ever will.
//!
//! # Notes
//! - An item that comes back in time keeps its number: who had forgotten it asks, and everyone is told again.
//! - Nothing downstream waits for any of this: what comes back is connected to no epoch of the events.

use super::forget::Report;
use super::{Round, SharedNames, route};
use crate::numbers::Numbers;
use crate::{Epoch, Item, Name};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

/// Answers names with their numbers, to everyone; and has the names forgotten that no basket holds any more.
pub(super) fn register<'scope>(
    asked: StreamVec<'scope, Epoch, Name>,
    reports: StreamVec<'scope, Epoch, Report>,
    names: &SharedNames,
) -> StreamVec<'scope, Epoch, (Item, Name)> {
    let scope = asked.scope();
    let mut registry = Registry::new(scope.index() as u32, scope.peers() as u32);
    let mut builder = OperatorBuilder::new("NumberItems".to_owned(), scope);
    let mut asked = builder.new_input(asked, Exchange::new(|name: &Name| route(name)));
    let mut reports = builder.new_input(reports, Exchange::new(|report: &Report| report.item().into()));
    let same_epoch = || Antichain::from_elem(0);
    let (answers, answered) = builder.new_output_connection([(0, same_epoch())]);
    let mut answers = OutputBuilder::from(answers);
    let (leaves, leaving) = builder.new_output_connection([(1, same_epoch())]);
    let mut leaves = OutputBuilder::from(leaves);
    let shared = Rc::clone(names);
    builder.build(move |capabilities| {
        // That of the numbers to be forgotten: it may be time when no report comes.
        let mut held = capabilities.into_iter().nth(1);
        let mut waiting: BTreeMap<Epoch, Vec<Report>> = BTreeMap::new();
        move |frontiers| {
            let mut answers = answers.activate();
            asked.for_each(|capability, names: &mut Vec<Name>| {
                let Some(&epoch) = capability.least() else { return };
                let mut session = answers.session(&capability);
                names.drain(..).for_each(|name| session.give((registry.answer(&name, epoch), name)));
            });
            reports.for_each(|capability, reports: &mut Vec<Report>| {
                let Some(&stamp) = capability.least() else { return };
                waiting.entry(stamp).or_default().append(reports);
            });
            let (Some(&stamp), Some(capability)) = (frontiers[1].frontier().first(), &mut held) else {
                held = None;
                return;
            };
            while let Some(entry) = waiting.first_entry().filter(|entry| *entry.key() < stamp) {
                // They went once round, which is one epoch.
                let (stamp, reports) = entry.remove_entry();
                registry.take(reports, stamp - 1);
            }
            capability.downgrade(&stamp);
            let mut leaves = leaves.activate();
            let mut session = leaves.session(&*capability);
            registry.leave(stamp.saturating_sub(1), &mut |leaving| session.give(leaving));
            shared.borrow_mut().forgotten = registry.forgotten;
        }
    });
    let names = Rc::clone(names);
    leaving.broadcast().inspect(move |&(item, round)| names.borrow_mut().leave(item, round));
    answered.broadcast()
}

/// The numbers of one worker.
struct Registry {
    index: u32,
    workers: u32,
    numbers: Numbers,
    /// By the number here.
    items: Vec<Registered>,
    /// Numbers that no basket holds, or did not, to be looked at when the epoch is closed.
    unheld: VecDeque<(Epoch, u32)>,
    /// How many numbers were taken back.
    forgotten: u64,
}

/// What is known of a number.
#[derive(Default)]
struct Registered {
    state: State,
    /// The last epoch in which it was asked for.
    asked: Epoch,
    /// Workers that have a basket with the item.
    holders: u32,
    round: Round,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Given,
    /// So many workers have forgotten it in this round.
    Leaving(u32),
}

impl Registry {
    fn new(index: u32, workers: u32) -> Registry {
        let (numbers, items, unheld) = Default::default();
        Registry { index, workers, numbers, items, unheld, forgotten: 0 }
    }

    /// The number of a name that was asked for in an epoch. It stays while that epoch is open.
    fn answer(&mut self, name: &Name, epoch: Epoch) -> Item {
        let (number, _new) = self.numbers.get_or_insert(name);
        if self.items.len() < self.numbers.len() {
            self.items.resize_with(self.numbers.len(), Registered::default);
        }
        let item = &mut self.items[number as usize];
        item.state = State::Given;
        item.asked = item.asked.max(epoch);
        if item.holders == 0 {
            self.unheld.push_back((epoch, number));
        }
        let item = number.checked_mul(self.workers).and_then(|n| n.checked_add(self.index));
        item.expect("fewer than four billion items")
    }

    /// Takes all reports of an epoch: who holds what first, since that decides what becomes of what was forgotten.
    fn take(&mut self, reports: Vec<Report>, epoch: Epoch) {
        for report in &reports {
            if let Report::Held(item, is_held) = *report {
                let number = item / self.workers;
                let holders = &mut self.items[number as usize].holders;
                let now = holders.checked_add_signed(if is_held { 1 } else { -1 });
                *holders = now.expect("who holds an item no more held it");
                if *holders == 0 {
                    self.unheld.push_back((epoch, number));
                }
            }
        }
        for report in &reports {
            if let Report::Forgotten(item, round) = *report {
                self.forgotten_once(item / self.workers, round);
            }
        }
    }

    /// One more worker has forgotten a number.
    fn forgotten_once(&mut self, number: u32, round: Round) {
        let item = &mut self.items[number as usize];
        let State::Leaving(told) = &mut item.state else { return };
        if item.round != round {
            return;
        }
        *told += 1;
        if *told < self.workers {
            return;
        }
        if item.holders > 0 {
            // An event that was under way brought it back.
            item.state = State::Given;
            return;
        }
        item.state = State::Free;
        self.numbers.remove(number);
        self.forgotten += 1;
    }

    /// Tells which numbers are to be forgotten, where all epochs before `open` are closed.
    fn leave(&mut self, open: Epoch, tell: &mut impl FnMut((Item, Round))) {
        while let Some((_epoch, number)) = self.unheld.pop_front_if(|(epoch, _number)| *epoch < open) {
            let item = &mut self.items[number as usize];
            if item.holders > 0 || item.state != State::Given {
                continue;
            }
            if item.asked >= open {
                self.unheld.push_back((item.asked, number));
                continue;
            }
            item.state = State::Leaving(0);
            item.round = item.round.wrapping_add(1);
            tell((number * self.workers + self.index, item.round));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: u32 = 2;

    /// What is to be forgotten, where epochs before `open` are closed.
    fn left(registry: &mut Registry, open: Epoch) -> Vec<(Item, Round)> {
        let mut left = Vec::new();
        registry.leave(open, &mut |leaving| left.push(leaving));
        left
    }

    fn all_forget(registry: &mut Registry, (item, round): (Item, Round), epoch: Epoch) {
        registry.take(vec![Report::Forgotten(item, round); WORKERS as usize], epoch);
    }

    #[test]
    fn a_number_is_given_again_when_all_have_forgotten_it() {
        let mut registry = Registry::new(1, WORKERS);
        let (a, b, c) = ("a".into(), "b".into(), "c".into());
        assert_eq!((registry.answer(&a, 0), registry.answer(&b, 0)), (1, 3));
        registry.take(vec![Report::Held(1, true), Report::Held(3, true)], 0);
        assert_eq!(left(&mut registry, 1), []);
        registry.take(vec![Report::Held(1, false)], 4);
        assert_eq!(left(&mut registry, 4), []);
        assert_eq!(left(&mut registry, 5), [(1, 1)]);
        registry.take(vec![Report::Forgotten(1, 1)], 5);
        assert_eq!((registry.forgotten, registry.answer(&c, 6)), (0, 5), "one worker may still say it");
        registry.take(vec![Report::Forgotten(1, 1)], 6);
        assert_eq!((registry.forgotten, registry.answer(&a, 7)), (1, 1), "the number is free");
    }

    #[test]
    fn what_nobody_ever_held_goes_when_its_epoch_is_closed() {
        let mut registry = Registry::new(0, WORKERS);
        let a = "a".into();
        assert_eq!((registry.answer(&a, 3), registry.answer(&a, 5)), (0, 0));
        assert_eq!(left(&mut registry, 5), []);
        assert_eq!(left(&mut registry, 6), [(0, 1)]);
        assert_eq!(left(&mut registry, 7), [], "once is enough");
    }

    #[test]
    fn who_comes_back_keeps_the_number() {
        let mut registry = Registry::new(0, WORKERS);
        let a = "a".into();
        registry.answer(&a, 0);
        let first = left(&mut registry, 1)[0];
        // Asked for while it leaves: what is told of that round counts no more.
        assert_eq!(registry.answer(&a, 2), 0);
        all_forget(&mut registry, first, 2);
        assert_eq!(registry.forgotten, 0);
        let second = left(&mut registry, 3)[0];
        assert_eq!(second, (0, 2));
        all_forget(&mut registry, first, 3);
        assert_eq!(registry.forgotten, 0);
        // Brought back by an event that was under way, told of in the same epoch.
        let mut reports = vec![Report::Forgotten(0, 2), Report::Forgotten(0, 2), Report::Held(0, true)];
        registry.take(std::mem::take(&mut reports), 4);
        assert_eq!((registry.forgotten, left(&mut registry, 5)), (0, vec![]));
        registry.take(vec![Report::Held(0, false)], 9);
        let third = left(&mut registry, 10)[0];
        all_forget(&mut registry, third, 11);
        assert_eq!(registry.forgotten, 1);
    }
}
