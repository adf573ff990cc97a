//! 1 · Baskets: an ordered event log per basket becomes lines.
//!
//! ```text
//!           by basket           ┌────────┐ lines (basket, item, quantity)
//! events ──────────────────────▶│ ledger ├─────────────────────────────▶
//!           forgets to everyone └───┬────┘
//!                                   ├─ notes: what was odd, counted
//!                                   └─ held: items that the first basket here holds, or the last no more
//! ```
//!
//! The worker that a basket's name hashes to holds the basket. An epoch's events are applied in the order of their
//! positions, whatever order they came in, and each action moves one or more lines of [`ledger`].
//!
//! # Notes
//! Two events of one basket from different partitions have no order between them but that of epochs, and in an epoch
//! that of partition numbers. Such baskets are counted as [`Note::SplitBasket`].

mod holding;
mod ledger;
mod walk;

pub use walk::{BasketCopy, SnapshotRequest, TakeBaskets};

use crate::epochs::{EpochSession, PerEpoch};
use crate::names::{SharedNames, route};
use crate::sampling::Sampling;
use crate::{Action, Basket, Diff, Epoch, Event, Item, Quantity};
use differential_dataflow::{AsCollection, VecCollection};
use holding::Holding;
use ledger::{Effect, Ledger};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
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

/// Applies events to their baskets, which hold at most `items_max` lines each.
pub fn baskets<'scope>(events: StreamVec<'scope, Epoch, Event<Item>>, items_max: usize) -> Baskets<'scope> {
    baskets_core(events, items_max, None, None)
}

/// The same, and tells the levels of baskets, if they are wanted, and copies all of them whenever that is asked for.
pub fn baskets_core<'scope>(
    events: StreamVec<'scope, Epoch, Event<Item>>,
    items_max: usize,
    sampling: Option<Sampling>,
    snapshots: Option<(SnapshotRequest, SharedNames)>,
) -> Baskets<'scope> {
    let (index, workers) = (events.scope().index(), events.scope().peers());
    let shared =
        SharedLedger::new(RefCell::new(Ledger::new(index, workers, items_max).with_sampling(sampling)));
    let (ledger, walked) = (Rc::clone(&shared), Rc::clone(&shared));
    let request = snapshots.as_ref().map(|(request, _names)| request.clone());
    let everyone = 0..workers as u64;
    let routed = events.unary(Pipeline, "RouteEvents", move |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, events: &mut Vec<Event<Item>>| {
                let mut session = output.session(&capability);
                for event in events.drain(..) {
                    match event.action {
                        Action::ForgetUser => {
                            session.give_iterator(everyone.clone().map(|worker| (worker, event.clone())));
                        }
                        _ if workers == 1 => session.give((0, event)),
                        _ => session.give((route(&event.basket), event)),
                    }
                }
            });
        }
    });
    let mut holding = Holding::default();
    let by_basket = Exchange::new(|(worker, _event): &(u64, Event<Item>)| *worker);
    let apply =
        move |epoch, events: &mut Vec<(u64, Event<Item>)>, session: &mut EpochSession<'_, '_, Effects>| {
            let mut ledger = ledger.borrow_mut();
            if let Some(request) = &request {
                request.begin(Some(epoch), &mut ledger);
            }
            events.sort_by_key(|(_worker, event)| event.position);
            for (_worker, event) in events.drain(..) {
                ledger.apply(event, &mut |effect| match effect {
                    Effect::Line(line, diff) => {
                        holding.count(line.1, diff);
                        session.give(Ok((line, epoch, diff)));
                    }
                    Effect::Note(note) => session.give(Err(Ok(note))),
                });
            }
            holding.end_epoch(|item, is_held| session.give(Err(Err((item, is_held)))));
        };
    let walk = move |open: Option<Epoch>, activator: &Activator| {
        if let Some((request, names)) = &snapshots {
            request.step(open, &mut walked.borrow_mut(), &names.borrow(), activator);
        }
    };
    let effects = routed.per_epoch_and_rest(by_basket, "Baskets", apply, walk);
    let (lines, asides): (_, StreamVec<'_, Epoch, Aside>) = effects.ok_err(|effect: Effects| effect);
    let (notes, held) = asides.ok_err(|aside: Aside| aside);
    Baskets { lines: lines.as_collection(), notes, held, ledger: shared }
}
