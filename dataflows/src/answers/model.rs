//! The plain model of answers: every subject from scratch, in loops. The dataflow is compared with it.
//!
//! It shares the settings, their arithmetic and the measures with the dataflow, and nothing else.

use crate::answers::params::{AnswerParams, Exclude, length_norm, log, rarity};
use crate::answers::query::Subject;
use crate::{Counts, List, ListParams, ModelBasketState, Name, Neighbour, StateLine};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The baskets of a shop, by name.
type States = BTreeMap<Name, ModelBasketState>;

/// The answers of all open subjects that have one: what would be recommended to each now.
///
/// `states` are the baskets, `lists` the neighbour lists of all items. Takes time in proportion to the subjects, times
/// the baskets.
pub fn model_answers(
    states: &BTreeMap<Name, ModelBasketState>,
    lists: &BTreeMap<Name, List>,
    list_params: ListParams,
    params: AnswerParams,
) -> BTreeMap<Subject, List> {
    let mut supports: BTreeMap<&Name, u32> = BTreeMap::new();
    states.values().flat_map(interactions).for_each(|item| *supports.entry(item).or_default() += 1);
    let total = states.values().filter(|state| interactions(state).next().is_some()).count() as u32;
    let shop = Shop { states, lists, supports, total, list_params, params };
    let carts = states.iter().filter_map(|(name, state)| shop.cart(name, state));
    let carts = carts.filter(|_question| params.carts > 0).map(|question| (question, params.carts));
    let users: BTreeSet<&Name> = states.values().flat_map(|state| &state.users).collect();
    let users = users.into_iter().filter_map(|user| shop.user(user));
    let users = users.filter(|_question| params.users > 0).map(|question| (question, params.users));
    let answers =
        carts.chain(users).map(|(question, k)| (question.subject.clone(), shop.answer(&question, k)));
    answers.filter(|(_subject, answer)| !answer.is_empty()).collect()
}

/// All there is to know.
struct Shop<'a> {
    states: &'a States,
    lists: &'a BTreeMap<Name, List>,
    supports: BTreeMap<&'a Name, u32>,
    /// The number of baskets with an interaction.
    total: u32,
    list_params: ListParams,
    params: AnswerParams,
}

/// A subject.
struct Question<'a> {
    subject: Subject,
    /// The items that count, the most recently touched first.
    items: Vec<&'a Name>,
    /// The baskets that they come from.
    baskets: BTreeSet<&'a Name>,
    excluded: BTreeSet<&'a Name>,
    users: BTreeSet<&'a Name>,
}

/// An item with its score, what decides ties, and how many lists or baskets have it.
type Scored<'a> = (&'a Name, f64, u32, u32);

