//! Carts as subjects: which baskets are open carts, and what they ask.
//!
//! A basket is an **open cart** while its customer wants an item of it ([`StateLine::is_wanted`](crate::StateLine)),
//! and it was touched not too long ago (`--open-for`). A purchase of all that is wanted closes it, and so does time.

use crate::answers::open_subjects::{OpenSubjects, Tick};
use crate::answers::params::AnswerParams;
use crate::answers::query::{Ask, Subject};
use crate::epochs::PerEpoch;
use crate::state_stats::{Measured, StateCollector, StateStats, bytes};
use crate::{Basket, BasketState, Epoch, Item, Name};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::Concat;
use timely::dataflow::operators::vec::{Filter, Map};

/// A subject of an epoch: what it asks, or that it is closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// It is answered.
    Ask(Box<Ask>),
    /// Its answer is withdrawn. The worker is its owner.
    Closed(Subject, u32),
}

impl Asked {
    /// The worker that owns the subject.
    pub(super) fn owner(&self) -> u32 {
        match self {
            Asked::Ask(ask) => ask.owner,
            Asked::Closed(_subject, owner) => *owner,
        }
    }
}

/// An open cart.
struct Cart {
    basket: Basket,
    users: Vec<Name>,
    /// The items that are wanted, the most recently touched first.
    items: Vec<Item>,
}

/// What the operator gets.
#[derive(Clone)]
enum Input {
    State(BasketState),
    Tick(Tick),
}

/// The open carts among the baskets of each worker, as subjects.
pub(super) fn carts<'scope>(
    states: StreamVec<'scope, Epoch, BasketState>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    params: AnswerParams,
    state_stats: &mut StateCollector,
) -> StreamVec<'scope, Epoch, Asked> {
    let owner = states.scope().index() as u32;
    let shared = Rc::new(RefCell::new(OpenSubjects::new(params.refresh_max)));
    let open = Rc::clone(&shared);
    state_stats.add(shared);
    let states = states.filter(move |_state| params.carts > 0);
    let inputs = states.map(Input::State).concat(ticks.map(Input::Tick));
    inputs.per_epoch(Pipeline, "Carts", move |epoch, inputs, session| {
        let mut open = open.borrow_mut();
        let mut tick = None;
        for input in inputs.drain(..) {
            match input {
                Input::State(state) => change(&mut open, state),
                Input::Tick(now) => tick = tick.max(Some(now)),
            }
        }
        open.end_epoch(epoch, tick, |name, cart| {
            session.give(match cart {
                Some(cart) => Asked::Ask(Box::new(ask(name, cart, owner, params))),
                None => Asked::Closed(Subject::Cart(name), owner),
            });
        });
    })
}

impl Measured for OpenSubjects<Cart> {
    fn add_to(&self, stats: &mut StateStats) {
        stats.open_carts += self.len() as u64;
        stats.refresh_left += self.left() as u64;
        let bytes = |cart: &Cart| size_of::<Cart>() as u64 + bytes(&cart.items) + bytes(&cart.users);
        stats.subjects_bytes += self.contents().map(bytes).sum::<u64>();
    }
}

/// Opens, changes or closes the cart of a basket.
fn change(open: &mut OpenSubjects<Cart>, state: BasketState) {
    let items = state.open_cart();
    let BasketState { basket, name, users, .. } = state;
    match items.is_empty() {
        true => open.close(&name),
        false => open.open(&name, Cart { basket, users, items }),
    }
}

/// What a cart asks.
fn ask(name: Name, cart: &Cart, owner: u32, params: AnswerParams) -> Ask {
    let Cart { basket, users, items } = cart;
    let counted = &items[..items.len().min(params.items)];
    Ask {
        subject: Subject::Cart(name),
        owner,
        k: params.carts,
        params,
        items: counted.to_vec(),
        baskets: vec![*basket],
        excluded: params.exclude.of(items.iter().copied(), items),
        users: users.clone(),
    }
}
