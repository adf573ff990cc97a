//! `--verify`: compares the published lists and answers with what the plain model computes from scratch.
//!
//! All events and lists go to worker 0. When an epoch is closed, it applies the events to the model in their order
//! and compares. Answers are compared with `--refresh 0`, where those of all open subjects are new. The cost is that
//! of the model, so this is for checking a set-up, not for production.

use crate::first_error::FirstError;
use crate::job::Verify;
use crate::output::RowKind;
use crate::summary::{Counter, Tally};
use anyhow::anyhow;
use deltacart_dataflows::{
    Diff, Epoch, Event, List, Model, Name, NamedLists, Params, Subject, model_answers,
};
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

/// What a list is for.
pub(crate) type Row = (RowKind, Name);

/// The lists of items, carts and users as one collection.
pub(crate) fn all_rows<'scope>(
    [items, carts, users]: [&NamedLists<'scope>; 3],
) -> VecCollection<'scope, Epoch, (Row, List), Diff> {
    let rows = |kind: RowKind, lists: &NamedLists<'scope>| {
        lists.clone().map(move |(name, list)| ((kind, name), list))
    };
    rows(RowKind::Item, items).concat(rows(RowKind::Cart, carts)).concat(rows(RowKind::User, users))
}

/// Both sides of the comparison.
struct Verifier {
    when: Verify,
    params: Params,
    model: Model,
    published: BTreeMap<Row, List>,
    epochs: u64,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
}

/// One epoch's records of both sides, until it is closed.
#[derive(Default)]
struct Pending {
    events: Vec<Event>,
    lists: Vec<((Row, List), Diff)>,
}

/// Compares the lists and the answers with the model. The returned stream ends when the last comparison has been made.
pub(crate) fn verify<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    lists: VecCollection<'scope, Epoch, (Row, List), Diff>,
    when: Verify,
    params: Params,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
) -> StreamVec<'scope, Epoch, ()> {
    let model = Model::new(params);
    let mut verifier =
        Verifier { when, params, model, published: BTreeMap::new(), epochs: 0, tally, first_error };
    let is_first = lists.scope().index() == 0;
    let to_first = Exchange::new(|_event: &Event| 0);
    let lists_to_first = Exchange::new(|_update: &((Row, List), Epoch, Diff)| 0);
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
                lists.for_each(|_capability, batch: &mut Vec<((Row, List), Epoch, Diff)>| {
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
        // Notes are not compared.
        drop(self.model.take_notes());
        // Retractions come first, or a new list would be taken for the old one.
        changes.lists.sort_by_key(|(_list, diff)| *diff);
        for ((row, list), diff) in changes.lists {
            if diff > 0 {
                self.published.insert(row, list);
            } else if self.published.get(&row) == Some(&list) {
                self.published.remove(&row);
            } else {
                let (kind, name) = (row.0.field(), row.1);
                self.first_error.set(anyhow!(
                    "epoch {epoch} takes back a list of {kind} {name:?} that was not published"
                ));
            }
        }
        self.epochs += 1;
        if let Verify::Every(epochs) = self.when
            && self.epochs.is_multiple_of(epochs.get())
        {
            self.compare(&format!("at epoch {epoch}"));
        }
    }

    /// The lists and the answers of the model.
    fn expected(&self) -> BTreeMap<Row, List> {
        let lists = self.model.lists();
        let answers = self
            .params
            .answers
            .map(|answers| model_answers(&self.model.states(), &lists, self.params.lists, answers));
        let answers = answers.into_iter().flatten().filter_map(|(subject, list)| match subject {
            Subject::Cart(cart) => Some(((RowKind::Cart, cart), list)),
            Subject::User(user) => Some(((RowKind::User, user), list)),
            Subject::Question(_) => None,
        });
        answers.chain(lists.into_iter().map(|(item, list)| ((RowKind::Item, item), list))).collect()
    }

    fn compare(&mut self, when: &str) {
        let expected = self.expected();
        // Answers that are not refreshed at every epoch may be those of an earlier one.
        let has_answers = self.params.answers.is_some_and(|answers| answers.refresh.is_none());
        let is_compared = |row: &&Row| row.0 == RowKind::Item || has_answers;
        let rows = expected.keys().chain(self.published.keys()).filter(is_compared);
        let wrong: Vec<&Row> = rows.filter(|&row| expected.get(row) != self.published.get(row)).collect();
        match wrong.first() {
            None => self.tally.borrow_mut().add(Counter::Verified, 1),
            Some(&row) => self.first_error.set(anyhow!(
                "{when}, {} lists differ from a computation from scratch; that of {} {:?} should be {:?} and is {:?}",
                wrong.len(),
                row.0.field(),
                row.1,
                expected.get(row),
                self.published.get(row),
            )),
        }
    }
}
