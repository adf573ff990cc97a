//! One call per epoch instead of one per message: [`PerEpoch`].
//!
//! An operator stashes the records of each epoch that is still open. When the input frontier has passed an epoch, no
//! more records of it can come. Then its logic runs once, with all of the epoch's records on this worker.
//!
//! ```text
//! records ─▶ stash by epoch ─▶ frontier passes an epoch ─▶ logic(epoch, records, session) ─▶ results at that epoch
//! ```

use crate::Epoch;
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::Session;
use timely::dataflow::operators::{Capability, InputCapability, generic::Operator};
use timely::scheduling::Activator;

/// The output of an epoch's logic. What is given to it has the timestamp of that epoch.
pub type EpochSession<'a, 'b, D> =
    Session<'a, 'b, Epoch, CapacityContainerBuilder<Vec<D>>, Capability<Epoch>>;

/// Runs logic once per closed epoch.
///
/// All methods share these rules:
/// - `logic` is called in the order of epochs, and only for epochs with records on this worker.
/// - It gets the epoch, all of its records on this worker in no particular order, and a session for results.
/// - The vector of records is emptied after the call, and its memory is reused.
/// - `pact` says how records are exchanged before, `name` is the operator's name in timely's logs.
///
/// Memory follows the records of the open epochs.
///
/// # Examples
/// The largest number of each epoch:
///
/// ```
/// use deltacart_dataflows::PerEpoch;
/// use timely::dataflow::channels::pact::Pipeline;
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, Input};
///
/// let captured = timely::execute_directly(|worker| {
///     let (mut input, captured) = worker.dataflow(|scope| {
///         let (input, numbers) = scope.new_input();
///         let largest = numbers.per_epoch(Pipeline, "Largest", |_epoch, numbers, session| {
///             session.give(numbers.drain(..).max().expect("logic runs for epochs with records only"));
///         });
///         (input, largest.capture())
///     });
///     for (epoch, batch) in (0..).zip([vec![3, 9, 4], vec![2], vec![]]) {
///         batch.into_iter().for_each(|number: u32| input.send(number));
///         input.advance_to(epoch + 1);
///     }
///     captured
/// });
/// assert_eq!(captured.extract(), [(0, vec![9]), (1, vec![2])]);
/// ```
pub trait PerEpoch<'scope, D>: Sized {
    /// Runs `logic` once per epoch. The epoch of a record is the timestamp of its message.
    fn per_epoch<R, P, L>(self, pact: P, name: &str, logic: L) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) + 'static,
    {
        self.per_epoch_of(None, pact, name, logic)
    }

    /// Runs `logic` once per epoch, where `own` may read an epoch from the record itself.
    ///
    /// Updates of a collection carry their own time. It must not be before the timestamp of the message.
    fn per_epoch_of<R, P, L>(
        self,
        own: Option<fn(&D) -> Epoch>,
        pact: P,
        name: &str,
        logic: L,
    ) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) + 'static,
    {
        let mut logic = logic;
        self.per_epoch_in_steps(own, pact, name, move |epoch, records, session| {
            logic(epoch, records, session);
            true
        })
    }

    /// Runs `logic` again and again for one epoch, until it returns true.
    ///
    /// For logic with much output: between two calls, operators downstream take what it gave. `own` is that of
    /// [`PerEpoch::per_epoch_of`].
    fn per_epoch_in_steps<R, P, L>(
        self,
        own: Option<fn(&D) -> Epoch>,
        pact: P,
        name: &str,
        logic: L,
    ) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) -> bool + 'static;

    /// Runs `logic` once per epoch, and `background` whenever no closed epoch is left to do.
    ///
    /// `background` gets the oldest open epoch, or none after the last, and an activator that schedules the operator
    /// again.
    fn per_epoch_with_background<R, P, L, B>(
        self,
        pact: P,
        name: &str,
        logic: L,
        background: B,
    ) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) + 'static,
        B: FnMut(Option<Epoch>, &Activator) + 'static;
}

impl<'scope, D: Clone + 'static> PerEpoch<'scope, D> for StreamVec<'scope, Epoch, D> {
    fn per_epoch_in_steps<R, P, L>(
        self,
        own: Option<fn(&D) -> Epoch>,
        pact: P,
        name: &str,
        logic: L,
    ) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) -> bool + 'static,
    {
        operator(self, own, pact, name, logic, |_open, _activator| {})
    }

    fn per_epoch_with_background<R, P, L, B>(
        self,
        pact: P,
        name: &str,
        mut logic: L,
        background: B,
    ) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) + 'static,
        B: FnMut(Option<Epoch>, &Activator) + 'static,
    {
        let logic = move |epoch, records: &mut Vec<D>, session: &mut EpochSession<'_, '_, R>| {
            logic(epoch, records, session);
            true
        };
        operator(self, None, pact, name, logic, background)
    }
}

/// The operator behind every method of [`PerEpoch`].
fn operator<'scope, D, R, P, L, B>(
    stream: StreamVec<'scope, Epoch, D>,
    own: Option<fn(&D) -> Epoch>,
    pact: P,
    name: &str,
    mut logic: L,
    mut background: B,
) -> StreamVec<'scope, Epoch, R>
where
    D: Clone + 'static,
    R: Clone + 'static,
    P: ParallelizationContract<Epoch, Vec<D>>,
    L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) -> bool + 'static,
    B: FnMut(Option<Epoch>, &Activator) + 'static,
{
    let scope = stream.scope();
    stream.unary_frontier(pact, name, move |_capability, info| {
        let activator = scope.activator_for(info.address);
        let mut stash = Stash::new(own);
        move |(input, frontier), output| {
            let port = output.output_index();
            input.for_each(|capability, records| stash.add(&capability, port, records));
            while let Some(epoch) = stash.first().filter(|epoch| !frontier.less_equal(epoch)) {
                let (capability, records) = stash.get_mut(epoch).expect("the first epoch is in the stash");
                if !logic(epoch, records, &mut output.session(&*capability)) {
                    activator.activate();
                    break;
                }
                stash.remove(epoch);
            }
            background(frontier.frontier().first().copied(), &activator);
        }
    })
}

