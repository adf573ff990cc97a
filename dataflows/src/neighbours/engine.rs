//! The engine of one worker: takes an epoch's updates, and emits how lists changed.
//!
//! ```text
//! updates ─▶ update: index, supports, rows; dirty rows are marked ─▶ rank: each dirty row once ─▶ changed lists
//! ```
//!
//! [`update`] runs once per epoch and has ten steps, whose order matters. [`rank`] runs in pieces, and operators
//! downstream take the lists of a piece while they are in the processor's cache.

mod dirty_rows;

mod watchers;

mod update;

mod rank;

use crate::id_vec::IdVec;
use crate::interaction_index::{Accumulator, IndexFollower, InteractionIndex, LineChange};
use crate::names::SharedNames;
use crate::neighbours::merge_parts::Part;
use crate::neighbours::pair_changes::PairChanges;
use crate::neighbours::pair_filter::PairFilter;
use crate::neighbours::placement::{Placement, RowId};
use crate::neighbours::row::{Row, Scratch};
use crate::neighbours::sample::Sample;
use crate::neighbours::spread::Routed;
use crate::neighbours::supports::Supports;
use crate::sampling::Sampling;
use crate::state_stats::{Measured, StateStats};
use crate::{Diff, Item, ListParams, NumberedList};
use dirty_rows::DirtyRows;
use std::rc::Rc;
use watchers::Watchers;

/// All that one worker knows of the items it owns, and of the parts of shared rows that it keeps.
pub(super) struct Engine<F> {
    /// The index of the worker.
    worker: u32,
    /// The settings of the lists.
    params: ListParams,
    /// The names of items, which break ties.
    names: SharedNames,
    /// The pairs that may be listed.
    filter: F,
    /// The rows that are kept here.
    placement: Placement,
    /// The lines that are not in the index, where a sample of lines is counted.
    sample: Option<Sample>,
    /// The baskets of items and the items of baskets.
    index: InteractionIndex,
    /// The changes of the index in the epoch, sorted.
    line_changes: Vec<LineChange>,
    /// n(a) of all items, and N.
    supports: Supports,
    /// The rows.
    rows: IdVec<RowId, Row>,
    /// The rows that a rising support concerns.
    watchers: Watchers,
    /// The changes of the epoch's pairs, by row.
    pair_changes: PairChanges,
    /// Rows with pairs that the epoch changed.
    changed: DirtyRows,
    /// Rows whose list may have changed in the epoch, for any reason.
    dirty: DirtyRows,
    /// How many of the dirty rows have been ranked.
    ranked: usize,
    /// Items that no basket holds since the last epoch.
    unheld: Vec<Item>,
    /// Adds up one row after the other.
    accumulator: Accumulator,
    /// Ranks one row after the other.
    scratch: Scratch,
    /// Work so far beside additions: baskets looked at for single counts, and entries ranked.
    steps: u64,
}

/// What an epoch did to lists.
#[derive(Clone)]
pub(super) enum Emitted {
    /// A list was inserted (+1) or retracted (−1).
    List { item: Item, list: NumberedList, diff: Diff },
    /// The list of this worker's part of a shared row changed.
    Part(Part),
}

impl<F: PairFilter> Engine<F> {
    /// The engine of worker `index` of `workers`, without interactions.
    pub(super) fn new(
        index: usize,
        workers: usize,
        params: ListParams,
        names: SharedNames,
        sampling: Option<Sampling>,
        filter: F,
    ) -> Self {
        Engine {
            worker: index as u32,
            params,
            names,
            filter,
            placement: Placement::new(index, workers),
            index: InteractionIndex::default(),
            line_changes: Vec::new(),
            supports: Supports::new(sampling.as_ref().map_or(0, Sampling::max)),
            sample: sampling.map(Sample::new),
            rows: IdVec::default(),
            watchers: Watchers::default(),
            pair_changes: PairChanges::default(),
            changed: DirtyRows::default(),
            dirty: DirtyRows::default(),
            ranked: 0,
            unheld: Vec::new(),
            accumulator: Accumulator::default(),
            scratch: Scratch::default(),
            steps: 0,
        }
    }

    /// The work so far, in units that do not depend on time: pairs read, items read in recounts, baskets looked at for
    /// single counts, and entries ranked.
    pub(super) fn work(&self) -> u64 {
        self.steps + self.accumulator.additions()
    }

    /// Advances an epoch by a piece of work. Returns whether the epoch is done. Until then it must be called again.
    ///
    /// The first call of an epoch takes its `updates`. Each call ranks some rows and emits how their lists changed.
    pub(super) fn step(&mut self, updates: &mut Vec<Routed>, emit: &mut impl FnMut(Emitted)) -> bool {
        let names = Rc::clone(&self.names);
        let names = names.borrow();
        if self.is_done() {
            self.changed.clear();
            self.dirty.clear();
            self.ranked = 0;
            self.forget_unheld();
            self.update(updates, &names, emit);
        }
        self.rank(&names, emit);
        self.is_done()
    }

    /// Lets a follower of the index take the epoch that is done, with its questions.
    pub(super) fn follow<I: IndexFollower>(
        &self,
        follower: &mut I,
        questions: &mut Vec<I::Question>,
        reply: &mut dyn FnMut(I::Reply),
    ) {
        let owns = |item| self.placement.owns(item);
        follower.end_epoch(&self.index, &self.line_changes, &owns, &self.supports, questions, reply);
    }

    /// Whether all dirty rows have been ranked.
    fn is_done(&self) -> bool {
        self.ranked == self.dirty.list().len()
    }
}

impl<F> Measured for Engine<F> {
    fn add_to(&self, stats: &mut StateStats) {
        let rows = self.rows.values();
        stats.rows += rows.iter().filter(|row| !row.is_empty()).count() as u64;
        stats.index_bytes += self.index.bytes() + self.sample.as_ref().map_or(0, Sample::bytes);
        stats.rows_bytes += self.rows.bytes() + rows.iter().map(Row::bytes).sum::<u64>();
        stats.rows_bytes += self.watchers.bytes() + self.supports.bytes();
    }
}
