//! Requests for a snapshot of all baskets, and the sink that takes it.
//!
//! ```text
//! request(epoch) ─▶ the epoch is closed ─▶ scan begins ─▶ some baskets at every schedule ─▶ sink ─▶ finish(epoch)
//! ```
//!
//! Whoever wants a snapshot requests it before its epoch is closed. The operator then copies some baskets
//! whenever it is scheduled, and schedules itself again. So no event waits for the scan. A [`SnapshotSink`]
//! may pause the scan.
//!
//! # Notes
//! A basket that is copied because it is about to change goes to the sink even while the sink is not ready.
//! These are at most the baskets that events of later epochs change during the scan.

use crate::baskets::ledger::Ledger;
use crate::baskets::snapshot_scan::BasketCopy;
use crate::names::Names;
use crate::{Epoch, Item};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use timely::scheduling::Activator;

/// Takes the copies of baskets.
pub trait SnapshotSink {
    /// Whether the sink can take more now. The scan pauses until it can.
    fn is_ready(&self) -> bool;

    /// Takes baskets as they were at the end of `epoch`. Over all calls, each basket of that moment comes once.
    fn take(&mut self, epoch: Epoch, baskets: Vec<BasketCopy>);

    /// All baskets of the epoch have been taken.
    fn finish(&mut self, epoch: Epoch);
}

/// Requests copies of all baskets of this worker. Clones share one operator.
///
/// # Examples
/// A sink that is always ready, and a snapshot at the end of epoch 0:
///
/// ```
/// use deltacart_dataflows::{
///     Action, Algorithm, BasketCopy, Epoch, Event, Evidence, ListParams, Measure, Params, Position, Requests,
///     Scoring, SnapshotRequest, SnapshotSink, Units, recommend_core,
/// };
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use timely::dataflow::operators::{Input, Probe};
///
/// struct Sink(Rc<RefCell<Vec<BasketCopy>>>);
///
/// impl SnapshotSink for Sink {
///     fn is_ready(&self) -> bool {
///         true
///     }
///     fn take(&mut self, _epoch: Epoch, mut baskets: Vec<BasketCopy>) {
///         self.0.borrow_mut().append(&mut baskets);
///     }
///     fn finish(&mut self, _epoch: Epoch) {}
/// }
///
/// timely::execute_directly(|worker| {
///     let params = Params {
///         algorithm: Algorithm::Fast,
///         lists: ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true },
///         basket_items_max: 100,
///         basket_idle: None,
///         item_baskets_max: None,
///         evidence: Evidence::default(),
///         open_for: None,
///         answers: None,
///     };
///     let baskets = Rc::default();
///     let request = SnapshotRequest::new(Box::new(Sink(Rc::clone(&baskets))));
///     let served = request.clone();
///     let requests = Requests { snapshots: Some(served), ..Requests::default() };
///     let (mut input, _probe) = worker.dataflow(|scope| {
///         let (input, events) = scope.new_input();
///         (input, recommend_core(events, params, requests).lists.inner.probe().0)
///     });
///     request.request(0);
///     let (position, basket) = (Position::default(), "ben".into());
///     input.send(Event { position, basket, user: None, time: 0, action: Action::Add("tea".into(), 2) });
///     input.advance_to(1);
///     worker.step_while(|| baskets.borrow().is_empty());
///     let in_cart = Units { cart: 2, ..Units::default() };
///     assert_eq!(baskets.borrow()[0].lines, [("tea".into(), in_cart)]);
/// });
/// ```
#[derive(Clone)]
pub struct SnapshotRequest(Rc<Shared>);

/// What clones of a request share.
struct Shared {
    /// The epoch that was requested, until its scan begins.
    requested: Cell<Option<Epoch>>,
    /// The epoch that is being scanned.
    scanning: Cell<Option<Epoch>>,
    /// Where copies go.
    sink: RefCell<Box<dyn SnapshotSink>>,
}

/// Lines that are copied at a time: some 100 µs of work, with names and users.
const STEP_LINES: usize = 2048;

/// How long a scan pauses before it asks the sink again.
const PAUSE: Duration = Duration::from_millis(1);

impl SnapshotRequest {
    /// A request whose copies go to `sink`.
    pub fn new(sink: Box<dyn SnapshotSink>) -> Self {
        let (requested, scanning) = (Cell::new(None), Cell::new(None));
        SnapshotRequest(Rc::new(Shared { requested, scanning, sink: RefCell::new(sink) }))
    }

    /// Requests the baskets at the end of `epoch`, which must still be open. An earlier request must have finished.
    pub fn request(&self, epoch: Epoch) {
        self.0.requested.set(Some(epoch));
    }

    /// Begins the requested scan if its epoch is closed. All epochs before `open` are, and their events are applied.
    pub(super) fn begin(&self, open: Option<Epoch>, ledger: &mut Ledger) {
        let Shared { requested, scanning, .. } = &*self.0;
        if let Some(epoch) = requested.get()
            && open.is_none_or(|open| open > epoch)
        {
            requested.set(None);
            scanning.set(Some(epoch));
            ledger.begin_scan();
        }
    }

    /// Advances the scan by some baskets and hands the copies to the sink.
    pub(super) fn advance(
        &self,
        open: Option<Epoch>,
        ledger: &mut Ledger,
        names: &Names,
        activator: &Activator,
    ) {
        self.begin(open, ledger);
        let Shared { scanning, sink, .. } = &*self.0;
        let Some(epoch) = scanning.get() else { return };
        let mut sink = sink.borrow_mut();
        let is_ready = sink.is_ready();
        let is_done = is_ready && ledger.advance_scan(STEP_LINES);
        let copies = ledger.take_copies();
        if !copies.is_empty() {
            sink.take(epoch, copies.into_iter().map(|copy| named(copy, names)).collect());
        }
        if is_done {
            ledger.end_scan();
            scanning.set(None);
            sink.finish(epoch);
        } else if is_ready {
            activator.activate();
        } else {
            activator.activate_after(PAUSE);
        }
    }
}

