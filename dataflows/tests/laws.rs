//! What must hold without knowing the lists: what is taken back leaves nothing; batching, workers and the order of
//! arrival across baskets do not matter; nothing is published twice.

use crate::harness::{Lists, Update, after_each_epoch, event, last, run, updates};
use crate::shop::{Random, cut, epochs, events, item_name, lengths, settings};
use deltacart_dataflows::{Action, Event, Name, Params};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Lines that are added on top of a log: basket, item, quantity. Known and unknown baskets and items are among them.
fn lines() -> impl Strategy<Value = Vec<(u32, u64, u32)>> {
    prop::collection::vec((0u32..20, 0u64..50, 1u32..3), 1..60)
}

/// Adds the lines to a log, and removes as much of each again, in any order: two more logs.
fn there_and_back(log: &[Event], lines: &[(u32, u64, u32)], seed: u64) -> (Vec<Event>, Vec<Event>) {
    let next = log.last().map_or(0, |event| event.position.offset + 1);
    let line = |offset, basket, action| event(offset, &format!("b{basket}"), None, action);
    let adds = (next..).zip(lines).map(|(offset, &(basket, item, quantity))| {
        line(offset, basket, Action::Add(item_name(item), quantity))
    });
    let mut back = lines.to_vec();
    Random::new(seed).shuffle(&mut back);
    let removes = (next + lines.len() as u64..).zip(&back).map(|(offset, &(basket, item, quantity))| {
        line(offset, basket, Action::Remove(item_name(item), Some(quantity)))
    });
    (adds.collect(), removes.collect())
}

/// The lists by how many events were taken in. Where several epochs end at the same event, they must agree.
fn by_events(epochs: &[Vec<Event>], params: Params, workers: usize) -> BTreeMap<usize, Lists> {
    let mut taken = 0;
    let mut lists: BTreeMap<usize, Lists> = BTreeMap::new();
    for (events, after) in epochs.iter().zip(run(epochs, params, workers)) {
        taken += events.len();
        let known = lists.entry(taken).or_insert_with(|| after.clone());
        assert_eq!(*known, after, "an epoch without events changes nothing");
    }
    lists
}

/// The same events in another order, in which those of one basket stay as they were; their positions follow.
fn reordered(events: &[Event], random: &mut Random) -> Vec<Event> {
    let mut baskets: Vec<&Name> = events.iter().map(|event| &event.basket).collect();
    random.shuffle(&mut baskets);
    let mut of_basket: BTreeMap<&Name, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().rev() {
        of_basket.entry(&event.basket).or_default().push(event);
    }
    let mut reordered: Vec<Event> =
        baskets.into_iter().filter_map(|basket| of_basket.get_mut(basket)?.pop().cloned()).collect();
    for (event, old) in reordered.iter_mut().zip(events) {
        event.position = old.position;
    }
    reordered
}

/// An event of n units as n events of one.
fn one_by_one(event: &Event) -> Vec<Event> {
    let (quantity, one): (u32, Action<Name>) = match event.action.clone() {
        Action::Add(item, quantity) => (quantity, Action::Add(item, 1)),
        Action::Remove(item, Some(quantity)) => (quantity, Action::Remove(item, Some(1))),
        Action::Purchase(item, quantity) => (quantity, Action::Purchase(item, 1)),
        Action::Refund(item, Some(quantity)) => (quantity, Action::Refund(item, Some(1))),
        other => (1, other),
    };
    (0..quantity)
        .map(|index| {
            let mut event = Event { action: one.clone(), ..event.clone() };
            event.position.index = index;
            event
        })
        .collect()
}

