//! The ledger: all baskets of one worker, with their names and users.
//!
//! - A basket has a local number while it has lines. The number is reused afterwards.
//! - What an action does to the lines of a basket is said in [`stored_basket`](super::stored_basket).
//! - A user is known while a basket of theirs has lines. [`Action::ForgetUser`] deletes all of those baskets.
//! - Where touches are tracked, the end of an epoch emits the state of each basket that it changed
//!   ([`tracking`](super::tracking)).

use crate::baskets::basket_state::BasketState;
use crate::baskets::expiry::Expiry;
use crate::baskets::note::{ExpiredBasket, Oddity};
use crate::baskets::packed_quantity::Overflow;
use crate::baskets::snapshot_scan::{BasketCopy, SnapshotScan};
use crate::baskets::stored_basket::{Effect, StoredBasket, StoredLine};
use crate::baskets::tracking::{Tracking, touches_of};
use crate::interner::Interner;
use crate::sampling::{Sampling, basket_level};
use crate::state_stats::{Measured, StateStats, bytes};
use crate::{Action, Basket, Event, Evidence, Item, LineTouch, Millis, Name, Partition};
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// All baskets of one worker.
pub(crate) struct Ledger {
    /// The index of the worker, which owns the baskets.
    index: u32,
    /// The number of workers.
    workers: u32,
    /// The most lines of a basket.
    items_max: usize,
    /// What makes a line an interaction.
    evidence: Evidence,
    /// The levels of baskets, where a sample of baskets counts.
    sampling: Option<Sampling>,
    /// The local numbers of baskets. A basket's kind is its level, where levels are used.
    names: Interner,
    /// By local number.
    baskets: Vec<StoredBasket>,
    /// Quantities that do not fit into a line.
    overflow: Overflow,
    /// The local numbers of users.
    users: Interner,
    /// (user, basket) for every user that had an event of a stored basket.
    baskets_of_users: BTreeSet<(u32, u32)>,
    /// The same pairs as (basket, user).
    users_of_baskets: BTreeSet<(u32, u32)>,
    /// The times of last events, where baskets expire.
    expiry: Option<Expiry>,
    /// The touches of baskets and lines, where states are emitted.
    tracking: Option<Tracking>,
    /// Whether an event forgot a basket or a user in this epoch.
    has_forgotten: bool,
    /// The scan that is in progress. A basket that it has not reached is copied before it changes.
    scan: Option<SnapshotScan>,
}

impl Ledger {
    /// An empty ledger of worker `index`, whose baskets have at most `items_max` lines.
    pub(super) fn new(index: usize, workers: usize, items_max: usize) -> Self {
        assert!(items_max > 0, "a basket has room for at least one line");
        Ledger {
            index: index as u32,
            workers: workers as u32,
            items_max,
            evidence: Evidence::default(),
            sampling: None,
            names: Interner::default(),
            baskets: Vec::new(),
            overflow: Overflow::default(),
            users: Interner::default(),
            baskets_of_users: BTreeSet::new(),
            users_of_baskets: BTreeSet::new(),
            expiry: None,
            tracking: None,
            has_forgotten: false,
            scan: None,
        }
    }

    /// Sets what makes a line an interaction.
    pub(super) fn with_evidence(self, evidence: Evidence) -> Self {
        Ledger { evidence, ..self }
    }

    /// Adds where the levels of baskets are recorded, if they are used.
    pub(super) fn with_sampling(self, sampling: Option<Sampling>) -> Self {
        Ledger { sampling, ..self }
    }

    /// Adds the idle time after which baskets expire, if they do.
    pub(super) fn with_idle(self, idle: Option<NonZeroU64>) -> Self {
        Ledger { expiry: idle.map(Expiry::new), ..self }
    }

    /// Adds the time for which baskets are recent, if touches are tracked.
    pub(super) fn with_open_for(self, open_for: Option<NonZeroU64>) -> Self {
        Ledger { tracking: open_for.map(Tracking::new), ..self }
    }

