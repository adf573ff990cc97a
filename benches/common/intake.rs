//! The inputs of a dataflow: changes enter as interactions, or as the events of a shop.
//!
//! Changes are converted to what the dataflow takes before the clock runs: decoding is not measured here.

use super::workload::Change;
use deltacart_dataflows::{Basket, Diff, Epoch, Event, Interaction, Item};
use differential_dataflow::input::InputSession;
use std::collections::VecDeque;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

/// The input of a worker's dataflow.
pub(crate) trait Intake {
    /// Converts changes to a batch that is ready to be sent.
    fn prepare(&mut self, changes: &mut dyn Iterator<Item = Change>);

    /// Sends the oldest batch that is ready.
    fn send(&mut self);

    /// Ends the current epoch, and begins `next`.
    fn advance_to(&mut self, next: Epoch);
}

/// Interactions, the input of the engines.
pub(crate) struct Interactions {
    pub(crate) input: InputSession<Epoch, Interaction, Diff>,
    ready: VecDeque<Vec<(Interaction, Diff)>>,
}

impl Interactions {
    pub(crate) fn new() -> Self {
        Interactions { input: InputSession::new(), ready: VecDeque::new() }
    }
}

impl Intake for Interactions {
    fn prepare(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        let interaction =
            |change: &Change| Interaction::new(Basket::new(change.basket), Item::new(change.item));
        self.ready.push_back(changes.map(|change| (interaction(&change), change.diff())).collect());
    }

    fn send(&mut self) {
        let batch = self.ready.pop_front().unwrap_or_default();
        batch.into_iter().for_each(|(interaction, diff)| self.input.update(interaction, diff));
    }

    fn advance_to(&mut self, next: Epoch) {
        self.input.advance_to(next);
        self.input.flush();
    }
}

/// A timely input of events.
pub(crate) type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// Events with names, the input of the whole pipeline.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) input: EventInput,
    ready: VecDeque<Vec<Event>>,
    /// The number of events so far, which is the next event's position in the input.
    made: u64,
}

impl Intake for Events {
    fn prepare(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        let first = self.made;
        let batch: Vec<Event> = changes.zip(first..).map(|(change, offset)| change.event(offset)).collect();
        self.made += batch.len() as u64;
        self.ready.push_back(batch);
    }

    fn send(&mut self) {
        self.input.send_batch(&mut self.ready.pop_front().unwrap_or_default());
    }

    fn advance_to(&mut self, next: Epoch) {
        self.input.advance_to(next);
        self.input.flush();
    }
}
