//! Protocols that learn one part of the log, once, and ask about another.

use super::replay::{Replay, step};
use super::settings::{Sample, Split};
use crate::evaluate::cases::{Asker, Plan, Round};
use crate::evaluate::data::{Id, Log, held_line};
use crate::evaluate::hash::{hash, is_sampled};
use crate::evaluate::ledger::Ledger;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Why baskets on both sides of a split are not asked.
const STRADDLES: &str = "baskets on both sides of the split";
/// Why baskets are not asked in which nothing is left, or from which nothing can be hidden.
const TOO_SHORT: &str = "baskets with fewer than two items";
/// Why a user is not asked.
const FEW_BASKETS: &str = "users with too few baskets";
/// Why a user is not asked.
const ONE_STEP: &str = "users with one item";
/// Why a user is not asked.
const ONE_SIDE: &str = "users on one side of the split";
/// Why baskets are not asked in protocols by user.
const NO_USER: &str = "baskets without a user";

/// A log that is split at a place.
struct Parts {
    /// The first event that is not learned.
    cut: usize,
    /// The first and the last event of each basket.
    spans: Vec<(usize, usize)>,
}

impl Parts {
    fn of(log: &Log, split: Split) -> Result<Parts> {
        let spans = spans(log);
        let last = log.entries.last().map_or(0, |entry| entry.time);
        let at = |time| log.entries.partition_point(|entry| entry.time < time);
        let needs_times = !matches!(split, Split::Share(_));
        ensure!(
            log.has_times || !needs_times,
            "--split by time needs events with times; give a share, such as 0.2"
        );
        let cut = match split {
            Split::At(time) => at(time),
            Split::Last(length) => at(last.saturating_sub(length)),
            Split::Share(share) => {
                // A part of a log has no events of some baskets.
                let begins = spans.iter().map(|(first, _last)| *first);
                let mut begins: Vec<usize> = begins.filter(|&first| first < log.entries.len()).collect();
                begins.sort_unstable();
                let learned = ((begins.len() as f64) * (1.0 - share)).round() as usize;
                let first = begins.get(learned).copied().unwrap_or(log.entries.len());
                // Events of one time are on one side, if there are times.
                match log.entries.get(first) {
                    Some(entry) if log.has_times => at(entry.time),
                    _ => first,
                }
            }
        };
        let sides = [("before", cut), ("behind", log.entries.len() - cut)];
        for (side, events) in sides {
            ensure!(events > 0, "--split leaves no event {side} it");
        }
        Ok(Parts { cut, spans })
    }

    /// Whether a basket lies behind the split. None: on both sides.
    fn is_held_out(&self, basket: Id) -> Option<bool> {
        let (first, last) = self.spans[basket as usize];
        match (first >= self.cut, last >= self.cut) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
        }
    }

    /// The plan that learns what is before the split.
    fn plan(&self, unit: &'static str) -> Plan {
        let order: Vec<u32> = (0..self.cut as u32).collect();
        let rounds = vec![Round { learn: 0..order.len(), ask: 0..0 }];
        Plan { order, rounds, unit, ..Plan::default() }
    }
}

/// The first and the last event of each basket.
fn spans(log: &Log) -> Vec<(usize, usize)> {
    let mut spans = vec![(usize::MAX, 0); log.baskets.len()];
    for (index, entry) in log.entries.iter().enumerate() {
        let span = &mut spans[entry.basket as usize];
        *span = (span.0.min(index), index);
    }
    spans
}

/// Asks everything at once.
fn end(mut plan: Plan) -> Plan {
    let ask = 0..plan.cases.len();
    plan.rounds.iter_mut().for_each(|round| round.ask = ask.clone());
    plan
}

