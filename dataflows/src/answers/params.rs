//! The settings of answers, and the arithmetic that every program of them shares.
//!
//! Weights and contributions are integers, so sums do not depend on their order. Keys are doubles that follow from
//! integers by the same operations everywhere, so they have the same bits on every machine.

use crate::{Item, Millis};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;
use std::str::FromStr;

/// How subjects are answered (`--answer-by`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Way {
    /// By the neighbour lists of the subject's items.
    Lists,
    /// By the baskets that share items with the subject.
    Baskets,
    /// By what the subject's user had in baskets before.
    Own,
    /// By a weighted sum of the others, each divided by its largest score.
    Blend(Blend),
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lists" => Ok(Way::Lists),
            "baskets" => Ok(Way::Baskets),
            "own" => Ok(Way::Own),
            "blend" => Ok(Way::Blend(Blend::default())),
            _ => Err("unknown way of answering; known are lists, baskets, own, blend".to_owned()),
        }
    }
}

/// The weights of the ways in a blend. A way of weight 0 is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// The weight of [`Way::Lists`], at least 0.
    pub lists: f64,
    /// The weight of [`Way::Baskets`], at least 0.
    pub baskets: f64,
    /// The weight of [`Way::Own`], at least 0.
    pub own: f64,
}

impl Default for Blend {
    fn default() -> Self {
        Blend { lists: 0.0, baskets: 1.0, own: 1.0 }
    }
}

/// How the lists of a subject's items are put together (`--combine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combine {
    /// The scores of an item in all lists are added.
    Sum,
    /// The largest score of an item in any list counts.
    Max,
}

impl FromStr for Combine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sum" => Ok(Combine::Sum),
            "max" => Ok(Combine::Max),
            _ => Err("unknown rule; known are sum, max".to_owned()),
        }
    }
}

/// Which items of the subject are kept out of its answer (`--exclude`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exclude {
    /// All that are in the cart; of a user, all that are in their open carts.
    Cart,
    /// The item that was touched last.
    Last,
    /// None.
    None,
}

impl Exclude {
    /// The items that are kept out of an answer, rising. `cart` is what is in the cart, and `items` are those of the
    /// subject, the most recently touched first.
    pub(crate) fn of(self, cart: impl IntoIterator<Item = Item>, items: &[Item]) -> Vec<Item> {
        let mut excluded: Vec<Item> = match self {
            Exclude::Cart => cart.into_iter().collect(),
            Exclude::Last => items.iter().copied().take(1).collect(),
            Exclude::None => Vec::new(),
        };
        excluded.sort_unstable();
        excluded.dedup();
        excluded
    }
}

impl FromStr for Exclude {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cart" => Ok(Exclude::Cart),
            "last" => Ok(Exclude::Last),
            "none" => Ok(Exclude::None),
            _ => Err("unknown exclusion; known are cart, last, none".to_owned()),
        }
    }
}

/// The settings of answers.
///
/// [`AnswerParams::default`] has the values of the literature: Ludewig, Jannach, "Evaluation of session-based
/// recommendation algorithms", UMUAI 2018 (neighbouring baskets, idf); Garg et al., "Sequence and time aware
/// neighborhood for session-based recommendations", SIGIR 2019 (both decays); Kersbergen et al., "Serenade", SIGMOD
/// 2022 (the most recent baskets of each item).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerParams {
    /// The most entries of a cart's answer. 0: carts are no subjects.
    pub carts: usize,
    /// The most entries of a user's answer. 0: users are no subjects.
    pub users: usize,
    /// The way of answering.
    pub by: Way,
    /// The most items of a subject that count, the most recently touched, 1 to [`AnswerParams::ITEMS_MAX`].
    pub items: usize,
    /// The weight of an item, compared with the one that was touched next, above 0 and at most 1.
    pub position_decay: f64,
    /// How lists are put together.
    pub combine: Combine,
    /// The most baskets of each item that are considered, the most recently touched; at least 1.
    pub recent: usize,
    /// The most baskets that an answer is made of, at least 1.
    pub neighbours: usize,
    /// The weight of a basket, compared with one whose most recent shared item was touched next; above 0, at most 1.
    pub match_decay: f64,
    /// How much a rare item counts that a basket shares, from 0 (as any other) to [`AnswerParams::MATCH_IDF_MAX`].
    pub match_idf: f64,
    /// How much rare items are preferred, at least 0.
    pub idf: f64,
    /// Lines of the user's most recent baskets that are enough for [`Way::Own`]. The basket that reaches it counts in
    /// full.
    pub own_lines: usize,
    /// Time after which a basket of the user counts half, in milliseconds. None: all count alike.
    pub own_half_life: Option<NonZeroU64>,
    /// What is kept out.
    pub exclude: Exclude,
    /// Milliseconds of event time after which open subjects are answered again. None: at every epoch.
    pub refresh: Option<NonZeroU64>,
    /// The most subjects that one refresh answers again, on each worker.
    pub refresh_max: usize,
}

