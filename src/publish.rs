//! Publishing: an epoch's records of all output streams are sent; the epoch closes when all have been delivered.
//!
//! ```text
//! lists ──▶ table ─┐
//! notes ──▶ log ───┼──▶ the records of an epoch ──▶ sink ──▶ delivered
//! …                ┘
//! ```
//!
//! - A [`table`] is published as changes of keyed values. A restart compares it with what consumers hold, and publishes
//!   the difference once the job has caught up.
//! - A [`log`] is published record by record. A restart finds the end of the log, and publishes what lies beyond.
//!
//! The operator holds an epoch open until the sink reports that all its records have been delivered. So a probe
//! behind the operator shows the delivered epochs: they bound the work ahead, and their input offsets may be
//! committed. A table that catches up holds nothing open, because reading has to continue.
//!
//! With `--lists-every`, lists are sent less often than at every epoch ([`Cadence`]). Changes in between are held
//! back.
//!
//! Epochs are sent in order. The next one is handed to the sink while earlier ones are in flight. The sink reports
//! how many of the last epochs have not been delivered.

mod list_changes;
mod cadence;
mod publisher;
mod table;
mod log;
mod epoch_writer;
#[cfg(test)]
mod tests;

pub(crate) use cadence::Cadence;
pub(crate) use epoch_writer::EpochWriter;
pub(crate) use list_changes::{ListChanges, Update};

use crate::output::consumer_state::{ConsumerRecord, route_consumer_record};
use crate::output::{LogFormat, Mark, OutputOptions, Records, StreamNumber};
use crate::summary::Tally;
use deltacart_dataflows::{Diff, Epoch, List, Name, route};
use differential_dataflow::VecCollection;
use epoch_writer::OutputQueue;
use log::Log;
use publisher::{EpochHold, StreamPublisher, inbox};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use table::Table;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

/// The workers that send the records of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// Each worker sends the records that reach it. For topics, where records of different keys have no order.
    Each,
    /// Worker 0 sends all records, in the order of epochs and keys. For files, whose content must not depend on the
    /// workers.
    First,
}

/// How a stream is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// The number of the stream.
    pub(crate) number: StreamNumber,
    /// The workers that send its records.
    pub(crate) publisher: Publisher,
    /// Whether it resumes from what consumers have.
    pub(crate) resumes: bool,
    /// Whether records reach the destination in the order in which they are published.
    pub(crate) keeps_order: bool,
}

/// How long to wait before the sink is polled again.
const POLL: Duration = Duration::from_millis(1);

/// Links a worker to its publisher during a restart. The worker says what the output has and when the job has caught
/// up; the publisher says when the difference has been delivered.
#[derive(Default)]
pub(crate) struct Resumption {
    base: Cell<Option<Epoch>>,
    begin: Cell<Option<Begin>>,
    is_published: Cell<bool>,
    operator: RefCell<Option<Activator>>,
}

/// Where publishing of tables begins after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the difference to the consumer state, once every epoch up to this one is closed.
    At(Epoch),
    /// Never: the job is stopped before it has caught up.
    Never,
}

impl Resumption {
    /// Says that all streams have been read back on all workers. `base` is added to the epochs in published records.
    pub(crate) fn know(&self, base: Epoch) {
        self.base.set(Some(base));
        self.wake();
    }

    /// What is added to the epochs in published records. `None` until all streams have been read back.
    pub(crate) fn base(&self) -> Option<Epoch> {
        self.base.get()
    }

    /// Says where publishing of tables begins, as all workers have agreed.
    pub(crate) fn begin(&self, begin: Begin) {
        self.begin.set(Some(begin));
        self.wake();
    }

