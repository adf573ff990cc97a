//! How changes go into a dataflow: as interactions, or as the events of a shop.
//!
//! A change is made into what the dataflow takes before the clock runs: decoding is not what is measured here.

use super::workload::Change;
use deltacart_dataflows::{Basket, Diff, Epoch, Event, Interaction, Item};
use differential_dataflow::input::InputSession;
use std::collections::VecDeque;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

/// The input of a worker's dataflow.
pub(crate) trait Intake {
    /// Makes changes a batch that is ready to be sent.
    fn prepare(&mut self, changes: &mut dyn Iterator<Item = Change>);

    /// Sends the batch that has been ready longest.
    fn send(&mut self);

    /// Ends the epoch; `next` comes.
    fn advance_to(&mut self, next: Epoch);
}

/// Interactions, for the engines.
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

/// Events with names, for the whole pipeline.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) input: EventInput,
    ready: VecDeque<Vec<Event>>,
    /// How many there were before: an event's place in the input.
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
