//! Publishing: an epoch's changed lists become records and are sent; the epoch closes when all have been delivered.
//!
//! ```text
//!                    ┌──────────────── catching up ───────────────┐
//! lists ────────────▶│ computed: item → list ┐                    │    from then on
//! consumer state ───▶│                       ├─▶ the difference ──┼──▶ every epoch's changes ──▶ sink
//!   (in the output)  │ held: key → value ────┘                    │
//!                    └────────────────────────────────────────────┘
//! ```
//!
//! A job that resumes computes without publishing until it has read the input that was there when it began. Then it
//! publishes the difference to the consumer state, which is the last published record of each key. After that it
//! publishes every epoch. So a consumer sees each list once, and no list goes back to an older state. A job that does
//! not resume publishes every epoch.
//!
//! The operator holds an epoch open until the sink reports that all its records have been delivered. So a probe
//! behind the operator shows the delivered epochs: they bound the work ahead, and their input offsets may be
//! committed. While the job catches up the operator holds nothing open, because reading has to continue.
//!
//! With `--lists-every`, lists are sent less often than at every epoch ([`Cadence`]). Changes in between are held
//! back.
//!
//! Epochs are sent in order. The next one is handed to the sink while earlier ones are in flight. The sink reports
//! how many of the last epochs have not been delivered.

mod cadence;
mod epoch_writer;
#[cfg(test)]
mod tests;

pub(crate) use cadence::Cadence;
pub(crate) use epoch_writer::EpochWriter;

use crate::output::consumer_state::{ConsumerRecord, ConsumerState, route_consumer_record};
use cadence::HeldBack;
use deltacart_dataflows::{Diff, Epoch, List, Name, route};
use differential_dataflow::VecCollection;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

/// The workers that send lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// Each worker sends the lists that reach it. For topics, where records of different items have no order.
    Each,
    /// Worker 0 sends all lists, in the order of epochs and items. For files, whose content must not depend on the
    /// workers.
    First,
}

/// How long to wait before the sink is polled again.
const POLL: Duration = Duration::from_millis(1);

/// The most updates that an emptied buffer keeps room for; one large epoch must not hold its memory for ever.
const SPARE_UPDATES_MAX: usize = 1 << 16;

/// A list that is retracted (-1) or inserted (+1), with its item.
type Update = ((Name, List), Epoch, Diff);

/// Links a worker to its publisher during a restart. The worker says when the job has caught up; the publisher says
/// when the difference has been delivered.
#[derive(Default)]
pub(crate) struct Resumption {
    begin: Cell<Option<Begin>>,
    is_published: Cell<bool>,
    operator: RefCell<Option<Activator>>,
}

/// Where publishing begins after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the difference to the consumer state, once every epoch up to `caught_up` is closed. `base` is added to
    /// the epochs in published records.
    At { base: Epoch, caught_up: Epoch },
    /// Never: the job is stopped before it has caught up.
    Never,
}

impl Resumption {
    /// Says where publishing begins, as all workers have agreed.
    pub(crate) fn begin(&self, begin: Begin) {
        self.begin.set(Some(begin));
        if let Some(operator) = &*self.operator.borrow() {
            operator.activate();
        }
    }

    /// Whether the difference has been delivered.
    pub(crate) fn is_published(&self) -> bool {
        self.is_published.get()
    }
}

/// The progress of publishing: streams without records, whose frontiers pass an epoch.
pub(crate) struct Published<'scope> {
    /// Passes an epoch when its changes have been delivered.
    pub(crate) delivered: StreamVec<'scope, Epoch, ()>,
    /// Passes an epoch when its changes have been delivered or are held back: it bounds the work ahead.
    pub(crate) accepted: StreamVec<'scope, Epoch, ()>,
}

/// The ports of the operator's outputs.
const DELIVERED: usize = 0;
const ACCEPTED: usize = 1;