    /// Gives the first known time of a partition to its baskets whose events have none.
    pub(super) fn set_first_time(&mut self, partition: Partition, time: Millis) {
        if let Some(expiry) = &mut self.expiry {
            expiry.set_first_time(partition, time);
        }
    }

    /// Advances the clock of a partition.
    pub(super) fn advance_clock(&mut self, partition: Partition, time: Millis) {
        if let Some(expiry) = &mut self.expiry {
            expiry.advance_clock(partition, time);
        }
        if let Some(tracking) = &mut self.tracking {
            tracking.advance_clock(partition, time);
        }
    }

    /// Ends an epoch: deletes the baskets that are expired by the clocks of their partitions, and emits the states of
    /// the baskets that the epoch changed.
    pub(super) fn end_epoch(&mut self, emit: &mut impl FnMut(Effect)) {
        while let Some(number) = self.expiry.as_mut().and_then(Expiry::next_expired) {
            self.expire_basket(number, emit);
        }
        while let Some(number) = self.tracking.as_mut().and_then(Tracking::next_past) {
            self.copy_before_change(number);
            self.tracking.iter_mut().for_each(|tracking| tracking.end_recent(number));
        }
        let (gone, changed) = self.tracking.as_mut().map(Tracking::take_changes).unwrap_or_default();
        let states = changed.into_iter().filter_map(|number| self.state(number));
        gone.into_iter().chain(states).for_each(|state| emit(Effect::State(Box::new(state))));
    }

    /// Whether an event forgot a basket or a user since the last call.
    pub(super) fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    /// Applies one event and emits its effects in order.
    pub(super) fn apply(&mut self, event: &Event<Item>, emit: &mut impl FnMut(Effect)) {
        if let Action::ForgetUser = event.action {
            self.forget_user(event, emit);
            return;
        }
        if let Some(expiry) = &self.expiry
            && let Some(number) = self.names.get(&event.basket)
            && expiry.is_expired(number, event.time)
        {
            self.expire_basket(number, emit);
        }
        let number = match event.action {
            Action::View(..) if self.evidence.has_views() => self.get_or_number(&event.basket),
            Action::Add(..) | Action::Set(..) | Action::Purchase(..) | Action::Restore(..) => {
                self.get_or_number(&event.basket)
            }
            _ => match self.names.get(&event.basket) {
                Some(number) => number,
                None => return emit(Effect::Note(Oddity::NoEffect)),
            },
        };
        if self.baskets.len() < self.names.numbers_end() {
            self.baskets.resize_with(self.names.numbers_end(), StoredBasket::default);
        }
        self.copy_before_change(number);
        self.record_origin(number, event, emit);
        let was_stored = !self.baskets[number as usize].lines.is_empty();
        self.has_forgotten |= was_stored && event.action == Action::Forget;
        let (touch, line_touch) = touches_of(event);
        let is_changed = self.apply_to_lines(number, &event.action, line_touch, emit);
        // Recovery may restore a line twice, to name a second user.
        if !is_changed && !matches!(event.action, Action::Restore(..)) {
            emit(Effect::Note(Oddity::NoEffect));
        }
        let StoredBasket { lines, partition, .. } = &self.baskets[number as usize];
        if lines.is_empty() {
            return self.release(number, was_stored);
        }
        let partition = *partition;
        let is_new_user = event.user.as_ref().is_some_and(|user| self.record_user(number, user));
        if let Some(tracking) = &mut self.tracking
            && (is_changed || is_new_user)
        {
            tracking.touch(number, partition, touch);
        }
    }

    /// Applies an action to the lines of a basket. Returns whether it changed any.
    fn apply_to_lines(
        &mut self,
        number: u32,
        action: &Action<Item>,
        touch: LineTouch,
        emit: &mut impl FnMut(Effect),
    ) -> bool {
        let basket = self.basket(number);
        let stored = &mut self.baskets[number as usize];
        let touched =
            self.tracking.as_mut().map(|tracking| (&mut tracking.get_or_default(number).lines, touch));
        stored.apply(basket, action, (self.items_max, self.evidence), &mut self.overflow, touched, emit)
    }

