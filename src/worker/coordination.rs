//! What the workers of a cluster tell each other: which epoch it is, and that it is time to stop.
//!
//! Worker 0 calls the epochs. The call is the frontier of an input that only worker 0 holds, so every worker sees it as
//! it sees any progress, whatever the clocks of their machines say. A worker that has read something tells worker 0
//! that its epoch is to end; where nobody has, no epoch is called, and an idle job sleeps. A stop is a record sent to
//! everyone, so a signal to one process ends the job on all.
//!
//! A start has *stages*: each worker passes them in their order, with a number, and sees when all have, and the largest
//! number.
//!
//! A snapshot is announced on the same input as epochs are called: a record at the epoch at whose end it is to be
//! taken, before the next one is called. No worker ends an epoch before it sees the next one called, and by then the
//! record has been seen by all. When worker 0 closes that input, everybody closes theirs: the job is over.

use deltacart_dataflows::Epoch;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// The snapshot of this number is to be taken at the end of this epoch.
pub(super) type Announcement = (Epoch, u64);

type Handle<T = ()> = InputHandle<Epoch, CapacityContainerBuilder<Vec<T>>>;

/// A step of a start that all workers take before any takes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Worker 0 has taken over its part of the output.
    Claimed = 1,
    /// So have all others, and nobody else can write.
    Fenced,
    /// Worker 0 still has its part: nobody came later.
    Confirmed,
    /// What consumers hold has been read. The number: one more than the largest epoch of it.
    ConsumerState,
    /// What was there to be read at the start has been. The number: the epoch it ended in.
    CaughtUp,
    /// What differed has arrived.
    Published,
}

/// A worker's end of the line.
pub(super) struct Coordination {
    /// Worker 0's.
    epochs: Option<Handle<Announcement>>,
    announced: Rc<Cell<Option<Announcement>>>,
    called: ProbeHandle<Epoch>,
    /// To tell worker 0 which epoch has something in it.
    used: Handle<Epoch>,
    /// The epoch that was told last.
    reported: Option<Epoch>,
    /// Worker 0's: the largest epoch that any worker has told.
    used_by_any: Rc<Cell<Option<Epoch>>>,
    /// To tell the others; gone when they have been told.
    stop: Option<Handle>,
    stopped: Rc<Cell<bool>>,
    stages: Handle<(u64, u64)>,
    passed: ProbeHandle<Epoch>,
    /// The largest number of each stage.
    numbers: Rc<RefCell<BTreeMap<u64, u64>>>,
}

impl Coordination {
    pub(super) fn new(worker: &mut Worker) -> Self {
        let (mut epochs, mut stop, mut used) = (Handle::<Announcement>::new(), Handle::new(), Handle::new());
        let stopped = Rc::new(Cell::new(false));
        let used_by_any = Rc::new(Cell::new(None));
        let announced = Rc::new(Cell::new(None));
        let newest = Rc::clone(&announced);
        let (is_stopped, latest) = (Rc::clone(&stopped), Rc::clone(&used_by_any));
        let mut stages = Handle::<(u64, u64)>::new();
        let numbers = Rc::new(RefCell::new(BTreeMap::<u64, u64>::new()));
        let largest = Rc::clone(&numbers);
        let (called, passed) = worker.dataflow_named("Control", |scope| {
            scope.input_from(&mut stop).broadcast().inspect(move |()| is_stopped.set(true));
            let used = scope.input_from(&mut used).exchange(|_epoch| 0);
            used.inspect(move |&epoch| latest.set(latest.get().max(Some(epoch))));
            let stages = scope.input_from(&mut stages).broadcast();
            let stages = stages.inspect(move |&(stage, number)| {
                let mut largest = largest.borrow_mut();
                let known = largest.entry(stage).or_default();
                *known = number.max(*known);
            });
            let announcements = scope.input_from(&mut epochs).broadcast();
            let announcements = announcements.inspect(move |&announcement| newest.set(Some(announcement)));
            (announcements.probe().0, stages.probe().0)
        });
        let epochs = (worker.index() == 0).then_some(epochs);
        let (stop, reported) = (Some(stop), None);
        Coordination {
            epochs,
            announced,
            called,
            used,
            reported,
            used_by_any,
            stop,
            stopped,
            stages,
            passed,
            numbers,
        }
    }

    /// Calls an epoch; only worker 0 does.
    pub(super) fn call(&mut self, epoch: Epoch) {
        if let Some(epochs) = self.epochs.as_mut().filter(|epochs| *epochs.time() < epoch) {
            epochs.advance_to(epoch);
        }
    }

    /// Announces that snapshot at the end of the epoch called last, which is returned, and calls the next; only worker
    /// 0 does.
    pub(super) fn announce(&mut self, snapshot: u64) -> Option<Epoch> {
        let epochs = self.epochs.as_mut()?;
        let epoch = *epochs.time();
        epochs.send((epoch, snapshot));
        epochs.advance_to(epoch + 1);
        Some(epoch)
    }

    /// The snapshot that was announced last.
    pub(super) fn announced(&self) -> Option<Announcement> {
        self.announced.get()
    }

    /// Ends the job: no more epochs are called. Only worker 0 does.
    pub(super) fn call_no_more(&mut self) {
        self.epochs = None;
    }

    /// The largest epoch that any worker has read something into, as far as worker 0 knows.
    pub(super) fn used_by_any(&self) -> Option<Epoch> {
        self.used_by_any.get()
    }

    /// The epoch that was called last.
    pub(super) fn called(&self) -> Option<Epoch> {
        self.called.with_frontier(|frontier| frontier.first().copied())
    }

    /// Tells worker 0 that this worker has read something into `epoch`.
    pub(super) fn report_used(&mut self, epoch: Epoch) {
        if self.reported < Some(epoch) {
            self.reported = Some(epoch);
            self.used.send(epoch);
            // NB: a flush alone leaves the record in the channel between workers; the end of its time sends it.
            self.used.advance_to(epoch + 1);
        }
    }

    /// Whether worker 0 knows of something in the epoch that was called last.
    pub(super) fn is_used(&self, called: Epoch) -> bool {
        self.used_by_any.get() >= Some(called)
    }

    /// Tells every worker to stop.
    pub(super) fn stop_all(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            stop.send(());
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Passes a stage: those before it have been passed by all.
    pub(super) fn pass(&mut self, stage: Stage, number: u64) {
        self.stages.send((stage as u64, number));
        self.stages.advance_to(stage as u64);
    }

    /// Whether all workers have passed the stage: then, the largest of their numbers.
    pub(super) fn all_passed(&self, stage: Stage) -> Option<u64> {
        let stage = stage as u64;
        let all = !self.passed.less_than(&stage);
        all.then(|| self.numbers.borrow().get(&stage).copied().unwrap_or(0))
    }
}
