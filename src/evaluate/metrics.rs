//! Metrics: what an answer is worth, at several cutoffs. `docs/evaluate.md` has each formula and a case by hand.
//!
//! Most metrics are means over cases. All are quotients of two sums, so that they can be computed for any sample of
//! units from the sums of each unit. Only coverage and Gini need the counts of all items.

use crate::evaluate::data::Id;
use anyhow::{Result, ensure};

/// A metric that is a quotient of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Hit rate: the share of cases with a hit.
    Hr,
    /// Mean reciprocal rank of the first hit.
    Mrr,
    /// Hits / truth.
    Recall,
    /// Hits / the most hits there can be.
    CalibratedRecall,
    /// Hits / cutoff.
    Precision,
    /// Discounted gain / that of an ideal answer, as long as the cutoff allows.
    Ndcg,
    /// Discounted gain / that of the whole truth, however long.
    NdcgAll,
    /// Mean average precision.
    Map,
    /// Hits among repeated items / repeated items of the truth, over cases with any.
    RepeatRecall,
    /// Hits among new items / new items of the truth, over cases with any.
    ExploreRecall,
    /// The share of recommended items that the subject had before.
    RepeatShare,
    /// The share of recommended items that the subject did not have before.
    ExploreShare,
    /// The mean share of baskets that hold a recommended item.
    Popularity,
    /// The mean of −log2 of that share.
    Novelty,
}

impl Metric {
    /// Every metric, in the order of reports.
    pub const ALL: [Metric; 14] = [
        Metric::Hr,
        Metric::Mrr,
        Metric::Recall,
        Metric::CalibratedRecall,
        Metric::Precision,
        Metric::Ndcg,
        Metric::NdcgAll,
        Metric::Map,
        Metric::RepeatRecall,
        Metric::ExploreRecall,
        Metric::RepeatShare,
        Metric::ExploreShare,
        Metric::Popularity,
        Metric::Novelty,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Hr => "hr",
            Metric::Mrr => "mrr",
            Metric::Recall => "recall",
            Metric::CalibratedRecall => "calibrated-recall",
            Metric::Precision => "precision",
            Metric::Ndcg => "ndcg",
            Metric::NdcgAll => "ndcg-all",
            Metric::Map => "map",
            Metric::RepeatRecall => "repeat-recall",
            Metric::ExploreRecall => "explore-recall",
            Metric::RepeatShare => "repeat-share",
            Metric::ExploreShare => "explore-share",
            Metric::Popularity => "popularity",
            Metric::Novelty => "novelty",
        }
    }

    /// The place of its divisor in the sums of a cutoff, behind those of all metrics.
    fn divisor(self) -> Divisor {
        match self {
            Metric::RepeatRecall => Divisor::RepeatCases,
            Metric::ExploreRecall => Divisor::ExploreCases,
            Metric::RepeatShare | Metric::ExploreShare | Metric::Popularity | Metric::Novelty => {
                Divisor::Recommended
            }
            _ => Divisor::Cases,
        }
    }
}

/// What a metric is divided by.
#[derive(Clone, Copy, Debug)]
enum Divisor {
    Cases,
    RepeatCases,
    ExploreCases,
    Recommended,
}

/// Sums of one cutoff: of each metric, then of each divisor.
const WIDTH: usize = Metric::ALL.len() + 4;

/// The place of the first divisor.
const FIRST_DIVISOR: usize = Metric::ALL.len();

/// The cutoffs: how many items of an answer count. Rising, none twice, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutoffs(Vec<usize>);

impl Cutoffs {
    /// The largest cutoff.
    pub const MAX: usize = 1000;

    /// The cutoffs, sorted.
    ///
    /// # Errors
    /// If there is none, or one is not from 1 to [`Cutoffs::MAX`].
    pub fn new(mut cutoffs: Vec<usize>) -> Result<Cutoffs> {
        cutoffs.sort_unstable();
        cutoffs.dedup();
        let is_valid = !cutoffs.is_empty() && cutoffs.iter().all(|at| (1..=Self::MAX).contains(at));
        ensure!(is_valid, "--at wants numbers from 1 to {}, such as 10,20", Self::MAX);
        Ok(Cutoffs(cutoffs))
    }

