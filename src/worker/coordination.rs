//! Coordination between the workers of a cluster: calling epochs, announcing snapshots, passing stages and stopping.
//!
//! - **Epochs.** Worker 0 calls them. A call is the frontier of an input that only worker 0 holds, so all workers see
//!   it as timely progress, whatever their machines' clocks say.
//! - **Used epochs.** A worker that has read records into its epoch reports that to worker 0. While no worker has, no
//!   epoch is called, and an idle job sleeps.
//! - **Stop.** A stop is a record that is broadcast to all workers, so a signal to one process ends the job
//!   everywhere.
//! - **Stages.** All workers of a start pass the same [`Stage`]s in order, each with a number. A worker sees when all
//!   have passed a stage, and the largest of their numbers.
//! - **Snapshots.** Worker 0 announces a snapshot as a record at the epoch at whose end it is taken, before it calls
//!   the next epoch. No worker ends an epoch before the next one is called, and by then all have seen the record.
//! - **End.** When worker 0 closes the input of calls, all workers close their inputs, and the job is over.

use deltacart_dataflows::Epoch;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// An epoch, and the number of the snapshot that is taken at its end.
pub(super) type Announcement = (Epoch, u64);

type Handle<T = ()> = InputHandle<Epoch, CapacityContainerBuilder<Vec<T>>>;

/// A stage of a start. All workers pass one before any of them begins the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Worker 0 has taken over its part of the output.
    Claimed = 1,
    /// All workers have taken over their parts. No earlier run can write any more.
    Fenced,
    /// Worker 0 still owns its part, so no later start has taken it over.
    Confirmed,
    /// The output has been read back. The number is one more than its largest epoch, or 0 if it has none.
    ConsumerState,
    /// The records present at the start have been read. The number is the epoch that they end in.
    CaughtUp,
    /// The difference to the consumer state has been delivered.
    Published,
}

/// One worker's handles for coordination.
pub(super) struct Coordination {
    /// The input of calls and announcements; only worker 0 has it.
    epochs: Option<Handle<Announcement>>,
    announced: Rc<Cell<Option<Announcement>>>,
    called: ProbeHandle<Epoch>,
    /// Reports to worker 0 which epoch has records.
    used: Handle<Epoch>,
    /// The last epoch that this worker reported as used.
    reported: Option<Epoch>,
    /// The largest epoch that any worker reported as used; only worker 0 learns it.
    used_by_any: Rc<Cell<Option<Epoch>>>,
    /// Broadcasts the stop; `None` once it has been sent.
    stop: Option<Handle>,
    stopped: Rc<Cell<bool>>,
    stages: Handle<(u64, u64)>,
    passed: ProbeHandle<Epoch>,
    /// The largest number that was passed with each stage.
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

    /// Calls an epoch. It has no effect on workers other than 0.
    pub(super) fn call(&mut self, epoch: Epoch) {
        if let Some(epochs) = self.epochs.as_mut().filter(|epochs| *epochs.time() < epoch) {
            epochs.advance_to(epoch);
        }
    }

    /// Announces a snapshot at the end of the epoch called last, and calls the next epoch. Returns the snapshot's
    /// epoch; `None` on workers other than 0.
    pub(super) fn announce(&mut self, snapshot: u64) -> Option<Epoch> {
        let epochs = self.epochs.as_mut()?;
        let epoch = *epochs.time();
        epochs.send((epoch, snapshot));
        epochs.advance_to(epoch + 1);
        Some(epoch)
    }

    /// The last snapshot that was announced.
    pub(super) fn announced(&self) -> Option<Announcement> {
        self.announced.get()
    }

    /// Ends the job: no more epochs are called. It has no effect on workers other than 0.
    pub(super) fn call_no_more(&mut self) {
        self.epochs = None;
    }

    /// The largest epoch that any worker has read records into, as far as worker 0 knows.
    pub(super) fn used_by_any(&self) -> Option<Epoch> {
        self.used_by_any.get()
    }

    /// The last epoch that was called; `None` when no more are called.
    pub(super) fn called(&self) -> Option<Epoch> {
        self.called.with_frontier(|frontier| frontier.first().copied())
    }

    /// Reports to worker 0 that this worker has read records into `epoch`.
    pub(super) fn report_used(&mut self, epoch: Epoch) {
        if self.reported < Some(epoch) {
            self.reported = Some(epoch);
            self.used.send(epoch);
            // NB: flushing alone leaves the record in the channel between workers. Closing the record's time sends
            // it.
            self.used.advance_to(epoch + 1);
        }
    }

    /// Whether worker 0 knows of records in `called`, the last epoch that was called.
    pub(super) fn is_used(&self, called: Epoch) -> bool {
        self.used_by_any.get() >= Some(called)
    }

    /// Asks every worker to stop.
    pub(super) fn stop_all(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            stop.send(());
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Passes a stage. All workers must have passed the stages before it.
    pub(super) fn pass(&mut self, stage: Stage, number: u64) {
        self.stages.send((stage as u64, number));
        self.stages.advance_to(stage as u64);
    }

    /// The largest number of a stage, once all workers have passed it; before that, `None`.
    pub(super) fn all_passed(&self, stage: Stage) -> Option<u64> {
        let stage = stage as u64;
        let all = !self.passed.less_than(&stage);
        all.then(|| self.numbers.borrow().get(&stage).copied().unwrap_or(0))
    }
}
