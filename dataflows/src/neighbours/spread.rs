//! Who needs which change: from the owners of baskets to the owners of items.
//!
//! A worker holds a copy of every basket with an item that it owns. The basket's owner sends it each change of such a
//! basket once, and the whole basket when it meets it for the first time; a worker that owns nothing of a basket any
//! more drops its copy by itself. Changed supports and the number of baskets go to every worker.

use crate::epochs::{EpochSession, PerEpoch};
use crate::sampling::Sampling;
use crate::{Basket, Diff, Epoch, Item};
use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate_updates;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

/// What the owner of items learns of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Update {
    /// The basket has the item now, or has it no more. The basket's level, where items are limited; else 0.
    Line(Basket, Item, bool, u8),
    /// So many more baskets have the item.
    Support(Item, i32),
    /// So many more baskets are not empty.
    Total(i32),
}

/// An update and the worker it is for.
pub(super) type Routed = (u32, Update);

/// Where a routed update goes.
pub(super) fn target(routed: &Routed) -> u64 {
    u64::from(routed.0)
}

/// Routes an epoch's changes, which lie with the owners of the baskets.
pub(super) fn spread<'scope>(
    interactions: VecCollection<'scope, Epoch, (Basket, Item), Diff>,
    sampling: Option<Sampling>,
) -> StreamVec<'scope, Epoch, Routed> {
    let workers = interactions.scope().peers() as u32;
    let mut sizes = Sizes::default();
    let mut held = Held { workers, ..Held::default() };
    let own = |update: &((Basket, Item), Epoch, Diff)| update.1;
    interactions.inner.per_epoch_of(Some(own), Pipeline, "Spread", move |_epoch, updates, session| {
        consolidate_updates(updates);
        let mut supports: Vec<(Item, Epoch, i32)> = Vec::new();
        let mut total = 0;
        for changes in updates.chunk_by(|x, y| x.0.0 == y.0.0) {
            let basket = changes[0].0.0;
            for &((_basket, item), epoch, diff) in changes {
                assert!(diff == 1 || diff == -1, "a basket holds an item once");
                supports.push((item, epoch, diff as i32));
            }
            total += sizes.change(basket / workers, changes.iter().map(|change| change.2).sum());
            let level = sampling.as_ref().map_or(0, |sampling| sampling.level(basket / workers));
            held.send(basket, level, changes, session);
        }
        consolidate_updates(&mut supports);
        for worker in 0..workers {
            if total != 0 {
                session.give((worker, Update::Total(total)));
            }
            for &(item, _epoch, diff) in &supports {
                session.give((worker, Update::Support(item, diff)));
            }
        }
    })
}

/// How many items each basket of this worker holds.
#[derive(Default)]
struct Sizes(Vec<u32>);

impl Sizes {
    /// Changes the size of a basket; returns how many more baskets are not empty: −1, 0 or 1.
    fn change(&mut self, basket: u32, diff: Diff) -> i32 {
        let index = basket as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        let before = self.0[index];
        let after = before.checked_add_signed(diff as i32).expect("an item leaves a basket that holds it");
        self.0[index] = after;
        i32::from(after > 0) - i32::from(before > 0)
    }
}

/// What each basket of this worker holds, to tell who has a copy of it. Empty where there is only one worker.
#[derive(Default)]
struct Held {
    workers: u32,
    baskets: Vec<Vec<Item>>,
    /// Scratch: by worker, how many of a basket's items it owns, before and after the epoch.
    owned: Vec<(u32, u32)>,
}

impl Held {
    fn send(
        &mut self,
        basket: Basket,
        level: u8,
        changes: &[((Basket, Item), Epoch, Diff)],
        session: &mut EpochSession<'_, '_, Routed>,
    ) {
        let lines = changes.iter().map(|&((_, item), _, diff)| Update::Line(basket, item, diff > 0, level));
        if self.workers == 1 {
            session.give_iterator(lines.map(|line| (0, line)));
            return;
        }
        let index = (basket / self.workers) as usize;
        if self.baskets.len() <= index {
            self.baskets.resize_with(index + 1, Vec::new);
        }
        let items = &mut self.baskets[index];
        self.owned.clear();
        self.owned.resize(self.workers as usize, (0, 0));
        for &item in items.iter() {
            self.owned[(item % self.workers) as usize].0 += 1;
        }
        let removed = |item: &Item| changes.binary_search_by_key(item, |change| change.0.1).is_ok();
        items.retain(|item| !removed(item));
        items.extend(changes.iter().filter(|change| change.2 > 0).map(|change| change.0.1));
        for &item in items.iter() {
            self.owned[(item % self.workers) as usize].1 += 1;
        }
        for (worker, owned) in (0..).zip(&self.owned) {
            match owned {
                (0, 0) => {}
                (0, _) => {
                    let line = |&item: &Item| (worker, Update::Line(basket, item, true, level));
                    session.give_iterator(items.iter().map(line));
                }
                _ => session.give_iterator(lines.clone().map(|line| (worker, line))),
            }
        }
        if items.is_empty() {
            // Or every number would keep room for the largest basket that it ever meant.
            *items = Vec::new();
        }
    }
}
