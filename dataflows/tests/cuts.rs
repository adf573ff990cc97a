//! The two cuts, `--max-item-baskets` and `--max-basket-items`: functions of the data, equal to the model at every
//! epoch, exact to take back; and the first of them without bias.

use crate::harness::{Lists, check, event, last, model, params, run, updates};
use crate::shop::{Random, cut, item_name, lengths, settings};
use deltacart_dataflows::{Action, Algorithm, Event, Measure, Name, Params};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// Settings with a limit of so many baskets that speak for an item.
fn limited(params: Params, max: u32) -> Params {
    Params { item_baskets_max: NonZeroU32::new(max), ..params }
}

/// A shop whose items come into fashion and go out of it: one after the other is put into many of 120 baskets, past a
/// limit and past twice as many, or taken out of them. Now and then a basket is forgotten, and another of a new name
/// takes over what was in it, and perhaps its number, in the same epoch.
fn fashions(seed: u64) -> Vec<Vec<Event>> {
    let mut random = Random::new(seed);
    let mut held: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let (mut epochs, mut offset, mut names) = (vec![Vec::new()], 0, 120);
    let mut push = |epochs: &mut Vec<Vec<Event>>, basket: u64, action| {
        let basket = format!("b{basket}");
        epochs.last_mut().unwrap().push(event(offset, &basket, None, action));
        offset += 1;
    };
    for _ in 0..600 {
        let (basket, item) = (random.below(120), random.below(40).min(random.below(40)));
        if held.entry(basket).or_default().insert(item) {
            push(&mut epochs, basket, Action::Add(item_name(item), 1));
        }
    }
    for _ in 0..30 {
        let (item, comes) = (random.below(6), random.below(2) == 0);
        let mut baskets: Vec<u64> = held.keys().copied().collect();
        random.shuffle(&mut baskets);
        let many = 1 + random.below(60) as usize;
        let of_epoch = 1 + random.below(20) as usize;
        for (number, &basket) in baskets.iter().take(many).enumerate() {
            if number % of_epoch == 0 {
                epochs.push(Vec::new());
            }
            let items = held.get_mut(&basket).unwrap();
            if comes && items.insert(item) {
                push(&mut epochs, basket, Action::Add(item_name(item), 1));
            } else if !comes && items.remove(&item) {
                push(&mut epochs, basket, Action::Remove(item_name(item), None));
            }
        }
        for &basket in &baskets[..random.below(3) as usize] {
            push(&mut epochs, basket, Action::Forget);
            let items = held.remove(&basket).unwrap();
            let added = items.iter().map(|&item| Action::Add(item_name(item), 1));
            added.for_each(|add| push(&mut epochs, names, add));
            held.insert(names, items);
            names += 1;
        }
    }
    epochs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn items_pass_the_limit_and_fall_below(seed in any::<u64>(), params in settings(), k in 1usize..4,
        max in 1u32..40, workers in 1usize..=4) {
        let mut params = limited(params, max);
        params.lists.k = k;
        check(&fashions(seed), params, workers);
    }
}

/// The same for each measure for certain, by both engines, on one worker and on four.
#[test]
fn every_measure_with_a_limit() {
    for (seed, measure) in (1..).zip(Measure::ALL) {
        let epochs = fashions(seed);
        for (algorithm, workers) in [(Algorithm::Fast, 1), (Algorithm::Fast, 4), (Algorithm::Reference, 2)] {
            check(&epochs, limited(params(algorithm, measure, 2), 16), workers);
        }
    }
}

#[test]
fn a_limit_that_no_item_reaches_changes_nothing() {
    let (epochs, exact) = (fashions(7), params(Algorithm::Fast, Measure::Cosine, 5));
    assert_eq!(updates(&epochs, exact, 2), updates(&epochs, limited(exact, 120), 2));
    assert_ne!(last(&epochs, exact, 2), last(&epochs, limited(exact, 16), 2));
}

