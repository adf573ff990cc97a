//! What each basket holds equals the plain model's after every epoch: its lines by their last touch, its users, and
//! whether it is recent. On any number of workers, over partitions, with expiry, full baskets, and after a restart.

use crate::expiry::over_partitions;
use crate::harness::{event, params};
use crate::shop::{cut, events, evidence, lengths};
use crate::snapshots::copies;
use deltacart_dataflows::{
    Action, Algorithm, BasketState, Epoch, Event, Item, Measure, Millis, Model, ModelBasketState, Name,
    Params, Partition, StateLine, Touch, baskets,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::mpsc::Receiver;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Capture, Input, Probe, capture};

/// What all baskets hold, by their names.
type States = BTreeMap<Name, ModelBasketState>;

/// What one run emitted: states in the order in which they came, and the epochs in which something was forgotten.
#[derive(Default)]
struct Emitted {
    states: Vec<(Epoch, BasketState<Name>)>,
    forgot: BTreeSet<Epoch>,
}

/// The items of some events, by number.
fn items_of(epochs: &[Vec<Event>]) -> Vec<Name> {
    let items: BTreeSet<Name> =
        epochs.iter().flatten().filter_map(|event| event.action.item().cloned()).collect();
    items.into_iter().collect()
}

fn numbered(event: &Event, items: &[Name]) -> Event<Item> {
    let Event { position, basket, user, time, action } = event.clone();
    let number = |name: Name| Item::new(items.binary_search(&name).unwrap() as u32);
    Event { position, basket, user, time, action: action.map_item(number) }
}

fn named(state: &BasketState, items: &[Name]) -> BasketState<Name> {
    let BasketState { basket, name, users, touch, lines, is_recent } = state.clone();
    let line = |StateLine { item, in_cart, bought, viewed, is_interaction }: StateLine| {
        let item = items[item.number() as usize].clone();
        StateLine { item, in_cart, bought, viewed, is_interaction }
    };
    BasketState { basket, name, users, touch, lines: lines.into_iter().map(line).collect(), is_recent }
}

fn emitted(epochs: &[Vec<Event>], params: Params, workers: usize) -> Emitted {
    let items = items_of(epochs);
    let (epochs, numbers) = (epochs.to_vec(), items.clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let (probe, states, forgot) = worker.dataflow(|scope| {
            let baskets = baskets(scope.input_from(&mut input), params);
            let (probe, states) = baskets.states.probe();
            (probe, states.capture(), baskets.forgot.capture())
        });
        for (epoch, events) in (0..).zip(&epochs) {
            for (number, event) in events.iter().enumerate() {
                if (number * 7 + number / 3) % peers == index {
                    input.send(numbered(event, &numbers));
                }
            }
            input.advance_to(epoch + 1);
            // Some epochs are run to their end alone, others several together.
            if events.len().is_multiple_of(3) {
                worker.step_while(|| probe.less_than(&(epoch + 1)));
            }
        }
        (states, forgot)
    });
    let mut emitted = Emitted::default();
    for of_worker in guards.unwrap().join() {
        let (states, forgot) = of_worker.unwrap();
        emitted.states.extend(records(states).map(|(epoch, state)| (epoch, named(&state, &items))));
        let epochs: Vec<Epoch> = records(forgot).map(|(epoch, ())| epoch).collect();
        assert!(epochs.is_sorted_by(|x, y| x < y), "once per epoch and worker: {epochs:?}");
        emitted.forgot.extend(epochs);
    }
    emitted
}

/// The records of a captured stream with their epochs, in the order in which they came.
fn records<D>(captured: Receiver<capture::Event<Epoch, Vec<D>>>) -> impl Iterator<Item = (Epoch, D)> {
    let messages = captured.into_iter().filter_map(|event| match event {
        capture::Event::Messages(stamp, records) => Some((*stamp.least().unwrap(), records)),
        capture::Event::Progress(_) => None,
    });
    messages.flat_map(|(epoch, records)| records.into_iter().map(move |record| (epoch, record)))
}

