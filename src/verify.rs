//! `--verify`: compares the published lists with the lists that the plain model computes from scratch.
//!
//! All events and lists go to worker 0. When an epoch is closed, it applies the events to the model in their order
//! and compares. The cost is that of the model, so this is for checking a set-up, not for production.

use crate::first_error::FirstError;
use crate::job::Verify;
use crate::summary::{Counter, Tally};
use anyhow::anyhow;
use deltacart_dataflows::{Diff, Epoch, Event, List, Model, Name, Params};
use differential_dataflow::VecCollection;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

/// The output of the operator has no records; only its frontier matters.
type Nothing = CapacityContainerBuilder<Vec<()>>;

/// Both sides of the comparison.
struct Verifier {
    when: Verify,
    model: Model,
    published: BTreeMap<Name, List>,
    epochs: u64,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
}

/// One epoch's records of both sides, until it is closed.
#[derive(Default)]
struct Pending {
    events: Vec<Event>,
    lists: Vec<((Name, List), Diff)>,
}

/// Compares the lists with the model. The returned stream ends when the last comparison has been made.
pub(crate) fn verify<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    when: Verify,
    params: Params,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
) -> StreamVec<'scope, Epoch, ()> {
    let model = Model::new(params);
    let mut verifier = Verifier { when, model, published: BTreeMap::new(), epochs: 0, tally, first_error };
    let is_first = lists.scope().index() == 0;
    let to_first = Exchange::new(|_event: &Event| 0);
    let lists_to_first = Exchange::new(|_update: &((Name, List), Epoch, Diff)| 0);
    let pacts = (to_first, lists_to_first);
    events.binary_frontier::<_, Nothing, _, _, _, _>(
        lists.inner,
        pacts.0,
        pacts.1,
        "Verify",
        move |held, _info| {
            // The capability is held until the last comparison has been made.
            let mut held = is_first.then_some(held);
            let mut pending: BTreeMap<Epoch, Pending> = BTreeMap::new();
            move |(events, events_frontier), (lists, lists_frontier), _output| {
                events.for_each(|capability, batch: &mut Vec<Event>| {
                    let Some(&epoch) = capability.least() else { return };
                    pending.entry(epoch).or_default().events.append(batch);
                });
                lists.for_each(|_capability, batch: &mut Vec<((Name, List), Epoch, Diff)>| {
                    for (list, epoch, diff) in batch.drain(..) {
                        pending.entry(epoch).or_default().lists.push((list, diff));
                    }
                });
                // The oldest epoch that either side may still add to.
                let frontiers = [events_frontier.frontier(), lists_frontier.frontier()];
                let open = frontiers.iter().filter_map(|frontier| frontier.first().copied()).min();
                while let Some(entry) = pending.first_entry() {
                    if open.is_some_and(|open| *entry.key() >= open) {
                        break;
                    }
                    let (epoch, changes) = entry.remove_entry();
                    verifier.close(epoch, changes);
                }
                match (open, &mut held) {
                    // Compared epochs are released, because the job counts an epoch as delivered only after that.
                    (Some(open), Some(held)) => held.downgrade(&open),
                    (None, Some(_)) => {
                        verifier.compare("at the end");
                        held = None;
                    }
                    (_, None) => {}
                }
            }
        },
    )
}

impl Verifier {
    fn close(&mut self, epoch: Epoch, mut changes: Pending) {
        changes.events.sort_by_key(Event::order);
        changes.events.iter().for_each(|event| self.model.apply(event));
        self.model.end_epoch();
        // Only lists are compared.
        drop(self.model.take_notes());
        // Retractions come first, or a new list would be taken for the old one.
        changes.lists.sort_by_key(|(_list, diff)| *diff);
        for ((item, list), diff) in changes.lists {
            if diff > 0 {
                self.published.insert(item, list);
            } else if self.published.get(&item) == Some(&list) {
                self.published.remove(&item);
            } else {
                self.first_error
                    .set(anyhow!("epoch {epoch} takes back a list of {item:?} that was not published"));
            }
        }
        self.epochs += 1;
        if let Verify::Every(epochs) = self.when
            && self.epochs.is_multiple_of(epochs.get())
        {
            self.compare(&format!("at epoch {epoch}"));
        }
    }

    fn compare(&mut self, when: &str) {
        let expected = self.model.lists();
        let items = expected.keys().chain(self.published.keys());
        let wrong: Vec<&Name> =
            items.filter(|&item| expected.get(item) != self.published.get(item)).collect();
        match wrong.first() {
            None => self.tally.borrow_mut().add(Counter::Verified, 1),
            Some(&item) => self.first_error.set(anyhow!(
                "{when}, {} lists differ from a computation from scratch; that of {item:?} should be {:?} and is {:?}",
                wrong.len(),
                expected.get(item),
                self.published.get(item),
            )),
        }
    }
}
