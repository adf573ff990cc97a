//! Simple rules to compare with: popularity, recency, the user's own frequencies, chance.
//!
//! Ties are broken by id, as the job breaks them.

use crate::evaluate::cases::{Case, Cases};
use crate::evaluate::data::{Id, Log};
use crate::evaluate::hash::hash_numbers;
use crate::evaluate::methods::{Rule, Yardstick};
use crate::evaluate::observed::Observed;
use deltacart_dataflows::Exclude;
use std::collections::{BTreeMap, BTreeSet};

/// The best `k` items of a case by a rule, best first.
pub(super) fn answer(
    yardstick: Yardstick,
    log: &Log,
    observed: &Observed,
    cases: &Cases,
    case: &Case,
    chance: Chance,
    k: usize,
) -> Vec<Id> {
    let given = cases.given(case);
    let excluded: BTreeSet<Id> = match yardstick.exclude {
        Exclude::Cart => given.collect(),
        Exclude::Last => given.take(1).collect(),
        Exclude::None => BTreeSet::new(),
    };
    let is_admitted = |item: &Id| !excluded.contains(item);
    match yardstick.rule {
        Rule::Popularity => {
            ties_by_name(observed, log, k + excluded.len()).filter(is_admitted).take(k).collect()
        }
        Rule::Recency => observed.by_recency().filter(is_admitted).take(k).collect(),
        Rule::Random => {
            chance.items(log, observed, k + excluded.len()).into_iter().filter(is_admitted).take(k).collect()
        }
        Rule::Frequency { ties_by_popularity, fills, half_life } => {
            let weight =
                |age: u64| half_life.map_or(1.0, |half| libm::exp2(-(age as f64) / half.get() as f64));
            let baskets = case.user.map(|user| observed.baskets_of(user)).unwrap_or_default();
            let newest = baskets.iter().map(|(time, _items)| *time).max().unwrap_or(0);
            let mut sums: BTreeMap<Id, f64> = BTreeMap::new();
            for (time, items) in baskets {
                for item in items.into_iter().filter(|item| is_admitted(item)) {
                    *sums.entry(item).or_default() += weight(newest - time);
                }
            }
            let tie = |item: Id| if ties_by_popularity { observed.support(item) } else { 0 };
            let mut ranked: Vec<(f64, u32, Id)> =
                sums.into_iter().map(|(item, sum)| (sum, tie(item), item)).collect();
            ranked.sort_by(|x, y| {
                let by_sum = y.0.total_cmp(&x.0).then(y.1.cmp(&x.1));
                by_sum.then_with(|| log.items.name(x.2).cmp(log.items.name(y.2)))
            });
            let mut answer: Vec<Id> = ranked.into_iter().map(|(_sum, _tie, item)| item).take(k).collect();
            if fills {
                let popular = ties_by_name(observed, log, 2 * k + excluded.len());
                let more = popular.filter(|item| is_admitted(item) && !answer.contains(item));
                let more: Vec<Id> = more.take(k - answer.len()).collect();
                answer.extend(more);
            }
            answer
        }
    }
}

/// At least the `count` most popular items, ties by name.
fn ties_by_name(observed: &Observed, log: &Log, count: usize) -> impl Iterator<Item = Id> {
    let mut items: Vec<Id> = Vec::with_capacity(count);
    for item in observed.by_popularity() {
        let is_tie = items.last().is_some_and(|&last| observed.support(last) == observed.support(item));
        if items.len() >= count && !is_tie {
            break;
        }
        items.push(item);
    }
    items.sort_by(|&x, &y| {
        let by_support = observed.support(y).cmp(&observed.support(x));
        by_support.then_with(|| log.items.name(x).cmp(log.items.name(y)))
    });
    items.into_iter()
}

/// The chance of one case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    /// The seed of the evaluation.
    pub(super) seed: u64,
    /// The number of the case.
    pub(super) case: u64,
}

