//! What the tests share: dataflows run over epochs of events, and what their lists are after each.

use deltacart_dataflows::{
    Action, Engine, Epoch, Event, List, ListParams, Measure, Model, Name, Params, Position, Scoring,
    recommend,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Probe, vec::Map};

/// The lists of all items that have one.
pub(crate) type Lists = BTreeMap<Name, List>;

/// Settings with one measure, and everything else as the command line has it.
pub(crate) fn params(engine: Engine, measure: Measure, k: usize) -> Params {
    let lists = ListParams { k, scoring: Scoring::new(measure), scores: true };
    Params { engine, lists, basket_items_max: 10_000 }
}

/// An event of basket `basket` at the `offset`-th place of the input.
pub(crate) fn event(offset: u64, basket: &str, user: Option<&str>, action: Action<Name>) -> Event {
    let position = Position { partition: 0, offset, index: 0 };
    Event { position, basket: basket.into(), user: user.map(Name::from), action }
}

/// Runs the dataflow on so many workers; returns the lists after each epoch.
///
/// The events of an epoch are dealt out over the workers, so no worker sees them all, nor in order.
pub(crate) fn run(epochs: &[Vec<Event>], params: Params, workers: usize) -> Vec<Lists> {
    let updates: Arc<Mutex<Vec<((Name, List), Epoch, isize)>>> = Arc::default();
    let (shared, events) = (Arc::clone(&updates), Arc::new(epochs.to_vec()));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let updates = Arc::clone(&shared);
        let probe = worker.dataflow(|scope| {
            let recommendations = recommend(scope.input_from(&mut input), params);
            recommendations.lists.inner.map(move |update| updates.lock().unwrap().push(update)).probe().0
        });
        for (epoch, events) in (0..).zip(events.iter()) {
            for (number, event) in events.iter().enumerate() {
                if (number * 7 + number / 3) % peers == index {
                    input.send(event.clone());
                }
            }
            input.advance_to(epoch + 1);
            // Some epochs are run to their end alone, others several together.
            match events.len() % 3 {
                0 => worker.step_or_park_while(None, || probe.less_than(&(epoch + 1))),
                _ => drop(worker.step()),
            }
        }
    })
    .unwrap();
    guards.join().into_iter().for_each(|result| result.unwrap());
    let updates = std::mem::take(&mut *updates.lock().unwrap());
    after_each_epoch(updates, epochs.len())
}

/// Adds updates up, epoch by epoch. An item must never have two lists, nor a list a strange multiplicity.
fn after_each_epoch(mut updates: Vec<((Name, List), Epoch, isize)>, epochs: usize) -> Vec<Lists> {
    updates.sort_by(|x, y| (x.1, &x.0).cmp(&(y.1, &y.0)));
    let mut current: BTreeMap<(Name, List), isize> = BTreeMap::new();
    let mut updates = updates.into_iter().peekable();
    let mut result = Vec::new();
    for epoch in 0..epochs as Epoch {
        while let Some((list, _, diff)) = updates.next_if(|update| update.1 <= epoch) {
            *current.entry(list).or_default() += diff;
        }
        current.retain(|_list, diff| *diff != 0);
        assert!(current.values().all(|&diff| diff == 1), "a list is there once");
        let lists: Lists = current.keys().cloned().collect();
        assert_eq!(lists.len(), current.len(), "an item has one list");
        result.push(lists);
    }
    assert!(updates.next().is_none(), "nothing comes after the last epoch");
    result
}

/// The same from the plain model.
pub(crate) fn model(epochs: &[Vec<Event>], params: Params) -> Vec<Lists> {
    let mut model = Model::new(params);
    epochs
        .iter()
        .map(|events| {
            events.iter().for_each(|event| model.apply(event));
            model.lists()
        })
        .collect()
}

/// Fails, naming the first epoch and item, where the dataflow differs from the model.
pub(crate) fn check(epochs: &[Vec<Event>], params: Params, workers: usize) {
    let (expected, actual) = (model(epochs, params), run(epochs, params, workers));
    for (epoch, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        if expected != actual {
            let item =
                expected.keys().chain(actual.keys()).find(|&item| expected.get(item) != actual.get(item));
            let item = item.expect("they differ somewhere");
            panic!(
                "{params:?} on {workers} workers, epoch {epoch}, item {item}:\nexpected {:?}\n  actual {:?}",
                expected.get(item),
                actual.get(item)
            );
        }
    }
}