/// Publishes every change of the lists, as often as `cadence` allows. With a `resumption`, catches up first.
pub(crate) fn publish<'scope>(
    lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    consumer_state: StreamVec<'scope, Epoch, ConsumerRecord>,
    publisher: Publisher,
    resumption: Option<Rc<Resumption>>,
    cadence: Rc<Cadence>,
    epoch_writer: EpochWriter,
) -> Published<'scope> {
    let scope = lists.scope();
    let index = scope.index() as u64;
    let (resumes, envelope) = (resumption.is_some(), epoch_writer.envelope());
    let to_publisher = Exchange::new(move |((item, _list), _epoch, _diff): &Update| match publisher {
        // The computed lists of an item and its consumer state must be on the same worker.
        Publisher::Each if resumes => route(item),
        Publisher::Each => index,
        Publisher::First => 0,
    });
    let held_route = Exchange::new(move |record: &ConsumerRecord| match publisher {
        Publisher::Each => route_consumer_record(record, envelope),
        Publisher::First => 0,
    });
    let mut builder = OperatorBuilder::new("Publish".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut lists = builder.new_input(lists.inner, to_publisher);
    let mut consumer_state = builder.new_input(consumer_state, held_route);
    let (delivered_output, delivered) = builder.new_output::<Vec<()>>();
    let (accepted_output, accepted) = builder.new_output::<Vec<()>>();
    builder.build(move |capabilities| {
        let _unused = (delivered_output, accepted_output);
        let mut publishing = Publishing::new(epoch_writer, Rc::clone(&cadence));
        cadence.calls(activator.clone());
        publishing.catching_up = resumption.map(|resumption| {
            *resumption.operator.borrow_mut() = Some(activator.clone());
            let [delivered, accepted] = capabilities.try_into().expect("each output has a capability");
            CatchingUp::new(resumption, EpochHold { delivered, accepted: Some(accepted) })
        });
        move |frontiers: &[MutableAntichain<Epoch>]| {
            lists.for_each(|capability, updates: &mut Vec<Update>| {
                // A message may hold updates of several epochs, none of them before its own.
                for update in updates.drain(..) {
                    publishing.hold(update, |epoch| EpochHold {
                        delivered: capability.delayed(&epoch, DELIVERED),
                        accepted: Some(capability.delayed(&epoch, ACCEPTED)),
                    });
                }
            });
            consumer_state.for_each(|_capability, records: &mut Vec<ConsumerRecord>| {
                let Publishing { epoch_writer, catching_up, .. } = &mut publishing;
                if let Some(CatchingUp { consumer_state, .. }) = catching_up {
                    records.drain(..).for_each(|record| epoch_writer.hold(record, consumer_state));
                }
            });
            if publishing.work(&frontiers[0], frontiers[1].is_empty()) {
                activator.activate_after(POLL);
            }
        }
    });
    Published { delivered, accepted }
}

/// The capabilities that hold an epoch open on both outputs.
struct EpochHold {
    delivered: Capability<Epoch>,
    /// `None` once the epoch's changes are held back: then the epoch does not bound the work ahead.
    accepted: Option<Capability<Epoch>>,
}

impl EpochHold {
    fn epoch(&self) -> Epoch {
        *self.delivered.time()
    }

    fn downgrade(&mut self, epoch: &Epoch) {
        self.delivered.downgrade(epoch);
        if let Some(accepted) = &mut self.accepted {
            accepted.downgrade(epoch);
        }
    }
}

/// A worker's part of the operator.
struct Publishing {
    epoch_writer: EpochWriter,
    cadence: Rc<Cadence>,
    waiting: BTreeMap<Epoch, (EpochHold, Vec<Update>)>,
    held_back: HeldBack,
    /// The epochs handed to the epoch writer and not delivered, in order.
    under_way: VecDeque<EpochHold>,
    spare: Vec<Update>,
    /// Set until the difference has been handed to the epoch writer.
    catching_up: Option<CatchingUp>,
    /// Set while the difference is being delivered.
    correcting: Option<Rc<Resumption>>,
    /// The job was stopped before it had caught up. Nothing is published any more.
    is_given_up: bool,
}

impl Publishing {
    fn new(epoch_writer: EpochWriter, cadence: Rc<Cadence>) -> Self {
        Publishing {
            epoch_writer,
            cadence,
            waiting: BTreeMap::new(),
            held_back: HeldBack::default(),
            under_way: VecDeque::new(),
            spare: Vec::new(),
            catching_up: None,
            correcting: None,
            is_given_up: false,
        }
    }

    fn hold(&mut self, update: Update, hold: impl Fn(Epoch) -> EpochHold) {
        let hold = || (hold(update.1), std::mem::take(&mut self.spare));
        self.waiting.entry(update.1).or_insert_with(hold).1.push(update);
    }

