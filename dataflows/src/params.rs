//! What to compute: the settings that shape the lists.

use crate::{Counts, Neighbour, Scoring};
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

/// Which program computes the lists (`--engine`). Both give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Counts on demand: [`neighbours`](crate::neighbours).
    Fast,
    /// The obvious differential program: [`reference_neighbours`](crate::reference_neighbours).
    Reference,
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fast" => Ok(Algorithm::Fast),
            "reference" => Ok(Algorithm::Reference),
            _ => Err("unknown engine; known are fast, reference".to_owned()),
        }
    }
}

/// What a list is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListParams {
    /// The most entries of a list, at least 1.
    pub k: usize,
    /// What orders it.
    pub scoring: Scoring,
    /// Whether scores and counts are published. Without them only a change of members or of their order is a change.
    pub scores: bool,
}

impl ListParams {
    /// An entry as published.
    pub(crate) fn neighbour<I>(&self, item: I, counts: Counts) -> Neighbour<I> {
        match self.scores {
            true => Neighbour { item, score: self.scoring.published(counts), count: counts.both },
            false => Neighbour { item, score: 0, count: 0 },
        }
    }

    /// Whether a list can change because the number of baskets did.
    pub(crate) fn lists_use_total(&self) -> bool {
        self.scoring.order_uses_total() || self.scores && self.scoring.score_uses_total()
    }

    /// Candidates kept after a cut: enough that the list seldom runs short before the next.
    pub(crate) fn reserve(&self) -> usize {
        self.k + 10
    }

    /// Candidates that lead to a cut.
    pub(crate) fn reserve_max(&self) -> usize {
        2 * self.k + 12
    }
}

/// All settings of [`recommend`](crate::recommend).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Which program.
    pub algorithm: Algorithm,
    /// What a list is.
    pub lists: ListParams,
    /// The most lines of a basket, at least 1; the oldest makes room for a new one.
    pub basket_items_max: usize,
    /// A basket that nothing has happened to for so many milliseconds, by the clock of its partition, gives its lines
    /// back; never, without a number.
    pub basket_idle: Option<NonZeroU64>,
    /// How many baskets may speak for an item: the counts of one that is in more are estimates from a sample of them.
    /// Without a number, all do.
    pub item_baskets_max: Option<NonZeroU32>,
}
