//! The lines of the baskets that one worker holds, and what each action does to them.
//!
//! A line has two quantities, each floored at 0: units in the cart and units bought. So a purchase of what is in the
//! cart confirms it, a cleared cart keeps what was bought, and a removal of what was never added is no debt.

use crate::baskets::expiry::Expiry;
use crate::baskets::units::{Large, Units};
use crate::baskets::walk::{BasketCopy, Walk};
use crate::baskets::{Line, Note};
use crate::numbers::Numbers;
use crate::sampling::{Sampling, basket_level};
use crate::sizes::{StateStats, bytes};
use crate::{Action, Basket, Diff, Event, Item, Millis, Name, Partition, Quantity, tight};
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// What an event did.
pub(super) enum Effect {
    /// A line came (+1) or went (−1).
    Line(Line, Diff),
    /// Something was odd.
    Note(Note),
}

/// All baskets of one worker.
pub(crate) struct Ledger {
    /// Basket numbers are `number here · workers + index`.
    index: u32,
    workers: u32,
    items_max: usize,
    /// Where it is told what level each basket has.
    sampling: Option<Sampling>,
    /// A basket's kind is its level, if levels are told.
    numbers: Numbers,
    baskets: Vec<Held>,
    large: Large,
    users: Numbers,
    /// (user, basket) for every user seen with a basket that is held; and the other way round.
    baskets_of_users: BTreeSet<(u32, u32)>,
    users_of_baskets: BTreeSet<(u32, u32)>,
    /// Where baskets are given up that nothing happens to.
    expiry: Option<Expiry>,
    /// Under way: what it has not come to is copied before it changes.
    walk: Option<Walk>,
}

/// One basket. Held while it has a line.
#[derive(Default)]
struct Held {
    /// In the order in which they entered: the oldest makes room.
    lines: Vec<HeldLine>,
    partition: Partition,
    split: bool,
}

struct HeldLine {
    item: Item,
    units: Units,
}

impl Ledger {
    pub(super) fn new(index: usize, workers: usize, items_max: usize) -> Self {
        assert!(items_max > 0, "a basket has room for at least one line");
        Ledger {
            index: index as u32,
            workers: workers as u32,
            items_max,
            sampling: None,
            numbers: Numbers::default(),
            baskets: Vec::new(),
            large: Large::default(),
            users: Numbers::default(),
            baskets_of_users: BTreeSet::new(),
            users_of_baskets: BTreeSet::new(),
            expiry: None,
            walk: None,
        }
    }

    /// The same, which tells the levels of its baskets, if they are wanted.
    pub(super) fn with_sampling(self, sampling: Option<Sampling>) -> Self {
        Ledger { sampling, ..self }
    }

    /// The same, which gives up baskets that nothing has happened to for so long, if there is such a time.
    pub(super) fn with_idle(self, idle: Option<NonZeroU64>) -> Self {
        Ledger { expiry: idle.map(Expiry::new), ..self }
    }

    /// A partition has come to this time.
    pub(super) fn tick(&mut self, partition: Partition, time: Millis) {
        if let Some(expiry) = &mut self.expiry {
            expiry.tick(partition, time);
        }
    }

    /// Gives up the baskets that are over by the clocks of their partitions.
    pub(super) fn expire(&mut self, tell: &mut impl FnMut(Effect)) {
        while let Some(number) = self.expiry.as_mut().and_then(Expiry::next_over) {
            self.give_up(number, tell);
        }
    }

    /// Applies one event and tells what it did, in order.
    pub(super) fn apply(&mut self, event: Event<Item>, tell: &mut impl FnMut(Effect)) {
        if let Action::ForgetUser = event.action {
            self.forget_user(&event, tell);
            return;
        }
        if let Some(expiry) = &self.expiry
            && let Some(number) = self.numbers.get(&event.basket)
            && expiry.is_over(number, event.time)
        {
            self.give_up(number, tell);
        }
        let number = match event.action {
            Action::Add(..) | Action::Set(..) | Action::Purchase(..) | Action::Restore(..) => {
                self.number(&event.basket)
            }
            _ => match self.numbers.get(&event.basket) {
                Some(number) => number,
                None => return tell(Effect::Note(Note::NoEffect)),
            },
        };
        if self.baskets.len() < self.numbers.len() {
            self.baskets.resize_with(self.numbers.len(), Held::default);
        }
        self.copy_before_change(number);
        self.meet(number, &event, tell);
        let basket = self.basket(number);
        let (held, items_max) = (&mut self.baskets[number as usize], self.items_max);
        // What is made again may be said twice, to tell of several users.
        let is_odd = !matches!(event.action, Action::Restore(..));
        let changed = held.act(basket, event.action, items_max, &mut self.large, tell);
        if !changed && is_odd {
            tell(Effect::Note(Note::NoEffect));
        }
        if held.lines.is_empty() {
            self.release(number);
        }
    }

