//! 1 · Baskets: the ordered events of each basket become lines.
//!
//! ```text
//!           by basket            ┌────────┐ lines (basket, item, quantity)
//! events ───────────────────────▶│ ledger ├─────────────────────────────▶
//!    clocks, to every worker     └───┬────┘
//!                                    ├─ states: what each basket that the epoch changed holds
//!                                    ├─ forgot: that an event forgot a basket or a user
//!                                    ├─ notes: what was odd about an event
//!                                    └─ held: items that a basket here began to hold, or none holds any more
//! ```
//!
//! - The worker that a basket's name hashes to owns the basket.
//! - At the end of an epoch its events are sorted by [`Event::order`] and applied to the [`ledger`], whatever
//!   order they arrived in.
//! - The largest time of each partition goes to every worker, if baskets expire ([`expiry`]) or their touches are
//!   tracked ([`tracking`]).
//! - [`SnapshotRequest`] copies all baskets while later epochs run.
//!
//! # Notes
//! Events of one basket from two partitions have no order between them but that of epochs. In one epoch the
//! earlier time comes first, then the lower stream, then the lower partition. Such a basket is counted as
//! [`NoteKind::SplitBasket`].

mod packed_quantity;

mod refresh;

mod expiry;

mod line_touches;

mod basket_state;
pub use basket_state::{BasketState, StateLine};

mod tracking;

mod item_refcounts;

mod snapshot_scan;
pub use snapshot_scan::BasketCopy;

mod note;
pub use note::{Note, NoteCause, NoteKind};

mod stored_basket;
pub use stored_basket::Line;

mod ledger;

mod snapshot_request;
pub use snapshot_request::{SnapshotRequest, SnapshotSink};

use crate::epochs::{EpochSession, PerEpoch};
use crate::names::{HeldChange, SharedNames, route};
use crate::sampling::Sampling;
use crate::state_stats::Measured;
use crate::{Action, Diff, Epoch, Event, Item, Millis, Params, Partition, Position};
use differential_dataflow::{AsCollection, VecCollection};
use item_refcounts::ItemRefcounts;
use ledger::Ledger;
use refresh::Refresh;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use stored_basket::Effect;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::Activator;

/// The lines of all baskets, and what was odd about their events. `I` is the item of a note.
pub struct Baskets<'scope, I = Item> {
    /// One record per line. A change of quantity retracts the line and inserts it with the new quantity.
    pub lines: VecCollection<'scope, Epoch, Line, Diff>,
    /// One record each time that something was odd.
    pub notes: StreamVec<'scope, Epoch, Note<I>>,
    /// What each basket that an epoch changed holds at its end, on the worker that owns the basket. Empty where
    /// [`Params::open_for`] is not set.
    pub states: StreamVec<'scope, Epoch, BasketState>,
    /// One record for each epoch in which an event forgot baskets of this worker, by [`Action::Forget`] or
    /// [`Action::ForgetUser`].
    pub forgot: StreamVec<'scope, Epoch, ()>,
    /// One record on each worker for each epoch in which open subjects are answered again. Empty without answers.
    pub(crate) refreshes: StreamVec<'scope, Epoch, ()>,
    /// The items that baskets of this worker began to hold in an epoch, and those that none holds any more.
    pub(crate) held: StreamVec<'scope, Epoch, HeldChange>,
    /// The ledger, to be measured.
    pub(crate) ledger: Rc<RefCell<dyn Measured>>,
}

/// What the operator emits, before it is split into streams.
#[derive(Clone)]
enum Output<I> {
    Line((Line, Epoch, Diff)),
    Aside(Aside<I>),
}

/// What the operator emits beside lines.
#[derive(Clone)]
enum Aside<I> {
    Note(Box<Note<I>>),
    Held(HeldChange),
    State(Box<BasketState>),
    Forgot,
    /// Open subjects are answered again.
    Refresh,
}