    fn wake(&self) {
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

/// The operator while streams are added to it.
pub(crate) struct Publish<'scope> {
    builder: OperatorBuilder<'scope, Epoch>,
    scope: Scope<'scope, Epoch>,
    tally: Rc<RefCell<Tally>>,
    queues: Vec<OutputQueue>,
    cadences: Vec<Rc<Cadence>>,
}

impl<'scope> Publish<'scope> {
    /// An operator that publishes nothing. Changed lists are counted in `tally`.
    pub(crate) fn new(scope: Scope<'scope, Epoch>, tally: &Rc<RefCell<Tally>>) -> Self {
        let builder = OperatorBuilder::new("Publish".to_owned(), scope);
        let (tally, queues, cadences) = (Rc::clone(tally), Vec::new(), Vec::new());
        Publish { builder, scope, tally, queues, cadences }
    }

    /// Adds a table: every change of it is published, as often as `cadence` allows.
    pub(crate) fn table(
        &mut self,
        Publication { number, publisher, resumes, .. }: Publication,
        options: OutputOptions,
        cadence: Rc<Cadence>,
        table: VecCollection<'scope, Epoch, (Name, List), Diff>,
        consumer_state: StreamVec<'scope, Epoch, ConsumerRecord>,
    ) {
        let index = self.scope.index() as u64;
        let to_publisher = Exchange::new(move |((item, _list), _epoch, _diff): &Update| match publisher {
            // The computed lists of an item and its consumer state must be on the same worker.
            Publisher::Each if resumes => route(item),
            Publisher::Each => index,
            Publisher::First => 0,
        });
        let held_route = Exchange::new(move |record: &ConsumerRecord| match publisher {
            Publisher::Each => route_consumer_record(record, options.envelope),
            Publisher::First => 0,
        });
        let updates = inbox(&mut self.builder, table.inner, to_publisher);
        let records = inbox(&mut self.builder, consumer_state, held_route);
        self.cadences.push(Rc::clone(&cadence));
        let tally = Rc::clone(&self.tally);
        self.add(number, Table::new(options, cadence, tally, (updates, records), resumes));
    }

    /// Adds a log: every record of it is published, with its epoch.
    pub(crate) fn log<F: LogFormat>(
        &mut self,
        Publication { number, publisher, keeps_order, resumes }: Publication,
        format: Rc<F>,
        log: StreamVec<'scope, Epoch, F::Record>,
        read_back: StreamVec<'scope, Epoch, Mark<F>>,
    ) {
        let lanes = Rc::clone(&format);
        let to_publisher = Exchange::new(move |record: &F::Record| match (publisher, lanes.place(record)) {
            (Publisher::Each, Some((lane, _place))) => F::route(&lane),
            // A record without a place is published nowhere.
            (Publisher::Each, None) | (Publisher::First, _) => 0,
        });
        let mark_route = Exchange::new(move |(lane, _epoch, _place): &Mark<F>| match publisher {
            Publisher::Each => F::route(lane),
            Publisher::First => 0,
        });
        let arrived = inbox(&mut self.builder, log, to_publisher);
        let marks = inbox(&mut self.builder, read_back, mark_route);
        self.add(number, Log::new(format, (arrived, marks), keeps_order, resumes));
    }

    fn add(&mut self, number: StreamNumber, publisher: impl StreamPublisher + 'static) {
        let publisher = Box::new(publisher);
        self.queues.push(OutputQueue { number, publisher, records: Records::new() });
    }

    /// Builds the operator. With a `resumption`, tables that resume catch up first.
    pub(crate) fn build(self, resumption: Option<Rc<Resumption>>, writer: EpochWriter) -> Published<'scope> {
        let Publish { mut builder, scope, queues, cadences, .. } = self;
        let activator = scope.activator_for(builder.operator_info().address);
        let (delivered_output, delivered) = builder.new_output::<Vec<()>>();
        let (accepted_output, accepted) = builder.new_output::<Vec<()>>();
        builder.build(move |capabilities| {
            let _unused = (delivered_output, accepted_output);
            cadences.iter().for_each(|cadence| cadence.calls(activator.clone()));
            let mut publishing = Publishing::new(queues, writer);
            if let Some(resumption) = resumption {
                *resumption.operator.borrow_mut() = Some(activator.clone());
                let [delivered, accepted] = capabilities.try_into().expect("each output has a capability");
                let hold = EpochHold { delivered, accepted: Some(accepted) };
                publishing.resuming = Some(Resuming { resumption, hold, closed: 0 });
                publishing.base = None;
            }
            move |frontiers: &[MutableAntichain<Epoch>]| {
                publishing.receive();
                if publishing.work(Frontiers(frontiers)) {
                    activator.activate_after(POLL);
                }
            }
        });
        Published { delivered, accepted }
    }
}