fn without_users(mut epochs: Vec<Vec<Event>>) -> Vec<Vec<Event>> {
    epochs.iter_mut().for_each(|events| events.retain(|event| event.action != Action::ForgetUser));
    epochs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn add_then_remove_leaves_what_was_there(epochs in epochs(), lines in lines(), seed in any::<u64>(),
        params in settings(), workers in 1usize..=3, lengths in lengths()) {
        let params = Params { basket_items_max: 10_000, ..params };
        let log = epochs.concat();
        let (adds, removes) = there_and_back(&log, &lines, seed);
        let mut there_and_back = epochs.clone();
        there_and_back.extend(cut(&[adds, removes].concat(), &lengths));
        prop_assert_eq!(last(&epochs, params, workers), last(&there_and_back, params, workers));
    }

    #[test]
    fn add_then_remove_leaves_nothing(lines in lines(), seed in any::<u64>(), params in settings(),
        workers in 1usize..=3, lengths in lengths()) {
        let params = Params { basket_items_max: 10_000, ..params };
        let (adds, removes) = there_and_back(&[], &lines, seed);
        prop_assert_eq!(last(&cut(&[adds, removes].concat(), &lengths), params, workers), Lists::new());
    }

    #[test]
    fn batching_does_not_matter(events in events(), params in settings(), workers in 1usize..=3,
        some in lengths(), other in lengths()) {
        let some = by_events(&cut(&events, &some), params, workers);
        let other = by_events(&cut(&events, &other), params, workers);
        let at_once = by_events(std::slice::from_ref(&events), params, workers);
        prop_assert!(some.contains_key(&events.len()) && other.contains_key(&events.len()));
        for (taken, lists) in at_once.iter().chain(&other) {
            if let Some(same) = some.get(taken) {
                prop_assert_eq!(same, lists, "after {} events", taken);
            }
        }
    }

    #[test]
    fn workers_do_not_matter(epochs in epochs(), params in settings()) {
        let one = updates(&epochs, params, 1);
        for workers in 2..=4 {
            prop_assert_eq!(&one, &updates(&epochs, params, workers), "{} workers", workers);
        }
    }

    #[test]
    fn order_across_baskets_does_not_matter(epochs in epochs(), params in settings(), workers in 1usize..=3,
        seed in any::<u64>()) {
        // To forget a user concerns many baskets.
        let epochs = without_users(epochs);
        let mut random = Random::new(seed);
        let other: Vec<_> = epochs.iter().map(|events| reordered(events, &mut random)).collect();
        prop_assert_eq!(updates(&epochs, params, workers), updates(&other, params, workers));
    }

    #[test]
    fn order_of_arrival_does_not_matter(epochs in epochs(), params in settings(), workers in 1usize..=3,
        seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut other = epochs.clone();
        other.iter_mut().for_each(|events| random.shuffle(events));
        prop_assert_eq!(updates(&epochs, params, workers), updates(&other, params, workers));
    }

    #[test]
    fn a_forgotten_user_was_never_there(epochs in epochs(), params in settings(), workers in 1usize..=3) {
        let mut epochs = without_users(epochs);
        // What was never there moves no clock.
        let params = Params { basket_idle: None, ..params };
        // Each basket has one user, whom every event of it names.
        for event in epochs.iter_mut().flatten() {
            event.user = Some(format!("u{}", event.basket.len()).into());
        }
        let users: BTreeSet<Name> = epochs.iter().flatten().filter_map(|event| event.user.clone()).collect();
        for user in users {
            let is_theirs = |event: &Event| event.user.as_ref() == Some(&user);
            let mut never = epochs.clone();
            never.iter_mut().for_each(|events| events.retain(|event| !is_theirs(event)));
            let mut forgotten = epochs.clone();
            forgotten.push(vec![event(1_000_000, "", Some(&user), Action::ForgetUser)]);
            prop_assert_eq!(last(&never, params, workers), last(&forgotten, params, workers));
        }
    }

    #[test]
    fn so_many_at_once_or_one_by_one(epochs in epochs(), params in settings(), workers in 1usize..=3) {
        let other: Vec<Vec<Event>> =
            epochs.iter().map(|events| events.iter().flat_map(one_by_one).collect()).collect();
        prop_assert_eq!(updates(&epochs, params, workers), updates(&other, params, workers));
    }

    /// [`after_each_epoch`] fails where a list comes or goes twice in an epoch, or comes as it was.
    #[test]
    fn a_list_is_published_when_it_changes(epochs in epochs(), params in settings(), workers in 1usize..=3) {
        let published: Vec<Update> = updates(&epochs, params, workers);
        let lists = after_each_epoch(&published, epochs.len());
        let none = Lists::new();
        let before = [&none].into_iter().chain(&lists);
        let differing: usize = before.zip(&lists).map(|(before, after)| {
            let names: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
            names.into_iter().map(|name| usize::from(before.get(name) != after.get(name))).sum::<usize>()
        }).sum();
        let changed: BTreeSet<_> = published.iter().map(|(epoch, name, ..)| (epoch, name)).collect();
        prop_assert_eq!(changed.len(), differing);
    }
}
