//! What has been learned, as far as yardsticks and metrics need it: supports, popularity, and what users had.

use crate::evaluate::data::{Entry, Id};
use crate::evaluate::ledger::{Ledger, LineChange};
use deltacart_dataflows::Millis;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The part of a log that has been learned.
#[derive(Debug, Default)]
pub(super) struct Observed {
    ledger: Ledger,
    /// n(item), the baskets that hold it.
    supports: Vec<u32>,
    /// Items by falling support.
    by_support: BTreeSet<(Reverse<u32>, Id)>,
    /// When an item came into a basket last, as a number of events.
    last: Vec<u64>,
    by_last: BTreeSet<(Reverse<u64>, Id)>,
    events: u64,
    /// The user of each basket.
    users: HashMap<Id, Id>,
    /// The baskets of each user, with the time of the last event of each.
    of_users: HashMap<Id, BTreeMap<Id, Millis>>,
    /// The items that a user had in a basket, whether they are there or not.
    seen: HashMap<Id, HashSet<Id>>,
}

impl Observed {
    /// Learns an event.
    pub(super) fn learn(&mut self, entry: &Entry) {
        self.events += 1;
        let user = entry.user.or_else(|| self.users.get(&entry.basket).copied());
        if let Some(user) = user {
            self.users.insert(entry.basket, user);
        }
        let mut changes: Vec<LineChange> = Vec::new();
        self.ledger.apply(entry, &mut |change| changes.push(change));
        for LineChange { item, is_held, .. } in changes {
            self.change_support(item, is_held);
            if is_held && let Some(user) = user {
                self.seen.entry(user).or_default().insert(item);
            }
        }
        if let Some(user) = user {
            self.of_users.entry(user).or_default().insert(entry.basket, entry.time);
        }
    }

    fn change_support(&mut self, item: Id, is_held: bool) {
        let place = item as usize;
        if self.supports.len() <= place {
            self.supports.resize(place + 1, 0);
            self.last.resize(place + 1, 0);
        }
        let before = self.supports[place];
        let now = if is_held { before + 1 } else { before - 1 };
        self.supports[place] = now;
        self.by_support.remove(&(Reverse(before), item));
        if now > 0 {
            self.by_support.insert((Reverse(now), item));
        }
        let last = self.last[place];
        if is_held || now == 0 {
            self.by_last.remove(&(Reverse(last), item));
        }
        if is_held {
            self.last[place] = self.events;
            self.by_last.insert((Reverse(self.events), item));
        }
    }

    /// The number of baskets that hold an item.
    pub(super) fn support(&self, item: Id) -> u32 {
        self.supports.get(item as usize).copied().unwrap_or(0)
    }

    /// The number of baskets that hold something.
    pub(super) fn baskets(&self) -> usize {
        self.ledger.len()
    }

    /// The number of items that a basket holds.
    pub(super) fn items(&self) -> usize {
        self.by_support.len()
    }

    /// The items by falling support, ties by number.
    pub(super) fn by_popularity(&self) -> impl Iterator<Item = Id> {
        self.by_support.iter().map(|(_support, item)| *item)
    }

    /// The items by when they came into a basket last, the most recent first.
    pub(super) fn by_recency(&self) -> impl Iterator<Item = Id> {
        self.by_last.iter().map(|(_last, item)| *item)
    }

    /// Whether a user had an item in a basket.
    pub(super) fn has_seen(&self, user: Id, item: Id) -> bool {
        self.seen.get(&user).is_some_and(|items| items.contains(&item))
    }

    /// The baskets of a user that hold something, each with the time of its last event and its items.
    pub(super) fn baskets_of(&self, user: Id) -> Vec<(Millis, Vec<Id>)> {
        let baskets = self.of_users.get(&user).into_iter().flatten();
        let baskets = baskets.map(|(&basket, &time)| (time, self.ledger.items(basket)));
        baskets.filter(|(_time, items)| !items.is_empty()).collect()
    }
}