/// The frontiers of the operator's inputs: of each stream its records, then what was read back of it.
#[derive(Clone, Copy)]
struct Frontiers<'a>(&'a [MutableAntichain<Epoch>]);

impl Frontiers<'_> {
    /// The oldest epoch of which records may still come. `None` if none come any more.
    fn open(&self) -> Option<Epoch> {
        self.0.iter().step_by(2).filter_map(|frontier| frontier.frontier().first().copied()).min()
    }

    /// Whether no more records of `epoch` can come.
    fn have_closed(&self, epoch: Epoch) -> bool {
        self.open().is_none_or(|open| epoch < open)
    }

    /// Whether all that was read back has arrived.
    fn are_read_back(&self) -> bool {
        self.0.iter().skip(1).step_by(2).all(MutableAntichain::is_empty)
    }
}

/// A worker's part of the operator.
struct Publishing {
    queues: Vec<OutputQueue>,
    writer: EpochWriter,
    /// The epochs that some stream has records of.
    waiting: BTreeMap<Epoch, EpochHold>,
    /// The epochs handed to the epoch writer and not delivered, in order.
    under_way: VecDeque<UnderWay>,
    /// Added to an epoch to give the published one: a restart continues the epochs of the run before. `None` until
    /// the output has been read back.
    base: Option<Epoch>,
    /// Set until the difference has been handed to the epoch writer.
    resuming: Option<Resuming>,
    /// The job was stopped before it had caught up. Nothing is published any more.
    is_given_up: bool,
}

/// The state of a worker before it publishes the difference.
struct Resuming {
    resumption: Rc<Resumption>,
    /// The capabilities of the oldest open epoch. The difference will hold that epoch open.
    hold: EpochHold,
    /// The last epoch that is closed.
    closed: Epoch,
}

/// An epoch that is being delivered.
struct UnderWay {
    /// Dropped when the epoch has been delivered.
    _hold: EpochHold,
    /// Set if this is the difference.
    difference: Option<Rc<Resumption>>,
}

impl Publishing {
    fn new(queues: Vec<OutputQueue>, writer: EpochWriter) -> Self {
        Publishing {
            queues,
            writer,
            waiting: BTreeMap::new(),
            under_way: VecDeque::new(),
            base: Some(0),
            resuming: None,
            is_given_up: false,
        }
    }

    /// Keeps what has arrived at the inputs.
    fn receive(&mut self) {
        let Publishing { queues, writer, waiting, .. } = self;
        for OutputQueue { number, publisher, .. } in queues {
            let partition_of = |key: &[u8]| writer.partition_of(*number, key);
            publisher.receive(&partition_of, &mut |epoch, capability| {
                waiting.entry(epoch).or_insert_with(|| EpochHold {
                    delivered: capability.delayed(&epoch, DELIVERED),
                    accepted: Some(capability.delayed(&epoch, ACCEPTED)),
                });
            });
        }
    }

    /// Does the work that can be done now. Returns whether it must be called again soon.
    fn work(&mut self, frontiers: Frontiers<'_>) -> bool {
        if let (Some(resuming), Some(open)) = (&mut self.resuming, frontiers.open()) {
            resuming.hold.downgrade(&open);
            resuming.closed = resuming.closed.max(open.saturating_sub(1));
        }
        loop {
            if !self.under_way.is_empty() {
                let Some(epochs) = self.writer.push(&mut self.queues) else { return true };
                self.arrived(epochs);
            }
            if self.is_given_up {
                self.waiting.clear();
                return !self.under_way.is_empty();
            }
            if !self.take_epoch(frontiers) && !self.end_resuming(frontiers) && !self.release(frontiers) {
                return !self.under_way.is_empty();
            }
        }
    }

