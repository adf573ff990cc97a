//! The dataflows equal the plain model after every epoch: every engine, measure, number of workers and way to cut epochs.

use crate::harness::{check, event, params};
use deltacart_dataflows::{Action, Engine, Event, ListParams, Measure, Name, Params};
use proptest::prelude::*;

/// Something an event may say; small numbers, so that everything meets everything.
fn action() -> impl Strategy<Value = Action<Name>> {
    // A few items that everybody buys, and many that hardly anybody does.
    let item = prop_oneof![3 => 0u32..6, 1 => 0u32..40].prop_map(|item| Name::from(format!("i{item}")));
    let some = prop_oneof![Just(None), (1u32..3).prop_map(Some)];
    prop_oneof![
        12 => (item.clone(), 1u32..3).prop_map(|(item, quantity)| Action::Add(item, quantity)),
        4 => (item.clone(), some.clone()).prop_map(|(item, quantity)| Action::Remove(item, quantity)),
        1 => (item.clone(), 0u32..3).prop_map(|(item, quantity)| Action::Set(item, quantity)),
        2 => (item.clone(), 1u32..3).prop_map(|(item, quantity)| Action::Purchase(item, quantity)),
        2 => (item, some).prop_map(|(item, quantity)| Action::Refund(item, quantity)),
        1 => Just(Action::Clear),
        1 => Just(Action::Checkout),
        1 => Just(Action::Cancel),
        1 => Just(Action::Forget),
        1 => Just(Action::ForgetUser),
    ]
}

prop_compose! {
    fn events()(events in prop::collection::vec((0u32..12, prop::option::of(0u32..4), action()), 1..250))
        -> Vec<Event> {
        events.into_iter().zip(0..).map(|((basket, user, action), offset)| {
            let (basket, user) = (format!("b{basket}"), user.map(|user| format!("u{user}")));
            event(offset, &basket, user.as_deref(), action)
        }).collect()
    }
}

/// Events in a [`history`].
const HISTORY: u64 = 900;

/// A shop with a history: baskets of a skewed choice of 60 items, enough that most of a row is left out of its reserve.
fn history(seed: u64) -> Vec<Event> {
    let mut state = seed | 1;
    let mut random = move |below: u64| {
        // Knuth's MMIX generator; the high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..HISTORY)
        .map(|offset| {
            let (basket, item) = (random(150), random(60).min(random(60)));
            event(
                offset,
                &format!("b{basket}"),
                Some(&format!("u{}", basket % 7)),
                Action::Add(format!("i{item}").into(), 1),
            )
        })
        .collect()
}

prop_compose! {
    fn settings()(engine in prop_oneof![3 => Just(Engine::Fast), 1 => Just(Engine::Reference)], which in 0usize..8,
        k in 1usize..=20, min_count in prop_oneof![4 => Just(1u32), 1 => 2u32..4], digits in 0u32..=9,
        scores in any::<bool>(), alpha in prop_oneof![3 => Just(0.5), 1 => 0.0f64..=1.0],
        damping in prop_oneof![3 => Just(0.0), 1 => 0.0f64..30.0], cap in prop_oneof![4 => Just(10_000usize), 1 => 1usize..6])
        -> Params {
        let mut params = Params { basket_items_max: cap, ..params(engine, Measure::ALL[which], k) };
        params.lists.scores = scores;
        let scoring = &mut params.lists.scoring;
        (scoring.min_count, scoring.digits, scoring.alpha, scoring.damping) = (min_count, digits, alpha, damping);
        params
    }
}

/// Cuts a log into epochs of random lengths, empty ones among them.
fn cut(events: &[Event], lengths: &[usize]) -> Vec<Vec<Event>> {
    let (mut rest, mut epochs) = (events, Vec::new());
    for &length in lengths {
        let (epoch, later) = rest.split_at(length.min(rest.len()));
        epochs.push(epoch.to_vec());
        rest = later;
    }
    epochs.push(rest.to_vec());
    epochs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_events(events in events(), params in settings(), workers in 1usize..=4,
        lengths in prop::collection::vec(prop_oneof![Just(0usize), 1usize..4, 1usize..60], 0..40)) {
        check(&cut(&events, &lengths), params, workers);
    }

    /// Small epochs on a large state: pairs are followed, estimated, counted on demand; rows run short; supports fall.
    #[test]
    fn small_changes_to_a_history(seed in any::<u64>(), events in events(), params in settings(),
        workers in 1usize..=4, lengths in prop::collection::vec(1usize..5, 0..60)) {
        let mut events = events;
        events.iter_mut().for_each(|event| event.position.offset += HISTORY);
        let mut epochs = vec![history(seed)];
        epochs.extend(cut(&events, &lengths));
        check(&epochs, Params { lists: ListParams { k: params.lists.k.min(6), ..params.lists }, ..params }, workers);
    }
}
