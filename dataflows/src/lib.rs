//! The recommender as pure functions of collections: no Kafka, no JSON, no flags, no clock, no disk.
//!
//! ```text
//! events ─▶ number_items ─▶ baskets ─lines─▶ interactions ─▶ neighbours ─▶ lists
//!           names, told      an ordered log    (basket, item)   counts on demand,
//!           to everyone      per basket        each once        similarity, top-k
//! ```
//!
//! [`recommend`] is this picture. Each box is a file and a function from collections to collections, so another
//! composition can use it. [`reference_neighbours`] is the last box as anyone would write it, and [`Model`] all of them
//! in plain loops: read those first.
//!
//! A published list is a function of the events taken in so far, whatever the workers, the batching and the timing.

mod types;
pub use types::*;

mod params;
pub use params::{Engine, ListParams, Params};

mod epochs;
pub use epochs::{EpochSession, PerEpoch};

mod numbers;

mod names;
pub use names::{Names, SharedNames, number_items};

mod baskets;
pub use baskets::{Baskets, Line, Note, baskets};

mod interactions;
pub use interactions::interactions;

mod measure;
pub use measure::{Counts, Measure, Scoring};

mod reference;
pub use reference::reference_neighbours;

mod neighbours;
pub use neighbours::{Neighbours, Work, neighbours};

mod model;
pub use model::{Model, model_lists};

use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;

/// What [`recommend`] maintains.
pub struct Recommendations<'scope> {
    /// The neighbour list of every item that has one.
    pub lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    /// What was odd about the events, each time it was.
    pub notes: StreamVec<'scope, Epoch, Note>,
    /// What this worker has done for the lists so far; the reference does not say.
    pub work: Work,
}

/// Maintains, for every item, the list of its `k` most similar items.
pub fn recommend<'scope>(events: StreamVec<'scope, Epoch, Event>, params: Params) -> Recommendations<'scope> {
    let (events, names) = number_items(events);
    let Baskets { lines, notes } = baskets(events, params.basket_items_max);
    let interactions = interactions(lines);
    let Neighbours { lists, work } = match params.engine {
        Engine::Fast => neighbours(interactions, names, params.lists),
        Engine::Reference => {
            let named = interactions.map(move |(basket, item)| (basket, names.borrow().name(item).clone()));
            Neighbours { lists: reference_neighbours(named, params.lists), work: Work::default() }
        }
    };
    Recommendations { lists, notes, work }
}
