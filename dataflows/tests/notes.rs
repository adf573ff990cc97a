//! Notes are those of the model, epoch by epoch: whatever the workers, with baskets that fill up, expire, or are in
//! several partitions.

use crate::expiry::over_partitions;
use crate::harness::{event, params};
use crate::shop::{cut, events, lengths, settings};
use deltacart_dataflows::{
    Action, Algorithm, Epoch, Event, Measure, Model, Note, NoteCause, NoteKind, Params, recommend,
};
use proptest::prelude::*;
use std::num::NonZeroU64;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::capture::Extract;
use timely::dataflow::operators::{Capture, Input};

/// The notes of each epoch, sorted.
type Notes = Vec<(Epoch, Note)>;

/// The notes of the dataflow. The events of an epoch are dealt out over the workers.
fn notes(epochs: &[Vec<Event>], params: Params, workers: usize) -> Notes {
    let shared = epochs.to_vec();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let captured =
            worker.dataflow(|scope| recommend(scope.input_from(&mut input), params).notes.capture());
        for (epoch, events) in (1..).zip(&shared) {
            let mine = events.iter().enumerate().filter(|(number, _event)| number % peers == index);
            mine.for_each(|(_number, event)| input.send(event.clone()));
            input.advance_to(epoch);
        }
        captured
    });
    let captured = guards.unwrap().join().into_iter().flat_map(|captured| captured.unwrap().extract());
    let mut notes: Notes =
        captured.flat_map(|(epoch, notes)| notes.into_iter().map(move |note| (epoch, note))).collect();
    notes.sort_unstable();
    notes
}

fn model_notes(epochs: &[Vec<Event>], params: Params) -> Notes {
    let mut model = Model::new(params);
    let mut notes = Notes::new();
    for (epoch, events) in (0..).zip(epochs) {
        events.iter().for_each(|event| model.apply(event));
        model.end_epoch();
        notes.extend(model.take_notes().into_iter().map(|note| (epoch, note)));
    }
    notes.sort_unstable();
    notes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn notes_are_the_models(events in events(), params in settings(), idle in 0u64..60, items_max in 1usize..6,
        workers in 1usize..=3, partitions in 1u32..4, lengths in lengths()) {
        let mut events = events;
        over_partitions(&mut events, partitions);
        let mut epochs = cut(&events, &lengths);
        epochs.iter_mut().for_each(|events| events.sort_by_key(Event::order));
        let params = Params { basket_idle: NonZeroU64::new(idle), basket_items_max: items_max, ..params };
        prop_assert_eq!(notes(&epochs, params, workers), model_notes(&epochs, params));
    }

    /// Each expiry is noted once, by the last event of the basket, wherever epochs end.
    #[test]
    fn batching_does_not_matter(events in events(), idle in 1u64..60, partitions in 1u32..4) {
        let mut events = events;
        // Over partitions, the order of what concerns several baskets is that of epochs.
        let is_ordered = |event: &Event| partitions == 1 || event.action != Action::ForgetUser;
        events.retain(|event| is_ordered(event) && event.basket != "b11");
        over_partitions(&mut events, partitions);
        let params =
            Params { basket_idle: NonZeroU64::new(idle), ..params(Algorithm::Fast, Measure::Count, 5) };
        let one_by_one: Vec<Vec<Event>> = events.iter().map(|event| vec![event.clone()]).collect();
        events.sort_by_key(Event::order);
        let without_epochs = |notes: Notes| {
            let mut notes: Vec<Note> = notes.into_iter().map(|(_epoch, note)| note).collect();
            notes.sort_unstable();
            notes
        };
        let by_one = without_epochs(notes(&one_by_one, params, 1));
        let at_once = without_epochs(notes(std::slice::from_ref(&events), params, 2));
        prop_assert_eq!(by_one, at_once);
    }
}

/// Regression: a basket that was expired when its user was forgotten was noted only if an epoch ended in between.
#[test]
fn an_expired_basket_of_a_forgotten_user_is_noted() {
    let params = Params { basket_idle: NonZeroU64::new(10), ..params(Algorithm::Fast, Measure::Count, 5) };
    let at = |offset, time, basket, action| Event { time, ..event(offset, basket, Some("ann"), action) };
    let events = [
        at(0, 1, "ben", Action::Add("tea".into(), 1)),
        at(1, 20, "other", Action::Add("mug".into(), 1)),
        at(2, 21, "ben", Action::ForgetUser),
    ];
    let cause = NoteCause::Idle { partition: Default::default(), last: 1 };
    let expected = Note { kind: NoteKind::BasketExpired, basket: "ben".into(), item: None, cause };
    for epochs in [events.chunks(1).map(<[Event]>::to_vec).collect(), vec![events.to_vec()]] {
        let found: Vec<Note> = notes(&epochs, params, 2).into_iter().map(|(_epoch, note)| note).collect();
        assert_eq!(found, std::slice::from_ref(&expected), "{} epochs", epochs.len());
        assert_eq!(notes(&epochs, params, 1), model_notes(&epochs, params));
    }
}

/// Each kind of note, with its basket, item and cause.
#[test]
fn every_kind() {
    let params = Params {
        basket_idle: NonZeroU64::new(10),
        basket_items_max: 2,
        ..params(Algorithm::Fast, Measure::Count, 5)
    };
    let at = |offset, time, action| Event { time, ..event(offset, "ben", None, action) };
    let add = |item: &str| Action::Add(item.into(), 1);
    let epochs = [vec![
        at(0, 1, Action::Remove("mug".into(), None)),
        at(1, 2, add("tea")),
        at(2, 3, add("mug")),
        at(3, 4, add("milk")),
        at(4, 20, add("tea")),
    ]];
    let found = notes(&epochs, params, 2);
    let noted = |kind, item: Option<&str>, cause| Note {
        kind,
        basket: "ben".into(),
        item: item.map(Into::into),
        cause,
    };
    let of = |offset: usize| NoteCause::Event(epochs[0][offset].position);
    let idle = NoteCause::Idle { partition: Default::default(), last: 4 };
    let expected = [
        noted(NoteKind::BasketExpired, None, idle),
        noted(NoteKind::LineEvicted, Some("tea"), of(3)),
        noted(NoteKind::NoEffect, Some("mug"), of(0)),
    ];
    assert_eq!(found, expected.map(|note| (0, note)));
}
