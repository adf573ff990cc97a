//! How changes go into a dataflow: as interactions, or as the events of a shop.
//!
//! A change is made into what the dataflow takes before the clock runs: decoding is not what is measured here.

use super::workload::Change;
use deltacart_dataflows::{Basket, Diff, Epoch, Event, Item};
use differential_dataflow::input::InputSession;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

/// The input of a worker's dataflow.
pub(crate) trait Intake {
    /// Makes changes ready to be sent.
    fn prepare(&mut self, changes: &[Change]);

    /// Sends what is ready.
    fn send(&mut self);

    /// Ends the epoch; `next` comes.
    fn advance_to(&mut self, next: Epoch);
}

/// Interactions, for the engines.
pub(crate) struct Interactions {
    pub(crate) input: InputSession<Epoch, (Basket, Item), Diff>,
    ready: Vec<((Basket, Item), Diff)>,
}

impl Interactions {
    pub(crate) fn new() -> Self {
        Interactions { input: InputSession::new(), ready: Vec::new() }
    }
}

impl Intake for Interactions {
    fn prepare(&mut self, changes: &[Change]) {
        self.ready.extend(changes.iter().map(|change| ((change.basket, change.item), change.diff())));
    }

    fn send(&mut self) {
        // Taken, so that a large epoch's memory is given back.
        std::mem::take(&mut self.ready).into_iter().for_each(|(line, diff)| self.input.update(line, diff));
    }

    fn advance_to(&mut self, next: Epoch) {
        self.input.advance_to(next);
        self.input.flush();
    }
}

/// A timely input of events.
pub(crate) type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// Events with names, for the whole pipeline.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) input: EventInput,
    ready: Vec<Event>,
    /// How many there were before: an event's place in the input.
    sent: u64,
}

impl Events {
    pub(crate) fn push(&mut self, mut event: Event) {
        event.position.offset = self.sent;
        self.sent += 1;
        self.ready.push(event);
    }
}

impl Intake for Events {
    fn prepare(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.push(change.event(0)));
    }

    fn send(&mut self) {
        self.input.send_batch(&mut std::mem::take(&mut self.ready));
    }

    fn advance_to(&mut self, next: Epoch) {
        self.input.advance_to(next);
        self.input.flush();
    }
}