/// Applies events to their baskets, within the limits of `params`.
///
/// Work is in proportion to the events and to the lines that they change. Memory is that of the lines, the names of
/// baskets and users, and the events of open epochs.
///
/// # Examples
/// Two units of an item are added, then one is removed:
///
/// ```
/// use deltacart_dataflows::{
///     Action, Algorithm, Event, Evidence, Item, ListParams, Measure, Params, Position, Scoring, baskets,
/// };
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, Input};
///
/// let params = Params {
///     algorithm: Algorithm::Fast,
///     lists: ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true },
///     basket_items_max: 100,
///     basket_idle: None,
///     item_baskets_max: None,
///     evidence: Evidence::default(),
///     open_for: None,
///     answers: None,
/// };
/// let event = |offset, action| Event {
///     position: Position { offset, ..Position::default() },
///     basket: "ben".into(),
///     user: None,
///     time: 0,
///     action,
/// };
/// let mug = Item::new(0);
/// let captured = timely::execute_directly(move |worker| {
///     let (mut input, captured) = worker.dataflow(|scope| {
///         let (input, events) = scope.new_input();
///         (input, baskets(events, params).lines.inner.capture())
///     });
///     input.send(event(0, Action::Add(mug, 2)));
///     input.advance_to(1);
///     input.send(event(1, Action::Remove(mug, Some(1))));
///     captured
/// });
/// let updates = captured.extract().into_iter().flat_map(|(_time, updates)| updates);
/// let updates: Vec<_> = updates.map(|((_basket, item, units), epoch, diff)| (epoch, item, units, diff)).collect();
/// assert_eq!(updates, [(0, mug, 2, 1), (1, mug, 1, 1), (1, mug, 2, -1)]);
/// ```
pub fn baskets<'scope>(events: StreamVec<'scope, Epoch, Event<Item>>, params: Params) -> Baskets<'scope> {
    baskets_core(events, params, None, None, |item| item)
}

/// Applies events to their baskets. Records the levels of baskets in `sampling`, and serves `snapshots`, if there are.
///
/// A snapshot needs the names of items, because copies have names. `note_item` gives the item of a note what it is
/// called outside; it is called while the epoch of the note is applied.
pub fn baskets_core<'scope, I: Clone + 'static>(
    events: StreamVec<'scope, Epoch, Event<Item>>,
    params: Params,
    sampling: Option<Sampling>,
    snapshots: Option<(SnapshotRequest, SharedNames)>,
    note_item: impl Fn(Item) -> I + 'static,
) -> Baskets<'scope, I> {
    let (index, workers) = (events.scope().index(), events.scope().peers());
    let ledger = Ledger::new(index, workers, params.basket_items_max);
    let ledger = ledger
        .with_evidence(params.evidence)
        .with_sampling(sampling)
        .with_idle(params.basket_idle)
        .with_open_for(params.open_for);
    let shared = Rc::new(RefCell::new(ledger));
    let (ledger, scanned) = (Rc::clone(&shared), Rc::clone(&shared));
    let request = snapshots.as_ref().map(|(request, _names)| request.clone());
    let mut refcounts = ItemRefcounts::default();
    let mut refresh = params.answers.map(|answers| Refresh::new(answers.refresh));
    let by_worker = Exchange::new(|(worker, _message): &Routed| *worker);
    let apply = move |epoch, messages: &mut Vec<Routed>, session: &mut EpochSession<'_, '_, Output<I>>| {
        let mut ledger = ledger.borrow_mut();
        if let Some(request) = &request {
            request.begin(Some(epoch), &mut ledger);
        }
        messages.sort_by_key(|(_worker, message)| message.order());
        let mut emit = |effect, event: Option<&Event<Item>>| match effect {
            Effect::Line(line, diff) => session.give(Output::Line((line, epoch, diff))),
            Effect::Stored(item, diff) => refcounts.count(item, diff),
            Effect::Note(oddity) => {
                let note = oddity.note(event).map_item(&note_item);
                session.give(Output::Aside(Aside::Note(Box::new(note))));
            }
            Effect::State(state) => session.give(Output::Aside(Aside::State(state))),
        };
        for (_worker, message) in messages.drain(..) {
            match message {
                Message::Event(event) => ledger.apply(&event, &mut |effect| emit(effect, Some(&event))),
                Message::FirstTime { partition, order: (time, _position) } => {
                    ledger.set_first_time(partition, time);
                }
                Message::Clock { partition, time } => {
                    ledger.advance_clock(partition, time);
                    refresh.iter_mut().for_each(|refresh| refresh.advance(time));
                }
            }
        }
        ledger.end_epoch(&mut |effect| emit(effect, None));
        if ledger.take_forgotten() {
            session.give(Output::Aside(Aside::Forgot));
        }
        if refresh.as_mut().is_some_and(Refresh::end_epoch) {
            session.give(Output::Aside(Aside::Refresh));
        }
        refcounts.end_epoch(|change| session.give(Output::Aside(Aside::Held(change))));
    };
    let scan = move |open: Option<Epoch>, activator: &Activator| {
        if let Some((request, names)) = &snapshots {
            request.advance(open, &mut scanned.borrow_mut(), &names.borrow(), activator);
        }
    };
    let messages = route_events(events, params.basket_idle.is_some() || params.open_for.is_some());
    let outputs = messages.per_epoch_with_background(by_worker, "Baskets", apply, scan);
    split(outputs, shared)
}

