//! Intervals by bootstrap over units: sessions, orders or users, not cases, which depend on each other.
//!
//! Of `units` units, as many are drawn with replacement, again and again; 95 % of the metrics of such samples lie
//! between the bounds. Every method gets the same samples, so the difference of two methods has an interval, too.
//! Efron, Tibshirani, "An introduction to the bootstrap", 1993: percentile intervals.

use crate::evaluate::metrics::Sums;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// The metrics of each sample: by sample, in the order of [`Totals::metrics`](super::metrics::Totals::metrics).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Vec<f64>>);

/// The bounds between which 95 % of samples lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Samples {
    /// Draws `count` samples. The same seed draws the same units.
    pub fn draw(sums: &Sums, units: usize, count: usize, seed: u64) -> Samples {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = vec![0.0; units];
        let samples = (0..count).map(|_sample| {
            weights.fill(0.0);
            for _draw in 0..units {
                weights[random.random_range(0..units)] += 1.0;
            }
            sums.weighted(&weights).metrics()
        });
        Samples(samples.collect())
    }

    /// The interval of the metric at `place`. None without samples.
    pub fn interval(&self, place: usize) -> Option<Interval> {
        interval(self.0.iter().map(|sample| sample[place]).collect())
    }

    /// The interval of what this method has more than another. None without samples.
    pub fn difference(&self, other: &Samples, place: usize) -> Option<Interval> {
        let pairs = self.0.iter().zip(&other.0);
        interval(pairs.map(|(sample, other)| sample[place] - other[place]).collect())
    }
}

/// The 2.5th and the 97.5th percentile.
fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(share * last as f64).round() as usize];
    Some(Interval { low: at(0.025), high: at(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::{Cutoffs, Recommended, Truth};

    /// One case a unit; the first `hits` of 1,000 units have a hit.
    fn sums(hits: u32) -> Sums {
        let mut sums = Sums::new(Cutoffs::new(vec![1]).unwrap(), 1000, 1);
        for unit in 0..1000 {
            let answer = [Recommended { item: 0, is_hit: unit < hits, is_repeat: false, popularity: 1.0 }];
            sums.add(unit, &answer, Truth { items: 1, repeats: 0 });
        }
        sums
    }

    /// A hit rate of 0.3 over 1,000 units has a standard error of √(0.3·0.7/1000) = 0.0145, so 95 % are ± 0.0284.
    #[test]
    fn interval_of_a_hit_rate_is_that_of_the_textbook() {
        let interval = Samples::draw(&sums(300), 1000, 2000, 1).interval(0).unwrap();
        assert!((interval.low - 0.2716).abs() < 0.004, "{interval:?}");
        assert!((interval.high - 0.3284).abs() < 0.004, "{interval:?}");
    }

    /// Units that both methods hit do not blur the difference: 0.01 ± 1.96·√(0.01·0.99/1000).
    #[test]
    fn difference_is_paired() {
        let draw = |hits| Samples::draw(&sums(hits), 1000, 2000, 1);
        let interval = draw(310).difference(&draw(300), 0).unwrap();
        assert!(interval.low > 0.0 && interval.high < 0.02, "{interval:?}");
        let none = draw(300).difference(&draw(300), 0).unwrap();
        assert_eq!((none.low, none.high), (0.0, 0.0));
    }

    #[test]
    fn no_sample_has_no_interval() {
        assert_eq!(Samples::default().interval(0), None);
        let seeds = [1, 1, 2].map(|seed| Samples::draw(&sums(300), 1000, 5, seed));
        assert!(seeds[0] == seeds[1] && seeds[1] != seeds[2]);
    }
}