    /// The local number of a basket, a new one if it has none.
    fn get_or_number(&mut self, basket: &Name) -> u32 {
        let Some(sampling) = &self.sampling else { return self.names.get_or_insert(basket).0 };
        if let Some(number) = self.names.get(basket) {
            return number;
        }
        let level = basket_level(basket);
        let (number, _is_new) = self.names.get_or_insert_of_kind(level, basket);
        sampling.set_level(number, level);
        number
    }

    /// Records the time and the partition of an event of a basket.
    fn record_origin(&mut self, number: u32, event: &Event<Item>, emit: &mut impl FnMut(Effect)) {
        let stored = &mut self.baskets[number as usize];
        let partition = event.position.partition;
        if stored.lines.is_empty() {
            stored.partition = partition;
        } else if stored.partition != partition && !stored.is_split {
            stored.is_split = true;
            emit(Effect::Note(Oddity::SplitBasket));
        }
        if let Some(expiry) = &mut self.expiry {
            let time = match &event.action {
                Action::Restore(_item, restored) => restored.last,
                _ => event.time,
            };
            expiry.record_event(number, partition, time);
        }
    }

    /// Records a user of a basket. Returns whether the basket did not have the user.
    fn record_user(&mut self, number: u32, user: &Name) -> bool {
        let user = self.users.get_or_insert(user).0;
        self.baskets_of_users.insert((user, number));
        self.users_of_baskets.insert((number, user))
    }

    /// Deletes all baskets of a user.
    fn forget_user(&mut self, event: &Event<Item>, emit: &mut impl FnMut(Effect)) {
        let user = event.user.as_ref().and_then(|user| self.users.get(user));
        // No note if the user has no basket here: every worker gets the event, and most have none.
        let Some(user) = user else { return };
        let theirs: Vec<u32> = seconds(&self.baskets_of_users, user).collect();
        self.has_forgotten |= !theirs.is_empty();
        for number in theirs {
            // An event finds the baskets of its own partition expired, wherever the epoch before it ended.
            let is_expired = self.expiry.as_ref().is_some_and(|expiry| {
                expiry.partition(number) == event.position.partition && expiry.is_expired(number, event.time)
            });
            match is_expired {
                true => self.expire_basket(number, emit),
                false => self.forget(number, emit),
            }
        }
    }

    /// Deletes a basket that is expired, and notes it.
    fn expire_basket(&mut self, number: u32, emit: &mut impl FnMut(Effect)) {
        if let Some(expiry) = &self.expiry {
            let (basket, partition) = (self.names.name(number).clone(), expiry.partition(number));
            let expired = ExpiredBasket { basket, partition, last: expiry.last(number) };
            emit(Effect::Note(Oddity::Expired(Box::new(expired))));
        }
        self.forget(number, emit);
    }

    /// Deletes all lines of a basket, and frees its number.
    fn forget(&mut self, number: u32, emit: &mut impl FnMut(Effect)) {
        self.copy_before_change(number);
        self.apply_to_lines(number, &Action::Forget, LineTouch::default(), emit);
        self.release(number, true);
    }

    /// Frees the number of a basket without lines, and the users that have no other basket. `was_stored` says whether
    /// it had lines before.
    fn release(&mut self, number: u32, was_stored: bool) {
        if was_stored && let Some(mut tracking) = self.tracking.take() {
            tracking.add_gone(self.state_of(number, &tracking));
            self.tracking = Some(tracking);
        }
        self.baskets[number as usize] = StoredBasket::default();
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
        if let Some(tracking) = &mut self.tracking {
            tracking.remove(number);
        }
        let level = self.sampling.as_ref().map_or(0, |sampling| sampling.level(number));
        self.names.remove_of_kind(level, number);
    }