/// What items are counted together that share `both` baskets, and are in more without each other, where the baskets
/// have these names.
fn counted(of: &str, [row, other, both]: [u32; 3], max: u32) -> u32 {
    let held =
        |basket: u32| [("a", basket < row), ("b", basket >= row - both && basket < row - both + other)];
    let lines = (0..row + other - both)
        .flat_map(|basket| held(basket).into_iter().filter(|line| line.1).map(move |line| (basket, line.0)));
    let events = (0..).zip(lines).map(|(offset, (basket, item))| {
        event(offset, &format!("{of} {basket}"), None, Action::Add(item.into(), 1))
    });
    let params = limited(params(Algorithm::Fast, Measure::Count, 1), max);
    let lists = model(&[events.collect()], params).swap_remove(0);
    lists.get("a").map_or(0, |list| list[0].count)
}

/// Over many shops that differ by nothing but the names of their baskets, estimates are right in the mean, and spread
/// as a fair sample of that size does.
#[test]
fn counts_are_estimated_without_bias() {
    for ([row, other, both], max, scale) in [([100, 300, 60], 50, 8.0), ([240, 300, 60], 150, 2.0)] {
        let shops = 600;
        let counts: Vec<f64> =
            (0..shops).map(|shop| counted(&format!("shop {shop}"), [row, other, both], max).into()).collect();
        let (mean, c) = (counts.iter().sum::<f64>() / f64::from(shops), f64::from(both));
        let spread = (c * (scale - 1.0)).sqrt();
        let error = spread / f64::from(shops).sqrt();
        assert!((mean - c).abs() < 4.0 * error, "{c} is counted as {mean} ± {error}");
        let squares = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / f64::from(shops);
        assert!((squares.sqrt() / spread - 1.0).abs() < 0.2, "{} is not {spread}", squares.sqrt());
    }
}

/// Adds alone.
fn adds() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0u32..8, 0u64..12, 1u32..3), 1..200).prop_map(|lines| {
        let add = |(offset, (basket, item, quantity))| {
            event(offset, &format!("b{basket}"), None, Action::Add(item_name(item), quantity))
        };
        (0..).zip(lines).map(add).collect()
    })
}

/// The adds of the lines that full baskets still have at the end: the last to enter.
fn never_evicted(adds: &[Event], items_max: usize) -> Vec<Event> {
    let mut baskets: BTreeMap<&Name, Vec<(&Name, u64)>> = BTreeMap::new();
    for event in adds {
        let Action::Add(item, _) = &event.action else { continue };
        let lines = baskets.entry(&event.basket).or_default();
        if lines.iter().all(|(other, _since)| *other != item) {
            lines.push((item, event.position.offset));
            lines.drain(..lines.len().saturating_sub(items_max));
        }
    }
    let stays = |event: &Event| {
        let since = |line: &&(&Name, u64)| event.action.item() == Some(line.0);
        baskets[&event.basket].iter().find(since).is_some_and(|line| event.position.offset >= line.1)
    };
    adds.iter().filter(|event| stays(event)).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What `--max-basket-items` cuts is taken back to the last count.
    #[test]
    fn an_evicted_line_was_never_there(adds in adds(), params in settings(), items_max in 1usize..6,
        workers in 1usize..=3, lengths in lengths()) {
        let capped = Params { basket_items_max: items_max, ..params };
        let whole = Params { basket_items_max: 10_000, ..params };
        let never = vec![never_evicted(&adds, items_max)];
        prop_assert_eq!(last(&cut(&adds, &lengths), capped, workers), last(&never, whole, workers));
    }

    /// And what is left can be taken back as if nothing had ever been cut.
    #[test]
    fn under_both_cuts_all_can_be_taken_back(adds in adds(), params in settings(), items_max in 1usize..6,
        max in 1u32..6, seed in any::<u64>(), workers in 1usize..=3, lengths in lengths()) {
        let params = limited(Params { basket_items_max: items_max, ..params }, max);
        let mut back = adds.clone();
        Random::new(seed).shuffle(&mut back);
        for (event, offset) in back.iter_mut().zip(adds.len() as u64..) {
            event.position.offset = offset;
            event.action = Action::Remove(event.action.item().unwrap().clone(), None);
        }
        let epochs = cut(&[adds, back].concat(), &lengths);
        prop_assert_eq!(run(&epochs, params, workers).pop(), Some(Lists::new()));
    }
}
