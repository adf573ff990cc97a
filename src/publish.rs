//! Lists to records: an epoch's changes leave the job, and the epoch is done when they have arrived.
//!
//! ```text
//!                    ┌──────────────── catching up ───────────────┐
//! lists ────────────▶│ computed: item → list ┐                    │    from then on
//! held (what         │                       ├─▶ the difference ──┼──▶ every epoch's changes ──▶ sink
//!   consumers have) ▶│ held: key → value ────┘                    │
//!                    └────────────────────────────────────────────┘
//! ```
//!
//! A job that goes on where another stopped computes without publishing until it has read what was there when it
//! began: then it publishes what differs from what consumers hold, and from there on each epoch. So a consumer sees
//! each list once, and none goes back. A job that begins anew publishes every epoch from the first.
//!
//! The operator holds an epoch open until the sink says that all its records have arrived. So a probe behind it tells
//! what is out: that is what bounds the work ahead, and what input offsets may be committed for. While it catches up
//! it holds nothing open: reading is to go on.
//!
//! # Notes
//! One epoch is on its way at a time, in order, as a transaction.

mod outlet;
#[cfg(test)]
mod tests;

pub(crate) use outlet::Outlet;

use crate::output::held::{Held, HeldRecord, route_held};
use deltacart_dataflows::{Diff, Epoch, List, Name, route};
use differential_dataflow::VecCollection;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, generic::Operator};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

/// Whose hands lists leave the job through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The worker that has them: for topics, which have no order between items.
    Each,
    /// Worker 0, in the order of epochs and items: for files, which are to be the same whatever the workers.
    First,
}

/// How long to wait before asking again what has arrived.
const POLL: Duration = Duration::from_millis(1);

/// What an emptied buffer keeps for the next epoch; one large epoch must not hold its memory for ever.
const SPARE_UPDATES_MAX: usize = 1 << 16;

/// What is sent on: only that epochs are out.
type Nothing = CapacityContainerBuilder<Vec<()>>;

/// A list that went or came.
type Update = ((Name, List), Epoch, Diff);

/// How a worker tells its publisher that the job has caught up, and hears that consumers have.
#[derive(Default)]
pub(crate) struct Resumption {
    begin: Cell<Option<Begin>>,
    is_published: Cell<bool>,
    operator: RefCell<Option<Activator>>,
}

/// Where publishing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the difference, once every epoch up to `caught_up` is closed; `base` is added to the epochs that are told.
    At { base: Epoch, caught_up: Epoch },
    /// Never: the job ends before it has caught up.
    Never,
}

impl Resumption {
    /// Says where to begin, as all workers have agreed.
    pub(crate) fn begin(&self, begin: Begin) {
        self.begin.set(Some(begin));
        if let Some(operator) = &*self.operator.borrow() {
            operator.activate();
        }
    }

    /// Whether the difference has arrived.
    pub(crate) fn is_published(&self) -> bool {
        self.is_published.get()
    }
}

/// Publishes every change of the lists, after a `resumption` if there is one. When the stream returned passes an epoch,
/// the epoch is out.
pub(crate) fn publish<'scope>(
    lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    held: StreamVec<'scope, Epoch, HeldRecord>,
    publisher: Publisher,
    resumption: Option<Rc<Resumption>>,
    outlet: Outlet,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = lists.scope();
    let index = scope.index() as u64;
    let (resumes, envelope) = (resumption.is_some(), outlet.envelope());
    let to_publisher = Exchange::new(move |((item, _list), _epoch, _diff): &Update| match publisher {
        // What is computed has to meet what is held.
        Publisher::Each if resumes => route(item),
        Publisher::Each => index,
        Publisher::First => 0,
    });
    let held_route = Exchange::new(move |record: &HeldRecord| match publisher {
        Publisher::Each => route_held(record, envelope),
        Publisher::First => 0,
    });
    lists.inner.binary_frontier::<_, Nothing, _, _, _, _>(
        held,
        to_publisher,
        held_route,
        "Publish",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut publishing = Publishing::new(outlet);
            publishing.catching_up = resumption.map(|resumption| {
                *resumption.operator.borrow_mut() = Some(activator.clone());
                CatchingUp::new(resumption, capability)
            });
            move |(lists, lists_frontier), (held, held_frontier), output| {
                lists.for_each(|capability, updates: &mut Vec<Update>| {
                    // A message may hold updates of several epochs, none of them before its own.
                    for update in updates.drain(..) {
                        publishing.hold(update, |epoch| capability.delayed(&epoch, output.output_index()));
                    }
                });
                held.for_each(|_capability, records: &mut Vec<HeldRecord>| {
                    let Publishing { outlet, catching_up, .. } = &mut publishing;
                    if let Some(CatchingUp { held, .. }) = catching_up {
                        records.drain(..).for_each(|record| outlet.hold(record, held));
                    }
                });
                if publishing.work(lists_frontier, held_frontier.is_empty()) {
                    activator.activate_after(POLL);
                }
            }
        },
    )
}

