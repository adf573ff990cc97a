//! The measures: from four counts to a score, its order in a list, and a bound on it.
//!
//! A score says how similar item b is to item a, in whose list it stands. It is a function of [`Counts`]
//! alone. It comes in three forms:
//!
//! - the **key** orders a list. It is the score, or something that rises with the score inside one list and keeps exact
//!   ties. Cosine is ordered by c²/(n(b)+λ), where equal quotients of small integers are equal doubles;
//! - the **bound** is at least the key of every pair with at most this count and at least these supports;
//! - the **published** score is an integer, in units of the last digit.
//!
//! What each measure depends on decides how much work a change of a support is:
//!
//! ```text
//! measure      range       order in the list of a depends on    score also depends on
//! cosine       0 … 1       c, n(b)                              n(a)
//! jaccard      0 … 1       c, n(a), n(b)
//! dice         0 … 1       c, n(a), n(b)
//! llr          0 …         c, n(a), n(b), N
//! lift         0 …         c, n(b)                              n(a), N
//! npmi         0 … 1       c, n(a), n(b), N
//! confidence   0 … 1       c                                    n(a)
//! count        1 …         c
//! ```
//!
//! Logarithms and powers are those of `libm`: the same bits on every machine, because workers must agree.
//!
//! # Sources
//! Cosine and its damping: Ludewig, Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018
//! (item-kNN, λ = 20). G²: Dunning, "Accurate methods for the statistics of surprise and coincidence", 1993.
//! NPMI: Bouma, "Normalized (pointwise) mutual information in collocation extraction", 2009.

use std::str::FromStr;

/// How similarity is measured (`--measure`). c = c(a,b), and N is the number of non-empty baskets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// c / ((n(a)+λ)^α · (n(b)+λ)^(1−α)).
    Cosine,
    /// c / (n(a)+n(b)−c).
    Jaccard,
    /// 2c / (n(a)+n(b)).
    Dice,
    /// Dunning's G² of the four cells (c, n(a)−c, n(b)−c, N−n(a)−n(b)+c); 0 for negative association.
    Llr,
    /// c·N / (n(a)·n(b)).
    Lift,
    /// ln(lift) / −ln(c/N), in [−1, 1].
    Npmi,
    /// c / n(a).
    Confidence,
    /// c.
    Count,
}

impl Measure {
    /// Every measure, in the order of the documentation.
    pub const ALL: [Measure; 8] = [
        Measure::Cosine,
        Measure::Jaccard,
        Measure::Dice,
        Measure::Llr,
        Measure::Lift,
        Measure::Npmi,
        Measure::Confidence,
        Measure::Count,
    ];

    /// The name of the measure as the value of a flag.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Cosine => "cosine",
            Measure::Jaccard => "jaccard",
            Measure::Dice => "dice",
            Measure::Llr => "llr",
            Measure::Lift => "lift",
            Measure::Npmi => "npmi",
            Measure::Confidence => "confidence",
            Measure::Count => "count",
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Measure::ALL.into_iter().find(|measure| measure.name() == text).ok_or_else(|| {
            let known: Vec<_> = Measure::ALL.iter().map(|measure| measure.name()).collect();
            format!("unknown measure; known are {}", known.join(", "))
        })
    }
}

/// The four numbers that decide a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// c(a,b), the baskets that hold both; at most `row` and `other`.
    pub both: u32,
    /// n(a), the baskets that hold the item whose list it is.
    pub row: u32,
    /// n(b), the baskets that hold the other item.
    pub other: u32,
    /// N, the non-empty baskets.
    pub total: u32,
}

