//! The settings that shape the lists: [`Params`].

use crate::{AnswerParams, Counts, Evidence, Neighbour, Scoring};
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

/// The program that computes the lists (`--engine`). Both give the same lists.
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

/// The shape of a list.
///
/// A list is never empty, has no item twice, and does not have the item whose list it is. Entries are ordered by key,
/// falling, and ties by name, rising.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListParams {
    /// The most entries of a list, at least 1.
    pub k: usize,
    /// The measure that orders it, with its settings.
    pub scoring: Scoring,
    /// Whether scores and counts are published. Without them, a list changes only when its members or their order do.
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

    /// Whether a list can change because N, the number of baskets, did.
    pub(crate) fn lists_use_total(&self) -> bool {
        self.scoring.order_uses_total() || self.scores && self.scoring.score_uses_total()
    }

    /// Candidates that a row keeps after a cut. With these the list seldom runs short before the next cut.
    pub(crate) fn reserve(&self) -> usize {
        self.k + 10
    }

    /// Candidates above which a row is cut.
    pub(crate) fn reserve_max(&self) -> usize {
        2 * self.k + 12
    }
}

/// All settings of [`recommend`](crate::recommend). There is no default: whoever runs the dataflow decides.
///
/// # Examples
/// ```
/// use deltacart_dataflows::{Algorithm, Evidence, ListParams, Measure, Params, Scoring};
/// let params = Params {
///     algorithm: Algorithm::Fast,
///     lists: ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true },
///     basket_items_max: 10_000,
///     basket_idle: None,
///     item_baskets_max: None,
///     evidence: Evidence::default(),
///     open_for: None,
///     answers: None,
/// };
/// assert_eq!("reference".parse(), Ok(Algorithm::Reference));
/// assert!("slow".parse::<Algorithm>().is_err());
/// # let _ = params;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// The program.
    pub algorithm: Algorithm,
    /// The shape of a list.
    pub lists: ListParams,
    /// The kinds of events that hold an item in a basket.
    pub evidence: Evidence,
    /// The most lines of a basket, at least 1. In a full basket a new line evicts the oldest.
    pub basket_items_max: usize,
    /// Milliseconds without an event after which a basket expires, by the clock of its partition. None: never.
    pub basket_idle: Option<NonZeroU64>,
    /// The most baskets from which an item is counted. Counts of an item in more baskets are estimates from a sample of
    /// them. None: from all.
    pub item_baskets_max: Option<NonZeroU32>,
    /// Milliseconds after its last touch for which a basket is recent, by the clock of its partition. None: touches are
    /// not tracked, and no states are emitted ([`BasketState`](crate::BasketState)).
    pub open_for: Option<NonZeroU64>,
    /// The settings of answers, which need `open_for`. None: carts and users are not answered.
    pub answers: Option<AnswerParams>,
}