/// What a reader of the states has after each epoch, and the epochs in which something was forgotten.
fn after_each_epoch(epochs: &[Vec<Event>], params: Params, workers: usize) -> (Vec<States>, BTreeSet<Epoch>) {
    let Emitted { mut states, forgot } = emitted(epochs, params, workers);
    // A basket is emitted by one worker, in order.
    states.sort_by_key(|(epoch, _state)| *epoch);
    let mut held = States::new();
    let mut rest = states.as_slice();
    let after = (0..epochs.len() as Epoch).map(|epoch| {
        let (now, later) = rest.split_at(rest.partition_point(|(of, _state)| *of <= epoch));
        rest = later;
        let mut is_met = BTreeMap::new();
        for (_epoch, state) in now {
            let BasketState { name, users, touch, lines, is_recent, .. } = state.clone();
            let is_gone = lines.is_empty();
            let before = is_met.insert(name.clone(), is_gone);
            assert!(before.is_none_or(|was_gone| was_gone), "a basket has one state in an epoch: {state:?}");
            match is_gone {
                true => drop(held.remove(&name)),
                false => drop(held.insert(name, ModelBasketState { users, touch, lines, is_recent })),
            }
        }
        held.clone()
    });
    let after = after.collect();
    assert!(rest.is_empty(), "nothing comes after the last epoch");
    (after, forgot)
}

/// The states after each epoch by the plain model, and the epochs in which it forgot a basket.
fn model(epochs: &[Vec<Event>], params: Params) -> (Vec<States>, BTreeSet<Epoch>) {
    let mut model = Model::new(params);
    let mut forgot = BTreeSet::new();
    let states = (0..).zip(epochs).map(|(epoch, events)| {
        for event in events {
            let before = model.states().len();
            let is_held = |model: &Model| model.states().contains_key(&event.basket);
            let was_held = is_held(&model);
            model.apply(event);
            let is_forgotten = match event.action {
                Action::Forget => was_held && !is_held(&model),
                Action::ForgetUser => model.states().len() < before,
                _ => false,
            };
            if is_forgotten {
                forgot.insert(epoch);
            }
        }
        model.end_epoch();
        model.states()
    });
    (states.collect(), forgot)
}

fn check(epochs: &[Vec<Event>], params: Params, workers: usize) {
    let ((expected, forgot), actual) = (model(epochs, params), after_each_epoch(epochs, params, workers));
    for (epoch, (expected, actual)) in expected.iter().zip(&actual.0).enumerate() {
        assert_eq!(expected, actual, "{params:?} on {workers} workers, epoch {epoch}");
    }
    // An event may find its basket expired, which is not to forget it. The model does not say which.
    let forgets =
        if params.basket_idle.is_some() { forgot.is_superset(&actual.1) } else { forgot == actual.1 };
    assert!(forgets, "{params:?} on {workers} workers: forgot in {forgot:?}, and said so in {:?}", actual.1);
}

prop_compose! {
    /// Settings of baskets: whether they fill up, expire, and how long they are recent.
    fn settings()(evidence in evidence(), cap in prop_oneof![2 => Just(10_000usize), 1 => 1usize..6],
        idle in prop_oneof![2 => Just(None), 1 => (1u64..80).prop_map(NonZeroU64::new)], open_for in 1u64..60)
        -> Params {
        let params = params(Algorithm::Fast, Measure::Count, 5);
        Params { evidence, basket_items_max: cap, basket_idle: idle, open_for: NonZeroU64::new(open_for), ..params }
    }
}