/// A measure with its settings.
///
/// # Examples
/// Two items in 8 and 18 of 100 baskets, in 4 of them together:
///
/// ```
/// use deltacart_dataflows::{Counts, Measure, Scoring};
/// let counts = Counts { both: 4, row: 8, other: 18, total: 100 };
/// let scoring = Scoring::new(Measure::Cosine);
/// assert_eq!(scoring.published(counts), 333);
/// assert_eq!(scoring.key(counts), 16.0 / 18.0);
/// assert!(scoring.bound(Counts { both: 5, ..counts }) >= scoring.key(counts));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// The measure.
    pub measure: Measure,
    /// α of cosine, in [0, 1]: how much of the penalty falls on a's own support.
    pub alpha: f64,
    /// λ of cosine, at least 0: added to both supports, it keeps rare items from the top.
    pub damping: f64,
    /// The smallest count that scores, at least 1.
    pub min_count: u32,
    /// Digits after the point in published scores, 0 to 9.
    pub digits: u32,
}

impl Scoring {
    /// The measure with α = ½, λ = 0, every count counting, and three digits.
    pub fn new(measure: Measure) -> Self {
        Scoring { measure, alpha: 0.5, damping: 0.0, min_count: 1, digits: 3 }
    }

    /// Whether the order in a list depends on the support of the item whose list it is.
    pub fn order_uses_row(&self) -> bool {
        matches!(self.measure, Measure::Jaccard | Measure::Dice | Measure::Llr | Measure::Npmi)
    }

    /// Whether the order in a list depends on N.
    pub fn order_uses_total(&self) -> bool {
        matches!(self.measure, Measure::Llr | Measure::Npmi)
    }

    /// Whether scores depend on N, so that every list may change when N does.
    pub fn score_uses_total(&self) -> bool {
        self.order_uses_total() || self.measure == Measure::Lift
    }

    /// The sort key in a list: larger comes first, and 0 is not listed. Never negative, never NaN.
    #[inline]
    pub fn key(&self, counts: Counts) -> f64 {
        if counts.both < self.min_count || counts.both == 0 {
            return 0.0;
        }
        let c = f64::from(counts.both);
        match self.measure {
            Measure::Cosine if self.alpha == 0.5 => c * c / (f64::from(counts.other) + self.damping),
            Measure::Cosine => c / libm::pow(f64::from(counts.other) + self.damping, 1.0 - self.alpha),
            Measure::Lift => c / f64::from(counts.other),
            Measure::Confidence | Measure::Count => c,
            Measure::Jaccard | Measure::Dice | Measure::Llr | Measure::Npmi => self.score(counts),
        }
    }

    /// An upper bound on the key of all pairs within `counts`.
    ///
    /// A pair is within `counts` if its count is at most `both`, its supports are at least `row` and `other`, and N is
    /// at most `total`. The supports may be below the count, and so may the total.
    #[inline]
    pub fn bound(&self, counts: Counts) -> f64 {
        match self.measure {
            // The default, and short: here the row's support does not matter.
            Measure::Cosine if self.alpha == 0.5 => {
                self.key(Counts { other: counts.other.max(counts.both), ..counts })
            }
            _ => self.bound_of_others(counts),
        }
    }

    /// The bound of all measures but the default one.
    fn bound_of_others(&self, counts: Counts) -> f64 {
        if counts.both < self.min_count || counts.both == 0 {
            return 0.0;
        }
        // Of pairs that are never apart G² likes those best that are in half of all baskets, so a larger count than
        // that bounds nothing.
        let most = match self.measure {
            Measure::Llr => counts.row.max(counts.other).max(counts.total / 2).max(self.min_count),
            _ => u32::MAX,
        };
        let both = counts.both.min(most);
        // The count of a pair never exceeds its supports, so supports below it are not the tightest bound there is.
        let row = counts.row.max(both);
        let other = counts.other.max(both);
        let key = self.key(Counts { both, row, other, ..counts });
        match self.measure {
            // Sums and quotients round monotonically, so these bounds hold to the last bit.
            Measure::Jaccard | Measure::Dice | Measure::Lift | Measure::Confidence | Measure::Count => key,
            // Powers and logarithms may be off by some last bits either way, which small quotients and cancelling
            // terms magnify.
            Measure::Cosine => key * (1.0 + MARGIN),
            Measure::Npmi => key + 1000.0 * MARGIN,
            Measure::Llr => key * (1.0 + MARGIN) + f64::from(counts.total) * MARGIN / 1000.0,
        }
    }