/// Runs logic once per closed epoch, with the records of two streams.
///
/// The rules are those of [`PerEpoch`]. An epoch is closed when both frontiers have passed it. `logic` runs for epochs
/// with records of either stream, again and again for one epoch until it returns true.
pub(crate) fn per_epoch_of_two<'scope, D, E, R, P, Q, L>(
    (stream, pact): (StreamVec<'scope, Epoch, D>, P),
    (other, other_pact): (StreamVec<'scope, Epoch, E>, Q),
    name: &str,
    mut logic: L,
) -> StreamVec<'scope, Epoch, R>
where
    D: Clone + 'static,
    E: Clone + 'static,
    R: Clone + 'static,
    P: ParallelizationContract<Epoch, Vec<D>>,
    Q: ParallelizationContract<Epoch, Vec<E>>,
    L: FnMut(Epoch, &mut Vec<D>, &mut Vec<E>, &mut EpochSession<'_, '_, R>) -> bool + 'static,
{
    let scope = stream.scope();
    stream.binary_frontier(other, pact, other_pact, name, move |_capability, info| {
        let activator = scope.activator_for(info.address);
        let (mut stash, mut other_stash) = (Stash::new(None), Stash::new(None));
        move |(input, frontier), (other_input, other_frontier), output| {
            let port = output.output_index();
            input.for_each(|capability, records| stash.add(&capability, port, records));
            other_input.for_each(|capability, records| other_stash.add(&capability, port, records));
            let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || other_frontier.less_equal(epoch);
            let first =
                |stash: &Stash<D>, other: &Stash<E>| stash.first().into_iter().chain(other.first()).min();
            while let Some(epoch) = first(&stash, &other_stash).filter(|epoch| !is_open(epoch)) {
                let (mut none, mut no_others) = (Vec::new(), Vec::new());
                let (capability, records) = stash.get_mut(epoch).unzip();
                let (other_capability, others) = other_stash.get_mut(epoch).unzip();
                let capability = capability.or(other_capability).expect("one of the stashes has the epoch");
                let records = records.unwrap_or(&mut none);
                let others = others.unwrap_or(&mut no_others);
                if !logic(epoch, records, others, &mut output.session(&*capability)) {
                    activator.activate();
                    break;
                }
                stash.remove(epoch);
                other_stash.remove(epoch);
            }
        }
    })
}

/// The records of open epochs, each epoch with a capability to emit at it.
struct Stash<D> {
    /// By epoch.
    epochs: BTreeMap<Epoch, (Capability<Epoch>, Vec<D>)>,
    /// The epoch that a record carries itself, if it does.
    own: Option<fn(&D) -> Epoch>,
    /// Emptied buffers for the next epochs.
    spare: Vec<Vec<D>>,
}

/// Emptied buffers that are kept for the next epochs. Few epochs are ever open together.
const SPARE_BUFFERS_MAX: usize = 2;

/// Records for which such a buffer keeps room, so that one large epoch does not keep its memory for ever.
const SPARE_RECORDS_MAX: usize = 1 << 16;

impl<D> Stash<D> {
    /// An empty stash. `own` reads an epoch from a record itself.
    fn new(own: Option<fn(&D) -> Epoch>) -> Self {
        Stash { epochs: BTreeMap::new(), own, spare: Vec::new() }
    }

    /// Adds the records of a message, for the output at `port`.
    fn add(&mut self, capability: &InputCapability<Epoch>, port: usize, records: &mut Vec<D>) {
        match (self.own, capability.least()) {
            (None, Some(&epoch)) => self.records_of(epoch, capability, port).append(records),
            (Some(own), _) => {
                for record in records.drain(..) {
                    self.records_of(own(&record), capability, port).push(record);
                }
            }
            (None, None) => {}
        }
    }

    /// The records of an epoch. A new epoch holds the capability of the message.
    fn records_of(&mut self, epoch: Epoch, capability: &InputCapability<Epoch>, port: usize) -> &mut Vec<D> {
        let Stash { epochs, spare, .. } = self;
        let hold = || (capability.delayed(&epoch, port), spare.pop().unwrap_or_default());
        &mut epochs.entry(epoch).or_insert_with(hold).1
    }

    /// The oldest epoch.
    fn first(&self) -> Option<Epoch> {
        self.epochs.first_key_value().map(|(&epoch, _records)| epoch)
    }

    /// The capability and the records of an epoch.
    fn get_mut(&mut self, epoch: Epoch) -> Option<(&mut Capability<Epoch>, &mut Vec<D>)> {
        self.epochs.get_mut(&epoch).map(|(capability, records)| (capability, records))
    }

    /// Removes an epoch. Its buffer is used again.
    fn remove(&mut self, epoch: Epoch) {
        let Some((_capability, mut records)) = self.epochs.remove(&epoch) else { return };
        records.clear();
        records.shrink_to(SPARE_RECORDS_MAX);
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(records);
        }
    }
}