    /// Does the work that can be done now. Returns whether it must be called again soon.
    fn work(&mut self, frontier: &MutableAntichain<Epoch>, all_held: bool) -> bool {
        if self.catching_up.is_some() && !self.catch_up(frontier, all_held) {
            return false;
        }
        if self.is_given_up {
            self.waiting.clear();
            return false;
        }
        loop {
            if !self.under_way.is_empty() {
                let Some(epochs) = self.epoch_writer.push() else { return true };
                self.arrived(epochs);
            }
            if !self.take_epoch(frontier) && !self.let_go(frontier) {
                return !self.under_way.is_empty();
            }
        }
    }

    /// Takes the next closed epoch. Returns false if there is none, or no room for it.
    fn take_epoch(&mut self, frontier: &MutableAntichain<Epoch>) -> bool {
        // If held-back changes are due, they need room, too.
        let has_room = self.epoch_writer.has_room() || !self.cadence.is_due();
        let next = self.waiting.first_entry().filter(|entry| has_room && !frontier.less_equal(entry.key()));
        let Some(entry) = next else { return false };
        let (hold, mut updates) = entry.remove();
        if self.cadence.is_every_epoch() {
            self.epoch_writer.take(hold.epoch(), &mut updates);
            self.under_way.push_back(hold);
        } else {
            self.held_back.add(hold.delivered, &mut updates, &mut self.epoch_writer);
        }
        self.empty(updates);
        true
    }

    /// Sends the held-back changes if they are due, or at the end of the job. Returns false if nothing was sent.
    fn let_go(&mut self, frontier: &MutableAntichain<Epoch>) -> bool {
        let is_time = self.cadence.is_due() || frontier.is_empty();
        if !is_time && !self.held_back.is_empty() {
            self.cadence.wait();
        }
        if !is_time || !self.epoch_writer.has_room() {
            return false;
        }
        let Some((changes, epoch, delivered)) = self.held_back.take() else { return false };
        self.epoch_writer.take_changes(epoch, changes);
        self.under_way.push_back(EpochHold { delivered, accepted: None });
        self.cadence.leave();
        true
    }

    /// Releases delivered epochs: all but the last `epochs`.
    fn arrived(&mut self, epochs: usize) {
        let arrived = self.under_way.len().saturating_sub(epochs);
        self.under_way.drain(..arrived);
        // The difference was the first epoch handed over.
        if arrived > 0
            && let Some(resumption) = self.correcting.take()
        {
            resumption.is_published.set(true);
        }
    }

    /// Takes in closed epochs without publishing them. Returns true once catching up is over.
    fn catch_up(&mut self, frontier: &MutableAntichain<Epoch>, all_held: bool) -> bool {
        while let Some(entry) = self.waiting.first_entry()
            && !frontier.less_equal(entry.key())
        {
            let (hold, mut updates) = entry.remove();
            if let Some(catching_up) = &mut self.catching_up {
                catching_up.compute(&mut updates, &mut self.epoch_writer);
                catching_up.closed = hold.epoch();
            }
            self.empty(updates);
        }
        let Some(mut catching_up) = self.catching_up.take() else { return true };
        if let Some(open) = frontier.frontier().first() {
            catching_up.hold.downgrade(open);
            catching_up.closed = catching_up.closed.max(open.saturating_sub(1));
        }
        match catching_up.resumption.begin.get() {
            Some(Begin::At { base, caught_up }) if all_held && !frontier.less_equal(&caught_up) => {
                let CatchingUp { resumption, hold, consumer_state, computed, closed } = catching_up;
                self.epoch_writer.correct(base, closed.max(caught_up), consumer_state, computed);
                self.under_way.push_back(hold);
                self.cadence.leave();
                self.correcting = Some(resumption);
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

/// The state of a worker before its first record is published.
struct CatchingUp {
    resumption: Rc<Resumption>,
    /// The capabilities of the oldest open epoch. The difference will hold that epoch open.
    hold: EpochHold,
    consumer_state: ConsumerState,
    computed: HashMap<Name, List>,
    /// The last epoch that `computed` includes.
    closed: Epoch,
}

impl CatchingUp {
    fn new(resumption: Rc<Resumption>, hold: EpochHold) -> Self {
        CatchingUp {
            resumption,
            hold,
            consumer_state: ConsumerState::default(),
            computed: HashMap::new(),
            closed: 0,
        }
    }

    fn compute(&mut self, updates: &mut [Update], epoch_writer: &mut EpochWriter) {
        epoch_writer.each_change(0, updates, &mut |change, _records| {
            if change.after.is_empty() {
                self.computed.remove(&change.item);
            } else {
                self.computed.insert(change.item, change.after);
            }
        });
    }
}