    /// The score. 0 for a pair that is not listed.
    pub fn score(&self, counts: Counts) -> f64 {
        let Counts { both, row, other, total } = counts;
        if both < self.min_count || both == 0 {
            return 0.0;
        }
        let [c, row, other, total] = [both, row, other, total].map(f64::from);
        match self.measure {
            Measure::Cosine if self.alpha == 0.5 => {
                c / ((row + self.damping) * (other + self.damping)).sqrt()
            }
            Measure::Cosine => {
                let row = libm::pow(row + self.damping, self.alpha);
                c / (row * libm::pow(other + self.damping, 1.0 - self.alpha))
            }
            Measure::Jaccard => c / (row + other - c),
            Measure::Dice => 2.0 * c / (row + other),
            Measure::Llr => g_squared(c, row, other, total),
            Measure::Lift => c * total / (row * other),
            Measure::Npmi => npmi(c, row, other, total),
            Measure::Confidence => c / row,
            Measure::Count => c,
        }
    }

    /// The published score, in units of its last digit: 412 for 0.412 at 3 digits. Halves round up.
    pub fn published(&self, counts: Counts) -> i64 {
        self.rounded(self.score(counts))
    }

    /// A score that is not negative, in units of the last published digit. Halves round up.
    pub(crate) fn rounded(&self, score: f64) -> i64 {
        (score * UNITS[self.digits as usize] + 0.5) as i64
    }
}

/// Units of the last digit in 1, by the number of digits.
const UNITS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Far above the rounding of a handful of `libm` calls (each within 1e-15), far below any difference that matters.
const MARGIN: f64 = 1e-9;

/// Dunning's G² = 2 Σ k·ln(k·N / (its row sum · its column sum)) over the four cells; 0 for negative association.
fn g_squared(c: f64, row: f64, other: f64, total: f64) -> f64 {
    // Association is decided on integers below 2^53 where supports are below 94 million: exact.
    if c * total <= row * other {
        return 0.0;
    }
    let term = |cell: f64, row_sum: f64, column_sum: f64| {
        if cell > 0.0 { cell * libm::log(cell * total / (row_sum * column_sum)) } else { 0.0 }
    };
    let (not_row, not_other) = (total - row, total - other);
    let sum = term(c, row, other)
        + term(row - c, row, not_other)
        + term(other - c, not_row, other)
        + term(not_row - (other - c), not_row, not_other);
    (2.0 * sum).max(0.0)
}

