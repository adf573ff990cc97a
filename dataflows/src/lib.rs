//! The recommender as a dataflow: events of baskets in, changed neighbour lists out.
//!
//! No Kafka, no JSON, no flags, no clock and no disk. A published list is a function of the events taken in so far,
//! whatever the workers, the batching and the timing.
//!
//! ```text
//!                  ┌╌╌╌╌╌╌╌╌╌╌╌┬╌╌╌╌ names: item ⇄ name, one table per worker ╌╌╌╌╌╌╌╌╌┬╌╌╌╌╌╌╌╌╌╌╌╌┐
//!                  ╎           ╎                                 ╎                     ╎            ╎
//! events ─▶ number_items ─▶ baskets ─lines▶ interactions ─▶ neighbours ─numbered▶ name_lists ─▶ forget ─▶ lists
//!                  ▲         │ │ ╎                               ╎       lists                   ▲  │
//!                  │         │ │ └╌╌╌╌╌╌╌╌ sampling: levels ╌╌╌╌╌┘                               │  │
//!                  │         │ └────────── held: items that baskets hold, or hold no more ───────┘  │
//!                  │         └─▶ notes                                                              │
//!                  └──────────────── reports: held, released and forgotten items ───────────────────┘
//! ```
//!
//! The box `answers` stands beside it, and shares the index of `neighbours`:
//!
//! ```text
//! states of changed baskets, questions ─▶ answers ─▶ changed answers of carts and users, answers of questions
//! ```
//!
//! Solid lines are streams of the dataflow. [`recommend`] builds them, one statement per box:
//!
//! | box | what it does | exchange between workers |
//! |---|---|---|
//! | `number_items` | ids of items become numbers, known to every worker | new names, to all |
//! | [`baskets`] | the ordered events of each basket become lines | events, to the owner of the basket |
//! | [`interactions`] | which basket holds which item, whatever the quantity | none |
//! | [`neighbours`] | counts on demand, similarities, the k best | changes, to the owners of items |
//! | [`name_lists`] | numbers become names again | none |
//! | `forget` | reports which numbers may be reused, passes lists on | reports, to the owner of the item |
//!
//! Each public box is a function from collections to collections, so it can be used in another dataflow. `baskets` and
//! `neighbours` work per epoch: [`PerEpoch`] calls them once, when no more records of the epoch can come.
//!
//! Dotted lines are memory that boxes of one worker share. The frontier makes each of them safe:
//! - **names.** When an epoch is closed for a box, the table of every worker has the names of the epoch's items: they
//!   travel at that epoch, too. A name stays until every worker's `forget` has passed all epochs that may say its
//!   number. So every box in between finds it.
//! - **levels.** `baskets` sets the level of a basket before it emits the first line of it. `neighbours`
//!   reads the level when it handles that line's epoch, on the same worker. A basket's number keeps its level
//!   for ever.
//! - **state.** A [`StateCollector`] reads the ledger of `baskets`, the table of names and the engine of
//!   `neighbours`. It is called between two steps of the worker, when no box runs.
//!
//! [`reference_neighbours`] does what [`neighbours`] does as anyone would write it. [`Model`] does all of it in plain
//! loops. The tests compare all three at every epoch. Read those two first.

mod id_vec;

mod ids;
pub use ids::{Basket, Item};

mod types;
pub use types::*;

mod evidence;
pub use evidence::Evidence;

mod params;
pub use params::{Algorithm, ListParams, Params};

mod epochs;
pub use epochs::{EpochSession, PerEpoch};

mod state_stats;
pub use state_stats::{StateCollector, StateStats};

mod compact_vec;

mod interner;

mod names;
pub use names::{Names, SharedNames, name_lists, route};
use names::{Numbered, forget, number_items};

mod sampling;
pub use sampling::{Sampling, basket_level};

