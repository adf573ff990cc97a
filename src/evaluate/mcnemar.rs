//! McNemar's test over a sliding window: does one method hit more often than another, at this point of the stream?
//!
//! Of the cases in the window, n01 are hits of the first method alone and n10 hits of the second alone. The statistic
//! is (n01 − n10)² / (n01 + n10), with the sign of n01 − n10; beyond ±6.635 the difference is significant at 1 %.
//! Gama, Sebastião, Rodrigues, "On evaluating stream learning algorithms", Machine Learning 2013; Vinagre, Jorge,
//! Gama, "An overview on the exploitation of time in collaborative filtering", 2015, for recommenders.

use serde::Serialize;

/// The statistic beyond which a difference is significant at 1 %, of one degree of freedom.
pub const SIGNIFICANT: f64 = 6.635;

/// The test at one point of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The last case of the window, from 1.
    pub case: usize,
    /// The signed statistic: above 0 where the first method is better.
    pub statistic: f64,
}

/// The test at each end of a window that slides by half its length.
pub fn sliding(first: &[bool], second: &[bool], window: usize) -> Vec<Point> {
    let step = (window / 2).max(1);
    let differences: Vec<i8> = first.iter().zip(second).map(|(x, y)| i8::from(*x) - i8::from(*y)).collect();
    let ends = (window..=differences.len()).step_by(step);
    ends.map(|end| Point { case: end, statistic: statistic(&differences[end - window..end]) }).collect()
}

fn statistic(differences: &[i8]) -> f64 {
    let count = |wanted: i8| differences.iter().filter(|&&it| it == wanted).count() as f64;
    let (first, second) = (count(1), count(-1));
    let discordant = first + second;
    let difference = first - second;
    if discordant > 0.0 { difference * difference.abs() / discordant } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of ten cases, the first method alone hits eight, the second alone one: (8 − 1)² / 9.
    #[test]
    fn statistic_by_hand() {
        let first = [true, true, true, true, true, true, true, true, false, true];
        let second = [false, false, false, false, false, false, false, false, true, true];
        assert_eq!(sliding(&first, &second, 10), [Point { case: 10, statistic: 49.0 / 9.0 }]);
        assert_eq!(sliding(&second, &first, 10), [Point { case: 10, statistic: -49.0 / 9.0 }]);
    }

    #[test]
    fn the_window_slides() {
        let (first, second) = ([true, false, true, false, false], [false; 5]);
        let cases: Vec<usize> = sliding(&first, &second, 2).iter().map(|point| point.case).collect();
        assert_eq!(cases, [2, 3, 4, 5]);
        assert!(sliding(&first, &second, 6).is_empty());
        assert_eq!(sliding(&second, &second, 5)[0].statistic, 0.0);
    }
}
