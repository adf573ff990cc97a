//! Random shops: events, settings and ways to cut epochs.

use crate::harness::{event, params};
use deltacart_dataflows::{Action, Algorithm, Event, Evidence, Measure, Millis, Name, Params};
pub(crate) use deltacart_testing::{Random, item_name};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};

/// Something an event may say; small numbers, so that everything meets everything.
fn action() -> impl Strategy<Value = Action<Name>> {
    // A few items that everybody buys, and many that hardly anybody does.
    let item = prop_oneof![3 => 0u64..6, 1 => 0u64..40].prop_map(item_name);
    let some = prop_oneof![Just(None), (1u32..3).prop_map(Some)];
    prop_oneof![
        12 => (item.clone(), 1u32..3).prop_map(|(item, quantity)| Action::Add(item, quantity)),
        4 => (item.clone(), some.clone()).prop_map(|(item, quantity)| Action::Remove(item, quantity)),
        1 => (item.clone(), 0u32..3).prop_map(|(item, quantity)| Action::Set(item, quantity)),
        2 => (item.clone(), 1u32..3).prop_map(|(item, quantity)| Action::Purchase(item, quantity)),
        2 => (item, some).prop_map(|(item, quantity)| Action::Refund(item, quantity)),
        1 => prop_oneof![3 => 0u64..6, 1 => 0u64..40].prop_map(|item| Action::View(item_name(item))),
        1 => Just(Action::Clear),
        1 => Just(Action::Checkout),
        1 => Just(Action::Cancel),
        1 => Just(Action::Forget),
        1 => Just(Action::ForgetUser),
    ]
}

/// Time from one event to the next: mostly little.
fn pause() -> impl Strategy<Value = Millis> {
    prop_oneof![3 => Just(0u64), 3 => 0u64..4, 1 => 0u64..40]
}

prop_compose! {
    /// A log of anything.
    pub(crate) fn events()
        (events in prop::collection::vec((0u32..12, prop::option::of(0u32..4), pause(), action()), 1..250))
        -> Vec<Event> {
        let mut time = 0;
        events.into_iter().zip(0..).map(|((basket, user, pause, action), offset)| {
            let (basket, user) = (format!("b{basket}"), user.map(|user| format!("u{user}")));
            time += pause;
            Event { time, ..event(offset, &basket, user.as_deref(), action) }
        }).collect()
    }
}

/// Events in a [`history`].
const HISTORY: u64 = 900;

/// A shop with a past: baskets of a skewed choice of 60 items, enough that most of a row is left out of its reserve. A
/// few of the baskets hold most of the items.
fn history(seed: u64) -> Vec<Event> {
    let mut random = Random::new(seed);
    (0..HISTORY)
        .map(|offset| {
            let baskets = if random.below(3) == 0 { 4 } else { 150 };
            let (basket, item) = (random.below(baskets), random.below(60).min(random.below(60)));
            let user = format!("u{}", basket % 7);
            event(offset, &format!("b{basket}"), Some(&user), Action::Add(item_name(item), 1))
        })
        .collect()
}

/// A shop where everything comes and goes, an event or a few per epoch, until all is gone. So each of 30 items is the
/// best neighbour of another for a while, and reserves are cut, run short and are filled again.
pub(crate) fn churn(seed: u64) -> Vec<Vec<Event>> {
    let mut random = Random::new(seed);
    let (mut held, mut changes) = (BTreeSet::new(), Vec::new());
    for _ in 0..500 {
        let line = (random.below(40), random.below(30));
        let comes = held.insert(line);
        if !comes {
            held.remove(&line);
        }
        changes.push((line, comes));
    }
    let mut rest = Vec::from_iter(held);
    random.shuffle(&mut rest);
    changes.extend(rest.into_iter().map(|line| (line, false)));
    let events: Vec<Event> = (0..)
        .zip(changes)
        .map(|(offset, ((basket, item), comes))| {
            let item = item_name(item);
            let action = if comes { Action::Add(item, 1) } else { Action::Remove(item, None) };
            event(offset, &format!("b{basket}"), None, action)
        })
        .collect();
    let lengths: Vec<usize> = (0..events.len()).map(|_| 1 + random.below(4) as usize).collect();
    cut(&events, &[&[200], lengths.as_slice()].concat())
}