mod baskets;
pub use baskets::{
    BasketCopy, BasketState, Baskets, Line, Note, NoteCause, NoteKind, SnapshotRequest, SnapshotSink,
    StateLine, baskets, baskets_core,
};

mod interactions;
pub use interactions::{Interaction, Weight, interactions};

mod measure;
pub use measure::{Counts, Measure, Scoring};

mod reference;
pub use reference::{reference_neighbours, reference_neighbours_sampled};

mod prefetch;

mod interaction_index;

mod recent_baskets;

mod neighbours;
use neighbours::neighbours_followed;
pub use neighbours::{AllPairs, Neighbours, PairFilter, Work, neighbours, neighbours_core};

mod answers;
pub use answers::{
    AnswerParams, Blend, Combine, Exclude, Question, QuestionAnswer, Subject, Way, model_answers,
};
use answers::{Asking, NearBaskets};

mod predictions;
pub use predictions::{CartSample, Prediction};

mod model;
pub use model::{Model, ModelBasketState, model_lists};

use differential_dataflow::{AsCollection, VecCollection};
use state_stats::Measured;
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::core::{Concat, OkErr};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::Map;

/// The outputs of [`recommend`].
pub struct Recommendations<'scope> {
    /// The neighbour list of every item that has one.
    pub lists: NamedLists<'scope>,
    /// The answer of every open cart that has one. Empty without [`Params::answers`].
    pub carts: NamedLists<'scope>,
    /// The answer of every user who has one. Empty without [`Params::answers`].
    pub users: NamedLists<'scope>,
    /// The answer of each question, on the worker that it came to.
    pub question_answers: StreamVec<'scope, Epoch, QuestionAnswer>,
    /// What the answers of sampled carts said about the items that came next ([`Requests::predict`]).
    pub predictions: StreamVec<'scope, Epoch, Prediction>,
    /// One record each time that something was odd about an event or a basket.
    pub notes: StreamVec<'scope, Epoch, Note>,
    /// What each basket that an epoch changed holds at its end. Empty where [`Params::open_for`] is not set.
    pub states: StreamVec<'scope, Epoch, BasketState>,
    /// One record for each epoch in which an event forgot baskets of this worker.
    pub forgot: StreamVec<'scope, Epoch, ()>,
    /// The work of this worker for the lists so far. Stays 0 with [`Algorithm::Reference`].
    pub work: Work,
    /// The state of sampling, where the baskets of an item are limited.
    pub sampling: Option<Sampling>,
    /// Measures the state of this worker.
    pub state_stats: StateCollector,
}

/// Maintains, for every item, the list of its `k` most similar items.
///
/// Events may arrive on any worker and in any order within an epoch. Lists change when an epoch is closed: at most one
/// retraction and one insertion per item and epoch.
///
/// # Panics
/// If `params.basket_items_max` is 0.
///
/// # Examples
/// Tea and milk are in the same two carts, tea and a mug in one of them:
///
/// ```
/// use deltacart_dataflows::{
///     Action, Algorithm, Event, Evidence, ListParams, Measure, Params, Position, Scoring, recommend,
/// };
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, Input};
///
/// let params = Params {
///     algorithm: Algorithm::Fast,
///     lists: ListParams { k: 2, scoring: Scoring::new(Measure::Count), scores: true },
///     basket_items_max: 100,
///     basket_idle: None,
///     item_baskets_max: None,
///     evidence: Evidence::default(),
///     open_for: None,
///     answers: None,
/// };
/// let carts = [("ann", "tea"), ("ann", "milk"), ("ben", "tea"), ("ben", "milk"), ("ben", "mug")];
/// let captured = timely::execute_directly(move |worker| {
///     let (mut input, captured) = worker.dataflow(|scope| {
///         let (input, events) = scope.new_input();
///         (input, recommend(events, params).lists.inner.capture())
///     });
///     for (offset, (basket, item)) in (0..).zip(carts) {
///         let position = Position { offset, ..Position::default() };
///         let action = Action::Add(item.into(), 1);
///         input.send(Event { position, basket: basket.into(), user: None, time: 0, action });
///     }
///     captured
/// });
/// let updates = captured.extract().into_iter().flat_map(|(_time, updates)| updates);
/// let tea = updates.into_iter().find(|((item, _list), _epoch, _diff)| item == "tea").expect("tea has a list");
/// let ((_item, list), epoch, diff) = tea;
/// let list: Vec<_> = list.iter().map(|neighbour| (neighbour.item.as_str(), neighbour.count)).collect();
/// assert_eq!((list.as_slice(), epoch, diff), ([("milk", 2), ("mug", 1)].as_slice(), 0, 1));
/// ```
pub fn recommend<'scope>(events: StreamVec<'scope, Epoch, Event>, params: Params) -> Recommendations<'scope> {
    recommend_core(events, params, Requests::default())
}

