//! What the workers of a cluster tell each other: which epoch it is, and that it is time to stop.
//!
//! Worker 0 calls the epochs. The call is the frontier of an input that only worker 0 holds, so every worker sees it as
//! it sees any progress, whatever the clocks of their machines say. A stop is a record sent to everyone, so a signal to
//! one process ends the job on all.

use deltacart_dataflows::Epoch;
use std::cell::Cell;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type Handle = InputHandle<Epoch, CapacityContainerBuilder<Vec<()>>>;

/// A worker's end of the line.
pub(super) struct Control {
    /// Worker 0's.
    epochs: Option<Handle>,
    called: ProbeHandle<Epoch>,
    /// To tell the others; gone when they have been told.
    stop: Option<Handle>,
    stopped: Rc<Cell<bool>>,
}

impl Control {
    pub(super) fn new(worker: &mut Worker) -> Self {
        let (mut epochs, mut stop) = (Handle::new(), Handle::new());
        let stopped = Rc::new(Cell::new(false));
        let told = Rc::clone(&stopped);
        let called = worker.dataflow_named("Control", |scope| {
            scope.input_from(&mut stop).broadcast().inspect(move |()| told.set(true));
            scope.input_from(&mut epochs).probe().0
        });
        let epochs = (worker.index() == 0).then_some(epochs);
        Control { epochs, called, stop: Some(stop), stopped }
    }

    /// Calls an epoch; only worker 0 does.
    pub(super) fn call(&mut self, epoch: Epoch) {
        if let Some(epochs) = &mut self.epochs {
            epochs.advance_to(epoch);
        }
    }

    /// The epoch that was called last.
    pub(super) fn called(&self) -> Option<Epoch> {
        self.called.with_frontier(|frontier| frontier.first().copied())
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
}
