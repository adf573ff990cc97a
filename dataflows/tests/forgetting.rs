//! Items that no basket holds any more are forgotten and their numbers given to others, while epochs are under way: the
//! lists are the model's at every epoch, and what is held does not grow with the names that ever were.

use crate::harness::{check, event, params, stats};
use crate::shop::{Random, cut, settings};
use deltacart_dataflows::{Action, Algorithm, Event, ListParams, Measure, Name, Params};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The n-th item's name: names rise in another order than that in which they come.
fn name(item: u64) -> Name {
    format!("{:04x} of the items", item.wrapping_mul(40_503) % 65_536).into()
}

/// A shop that sells each thing for a while only: items come from a window that moves on, into many baskets, and go.
/// Now and then something old comes back, something is removed that nobody has, and a basket is forgotten whole.
fn seasons(seed: u64, events: u64, window: u64) -> Vec<Event> {
    let mut random = Random::new(seed);
    let (mut held, mut log) = (BTreeSet::new(), Vec::new());
    while (log.len() as u64) < events {
        let offset = log.len() as u64;
        let season = offset / 12;
        let item = match random.below(30) {
            0 => random.below(season + 1),
            _ => season + random.below(window).min(random.below(window)),
        };
        let basket = random.below(24);
        let mut push = |basket: u64, action| log.push(event(offset, &format!("b{basket}"), None, action));
        // What is out of season goes first.
        let old = held.iter().find(|&&(_basket, item)| item < season && random.below(3) == 0).copied();
        match (old, random.below(20)) {
            (Some(line), _) => {
                held.remove(&line);
                push(line.0, Action::Remove(name(line.1), None));
            }
            (None, 0) => {
                held.retain(|&(other, _item)| other != basket);
                push(basket, Action::Forget);
            }
            (None, 1) => push(basket, Action::Remove(name(100_000 + offset), None)),
            (None, _) => {
                held.insert((basket, item));
                push(basket, Action::Set(name(item), 1));
            }
        }
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Rows are long and lists short, so that most of a row is left out, and ties are many.
    #[test]
    fn the_lists_are_the_models(seed in any::<u64>(), params in settings(), workers in 1usize..=4, window in 4u64..50,
        lengths in prop::collection::vec(0usize..6, 100..400)) {
        let lists = ListParams { k: params.lists.k.min(3), ..params.lists };
        check(&cut(&seasons(seed, 900, window), &lengths), Params { lists, ..params }, workers);
    }
}

#[test]
fn what_is_held_does_not_grow() {
    for (algorithm, workers) in [(Algorithm::Fast, 1), (Algorithm::Fast, 3), (Algorithm::Reference, 2)] {
        let params = params(algorithm, Measure::Cosine, 3);
        let epochs: Vec<_> = seasons(5, 12_000, 20).chunks(10).map(<[_]>::to_vec).collect();
        let stats = stats(&epochs, params, workers, 200);
        let (short, long) = (stats[0], stats[5]);
        assert!(long.items < 60, "{} names for a window of 20: {long:?}", long.items);
        assert!(long.items_forgotten > 1_000, "{long:?}");
        for (what, short, long) in [
            ("names", short.names_bytes, long.names_bytes),
            ("rows", short.rows_bytes, long.rows_bytes),
            ("store", short.index_bytes, long.index_bytes),
        ] {
            assert!(
                long <= 2 * short,
                "{algorithm:?}, {workers} workers: {what} grew from {short} to {long}"
            );
        }
    }
}

/// A row's floor is a place in the order of names, and stays when the item that had it is forgotten: here its number
/// goes to one whose name comes last, and an item between the two must not be listed before what is left out.
#[test]
fn a_floor_outlives_its_item() {
    let add = |item: &str| Action::Add(item.into(), 1);
    let mut log: Vec<(String, Action<Name>)> = Vec::new();
    for item in 1..=20 {
        let basket = format!("b{item}");
        log.extend([(basket.clone(), add("m")), (basket, add(&format!("x{item:02}")))]);
    }
    // With lists of one, the first eleven are kept and the twelfth is the floor: all are together with m once.
    let remove = |item: u32| (format!("b{item}"), Action::Remove(format!("x{item:02}").into(), None));
    let mut epochs = vec![log, vec![remove(12)]];
    // Time to forget it: an epoch without events is run to its end.
    epochs.resize(12, Vec::new());
    epochs.push(vec![("another".to_owned(), add("zzz"))]);
    epochs.push(vec![("b12".to_owned(), add("y"))]);
    epochs.extend((1..=11).map(|item| vec![remove(item)]));
    let mut offset = 0;
    let numbered = epochs.into_iter().map(|epoch| {
        let numbered = epoch.into_iter().map(|(basket, action)| {
            offset += 1;
            event(offset, &basket, None, action)
        });
        numbered.collect::<Vec<Event>>()
    });
    let epochs: Vec<Vec<Event>> = numbered.collect();
    for workers in 1..=3 {
        check(&epochs, params(Algorithm::Fast, Measure::Cosine, 1), workers);
    }
}
