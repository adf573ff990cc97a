//! Work per epoch, not per message: an operator that sees all records of an epoch at once, when no more can come.

use crate::Epoch;
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::Session;
use timely::dataflow::operators::{Capability, generic::Operator};
use timely::scheduling::Activator;

/// What an epoch's logic writes to: an output that stands at that epoch.
pub type EpochSession<'a, 'b, D> =
    Session<'a, 'b, Epoch, CapacityContainerBuilder<Vec<D>>, Capability<Epoch>>;

/// Streams whose records can be handed over an epoch at a time.
pub trait PerEpoch<'scope, D>: Sized {
    /// Calls `logic` once for each epoch that brought records, in the order of epochs, as soon as the epoch is closed:
    /// with the epoch, all its records on this worker in no particular order, and where to give results.
    /// The vector is emptied afterwards and its memory used again.
    ///
    /// A record's epoch is that of its message.
    fn per_epoch<R, P, L>(self, pact: P, name: &str, logic: L) -> StreamVec<'scope, Epoch, R>
    where
        R: Clone + 'static,
        P: ParallelizationContract<Epoch, Vec<D>>,
        L: FnMut(Epoch, &mut Vec<D>, &mut EpochSession<'_, '_, R>) + 'static,
    {
        self.per_epoch_of(None, pact, name, logic)
    }

    /// As [`PerEpoch::per_epoch`], where `own` tells a record's own epoch, at or after that of its message: the
    /// updates of a collection have one.
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

    /// As [`PerEpoch::per_epoch_of`], for logic that gives a lot: it is called until it returns true, and between two
    /// calls those downstream take what it gave.
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

    /// As [`PerEpoch::per_epoch`], with something to do between epochs: whenever the closed ones are done, `rest` is
    /// called with the oldest epoch that is not closed, if any, and with what schedules the operator again.
    fn per_epoch_and_rest<R, P, L, B>(
        self,
        pact: P,
        name: &str,
        logic: L,
        rest: B,
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

    fn per_epoch_and_rest<R, P, L, B>(
        self,
        pact: P,
        name: &str,
        mut logic: L,
        rest: B,
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
        operator(self, None, pact, name, logic, rest)
    }
}

/// The one operator of all of these.
fn operator<'scope, D, R, P, L, B>(
    stream: StreamVec<'scope, Epoch, D>,
    own: Option<fn(&D) -> Epoch>,
    pact: P,
    name: &str,
    mut logic: L,
    mut rest: B,
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
            rest(frontier.frontier().first().copied(), &activator);
        }
    })
}

/// Emptied buffers kept for the next epochs; few epochs are ever open together.
const SPARE_BUFFERS_MAX: usize = 2;

/// What each of them keeps room for; one large epoch must not hold its memory for ever.
const SPARE_RECORDS_MAX: usize = 1 << 16;