    /// The basket's number, which is given to it if it has none.
    fn number(&mut self, basket: &Name) -> u32 {
        let Some(sampling) = &self.sampling else { return self.numbers.get_or_insert(basket).0 };
        if let Some(number) = self.numbers.get(basket) {
            return number;
        }
        let level = basket_level(basket);
        let (number, _new) = self.numbers.get_or_insert_of_kind(level, basket);
        sampling.learn(number, level);
        number
    }

    /// Notes who the event says the basket belongs to, and whether it comes from another partition than before.
    fn meet(&mut self, number: u32, event: &Event<Item>, tell: &mut impl FnMut(Effect)) {
        let held = &mut self.baskets[number as usize];
        let partition = event.position.partition;
        if held.lines.is_empty() {
            held.partition = partition;
        } else if held.partition != partition && !held.split {
            held.split = true;
            tell(Effect::Note(Note::SplitBasket));
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(number, partition, event.time);
        }
        if let Some(user) = &event.user {
            let user = self.users.get_or_insert(user).0;
            self.baskets_of_users.insert((user, number));
            self.users_of_baskets.insert((number, user));
        }
    }

    fn forget_user(&mut self, event: &Event<Item>, tell: &mut impl FnMut(Effect)) {
        let user = event.user.as_ref().and_then(|user| self.users.get(user));
        // No note where a user has no basket: every worker is asked, and most have none.
        let Some(user) = user else { return };
        let theirs: Vec<u32> = seconds(&self.baskets_of_users, user).collect();
        for number in theirs {
            self.forget(number, tell);
        }
    }

    /// A basket is over.
    fn give_up(&mut self, number: u32, tell: &mut impl FnMut(Effect)) {
        tell(Effect::Note(Note::BasketExpired));
        self.forget(number, tell);
    }

    fn forget(&mut self, number: u32, tell: &mut impl FnMut(Effect)) {
        self.copy_before_change(number);
        let basket = self.basket(number);
        self.baskets[number as usize].act(basket, Action::Forget, self.items_max, &mut self.large, tell);
        self.release(number);
    }

    /// Gives up a basket without lines, and the users who have no other.
    fn release(&mut self, number: u32) {
        self.baskets[number as usize] = Held::default();
        let users: Vec<u32> = seconds(&self.users_of_baskets, number).collect();
        for user in users {
            self.users_of_baskets.remove(&(number, user));
            self.baskets_of_users.remove(&(user, number));
            if seconds(&self.baskets_of_users, user).next().is_none() {
                self.users.remove(user);
            }
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.remove(number);
        }
        let level = self.sampling.as_ref().map_or(0, |sampling| sampling.level(number));
        self.numbers.remove_of_kind(level, number);
    }

    /// Begins to copy all baskets as they are now. A walk that was under way is given up.
    pub(super) fn begin_walk(&mut self) {
        self.walk = Some(Walk::over(self.baskets.len()));
    }

    /// Copies some more baskets, of `lines` lines or a little more in all. True when all have been copied.
    pub(super) fn walk_on(&mut self, lines: usize) -> bool {
        let Some(mut walk) = self.walk.take() else { return true };
        let until = walk.lines() + lines;
        while walk.lines() < until {
            let Some(number) = walk.next() else {
                self.walk = Some(walk);
                return true;
            };
            walk.add(self.copy(number));
        }
        self.walk = Some(walk);
        false
    }

    /// What has been copied since this was called last.
    pub(super) fn copies(&mut self) -> Vec<BasketCopy<Item>> {
        self.walk.as_mut().map(Walk::copies).unwrap_or_default()
    }

    /// Nothing needs to be copied any more.
    pub(super) fn end_walk(&mut self) {
        self.walk = None;
    }

    fn copy_before_change(&mut self, number: u32) {
        if let Some(mut walk) = self.walk.take() {
            if walk.is_still_to_copy(number) {
                walk.add(self.copy(number));
            }
            self.walk = Some(walk);
        }
    }