    /// Begins to copy all baskets as they are now. A scan in progress is dropped.
    pub(super) fn begin_scan(&mut self) {
        let clocks = self.expiry.as_ref().or(self.tracking.as_ref().map(|tracking| &tracking.recency));
        let clocks = clocks.map(|expiry| expiry.clocks().clone()).unwrap_or_default();
        self.scan = Some(SnapshotScan::of(self.baskets.len(), clocks));
    }

    /// Copies more baskets, of `lines` lines or a little more in total. Returns whether the scan is complete.
    pub(super) fn advance_scan(&mut self, lines: usize) -> bool {
        let Some(mut scan) = self.scan.take() else { return true };
        let until = scan.lines() + lines;
        while scan.lines() < until {
            let Some(number) = scan.next() else {
                self.scan = Some(scan);
                return true;
            };
            scan.add(self.copy(number, &scan));
        }
        self.scan = Some(scan);
        false
    }

    /// Takes the copies that were made since the last call.
    pub(super) fn take_copies(&mut self) -> Vec<BasketCopy<Item>> {
        self.scan.as_mut().map(SnapshotScan::take_copies).unwrap_or_default()
    }

    /// Ends the scan.
    pub(super) fn end_scan(&mut self) {
        self.scan = None;
    }

    /// Copies a basket that is about to change, if a scan has still to reach it.
    fn copy_before_change(&mut self, number: u32) {
        if let Some(mut scan) = self.scan.take() {
            if scan.mark_copied(number) {
                scan.add(self.copy(number, &scan));
            }
            self.scan = Some(scan);
        }
    }

    /// A copy of the basket for a scan, if it is stored.
    fn copy(&self, number: u32, scan: &SnapshotScan) -> Option<BasketCopy<Item>> {
        let stored = self.baskets.get(number as usize).filter(|stored| !stored.lines.is_empty())?;
        let line = |line: &StoredLine| (line.item, line.quantity.get(&self.overflow));
        let tracked = self.tracking.as_ref().and_then(|tracking| tracking.get(number));
        Some(BasketCopy {
            basket: self.names.name(number).clone(),
            partition: stored.partition,
            clock: scan.clock(stored.partition),
            last: self.expiry.as_ref().map_or(0, |expiry| expiry.last(number)),
            touch: tracked.map(|tracked| tracked.touch),
            users: self.users_of(number),
            lines: stored.lines.iter().map(line).collect(),
            touches: tracked.map(|tracked| tracked.lines.to_vec()).unwrap_or_default(),
        })
    }

    /// The state of a basket, if it is stored and touches are tracked.
    fn state(&self, number: u32) -> Option<BasketState> {
        let tracking = self.tracking.as_ref().filter(|_| !self.baskets[number as usize].lines.is_empty())?;
        Some(self.state_of(number, tracking))
    }

    /// The state of a basket, which may have lost its lines just now.
    fn state_of(&self, number: u32, tracking: &Tracking) -> BasketState {
        let stored = &self.baskets[number as usize].lines;
        let line = |at: usize| {
            let units = stored[at].quantity.get(&self.overflow);
            self.evidence.state_line(stored[at].item, units)
        };
        let tracked = tracking.get(number);
        let order = tracked.map(|tracked| tracked.lines.order(stored.len())).unwrap_or_default();
        BasketState {
            basket: self.basket(number),
            name: self.names.name(number).clone(),
            users: self.users_of(number),
            touch: tracked.map(|tracked| tracked.touch).unwrap_or_default(),
            is_recent: !stored.is_empty() && tracking.is_recent(number),
            lines: order.into_iter().map(line).collect(),
        }
    }

    /// The users of a basket. By name, because the order of their numbers depends on earlier events.
    fn users_of(&self, number: u32) -> Vec<Name> {
        let users = seconds(&self.users_of_baskets, number);
        let mut users: Vec<Name> = users.map(|user| self.users.name(user).clone()).collect();
        users.sort_unstable();
        users
    }

    /// The basket of a local number, as all workers know it.
    fn basket(&self, number: u32) -> Basket {
        let basket = Basket::from_local(number, self.index, self.workers);
        basket.expect("four billion baskets at once do not fit in memory")
    }
}