impl Default for AnswerParams {
    fn default() -> Self {
        AnswerParams {
            carts: 10,
            users: 0,
            by: Way::Baskets,
            items: 15,
            position_decay: 0.9,
            combine: Combine::Sum,
            recent: 1000,
            neighbours: 100,
            match_decay: 0.95,
            match_idf: 0.0,
            idf: 0.3,
            own_lines: 5000,
            own_half_life: None,
            exclude: Exclude::Cart,
            refresh: NonZeroU64::new(30_000),
            refresh_max: 1000,
        }
    }
}

/// 1 as a weight: the weight of the item that was touched last.
const ONE: f64 = (1 << 16) as f64;

/// 1 as a contribution to a score.
const UNIT: f64 = (1 << 18) as f64;

/// The largest contribution. Sums of them saturate.
const CONTRIBUTION_MAX: f64 = (1u64 << 50) as f64;

impl AnswerParams {
    /// The most items of a subject that may count: each is one bit of a mask.
    pub const ITEMS_MAX: usize = 64;

    /// The largest [`AnswerParams::match_idf`]. Overlaps stay far from the largest contribution.
    pub const MATCH_IDF_MAX: f64 = 4.0;

    /// The weights of the ways, in the order lists, baskets, own.
    pub(crate) fn weights(&self) -> [f64; 3] {
        match self.by {
            Way::Lists => [1.0, 0.0, 0.0],
            Way::Baskets => [0.0, 1.0, 0.0],
            Way::Own => [0.0, 0.0, 1.0],
            Way::Blend(Blend { lists, baskets, own }) => [lists, baskets, own],
        }
    }

    /// Whether answers need the lists of items.
    pub(crate) fn uses_lists(&self) -> bool {
        self.weights()[0] > 0.0
    }

    /// Whether answers need the baskets near a subject.
    pub(crate) fn uses_baskets(&self) -> bool {
        self.weights()[1] > 0.0
    }

    /// Whether answers need what users had before.
    pub(crate) fn uses_own(&self) -> bool {
        self.weights()[2] > 0.0
    }

    /// The weight of the item that is `steps` back, in units of 2^−16.
    pub(crate) fn position_weight(&self, steps: usize) -> u64 {
        (power(self.position_decay, steps) * ONE + 0.5) as u64
    }

    /// The weight of the item that is `steps` back where a basket shares it: w(d) · ln(N / n(item))^match-idf, in units
    /// of 2^−16. `rarity` gives [`rarity`] of the item, and is not called where rarity does not count.
    pub(crate) fn match_weight(&self, steps: usize, rarity: impl FnOnce() -> f64) -> u64 {
        if self.match_idf == 0.0 {
            return self.position_weight(steps);
        }
        (power(self.position_decay, steps) * libm::pow(rarity(), self.match_idf) * ONE + 0.5) as u64
    }

    /// The similarity of a subject and a basket: Σ w(d) over the shared items / √(items of the basket).
    ///
    /// `overlap` is the sum, in units of 2^−16. `length_norm` is that of the basket's items.
    #[inline]
    pub(crate) fn basket_similarity(&self, overlap: u64, length_norm: f64) -> f64 {
        overlap as f64 / ONE * length_norm
    }

    /// What a basket adds to the score of each of its items. `steps` is how far back its most recent shared item is.
    pub(crate) fn basket_contribution(&self, similarity: f64, steps: usize) -> u64 {
        contribution(similarity * power(self.match_decay, steps))
    }

    /// The score of an item by baskets: the sum of contributions · (1 + idf · ln(N / n(item))). Both numbers are given
    /// as their logarithms.
    #[inline]
    pub(crate) fn basket_score(&self, sum: u64, log_support: f64, log_total: f64) -> f64 {
        sum as f64 / UNIT * (1.0 + self.idf * (log_total - log_support))
    }

    /// What an entry of the list of the item that is `steps` back adds to the score of the entry's item.
    pub(crate) fn list_contribution(&self, similarity: f64, steps: usize) -> u64 {
        contribution(similarity * (self.position_weight(steps) as f64 / ONE))
    }

