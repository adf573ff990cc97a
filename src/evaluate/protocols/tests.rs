//! Each protocol on a small shop: what is learned, what is given, what is asked.

use super::*;
use crate::evaluate::cases::{Case, Round};
use crate::evaluate::data::Id;
use crate::evaluate::data::tests::add;
use deltacart_dataflows::{Action, Event};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

const ALL: Sample = Sample { seed: 1, share: 1.0 };

/// Events at times 1, 2, 3 …, each `basket user item`, where `-item` removes it.
fn log(events: &[&str]) -> Log {
    let events: Vec<Event> = (1..)
        .zip(events)
        .map(|(time, event)| {
            let [basket, user, item] = event.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let added = add(time, basket, user, item);
            match item.strip_prefix('-') {
                Some(item) => Event { action: Action::Remove(item.into(), None), ..added },
                None => added,
            }
        })
        .collect();
    Log::of_events(&events).unwrap()
}

/// Each case as `given > truth`, the most recent given item first.
fn cases(log: &Log, plan: &Plan) -> Vec<String> {
    let name = |item: Id| log.items.name(item).to_string();
    let text = |case: &Case| {
        let given: Vec<String> = plan.cases.given(case).map(name).collect();
        let truth: Vec<String> = plan.cases.truth(case).iter().map(|&item| name(item)).collect();
        format!("{} > {}", given.join(" "), truth.join(" "))
    };
    plan.cases.cases.iter().map(text).collect()
}

#[test]
fn next_item_asks_each_step_behind_the_split() {
    let mut log = log(&["a u x", "a u y", "b u x", "b u y", "b u x", "b u -y", "b u z", "c u q"]);
    let plan = plan(&mut log, &Protocol::NextItem(Split::At(3)), ALL).unwrap();
    assert_eq!(plan.order, [0, 1]);
    // The repeated x is a step. The y that was removed is not given any more.
    assert_eq!(cases(&log, &plan), ["x > y", "y x > x", "x x > z"]);
    assert_eq!(plan.skipped, BTreeMap::from([("baskets with fewer than two items", 1)]));
    assert_eq!((plan.units(), plan.rounds.len()), (1, 1));
    assert_eq!(plan.rounds[0], Round { learn: 0..2, ask: 0..3 });
}

#[test]
fn cart_completion_hides_one_item_of_each_order() {
    let mut log = log(&[
        "a u x", "b v x", "a u y", "b v y", "b v z", "c v x", "d w x", "d w y", "d w -y", "e w x", "e w y",
    ]);
    let plan = plan(&mut log, &Protocol::CartCompletion(Split::At(2)), ALL).unwrap();
    // a lies on both sides, c has one item, d has one left.
    let expected = [("baskets on both sides of the split", 1), ("baskets with fewer than two items", 2)];
    assert_eq!(plan.skipped, BTreeMap::from(expected));
    let hidden = |basket: &str, items: &[&str]| {
        let place = (crate::evaluate::hash::hash(1, basket) % items.len() as u64) as usize;
        let given: Vec<&str> = items.iter().rev().filter(|&&item| item != items[place]).copied().collect();
        format!("{} > {}", given.join(" "), items[place])
    };
    assert_eq!(cases(&log, &plan), [hidden("b", &["x", "y", "z"]), hidden("e", &["x", "y"])]);
    assert_eq!(plan.order, [0]);
}

#[test]
fn leave_last_basket_learns_everything_else() {
    let mut log =
        log(&["1 u x", "2 u y", "2 u x", "3 v x", "4 v y", "5 u z", "6 u q", "6 u y", "5 u w", "7  x"]);
    let plan = plan(&mut log, &Protocol::LeaveLastBasket(3), ALL).unwrap();
    assert_eq!(cases(&log, &plan), ["w z x y x > q y"]);
    assert_eq!(plan.order, [0, 1, 2, 3, 4, 5, 8, 9]);
    assert_eq!(
        plan.skipped,
        BTreeMap::from([("baskets without a user", 1), ("users with too few baskets", 1)])
    );
    assert_eq!(plan.unit, "user");
}

#[test]
fn temporal_asks_what_users_add_behind_the_split() {
    let mut log = log(&["a u x", "b v y", "a u y", "c u z", "d u x", "e w x", "c u -z"]);
    let plan = plan(&mut log, &Protocol::Temporal(Split::At(4)), ALL).unwrap();
    assert_eq!(cases(&log, &plan), ["y x > z x"]);
    assert_eq!(plan.order, [0, 1, 2]);
    assert_eq!(plan.skipped, BTreeMap::from([("users on one side of the split", 2)]));
}

#[test]
fn leave_last_out_learns_nothing_of_a_user_from_then_on() {
    let mut log = log(&["a u x", "a u y", "b v x", "a u z", "a u -x", "b v q", "c w x", "d  x"]);
    let plan = plan(&mut log, &Protocol::LeaveLastOut, ALL).unwrap();
    assert_eq!(cases(&log, &plan), ["y x > z", "x > q"]);
    assert_eq!(plan.order, [0, 1, 2, 6, 7]);
    assert_eq!(plan.skipped, BTreeMap::from([("users with one item", 1), ("events without a user", 1)]));
}

