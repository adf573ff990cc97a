//! Merging: the best k of all parts of a shared row, on the worker that owns the row.
//!
//! The list of a part has the best of the pairs that one worker keeps. So the best of all parts' lists are the best of
//! all pairs.
//!
//! ```text
//! worker 0: milk 4.0, mug 2.0 ─┐
//! worker 1: honey 1.5 ─────────┼─▶ owner: milk 4.0, mug 2.0, honey 1.5 ─▶ the best k ─▶ changed? ─▶ list
//! worker 2: (nothing) ─────────┘
//! ```

use crate::epochs::PerEpoch;
use crate::names::{Names, SharedNames};
use crate::{Diff, Epoch, Item, List, ListParams, Neighbour, NumberedList};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;

/// The list of one worker's part of a shared row, as it is after an epoch.
///
/// When a row stops being shared, its owner's part is the whole row, and the other parts become empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// The item of the row.
    pub(super) item: Item,
    /// The worker that keeps the part.
    pub(super) worker: u32,
    /// The best pairs of the part, best first.
    pub(super) list: Vec<RankedNeighbour>,
    /// The list that the owner published last. Set when the row is shared for the first time, and then by the owner
    /// alone.
    pub(super) published: Option<List<Item>>,
}

/// An entry of a list with the key that orders it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RankedNeighbour {
    /// The key of the measure.
    pub(super) key: f64,
    /// The entry as published.
    pub(super) neighbour: Neighbour<Item>,
}

/// A shared row, on its owner.
#[derive(Default)]
struct SharedRow {
    /// The lists of all parts that are not empty, by worker.
    parts: BTreeMap<u32, Vec<RankedNeighbour>>,
    /// The list that was published last.
    list: List<Item>,
}

/// A change of a list: the list, its epoch, and +1 or −1.
pub(super) type ListChange = ((Item, NumberedList), Epoch, Diff);

/// Maintains the lists of shared rows. Parts are exchanged to the owners of their rows.
pub(super) fn merge_parts<'scope>(
    parts: StreamVec<'scope, Epoch, Part>,
    names: SharedNames,
    params: ListParams,
) -> StreamVec<'scope, Epoch, ListChange> {
    let mut rows: BTreeMap<Item, SharedRow> = BTreeMap::new();
    let to_owner = Exchange::new(|part: &Part| u64::from(part.item.number()));
    parts.per_epoch(to_owner, "MergeParts", move |epoch, parts, session| {
        let names = names.borrow();
        let mut changed: Vec<Item> = parts.iter().map(|part| part.item).collect();
        changed.sort_unstable();
        changed.dedup();
        for Part { item, worker, list, published } in parts.drain(..) {
            let row = rows.entry(item).or_default();
            match published {
                Some(published) => row.list = published,
                None => drop(row.parts.insert(worker, list)),
            }
        }
        for item in changed {
            let Some(row) = rows.get_mut(&item) else { continue };
            let list = row.best(params.k, &names);
            if list != row.list {
                for (list, diff) in [(&row.list, -1), (&list, 1)] {
                    if !list.is_empty() {
                        session.give(((item, NumberedList::from(list.as_slice())), epoch, diff));
                    }
                }
                row.list = list;
            }
            if row.parts.values().all(Vec::is_empty) {
                rows.remove(&item);
            }
        }
    })
}

impl SharedRow {
    /// The best k entries of all parts.
    fn best(&self, k: usize, names: &Names) -> List<Item> {
        let mut all: Vec<&RankedNeighbour> = self.parts.values().flatten().collect();
        all.sort_unstable_by(|x, y| {
            y.key.total_cmp(&x.key).then_with(|| names.cmp(x.neighbour.item, y.neighbour.item))
        });
        all.into_iter().take(k).map(|ranked| ranked.neighbour.clone()).collect()
    }
}