    /// The basket as it is, if it is held.
    fn copy(&self, number: u32) -> Option<BasketCopy<Item>> {
        let held = self.baskets.get(number as usize).filter(|held| !held.lines.is_empty())?;
        let users = seconds(&self.users_of_baskets, number);
        let mut users: Vec<Name> = users.map(|user| self.users.name(user).clone()).collect();
        // By name: their numbers depend on what was before.
        users.sort_unstable();
        let line = |line: &HeldLine| {
            let (cart, bought) = line.units.get(&self.large);
            (line.item, cart, bought)
        };
        Some(BasketCopy {
            basket: self.numbers.name(number).clone(),
            partition: held.partition,
            last: self.expiry.as_ref().map_or(0, |expiry| expiry.last(number)),
            users,
            lines: held.lines.iter().map(line).collect(),
        })
    }

    /// Adds up what it holds.
    pub(crate) fn measure(&self, sizes: &mut StateStats) {
        sizes.baskets = self.numbers.given() as u64;
        sizes.users = self.users.given() as u64;
        sizes.ledger_bytes =
            self.numbers.bytes() + self.users.bytes() + bytes(&self.baskets) + self.large.bytes();
        sizes.ledger_bytes += self.expiry.as_ref().map_or(0, Expiry::bytes);
        // There are two of them. A tree is two thirds full, or thereabouts.
        sizes.ledger_bytes += (2 * self.baskets_of_users.len() * size_of::<(u32, u32)>() * 3 / 2) as u64;
        for held in &self.baskets {
            sizes.lines += held.lines.len() as u64;
            sizes.ledger_bytes += bytes(&held.lines);
        }
    }

    fn basket(&self, number: u32) -> Basket {
        let basket = number.checked_mul(self.workers).and_then(|n| n.checked_add(self.index));
        basket.expect("four billion baskets at once do not fit in memory")
    }
}

/// What stands behind `first`.
fn seconds(pairs: &BTreeSet<(u32, u32)>, first: u32) -> impl Iterator<Item = u32> {
    pairs.range((first, 0)..=(first, u32::MAX)).map(|&(_first, second)| second)
}

impl Held {
    /// Applies an action about this basket; false if it changed nothing.
    fn act(
        &mut self,
        basket: Basket,
        action: Action<Item>,
        items_max: usize,
        large: &mut Large,
        tell: &mut impl FnMut(Effect),
    ) -> bool {
        let Some(&item) = action.item() else {
            let mut changed = false;
            self.lines.retain_mut(|line| {
                changed |= line.act(basket, &action, large, tell);
                !line.units.are_none()
            });
            return changed;
        };
        if let Some(at) = self.lines.iter().position(|line| line.item == item) {
            let changed = self.lines[at].act(basket, &action, large, tell);
            if self.lines[at].units.are_none() {
                self.lines.remove(at);
                tight::trim(&mut self.lines);
            }
            return changed;
        }
        let mut line = HeldLine { item, units: Units::default() };
        let changed = line.act(basket, &action, large, tell);
        if !line.units.are_none() {
            if self.lines.len() == items_max {
                let mut oldest = self.lines.remove(0);
                oldest.act(basket, &Action::Forget, large, tell);
                tell(Effect::Note(Note::LineEvicted));
            }
            tight::push(&mut self.lines, line);
        }
        changed
    }
}

impl HeldLine {
    /// Applies an action about this line; false if it changed nothing.
    fn act(
        &mut self,
        basket: Basket,
        action: &Action<Item>,
        large: &mut Large,
        tell: &mut impl FnMut(Effect),
    ) -> bool {
        let before = self.units.get(large);
        let after = quantities_after(action, before.0, before.1);
        if after == before {
            return false;
        }
        self.units.set(after.0, after.1, large);
        let [before, after] = [before, after].map(|(cart, bought)| cart.saturating_add(bought));
        if before != after {
            for (quantity, diff) in [(before, -1), (after, 1)] {
                if quantity > 0 {
                    tell(Effect::Line((basket, self.item, quantity), diff));
                }
            }
        }
        true
    }
}

