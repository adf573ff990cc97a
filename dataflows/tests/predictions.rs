//! Predictions: what answers said about the items that came next is what the plain model's answers said, after every
//! epoch.

use crate::answers::{answer_settings, settings};
use crate::harness::event;
use crate::shop::{churn, epochs, evidence};
use deltacart_dataflows::{
    Action, AnswerParams, CartSample, Epoch, Event, List, Measure, Model, ModelBasketState, Name, Params,
    Prediction, Requests, Subject, Way, model_answers, recommend_core,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::capture::Extract;
use timely::dataflow::operators::{Capture, Input};

/// The predictions of the dataflow, by epoch, sorted. All answers are refreshed at every epoch.
fn run(epochs: &[Vec<Event>], params: Params, sample: CartSample, workers: usize) -> Vec<Vec<Prediction>> {
    let shared = epochs.to_vec();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let predictions = worker.dataflow(|scope| {
            let requests = Requests { predict: Some(sample), ..Requests::default() };
            recommend_core(scope.input_from(&mut input), params, requests).predictions.capture()
        });
        for (epoch, events) in (0..).zip(&shared) {
            let mine = events.iter().enumerate().filter(|(number, _event)| number * 5 % peers == index);
            mine.for_each(|(_number, event)| input.send(event.clone()));
            input.advance_to(epoch + 1);
            worker.step();
        }
        predictions
    });
    let mut by_epoch = vec![Vec::new(); epochs.len()];
    for captured in guards.unwrap().join() {
        for (epoch, predictions) in captured.unwrap().extract() {
            by_epoch[epoch as usize].extend(predictions);
        }
    }
    by_epoch.iter_mut().for_each(|predictions| predictions.sort());
    by_epoch
}

/// The items that are wanted in a cart, if it is open.
fn wanted(state: Option<&ModelBasketState>) -> Vec<Name> {
    let lines = state.filter(|state| state.is_recent).map(|state| state.lines.as_slice()).unwrap_or_default();
    lines.iter().filter(|line| line.is_wanted()).map(|line| line.item.clone()).collect()
}

/// The predictions of the plain model, by epoch, sorted.
fn expected(epochs: &[Vec<Event>], params: Params, sample: CartSample) -> Vec<Vec<Prediction>> {
    let mut model = Model::new(params);
    let mut states: BTreeMap<Name, ModelBasketState> = BTreeMap::new();
    let mut answers: BTreeMap<Subject, List> = BTreeMap::new();
    let of_epoch = |events: &Vec<Event>| {
        events.iter().for_each(|event| model.apply(event));
        model.end_epoch();
        let after = model.states();
        let mut predictions = Vec::new();
        for (cart, state) in after.iter().filter(|(cart, _state)| sample.has(cart)) {
            let before = wanted(states.get(cart));
            for item in
                wanted(Some(state)).into_iter().filter(|item| !before.is_empty() && !before.contains(item))
            {
                let answer = answers.get(&Subject::Cart(cart.clone())).map(Vec::as_slice).unwrap_or_default();
                let rank = answer.iter().position(|entry| entry.item == item).map(|index| index as u32 + 1);
                let (touch, cart, of) = (state.touch, cart.clone(), answer.len() as u32);
                predictions.push(Prediction { touch, cart, item, rank, of });
            }
        }
        predictions.sort();
        answers = model_answers(&after, &model.lists(), params.lists, params.answers.unwrap());
        states = after;
        predictions
    };
    epochs.iter().map(of_epoch).collect()
}

fn check(epochs: &[Vec<Event>], params: Params, share: f64, workers: usize) {
    let sample = CartSample::new(share).unwrap();
    let (actual, expected) = (run(epochs, params, sample, workers), expected(epochs, params, sample));
    for (epoch, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert_eq!(actual, expected, "epoch {epoch} of {:?} on {workers} workers", params.answers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn random_events(epochs in epochs(), answers in answer_settings(), which in 0usize..8,
        open_for in prop_oneof![1u64..60, Just(1 << 40)], share in prop_oneof![Just(1.0), 0.1f64..0.9],
        workers in 1usize..=4, evidence in evidence()) {
        let params = settings(Measure::ALL[which], 5, open_for, answers);
        check(&epochs, Params { evidence, ..params }, share, workers);
    }
}

/// Items that come and go for good: their numbers are given again while predictions name them.
#[test]
fn numbers_that_are_given_again() {
    let answers = AnswerParams { carts: 5, by: Way::Lists, ..AnswerParams::default() };
    let answers = AnswerParams { refresh: None, refresh_max: 1_000_000, ..answers };
    for seed in 0..3 {
        check(&churn(seed), settings(Measure::Cosine, 4, 1 << 40, answers), 1.0, 2);
    }
}

/// Tea and milk are bought together, and tea and a mug. A cart has tea, then milk comes, then something unknown.
#[test]
fn by_hand() {
    let add = |offset, cart: &str, item: &str| event(offset, cart, None, Action::Add(item.into(), 1));
    let epochs = [
        vec![add(0, "a", "tea"), add(1, "a", "milk"), add(2, "b", "tea"), add(3, "b", "milk")],
        vec![add(4, "c", "tea"), add(5, "c", "mug")],
        vec![add(6, "d", "tea")],
        vec![add(7, "d", "milk"), add(8, "d", "sugar")],
        vec![add(9, "d", "mug"), add(10, "d", "milk")],
    ];
    let answers = AnswerParams { carts: 5, by: Way::Lists, ..AnswerParams::default() };
    let params = settings(Measure::Count, 5, 1 << 40, answers);
    let ranks = |epoch: usize| -> Vec<(String, Option<u32>, u32)> {
        let predictions =
            run(&epochs, params, CartSample::new(1.0).unwrap(), 1).swap_remove(epoch as Epoch as usize);
        predictions.into_iter().map(|it| (it.item.to_string(), it.rank, it.of)).collect()
    };
    // What was in the cart when it opened is no prediction.
    assert_eq!(ranks(0), []);
    assert_eq!(ranks(1), []);
    assert_eq!(ranks(2), []);
    // Cart d had the answer milk, mug.
    assert_eq!(ranks(3), [("milk".to_owned(), Some(1), 2), ("sugar".to_owned(), None, 2)]);
    // Milk was there.
    assert_eq!(ranks(4), [("mug".to_owned(), Some(1), 1)]);
}
