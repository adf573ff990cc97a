//! The walk: all baskets of a worker copied as they were at the end of one epoch, while the next ones are under way.
//!
//! ```text
//! numbers  0 ········ next ────────────────── end ····
//!            copied        still to be copied     not there at the end of the epoch
//!                               │
//!          an event is about to change one of these: it is copied first, and skipped later
//! ```
//!
//! Whoever wants a snapshot says the epoch in a [`SnapshotRequest`] before the epoch is closed. The operator then
//! copies some baskets whenever it is scheduled and schedules itself again, so nothing waits for the walk; what has
//! been copied goes to a [`SnapshotSink`], which may ask for a rest.
//!
//! # Notes
//! What is copied before it changes is handed over even to a taker that is not ready: it would be lost otherwise. That
//! is at most what events of later epochs touch while the walk lasts.

use crate::baskets::ledger::Ledger;
use crate::names::Names;
use crate::{Action, Epoch, Event, Item, Millis, Name, Partition, Position, Quantity};
use foldhash::fast::RandomState;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use timely::scheduling::Activator;

/// A basket as it was at the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasketCopy<I = Name> {
    /// Which.
    pub basket: Name,
    /// The partition of its events.
    pub partition: Partition,
    /// The time of its last event; 0 where baskets are never given up.
    pub last: Millis,
    /// Whose it is, in the order in which they were seen with it.
    pub users: Vec<Name>,
    /// Its items with the units in the cart and the units bought, in the order in which they entered.
    pub lines: Vec<(I, Quantity, Quantity)>,
}

impl BasketCopy {
    /// The events that make the basket again where there is none, or go on with it. Baskets of one epoch need rising
    /// numbers.
    ///
    /// Users beyond the lines come with the last line once more: it says the same again. A basket without lines is
    /// none, and has no events.
    pub fn into_events(self, number: u64) -> impl Iterator<Item = Event> {
        let BasketCopy { basket, partition, last, users, lines } = self;
        let count = if lines.is_empty() { 0 } else { lines.len().max(users.len()) };
        (0..count).map(move |index| {
            let (item, cart, bought) = &lines[index.min(lines.len() - 1)];
            Event {
                position: Position { partition, offset: number, index: index as u32 },
                basket: basket.clone(),
                user: users.get(index).cloned(),
                time: last,
                action: Action::Restore(item.clone(), *cart, *bought),
            }
        })
    }
}

/// Where copies go.
pub trait SnapshotSink {
    /// Whether more can be taken now; the walk rests until it can.
    fn is_ready(&self) -> bool;

    /// Takes baskets as they were at the end of `epoch`: over all calls, each that was held then, once.
    fn take(&mut self, epoch: Epoch, baskets: Vec<BasketCopy>);

    /// All baskets of the epoch have been handed over.
    fn finish(&mut self, epoch: Epoch);
}

/// Asks for a copy of all baskets of this worker. Clones ask the same operator.
#[derive(Clone)]
pub struct SnapshotRequest(Rc<Shared>);

struct Shared {
    asked: Cell<Option<Epoch>>,
    walking: Cell<Option<Epoch>>,
    taker: RefCell<Box<dyn SnapshotSink>>,
}

/// Lines that are copied at a time: some 100 µs of work, baskets' names and users with them.
const STEP_LINES: usize = 2048;

/// How long a taker that is not ready is left alone.
const REST: Duration = Duration::from_millis(1);

impl SnapshotRequest {
    /// Copies are to go to `taker`.
    pub fn new(taker: Box<dyn SnapshotSink>) -> Self {
        let (asked, walking) = (Cell::new(None), Cell::new(None));
        SnapshotRequest(Rc::new(Shared { asked, walking, taker: RefCell::new(taker) }))
    }

    /// Asks for the baskets at the end of `epoch`, which must not be closed yet. What was asked for before must have
    /// been finished.
    pub fn ask(&self, epoch: Epoch) {
        self.0.asked.set(Some(epoch));
    }

    /// Begins the walk that was asked for, if its epoch is closed: all before `open` are, and their events applied.
    pub(super) fn begin(&self, open: Option<Epoch>, ledger: &mut Ledger) {
        let Shared { asked, walking, .. } = &*self.0;
        if let Some(epoch) = asked.get()
            && open.is_none_or(|open| open > epoch)
        {
            asked.set(None);
            walking.set(Some(epoch));
            ledger.begin_walk();
        }
    }

    /// Goes on with the walk.
    pub(super) fn step(
        &self,
        open: Option<Epoch>,
        ledger: &mut Ledger,
        names: &Names,
        activator: &Activator,
    ) {
        self.begin(open, ledger);
        let Shared { walking, taker, .. } = &*self.0;
        let Some(epoch) = walking.get() else { return };
        let mut taker = taker.borrow_mut();
        let is_ready = taker.is_ready();
        let is_done = is_ready && ledger.walk_on(STEP_LINES);
        let copies = ledger.copies();
        if !copies.is_empty() {
            taker.take(epoch, copies.into_iter().map(|copy| named(copy, names)).collect());
        }
        if is_done {
            ledger.end_walk();
            walking.set(None);
            taker.finish(epoch);
        } else if is_ready {
            activator.activate();
        } else {
            activator.activate_after(REST);
        }
    }
}

fn named(copy: BasketCopy<Item>, names: &Names) -> BasketCopy {
    let BasketCopy { basket, partition, last, users, lines } = copy;
    let name = |(item, cart, bought)| (names.name(item).clone(), cart, bought);
    BasketCopy { basket, partition, last, users, lines: lines.into_iter().map(name).collect() }
}

