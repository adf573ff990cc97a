//! 3 · Neighbours: from interactions to the lists that changed. Counts are computed on demand.
//!
//! ```text
//!               interactions             to each worker that owns         ┌────────────────────────────────┐
//!              ┌────────┐                an item of the basket            │ per item: postings, reserve    │ lists
//! interactions▶│ spread ├───────────────────────────────────────────────▶│ per basket: its items          ├──┬───▶
//!              └────────┘                supports and N, to every worker  │ per pair: an estimate, no more │  ▲
//!                                                                         └───────────────┬────────────────┘  │
//!                                                                                         │ parts of lists    │
//!                                                                                   ┌─────▼───────┐           │
//!                                                                                   │ merge parts ├───────────┘
//!                                                                                   └─────────────┘
//! ```
//!
//! One event changes a support, and with it the similarity of that item to every other. Few of all pairs that share a
//! basket are ever in a list. So no pair is stored: a count is kept where a list may need it, and computed elsewhere.
//!
//! The parts, in reading order:
//! - [`spread`] sends each change of a basket to the workers that own an item of it.
//! - The [`interaction_index`](crate::interaction_index) has the baskets of each item and the items of each basket. A
//!   count is an intersection, and a row one pass over the baskets of its item.
//! - [`supports`] has n(item) and N; [`sample`] chooses the lines that count, where items are in too many baskets.
//! - [`placement`] says which rows a worker keeps. The rows of very frequent items are shared by all workers, and
//!   [`merge_parts`] makes their lists whole.
//! - [`pair_changes`] turns an epoch's changes of baskets into changes of each row's counts.
//! - [`kept_pairs`] reads exact counts of the pairs that a worker keeps, and that a [`PairFilter`] admits.
//! - [`row`] has a **reserve** of candidates with exact counts. It promises that everything else is behind its
//!   **floor**. Estimates bound the counts of what it leaves out. While an estimate is behind the floor, a change of
//!   that pair costs nothing more.
//! - [`engine`] takes an epoch's updates, and ranks each row once whose list may have changed.
//!
//! # Notes
//! Lists are exact, ties included. The tests compare every epoch with the reference dataflow and with the plain model.

mod spread;

mod supports;

mod sample;

mod placement;

mod merge_parts;

mod pair_changes;

mod pair_filter;
pub use pair_filter::{AllPairs, PairFilter};

mod kept_pairs;

mod row;

mod engine;

use crate::epochs::{EpochSession, per_epoch_of_two};
use crate::interaction_index::{IndexFollower, NoFollower};
use crate::state_stats::Measured;
use crate::{Diff, Epoch, Interaction, Item, ListParams, NumberedList, Sampling, SharedNames};
use differential_dataflow::{AsCollection, VecCollection};
use engine::{Emitted, Engine};
use merge_parts::{Part, merge_parts};
use spread::{Routed, Update, spread, target};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange as ExchangePact, Pipeline};
use timely::dataflow::operators::core::{Concat, Exchange, OkErr};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Filter, Map};

/// The lists of a dataflow, and what they cost.
pub struct Neighbours<'scope> {
    /// The list of every item that has one. Items are numbers here.
    pub lists: VecCollection<'scope, Epoch, (Item, NumberedList), Diff>,
    /// The work of this worker so far.
    pub work: Work,
    /// The updates of the workers, before they are exchanged.
    updates: StreamVec<'scope, Epoch, Routed>,
    /// The engine, to be measured.
    pub(crate) engine: Rc<RefCell<dyn Measured>>,
}

/// Units of work that a worker has done so far: pairs read, items read in recounts, baskets looked at for
/// single counts, and entries ranked. Unlike time it is the same on every machine, so it says how evenly
/// workers are loaded.
pub type Work = Rc<Cell<u64>>;

/// Maintains the list of every item that has one.
///
/// - `interactions` must lie with the owners of their baskets: on worker `basket.owner(workers)`. Each interaction must
///   be there once. Numbers must be dense, because state takes memory for every number up to the largest.
/// - `names` must have the name of every item of an epoch before the epoch is closed. They break ties.
///
/// Work per epoch follows the lists that can have changed. Memory:
/// - 8 bytes per interaction, on each worker that has a copy of its basket;
/// - per item a reserve of `k + 10` to `2 k + 12` candidates of 8 bytes, and a list of 16 bytes per entry;
/// - half a byte to 2 bytes of estimates for each pair that is left out.
///
/// # Panics
/// The worker panics if an interaction lies with another worker, or is inserted twice.
///
/// # Examples
/// Tea and milk share a basket:
///
/// ```
/// use deltacart_dataflows::{
///     Basket, Interaction, Item, ListParams, Measure, Names, Neighbour, NumberedList, Scoring, SharedNames,
///     neighbours,
/// };
/// use differential_dataflow::AsCollection;
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, ToStream};
///
/// let captured = timely::example(|scope| {
///     let (tea, milk) = (Item::new(0), Item::new(1));
///     let names = SharedNames::default();
///     names.borrow_mut().insert(tea, &"tea".into());
///     names.borrow_mut().insert(milk, &"milk".into());
///     let basket = Basket::new(0);
///     let lines = [(Interaction::new(basket, tea), 0, 1), (Interaction::new(basket, milk), 0, 1)];
///     let params = ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true };
///     neighbours(lines.to_stream(scope).as_collection(), names, params).lists.inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_time, updates)| updates).collect();
/// let list = |item| NumberedList::from([Neighbour { item: Item::new(item), score: 1000, count: 1 }]);
/// assert_eq!(updates, [((Item::new(0), list(1)), 0, 1), ((Item::new(1), list(0)), 0, 1)]);
/// ```
pub fn neighbours<'scope>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    names: SharedNames,
    params: ListParams,
) -> Neighbours<'scope> {
    neighbours_core(interactions, names, params, None, AllPairs)
}

