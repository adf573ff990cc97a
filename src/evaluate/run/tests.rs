//! Methods on small shops: answers are asked at the right point, and scores are those that plain loops give.

use super::*;
use crate::evaluate::cases::Round;
use crate::evaluate::data::tests::add;
use crate::evaluate::methods::{Defaults, parse, usual_lists};
use crate::evaluate::metrics::Metric;
use crate::evaluate::protocols::{Cut, Protocol, Sample, Split, plan};
use deltacart_dataflows::{Exclude, Measure};
use std::num::NonZeroU64;

fn methods(specs: &[&str], exclude: Exclude) -> Vec<Method> {
    let answers = AnswerParams { exclude, ..AnswerParams::default() };
    let defaults = Defaults { lists: usual_lists(Measure::Cosine, 10), answers, blend: Blend::default() };
    parse(&specs.iter().map(|&spec| spec.to_owned()).collect::<Vec<_>>(), defaults).unwrap()
}

fn settings(workers: usize) -> RunSettings {
    RunSettings { cutoffs: Cutoffs::new(vec![1, 3]).unwrap(), workers, seed: 1 }
}

const ALL: Sample = Sample { seed: 1, share: 1.0 };

/// Runs and returns the hit rate and the reciprocal rank at 3 of each method.
fn rates(log: &Log, plan: &Plan, methods: &[Method], workers: usize) -> Vec<(f64, f64)> {
    let outcomes = run(log, plan, methods, &settings(workers), &mut |_done, _all| {}).unwrap();
    let rate = |outcome: &Outcome| {
        let totals = outcome.sums.totals();
        (totals.metric(Metric::Hr, 1), totals.metric(Metric::Mrr, 1))
    };
    outcomes.iter().map(rate).collect()
}

/// Tea goes with milk in two orders, with a mug in one; then somebody has tea and milk, and somebody tea and a mug.
fn tea_shop() -> Log {
    let orders =
        [("a", "tea milk"), ("b", "tea milk"), ("c", "tea mug"), ("d", "pot pan"), ("e", "tea milk")];
    let more = [("f", "tea mug")];
    let events: Vec<Event> = (1..)
        .zip(orders.into_iter().chain(more))
        .flat_map(|(time, (basket, items))| items.split(' ').map(move |item| add(time, basket, "", item)))
        .collect();
    Log::of_events(&events).unwrap()
}

/// The list of tea is milk, mug: the first session is a hit at rank 1, the second at rank 2.
#[test]
fn next_item_by_hand() {
    let mut log = tea_shop();
    let plan = plan(&mut log, &Protocol::NextItem(Split::At(5)), ALL).unwrap();
    for workers in [1, 2] {
        let rates = rates(&log, &plan, &methods(&["lists", "baskets", "popularity"], Exclude::Cart), workers);
        assert_eq!(rates[0], (1.0, 0.75));
        assert_eq!(rates[1], (1.0, 0.75));
        // Milk has two baskets, mug, pan and pot one each, in the order of ids.
        assert_eq!(rates[2], (1.0, 0.75));
    }
    assert_eq!(unknown_truths(&log, &plan), 0);
}

/// A basket that is asked about has been learned in part. It is no neighbour of itself, and does not count as what its
/// user had before.
#[test]
fn a_basket_is_no_evidence_for_itself() {
    let again: Vec<Event> =
        (1..).zip(["tea", "milk", "milk"]).map(|(time, item)| add(time, "a", "ann", item)).collect();
    let mut log = Log::of_events(&again).unwrap();
    let cut = Cut::Events(NonZeroU64::new(1).unwrap());
    let mut live = plan(&mut log, &Protocol::Prequential(cut), ALL).unwrap();
    let methods = methods(&["baskets", "own"], Exclude::None);
    for outcome in run(&log, &live, &methods, &settings(2), &mut |_, _| {}).unwrap() {
        assert_eq!(outcome.hits, [false, false]);
    }
    // Without a basket, the third step would be found in the first two.
    live.cases.cases.iter_mut().for_each(|case| case.basket = None);
    for outcome in run(&log, &live, &methods, &settings(2), &mut |_, _| {}).unwrap() {
        assert_eq!(outcome.hits, [false, true]);
    }
}

