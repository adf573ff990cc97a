//! Snapshots of all baskets, taken while later epochs run: a dataflow that resumes from one, on any number of workers,
//! publishes the lists of one that was never stopped.

use crate::harness::{Lists, last, model, params};
use crate::shop::{cut, events, evidence, lengths};
use deltacart_dataflows::{
    Algorithm, BasketCopy, Epoch, Event, Measure, Params, Requests, SnapshotRequest, SnapshotSink,
    recommend_core,
};
use proptest::prelude::*;
use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

/// What the sinks of all workers have taken.
#[derive(Default)]
struct Taken {
    baskets: Vec<BasketCopy>,
    finished: usize,
}

/// A sink that is not ready every other time it is asked.
struct SlowSink {
    epoch: Epoch,
    asked: Cell<u32>,
    taken: Arc<Mutex<Taken>>,
}

impl SnapshotSink for SlowSink {
    fn is_ready(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get().is_multiple_of(2)
    }

    fn take(&mut self, epoch: Epoch, mut baskets: Vec<BasketCopy>) {
        assert_eq!(epoch, self.epoch);
        self.taken.lock().unwrap().baskets.append(&mut baskets);
    }

    fn finish(&mut self, epoch: Epoch) {
        assert_eq!(epoch, self.epoch);
        self.taken.lock().unwrap().finished += 1;
    }
}

/// The baskets at the end of epoch `at`, which is not the last, copied while the later ones come.
pub(crate) fn copies(epochs: &[Vec<Event>], at: usize, params: Params, workers: usize) -> Vec<BasketCopy> {
    let taken: Arc<Mutex<Taken>> = Arc::default();
    let (shared, epochs) = (Arc::clone(&taken), epochs.to_vec());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        work(worker, &epochs, at as Epoch, params, &shared);
    });
    guards.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert_eq!(taken.finished, workers, "every worker finishes once");
    taken.baskets
}

fn work(worker: &mut Worker, epochs: &[Vec<Event>], at: Epoch, params: Params, shared: &Arc<Mutex<Taken>>) {
    let (index, peers) = (worker.index(), worker.peers());
    let sink = SlowSink { epoch: at, asked: Cell::new(0), taken: Arc::clone(shared) };
    let request = SnapshotRequest::new(Box::new(sink));
    let mut input = InputHandle::new();
    let requested = request.clone();
    let probe = worker.dataflow(|scope| {
        recommend_core(
            scope.input_from(&mut input),
            params,
            Requests { snapshots: Some(request), ..Requests::default() },
        )
        .lists
        .probe()
        .0
    });
    for (epoch, events) in (0..).zip(epochs) {
        if epoch == at {
            requested.request(epoch);
        }
        let mine = events.iter().enumerate().filter(|(number, _event)| number % peers == index);
        mine.for_each(|(_number, event)| input.send(event.clone()));
        input.advance_to(epoch + 1);
        // Some epochs are run to their end alone, others several together.
        if events.len().is_multiple_of(2) {
            worker.step_while(|| probe.less_than(&(epoch + 1)));
        } else {
            worker.step();
        }
    }
    // An open input keeps the operator: the job closes its own when the snapshot is done.
    worker.step_while(|| shared.lock().unwrap().finished < peers);
    input.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_dataflow_resumes_from_a_snapshot(
        events in events(),
        lengths in lengths(),
        at in 0usize..40,
        items_max in prop_oneof![Just(2usize), Just(100)],
        evidence in evidence(),
        idle in prop_oneof![Just(None), (1u64..80).prop_map(NonZeroU64::new)],
        workers in (1usize..4, 1usize..4),
    ) {
        let params = params(Algorithm::Fast, Measure::Cosine, 4);
        let params = Params { basket_items_max: items_max, basket_idle: idle, evidence, ..params };
        let mut epochs = cut(&events, &lengths);
        epochs.push(Vec::new());
        let at = at % (epochs.len() - 1);
        let expected: Lists = model(&epochs, params).pop().unwrap();

        let copies = copies(&epochs, at, params, workers.0);
        let held = (0..).zip(copies).flat_map(|(number, copy)| copy.into_events(number)).collect();
        let mut rest = vec![held];
        rest.extend_from_slice(&epochs[at + 1..]);
        prop_assert_eq!(&last(&rest, params, workers.1), &expected);
        prop_assert_eq!(model(&rest, params).pop().unwrap(), expected, "the model restores its baskets");
    }
}
