//! The plain model: baskets in a BTreeMap, lists from scratch in loops. What everything else is compared with.
//!
//! It shares the measures and the types with the dataflows, and nothing else.

use crate::{Action, Counts, Event, List, ListParams, Name, Params, Quantity};
use std::collections::{BTreeMap, BTreeSet};

/// What a shop's baskets hold, event by event.
pub struct Model {
    params: Params,
    baskets: BTreeMap<Name, ModelBasket>,
}

#[derive(Default)]
struct ModelBasket {
    /// Item, units in the cart, units bought; in the order in which they entered.
    lines: Vec<(Name, Quantity, Quantity)>,
    users: BTreeSet<Name>,
}

impl Model {
    /// No baskets yet.
    pub fn new(params: Params) -> Self {
        Model { params, baskets: BTreeMap::new() }
    }

    /// Applies one event. Events of one basket must come in their order.
    pub fn apply(&mut self, event: &Event) {
        if event.action == Action::ForgetUser {
            if let Some(user) = &event.user {
                self.baskets.retain(|_name, basket| !basket.users.contains(user));
            }
            return;
        }
        let basket = self.baskets.entry(event.basket.clone()).or_default();
        basket.users.extend(event.user.clone());
        let lines = &mut basket.lines;
        if let Action::Add(item, _) | Action::Set(item, _) | Action::Purchase(item, _) = &event.action
            && !lines.iter().any(|line| line.0 == *item)
        {
            lines.push((item.clone(), 0, 0));
        }
        for (item, cart, bought) in lines.iter_mut() {
            match &event.action {
                Action::Add(added, more) if added == item => *cart = cart.saturating_add(*more),
                Action::Remove(gone, None) if gone == item => *cart = 0,
                Action::Remove(gone, Some(fewer)) if gone == item => *cart = cart.saturating_sub(*fewer),
                Action::Set(set, now) if set == item => *cart = *now,
                Action::Purchase(taken, more) if taken == item => {
                    *cart = cart.saturating_sub(*more);
                    *bought = bought.saturating_add(*more);
                }
                Action::Refund(back, None) if back == item => *bought = 0,
                Action::Refund(back, Some(fewer)) if back == item => *bought = bought.saturating_sub(*fewer),
                Action::Clear => *cart = 0,
                Action::Checkout => *bought = bought.saturating_add(std::mem::take(cart)),
                Action::Cancel => *bought = 0,
                Action::Forget => (*cart, *bought) = (0, 0),
                _ => {}
            }
        }
        lines.retain(|&(_, cart, bought)| cart > 0 || bought > 0);
        if lines.len() > self.params.basket_items_max {
            lines.remove(0);
        }
        if lines.is_empty() {
            self.baskets.remove(&event.basket);
        }
    }

    /// Which basket holds which items.
    pub fn interactions(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let items = |basket: &ModelBasket| basket.lines.iter().map(|line| line.0.clone()).collect();
        self.baskets.iter().map(|(name, basket)| (name.clone(), items(basket))).collect()
    }

    /// Every list that is not empty, from scratch.
    pub fn lists(&self) -> BTreeMap<Name, List> {
        model_lists(&self.interactions(), self.params.lists)
    }
}

/// Every list that is not empty, from what the baskets hold. None of them is empty.
pub fn model_lists<B: Ord, I: Ord + Clone>(
    baskets: &BTreeMap<B, BTreeSet<I>>,
    params: ListParams,
) -> BTreeMap<I, Vec<crate::Neighbour<I>>> {
    let mut baskets_by_item: BTreeMap<&I, Vec<&BTreeSet<I>>> = BTreeMap::new();
    for items in baskets.values() {
        for item in items {
            baskets_by_item.entry(item).or_default().push(items);
        }
    }
    let supports: BTreeMap<&I, u32> =
        baskets_by_item.iter().map(|(&item, baskets)| (item, baskets.len() as u32)).collect();
    let total = baskets.len() as u32;
    let mut lists = BTreeMap::new();
    for (a, baskets) in baskets_by_item {
        let mut together: BTreeMap<&I, u32> = BTreeMap::new();
        for b in baskets.into_iter().flatten().filter(|&b| b != a) {
            *together.entry(b).or_default() += 1;
        }
        let mut ranked: Vec<(f64, &I, Counts)> = Vec::new();
        for (b, both) in together {
            let counts = Counts { both, row: supports[a], other: supports[b], total };
            let key = params.scoring.key(counts);
            if key > 0.0 {
                ranked.push((key, b, counts));
            }
        }
        // Stable, and the names rise already: ties stay in their order.
        ranked.sort_by(|x, y| y.0.total_cmp(&x.0));
        ranked.truncate(params.k);
        if !ranked.is_empty() {
            let list =
                ranked.into_iter().map(|(_key, b, counts)| params.neighbour(b.clone(), counts)).collect();
            lists.insert(a.clone(), list);
        }
    }
    lists
}