/// What a dataflow is asked beside its events.
#[derive(Default)]
pub struct Requests<'scope> {
    /// Requests for snapshots of all baskets.
    pub snapshots: Option<SnapshotRequest>,
    /// Questions. Each is answered on the worker that it comes to.
    pub questions: Option<StreamVec<'scope, Epoch, Question>>,
    /// The carts whose answers are compared with what comes into the cart next.
    pub predict: Option<CartSample>,
}

/// Maintains the lists and the answers, and serves requests.
///
/// Answers need [`Algorithm::Fast`] and [`Params::open_for`].
///
/// # Panics
/// If there are answers by baskets, and the baskets of an item are limited ([`Params::item_baskets_max`]): the index
/// then lacks lines.
pub fn recommend_core<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    params: Params,
    requests: Requests<'scope>,
) -> Recommendations<'scope> {
    let scope = events.scope();
    let mut state_stats = StateCollector::default();
    let Numbered { events, names, reports } = number_items(events);
    let sampling = params.item_baskets_max.map(Sampling::new);
    let Requests { snapshots, questions, predict } = requests;
    let snapshots = snapshots.map(|request| (request, SharedNames::clone(&names)));
    // Not before the names of its epoch have arrived.
    let questions = questions.map(|questions| questions.concat(events.clone().flat_map(|_event| None)));
    let table = SharedNames::clone(&names);
    let note_item = move |item| table.borrow().name(item).clone();
    let Baskets { lines, notes, states, forgot, refreshes, held, ledger } =
        baskets_core(events, params, sampling.clone(), snapshots, note_item);
    let interactions = interactions(lines);
    let asking = params.answers.map(|answers| Asking {
        states: states.clone(),
        forgot: forgot.clone(),
        refreshes,
        questions,
        params: answers,
    });
    let Answered { lists, answers, work } = match params.algorithm {
        Algorithm::Fast => {
            fast(interactions, &names, params.lists, sampling.clone(), asking, &mut state_stats)
        }
        Algorithm::Reference => reference(interactions, &names, params.lists, sampling.clone()),
    };
    let (carts, users, question_answers) = by_kind(answers.clone());
    let predictions = match predict {
        Some(sample) => {
            let table = SharedNames::clone(&names);
            predictions::predictions(states.clone(), carts.clone(), sample, table, &mut state_stats)
        }
        None => empty(scope),
    };
    // Names of an epoch stay until its lists, its answers and its predictions are there.
    let held = held.concat(answers.inner.flat_map(|_answer| None));
    let held = held.concat(predictions.clone().flat_map(|_prediction| None));
    let lists = forget(lists, held, SharedNames::clone(&names), reports);
    state_stats.add(ledger);
    state_stats.add(names);
    Recommendations {
        lists,
        carts,
        users,
        question_answers,
        predictions,
        notes,
        states,
        forgot,
        work,
        sampling,
        state_stats,
    }
}