impl Measured for Ledger {
    fn add_to(&self, stats: &mut StateStats) {
        stats.baskets += self.names.len() as u64;
        stats.users += self.users.len() as u64;
        stats.ledger_bytes += self.names.bytes() + self.users.bytes();
        stats.ledger_bytes += bytes(&self.baskets) + self.overflow.bytes();
        stats.ledger_bytes += self.expiry.as_ref().map_or(0, Expiry::bytes);
        stats.ledger_bytes += self.tracking.as_ref().map_or(0, Tracking::bytes);
        // Two B-trees, whose nodes are about two thirds full.
        stats.ledger_bytes += (2 * self.baskets_of_users.len() * size_of::<(u32, u32)>() * 3 / 2) as u64;
        for stored in &self.baskets {
            stats.lines += stored.lines.len() as u64;
            stats.ledger_bytes += bytes(&stored.lines);
        }
    }
}

/// The second numbers of all pairs that begin with `first`.
fn seconds(pairs: &BTreeSet<(u32, u32)>, first: u32) -> impl Iterator<Item = u32> {
    pairs.range((first, 0)..=(first, u32::MAX)).map(|&(_first, second)| second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quantity, Restored, Units};
    use std::collections::BTreeMap;

    /// Applies actions to basket `b` of user `u`. Returns the lines and the number of notes.
    fn lines_after(items_max: usize, actions: &[Action<u32>]) -> (BTreeMap<u32, Quantity>, usize) {
        let mut ledger = Ledger::new(0, 1, items_max);
        let (mut lines, mut notes) = (BTreeMap::new(), 0);
        for action in actions {
            let event = Event {
                position: Default::default(),
                basket: "b".into(),
                user: Some("u".into()),
                time: 0,
                action: action.clone().map_item(Item::new),
            };
            ledger.apply(&event, &mut |effect| match effect {
                Effect::Line((_basket, item, quantity), diff) => {
                    *lines.entry((item.number(), quantity)).or_insert(0) += diff
                }
                Effect::Stored(..) => {}
                Effect::Note(_) => notes += 1,
                Effect::State(state) => panic!("nothing is tracked: {state:?}"),
            });
        }
        lines.retain(|_line, diff| *diff != 0);
        let large = lines.keys().filter(|(_item, quantity)| *quantity > 1 << 20).count();
        assert!(large > 0 || ledger.overflow.is_empty(), "a removed line keeps its slot");
        assert!(lines.values().all(|&diff| diff == 1), "a line is there once: {lines:?}");
        let empty = lines.is_empty();
        let users = [&ledger.baskets_of_users, &ledger.users_of_baskets];
        assert!(users.iter().all(|users| users.is_empty() == empty), "users are removed with their baskets");
        (lines.into_keys().collect(), notes)
    }

    #[test]
    fn carts_and_purchases() {
        use Action::*;
        let check = |actions: &[Action<u32>], lines: &[(u32, Quantity)], notes| {
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
        let restore = |item, cart, bought| {
            let units = Units { cart, bought, viewed: false };
            Restore(item, Box::new(Restored { units, ..Restored::default() }))
        };
        check(&[Add(1, 9), restore(1, 2, 3), restore(2, 0, 1), Cancel], &[(1, 2)], 0);
        check(&[restore(1, 2, 3), restore(1, 2, 3), Clear], &[(1, 3)], 0);
        check(&[restore(1, 0, 0)], &[], 0);
        check(&[View(1), Add(2, 1), View(2), View(3)], &[(2, 1)], 3);
    }

    #[test]
    fn a_new_line_evicts_the_oldest() {
        use Action::*;
        let adds = [Add(1, 1), Add(2, 1), Add(1, 1), Add(3, 1)];
        assert_eq!(lines_after(2, &adds), ([(2, 1), (3, 1)].into(), 1));
        let again = [Add(1, 1), Add(2, 1), Add(3, 1), Remove(3, None), Add(1, 1)];
        assert_eq!(lines_after(2, &again), ([(1, 1), (2, 1)].into(), 1));
    }
}
