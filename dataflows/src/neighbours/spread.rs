//! The spread: changes of baskets go from the owners of baskets to the owners of items.
//!
//! A worker has a copy of every basket that holds an item of its own. The basket's owner sends it each change
//! of that basket once, and the whole basket when the first item of the worker enters it. A worker without an
//! item in the basket drops its copy by itself. Changes of supports and of N go to every worker.
//!
//! ```text
//! pen is added to a basket of tea and mug
//!   to the owner of tea:                     + pen
//!   to the owner of pen, if it has no copy:  tea, mug, pen
//!   to every worker:                         n(pen) + 1
//! ```

use crate::epochs::{EpochSession, PerEpoch};
use crate::id_vec::{IdVec, local_id};
use crate::interactions::{Interaction, Weight};
use crate::sampling::Sampling;
use crate::{Basket, Diff, Epoch, Item};
use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate_updates;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

/// A message to the owner of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Update {
    /// A line was inserted into a basket or removed from it. `level` is that of the basket, and 0 without sampling.
    Line { basket: Basket, item: Item, is_added: bool, level: u8 },
    /// The support of an item changed by this much.
    Support { item: Item, diff: i32 },
    /// The number of baskets that are not empty changed by this much.
    Total { diff: i32 },
}

/// An update and the worker that it goes to.
pub(super) type Routed = (u32, Update);

/// A change of one interaction: the interaction, its epoch, and +1 or −1.
type InteractionChange = (Interaction, Epoch, Diff);

local_id! {
    /// A basket's number among those of its owner.
    LocalBasket
}

/// Routes each epoch's changes of interactions. Emits each update with the worker that needs it.
///
/// Interactions are exchanged to the owners of their baskets. From the box before they lie there already.
pub(super) fn spread<'scope>(
    interactions: VecCollection<'scope, Epoch, Interaction, Diff>,
    sampling: Option<Sampling>,
) -> StreamVec<'scope, Epoch, Routed> {
    let workers = interactions.scope().peers() as u32;
    let index = interactions.scope().index() as u32;
    let mut sizes = BasketSizes::default();
    let mut contents = BasketContents { workers, ..BasketContents::default() };
    let own_epoch = |change: &InteractionChange| change.1;
    interactions.inner.per_epoch_of(Some(own_epoch), Pipeline, "Spread", move |_epoch, changes, session| {
        consolidate_updates(changes);
        let mut supports: Vec<(Item, Epoch, i32)> = Vec::new();
        let mut total = 0;
        for changes in changes.chunk_by(|x, y| x.0.basket == y.0.basket) {
            let basket = changes[0].0.basket;
            assert_eq!(basket.owner(workers), index, "interactions lie with the owner of their basket");
            for &(Interaction { item, weight: Weight::One, .. }, epoch, diff) in changes {
                assert!(diff == 1 || diff == -1, "a basket holds an item once");
                supports.push((item, epoch, diff as i32));
            }
            let local = LocalBasket(basket.local(workers));
            total += sizes.change(local, changes.iter().map(|(_interaction, _epoch, diff)| diff).sum());
            let level = sampling.as_ref().map_or(0, |sampling| sampling.level(local.0));
            contents.send(basket, level, changes, session);
        }
        consolidate_updates(&mut supports);
        for worker in 0..workers {
            if total != 0 {
                session.give((worker, Update::Total { diff: total }));
            }
            for &(item, _epoch, diff) in &supports {
                session.give((worker, Update::Support { item, diff }));
            }
        }
    })
}

/// The worker that a routed update goes to.
pub(super) fn target(routed: &Routed) -> u64 {
    u64::from(routed.0)
}

/// The number of items in each basket of this worker.
#[derive(Default)]
struct BasketSizes(IdVec<LocalBasket, u32>);

impl BasketSizes {
    /// Changes the size of a basket. Returns the change of the number of baskets that are not empty: −1, 0 or 1.
    fn change(&mut self, basket: LocalBasket, diff: Diff) -> i32 {
        let size = self.0.get_or_default(basket);
        let before = *size;
        let after = before.checked_add_signed(diff as i32).expect("an item leaves a basket that holds it");
        *size = after;
        i32::from(after > 0) - i32::from(before > 0)
    }
}

/// The items of each basket of this worker. They say which workers have a copy. Empty where there is only one worker.
#[derive(Default)]
struct BasketContents {
    /// The number of workers.
    workers: u32,
    /// The items of each basket.
    baskets: IdVec<LocalBasket, Vec<Item>>,
    /// Scratch: how many of a basket's items each worker owns.
    owned: Vec<Owned>,
}

/// How many items of a basket a worker owns, before and after an epoch.
#[derive(Clone, Copy, Default)]
struct Owned {
    /// Items of it before the epoch.
    before: u32,
    /// Items of it after the epoch.
    after: u32,
}

impl BasketContents {
    /// Sends the changes of a basket, sorted by item, to all workers that own an item of it.
    fn send(
        &mut self,
        basket: Basket,
        level: u8,
        changes: &[InteractionChange],
        session: &mut EpochSession<'_, '_, Routed>,
    ) {
        let line = move |item, is_added| Update::Line { basket, item, is_added, level };
        let lines = changes.iter().map(|&(interaction, _epoch, diff)| line(interaction.item, diff > 0));
        let workers = self.workers;
        if workers == 1 {
            session.give_iterator(lines.map(|line| (0, line)));
            return;
        }
        let items = self.baskets.get_or_default(LocalBasket(basket.local(workers)));
        self.owned.clear();
        self.owned.resize(workers as usize, Owned::default());
        for &item in items.iter() {
            self.owned[item.owner(workers) as usize].before += 1;
        }
        let is_changed = |item: &Item| changes.binary_search_by_key(item, |change| change.0.item).is_ok();
        items.retain(|item| !is_changed(item));
        items.extend(changes.iter().filter(|change| change.2 > 0).map(|change| change.0.item));
        for &item in items.iter() {
            self.owned[item.owner(workers) as usize].after += 1;
        }
        for (worker, owned) in (0..).zip(&self.owned) {
            match owned {
                Owned { before: 0, after: 0 } => {}
                Owned { before: 0, .. } => {
                    session.give_iterator(items.iter().map(|&item| (worker, line(item, true))));
                }
                _ => session.give_iterator(lines.clone().map(|line| (worker, line))),
            }
        }
        if items.is_empty() {
            // Otherwise every number would keep room for the largest basket that it ever had.
            *items = Vec::new();
        }
    }
}
