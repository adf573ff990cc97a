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
//! With `--lists-every`, lists leave less often than at every epoch ([`Cadence`]): what changes meanwhile is held back.
//!
//! Epochs leave in their order. While some are on their way the next is handed to the sink, which says how many of the
//! last ones have not arrived.

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

/// How far publishing has come: streams without records, whose frontiers pass an epoch.
pub(crate) struct Published<'scope> {
    /// Passes an epoch when its changes have been delivered.
    pub(crate) delivered: StreamVec<'scope, Epoch, ()>,
    /// Passes an epoch when its changes have been delivered or are held back: it bounds the work ahead.
    pub(crate) accepted: StreamVec<'scope, Epoch, ()>,
}

/// The ports of the operator's outputs.
const DELIVERED: usize = 0;
const ACCEPTED: usize = 1;

/// Publishes every change of the lists, after a `resumption` if there is one, as often as the `cadence` says.
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
        // What is computed has to meet what is held.
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
    /// What has been handed to the outlet and has not arrived, in the order of epochs.
    under_way: VecDeque<EpochHold>,
    spare: Vec<Update>,
    /// Until the difference is on its way.
    catching_up: Option<CatchingUp>,
    /// While the difference is on its way.
    correcting: Option<Rc<Resumption>>,
    /// The job ends before it has caught up: nothing is published any more.
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
            if !self.under_way.is_empty() {
                let Some(epochs) = self.epoch_writer.push() else { return true };
                self.arrived(epochs);
            }
            if !self.take_epoch(frontier) && !self.let_go(frontier) {
                return !self.under_way.is_empty();
            }
        }
    }

    /// Takes the next epoch that is closed; false if there is none, or no room for it.
    fn take_epoch(&mut self, frontier: &MutableAntichain<Epoch>) -> bool {
        // What is held back needs room when it is due.
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

    /// Lets go what was held back, if it is time, or at the end; false if it is not, or there is no room.
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

    /// All but the last `epochs` have arrived.
    fn arrived(&mut self, epochs: usize) {
        let arrived = self.under_way.len().saturating_sub(epochs);
        self.under_way.drain(..arrived);
        // The difference was the first of them.
        if arrived > 0
            && let Some(resumption) = self.correcting.take()
        {
            resumption.is_published.set(true);
        }
    }

    /// Takes closed epochs in without publishing them; true when this is over.
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

/// What is known before the first record is published.
struct CatchingUp {
    resumption: Rc<Resumption>,
    /// Of the oldest epoch that is not closed: the difference will hold it.
    hold: EpochHold,
    consumer_state: ConsumerState,
    computed: HashMap<Name, List>,
    /// The last epoch in `computed`.
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