/// Lists and answers, with names.
struct Answered<'scope> {
    lists: VecCollection<'scope, Epoch, (Name, List), Diff>,
    answers: VecCollection<'scope, Epoch, (Subject, List), Diff>,
    work: Work,
}

/// The lists by the reference dataflow. It has no answers.
fn reference<'scope>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    names: &SharedNames,
    params: ListParams,
    sampling: Option<Sampling>,
) -> Answered<'scope> {
    let (scope, table) = (interactions.scope(), SharedNames::clone(names));
    let named = interactions.map(move |Interaction { basket, item, weight }| Interaction {
        basket,
        item: table.borrow().name(item).clone(),
        weight,
    });
    let lists = match sampling {
        None => reference_neighbours(named, params),
        Some(sampling) => reference_neighbours_sampled(named, params, sampling),
    };
    Answered { lists, answers: empty(scope).as_collection(), work: Work::default() }
}

/// The lists by [`neighbours`], and the answers by its index.
fn fast<'scope>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    names: &SharedNames,
    params: ListParams,
    sampling: Option<Sampling>,
    asking: Option<Asking<'scope>>,
    state_stats: &mut StateCollector,
) -> Answered<'scope> {
    let scope = interactions.scope();
    let table = SharedNames::clone(names);
    let Some(asking) = asking else {
        let found = neighbours_core(interactions, table, params, sampling, AllPairs);
        let lists = name_lists(found.lists, SharedNames::clone(names));
        state_stats.add(found.engine);
        return Answered { lists, answers: empty(scope).as_collection(), work: found.work };
    };
    let (states, answers) = (asking.states.clone(), asking.params);
    let subjects = asking.subjects(SharedNames::clone(names), state_stats);
    let (found, near) = if answers.uses_baskets() {
        assert!(sampling.is_none(), "answers by baskets need every line in the index");
        let questions = subjects.index_questions(states);
        let follower = Rc::new(RefCell::new(NearBaskets::new(answers.recent)));
        state_stats.add(Rc::clone(&follower) as Rc<RefCell<dyn Measured>>);
        neighbours_followed(interactions, table, params, sampling, AllPairs, follower, questions)
    } else {
        (neighbours_core(interactions, table, params, sampling, AllPairs), empty(scope))
    };
    let supports = found.support_changes();
    let (lists, table) = (found.lists.clone(), SharedNames::clone(names));
    let answers = subjects.answers(near, lists, supports, table, params, answers.uses_lists());
    let lists = name_lists(found.lists, SharedNames::clone(names));
    state_stats.add(found.engine);
    Answered { lists, answers, work: found.work }
}

/// A change of an answer: the answer, its epoch, and +1 or −1.
type AnswerChange = ((Subject, List), Epoch, Diff);

/// Lists by the name of what they are for: an item, a cart or a user.
pub type NamedLists<'scope> = VecCollection<'scope, Epoch, (Name, List), Diff>;

/// The answers of carts, those of users, and those of questions.
fn by_kind<'scope>(
    answers: VecCollection<'scope, Epoch, (Subject, List), Diff>,
) -> (NamedLists<'scope>, NamedLists<'scope>, StreamVec<'scope, Epoch, QuestionAnswer>) {
    let (carts, others): (_, StreamVec<'_, Epoch, AnswerChange>) =
        answers.inner.ok_err(|((subject, list), epoch, diff)| match subject {
            Subject::Cart(cart) => Ok(((cart, list), epoch, diff)),
            other => Err(((other, list), epoch, diff)),
        });
    let (users, questions) = others.ok_err(|((subject, list), epoch, diff)| match subject {
        Subject::User(user) => Ok(((user, list), epoch, diff)),
        other => Err((other, list)),
    });
    let questions = questions.flat_map(|(subject, list)| match subject {
        Subject::Question(number) => Some(QuestionAnswer { number, list }),
        Subject::Cart(_) | Subject::User(_) => None,
    });
    (carts.as_collection(), users.as_collection(), questions)
}