impl<'a> Shop<'a> {
    /// The basket as a subject, if it is an open cart.
    fn cart(&self, name: &'a Name, state: &'a ModelBasketState) -> Option<Question<'a>> {
        let items: Vec<&Name> = wanted(state).collect();
        if !state.is_recent || items.is_empty() {
            return None;
        }
        Some(Question {
            subject: Subject::Cart(name.clone()),
            baskets: BTreeSet::from([name]),
            excluded: match self.params.exclude {
                Exclude::Cart => items.iter().copied().collect(),
                Exclude::Last => BTreeSet::from([items[0]]),
                Exclude::None => BTreeSet::new(),
            },
            users: state.users.iter().collect(),
            items: items.into_iter().take(self.params.items).collect(),
        })
    }

    /// The user as a subject, if one of their baskets is recent.
    fn user(&self, user: &'a Name) -> Option<Question<'a>> {
        let theirs = self.baskets_of(user);
        if !theirs.iter().any(|(_name, state)| state.is_recent) {
            return None;
        }
        let (mut items, mut baskets) = (Vec::new(), BTreeSet::new());
        for &(name, state) in &theirs {
            if items.len() < self.params.items {
                baskets.insert(name);
                for StateLine { item, .. } in &state.lines {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
            }
        }
        items.truncate(self.params.items);
        let recent = theirs.iter().filter(|(_name, state)| state.is_recent);
        let excluded = match self.params.exclude {
            Exclude::Cart => recent.flat_map(|(_name, state)| wanted(state)).collect(),
            Exclude::Last => BTreeSet::from([items[0]]),
            Exclude::None => BTreeSet::new(),
        };
        Some(Question {
            subject: Subject::User(user.clone()),
            items,
            baskets,
            excluded,
            users: BTreeSet::from([user]),
        })
    }

    /// The baskets of a user, the most recently touched first.
    fn baskets_of(&self, user: &Name) -> Vec<(&'a Name, &'a ModelBasketState)> {
        let mut theirs: Vec<_> = self
            .states
            .iter()
            .filter(|(_name, state)| state.users.iter().any(|other| other == user))
            .collect();
        theirs.sort_by_key(|(_name, state)| Reverse(state.touch));
        theirs
    }

    /// The answer of a subject.
    fn answer(&self, question: &Question<'a>, k: usize) -> List {
        let ways = [self.by_lists(question), self.by_baskets(question), self.by_own(question)];
        let weights = self.params.weights();
        let mut scored: BTreeMap<&Name, (f64, u32, u32)> = BTreeMap::new();
        let only_one = weights.iter().filter(|&&weight| weight > 0.0).count() == 1;
        for (mut way, weight) in ways.into_iter().zip(weights).filter(|(_way, weight)| *weight > 0.0) {
            way.retain(|(item, score, ..)| !question.excluded.contains(item) && *score > 0.0);
            let largest = way.iter().map(|(_, score, ..)| *score).fold(0.0, f64::max);
            for (item, score, tie, count) in way {
                let entry = scored.entry(item).or_default();
                entry.0 += if only_one { score } else { weight * (score / largest) };
                entry.1 = entry.1.max(tie);
                entry.2 += count;
            }
        }
        let mut ranked: Vec<_> = scored.into_iter().collect();
        // A stable sort keeps ties in the order of names.
        ranked.sort_by(|(_, x), (_, y)| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)));
        let published = |(item, (score, _tie, count)): (&Name, (f64, u32, u32))| Neighbour {
            item: item.clone(),
            score: if self.list_params.scores { self.list_params.scoring.rounded(score) } else { 0 },
            count: if self.list_params.scores { count } else { 0 },
        };
        ranked.into_iter().take(k).map(published).collect()
    }

    fn by_lists(&self, question: &Question<'a>) -> Vec<Scored<'a>> {
        let mut sums: BTreeMap<&Name, (u64, u32)> = BTreeMap::new();
        for (steps, item) in question.items.iter().enumerate() {
            for neighbour in self.lists.get(*item).into_iter().flatten() {
                let (row, other) = (self.supports[item], self.supports[&neighbour.item]);
                let counts = Counts { both: neighbour.count, row, other, total: self.total };
                let contribution =
                    self.params.list_contribution(self.list_params.scoring.score(counts), steps);
                let sum = sums.entry(&neighbour.item).or_default();
                *sum = (self.params.add_list_contribution(sum.0, contribution), sum.1 + 1);
            }
        }
        sums.into_iter().map(|(item, (sum, count))| (item, self.params.score(sum), 0, count)).collect()
    }

    fn by_baskets(&self, question: &Question<'a>) -> Vec<Scored<'a>> {
        let mut candidates: BTreeSet<&Name> = BTreeSet::new();
        for item in &question.items {
            let holds = |state| interactions(state).any(|other| other == *item);
            let mut of_item: Vec<_> = self.states.iter().filter(|(_name, state)| holds(state)).collect();
            of_item.sort_by_key(|(_name, state)| Reverse(state.touch));
            candidates.extend(of_item.into_iter().take(self.params.recent).map(|(name, _state)| name));
        }
        let mut near = Vec::new();
        for name in candidates.difference(&question.baskets) {
            let state = &self.states[*name];
            let items: BTreeSet<&Name> = interactions(state).collect();
            let shared = (0..).zip(&question.items).filter(|(_steps, item)| items.contains(*item));
            let shared: Vec<usize> = shared.map(|(steps, _item)| steps).collect();
            let weight = |&steps: &usize| {
                let support = self.supports[question.items[steps]];
                self.params.match_weight(steps, || rarity(support, self.total))
            };
            let overlap = shared.iter().map(weight).sum();
            near.push((
                self.params.basket_similarity(overlap, length_norm(items.len())),
                state.touch,
                shared[0],
                items,
            ));
        }
        near.sort_by(|x, y| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)));
        let mut sums: BTreeMap<&Name, (u64, u32)> = BTreeMap::new();
        for (similarity, _touch, steps, items) in near.into_iter().take(self.params.neighbours) {
            for item in items {
                let sum = sums.entry(item).or_default();
                *sum = (sum.0 + self.params.basket_contribution(similarity, steps), sum.1 + 1);
            }
        }
        let log_total = log(self.total);
        let score = |item: &Name, sum| self.params.basket_score(sum, log(self.supports[item]), log_total);
        sums.into_iter().map(|(item, (sum, count))| (item, score(item, sum), 0, count)).collect()
    }

    fn by_own(&self, question: &Question<'a>) -> Vec<Scored<'a>> {
        let mut sums: BTreeMap<&Name, (u64, u32)> = BTreeMap::new();
        for user in &question.users {
            let mut theirs = self.baskets_of(user);
            if let Subject::Cart(name) = &question.subject {
                theirs.retain(|(other, _state)| *other != name);
            }
            let newest = theirs.first().map_or(0, |(_name, state)| state.touch.time);
            let mut lines = 0;
            for (_name, state) in theirs {
                if lines < self.params.own_lines {
                    for item in interactions(state) {
                        lines += 1;
                        let sum = sums.entry(item).or_default();
                        *sum = (sum.0 + self.params.own_weight(newest - state.touch.time), sum.1 + 1);
                    }
                }
            }
        }
        let tie = |item: &Name| self.supports[item];
        sums.into_iter()
            .map(|(item, (sum, count))| (item, self.params.score(sum), tie(item), count))
            .collect()
    }
}

/// The items that the customer of a basket wants, the most recently touched first.
fn wanted(state: &ModelBasketState) -> impl Iterator<Item = &Name> {
    state.lines.iter().filter(|line| line.is_wanted()).map(|line| &line.item)
}

/// The items of a basket by the evidence that counts.
fn interactions(state: &ModelBasketState) -> impl Iterator<Item = &Name> {
    state.lines.iter().filter(|line| line.is_interaction).map(|line| &line.item)
}
