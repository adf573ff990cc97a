//! Shared rows made whole: the best k of all parts, on the worker that owns the row.
//!
//! A part's list has the best of the pairs that one worker keeps, so the best of all parts' lists are the best of all.

use crate::epochs::PerEpoch;
use crate::neighbours::engine::named;
use crate::{Diff, Epoch, Item, List, ListParams, Name, Names, Neighbour, SharedNames};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;

/// The list of one worker's part of a shared row, as it is after an epoch. When the row is shared no more, the owner's
/// part is the whole row and the others are empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) item: Item,
    pub(super) worker: u32,
    /// With their keys, best first.
    pub(super) list: Vec<(f64, Neighbour<Item>)>,
    /// When the row becomes shared for the first time: what the owner published last.
    pub(super) published: Option<Vec<Neighbour<Item>>>,
}

/// A shared row, on its owner.
#[derive(Default)]
struct Shared {
    parts: BTreeMap<u32, Vec<(f64, Neighbour<Item>)>>,
    /// The list as published last.
    list: Vec<Neighbour<Item>>,
}

/// A change of a list.
pub(super) type ListChange = ((Name, List), Epoch, Diff);

/// Maintains the lists of shared rows.
pub(super) fn merge<'scope>(
    parts: StreamVec<'scope, Epoch, Part>,
    names: SharedNames,
    params: ListParams,
) -> StreamVec<'scope, Epoch, ListChange> {
    let mut rows: BTreeMap<Item, Shared> = BTreeMap::new();
    let to_owner = Exchange::new(|part: &Part| u64::from(part.item));
    parts.per_epoch(to_owner, "MergeParts", move |epoch, parts, session| {
        let names = names.borrow();
        let mut touched: Vec<Item> = parts.iter().map(|part| part.item).collect();
        touched.sort_unstable();
        touched.dedup();
        for Part { item, worker, list, published } in parts.drain(..) {
            let row = rows.entry(item).or_default();
            match published {
                Some(published) => row.list = published,
                None => drop(row.parts.insert(worker, list)),
            }
        }
        for item in touched {
            let Some(row) = rows.get_mut(&item) else { continue };
            let list = row.best(params.k, &names);
            if list != row.list {
                let name = names.name(item);
                for (list, diff) in [(&row.list, -1), (&list, 1)] {
                    if !list.is_empty() {
                        session.give(((name.clone(), named(list, &names)), epoch, diff));
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

impl Shared {
    fn best(&self, k: usize, names: &Names) -> Vec<Neighbour<Item>> {
        let mut all: Vec<&(f64, Neighbour<Item>)> = self.parts.values().flatten().collect();
        all.sort_unstable_by(|(x, a), (y, b)| y.total_cmp(x).then_with(|| names.cmp(a.item, b.item)));
        all.into_iter().take(k).map(|(_key, neighbour)| neighbour.clone()).collect()
    }
}