/// A shop with fashions: two items come into nearly every basket, epoch by epoch, and go out of most again; a third
/// comes after them. So with several workers their rows are shared for a while.
pub(crate) fn fashion(seed: u64) -> Vec<Vec<Event>> {
    const BASKETS: u64 = 110;
    let mut random = Random::new(seed);
    let (mut come, mut turn) = (Vec::new(), Vec::new());
    for basket in 0..BASKETS {
        come.extend([(basket, 0, true), (basket, 1, true)]);
        come.extend((0..4).map(|_| (basket, 3 + random.below(40), true)));
        if random.below(6) > 0 {
            turn.extend([(basket, 0, false), (basket, 2, true)]);
        }
        turn.push((basket, 1, false));
    }
    random.shuffle(&mut come);
    random.shuffle(&mut turn);
    let events: Vec<Event> = (0..)
        .zip(come.into_iter().chain(turn))
        .map(|(offset, (basket, item, comes))| {
            let item = item_name(item);
            let action = if comes { Action::Add(item, 1) } else { Action::Remove(item, None) };
            event(offset, &format!("b{basket}"), None, action)
        })
        .collect();
    events.chunks(25).map(<[_]>::to_vec).collect()
}

prop_compose! {
    /// Epochs of any length: a large one of history, or none; and a log of anything.
    pub(crate) fn epochs()(seed in any::<u64>(), past in any::<bool>(), events in events(), lengths in lengths())
        -> Vec<Vec<Event>> {
        if past { with_history(seed, events, &lengths) } else { cut(&events, &lengths) }
    }
}

prop_compose! {
    /// Small epochs on a large state: pairs are followed, estimated, counted on demand; rows run short; supports fall.
    pub(crate) fn small_changes()
        (seed in any::<u64>(), events in events(), lengths in prop::collection::vec(1usize..5, 0..60))
        -> Vec<Vec<Event>> {
        with_history(seed, events, &lengths)
    }
}

fn with_history(seed: u64, mut events: Vec<Event>, lengths: &[usize]) -> Vec<Vec<Event>> {
    events.iter_mut().for_each(|event| event.position.offset += HISTORY);
    let mut epochs = vec![history(seed)];
    epochs.extend(cut(&events, lengths));
    epochs
}

/// Any evidence, mostly the usual.
pub(crate) fn evidence() -> impl Strategy<Value = Evidence> {
    let all = ["view", "add", "purchase", "view,add", "view,purchase", "view,add,purchase"];
    let any = (0..all.len()).prop_map(move |which| all[which].parse().unwrap());
    prop_oneof![2 => Just(Evidence::default()), 1 => any]
}

prop_compose! {
    /// Settings of every kind.
    pub(crate) fn settings()(algorithm in prop_oneof![3 => Just(Algorithm::Fast), 1 => Just(Algorithm::Reference)],
        which in 0usize..8, k in 1usize..=20, min_count in prop_oneof![4 => Just(1u32), 1 => 2u32..4],
        digits in 0u32..=9, scores in any::<bool>(), alpha in prop_oneof![3 => Just(0.5), 1 => 0.0f64..=1.0],
        damping in prop_oneof![3 => Just(0.0), 1 => 0.0f64..30.0],
        cap in prop_oneof![4 => Just(10_000usize), 1 => 1usize..6],
        idle in prop_oneof![2 => Just(None), 1 => (1u64..80).prop_map(NonZeroU64::new)],
        sample in prop_oneof![3 => Just(None), 2 => (1u32..24).prop_map(NonZeroU32::new)],
        evidence in evidence()) -> Params {
        let params = params(algorithm, Measure::ALL[which], k);
        let mut params = Params {
            basket_items_max: cap, basket_idle: idle, item_baskets_max: sample, evidence, ..params
        };
        params.lists.scores = scores;
        let scoring = &mut params.lists.scoring;
        (scoring.min_count, scoring.digits, scoring.alpha, scoring.damping) = (min_count, digits, alpha, damping);
        params
    }
}

/// Lengths of epochs, for [`cut`]; 0 among them.
pub(crate) fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(0usize), 1usize..4, 1usize..60], 0..40)
}

/// Cuts a log into epochs of the given lengths; what is left is the last.
pub(crate) fn cut(events: &[Event], lengths: &[usize]) -> Vec<Vec<Event>> {
    let (mut rest, mut epochs) = (events, Vec::new());
    for &length in lengths {
        let (epoch, later) = rest.split_at(length.min(rest.len()));
        epochs.push(epoch.to_vec());
        rest = later;
    }
    epochs.push(rest.to_vec());
    epochs
}
