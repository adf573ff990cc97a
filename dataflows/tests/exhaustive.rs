//! All short sequences of events over very few baskets and items: whatever can go wrong in few steps does so here.
//!
//! Thousands of sequences run in one dataflow, one event of each per epoch, distinguished by a prefix of
//! their names: no basket and no pair of one meets another's. Measures that use the number of baskets would
//! mix them, so for those the sequences run one after the other, and the baskets are forgotten in between.
//!
//! # Notes
//! Baskets have no order, so the first event is always of the first basket. Items do have one: ties go by name.

use crate::harness::{Lists, Update, event, params, updates};
use deltacart_dataflows::{Action, Algorithm, Epoch, Event, Measure, Model, Name, Params};
use std::collections::{BTreeMap, BTreeSet};

/// One event: the basket, and what it says.
type Step = (usize, Action<Name>);

const ITEMS: [&str; 3] = ["a", "b", "c"];
const BASKETS: [&str; 2] = ["x", "y"];

/// Every sequence of so many steps, each of which `next` allows after those before it.
fn sequences(length: usize, next: impl Fn(&[Step]) -> Vec<Step>) -> Vec<Vec<Step>> {
    (0..length).fold(vec![vec![]], |shorter: Vec<Vec<Step>>, at| {
        let longer = |before: &Vec<Step>| {
            let steps = next(before).into_iter().filter(|step| at > 0 || step.0 == 0);
            let before = before.clone();
            steps.map(move |step| [before.as_slice(), &[step]].concat()).collect::<Vec<_>>()
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// Any item is added to any basket, or removed from one that holds it.
fn adds_and_removes(before: &[Step]) -> Vec<Step> {
    let mut held: BTreeSet<(usize, &str)> = BTreeSet::new();
    for (basket, action) in before {
        match action {
            Action::Add(item, _) => drop(held.insert((*basket, item))),
            Action::Remove(item, _) => drop(held.remove(&(*basket, item))),
            _ => unreachable!("only adds and removes come before"),
        }
    }
    let lines = (0..BASKETS.len()).flat_map(|basket| ITEMS.map(|item| (basket, item)));
    let adds = lines.clone().map(|(basket, item)| (basket, Action::Add(item.into(), 1)));
    let removes = lines.filter(|line| held.contains(line));
    adds.chain(removes.map(|(basket, item)| (basket, Action::Remove(item.into(), None)))).collect()
}

/// Everything that an event can say of some baskets and items, whether it has an effect or not.
fn anything(baskets: usize, items: &[&str]) -> Vec<Step> {
    let mut actions =
        vec![Action::Clear, Action::Checkout, Action::Cancel, Action::Forget, Action::ForgetUser];
    for item in items.iter().map(|&item| Name::from(item)) {
        actions.extend([
            Action::Add(item.clone(), 2),
            Action::Remove(item.clone(), Some(1)),
            Action::Remove(item.clone(), None),
            Action::Set(item.clone(), 1),
            Action::Purchase(item.clone(), 1),
            Action::Refund(item, None),
        ]);
    }
    (0..baskets).flat_map(|basket| actions.clone().into_iter().map(move |action| (basket, action))).collect()
}

/// Turns a step into an event; each basket has its user.
fn event_of(offset: u64, prefix: &str, (basket, action): &Step) -> Event {
    let named = |name: &str| format!("{prefix}{name}");
    let basket = named(BASKETS[*basket]);
    event(offset, &basket, Some(&basket), action.clone().map_item(|item| named(&item).into()))
}

/// The lists of a model by what its baskets hold: there are few ways, and each is asked for often.
#[derive(Default)]
struct Memo(BTreeMap<BTreeMap<Name, BTreeSet<Name>>, Lists>);

impl Memo {
    fn lists(&mut self, model: &Model) -> &Lists {
        self.0.entry(model.interactions()).or_insert_with(|| model.lists())
    }
}

/// The updates that lead from some lists to others.
fn difference(epoch: Epoch, before: &Lists, after: &Lists) -> Vec<Update> {
    let only = |x: &Lists, y: &Lists, diff: isize| -> Vec<Update> {
        let differs = |(name, list): &(&Name, &_)| y.get(*name) != Some(*list);
        x.iter().filter(differs).map(|(name, list)| (epoch, name.clone(), diff, list.clone())).collect()
    };
    [only(before, after, -1), only(after, before, 1)].concat()
}

/// Runs all sequences at once and compares every update with the model's.
fn check_together(sequences: &[Vec<Step>], params: Params, workers: usize, more: Vec<Event>) {
    let length = sequences.iter().map(Vec::len).max().unwrap_or(0);
    let prefix = |number: usize| format!("{number:06}-");
    // The epoch before the first event is for what is there already.
    let mut epochs = vec![more];
    for at in 0..length {
        let steps = sequences.iter().enumerate().filter_map(|(number, steps)| Some((number, steps.get(at)?)));
        epochs.push(steps.map(|(number, step)| event_of(at as u64, &prefix(number), step)).collect());
    }
    let actual = updates(&epochs, params, workers);
    let mut of_sequences: BTreeMap<usize, Vec<Update>> = BTreeMap::new();
    for (epoch, name, diff, list) in actual {
        // What was there already never changes, and is not looked at.
        let Some((number, name)) = name.split_once('-') else { continue };
        let list = list.into_iter().map(|mut neighbour| {
            let (other, item) = neighbour.item.split_once('-').unwrap();
            assert_eq!(number, other, "{params:?}: a sequence met another");
            neighbour.item = item.into();
            neighbour
        });
        let updates = of_sequences.entry(number.parse().unwrap()).or_default();
        updates.push((epoch - 1, name.into(), diff, list.collect()));
    }
    let mut memo = Memo::default();
    for (number, steps) in sequences.iter().enumerate() {
        let epochs = (0..).zip(steps).map(|(at, step)| vec![event_of(at, "", step)]).collect::<Vec<_>>();
        let expected = expected_updates(&epochs, params, &mut memo);
        let actual = of_sequences.remove(&number).unwrap_or_default();
        assert_eq!(expected, actual, "{params:?} on {workers} workers: {steps:?}");
    }
}

/// Runs the sequences one after the other, each from nothing, and compares every update with the model's.
fn check_in_turn(sequences: &[Vec<Step>], params: Params, workers: usize, more: Vec<Event>) {
    let mut epochs = vec![more];
    let mut offset = 1000;
    for steps in sequences {
        let forget = (0..BASKETS.len()).map(|basket| (basket, Action::Forget)).collect();
        let steps = steps.iter().map(|step| vec![step.clone()]).chain([forget]);
        epochs.extend(steps.map(|steps: Vec<Step>| {
            offset += 10;
            (offset..).zip(&steps).map(|(offset, step)| event_of(offset, "", step)).collect()
        }));
    }
    let actual = updates(&epochs, params, workers);
    let expected = expected_updates(&epochs, params, &mut Memo::default());
    let differs = (0..).find(|&at| expected.get(at) != actual.get(at) || at >= expected.len());
    if let Some(at) = differs.filter(|&at| at < expected.len().max(actual.len())) {
        let epoch = [&expected, &actual].iter().filter_map(|updates| Some(updates.get(at)?.0)).min().unwrap();
        let start = (epoch as usize).saturating_sub(epochs.len().min(8));
        panic!(
            "{params:?} on {workers} workers, epoch {epoch}: expected {:?}, actual {:?}, events {:?}",
            expected.get(at),
            actual.get(at),
            &epochs[start..=epoch as usize]
        );
    }
}

/// What the model would publish, sorted.
fn expected_updates(epochs: &[Vec<Event>], params: Params, memo: &mut Memo) -> Vec<Update> {
    let mut model = Model::new(params);
    let (mut before, mut expected) = (Lists::new(), Vec::new());
    for (epoch, events) in (0..).zip(epochs) {
        events.iter().for_each(|event| model.apply(event));
        let after = memo.lists(&model);
        expected.extend(difference(epoch, &before, after));
        before.clone_from(after);
    }
    expected.sort_unstable();
    expected
}

/// A basket of so many other items. It makes a state so large that the engine follows pairs, where it would recount
/// all of a small one.
fn large_basket(items: u64) -> Vec<Event> {
    (0..items).map(|item| event(item, "large", None, Action::Add(format!("large{item}").into(), 1))).collect()
}

/// By far enough items that all the pairs of an epoch are less than the square.
fn large_for(sequences: &[Vec<Step>]) -> Vec<Event> {
    large_basket(8 * sequences.len().isqrt() as u64)
}

#[test]
fn sequences_are_all_there() {
    let count = |length, next: &dyn Fn(&[Step]) -> Vec<Step>| sequences(length, next).len();
    // The first event is an add to the first basket: 3. After it, 6 adds and 1 remove; if that was the remove, 6 adds
    // again; if it was an add of the same, 7; else, 8.
    assert_eq!(count(3, &adds_and_removes), 3 * (6 + 7 + 5 * 8));
    assert_eq!(count(3, &|_before| anything(2, &ITEMS)), 23 * 46 * 46);
}

#[test]
fn adds_and_removes_recounted() {
    let shorter = sequences(5, adds_and_removes);
    for k in 1..=3 {
        check_together(&shorter, params(Algorithm::Fast, Measure::Cosine, k), k, vec![]);
    }
    check_together(&shorter, params(Algorithm::Fast, Measure::Jaccard, 1), 2, vec![]);
    check_together(&sequences(6, adds_and_removes), params(Algorithm::Fast, Measure::Cosine, 1), 1, vec![]);
}

#[test]
fn adds_and_removes_followed() {
    let shorter = sequences(5, adds_and_removes);
    for k in 1..=3 {
        check_together(&shorter, params(Algorithm::Fast, Measure::Cosine, k), k, large_for(&shorter));
    }
    check_together(&shorter, params(Algorithm::Fast, Measure::Jaccard, 1), 2, large_for(&shorter));
    let longer = sequences(6, adds_and_removes);
    check_together(&longer, params(Algorithm::Fast, Measure::Cosine, 1), 1, large_for(&longer));
}

#[test]
fn adds_and_removes_by_the_reference() {
    let sequences = sequences(5, adds_and_removes);
    for k in 1..=3 {
        check_together(&sequences, params(Algorithm::Reference, Measure::Cosine, k), k, vec![]);
    }
}

#[test]
fn anything_in_two_baskets() {
    let sequences = sequences(3, |_before| anything(2, &ITEMS));
    check_together(&sequences, params(Algorithm::Fast, Measure::Cosine, 1), 2, vec![]);
    check_together(&sequences, params(Algorithm::Fast, Measure::Cosine, 3), 1, large_for(&sequences));
    check_together(&sequences, params(Algorithm::Reference, Measure::Cosine, 2), 1, vec![]);
}

#[test]
fn anything_in_one_basket() {
    let sequences = sequences(4, |_before| anything(1, &ITEMS[..2]));
    check_together(&sequences, params(Algorithm::Fast, Measure::Count, 2), 1, vec![]);
    check_together(&sequences, params(Algorithm::Reference, Measure::Count, 1), 2, vec![]);
}

#[test]
fn measures_that_use_the_number_of_baskets() {
    let sequences = sequences(4, adds_and_removes);
    for measure in [Measure::Llr, Measure::Npmi, Measure::Lift] {
        for (k, large) in [(1, 0), (2, 0), (1, 30), (3, 30)] {
            check_in_turn(&sequences, params(Algorithm::Fast, measure, k), k, large_basket(large));
        }
    }
}

#[test]
fn measures_that_use_the_number_of_baskets_by_the_reference() {
    let sequences = sequences(3, adds_and_removes);
    for measure in [Measure::Llr, Measure::Npmi, Measure::Lift] {
        for k in 1..=3 {
            check_in_turn(&sequences, params(Algorithm::Reference, measure, k), k, vec![]);
        }
    }
}