/// ln(lift) / −ln(c/N), at least 0. A pair that is never apart scores 1, also where it is in every basket.
fn npmi(c: f64, row: f64, other: f64, total: f64) -> f64 {
    if row == c && other == c {
        return 1.0;
    }
    (libm::log(c * total / (row * other)) / libm::log(total / c)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(both: u32, row: u32, other: u32, total: u32) -> Counts {
        Counts { both, row, other, total }
    }

    /// Published values of G², by cells k11, k12, k21, k22.
    #[test]
    fn llr_golden() {
        for ([k11, k12, k21, k22], expected) in
            [([110, 2442, 111, 29114], 270.72), ([29, 13, 123, 31612], 263.90), ([9, 12, 429, 31327], 48.94)]
        {
            let score =
                Scoring::new(Measure::Llr).score(counts(k11, k11 + k12, k11 + k21, k11 + k12 + k21 + k22));
            assert!((score - expected).abs() < 0.005, "{score} is not {expected}");
        }
    }

    /// Worked by hand from the formulas for c = 4, n(a) = 8, n(b) = 18, N = 100.
    #[test]
    fn golden() {
        for (measure, expected) in [
            (Measure::Cosine, 4.0 / 12.0),
            (Measure::Jaccard, 4.0 / 22.0),
            (Measure::Dice, 8.0 / 26.0),
            (Measure::Lift, 400.0 / 144.0),
            (Measure::Npmi, (400.0f64 / 144.0).ln() / 25f64.ln()),
            (Measure::Confidence, 0.5),
            (Measure::Count, 4.0),
        ] {
            let score = Scoring::new(measure).score(counts(4, 8, 18, 100));
            assert!((score - expected).abs() < 1e-12, "{measure:?}: {score} is not {expected}");
        }
        let damped = Scoring { damping: 20.0, ..Scoring::new(Measure::Cosine) };
        assert!((damped.score(counts(4, 8, 18, 100)) - 4.0 / (28.0f64 * 38.0).sqrt()).abs() < 1e-12);
        let skewed = Scoring { alpha: 0.75, ..Scoring::new(Measure::Cosine) };
        let expected = 4.0 / (8f64.powf(0.75) * 18f64.powf(0.25));
        assert!((skewed.score(counts(4, 8, 18, 100)) - expected).abs() < 1e-12);
    }

    #[test]
    fn ends_of_the_range() {
        let all = counts(7, 7, 7, 7);
        assert_eq!(Scoring::new(Measure::Npmi).score(all), 1.0);
        assert_eq!(Scoring::new(Measure::Llr).score(all), 0.0);
        assert_eq!(Scoring::new(Measure::Lift).score(all), 1.0);
        // Independent and negatively associated pairs are not listed by the two measures of association.
        for pair in [counts(2, 4, 10, 20), counts(1, 10, 10, 20)] {
            assert_eq!(Scoring::new(Measure::Llr).key(pair), 0.0);
            assert_eq!(Scoring::new(Measure::Npmi).key(pair), 0.0);
        }
        for measure in Measure::ALL {
            let scoring = Scoring { min_count: 3, ..Scoring::new(measure) };
            assert_eq!(scoring.key(counts(2, 2, 2, 50)), 0.0);
            assert!(scoring.key(counts(3, 3, 3, 50)) > 0.0);
            assert_eq!(measure.name().parse(), Ok(measure));
        }
    }

    prop_compose! {
        /// Counts that can be, and looser ones: a larger count and total, smaller supports.
        fn tighter_and_looser()(both in 1u32..2000, row in 0u32..3000, other in 0u32..3000, rest in 0u32..100_000,
            more in 0u32..50, fewer in (0u32..300, 0u32..300), grown in 0u32..10_000,
            some in any::<bool>(), within in any::<bool>()) -> (Counts, Counts) {
            // Pairs that are seldom apart, and in most of all baskets, are a case of their own.
            let [row, other, rest] = if some { [row % 50, other % 50, rest % 1000] } else { [row, other, rest] };
            let (row, other) = (both + row, both + other);
            let total = row + other - both + rest;
            let looser = if within { (both + more).min(row).min(other) } else { both + 20 * more };
            (counts(both, row, other, total),
             counts(looser, row.saturating_sub(fewer.0), other.saturating_sub(fewer.1), total + grown))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn bound_is_never_below_the_key((counts, loose) in tighter_and_looser(),
            which in 0usize..8, alpha in 0.0f64..=1.0, half in any::<bool>(), damping in 0.0f64..30.0) {
            let alpha = if half { 0.5 } else { alpha };
            let scoring = Scoring { alpha, damping, ..Scoring::new(Measure::ALL[which]) };
            let (key, bound) = (scoring.key(counts), scoring.bound(loose));
            prop_assert!(key >= 0.0 && bound >= key, "{scoring:?}: {key} of {counts:?} above {bound} of {loose:?}");
        }

        #[test]
        fn key_orders_a_row_as_the_score_does((x, y) in tighter_and_looser(), which in 0usize..8) {
            let scoring = Scoring::new(Measure::ALL[which]);
            let other = counts(y.both.min(x.row), x.row, y.other.max(y.both.min(x.row)), x.total);
            prop_assume!(x.row + other.other - other.both <= x.total);
            let (a, b) = (scoring.score(x), scoring.score(other));
            if a > b * (1.0 + 1e-9) && b > 0.0 {
                prop_assert!(scoring.key(x) > scoring.key(other));
            }
        }
    }
}
