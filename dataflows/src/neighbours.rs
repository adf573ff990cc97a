//! 3, 4 · Neighbours: counts on demand, and the changed lists.
//!
//! ```text
//!               (basket, item)          to each worker that owns        ┌────────────────────────────────┐
//!              ┌────────┐               an item of the basket           │ per item: postings, reserve    │
//! interactions─▶ spread ├──────────────────────────────────────────────▶│ per basket: its items          │──▶ lists
//!              └────────┘  supports and the number of baskets, to all   │ per pair: an estimate, no more │
//!                                                                       └────────────────────────────────┘
//! ```
//!
//! One event changes a support, and so the similarity of that item to every other; and of all pairs that ever share a
//! basket few are in a list. So no pair is stored. A count is kept where it matters and computed where it is asked for:
//!
//! - [`store`] has the interactions twice: the baskets of each item, the items of each basket. Any count is an
//!   intersection, any row one pass over the baskets of its item.
//! - [`changes`] turns an epoch's changes of baskets round: for each row, all pairs that came and went, added up in
//!   [`tally`].
//! - [`row`] keeps, per item, a **reserve** of candidates with exact counts. Everything else is left out, with the
//!   promise that its bound does not pass the row's **floor**.
//! - [`estimate`] has a byte per hashed pair that is left out, never below the true count. While even the estimate
//!   stays under the floor, a pair that comes or goes costs nothing more.
//! - [`engine`] takes an epoch's changes, asks for the few exact counts, and ranks each touched row once;
//!   [`watchers`] knows which rows a moved support touches.
//!
//! Row a lives on the worker that owns a, with a copy of every basket that holds an item of that worker ([`spread`]);
//! so an event crosses the network once per worker concerned, and each worker makes its pairs for itself. Rows of very
//! frequent items are shared by all workers ([`placement`]), which tell the best of their parts to the owner
//! ([`merge`]).
//!
//! # Notes
//! Exact, ties and all: the tests compare every epoch with the reference dataflow and with the plain model.

mod spread;

mod store;

mod placement;

mod tally;

mod prefetch;

mod changes;

mod supports;

mod sample;

mod ranking;

mod counter;

mod estimate;

mod row;

mod touched;

mod watchers;

mod engine;

mod merge;

use crate::epochs::PerEpoch;
use crate::{Basket, Diff, Epoch, Item, List, ListParams, Name, Sampling, SharedNames};
use differential_dataflow::{AsCollection, VecCollection};
use engine::{Engine, Told};
use merge::merge;
use spread::spread;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::core::{Concat, OkErr};

/// The lists, and what they cost.
pub struct Neighbours<'scope> {
    /// The list of every item that has one.
    pub lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    /// What this worker has done so far.
    pub work: Work,
    /// What the lists are made of; the reference does not say.
    pub(crate) engine: Option<SharedEngine>,
}

/// A worker's engine, for the operator that drives it and for those who look between its steps.
pub(crate) type SharedEngine = Rc<RefCell<Engine>>;

/// Units of work a worker has done: pairs followed, items read in recounts, baskets looked at for single counts, and
/// entries ranked. Unlike time it is the same on every machine, so it tells how evenly workers are loaded.
pub type Work = Rc<Cell<u64>>;

/// Maintains the list of every item that has one, from counts on demand.
///
/// Work per epoch follows the lists that can have changed: see the module's header. Memory is 8 bytes per interaction
/// (and worker that holds a copy of its basket), and per item a reserve of 8 bytes for each of 20 to 32 candidates, a
/// list of 16 bytes an entry, and half a byte to 2 bytes of estimates for each pair that is left out.
pub fn neighbours<'scope>(
    interactions: VecCollection<'scope, Epoch, (Basket, Item), Diff>,
    names: SharedNames,
    params: ListParams,
) -> Neighbours<'scope> {
    neighbours_core(interactions, names, params, None)
}

/// The same, where a sample of baskets may speak for an item that is in too many.
pub fn neighbours_core<'scope>(
    interactions: VecCollection<'scope, Epoch, (Basket, Item), Diff>,
    names: SharedNames,
    params: ListParams,
    sampling: Option<Sampling>,
) -> Neighbours<'scope> {
    let scope = interactions.scope();
    let (index, workers) = (scope.index(), scope.peers());
    let engine = Engine::new(index, workers, params, SharedNames::clone(&names), sampling.clone());
    let shared = SharedEngine::new(RefCell::new(engine));
    let engine = Rc::clone(&shared);
    let work = Work::default();
    let done = Work::clone(&work);
    let (lists, parts) = spread(interactions, sampling)
        .per_epoch_in_steps(
            None,
            Exchange::new(spread::target),
            "Neighbours",
            move |epoch, updates, session| {
                let mut engine = engine.borrow_mut();
                let ended = engine.step(updates, &mut |told| match told {
                    Told::List(name, list, diff) => session.give(Ok(((name, list), epoch, diff))),
                    Told::Part(part) => session.give(Err(part)),
                });
                done.set(engine.work());
                ended
            },
        )
        .ok_err(|told| told);
    let lists = lists.concat(merge(parts, names, params)).as_collection();
    Neighbours { lists, work, engine: Some(shared) }
}