/// How far a walk is.
#[derive(Default)]
pub(super) struct Walk {
    /// The numbers it has not come to.
    rest: Range<u32>,
    /// Those of them that it need not come to: what they held is copied, or they held nothing.
    early: HashSet<u32, RandomState>,
    copies: Vec<BasketCopy<Item>>,
    lines: usize,
}

impl Walk {
    /// A walk over the numbers below `end`.
    pub(super) fn over(end: usize) -> Walk {
        Walk { rest: 0..end as u32, ..Walk::default() }
    }

    /// The next number to copy.
    pub(super) fn next(&mut self) -> Option<u32> {
        let early = &mut self.early;
        self.rest.find(|number| early.is_empty() || !early.remove(number))
    }

    /// Whether the walk has to come to this number; it has not to any more after this was asked.
    pub(super) fn is_still_to_copy(&mut self, number: u32) -> bool {
        self.rest.contains(&number) && self.early.insert(number)
    }

    pub(super) fn add(&mut self, copy: Option<BasketCopy<Item>>) {
        // A number without a basket costs a little, too.
        self.lines += 1 + copy.as_ref().map_or(0, |copy| copy.lines.len() + copy.users.len());
        self.copies.extend(copy);
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    pub(super) fn copies(&mut self) -> Vec<BasketCopy<Item>> {
        std::mem::take(&mut self.copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    fn action() -> impl Strategy<Value = Action<Item>> {
        let item = || 0u32..6;
        prop_oneof![
            4 => (item(), 1u32..3).prop_map(|(item, more)| Action::Add(item, more)),
            1 => (item(), 1u32..3).prop_map(|(item, more)| Action::Purchase(item, more)),
            2 => item().prop_map(|item| Action::Remove(item, None)),
            1 => Just(Action::Checkout),
            1 => Just(Action::Forget),
            1 => Just(Action::ForgetUser),
        ]
    }

    /// Longer than all that happens, so that it is noted and nothing comes of it.
    const IDLE: u64 = 100;

    fn ledger(index: usize, workers: usize, items_max: usize) -> Ledger {
        Ledger::new(index, workers, items_max).with_idle(NonZeroU64::new(IDLE))
    }

    fn events(length: usize) -> impl Strategy<Value = Vec<Event<Item>>> {
        let event = (0u32..9, prop::option::of(0u32..4), 0u8..2, 0..IDLE, action());
        prop::collection::vec(event, 0..length).prop_map(|events| {
            let event = |(basket, user, partition, time, action): (u32, Option<u32>, u8, u64, _)| Event {
                position: Position {
                    partition: Partition::new(partition, 0).unwrap(),
                    ..Position::default()
                },
                basket: format!("b{basket}").into(),
                user: user.map(|user| format!("u{user}").into()),
                time,
                action,
            };
            events.into_iter().map(event).collect()
        })
    }

    fn apply(ledger: &mut Ledger, events: impl IntoIterator<Item = Event<Item>>) {
        events.into_iter().for_each(|event| ledger.apply(event, &mut |_effect| {}));
    }

    /// All of it at once.
    fn copy_all(ledger: &mut Ledger) -> Vec<BasketCopy<Item>> {
        ledger.begin_walk();
        assert!(ledger.walk_on(usize::MAX / 2));
        let mut copies = ledger.copies();
        ledger.end_walk();
        copies.sort();
        copies
    }

    proptest! {
        /// Whatever events come between its steps, and whatever the steps: what the walk hands out is the state when
        /// it began.
        #[test]
        fn a_walk_copies_the_state_of_one_moment(
            before in events(60),
            after in prop::collection::vec((0usize..6, events(6)), 0..20),
            items_max in 1usize..5,
        ) {
            let mut ledger = ledger(0, 1, items_max);
            apply(&mut ledger, before);
            let expected = copy_all(&mut ledger);
            ledger.begin_walk();
            let mut found = Vec::new();
            for (lines, events) in after {
                ledger.walk_on(lines);
                apply(&mut ledger, events);
                found.extend(ledger.copies());
            }
            prop_assert!(ledger.walk_on(usize::MAX / 2));
            found.extend(ledger.copies());
            found.sort();
            prop_assert_eq!(found, expected);
        }

        /// What is made of the copies goes on as the original does: lines in their order, users, partitions.
        #[test]
        fn a_ledger_is_made_again(before in events(60), after in events(30), items_max in 1usize..5) {
            let mut ledger_of_two = ledger(1, 2, items_max);
            let mut ledger = ledger(0, 1, items_max);
            apply(&mut ledger, before);
            let copies = copy_all(&mut ledger);
            let again = &mut ledger_of_two;
            for (number, copy) in (0..).zip(copies.clone()) {
                let named = |(item, cart, bought): (Item, _, _)| (Name::from(item.to_string()), cart, bought);
                let BasketCopy { basket, partition, last, users, lines } = copy;
                let lines = lines.into_iter().map(named).collect();
                let events = BasketCopy { basket, partition, last, users, lines }.into_events(number);
                let numbered = |event: Event| Event {
                    position: event.position,
                    basket: event.basket,
                    user: event.user,
                    time: event.time,
                    action: event.action.map_item(|item: Name| item.parse().unwrap()),
                };
                apply(again, events.map(numbered));
            }
            prop_assert_eq!(copy_all(again), copies);
            apply(&mut ledger, after.clone());
            apply(again, after);
            prop_assert_eq!(copy_all(again), copy_all(&mut ledger));
        }
    }
}