/// What is asked is not known before it is learned, and is known afterwards.
#[test]
fn prequential_asks_then_learns() {
    let mut log = tea_shop();
    let cut = Cut::Events(NonZeroU64::new(1).unwrap());
    let live = plan(&mut log, &Protocol::Prequential(cut), ALL).unwrap();
    assert_eq!(live.cases.len(), 6);
    let outcomes =
        run(&log, &live, &methods(&["lists", "popularity"], Exclude::Cart), &settings(2), &mut |_, _| {})
            .unwrap();
    // tea→milk is unknown at first, then known; tea→mug is unknown, then of rank 2.
    assert_eq!(outcomes[0].hits, [false, true, false, false, true, false]);
    assert_eq!(outcomes[0].sums.totals().metric(Metric::Hr, 1), 3.0 / 6.0);
    assert_eq!(unknown_truths(&log, &live), 3);
    // Frozen for so long that nothing is learned before the last case.
    let frozen = Cut::Period(NonZeroU64::new(1000).unwrap());
    let frozen = plan(&mut log, &Protocol::Prequential(frozen), ALL).unwrap();
    assert_eq!(rates(&log, &frozen, &methods(&["lists"], Exclude::Cart), 1), [(0.0, 0.0)]);
}

/// The way `own` is the yardstick `frequency` without filling up, and half-lives act alike.
#[test]
fn own_is_frequency_with_ties_by_popularity() {
    let mut random = 7u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let events: Vec<Event> = (0..600)
        .map(|event| {
            let user = next(12);
            let basket = format!("{user}-{}", event / 60);
            add(1 + event * 3_600_000, &basket, &format!("u{user}"), &format!("i{}", next(15)))
        })
        .collect();
    let mut log = Log::of_events(&events).unwrap();
    let plan = plan(&mut log, &Protocol::LeaveLastBasket(3), ALL).unwrap();
    let specs =
        ["own", "frequency:fill=off", "own:own-half-life=2d", "frequency:fill=off:half-life=2d", "frequency"];
    let rates = rates(&log, &plan, &methods(&specs, Exclude::None), 2);
    assert_eq!(rates[0], rates[1]);
    assert_eq!(rates[2], rates[3]);
    assert_ne!(rates[0], rates[2], "the half-life matters in this shop");
    assert!(rates[4].0 >= rates[1].0);
}

/// All kinds of lists are passes of their own, and methods without lists join the first.
#[test]
fn passes_share_dataflows() {
    let specs = ["popularity", "lists:measure=llr", "baskets", "lists:measure=count,llr:combine=max", "own"];
    let passes = passes(&methods(&specs, Exclude::Cart));
    let members: Vec<&[usize]> = passes.iter().map(|pass| pass.methods.as_slice()).collect();
    assert_eq!(members, [&[2, 5][..], &[1, 4], &[3], &[0]]);
}

#[test]
fn rounds_are_cut_into_batches() {
    let rounds = vec![Round { learn: 0..LEARN_MAX + 5, ask: 0..3 }, Round { learn: 0..0, ask: 3..4 }];
    let plan = Plan { rounds, ..Plan::default() };
    let expected = [
        Batch { learn: 0..LEARN_MAX, ask: 0..0 },
        Batch { learn: LEARN_MAX..LEARN_MAX + 5, ask: 0..2 },
        Batch { learn: LEARN_MAX + 5..LEARN_MAX + 5, ask: 2..3 },
        Batch { learn: 0..0, ask: 3..4 },
    ];
    assert_eq!(batches(&plan, 2), expected);
}