/// Each order behind the split, without the item whose place is a hash of the order's id, modulo its items.
pub(super) fn cart_completion(log: &Log, split: Split, sample: Sample) -> Result<Plan> {
    let parts = Parts::of(log, split)?;
    let mut plan = parts.plan("order");
    let mut ledger = Ledger::default();
    let mut users: BTreeMap<Id, Id> = BTreeMap::new();
    for entry in &log.entries {
        ledger.apply(entry, &mut |_change| {});
        if let Some(user) = entry.user {
            users.insert(entry.basket, user);
        }
    }
    let mut baskets: Vec<Id> = (0..log.baskets.len() as Id).collect();
    baskets.sort_by_key(|&basket| parts.spans[basket as usize].0);
    for basket in baskets {
        let name = log.baskets.name(basket);
        let is_held_out = parts.is_held_out(basket);
        if is_held_out == Some(false) || !is_sampled(sample.seed, name, sample.share) {
            continue;
        }
        let items = ledger.items(basket);
        if is_held_out.is_none() {
            plan.skip(STRADDLES);
        } else if items.len() < 2 {
            plan.skip(TOO_SHORT);
        } else {
            let hidden = (hash(sample.seed, name) % items.len() as u64) as u32;
            let (truth, given) = (items[hidden as usize], items.len() as u32);
            let unit = plan.cases.new_unit();
            let time = log.entries[parts.spans[basket as usize].0].time;
            let asker = Asker { unit, user: users.get(&basket).copied(), basket: None, time };
            let sequence = plan.cases.new_sequence(items);
            plan.cases.push(asker, sequence, given, Some(hidden), &[truth]);
        }
    }
    Ok(end(plan))
}

/// Each step of the sessions behind the split, from the second on.
pub(super) fn next_item(log: &Log, split: Split, sample: Sample) -> Result<Plan> {
    let parts = Parts::of(log, split)?;
    let mut plan = parts.plan("session");
    let asked: Vec<bool> = (0..log.baskets.len() as Id)
        .map(|basket| {
            let is_sampled = is_sampled(sample.seed, log.baskets.name(basket), sample.share);
            let is_held_out = parts.is_held_out(basket);
            if is_sampled && is_held_out.is_none() {
                plan.skip(STRADDLES);
            }
            is_sampled && is_held_out == Some(true)
        })
        .collect();
    let mut replay = Replay::default();
    for entry in &log.entries {
        let is_asked = asked[entry.basket as usize];
        replay.apply(entry, is_asked, &mut plan.cases);
    }
    let short = asked.iter().filter(|asked| **asked).count() as u64 - plan.units() as u64;
    if short > 0 {
        plan.skipped.insert(TOO_SHORT, short);
    }
    Ok(end(plan))
}

/// What each user adds behind the split, from all that the user added before.
pub(super) fn temporal(log: &Log, split: Split, sample: Sample) -> Result<Plan> {
    let parts = Parts::of(log, split)?;
    let mut plan = parts.plan("user");
    let mut ledger = Ledger::default();
    let mut of_users: BTreeMap<Id, (Vec<Id>, Vec<Id>)> = BTreeMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if let (Some(item), Some(user)) = (step(&ledger, entry), entry.user) {
            let (before, behind) = of_users.entry(user).or_default();
            let side = if index < parts.cut { before } else { behind };
            side.push(item);
        }
        ledger.apply(entry, &mut |_change| {});
    }
    let time = log.entries[parts.cut].time;
    for (user, (before, behind)) in of_users {
        if !is_sampled(sample.seed, log.users.name(user), sample.share) {
            continue;
        }
        if before.is_empty() || behind.is_empty() {
            plan.skip(ONE_SIDE);
            continue;
        }
        let asker = Asker { unit: plan.cases.new_unit(), user: Some(user), basket: None, time };
        let given = before.len() as u32;
        let sequence = plan.cases.new_sequence(before);
        plan.cases.push(asker, sequence, given, None, &behind);
    }
    Ok(end(plan))
}

