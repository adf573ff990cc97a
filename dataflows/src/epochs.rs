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
use timely::dataflow::operators::{Capability, generic::Operator};
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
        let mut stash: BTreeMap<Epoch, (Capability<Epoch>, Vec<D>)> = BTreeMap::new();
        let mut spare: Vec<Vec<D>> = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, records| {
                let port = output.output_index();
                let hold = |epoch: &Epoch, spare: &mut Vec<Vec<D>>| {
                    (capability.delayed(epoch, port), spare.pop().unwrap_or_default())
                };
                match (own, capability.least()) {
                    (None, Some(&epoch)) => {
                        let entry = stash.entry(epoch).or_insert_with(|| hold(&epoch, &mut spare));
                        entry.1.append(records);
                    }
                    (Some(own), _) => {
                        for record in records.drain(..) {
                            let epoch = own(&record);
                            let entry = stash.entry(epoch).or_insert_with(|| hold(&epoch, &mut spare));
                            entry.1.push(record);
                        }
                    }
                    (None, None) => {}
                }
            });
            while let Some(mut entry) = stash.first_entry() {
                let epoch = *entry.key();
                if frontier.less_equal(&epoch) {
                    break;
                }
                let (capability, records) = entry.get_mut();
                if !logic(epoch, records, &mut output.session(&*capability)) {
                    activator.activate();
                    break;
                }
                let (_capability, mut records) = entry.remove();
                records.clear();
                records.shrink_to(SPARE_RECORDS_MAX);
                if spare.len() < SPARE_BUFFERS_MAX {
                    spare.push(records);
                }
            }
            background(frontier.frontier().first().copied(), &activator);
        }
    })
}

/// Emptied buffers that are kept for the next epochs. Few epochs are ever open together.
const SPARE_BUFFERS_MAX: usize = 2;

/// Records for which such a buffer keeps room, so that one large epoch does not keep its memory for ever.
const SPARE_RECORDS_MAX: usize = 1 << 16;