    /// Adds a contribution to a sum, as [`AnswerParams::combine`] says.
    pub(crate) fn add_list_contribution(&self, sum: u64, contribution: u64) -> u64 {
        match self.combine {
            Combine::Sum => sum.saturating_add(contribution),
            Combine::Max => sum.max(contribution),
        }
    }

    /// The score that a sum of contributions stands for.
    pub(crate) fn score(&self, sum: u64) -> f64 {
        sum as f64 / UNIT
    }

    /// The weight of a basket of the user that was touched `age` milliseconds before their most recent one.
    pub(crate) fn own_weight(&self, age: Millis) -> u64 {
        let Some(half_life) = self.own_half_life else { return contribution(1.0) };
        contribution(libm::exp2(-(age as f64 / half_life.get() as f64)))
    }
}

/// 1 / √len, for a basket of so many items, at least one.
pub(crate) fn length_norm(len: usize) -> f64 {
    1.0 / (len as f64).sqrt()
}

/// ln n, for a number of baskets, at least one.
pub(crate) fn log(n: u32) -> f64 {
    libm::log(f64::from(n))
}

/// ln(N / n(item)), at least 0. An item in no basket counts as one in a single basket.
pub(crate) fn rarity(support: u32, total: u32) -> f64 {
    (log(total.max(1)) - log(support.max(1))).max(0.0)
}

/// A contribution in units, rounded down.
fn contribution(value: f64) -> u64 {
    (value * UNIT).min(CONTRIBUTION_MAX) as u64
}

/// `base` to the power of a small whole number, by multiplication: the same bits everywhere.
fn power(base: f64, exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |power, _step| power * base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fall_with_the_distance() {
        let params = AnswerParams::default();
        assert_eq!(params.position_weight(0), 65_536);
        assert_eq!(params.position_weight(1), 58_982);
        assert_eq!(params.position_weight(2), 53_084);
        let flat = AnswerParams { position_decay: 1.0, ..params };
        assert_eq!(flat.position_weight(31), 65_536);
    }

    /// Two of the items of a basket of four are shared, the last and the one before.
    #[test]
    fn similarity_by_hand() {
        let params = AnswerParams { position_decay: 0.5, ..AnswerParams::default() };
        let overlap = params.position_weight(0) + params.position_weight(1);
        assert_eq!(params.basket_similarity(overlap, length_norm(4)), 0.75);
        let none = AnswerParams { idf: 0.0, ..params };
        assert_eq!(none.basket_score(none.basket_contribution(0.75, 0), log(1), log(100)), 0.75);
        let halved = AnswerParams { match_decay: 0.5, ..none };
        assert_eq!(halved.basket_score(halved.basket_contribution(0.75, 2), log(1), log(100)), 0.1875);
    }

    /// An item in one of e baskets has the weight 1, one in all of them 0, and one in one of e² baskets 2 or 4.
    #[test]
    fn rare_items_that_are_shared_count_more() {
        let params = |match_idf| AnswerParams { match_idf, position_decay: 0.5, ..AnswerParams::default() };
        assert_eq!(params(0.0).match_weight(1, || 0.0), 32_768);
        assert_eq!(params(1.0).match_weight(0, || 0.0), 0);
        assert_eq!(params(1.0).match_weight(1, || 1.0), 32_768);
        assert_eq!(params(1.0).match_weight(0, || 2.0), 2 * 65_536);
        assert_eq!(params(2.0).match_weight(0, || 2.0), 4 * 65_536);
        assert!(params(4.0).match_weight(0, || rarity(1, u32::MAX)) < 1 << 36);
        assert_eq!([rarity(3, 3), rarity(0, 0), rarity(1, 2)], [0.0, 0.0, log(2)]);
    }

    #[test]
    fn own_baskets_lose_half_in_a_half_life() {
        let params = AnswerParams { own_half_life: NonZeroU64::new(1000), ..AnswerParams::default() };
        assert_eq!(params.own_weight(0), 2 * params.own_weight(1000));
        assert_eq!(params.own_weight(0), 4 * params.own_weight(2000));
        assert_eq!(AnswerParams::default().own_weight(1 << 40), params.own_weight(0));
    }

    #[test]
    fn contributions_are_bounded() {
        assert_eq!(contribution(f64::INFINITY), 1 << 50);
        assert_eq!(contribution(0.0), 0);
    }
}