/// Splits what the operator emits into streams.
fn split<'scope, I: Clone + 'static>(
    outputs: StreamVec<'scope, Epoch, Output<I>>,
    ledger: Rc<RefCell<Ledger>>,
) -> Baskets<'scope, I> {
    let (lines, asides): (_, StreamVec<'_, Epoch, Aside<I>>) = outputs.ok_err(|output| match output {
        Output::Line(update) => Ok(update),
        Output::Aside(aside) => Err(aside),
    });
    let (states, asides): (_, StreamVec<'_, Epoch, Aside<I>>) = asides.ok_err(|aside| match aside {
        Aside::State(state) => Ok(*state),
        other => Err(other),
    });
    let (held, asides): (_, StreamVec<'_, Epoch, Aside<I>>) = asides.ok_err(|aside| match aside {
        Aside::Held(change) => Ok(change),
        other => Err(other),
    });
    let (notes, asides): (_, StreamVec<'_, Epoch, Aside<I>>) = asides.ok_err(|aside| match aside {
        Aside::Note(note) => Ok(*note),
        other => Err(other),
    });
    let (forgot, refreshes) = asides.ok_err(|aside| match aside {
        Aside::Forgot => Ok(()),
        _ => Err(()),
    });
    Baskets { lines: lines.as_collection(), notes, states, forgot, refreshes, held, ledger }
}

/// A message to an owner of baskets.
#[derive(Clone, Serialize, Deserialize)]
enum Message {
    Event(Event<Item>),
    /// The first event of a partition, of a batch, that has a time. Perhaps it is the first known time of the
    /// partition. Applied before that event.
    FirstTime {
        partition: Partition,
        order: (Millis, Position),
    },
    /// The clock of a partition has reached this time in this epoch.
    Clock {
        partition: Partition,
        time: Millis,
    },
}

/// A message and the worker that it goes to, modulo the number of workers.
type Routed = (u64, Message);

impl Message {
    /// The order in which the messages of an epoch are applied: clocks, then events, each after the first time that it
    /// gives.
    fn order(&self) -> Option<((Millis, Position), bool)> {
        match self {
            Message::Event(event) => Some((event.order(), true)),
            Message::FirstTime { order, .. } => Some((*order, false)),
            Message::Clock { .. } => None,
        }
    }
}

/// The times of a batch of events of one partition.
#[derive(Default)]
struct Times {
    /// The order of the first event that has a time, in whatever order the events arrive.
    first: Option<(Millis, Position)>,
    /// The largest time.
    largest: Millis,
}

impl Times {
    fn take(&mut self, event: &Event<Item>) {
        if event.time > 0 {
            let order = event.order();
            self.first = Some(self.first.map_or(order, |first| first.min(order)));
        }
        self.largest = self.largest.max(event.time);
    }
}

/// Sends events to the owners of their baskets. What concerns baskets of all workers goes to every worker: users to be
/// forgotten, and the clocks of partitions where `with_clocks`.
fn route_events(
    events: StreamVec<'_, Epoch, Event<Item>>,
    with_clocks: bool,
) -> StreamVec<'_, Epoch, Routed> {
    let workers = events.scope().peers() as u64;
    let to_everyone = move |message: Message| (0..workers).map(move |worker| (worker, message.clone()));
    let mut times: BTreeMap<Partition, Times> = BTreeMap::new();
    events.unary(Pipeline, "RouteEvents", move |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, events: &mut Vec<Event<Item>>| {
                let mut session = output.session(&capability);
                for event in events.drain(..) {
                    if with_clocks {
                        times.entry(event.position.partition).or_default().take(&event);
                    }
                    match event.action {
                        Action::ForgetUser => session.give_iterator(to_everyone(Message::Event(event))),
                        _ if workers == 1 => session.give((0, Message::Event(event))),
                        _ => session.give((route(&event.basket), Message::Event(event))),
                    }
                }
                // The times of these events alone. Events of a later epoch may have arrived before.
                while let Some((partition, Times { first, largest })) = times.pop_first() {
                    if let Some(order) = first {
                        session.give_iterator(to_everyone(Message::FirstTime { partition, order }));
                    }
                    session.give_iterator(to_everyone(Message::Clock { partition, time: largest }));
                }
            });
        }
    })
}
