//! The cut of a row: the pairs that it leaves out, and the floor that they stay behind.

use crate::Item;
use crate::neighbours::row::estimate::Estimate;
use crate::neighbours::row::ranking::{Base, Candidate, Floor, RankKey, Ranking};

/// The pairs that a row leaves out, and the floor.
///
/// The two are made together and dropped together. A floor without estimates would lose the next pair that is left out.
/// Estimates without a floor would hold pairs that nothing keeps out of the list. If all pairs enter the reserve again,
/// the floor stays, and the estimates have room for the next pair that falls behind it.
pub(super) struct Cut {
    /// No pair that is left out has a bound before the floor.
    pub(super) floor: Floor,
    /// No pair of a smaller scaled count can pass the floor, whatever the other item's support.
    pub(super) count_min: u32,
    /// Upper bounds on the counts of the pairs that are left out.
    pub(super) estimates: Estimate,
}

impl Cut {
    /// Leaves out these pairs, none of which is before `floor`.
    pub(super) fn new(floor: RankKey, base: Base, left_out: &[Candidate], ranking: &Ranking<'_>) -> Self {
        let floor = ranking.floor(floor);
        let count_min = ranking.count_min(base, &floor);
        Cut { floor, count_min, estimates: Estimate::of(counts(left_out)) }
    }

    /// Raises the floor, and leaves out these pairs as well, none of which is before the new floor.
    pub(super) fn raise_floor(
        &mut self,
        floor: RankKey,
        base: Base,
        left_out: &[Candidate],
        ranking: &Ranking<'_>,
    ) {
        self.floor = ranking.floor(floor);
        self.count_min = ranking.count_min(base, &self.floor);
        counts(left_out).for_each(|(item, count)| self.estimates.add(item, count));
    }

    /// Whether too many pairs share the cells of the estimates.
    pub(super) fn is_crowded(&self) -> bool {
        self.estimates.is_crowded()
    }

    /// Replaces the estimates by those of these pairs, which are all that are left out.
    pub(super) fn rebuild_estimates(&mut self, left_out: Vec<(Item, u32)>) {
        self.estimates = Estimate::of(left_out.into_iter());
    }

    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.estimates.bytes()
    }
}

/// The items of candidates, with their counts.
fn counts(candidates: &[Candidate]) -> impl ExactSizeIterator<Item = (Item, u32)> + Clone {
    candidates.iter().map(|candidate| (candidate.rank.item, candidate.count))
}