#[test]
fn prequential_learns_after_each_epoch() {
    let mut log = log(&["a u x", "a u y", "b v x", "b v y", "a u z"]);
    let two = Cut::Events(NonZeroU64::new(2).unwrap());
    let plan = plan(&mut log, &Protocol::Prequential(two), ALL).unwrap();
    assert_eq!(cases(&log, &plan), ["x > y", "x > y", "y x > z"]);
    let rounds = [
        Round { learn: 0..0, ask: 0..1 },
        Round { learn: 0..2, ask: 1..2 },
        Round { learn: 2..4, ask: 2..3 },
    ];
    assert_eq!(plan.rounds, rounds);
    assert_eq!(plan.skipped, BTreeMap::from([("first items of baskets, with nothing before them", 2)]));
    let period = Cut::Period(NonZeroU64::new(3).unwrap());
    let plan = super::plan(&mut log, &Protocol::Prequential(period), ALL).unwrap();
    // Times 1 and 2 are in one period, 3 to 5 in the next.
    assert_eq!(plan.rounds, [Round { learn: 0..0, ask: 0..1 }, Round { learn: 0..2, ask: 1..3 }]);
}

#[test]
fn a_pair_of_files_has_a_case_a_line() {
    let mut log = log(&["a u x", "a u y"]);
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), "# given, truth, user\nx y\tz\nx\ty w y\tu\r\nx y\n\t z\n").unwrap();
    let plan = plan(&mut log, &Protocol::Pair(path.path().to_owned()), ALL).unwrap();
    assert_eq!(cases(&log, &plan), ["y x > z", "x > y w"]);
    assert_eq!(
        plan.cases.cases.iter().map(|case| case.user).collect::<Vec<_>>(),
        [None, log.users.find(&"u".into())]
    );
    assert_eq!(plan.skipped, BTreeMap::from([("lines that are not items, a tab and items", 2)]));
}

#[test]
fn splits_by_share_and_by_length() {
    let day = 86_400_000;
    let events: Vec<Event> = (0..10)
        .flat_map(|order| ["x", "y"].map(|item| add(day * (1 + order), &format!("b{order}"), "", item)))
        .collect();
    let learned = |split| {
        let mut log = Log::of_events(&events).unwrap();
        plan(&mut log, &Protocol::NextItem(split), ALL).unwrap().order.len()
    };
    assert_eq!(learned(Split::Share(0.2)), 16);
    assert_eq!(learned(Split::Last(3 * day)), 12);
    assert_eq!(learned(Split::At(2 * day)), 2);
    let mut log = Log::of_events(&events).unwrap();
    let error = |log: &mut Log, split| plan(log, &Protocol::NextItem(split), ALL).unwrap_err().to_string();
    assert!(error(&mut log, Split::At(day)).contains("no event before it"));
    assert!(error(&mut log, Split::At(11 * day)).contains("no event behind it"));
    let timeless: Vec<Event> = events.iter().map(|event| Event { time: 0, ..event.clone() }).collect();
    let mut log = Log::of_events(&timeless).unwrap();
    assert!(error(&mut log, Split::Last(day)).contains("needs events with times"));
    assert_eq!(plan(&mut log, &Protocol::NextItem(Split::Share(0.2)), ALL).unwrap().order.len(), 16);
}

#[test]
fn splits_as_they_are_typed() {
    assert_eq!("0.25".parse(), Ok(Split::Share(0.25)));
    assert_eq!("14d".parse(), Ok(Split::Last(14 * 86_400_000)));
    assert_eq!("1970-01-02".parse(), Ok(Split::At(86_400_000)));
    assert_eq!("1970-01-02T00:00:01Z".parse(), Ok(Split::At(86_401_000)));
    for wrong in ["0", "1", "1.5", "0d", "-1d", "yesterday", "1969-01-01", ""] {
        assert!(wrong.parse::<Split>().is_err(), "{wrong}");
    }
}

#[test]
fn a_sample_asks_fewer_and_learns_all() {
    let events: Vec<String> =
        (0..200).flat_map(|order| [format!("b{order} u x"), format!("b{order} u y")]).collect();
    let mut log = log(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let split = Protocol::NextItem(Split::Share(0.5));
    let all = plan(&mut log, &split, ALL).unwrap();
    let some = plan(&mut log, &split, Sample { seed: 1, share: 0.3 }).unwrap();
    assert_eq!((all.cases.len(), all.order.len(), some.order.len()), (100, 200, 200));
    assert!((15..45).contains(&some.cases.len()), "{}", some.cases.len());
    let error = plan(&mut log, &split, Sample { seed: 1, share: 1e-9 }).unwrap_err().to_string();
    assert!(error.contains("finds nothing to ask"), "{error}");
}