impl Chance {
    /// `count` different items that a basket holds, as if drawn one after the other. Fewer if there are fewer.
    fn items(self, log: &Log, observed: &Observed, count: usize) -> Vec<Id> {
        let seed = hash_numbers(self.seed, self.case);
        let mut items = Vec::with_capacity(count);
        // A shuffle of which only the beginning is needed: what lies elsewhere than at the start is remembered.
        let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
        let len = log.items.len();
        for place in 0..len {
            if items.len() == count {
                break;
            }
            let other = place + (hash_numbers(seed, place as u64) % (len - place) as u64) as usize;
            let here = moved.get(&place).copied().unwrap_or(place);
            let there = moved.insert(other, here).unwrap_or(other);
            let item = if other == place { here } else { there } as Id;
            if observed.support(item) > 0 {
                items.push(item);
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::data::tests::add;
    use crate::evaluate::protocols::{Protocol, Sample, plan};
    use std::num::NonZeroU64;

    /// Tea is in three baskets, milk in two, mug and pot in one each; ann had mug twice long ago, and milk lately.
    fn shop() -> (Log, Observed, Cases) {
        let day = 86_400_000;
        let events = [
            add(day, "1", "ann", "mug"),
            add(2 * day, "2", "ann", "mug"),
            add(3 * day, "3", "ben", "tea"),
            add(4 * day, "4", "cid", "tea"),
            add(5 * day, "5", "dan", "tea"),
            add(6 * day, "6", "dan", "pan"),
            add(7 * day, "7", "dan", "pot"),
            add(50 * day, "8", "ann", "milk"),
            add(60 * day, "9", "ann", "pot"),
        ];
        let mut log = Log::of_events(&events).unwrap();
        let sample = Sample { seed: 1, share: 1.0 };
        let plan = plan(&mut log, &Protocol::LeaveLastBasket(3), sample).unwrap();
        let mut observed = Observed::default();
        plan.order.iter().for_each(|&index| observed.learn(&log.entries[index as usize]));
        (log, observed, plan.cases)
    }

    fn answers(rule: Rule, exclude: Exclude) -> String {
        let (log, observed, cases) = shop();
        let (yardstick, chance) = (Yardstick { rule, exclude }, Chance { seed: 1, case: 0 });
        let items = answer(yardstick, &log, &observed, &cases, &cases.cases[0], chance, 4);
        items.iter().map(|&item| log.items.name(item).as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The last basket of ann, with the pot, is not learned. Dan's last basket is not learned either: he has three.
    #[test]
    fn popularity_and_recency() {
        assert_eq!(answers(Rule::Popularity, Exclude::None), "tea mug milk pan");
        assert_eq!(answers(Rule::Popularity, Exclude::Cart), "tea pan");
        assert_eq!(answers(Rule::Recency, Exclude::None), "milk pan tea mug");
        assert_eq!(answers(Rule::Recency, Exclude::Last), "pan tea mug");
    }

    #[test]
    fn frequency_with_every_rule() {
        let frequency = |ties_by_popularity, fills, days: u64| {
            let half_life = NonZeroU64::new(days * 86_400_000);
            answers(Rule::Frequency { ties_by_popularity, fills, half_life }, Exclude::None)
        };
        assert_eq!(frequency(true, false, 0), "mug milk");
        assert_eq!(frequency(true, true, 0), "mug milk tea pan");
        // After 48 and 49 days, two mugs are worth less than one milk.
        assert_eq!(frequency(true, false, 14), "milk mug");
        assert_eq!(frequency(true, false, 90), "mug milk");
    }

    #[test]
    fn chance_draws_every_item_once() {
        let (log, observed, _cases) = shop();
        for case in 0..50 {
            let mut items = Chance { seed: 1, case }.items(&log, &observed, 10);
            items.sort_unstable();
            let mut expected: Vec<Id> = observed.by_recency().collect();
            expected.sort_unstable();
            assert_eq!(items, expected, "case {case}");
        }
        let firsts: BTreeSet<Id> =
            (0..50).map(|case| Chance { seed: 1, case }.items(&log, &observed, 1)[0]).collect();
        assert_eq!(firsts.len(), observed.items(), "any item can come first");
    }
}
