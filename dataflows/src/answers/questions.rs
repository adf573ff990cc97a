//! Questions as subjects: names become numbers, and the worker that got a question owns it.
//!
//! ```text
//! questions ─▶ names of items become numbers ─▶ to the owner of the basket: its name becomes a number ─▶ subjects
//!                                                            ▲
//!                                       states of baskets ───┘
//! ```

use crate::answers::carts::Asked;
use crate::answers::params::AnswerParams;
use crate::answers::query::{Ask, Question, Subject};
use crate::epochs::{PerEpoch, per_epoch_of_two};
use crate::names::{Names, SharedNames, route};
use crate::state_stats::{Measured, StateCollector, StateStats};
use crate::{Basket, BasketState, Epoch, Item, Name};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

/// The numbers of the baskets of one worker. It is kept only where questions may name a basket.
#[derive(Default)]
struct Numbers(HashMap<Name, Basket, RandomState>);

/// A question with the name of its own basket.
type Named = (Option<Name>, Box<Ask>);

/// The `questions` of this worker as subjects. `params` says how those are answered that do not say so themselves.
///
/// `states` are the changed baskets of this worker. An epoch's frontier must not pass here before the epoch's names
/// have arrived.
pub(super) fn questions<'scope>(
    questions: StreamVec<'scope, Epoch, Question>,
    states: StreamVec<'scope, Epoch, BasketState>,
    names: SharedNames,
    params: AnswerParams,
    state_stats: &mut StateCollector,
) -> StreamVec<'scope, Epoch, Asked> {
    let owner = questions.scope().index() as u32;
    let asks = questions.per_epoch(Pipeline, "Questions", move |_epoch, questions, session| {
        let names = names.borrow();
        for mut question in questions.drain(..) {
            let basket = question.basket.take();
            session.give((basket, Box::new(ask(question, &names, owner, params))));
        }
    });
    let shared = Rc::new(RefCell::new(Numbers::default()));
    let numbers = Rc::clone(&shared);
    state_stats.add(shared);
    let to_basket = Exchange::new(move |(basket, _ask): &Named| match basket {
        Some(basket) => route(basket),
        None => u64::from(owner),
    });
    let (states, asks) = ((states, Pipeline), (asks, to_basket));
    per_epoch_of_two(states, asks, "QuestionBaskets", move |_epoch, states, asks, session| {
        let Numbers(numbers) = &mut *numbers.borrow_mut();
        for BasketState { name, basket, lines, .. } in states.drain(..) {
            match lines.is_empty() {
                true => numbers.remove(&name),
                false => numbers.insert(name, basket),
            };
        }
        for (basket, mut ask) in asks.drain(..) {
            ask.baskets.extend(basket.and_then(|basket| numbers.get(&basket)));
            session.give(Asked::Ask(ask));
        }
        true
    })
}

impl Measured for Numbers {
    fn add_to(&self, stats: &mut StateStats) {
        stats.subjects_bytes += self.0.allocation_size() as u64;
    }
}

/// What a question asks, but for its basket.
fn ask(question: Question, names: &Names, owner: u32, params: AnswerParams) -> Ask {
    let Question { number, items: given, user, basket: _, k, params: own } = question;
    let params = own.unwrap_or(params);
    let mut items: Vec<Item> = Vec::new();
    for item in given.iter().filter_map(|name| names.item(name)) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    let excluded = params.exclude.of(items.iter().copied(), &items);
    items.truncate(params.items);
    let users = user.into_iter().collect();
    Ask { subject: Subject::Question(number), owner, k, params, items, baskets: Vec::new(), excluded, users }
}