prop_compose! {
    /// Epochs over some partitions, each in order. In some logs the first times are unknown.
    fn epochs()(events in events(), partitions in 1u32..4, unknown in prop_oneof![Just(0u64), 0u64..60],
        lengths in lengths()) -> Vec<Vec<Event>> {
        let mut events = events;
        over_partitions(&mut events, partitions);
        events.iter_mut().for_each(|event| event.time = event.time.saturating_sub(unknown));
        let mut epochs = cut(&events, &lengths);
        epochs.iter_mut().for_each(|events| events.sort_by_key(Event::order));
        epochs
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_states_are_the_models(epochs in epochs(), params in settings(), workers in 1usize..=4) {
        check(&epochs, params, workers);
    }

    /// Which lines are evicted, and so the lists, do not depend on whether touches are tracked.
    #[test]
    fn lines_do_not_depend_on_tracking(epochs in epochs(), params in settings()) {
        let interactions = |params| {
            let mut model = Model::new(params);
            epochs.iter().flatten().for_each(|event| model.apply(event));
            model.interactions()
        };
        // States have lines without evidence, too.
        let params = Params { evidence: "view,add,purchase".parse().unwrap(), ..params };
        let items = |states: &States| -> BTreeMap<Name, BTreeSet<Name>> {
            let items = |state: &ModelBasketState| state.lines.iter().map(|line| line.item.clone()).collect();
            states.iter().map(|(name, state)| (name.clone(), items(state))).collect()
        };
        let params = Params { basket_idle: None, ..params };
        let (states, _forgot) = after_each_epoch(&epochs, params, 1);
        prop_assert_eq!(states.last().map(items), Some(interactions(Params { open_for: None, ..params })));
        let untracked = emitted(&epochs, Params { open_for: None, ..params }, 2);
        prop_assert!(untracked.states.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A run that resumes from a snapshot has the states of one that never stopped, from its first epoch on.
    #[test]
    fn a_restart_changes_no_state(epochs in epochs(), params in settings(), at in 0usize..40,
        workers in (1usize..4, 1usize..4)) {
        let mut epochs = epochs;
        epochs.push(Vec::new());
        let at = at % (epochs.len() - 1);
        let (expected, _forgot) = model(&epochs, params);
        let copies = copies(&epochs, at, params, workers.0);
        let restored = (0..).zip(copies).flat_map(|(number, copy)| copy.into_events(number)).collect();
        let mut rest: Vec<Vec<Event>> = vec![restored];
        rest.extend_from_slice(&epochs[at + 1..]);
        let (states, _forgot) = after_each_epoch(&rest, params, workers.1);
        prop_assert_eq!(&states, &expected[at..]);
        prop_assert_eq!(&model(&rest, params).0, &expected[at..], "the model restores its baskets");
    }
}

/// An event of basket `b` in a partition.
fn at(partition: u32, offset: u64, time: Millis, action: Action<&str>) -> Event {
    let mut event = Event { time, ..event(offset, "b", Some("u"), action.map_item(Name::from)) };
    event.position.partition = Partition::new(0, partition).unwrap();
    event
}

/// The items of basket `b` after the last epoch, the most recently touched first, and whether it is recent.
fn basket_b(epochs: &[Vec<Event>]) -> (String, bool) {
    let params = params(Algorithm::Fast, Measure::Count, 5);
    let params = Params { basket_items_max: 3, open_for: NonZeroU64::new(10), ..params };
    check(epochs, params, 2);
    let states = after_each_epoch(epochs, params, 1).0.pop().unwrap();
    let Some(state) = states.get("b") else { return (String::new(), false) };
    let items: Vec<&str> = state.lines.iter().map(|line| line.item.as_str()).collect();
    (items.join(" "), state.is_recent)
}

/// The rule, in examples: baskets of at most three lines, recent for 10.
#[test]
fn how_lines_are_ordered() {
    use Action::{Add, Checkout, Remove};
    let state = |log: &[Event]| {
        let one_by_one: Vec<Vec<Event>> = log.iter().map(|event| vec![event.clone()]).collect();
        let (items, is_recent) = basket_b(&one_by_one);
        (items, is_recent)
    };
    let is = |items: &str, is_recent| (items.to_owned(), is_recent);
    let (tea, milk) = (at(0, 0, 100, Add("tea", 2)), at(0, 1, 101, Add("milk", 1)));
    assert_eq!(state(&[tea.clone(), milk.clone()]), is("milk tea", true));
    let again = at(0, 2, 102, Remove("tea", Some(1)));
    assert_eq!(state(&[tea.clone(), milk.clone(), again]), is("tea milk", true), "fewer of it is a touch");
    let checkout = at(0, 2, 102, Checkout);
    assert_eq!(
        state(&[tea.clone(), milk.clone(), checkout]),
        is("milk tea", true),
        "a checkout touches no line"
    );

    // Two partitions: whichever arrives first.
    let (early, late) = (at(1, 7, 99, Add("mug", 1)), at(1, 8, 103, Add("mug", 1)));
    assert_eq!(state(&[tea.clone(), milk.clone(), early.clone()]), is("milk tea mug", true));
    assert_eq!(state(&[early.clone(), tea.clone(), milk.clone()]), is("milk tea mug", true));
    assert_eq!(state(&[tea.clone(), late.clone(), milk.clone()]), is("mug milk tea", true));

    // A full basket loses the line that was added first.
    let (cup, touched) = (at(0, 4, 105, Add("cup", 1)), at(0, 3, 104, Add("tea", 1)));
    assert_eq!(state(&[tea.clone(), milk.clone(), late, touched, cup]), is("cup mug milk", true));

    // Not recent any more: by the clock of the partition of its first event.
    let mut other = at(0, 3, 111, Add("mug", 1));
    other.basket = "other".into();
    assert_eq!(state(&[tea.clone(), milk.clone(), other.clone()]), is("milk tea", false));
    let slow = at(1, 7, 99, Add("tea", 1));
    assert_eq!(
        state(&[tea.clone(), milk.clone(), other.clone(), slow]),
        is("tea milk", false),
        "too long ago"
    );
    assert_eq!(state(&[tea, milk, other, at(1, 7, 103, Add("mug", 1))]), is("mug milk tea", true));

    // Unknown times, until the first known one.
    let unknown = [at(0, 0, 0, Add("tea", 1)), at(0, 1, 0, Add("milk", 1)), at(0, 2, 0, Add("tea", 1))];
    assert_eq!(state(&unknown), is("tea milk", true));
    let mut known = at(0, 3, 1_000, Add("mug", 1));
    known.basket = "other".into();
    assert_eq!(state(&[&unknown[..], &[known]].concat()), is("tea milk", false));
}

/// What a reader of the stream sees when a basket is deleted, made again, and deleted with its user.
#[test]
fn what_is_emitted_when_a_basket_is_gone() {
    use Action::{Add, Forget, ForgetUser, Remove};
    let params = Params { open_for: NonZeroU64::new(10), ..params(Algorithm::Fast, Measure::Count, 5) };
    let epochs = [
        vec![at(0, 0, 100, Add("tea", 1))],
        vec![at(0, 1, 101, Forget), at(0, 2, 102, Add("milk", 1))],
        vec![at(0, 3, 103, Remove("milk", None))],
        vec![at(0, 4, 104, Add("tea", 1))],
        vec![at(0, 5, 105, ForgetUser)],
        vec![at(0, 6, 106, ForgetUser), at(0, 7, 107, Forget)],
    ];
    for workers in 1..=3 {
        let Emitted { states, forgot } = emitted(&epochs, params, workers);
        let shown = states.iter().map(|(epoch, state)| {
            assert_eq!((state.name.as_str(), state.users.as_slice()), ("b", &[Name::from("u")][..]));
            let items: Vec<&str> = state.lines.iter().map(|line| line.item.as_str()).collect();
            (*epoch, state.touch.time, items.join(" "))
        });
        let expected =
            [(0, 100, "tea"), (1, 100, ""), (1, 102, "milk"), (2, 102, ""), (3, 104, "tea"), (4, 104, "")];
        let expected = expected.map(|(epoch, time, items)| (epoch, time, items.to_owned()));
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(forgot, BTreeSet::from([1, 4]));
    }
    let touch = Touch { time: 7, ..Touch::default() };
    assert!(
        touch < Touch { offset: 1, ..touch } && Touch { offset: 9, ..touch } < Touch { time: 8, ..touch }
    );
}
