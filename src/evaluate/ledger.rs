//! Which lines baskets hold, event by event: what an order consists of in the end, and which events add an item.
//!
//! The rules of quantities are the dataflow's ([`Action::quantities_after`]). A test compares the lines with those of
//! the model.

use crate::evaluate::data::{Entry, Id, held_line};
use deltacart_dataflows::{Action, Quantity};
use std::collections::{BTreeMap, BTreeSet};

/// A line that a basket began to hold, or holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// The basket.
    pub basket: Id,
    /// The item.
    pub item: Id,
    /// Whether the basket holds it now.
    pub is_held: bool,
}

/// The lines of all baskets.
#[derive(Debug, Default)]
pub struct Ledger {
    baskets: BTreeMap<Id, StoredBasket>,
}

/// A basket that holds something.
#[derive(Debug, Default)]
struct StoredBasket {
    lines: Vec<StoredLine>,
    /// The users that had events of it.
    users: BTreeSet<Id>,
}

/// A line: the item, its units in the cart and its units bought. One of the two is above 0.
#[derive(Clone, Copy, Debug)]
struct StoredLine {
    item: Id,
    cart: Quantity,
    bought: Quantity,
}

impl Ledger {
    /// Applies an event, and gives each line that comes or goes to `each`.
    pub fn apply(&mut self, entry: &Entry, each: &mut impl FnMut(LineChange)) {
        if let Action::ForgetUser = entry.action {
            if let Some(user) = entry.user {
                self.forget_user(user, each);
            }
            return;
        }
        let basket = entry.basket;
        let held = held_line(&entry.action);
        if held.is_none() && !self.baskets.contains_key(&basket) {
            return;
        }
        let StoredBasket { lines, users } = self.baskets.entry(basket).or_default();
        users.extend(entry.user);
        if let Some(item) = held
            && !lines.iter().any(|line| line.item == item)
        {
            lines.push(StoredLine { item, cart: 0, bought: 0 });
            each(LineChange { basket, item, is_held: true });
        }
        lines.iter_mut().for_each(|line| line.change(&entry.action));
        lines.retain(|line| {
            let is_held = line.cart > 0 || line.bought > 0;
            if !is_held {
                each(LineChange { basket, item: line.item, is_held });
            }
            is_held
        });
        if lines.is_empty() {
            self.baskets.remove(&basket);
        }
    }

    /// Deletes the baskets of a user.
    fn forget_user(&mut self, user: Id, each: &mut impl FnMut(LineChange)) {
        self.baskets.retain(|&basket, stored| {
            let stays = !stored.users.contains(&user);
            if !stays {
                stored
                    .lines
                    .iter()
                    .for_each(|line| each(LineChange { basket, item: line.item, is_held: false }));
            }
            stays
        });
    }

    /// Whether a basket holds an item.
    pub fn holds(&self, basket: Id, item: Id) -> bool {
        self.lines(basket).any(|line| line.item == item)
    }

    /// The items of a basket, in the order in which it began to hold them.
    pub fn items(&self, basket: Id) -> Vec<Id> {
        self.lines(basket).map(|line| line.item).collect()
    }

    fn lines(&self, basket: Id) -> impl Iterator<Item = &StoredLine> {
        self.baskets.get(&basket).into_iter().flat_map(|stored| &stored.lines)
    }

    /// How many baskets hold something.
    pub fn len(&self) -> usize {
        self.baskets.len()
    }

    /// Whether no basket holds anything.
    pub fn is_empty(&self) -> bool {
        self.baskets.is_empty()
    }
}

impl StoredLine {
    /// Applies an action, if it concerns the line.
    fn change(&mut self, action: &Action<Id>) {
        if action.item().is_none_or(|&item| item == self.item) {
            (self.cart, self.bought) = action.quantities_after(self.cart, self.bought);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::data::Log;
    use crate::evaluate::engine::tests::params;
    use deltacart_dataflows::{Event, Model, Name, Position};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn action() -> impl Strategy<Value = Action<Name>> {
        let item = || (0u32..4).prop_map(|item| Name::from(format!("i{item}")));
        let some = || prop_oneof![Just(None), (0u32..4).prop_map(Some)];
        prop_oneof![
            4 => (item(), 0u32..4).prop_map(|(item, n)| Action::Add(item, n)),
            2 => (item(), some()).prop_map(|(item, n)| Action::Remove(item, n)),
            2 => (item(), 0u32..4).prop_map(|(item, n)| Action::Set(item, n)),
            3 => (item(), 0u32..4).prop_map(|(item, n)| Action::Purchase(item, n)),
            2 => (item(), some()).prop_map(|(item, n)| Action::Refund(item, n)),
            1 => Just(Action::Clear),
            1 => Just(Action::Checkout),
            1 => Just(Action::Cancel),
            1 => Just(Action::Forget),
            1 => Just(Action::ForgetUser),
        ]
    }

    proptest! {
        /// The ledger holds what the plain model holds, and its changes add up to that.
        #[test]
        fn lines_are_those_of_the_model(events in prop::collection::vec((0u32..3, 0u32..3, action()), 1..60)) {
            let events: Vec<Event> = (0..).zip(events).map(|(offset, (basket, user, action))| Event {
                position: Position { offset, ..Position::default() },
                basket: if action == Action::ForgetUser { "".into() } else { format!("b{basket}").into() },
                user: (user > 0).then(|| format!("u{user}").into()),
                time: 0,
                action,
            }).collect();
            let first = Event { action: Action::Add("i0".into(), 1), basket: "b0".into(), ..events[0].clone() };
            let events: Vec<Event> = std::iter::once(first).chain(events).collect();
            let log = Log::of_events(&events).unwrap();
            let (mut model, mut ledger) = (Model::new(params()), Ledger::default());
            let mut held: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
            for (entry, event) in log.entries.iter().zip(&events) {
                model.apply(event);
                model.end_epoch();
                ledger.apply(entry, &mut |change| {
                    let (basket, item) = (log.baskets.name(change.basket), log.items.name(change.item));
                    let items = held.entry(basket.clone()).or_default();
                    let is_new = if change.is_held { items.insert(item.clone()) } else { items.remove(item) };
                    assert!(is_new, "a line comes once and goes once");
                });
                held.retain(|_basket, items| !items.is_empty());
                let expected = model.interactions();
                prop_assert_eq!(&expected, &held);
                for (basket, items) in &expected {
                    let basket = log.baskets.find(basket).unwrap();
                    let actual: BTreeSet<Name> =
                        ledger.items(basket).iter().map(|&item| log.items.name(item).clone()).collect();
                    prop_assert_eq!(items, &actual);
                }
                prop_assert_eq!(ledger.len(), expected.len());
            }
        }
    }
}