/// A worker's part of the operator.
struct Publishing {
    outlet: Outlet,
    waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<Update>)>,
    under_way: Option<Capability<Epoch>>,
    spare: Vec<Update>,
    /// Until the difference is on its way.
    catching_up: Option<CatchingUp>,
    /// While the difference is on its way.
    correcting: Option<Rc<Resumption>>,
    /// The job ends before it has caught up: nothing is published any more.
    is_given_up: bool,
}

impl Publishing {
    fn new(outlet: Outlet) -> Self {
        Publishing {
            outlet,
            waiting: BTreeMap::new(),
            under_way: None,
            spare: Vec::new(),
            catching_up: None,
            correcting: None,
            is_given_up: false,
        }
    }

    fn hold(&mut self, update: Update, capability: impl Fn(Epoch) -> Capability<Epoch>) {
        let hold = || (capability(update.1), std::mem::take(&mut self.spare));
        self.waiting.entry(update.1).or_insert_with(hold).1.push(update);
    }

    /// Does what can be done; true if it is to be asked again soon.
    fn work(&mut self, frontier: &MutableAntichain<Epoch>, all_held: bool) -> bool {
        if self.catching_up.is_some() && !self.catch_up(frontier, all_held) {
            return false;
        }
        if self.is_given_up {
            self.waiting.clear();
            return false;
        }
        loop {
            if let Some(capability) = &self.under_way {
                if !self.outlet.has_arrived(*capability.time()) {
                    return true;
                }
                self.under_way = None;
                if let Some(resumption) = self.correcting.take() {
                    resumption.is_published.set(true);
                }
            }
            match self.waiting.first_entry() {
                Some(entry) if !frontier.less_equal(entry.key()) => {
                    let (capability, mut updates) = entry.remove();
                    self.outlet.take(*capability.time(), &mut updates);
                    self.under_way = Some(capability);
                    self.empty(updates);
                }
                _ => return false,
            }
        }
    }

    /// Takes closed epochs in without publishing them; true when this is over.
    fn catch_up(&mut self, frontier: &MutableAntichain<Epoch>, all_held: bool) -> bool {
        while let Some(entry) = self.waiting.first_entry()
            && !frontier.less_equal(entry.key())
        {
            let (capability, mut updates) = entry.remove();
            if let Some(catching_up) = &mut self.catching_up {
                catching_up.compute(&mut updates, &mut self.outlet);
                catching_up.closed = *capability.time();
            }
            self.empty(updates);
        }
        let Some(mut catching_up) = self.catching_up.take() else { return true };
        if let Some(open) = frontier.frontier().first() {
            catching_up.capability.downgrade(open);
            catching_up.closed = catching_up.closed.max(open.saturating_sub(1));
        }
        match catching_up.resumption.begin.get() {
            Some(Begin::At { base, caught_up }) if all_held && !frontier.less_equal(&caught_up) => {
                let CatchingUp { resumption, capability, held, computed, closed } = catching_up;
                self.outlet.correct(base, closed.max(caught_up), held, computed);
                (self.under_way, self.correcting) = (Some(capability), Some(resumption));
                true
            }
            Some(Begin::Never) => {
                self.is_given_up = true;
                true
            }
            _ => {
                self.catching_up = Some(catching_up);
                false
            }
        }
    }

    fn empty(&mut self, mut updates: Vec<Update>) {
        updates.clear();
        updates.shrink_to(SPARE_UPDATES_MAX);
        self.spare = updates;
    }
}

/// What is known before the first record is published.
struct CatchingUp {
    resumption: Rc<Resumption>,
    /// Of the oldest epoch that is not closed: the difference will hold it.
    capability: Capability<Epoch>,
    held: Held,
    computed: HashMap<Name, List>,
    /// The last epoch in `computed`.
    closed: Epoch,
}

impl CatchingUp {
    fn new(resumption: Rc<Resumption>, capability: Capability<Epoch>) -> Self {
        CatchingUp { resumption, capability, held: Held::default(), computed: HashMap::new(), closed: 0 }
    }

    fn compute(&mut self, updates: &mut [Update], outlet: &mut Outlet) {
        outlet.each_change(0, updates, &mut |change, _records| {
            if change.after.is_empty() {
                self.computed.remove(&change.item);
            } else {
                self.computed.insert(change.item, change.after);
            }
        });
    }
}
