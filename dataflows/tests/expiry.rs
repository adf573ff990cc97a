//! Baskets that nothing happens to give their lines back: everywhere at the same epochs, whatever the workers and the
//! batching; and days of a shop whose baskets, items and users are new every day leave nothing behind.

use crate::harness::{check, event, last, model, params, run, stats};
use crate::shop::{Random, cut, events, item_name, lengths, settings};
use crate::snapshots::copies;
use deltacart_dataflows::{Action, Algorithm, Event, Measure, Millis, Name, Params, Partition, StateStats};
use proptest::prelude::*;
use std::num::NonZeroU64;

fn with_idle(params: Params, idle: Millis) -> Params {
    Params { basket_idle: NonZeroU64::new(idle), ..params }
}

/// The same events over so many partitions of two streams, each with a clock of its own: some go slowly. A basket lies
/// in one of them, but for the last one, which is in all.
pub(crate) fn over_partitions(events: &mut [Event], partitions: u32) {
    for event in events {
        let own: u32 = event.basket.trim_start_matches('b').parse().unwrap();
        let of = if own == 11 { event.position.offset as u32 } else { own };
        let of = of % partitions;
        event.position.partition = Partition::new((of % 2) as u8, of / 2).unwrap();
        event.time /= u64::from(1 + of);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_lists_are_the_models(events in events(), params in settings(), idle in 1u64..60, workers in 1usize..=4,
        partitions in 1u32..4, lengths in lengths()) {
        let mut events = events;
        over_partitions(&mut events, partitions);
        let mut epochs = cut(&events, &lengths);
        epochs.iter_mut().for_each(|events| events.sort_by_key(Event::order));
        check(&epochs, with_idle(params, idle), workers);
    }

    /// What the baskets hold after some events does not depend on where epochs ended before.
    #[test]
    fn batching_does_not_matter(events in events(), idle in 1u64..60, partitions in 1u32..4, workers in 1usize..=3) {
        let mut events = events;
        // Over partitions, the order of what concerns several baskets is that of epochs.
        events.retain(|event| event.action != Action::ForgetUser && event.basket != "b11");
        over_partitions(&mut events, partitions);
        let params = with_idle(params(Algorithm::Fast, Measure::Count, 20), idle);
        let one_by_one: Vec<Vec<Event>> = events.iter().map(|event| vec![event.clone()]).collect();
        let after = run(&one_by_one, params, workers);
        events.sort_by_key(Event::order);
        let at_once = model(std::slice::from_ref(&events), params);
        prop_assert_eq!(after.last(), if events.is_empty() { None } else { at_once.last() });
    }
}

/// Regression: a restored basket set the clock of its partition to the time of its last event, which may have been in
/// another partition. Other baskets of the partition then expired too early.
#[test]
fn a_restart_does_not_advance_a_clock() {
    let params = with_idle(params(Algorithm::Fast, Measure::Count, 9), 10);
    let add = |offset, partition, basket, item: &str, time| {
        let mut event = Event { time, ..event(offset, basket, None, Action::Add(item.into(), 1)) };
        event.position.partition = Partition::new(0, partition).unwrap();
        event
    };
    let before = vec![
        add(0, 0, "a", "tea", 5),
        add(1, 0, "a", "milk", 5),
        add(2, 0, "b", "mug", 5),
        add(0, 1, "b", "mug", 99),
    ];
    let after = vec![add(3, 0, "c", "mug", 6)];
    for workers in [1, 2] {
        let copies = copies(&[before.clone(), vec![]], 0, params, workers);
        let restored = (0..).zip(copies).flat_map(|(number, copy)| copy.into_events(number)).collect();
        let lists = last(&[restored, after.clone()], params, workers);
        assert!(lists.contains_key("tea"), "{lists:?}");
    }
}

/// The rule, in examples: baskets idle for 10.
#[test]
fn when_a_basket_is_over() {
    let params = with_idle(params(Algorithm::Fast, Measure::Count, 9), 10);
    // Pairs of basket and time of events that each add an item of their own: what is together in the end.
    let together = |log: &[(u32, &str, Millis)]| {
        let add = |(offset, &(partition, basket, time)): (u64, &(u32, &str, Millis))| {
            let name: Name = offset.to_string().into();
            let mut event = Event { time, ..event(offset, basket, None, Action::Add(name, 1)) };
            event.position.partition = Partition::new(0, partition).unwrap();
            event
        };
        let events: Vec<Event> = (0..).zip(log).map(add).collect();
        let epochs: Vec<Vec<Event>> = events.iter().map(|event| vec![event.clone()]).collect();
        check(&epochs, params, 2);
        check(&[events], params, 3);
        let lists = run(&epochs, params, 1).pop().unwrap();
        lists.keys().map(Name::as_str).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(together(&[(0, "a", 1), (0, "a", 9), (0, "b", 18)]), "0 1");
    assert_eq!(together(&[(0, "a", 1), (0, "a", 9), (0, "b", 19)]), "", "ten after its last event");
    assert_eq!(together(&[(0, "a", 1), (0, "a", 9), (0, "a", 19)]), "", "it is another basket then");
    assert_eq!(together(&[(0, "a", 1), (0, "a", 9), (0, "a", 18)]), "0 1 2");
    assert_eq!(
        together(&[(0, "a", 1), (0, "a", 1), (1, "b", 99)]),
        "0 1",
        "not by the clock of another partition"
    );
    assert_eq!(
        together(&[(0, "a", 1), (0, "a", 1), (1, "a", 99), (1, "a", 99)]),
        "2 3",
        "but by any event of its own"
    );
    // A time of 0 is none.
    assert_eq!(together(&[(0, "a", 0), (0, "a", 0), (0, "b", 99)]), "0 1", "the first time is theirs");
    assert_eq!(together(&[(0, "a", 0), (0, "a", 0), (0, "b", 99), (0, "b", 108)]), "0 1 2 3");
    assert_eq!(together(&[(0, "a", 0), (0, "a", 0), (0, "b", 99), (0, "b", 109)]), "", "and ends there");
    assert_eq!(together(&[(0, "a", 0), (0, "a", 99)]), "0 1", "it is no other basket");
    assert_eq!(together(&[(0, "a", 0), (0, "a", 0), (1, "a", 99)]), "0 1 2");
}

/// Regression: the first known time was that of the event that arrived first, also where an earlier one was in the same
/// epoch.
#[test]
fn the_first_known_time_is_the_earliest_in_any_arrival() {
    let params = with_idle(params(Algorithm::Fast, Measure::Count, 9), 10);
    let add = |offset, basket, item: &str, time| Event {
        time,
        ..event(offset, basket, None, Action::Add(item.into(), 1))
    };
    let epochs = [
        vec![add(0, "a", "tea", 0), add(1, "a", "milk", 0)],
        vec![add(2, "b", "mug", 5), add(3, "c", "mug", 12)],
        vec![add(4, "d", "mug", 16)],
    ];
    let mut other = epochs.clone();
    other[1].reverse();
    for workers in 1..=3 {
        let lists = run(&epochs, params, workers);
        assert_eq!(run(&other, params, workers), lists);
        assert!(
            lists[1].contains_key("tea") && !lists[2].contains_key("tea"),
            "the basket is from 5: {lists:?}"
        );
    }
}

const HOUR: Millis = 3_600_000;
const EVENTS_OF_A_DAY: u64 = 1_500;
const EPOCH: usize = 50;

/// Days of a shop: baskets, users and one in ten of the items are new every day; half of the baskets are left alone,
/// and the lines of the others are removed one by one.
fn days(days: u64) -> Vec<Vec<Event>> {
    let mut random = Random::new(3);
    let mut log = Vec::new();
    for offset in 0..days * EVENTS_OF_A_DAY {
        let (day, of_day) = (offset / EVENTS_OF_A_DAY, offset % EVENTS_OF_A_DAY);
        let basket = offset / 10;
        let item = |random: &mut Random| item_name(day * 10 + random.below(100).min(random.below(100)));
        let (name, user) = (format!("basket {basket}"), format!("user {basket}"));
        let action = match of_day % 10 {
            0..7 => Action::Set(item(&mut random), 1),
            7 => Action::Remove(format!("nothing {offset}").into(), None),
            _ if basket % 2 == 0 => Action::Clear,
            _ => Action::Purchase(item(&mut random), 1),
        };
        let time = day * 24 * HOUR + of_day * 24 * HOUR / EVENTS_OF_A_DAY;
        log.push(Event { time, ..event(offset, &name, Some(&user), action) });
    }
    log.chunks(EPOCH).map(<[_]>::to_vec).collect()
}

#[test]
fn days_leave_nothing_behind() {
    let params = with_idle(params(Algorithm::Fast, Measure::Cosine, 5), 6 * HOUR);
    for workers in [1, 3] {
        let stats = stats(&days(30), params, workers, EVENTS_OF_A_DAY as usize / EPOCH);
        let most = |days: &[StateStats], of: fn(&StateStats) -> u64| days.iter().map(of).max().unwrap();
        for (what, of) in [
            ("baskets", (|stats| stats.baskets) as fn(&StateStats) -> u64),
            ("lines", |stats| stats.lines),
            ("users", |stats| stats.users),
            ("items", |stats| stats.items),
            ("rows", |stats| stats.rows),
            ("bytes of the ledger", |stats| stats.ledger_bytes),
            ("bytes of names", |stats| stats.names_bytes),
            ("bytes of interactions", |stats| stats.index_bytes),
            ("bytes of rows", |stats| stats.rows_bytes),
        ] {
            let (early, late) = (most(&stats[..10], of), most(&stats[10..], of));
            // A hash table doubles when it is full, and when that is depends on its random seed.
            let growth_max = if what.starts_with("bytes") { 15 } else { 12 };
            assert!(
                early > 0 && late * 10 <= early * growth_max,
                "{workers} workers: {what} grew from {early} to {late}"
            );
        }
        let last = stats.last().unwrap();
        assert!(last.items < 150 && last.items_forgotten > 30 * 150, "{last:?}");
    }
}
