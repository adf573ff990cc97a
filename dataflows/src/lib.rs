//! The recommender as pure functions of collections: no Kafka, no JSON, no flags, no clock, no disk.
//!
//! ```text
//! events ─▶ number_items ─▶ baskets ─lines─▶ interactions ─▶ neighbours ─▶ forget ─▶ lists
//!           names, told      an ordered log    (basket, item)   counts on demand, │
//!           to everyone      per basket        each once        similarity, top-k │
//!              ▲                                                                  │
//!              └───────────────── items that no basket holds any more ◀───────────┘
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
pub use params::{Algorithm, ListParams, Params};

mod epochs;
pub use epochs::{EpochSession, PerEpoch};

mod numbers;

mod names;
pub use names::{Names, SharedNames, route};
use names::{Numbered, forget, number_items};

mod sampling;
pub use sampling::{Sampling, basket_level};

mod baskets;
pub use baskets::{BasketCopy, Baskets, Line, Note, SnapshotRequest, SnapshotSink, baskets, baskets_core};

mod interactions;
pub use interactions::interactions;

mod measure;
pub use measure::{Counts, Measure, Scoring};

mod reference;
pub use reference::{reference_neighbours, reference_neighbours_sampled};

mod neighbours;
pub use neighbours::{Neighbours, Work, neighbours, neighbours_core};

mod model;
pub use model::{Model, model_lists};

mod tight;

mod sizes;
pub use sizes::{StateCollector, StateStats};

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
    /// How the items are that are in too many baskets, where that is limited.
    pub sampling: Option<Sampling>,
    /// How much this worker holds.
    pub state_stats: StateCollector,
}

/// Maintains, for every item, the list of its `k` most similar items.
pub fn recommend<'scope>(events: StreamVec<'scope, Epoch, Event>, params: Params) -> Recommendations<'scope> {
    recommend_core(events, params, None)
}

/// The same, and copies all baskets whenever that is asked for.
pub fn recommend_core<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    params: Params,
    snapshots: Option<SnapshotRequest>,
) -> Recommendations<'scope> {
    let Numbered { events, names, reports } = number_items(events);
    let sampling = params.item_baskets_max.map(Sampling::new);
    let snapshots = snapshots.map(|request| (request, SharedNames::clone(&names)));
    let Baskets { lines, notes, held, ledger } = baskets_core(events, params, sampling.clone(), snapshots);
    let interactions = interactions(lines);
    let table = SharedNames::clone(&names);
    let Neighbours { lists, work, engine } = match params.algorithm {
        Algorithm::Fast => neighbours_core(interactions, table, params.lists, sampling.clone()),
        Algorithm::Reference => {
            let named = interactions.map(move |(basket, item)| (basket, table.borrow().name(item).clone()));
            let lists = match sampling.clone() {
                None => reference_neighbours(named, params.lists),
                Some(sampling) => reference_neighbours_sampled(named, params.lists, sampling),
            };
            Neighbours { lists, work: Work::default(), engine: None }
        }
    };
    let lists = forget(lists, held, SharedNames::clone(&names), reports);
    let state_stats = StateCollector { ledger, names, engine };
    Recommendations { lists, notes, work, sampling, state_stats }
}