/// What an action makes of the units of a line: those in the cart, and those bought.
fn quantities_after(action: &Action<Item>, cart: Quantity, bought: Quantity) -> (Quantity, Quantity) {
    let fewer = |units: Quantity, by: Option<Quantity>| by.map_or(0, |by| units.saturating_sub(by));
    match *action {
        Action::Add(_item, more) => (cart.saturating_add(more), bought),
        Action::Remove(_item, by) => (fewer(cart, by), bought),
        Action::Set(_item, cart) => (cart, bought),
        Action::Purchase(_item, more) => (cart.saturating_sub(more), bought.saturating_add(more)),
        Action::Refund(_item, by) => (cart, fewer(bought, by)),
        Action::Clear => (0, bought),
        Action::Checkout => (0, bought.saturating_add(cart)),
        Action::Cancel => (cart, 0),
        Action::Forget | Action::ForgetUser => (0, 0),
        Action::Restore(_item, cart, bought) => (cart, bought),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Applies actions to basket `b` of user `u` and returns the lines, and how many notes were made.
    fn lines_after(items_max: usize, actions: &[Action<Item>]) -> (BTreeMap<Item, Quantity>, usize) {
        let mut ledger = Ledger::new(0, 1, items_max);
        let (mut lines, mut notes) = (BTreeMap::new(), 0);
        for action in actions {
            let event = Event {
                position: Default::default(),
                basket: "b".into(),
                user: Some("u".into()),
                time: 0,
                action: action.clone(),
            };
            ledger.apply(event, &mut |effect| match effect {
                Effect::Line((_basket, item, quantity), diff) => {
                    *lines.entry((item, quantity)).or_insert(0) += diff
                }
                Effect::Note(_) => notes += 1,
            });
        }
        lines.retain(|_line, diff| *diff != 0);
        let large = lines.keys().filter(|(_item, quantity)| *quantity > 1 << 20).count();
        assert!(large > 0 || ledger.large.is_empty(), "units of lines that have gone are kept");
        assert!(lines.values().all(|&diff| diff == 1), "a line is there once: {lines:?}");
        let empty = lines.is_empty();
        let users = [&ledger.baskets_of_users, &ledger.users_of_baskets];
        assert!(users.iter().all(|users| users.is_empty() == empty), "users go with their baskets");
        (lines.into_keys().collect(), notes)
    }

    #[test]
    fn carts_and_purchases() {
        use Action::*;
        let check = |actions: &[Action<Item>], lines: &[(Item, Quantity)], notes| {
            assert_eq!(lines_after(9, actions), (lines.iter().copied().collect(), notes), "{actions:?}");
        };
        check(&[Add(1, 2), Add(1, 3)], &[(1, 5)], 0);
        check(&[Add(1, 2), Remove(1, Some(1))], &[(1, 1)], 0);
        check(&[Add(1, 2), Remove(1, Some(9))], &[], 0);
        check(&[Remove(1, Some(9)), Add(1, 1)], &[(1, 1)], 1);
        check(&[Add(1, 5), Remove(1, None)], &[], 0);
        check(&[Add(1, 5), Set(1, 2), Set(2, 1)], &[(1, 2), (2, 1)], 0);
        check(&[Add(1, 5), Set(1, 0)], &[], 0);
        check(&[Add(1, 1), Purchase(1, 1), Refund(1, Some(1))], &[], 0);
        check(&[Purchase(1, 1), Purchase(1, 1), Refund(1, Some(1))], &[(1, 1)], 0);
        check(&[Add(1, 1), Purchase(1, 1), Remove(1, None)], &[(1, 1)], 1);
        check(&[Add(1, 1), Add(2, 1), Purchase(1, 1), Clear], &[(1, 1)], 0);
        check(&[Add(1, 2), Add(2, 1), Checkout, Clear], &[(1, 2), (2, 1)], 1);
        check(&[Add(1, 2), Checkout, Add(2, 1), Cancel], &[(2, 1)], 0);
        check(&[Add(1, 2), Purchase(2, 1), Forget], &[], 0);
        check(&[Add(1, 2), Purchase(2, 1), ForgetUser, Add(3, 1)], &[(3, 1)], 0);
        check(&[Add(1, u32::MAX), Purchase(2, 7), Add(1, 7)], &[(1, u32::MAX), (2, 7)], 1);
        check(&[Add(1, 9), Restore(1, 2, 3), Restore(2, 0, 1), Cancel], &[(1, 2)], 0);
        check(&[Restore(1, 2, 3), Restore(1, 2, 3), Clear], &[(1, 3)], 0);
        check(&[Restore(1, 0, 0)], &[], 0);
    }

    #[test]
    fn the_oldest_line_makes_room() {
        use Action::*;
        let adds = [Add(1, 1), Add(2, 1), Add(1, 1), Add(3, 1)];
        assert_eq!(lines_after(2, &adds), ([(2, 1), (3, 1)].into(), 1));
        let again = [Add(1, 1), Add(2, 1), Add(3, 1), Remove(3, None), Add(1, 1)];
        assert_eq!(lines_after(2, &again), ([(1, 1), (2, 1)].into(), 1));
    }
}