    /// The cutoffs, rising.
    pub fn each(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// The largest of them.
    pub fn largest(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// The smallest of them, by which methods are compared first.
    pub fn smallest(&self) -> usize {
        self.0.first().copied().unwrap_or(1)
    }
}

/// An item of an answer, with what metrics need to know of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recommended {
    /// The item.
    pub item: Id,
    /// Whether it is in the truth.
    pub is_hit: bool,
    /// Whether the subject had it before.
    pub is_repeat: bool,
    /// The share of baskets that hold it, above 0.
    pub popularity: f64,
}

/// The truth of a case, as far as metrics need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Items to find, at least 1.
    pub items: usize,
    /// Those of them that the subject had before.
    pub repeats: usize,
}

/// The sums of each unit.
#[derive(Clone, Debug)]
pub struct Sums {
    cutoffs: Cutoffs,
    /// For each unit, the sums of each cutoff.
    rows: Vec<f64>,
    /// For each cutoff, how often each item was recommended.
    exposure: Vec<Vec<u32>>,
    /// Items that a basket held when the last case was asked.
    catalogue: usize,
}

/// The gain of a hit at a rank, from 0.
fn gain(rank: usize) -> f64 {
    1.0 / libm::log2(rank as f64 + 2.0)
}

impl Sums {
    /// Sums of `units` units, all 0, of answers with at most `items` different items.
    pub fn new(cutoffs: Cutoffs, units: usize, items: usize) -> Sums {
        let exposure = cutoffs.each().map(|_at| vec![0; items]).collect();
        let rows = vec![0.0; units * cutoffs.0.len() * WIDTH];
        Sums { cutoffs, rows, exposure, catalogue: 0 }
    }

    /// Sets the number of items that could have been recommended.
    pub fn set_catalogue(&mut self, items: usize) {
        self.catalogue = items;
    }

    /// The cutoffs.
    pub fn cutoffs(&self) -> &Cutoffs {
        &self.cutoffs
    }

    /// Adds the answer of a case of a unit.
    pub fn add(&mut self, unit: u32, answer: &[Recommended], truth: Truth) {
        let Sums { cutoffs, rows, exposure, .. } = self;
        for (place, at) in cutoffs.each().enumerate() {
            let answer = &answer[..answer.len().min(at)];
            for recommended in answer {
                exposure[place][recommended.item as usize] += 1;
            }
            let begin = (unit as usize * cutoffs.0.len() + place) * WIDTH;
            let row = &mut rows[begin..begin + WIDTH];
            for (metric, value) in Metric::ALL.into_iter().zip(values(answer, truth, at)) {
                row[metric as usize] += value;
            }
            row[FIRST_DIVISOR + Divisor::Cases as usize] += 1.0;
            row[FIRST_DIVISOR + Divisor::RepeatCases as usize] += f64::from(truth.repeats > 0);
            row[FIRST_DIVISOR + Divisor::ExploreCases as usize] += f64::from(truth.items > truth.repeats);
            row[FIRST_DIVISOR + Divisor::Recommended as usize] += answer.len() as f64;
        }
    }

    /// The sums of all units, each as often as `weights` says.
    pub fn weighted(&self, weights: &[f64]) -> Totals {
        let width = self.cutoffs.0.len() * WIDTH;
        let mut totals = vec![0.0; width];
        for (row, &weight) in self.rows.chunks_exact(width).zip(weights) {
            if weight > 0.0 {
                totals.iter_mut().zip(row).for_each(|(total, value)| *total += weight * value);
            }
        }
        Totals(totals)
    }

