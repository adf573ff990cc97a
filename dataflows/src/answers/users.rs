//! Users: their baskets, which of them are subjects, and what they had before ([`Way::Own`](super::Way::Own)).
//!
//! A user is an **open subject** while one of their baskets was touched not too long ago (`--open-for`), whether
//! something was bought or not. The items that count are those of the user's baskets, the most recently touched
//! basket first.

use crate::answers::carts::Asked;
use crate::answers::open_subjects::{OpenSubjects, Tick};
use crate::answers::params::AnswerParams;
use crate::answers::query::{Ask, OwnItem, Replied, Reply, Subject};
use crate::epochs::PerEpoch;
use crate::names::route;
use crate::state_stats::{Measured, StateCollector, StateStats, bytes};
use crate::{Basket, BasketState, Epoch, Item, Name, StateLine, Touch};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::core::Concat;
use timely::dataflow::operators::vec::{Filter, Map};

/// What the operator emits.
#[derive(Clone)]
pub(super) enum UserOutput {
    /// A user is a subject.
    Asked(Asked),
    /// What a user had before.
    Own(Replied),
}

/// What the operator gets, each with the worker that it goes to.
#[derive(Clone, Serialize, Deserialize)]
enum Input {
    /// A basket of a user, as it is now.
    Basket { user: Name, basket: UserBasket, is_gone: bool },
    /// A subject asks what a user had before. Its own baskets do not count.
    Own { user: Name, ask: Box<Ask> },
    /// Users are answered again.
    Tick(Tick),
}

/// A basket of a user.
#[derive(Clone, Serialize, Deserialize)]
struct UserBasket {
    basket: Basket,
    touch: Touch,
    is_recent: bool,
    /// The lines, the most recently touched first.
    lines: Vec<StateLine>,
}

/// The users of one worker.
struct Users {
    known: BTreeMap<Name, User>,
    /// Those that are subjects.
    open: OpenSubjects<()>,
}

impl Measured for Users {
    fn add_to(&self, stats: &mut StateStats) {
        stats.open_users += self.open.len() as u64;
        stats.refresh_left += self.open.left() as u64;
        // Two entries of B-trees, whose nodes are about two thirds full.
        let entry =
            (size_of::<(Touch, Basket)>() + size_of::<(Basket, Touch)>() + size_of::<UserBasket>()) * 3 / 2;
        let basket = |basket: &UserBasket| entry as u64 + bytes(&basket.lines);
        let baskets = self.known.values().flat_map(|user| user.baskets.values());
        stats.subjects_bytes += baskets.map(basket).sum::<u64>();
    }
}

/// The baskets of one user.
#[derive(Default)]
struct User {
    /// The last touch of each basket.
    touches: BTreeMap<Basket, Touch>,
    /// By last touch.
    baskets: BTreeMap<(Touch, Basket), UserBasket>,
    /// Those that were touched not too long ago.
    recent: BTreeSet<Basket>,
}

/// The users of the baskets `states`, as subjects if `params` says so, and replies to the subjects `asking` what
/// their users had before.
pub(super) fn users<'scope>(
    states: StreamVec<'scope, Epoch, BasketState>,
    asking: StreamVec<'scope, Epoch, Asked>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    params: AnswerParams,
    state_stats: &mut StateCollector,
) -> StreamVec<'scope, Epoch, UserOutput> {
    let owner = states.scope().index() as u32;
    let wants_own = params.uses_own();
    let to_users = |name: &Name| route(name);
    // Users cost memory, so they are kept only if somebody asks about them.
    let is_needed = params.users > 0 || params.uses_own();
    let baskets = states
        .filter(move |_state| is_needed)
        .flat_map(move |state| baskets_of_users(state).map(move |(user, input)| (to_users(&user), input)));
    let asking = asking.flat_map(questions);
    let ticks = ticks.map(move |tick| (u64::from(owner), Input::Tick(tick)));
    let shared =
        Rc::new(RefCell::new(Users { known: BTreeMap::new(), open: OpenSubjects::new(params.refresh_max) }));
    let users = Rc::clone(&shared);
    state_stats.add(shared);
    let inputs = baskets.concat(asking).concat(ticks);
    let by_worker = Exchange::new(|(worker, _input): &(u64, Input)| *worker);
    inputs.per_epoch(by_worker, "Users", move |epoch, inputs, session| {
        let Users { known, open } = &mut *users.borrow_mut();
        let (mut tick, mut questions) = (None, Vec::new());
        for (_worker, input) in inputs.drain(..) {
            match input {
                Input::Basket { user, basket, is_gone } => {
                    let entry = known.entry(user.clone()).or_default();
                    entry.change(basket, is_gone);
                    match params.users == 0 || entry.recent.is_empty() {
                        true => open.close(&user),
                        false => open.open(&user, ()),
                    }
                    if entry.baskets.is_empty() {
                        known.remove(&user);
                    }
                }
                Input::Own { user, ask } => questions.push((user, ask)),
                Input::Tick(now) => tick = tick.max(Some(now)),
            }
        }
        // After all baskets: they come in no order with the questions of their epoch.
        for (user, ask) in questions {
            let own = known.get(&user).map(|user| user.own(&ask.baskets, ask.params)).unwrap_or_default();
            session.give(UserOutput::Own((ask.subject, ask.owner, Reply::Own(own))));
        }
        open.end_epoch(epoch, tick, |name, is_open| {
            let subject = Subject::User(name.clone());
            let Some(user) = is_open.and_then(|()| known.get(&name)) else {
                return session.give(UserOutput::Asked(Asked::Closed(subject, owner)));
            };
            if wants_own {
                let own = Reply::Own(user.own(&[], params));
                session.give(UserOutput::Own((subject, owner, own)));
            }
            session.give(UserOutput::Asked(Asked::Ask(Box::new(user.ask(name, owner, params)))));
        });
    })
}