/// The copy with names in place of numbers.
fn named(copy: BasketCopy<Item>, names: &Names) -> BasketCopy {
    copy.map_items(|item| names.name(item).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baskets::basket_state::BasketState;
    use crate::baskets::stored_basket::Effect;
    use crate::{Action, Basket, Event, Millis, Name, Partition, Position};
    use proptest::prelude::*;
    use std::num::NonZeroU64;
    use std::ops::Range;

    fn action() -> impl Strategy<Value = Action<Item>> {
        let item = || (0u32..6).prop_map(Item::new);
        prop_oneof![
            4 => (item(), 1u32..3).prop_map(|(item, more)| Action::Add(item, more)),
            1 => (item(), 1u32..3).prop_map(|(item, more)| Action::Purchase(item, more)),
            2 => item().prop_map(|item| Action::Remove(item, None)),
            1 => item().prop_map(Action::View),
            1 => Just(Action::Checkout),
            1 => Just(Action::Forget),
            1 => Just(Action::ForgetUser),
        ]
    }

    /// Longer than all events take, so that times are recorded and nothing expires.
    const IDLE: u64 = 100;

    /// Shorter, so that some baskets stop being recent.
    const OPEN_FOR: u64 = 30;

    fn ledger(index: usize, workers: usize, items_max: usize) -> Ledger {
        let ledger = Ledger::new(index, workers, items_max).with_idle(NonZeroU64::new(IDLE));
        ledger.with_open_for(NonZeroU64::new(OPEN_FOR))
    }

    /// Events whose times, which are all within `times`, do not fall.
    fn events(length: usize, times: Range<Millis>) -> impl Strategy<Value = Vec<Event<Item>>> {
        let event = (0u32..9, prop::option::of(0u32..4), 0u8..2, times, action());
        prop::collection::vec(event, 0..length).prop_map(|mut events| {
            events.sort_by_key(|event| event.3);
            let event =
                |(offset, (basket, user, partition, time, action)): (u64, (u32, Option<u32>, u8, u64, _))| {
                    Event {
                        position: Position {
                            partition: Partition::new(partition, 0).unwrap(),
                            offset,
                            index: 0,
                        },
                        basket: format!("b{basket}").into(),
                        user: user.map(|user| format!("u{user}").into()),
                        time,
                        action,
                    }
                };
            (0..).zip(events).map(event).collect()
        })
    }

    /// Applies the events of an epoch. Returns the states at its end.
    fn apply(ledger: &mut Ledger, events: impl IntoIterator<Item = Event<Item>>) -> Vec<BasketState> {
        let mut states = Vec::new();
        for event in events {
            ledger.advance_clock(event.position.partition, event.time);
            ledger.apply(&event, &mut |_effect| {});
        }
        ledger.end_epoch(&mut |effect| {
            if let Effect::State(state) = effect {
                states.push(BasketState { basket: Basket::new(0), ..*state });
            }
        });
        states.sort();
        states
    }

    /// Copies all baskets at once.
    fn copy_all(ledger: &mut Ledger) -> Vec<BasketCopy<Item>> {
        ledger.begin_scan();
        assert!(ledger.advance_scan(usize::MAX / 2));
        let mut copies = ledger.take_copies();
        ledger.end_scan();
        copies.sort();
        copies
    }

    proptest! {
        /// Whatever events come between its steps, and whatever the steps: the scan copies the state at its beginning.
        #[test]
        fn a_scan_copies_the_state_of_one_moment(
            before in events(60, 0..IDLE / 2),
            after in prop::collection::vec((0usize..6, events(6, IDLE / 2..IDLE)), 0..20),
            items_max in 1usize..5,
        ) {
            let mut ledger = ledger(0, 1, items_max);
            apply(&mut ledger, before);
            let expected = copy_all(&mut ledger);
            ledger.begin_scan();
            let mut found = Vec::new();
            for (lines, events) in after {
                ledger.advance_scan(lines);
                apply(&mut ledger, events);
                found.extend(ledger.take_copies());
            }
            prop_assert!(ledger.advance_scan(usize::MAX / 2));
            found.extend(ledger.take_copies());
            found.sort();
            prop_assert_eq!(found, expected);
        }

        /// A ledger that is restored from copies behaves like the original: lines in their order, users, partitions,
        /// touches, and which baskets are recent.
        #[test]
        fn a_ledger_is_restored(before in events(60, 0..IDLE / 2), after in events(30, IDLE / 2..IDLE),
             items_max in 1usize..5) {
            let mut ledger_of_two = ledger(1, 2, items_max);
            let mut ledger = ledger(0, 1, items_max);
            apply(&mut ledger, before);
            let copies = copy_all(&mut ledger);
            let restored = &mut ledger_of_two;
            let mut events_of_copies = Vec::new();
            for (number, copy) in (0..).zip(copies.clone()) {
                let events = copy.map_items(|item| item.number().to_string().into()).into_events(number);
                let numbered = |event: Event| Event {
                    position: event.position,
                    basket: event.basket,
                    user: event.user,
                    time: event.time,
                    action: event.action.map_item(|item: Name| Item::new(item.parse().unwrap())),
                };
                events_of_copies.extend(events.map(numbered));
            }
            apply(restored, events_of_copies);
            prop_assert_eq!(copy_all(restored), copies);
            prop_assert_eq!(apply(restored, after.clone()), apply(&mut ledger, after));
            prop_assert_eq!(copy_all(restored), copy_all(&mut ledger));
        }
    }
}
