//! 1 · Baskets: an ordered event log per basket becomes lines.
//!
//! ```text
//!           by basket            ┌────────┐ lines (basket, item, quantity)
//! events ───────────────────────▶│ ledger ├─────────────────────────────▶
//!    forgets, clocks to everyone └───┬────┘
//!                                    ├─ notes: what was odd, counted
//!                                    └─ held: items that a basket here holds now, or none any more
//! ```
//!
//! The worker that a basket's name hashes to holds the basket. An epoch's events are applied in the order of
//! [`Event::order`], whatever order they came in, and each action moves one or more lines of [`ledger`].
//!
//! Where baskets are given up that nothing happens to ([`expiry`]), everyone is told how far each partition has come.
//!
//! # Notes
//! Two events of one basket from different partitions, of one stream or of two, have no order between them but that of
//! epochs. In one epoch the earlier time comes first, then the lower stream, then the lower partition. Such baskets are
//! counted as [`Note::SplitBasket`].

mod expiry;
mod holding;
mod ledger;
mod units;
mod walk;

pub use walk::{BasketCopy, SnapshotRequest, SnapshotSink};

use crate::epochs::{EpochSession, PerEpoch};
use crate::names::{SharedNames, route};
use crate::sampling::Sampling;
use crate::{Action, Basket, Diff, Epoch, Event, Item, Millis, Params, Partition, Position, Quantity};
use differential_dataflow::{AsCollection, VecCollection};
use holding::Holding;
use ledger::{Effect, Ledger};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::Activator;

/// A basket holds an item in a quantity above 0, bought or not.
pub type Line = (Basket, Item, Quantity);

/// Something odd that happened to a basket: no error, but worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Note {
    /// An event changed nothing, such as the remove of something that was never added.
    NoEffect,
    /// A basket had events in more than one partition: their order is not defined. Counted once per basket.
    SplitBasket,
    /// The oldest line of a full basket made room for a new one (`--max-basket-items`).
    LineEvicted,
    /// Nothing had happened to a basket for too long (`--basket-idle`).
    BasketExpired,
}

/// The lines of all baskets, and what was odd.
pub struct Baskets<'scope> {
    /// One record per line; a change of quantity replaces it.
    pub lines: VecCollection<'scope, Epoch, Line, Diff>,
    /// What was odd, each time it was.
    pub notes: StreamVec<'scope, Epoch, Note>,
    /// The items that baskets of this worker began to hold in an epoch (true), or hold no more.
    pub(crate) held: StreamVec<'scope, Epoch, (Item, bool)>,
    /// What they are made of.
    pub(crate) ledger: SharedLedger,
}

/// An effect as it is sent on: what happened to a line, or something beside.
type Effects = Result<(Line, Epoch, Diff), Aside>;

/// What is odd, or holds an item.
type Aside = Result<Note, (Item, bool)>;

/// A worker's baskets, for the operator that changes them and for those who look between its steps.
pub(crate) type SharedLedger = Rc<RefCell<Ledger>>;

/// Applies events to their baskets, which `params` bounds.
pub fn baskets<'scope>(events: StreamVec<'scope, Epoch, Event<Item>>, params: Params) -> Baskets<'scope> {
    baskets_core(events, params, None, None)
}

/// The same, and tells the levels of baskets, if they are wanted, and copies all of them whenever that is asked for.
pub fn baskets_core<'scope>(
    events: StreamVec<'scope, Epoch, Event<Item>>,
    params: Params,
    sampling: Option<Sampling>,
    snapshots: Option<(SnapshotRequest, SharedNames)>,
) -> Baskets<'scope> {
    let (index, workers) = (events.scope().index(), events.scope().peers());
    let ledger = Ledger::new(index, workers, params.basket_items_max);
    let ledger = ledger.with_sampling(sampling).with_idle(params.basket_idle);
    let shared = SharedLedger::new(RefCell::new(ledger));
    let (ledger, walked) = (Rc::clone(&shared), Rc::clone(&shared));
    let request = snapshots.as_ref().map(|(request, _names)| request.clone());
    let mut holding = Holding::default();
    let by_basket = Exchange::new(|(worker, _told): &Routed| *worker);
    let apply = move |epoch, told: &mut Vec<Routed>, session: &mut EpochSession<'_, '_, Effects>| {
        let mut ledger = ledger.borrow_mut();
        if let Some(request) = &request {
            request.begin(Some(epoch), &mut ledger);
        }
        told.sort_by_key(|(_worker, told)| told.order());
        let mut tell = |effect| match effect {
            Effect::Line(line, diff) => {
                holding.count(line.1, diff);
                session.give(Ok((line, epoch, diff)));
            }
            Effect::Note(note) => session.give(Err(Ok(note))),
        };
        for (_worker, told) in told.drain(..) {
            match told {
                Told::Event(event) => ledger.apply(event, &mut tell),
                Told::Tick(partition, time) => ledger.tick(partition, time),
            }
        }
        ledger.expire(&mut tell);
        holding.end_epoch(|item, is_held| session.give(Err(Err((item, is_held)))));
    };
    let walk = move |open: Option<Epoch>, activator: &Activator| {
        if let Some((request, names)) = &snapshots {
            request.step(open, &mut walked.borrow_mut(), &names.borrow(), activator);
        }
    };
    let effects =
        routed(events, params.basket_idle.is_some()).per_epoch_and_rest(by_basket, "Baskets", apply, walk);
    let (lines, asides): (_, StreamVec<'_, Epoch, Aside>) = effects.ok_err(|effect: Effects| effect);
    let (notes, held) = asides.ok_err(|aside: Aside| aside);
    Baskets { lines: lines.as_collection(), notes, held, ledger: shared }
}

/// What the owner of baskets is told.
#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Event(Event<Item>),
    /// A partition has come to this time in this epoch.
    Tick(Partition, Millis),
}

/// What is told, and to which worker, modulo the number of workers.
type Routed = (u64, Told);

impl Told {
    /// Of an event: they count in this order.
    fn order(&self) -> Option<(Millis, Position)> {
        match self {
            Told::Event(event) => Some(event.order()),
            Told::Tick(..) => None,
        }
    }
}

/// Sends events to the owners of their baskets, and what concerns baskets of all workers to everyone.
fn routed(events: StreamVec<'_, Epoch, Event<Item>>, ticks: bool) -> StreamVec<'_, Epoch, Routed> {
    let workers = events.scope().peers() as u64;
    let to_everyone = move |told: Told| (0..workers).map(move |worker| (worker, told.clone()));
    let mut clocks: BTreeMap<Partition, Millis> = BTreeMap::new();
    events.unary(Pipeline, "RouteEvents", move |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, events: &mut Vec<Event<Item>>| {
                let mut session = output.session(&capability);
                for event in events.drain(..) {
                    if ticks {
                        let clock = clocks.entry(event.position.partition).or_default();
                        *clock = event.time.max(*clock);
                    }
                    match event.action {
                        Action::ForgetUser => session.give_iterator(to_everyone(Told::Event(event))),
                        _ if workers == 1 => session.give((0, Told::Event(event))),
                        _ => session.give((route(&event.basket), Told::Event(event))),
                    }
                }
                // Of these events alone: those of a later epoch may have come before.
                while let Some((partition, time)) = clocks.pop_first() {
                    session.give_iterator(to_everyone(Told::Tick(partition, time)));
                }
            });
        }
    })
}
