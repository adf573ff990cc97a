//! Ranking: each dirty row is ranked once an epoch, and the lists that changed are emitted.
//!
//! ```text
//! dirty row ─▶ rank ─▶ list of the k best ─▶ differs from the published one? ─▶ retract the old, insert the new
//!                                            │
//!                                            └ part of a shared row: the best of the part, with keys, to the owner
//! ```
//!
//! - A row is ranked however often the epoch changed it: an item that came, went and came again costs one ranking.
//! - A row that is not in use any more is left out, although items may still name it as one that watches them.
//! - If the whole reserve was ranked, the row watches other items from now on.
//! - The lists of a row that is shared, or was once, go to the owner as a part, also if they did not change. The owner
//!   compares the merged list with the published one.

use super::{Emitted, Engine};
use crate::NumberedList;
use crate::names::Names;
use crate::neighbours::kept_pairs::KeptPairs;
use crate::neighbours::merge_parts::{Part, RankedNeighbour};
use crate::neighbours::pair_filter::PairFilter;
use crate::neighbours::row::ranking::Ranking;
use crate::prefetch::prefetch_ahead;

/// Rows that are ranked in one piece. Operators downstream take their lists while these are in the cache.
const ROWS_PER_STEP: usize = 512;

impl<F: PairFilter> Engine<F> {
    /// Ranks the next piece of the dirty rows, and emits how their lists changed.
    pub(super) fn rank(&mut self, names: &Names, emit: &mut impl FnMut(Emitted)) {
        let Engine {
            placement,
            index,
            supports,
            rows,
            watchers,
            dirty,
            ranked,
            accumulator,
            scratch,
            steps,
            ..
        } = self;
        let ranking = Ranking { params: &self.params, supports, names };
        let pairs = KeptPairs { index, placement, filter: &self.filter };
        let mut list = Vec::new();
        let (mut watched_before, mut watched) = (Vec::new(), Vec::new());
        let end = dirty.list().len().min(*ranked + ROWS_PER_STEP);
        for (at, &id) in dirty.list().iter().enumerate().take(end).skip(*ranked) {
            prefetch_ahead(rows, dirty.list(), at, |row| {
                row.prefetch_reserve();
                row.prefetch_list();
            });
            let Some(item) = placement.item(id) else { continue };
            let row = &mut rows[id];
            watched_before.clear();
            watched_before.extend(row.watched());
            if row.rank(item, pairs, accumulator, scratch, &ranking) {
                row.watch(scratch, &ranking);
                watched.clear();
                watched.extend(row.watched());
                watchers.change(id, &watched_before, &watched);
            }
            *steps += watched_before.len() as u64;
            list.clear();
            list.extend(scratch.top.iter().map(|candidate| {
                let counts = ranking.counts(item, candidate.rank.item, candidate.count);
                ranking.params.neighbour(candidate.rank.item, counts)
            }));
            if placement.is_merged(item) {
                let keys = scratch.top.iter().map(|candidate| candidate.rank.key);
                let ranked =
                    keys.zip(list.drain(..)).map(|(key, neighbour)| RankedNeighbour { key, neighbour });
                let list = ranked.collect();
                emit(Emitted::Part(Part { item, worker: self.worker, list, published: None }));
            } else if row.published() != list {
                let after = (!list.is_empty()).then(|| list.drain(..).collect::<NumberedList>());
                let before = std::mem::replace(&mut row.list, after.clone());
                for (list, diff) in [(before, -1), (after, 1)] {
                    if let Some(list) = list {
                        emit(Emitted::List { item, list, diff });
                    }
                }
            }
        }
        *ranked = end;
    }
}
