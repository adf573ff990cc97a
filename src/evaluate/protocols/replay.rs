//! Replays a log and finds the steps of its baskets: cases of `next-item` and of `prequential`.

use super::settings::{Cut, Sample};
use crate::evaluate::cases::{Asker, Cases, Plan, Round};
use crate::evaluate::data::{Entry, Id, Log, held_line};
use crate::evaluate::hash::is_sampled;
use crate::evaluate::ledger::{Ledger, LineChange};
use deltacart_dataflows::Action;
use std::collections::HashMap;

/// Why the first item of a basket is not asked.
const FIRST: &str = "first items of baskets, with nothing before them";

/// A basket while it is replayed.
struct OpenBasket {
    unit: Option<u32>,
    user: Option<Id>,
    /// The sequence of its items so far, and how many of it there are.
    sequence: u32,
}

/// Follows the baskets of a log.
#[derive(Default)]
pub(super) struct Replay {
    ledger: Ledger,
    open: HashMap<Id, OpenBasket>,
}

/// The item that an event adds, if it is a step.
pub(super) fn step(ledger: &Ledger, entry: &Entry) -> Option<Id> {
    let item = held_line(&entry.action)?;
    let repeats = matches!(entry.action, Action::Add(..));
    (repeats || !ledger.holds(entry.basket, item)).then_some(item)
}

impl Replay {
    /// Applies an event. If it is a step of a basket that is `asked`, and there is something before it, it becomes a
    /// case. Returns whether it was a step with nothing before it.
    pub(super) fn apply(&mut self, entry: &Entry, is_asked: bool, cases: &mut Cases) -> bool {
        let step = step(&self.ledger, entry);
        let mut changes = Vec::new();
        self.ledger.apply(entry, &mut |change: LineChange| changes.push(change));
        for gone in changes.iter().filter(|change| !change.is_held) {
            if let Some(open) = self.open.get_mut(&gone.basket) {
                // Cases before this one keep the items that they had.
                let rest = cases.sequences[open.sequence as usize].iter().copied();
                let rest = rest.filter(|&item| item != gone.item).collect();
                open.sequence = cases.new_sequence(rest);
            }
        }
        let Some(item) = step else {
            return false;
        };
        let open = self.open.entry(entry.basket).or_insert_with(|| OpenBasket {
            unit: None,
            user: None,
            sequence: cases.new_sequence(Vec::new()),
        });
        open.user = entry.user.or(open.user);
        let given = cases.sequences[open.sequence as usize].len() as u32;
        if is_asked && given > 0 {
            let unit = *open.unit.get_or_insert_with(|| cases.new_unit());
            let asker = Asker { unit, user: open.user, basket: Some(entry.basket), time: entry.time };
            cases.push(asker, open.sequence, given, None, &[item]);
        }
        cases.sequences[open.sequence as usize].push(item);
        given == 0
    }
}

/// Every step is asked, and learned when its epoch has ended.
pub(super) fn prequential(log: &Log, cut: Cut, sample: Sample) -> Plan {
    let mut plan = Plan { unit: "session", ..Plan::default() };
    plan.order = (0..log.entries.len() as u32).collect();
    let mut replay = Replay::default();
    let epoch = |(index, entry): (usize, &Entry)| match cut {
        Cut::Events(events) => index as u64 / events.get(),
        Cut::Period(period) => entry.time / period.get(),
    };
    let (mut current, mut begin, mut learned) = (None, 0, 0..0);
    for (index, entry) in log.entries.iter().enumerate() {
        let now = epoch((index, entry));
        if *current.get_or_insert(now) != now {
            let ask = begin..plan.cases.len();
            plan.rounds.push(Round { learn: learned.clone(), ask });
            (current, begin, learned) = (Some(now), plan.cases.len(), learned.end..index);
        }
        let is_asked = is_sampled(sample.seed, log.baskets.name(entry.basket), sample.share);
        if replay.apply(entry, is_asked, &mut plan.cases) && is_asked {
            plan.skip(FIRST);
        }
    }
    plan.rounds.push(Round { learn: learned, ask: begin..plan.cases.len() });
    plan
}