/// The state of a basket, once for each of its users.
fn baskets_of_users(state: BasketState) -> impl Iterator<Item = (Name, Input)> {
    let BasketState { basket, users, touch, lines, is_recent, .. } = state;
    let is_gone = lines.is_empty();
    let basket = UserBasket { basket, touch, is_recent, lines };
    users.into_iter().map(move |user| (user.clone(), Input::Basket { user, basket: basket.clone(), is_gone }))
}

/// What a subject asks the owners of its users, if it counts what they had before.
fn questions(asked: Asked) -> Vec<(u64, Input)> {
    let Asked::Ask(ask) = asked else { return Vec::new() };
    let users = ask.users.iter().filter(|_user| ask.params.uses_own());
    users.map(|user| (route(user), Input::Own { user: user.clone(), ask: ask.clone() })).collect()
}

impl User {
    /// Sets a basket, or removes it.
    fn change(&mut self, basket: UserBasket, is_gone: bool) {
        let number = basket.basket;
        if let Some(touch) = self.touches.remove(&number) {
            self.baskets.remove(&(touch, number));
        }
        self.recent.remove(&number);
        if !is_gone {
            if basket.is_recent {
                self.recent.insert(number);
            }
            self.touches.insert(number, basket.touch);
            self.baskets.insert((basket.touch, number), basket);
        }
    }

    /// What the user had in baskets, but for some of those. The most recent ones count, until they have enough lines.
    fn own(&self, but: &[Basket], params: AnswerParams) -> Vec<OwnItem> {
        let mut own: BTreeMap<Item, (u64, u32)> = BTreeMap::new();
        let (mut lines, mut newest) = (0, None);
        for basket in self.baskets.values().rev().filter(|basket| !but.contains(&basket.basket)) {
            if lines >= params.own_lines {
                break;
            }
            let newest = *newest.get_or_insert(basket.touch.time);
            let weight = params.own_weight(newest - basket.touch.time);
            for StateLine { item, .. } in basket.lines.iter().filter(|line| line.is_interaction) {
                lines += 1;
                let (sum, count) = own.entry(*item).or_default();
                *sum += weight;
                *count += 1;
            }
        }
        own.into_iter().map(|(item, (weight, count))| OwnItem { item, weight, count }).collect()
    }

    /// What the user asks as a subject.
    fn ask(&self, name: Name, owner: u32, params: AnswerParams) -> Ask {
        let (mut items, mut baskets) = (Vec::new(), Vec::new());
        for basket in self.baskets.values().rev() {
            if items.len() >= params.items {
                break;
            }
            baskets.push(basket.basket);
            for &StateLine { item, .. } in &basket.lines {
                if items.len() < params.items && !items.contains(&item) {
                    items.push(item);
                }
            }
        }
        let recent = self.recent.iter().map(|basket| &self.baskets[&(self.touches[basket], *basket)]);
        let wanted = recent.flat_map(|basket| basket.lines.iter().filter(|line| line.is_wanted()));
        let excluded = params.exclude.of(wanted.map(|line| line.item), &items);
        baskets.sort_unstable();
        Ask {
            users: vec![name.clone()],
            subject: Subject::User(name),
            owner,
            k: params.users,
            params,
            items,
            baskets,
            excluded,
        }
    }
}