    /// The sums of all units.
    pub fn totals(&self) -> Totals {
        let width = self.cutoffs.0.len() * WIDTH;
        self.weighted(&vec![1.0; self.rows.len() / width])
    }

    /// The share of the catalogue that was recommended to anybody, at the cutoff of this place.
    pub fn coverage(&self, place: usize) -> f64 {
        let recommended = self.exposure[place].iter().filter(|&&count| count > 0).count();
        ratio(recommended as f64, self.catalogue as f64)
    }

    /// The Gini coefficient of how often each item of the catalogue was recommended: 0 if all are alike, near 1 if few
    /// items are recommended to all.
    pub fn gini(&self, place: usize) -> f64 {
        let mut counts: Vec<u32> = self.exposure[place].iter().copied().filter(|&count| count > 0).collect();
        counts.sort_unstable();
        let items = self.catalogue.max(counts.len());
        let never = items - counts.len();
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let ranked: f64 =
            (never + 1..).zip(&counts).map(|(rank, &count)| rank as f64 * f64::from(count)).sum();
        let n = items as f64;
        if total > 0.0 { 2.0 * ranked / (n * total) - (n + 1.0) / n } else { 0.0 }
    }
}

/// The value of each metric for one case, in the order of [`Metric::ALL`]. `answer` has at most `at` items.
fn values(answer: &[Recommended], truth: Truth, at: usize) -> [f64; Metric::ALL.len()] {
    let ranks = || answer.iter().enumerate().filter(|(_rank, it)| it.is_hit).map(|(rank, _it)| rank);
    let hits = ranks().count() as f64;
    let repeats = answer.iter().filter(|it| it.is_repeat).count() as f64;
    let repeat_hits = answer.iter().filter(|it| it.is_hit && it.is_repeat).count() as f64;
    let possible = truth.items.min(at);
    let gained: f64 = ranks().map(gain).sum();
    let ideal = |items: usize| (0..items).map(gain).sum::<f64>();
    let precisions: f64 =
        ranks().enumerate().map(|(before, rank)| (before + 1) as f64 / (rank + 1) as f64).sum();
    let explore_truth = (truth.items - truth.repeats) as f64;
    let value = |metric| match metric {
        Metric::Hr => f64::from(hits > 0.0),
        Metric::Mrr => ranks().next().map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
        Metric::Recall => hits / truth.items as f64,
        Metric::CalibratedRecall => hits / possible as f64,
        Metric::Precision => hits / at as f64,
        Metric::Ndcg => gained / ideal(possible),
        Metric::NdcgAll => gained / ideal(truth.items),
        Metric::Map => precisions / possible as f64,
        Metric::RepeatRecall => ratio(repeat_hits, truth.repeats as f64),
        Metric::ExploreRecall => ratio(hits - repeat_hits, explore_truth),
        Metric::RepeatShare => repeats,
        Metric::ExploreShare => answer.len() as f64 - repeats,
        Metric::Popularity => answer.iter().map(|it| it.popularity).sum(),
        Metric::Novelty => answer.iter().map(|it| -libm::log2(it.popularity)).sum(),
    };
    Metric::ALL.map(value)
}

/// A quotient; 0 if there is nothing to divide by.
fn ratio(sum: f64, divisor: f64) -> f64 {
    if divisor > 0.0 { sum / divisor } else { 0.0 }
}

/// Sums over units.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals(Vec<f64>);

impl Totals {
    /// A metric at the cutoff of this place. 0 if nothing counts for it.
    pub fn metric(&self, metric: Metric, place: usize) -> f64 {
        let row = &self.0[place * WIDTH..(place + 1) * WIDTH];
        ratio(row[metric as usize], row[FIRST_DIVISOR + metric.divisor() as usize])
    }

    /// All metrics at all cutoffs, cutoff by cutoff.
    pub fn metrics(&self) -> Vec<f64> {
        let places = 0..self.0.len() / WIDTH;
        places.flat_map(|place| Metric::ALL.map(|metric| self.metric(metric, place))).collect()
    }