/// Maintains the list of every item that has one, of the pairs that `filter` admits.
///
/// With `sampling`, the counts of items in too many baskets are estimates. Its levels of baskets must have been set
/// before the interactions of the basket arrive. [`neighbours`] says what else must hold.
pub fn neighbours_core<'scope, F: PairFilter>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    names: SharedNames,
    params: ListParams,
    sampling: Option<Sampling>,
    filter: F,
) -> Neighbours<'scope> {
    let nobody_asks = empty(interactions.scope());
    let nobody = Rc::new(RefCell::new(NoFollower));
    neighbours_followed(interactions, names, params, sampling, filter, nobody, nobody_asks).0
}

/// What the operator emits: the changes of lists, parts of lists, and replies of the follower.
#[derive(Clone)]
enum Output<R> {
    Emitted(Emitted),
    Reply(R),
}

/// What the operator emits beside lists.
#[derive(Clone)]
enum Aside<R> {
    Part(Part),
    Reply(R),
}

/// Maintains the lists, and a follower of the index, which gets its questions on this worker.
pub(crate) fn neighbours_followed<'scope, F: PairFilter, I: IndexFollower>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    names: SharedNames,
    params: ListParams,
    sampling: Option<Sampling>,
    filter: F,
    follower: Rc<RefCell<I>>,
    questions: StreamVec<'scope, Epoch, I::Question>,
) -> (Neighbours<'scope>, StreamVec<'scope, Epoch, I::Reply>) {
    let scope = interactions.scope();
    let (index, workers) = (scope.index(), scope.peers());
    let engine = Engine::new(index, workers, params, SharedNames::clone(&names), sampling.clone(), filter);
    let shared = Rc::new(RefCell::new(engine));
    let engine = Rc::clone(&shared);
    let work = Work::default();
    let done = Work::clone(&work);
    let updates = spread(interactions, sampling);
    let inputs = ((updates.clone(), ExchangePact::new(target)), (questions, Pipeline));
    let logic = move |epoch,
                      updates: &mut Vec<Routed>,
                      questions: &mut Vec<I::Question>,
                      session: &mut EpochSession<'_, '_, (Epoch, Output<I::Reply>)>| {
        let mut engine = engine.borrow_mut();
        let is_done = engine.step(updates, &mut |emitted| session.give((epoch, Output::Emitted(emitted))));
        if is_done {
            engine.follow(&mut *follower.borrow_mut(), questions, &mut |reply| {
                session.give((epoch, Output::Reply(reply)))
            });
        }
        done.set(engine.work());
        is_done
    };
    let outputs = per_epoch_of_two(inputs.0, inputs.1, "Neighbours", logic);
    let (lists, asides): (_, StreamVec<'_, Epoch, Aside<I::Reply>>) =
        outputs.ok_err(|(epoch, output)| match output {
            Output::Emitted(Emitted::List { item, list, diff }) => Ok(((item, list), epoch, diff)),
            Output::Emitted(Emitted::Part(part)) => Err(Aside::Part(part)),
            Output::Reply(reply) => Err(Aside::Reply(reply)),
        });
    let (parts, replies) = asides.ok_err(|aside| match aside {
        Aside::Part(part) => Ok(part),
        Aside::Reply(reply) => Err(reply),
    });
    let lists = lists.concat(merge_parts(parts, names, params)).as_collection();
    (Neighbours { lists, work, updates, engine: shared }, replies)
}

/// A change of what every worker knows of the items and of the baskets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SupportChange {
    /// The support of an item changed by this much.
    Item(Item, i32),
    /// The number of baskets that are not empty changed by this much.
    Total(i32),
}

impl<'scope> Neighbours<'scope> {
    /// The changes of supports and of N, by every worker, on this worker.
    pub(crate) fn support_changes(&self) -> StreamVec<'scope, Epoch, SupportChange> {
        let is_support = |(_worker, update): &Routed| !matches!(update, Update::Line { .. });
        let changes = self.updates.clone().filter(is_support).exchange(target);
        changes.flat_map(|(_worker, update)| match update {
            Update::Support { item, diff } => Some(SupportChange::Item(item, diff)),
            Update::Total { diff } => Some(SupportChange::Total(diff)),
            Update::Line { .. } => None,
        })
    }
}