    /// The next closed epoch, if any stream has records of it.
    fn next_closed(&self, frontiers: Frontiers<'_>) -> Option<Epoch> {
        let (&epoch, _hold) = self.waiting.first_key_value()?;
        frontiers.have_closed(epoch).then_some(epoch)
    }

    /// Takes the next closed epoch. Returns false if there is none, or no room for it.
    fn take_epoch(&mut self, frontiers: Frontiers<'_>) -> bool {
        let Some(epoch) = self.next_closed(frontiers) else { return false };
        let base = self.base(frontiers);
        let may_take = |OutputQueue { publisher, .. }: &OutputQueue| {
            (base.is_some() || publisher.is_catching_up())
                && (self.writer.has_room() || !publisher.needs_room(epoch))
        };
        if !self.queues.iter().all(may_take) {
            return false;
        }
        let Some(hold) = self.waiting.remove(&epoch) else { return false };
        let mut is_written = false;
        for OutputQueue { publisher, records, .. } in &mut self.queues {
            is_written |= publisher.take_epoch(&hold, base.unwrap_or(0) + epoch, records);
        }
        if is_written {
            self.hand_over(epoch, hold, None);
        }
        if let Some(resuming) = &mut self.resuming {
            resuming.closed = resuming.closed.max(epoch);
        }
        true
    }

    /// The base of published epochs, once all of the output has been read back and has arrived here.
    fn base(&mut self, frontiers: Frontiers<'_>) -> Option<Epoch> {
        if let (None, Some(resuming), true) = (self.base, &self.resuming, frontiers.are_read_back()) {
            self.base = resuming.resumption.base.get();
        }
        self.base
    }

    fn hand_over(&mut self, epoch: Epoch, hold: EpochHold, difference: Option<Rc<Resumption>>) {
        self.writer.open(epoch);
        self.under_way.push_back(UnderWay { _hold: hold, difference });
    }

    /// Hands over the difference, once every epoch up to the one at which the job had caught up is taken. Returns
    /// whether something was done.
    fn end_resuming(&mut self, frontiers: Frontiers<'_>) -> bool {
        let Some(begin) = self.resuming.as_ref().and_then(|resuming| resuming.resumption.begin.get()) else {
            return false;
        };
        let base = self.base(frontiers);
        let caught_up = match begin {
            Begin::At(caught_up) => caught_up,
            Begin::Never => {
                (self.resuming, self.is_given_up) = (None, true);
                return true;
            }
        };
        let is_taken = frontiers.have_closed(caught_up) && self.next_closed(frontiers).is_none();
        let Some(base) = base.filter(|_| is_taken && self.writer.has_room()) else { return false };
        let Some(Resuming { resumption, hold, closed }) = self.resuming.take() else { return false };
        let epoch = closed.max(caught_up);
        for OutputQueue { publisher, .. } in &mut self.queues {
            if let Err(error) = publisher.end_catching_up(base + epoch) {
                self.writer.fail(error);
            }
        }
        self.hand_over(epoch, hold, Some(resumption));
        true
    }

    /// Hands over records that were held back, if they are due, or at the end of the job. Returns whether there were
    /// any.
    fn release(&mut self, frontiers: Frontiers<'_>) -> bool {
        let Some(base) = self.base else { return false };
        let (is_last, has_room) = (frontiers.open().is_none(), self.writer.has_room());
        let mut publishers = self.queues.iter_mut().map(|queue| &mut queue.publisher);
        let released = publishers.find_map(|publisher| publisher.release(base, is_last, has_room));
        let Some((epoch, delivered)) = released else { return false };
        self.hand_over(epoch, EpochHold { delivered, accepted: None }, None);
        true
    }

    /// Releases delivered epochs: all but the last `epochs`.
    fn arrived(&mut self, epochs: usize) {
        let arrived = self.under_way.len().saturating_sub(epochs);
        for UnderWay { difference, .. } in self.under_way.drain(..arrived) {
            if let Some(resumption) = difference {
                resumption.is_published.set(true);
            }
        }
    }
}
