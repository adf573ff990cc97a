//! What the tests share: a dataflow run to its end over epochs of events, and what its updates add up to.

use deltacart_dataflows::{
    Action, Algorithm, Epoch, Event, Evidence, List, ListParams, Measure, Model, Name, Params, Position,
    Scoring, StateStats, recommend,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Probe, vec::Map};
use timely::worker::Worker;

/// The lists of all items that have one.
pub(crate) type Lists = BTreeMap<Name, List>;

/// A list that went (−1) or came (+1). Sorted, updates are in the order in which a reader takes them.
pub(crate) type Update = (Epoch, Name, isize, List);

/// Settings with one measure, and everything else as the command line has it.
pub(crate) fn params(algorithm: Algorithm, measure: Measure, k: usize) -> Params {
    let lists = ListParams { k, scoring: Scoring::new(measure), scores: true };
    Params {
        algorithm,
        lists,
        basket_items_max: 10_000,
        basket_idle: None,
        item_baskets_max: None,
        evidence: Evidence::default(),
        open_for: None,
        answers: None,
    }
}

/// An event of basket `basket` at the `offset`-th place of the input.
pub(crate) fn event(offset: u64, basket: &str, user: Option<&str>, action: Action<Name>) -> Event {
    let position = Position { offset, ..Position::default() };
    Event { position, basket: basket.into(), user: user.map(Name::from), time: 0, action }
}

/// Runs the dataflow on so many workers; returns every update as it was published, sorted but not added up.
pub(crate) fn updates(epochs: &[Vec<Event>], params: Params, workers: usize) -> Vec<Update> {
    execute(timely::Config::process(workers), vec![(epochs.to_vec(), params)]).swap_remove(0)
}

/// Runs dataflows one after the other, with any configuration; returns for each the updates of this process's workers.
pub(crate) fn execute(config: timely::Config, runs: Vec<(Vec<Vec<Event>>, Params)>) -> Vec<Vec<Update>> {
    let (count, panicked) = (runs.len(), AtomicBool::new(false));
    let guards = timely::execute(config, move |worker| {
        let _alarm = Alarm(&panicked);
        runs.iter().map(|(epochs, params)| work(worker, epochs, *params, &panicked)).collect::<Vec<_>>()
    });
    let mut updates = vec![Vec::new(); count];
    for of_worker in guards.unwrap().join() {
        for (updates, of_run) in updates.iter_mut().zip(of_worker.unwrap()) {
            updates.extend(of_run);
        }
    }
    updates.iter_mut().for_each(|updates| updates.sort_unstable());
    updates
}

/// Stops the other workers of the process when this one panics. Timely would leave them waiting for ever.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::SeqCst);
    }
}

/// One worker's part, from the first event to the last update.
///
/// The events of an epoch are dealt out over the workers, so no worker sees them all, nor in order.
fn work(worker: &mut Worker, epochs: &[Vec<Event>], params: Params, panicked: &AtomicBool) -> Vec<Update> {
    let step = |worker: &mut Worker| {
        worker.step_or_park(Some(Duration::from_millis(50)));
        assert!(!panicked.load(Ordering::SeqCst), "another worker panicked");
    };
    let (index, peers) = (worker.index(), worker.peers());
    let mut input = InputHandle::new();
    let updates: Rc<RefCell<Vec<Update>>> = Rc::default();
    let shared = Rc::clone(&updates);
    let probe = worker.dataflow(|scope| {
        let recommendations = recommend(scope.input_from(&mut input), params);
        let published = recommendations.lists.inner.map(move |((name, list), epoch, diff)| {
            shared.borrow_mut().push((epoch, name, diff, list));
        });
        published.probe().0
    });
    for (epoch, events) in (0..).zip(epochs) {
        for (number, event) in events.iter().enumerate() {
            if (number * 7 + number / 3) % peers == index {
                input.send(event.clone());
            }
        }
        input.advance_to(epoch + 1);
        // Some epochs are run to their end alone, others several together.
        match events.len() % 3 {
            0 => {
                while probe.less_than(&(epoch + 1)) {
                    step(worker);
                }
            }
            _ => drop(worker.step()),
        }
    }
    input.close();
    while worker.has_dataflows() {
        step(worker);
    }
    updates.take()
}