/// The last basket of each user who has at least `baskets_min`, from all that the user had before.
pub(super) fn leave_last_basket(log: &Log, baskets_min: usize, sample: Sample) -> Plan {
    let spans = spans(log);
    let mut ledger = Ledger::default();
    let mut users: Vec<Option<Id>> = vec![None; log.baskets.len()];
    for entry in &log.entries {
        ledger.apply(entry, &mut |_change| {});
        let user = &mut users[entry.basket as usize];
        *user = entry.user.or(*user);
    }
    let mut plan = Plan { unit: "user", ..Plan::default() };
    let mut of_users: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for basket in (0..log.baskets.len() as Id).filter(|&basket| !ledger.items(basket).is_empty()) {
        match users[basket as usize] {
            Some(user) => of_users.entry(user).or_default().push(basket),
            None => plan.skip(NO_USER),
        }
    }
    let mut is_held_out = vec![false; log.baskets.len()];
    for (user, mut baskets) in of_users {
        baskets.sort_by_key(|&basket| spans[basket as usize].0);
        if !is_sampled(sample.seed, log.users.name(user), sample.share) {
            continue;
        }
        if baskets.len() < baskets_min.max(2) {
            plan.skip(FEW_BASKETS);
            continue;
        }
        let Some((&last, earlier)) = baskets.split_last() else { continue };
        is_held_out[last as usize] = true;
        let before: Vec<Id> = earlier.iter().flat_map(|&basket| ledger.items(basket)).collect();
        let unit = plan.cases.new_unit();
        let asker =
            Asker { unit, user: Some(user), basket: None, time: log.entries[spans[last as usize].0].time };
        let given = before.len() as u32;
        let sequence = plan.cases.new_sequence(before);
        plan.cases.push(asker, sequence, given, None, &ledger.items(last));
    }
    let learned = (0..log.entries.len() as u32).zip(&log.entries);
    plan.order = learned
        .filter(|(_index, entry)| !is_held_out[entry.basket as usize])
        .map(|(index, _entry)| index)
        .collect();
    plan.rounds = vec![Round { learn: 0..plan.order.len(), ask: 0..0 }];
    end(plan)
}

/// The last step of each user, from all that the user had before. What the user did from then on is not learned.
pub(super) fn leave_last_out(log: &Log, sample: Sample) -> Plan {
    let mut plan = Plan { unit: "user", ..Plan::default() };
    let mut ledger = Ledger::default();
    let mut steps: BTreeMap<Id, Vec<(usize, Id)>> = BTreeMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if let (Some(item), Some(user)) = (step(&ledger, entry), entry.user) {
            steps.entry(user).or_default().push((index, item));
        } else if entry.user.is_none() && held_line(&entry.action).is_some() {
            plan.skip("events without a user");
        }
        ledger.apply(entry, &mut |_change| {});
    }
    let mut begins: Vec<usize> = vec![usize::MAX; log.users.len()];
    for (user, steps) in steps {
        if !is_sampled(sample.seed, log.users.name(user), sample.share) {
            continue;
        }
        let Some((&(last, item), earlier @ [_, ..])) = steps.split_last() else {
            plan.skip(ONE_STEP);
            continue;
        };
        begins[user as usize] = last;
        let before: Vec<Id> = earlier.iter().map(|(_index, item)| *item).collect();
        let unit = plan.cases.new_unit();
        let asker = Asker { unit, user: Some(user), basket: None, time: log.entries[last].time };
        let given = before.len() as u32;
        let sequence = plan.cases.new_sequence(before);
        plan.cases.push(asker, sequence, given, None, &[item]);
    }
    let is_learned =
        |(index, user): (usize, Option<Id>)| user.is_none_or(|user| index < begins[user as usize]);
    let learned = log.entries.iter().enumerate().filter(|(index, entry)| is_learned((*index, entry.user)));
    plan.order = learned.map(|(index, _entry)| index as u32).collect();
    plan.rounds = vec![Round { learn: 0..plan.order.len(), ask: 0..0 }];
    end(plan)
}
