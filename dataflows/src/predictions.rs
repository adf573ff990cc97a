//! Predictions: at which rank the answer that a cart had recommended what came into the cart next.
//!
//! ```text
//! states of changed baskets ─▶ items that came into an open cart ─┐
//!                                                                 ├─▶ their ranks in the answer before ─▶ predictions
//! answers of carts ───────────▶ the answer that each cart has ────┘
//! ```
//!
//! A cart is asked from its second item on. The answer is the one at the end of the epoch before, so it knows nothing
//! of what it is compared with.

use crate::epochs::per_epoch_of_two;
use crate::names::SharedNames;
use crate::sampling::fixed_hash;
use crate::state_stats::{Measured, StateCollector, StateStats, bytes};
use crate::{BasketState, Diff, Epoch, Item, List, Name, Touch};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Filter;

/// What the answer of a cart said about an item that came into the cart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prediction {
    /// The largest touch of the cart at the end of the epoch in which the item came.
    pub touch: Touch,
    /// The id of the cart.
    pub cart: Name,
    /// The item that came into the cart.
    pub item: Name,
    /// The rank of the item in the cart's answer before, from 1. `None` if the answer did not have it.
    pub rank: Option<u32>,
    /// The number of items in that answer. 0 if the cart had none.
    pub of: u32,
}

/// A share of all carts, drawn by a fixed hash of their ids: every run draws the same carts.
///
/// ```
/// use deltacart_dataflows::CartSample;
/// let tenth = CartSample::new(0.1).expect("a share");
/// assert!((50..150).contains(&(0..1000).filter(|cart| tenth.has(&format!("cart {cart}"))).count()));
/// assert_eq!(CartSample::new(1.5), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CartSample(f64);

impl CartSample {
    /// A share above 0 and at most 1. `None` if it is neither.
    pub fn new(share: f64) -> Option<CartSample> {
        (share > 0.0 && share <= 1.0).then_some(CartSample(share))
    }

    /// Whether the sample has a cart.
    pub fn has(self, cart: &str) -> bool {
        // 53 bits are a number from 0 to 1 exactly.
        (fixed_hash(cart) >> 11) as f64 * (-53f64).exp2() < self.0
    }
}

/// The open carts of one worker.
#[derive(Default)]
struct Carts(BTreeMap<Name, Cart>);

/// An open cart at the end of an epoch.
#[derive(Default)]
struct Cart {
    /// The items that are wanted ([`StateLine::is_wanted`](crate::StateLine)), sorted.
    items: Vec<Item>,
    /// Its answer. Empty if it has none.
    answer: List,
}

impl Measured for Carts {
    fn add_to(&self, stats: &mut StateStats) {
        let of_cart =
            |cart: &Cart| size_of::<(Name, Cart)>() as u64 + bytes(&cart.items) + bytes(&cart.answer);
        stats.subjects_bytes += self.0.values().map(of_cart).sum::<u64>();
    }
}

/// Emits a prediction for every item that comes into an open cart of the sample, from the second item on.
///
/// `states` and `carts` must have a cart's records on the same worker. Memory follows the sampled open carts.
pub(crate) fn predictions<'scope>(
    states: StreamVec<'scope, Epoch, BasketState>,
    carts: VecCollection<'scope, Epoch, (Name, List), Diff>,
    sample: CartSample,
    names: SharedNames,
    state_stats: &mut StateCollector,
) -> StreamVec<'scope, Epoch, Prediction> {
    let states = states.filter(move |state| sample.has(&state.name));
    let carts = carts.inner.filter(move |((cart, _answer), _epoch, _diff)| sample.has(cart));
    let shared = Rc::new(RefCell::new(Carts::default()));
    let open = Rc::clone(&shared);
    state_stats.add(shared);
    per_epoch_of_two(
        (states, Pipeline),
        (carts, Pipeline),
        "Predictions",
        move |_epoch, states, answers, session| {
            let (mut open, names) = (open.borrow_mut(), names.borrow());
            // The last state of a basket counts.
            let last: BTreeMap<Name, BasketState> =
                states.drain(..).map(|state| (state.name.clone(), state)).collect();
            for (cart, state) in last {
                open.change(cart, state, |cart, touch, item, answer| {
                    let item = names.name(item).clone();
                    let rank = answer.iter().position(|entry| entry.item == item);
                    let rank = rank.map(|index| index as u32 + 1);
                    let (cart, of) = (cart.clone(), answer.len() as u32);
                    session.give(Prediction { touch, cart, item, rank, of });
                });
            }
            // What goes comes before what takes its place.
            answers.sort_by_key(|(_answer, _epoch, diff)| *diff);
            for ((cart, answer), _epoch, diff) in answers.drain(..) {
                if let Some(cart) = open.0.get_mut(&cart) {
                    cart.answer = if diff > 0 { answer } else { List::default() };
                }
            }
            true
        },
    )
}

impl Carts {
    /// Opens, changes or closes a cart. Calls `came` for each item that came into a cart that was open, with the answer
    /// that the cart has.
    fn change(&mut self, name: Name, state: BasketState, mut came: impl FnMut(&Name, Touch, Item, &List)) {
        let mut items = state.open_cart();
        items.sort_unstable();
        if let Some(cart) = self.0.get(&name) {
            let new = items.iter().filter(|item| cart.items.binary_search(item).is_err());
            new.for_each(|item| came(&name, state.touch, *item, &cart.answer));
        }
        match items.is_empty() {
            true => drop(self.0.remove(&name)),
            false => self.0.entry(name).or_default().items = items,
        }
    }
}