    /// The number of cases.
    pub fn cases(&self) -> f64 {
        self.0[FIRST_DIVISOR + Divisor::Cases as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cutoffs(at: &[usize]) -> Cutoffs {
        Cutoffs::new(at.to_vec()).unwrap()
    }

    /// The case of docs/evaluate.md: tea, mug, pot, pan are recommended; mug, pan and jug were bought; the user had
    /// tea and mug before. Of 8 baskets, 4 hold tea, 2 mug, 1 pot and 1 pan.
    fn example() -> Sums {
        let answer =
            [(0, false, true, 0.5), (1, true, true, 0.25), (2, false, false, 0.125), (3, true, false, 0.125)];
        let answer = answer.map(|(item, is_hit, is_repeat, popularity)| Recommended {
            item,
            is_hit,
            is_repeat,
            popularity,
        });
        let mut sums = Sums::new(cutoffs(&[4, 2]), 1, 5);
        sums.add(0, &answer, Truth { items: 3, repeats: 1 });
        sums.set_catalogue(5);
        sums
    }

    fn check(metric: Metric, at_2: f64, at_4: f64) {
        let totals = example().totals();
        for (place, expected) in [at_2, at_4].into_iter().enumerate() {
            let actual = totals.metric(metric, place);
            assert!((actual - expected).abs() < 5e-5, "{metric:?}: {actual}, not {expected}");
        }
    }

    #[test]
    fn every_metric_by_hand() {
        check(Metric::Hr, 1.0, 1.0);
        check(Metric::Mrr, 0.5, 0.5);
        check(Metric::Recall, 0.3333, 0.6667);
        check(Metric::CalibratedRecall, 0.5, 0.6667);
        check(Metric::Precision, 0.5, 0.5);
        check(Metric::Ndcg, 0.3869, 0.4982);
        check(Metric::NdcgAll, 0.2961, 0.4982);
        check(Metric::Map, 0.25, 0.3333);
        check(Metric::RepeatRecall, 1.0, 1.0);
        check(Metric::ExploreRecall, 0.0, 0.5);
        check(Metric::RepeatShare, 1.0, 0.5);
        check(Metric::ExploreShare, 0.0, 0.5);
        check(Metric::Popularity, 0.375, 0.25);
        check(Metric::Novelty, 1.5, 2.25);
        let sums = example();
        assert_eq!((sums.coverage(0), sums.coverage(1)), (0.4, 0.8));
        assert!((sums.gini(0) - 0.6).abs() < 1e-12 && (sums.gini(1) - 0.2).abs() < 1e-12);
    }

    /// A unit of two cases counts twice, and not at all with weight 0.
    #[test]
    fn units_are_weighted() {
        let hit = [Recommended { item: 0, is_hit: true, is_repeat: false, popularity: 1.0 }];
        let truth = Truth { items: 1, repeats: 0 };
        let mut sums = Sums::new(cutoffs(&[1]), 2, 1);
        sums.add(0, &hit, truth);
        sums.add(0, &hit, truth);
        sums.add(1, &[], truth);
        assert_eq!(sums.totals().metric(Metric::Hr, 0), 2.0 / 3.0);
        assert_eq!(sums.weighted(&[0.0, 3.0]).metric(Metric::Hr, 0), 0.0);
        assert_eq!(sums.weighted(&[1.0, 2.0]).metric(Metric::Hr, 0), 0.5);
        assert_eq!(sums.totals().cases(), 3.0);
        // No case has a repeated item in its truth.
        assert_eq!(sums.totals().metric(Metric::RepeatRecall, 0), 0.0);
    }

    #[test]
    fn cutoffs_are_sorted_and_bounded() {
        assert_eq!(cutoffs(&[20, 10, 20]).each().collect::<Vec<_>>(), [10, 20]);
        for wrong in [vec![], vec![0], vec![1001]] {
            assert!(Cutoffs::new(wrong).is_err());
        }
    }
}