/// What all workers hold after every so many epochs; the names that each knows on the average.
pub(crate) fn stats(epochs: &[Vec<Event>], params: Params, workers: usize, every: usize) -> Vec<StateStats> {
    let shared = epochs.to_vec();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let (probe, state_stats) = worker.dataflow(|scope| {
            let recommendations = recommend(scope.input_from(&mut input), params);
            (recommendations.lists.probe().0, recommendations.state_stats)
        });
        let mut stats = Vec::new();
        for (epoch, events) in (1..).zip(&shared) {
            let mine = events.iter().enumerate().filter(|(number, _event)| number % peers == index);
            mine.for_each(|(_number, event)| input.send(event.clone()));
            input.advance_to(epoch as Epoch);
            let is_due = epoch % every == 0;
            // Several are under way, until it is looked.
            let out = if is_due { epoch } else { epoch.saturating_sub(3) } as Epoch;
            worker.step_while(|| probe.less_than(&out));
            if is_due {
                stats.push(state_stats.collect());
            }
        }
        stats
    });
    let mut all = vec![StateStats::default(); epochs.len() / every];
    for of_worker in guards.unwrap().join() {
        for (all, one) in all.iter_mut().zip(of_worker.unwrap()) {
            all.baskets += one.baskets;
            all.lines += one.lines;
            all.users += one.users;
            all.items += one.items / workers as u64;
            all.items_forgotten += one.items_forgotten;
            all.rows += one.rows;
            all.ledger_bytes += one.ledger_bytes;
            all.names_bytes += one.names_bytes;
            all.index_bytes += one.index_bytes;
            all.rows_bytes += one.rows_bytes;
        }
    }
    all
}

/// What a reader of the updates has.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) lists: Lists,
}

impl Reader {
    /// Takes the updates of one epoch, sorted. A list goes and comes at most once, goes only if it was there, and comes
    /// only if it differs.
    pub(crate) fn take(&mut self, updates: &[Update]) {
        for of_item in updates.chunk_by(|x, y| x.1 == y.1) {
            let name = &of_item[0].1;
            let before = self.lists.remove(name);
            let (gone, come) = match of_item {
                [(_, _, -1, gone)] => (Some(gone), None),
                [(_, _, 1, come)] => (None, Some(come)),
                [(_, _, -1, gone), (_, _, 1, come)] => (Some(gone), Some(come)),
                _ => panic!("a list goes once and comes once: {of_item:?}"),
            };
            assert_eq!(before.as_ref(), gone, "what goes was there, and what was there goes: {of_item:?}");
            assert_ne!(gone, come, "what comes differs: {of_item:?}");
            if let Some(list) = come {
                assert!(!list.is_empty(), "an empty list is no list: {of_item:?}");
                self.lists.insert(name.clone(), list.clone());
            }
        }
    }
}

/// The lists after each epoch, from updates that are sorted.
pub(crate) fn after_each_epoch(updates: &[Update], epochs: usize) -> Vec<Lists> {
    let mut rest = updates;
    let mut reader = Reader::default();
    let lists = (0..epochs as Epoch)
        .map(|epoch| {
            let (now, later) = rest.split_at(rest.partition_point(|update| update.0 <= epoch));
            rest = later;
            reader.take(now);
            reader.lists.clone()
        })
        .collect();
    assert!(rest.is_empty(), "nothing comes after the last epoch");
    lists
}

/// The lists after each epoch, by a dataflow on so many workers.
pub(crate) fn run(epochs: &[Vec<Event>], params: Params, workers: usize) -> Vec<Lists> {
    after_each_epoch(&updates(epochs, params, workers), epochs.len())
}

/// The lists after the last epoch, by a dataflow on so many workers.
pub(crate) fn last(epochs: &[Vec<Event>], params: Params, workers: usize) -> Lists {
    run(epochs, params, workers).pop().unwrap_or_default()
}

/// The lists after each epoch, by the plain model.
pub(crate) fn model(epochs: &[Vec<Event>], params: Params) -> Vec<Lists> {
    let mut model = Model::new(params);
    epochs
        .iter()
        .map(|events| {
            events.iter().for_each(|event| model.apply(event));
            model.end_epoch();
            model.lists()
        })
        .collect()
}

/// Fails, naming the first epoch and item, where the dataflow differs from the model.
pub(crate) fn check(epochs: &[Vec<Event>], params: Params, workers: usize) {
    let (expected, actual) = (model(epochs, params), run(epochs, params, workers));
    for (epoch, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        check_lists(expected, actual, &format_args!("{params:?} on {workers} workers, epoch {epoch}"));
    }
}

/// Fails, naming the first item, where the lists of `what` are not as expected.
pub(crate) fn check_lists(expected: &Lists, actual: &Lists, what: &dyn Display) {
    let mut items = expected.keys().chain(actual.keys());
    if let Some(item) = items.find(|&item| expected.get(item) != actual.get(item)) {
        panic!("{what}, item {item}:\nexpected {:?}\n  actual {:?}", expected.get(item), actual.get(item));
    }
}
