//! Which snapshot is used, which are kept, and what is said when none can be.

use super::{Memory, basket, name, settings};
use crate::state::StateError;
use crate::state::keeper::{Keeper, Taken};
use crate::state::load::{Snapshot, load};
use crate::state::manifest::{FORMAT, Manifest, PartitionOffset, StateSettings};
use crate::state::scribe::{Outcome, Scribe};
use crate::state::store::{Store, put_whole};
use deltacart_dataflows::{Action, Event, Name, TakeBaskets};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn no_files(_partition: u32) -> Option<String> {
    None
}

pub(super) fn newest(store: &Arc<dyn Store>) -> Result<Option<Snapshot>, StateError> {
    load(store, &settings(), &no_files)
}

fn load_from(store: &Memory) -> Result<Option<Snapshot>, StateError> {
    newest(&(Arc::new(store.clone()) as Arc<dyn Store>))
}

/// What a scribe says of a part.
fn outcome(scribe: &Scribe) -> Outcome {
    let start = Instant::now();
    loop {
        if let Some(outcome) = scribe.outcome() {
            return outcome;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the scribe says nothing");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Takes a snapshot of two workers; the first basket's quantity tells which it is.
pub(super) fn take(keeper: &mut Keeper, store: &Arc<dyn Store>, mark: u32) -> Result<Manifest, String> {
    let sequence = keeper.begin();
    let mut taken = Taken { sequence, epoch: mark.into(), ..Taken::default() };
    for worker in 0..2usize {
        let mut scribe = match worker {
            0 => Scribe::inline(Arc::clone(store)),
            _ => Scribe::spawn(Arc::clone(store)).unwrap(),
        };
        let ids = [name(format_args!("id {worker}")), name(mark)].into_iter().collect();
        scribe.begin(Keeper::part_name(sequence, worker), vec![(worker as u32, ids)]);
        let mut baskets: Vec<_> = (0..3).map(|number| basket(10 * worker + number, 2, 1)).collect();
        baskets[0].lines[0].1 = mark;
        scribe.take(0, baskets);
        scribe.finish(0);
        taken.parts.push(outcome(&scribe)?);
        taken.offsets.push(PartitionOffset {
            partition: worker as u32,
            offset: mark.into(),
            clock: 0,
            source: None,
        });
    }
    keeper.complete(taken).map_err(|error| error.to_string())
}

/// Which snapshot it is, after a look at all of it by any number of workers.
pub(super) fn mark_of(snapshot: &Snapshot) -> u32 {
    let mut marks = BTreeSet::new();
    for workers in 1..4 {
        let mut events: Vec<Event> = Vec::new();
        for worker in 0..workers {
            let mut parts = snapshot.events(worker, workers);
            while parts.next(&mut events).unwrap() {}
        }
        let baskets: BTreeSet<&Name> = events.iter().map(|event| &event.basket).collect();
        assert_eq!((events.len(), baskets.len()), (12, 6));
        let mark = |event: &Event| match (event.basket.as_str(), event.position.index, &event.action) {
            ("basket 0" | "basket 10", 0, Action::Hold(_, cart, _)) => Some(*cart),
            _ => None,
        };
        marks.extend(events.iter().filter_map(mark));
    }
    for partition in 0..2 {
        let mut ids = Vec::new();
        snapshot.ids(partition, &mut |more| ids.extend(more)).unwrap();
        assert_eq!(ids[0], format!("id {partition}"));
        marks.insert(ids[1].parse().unwrap());
        marks.insert(snapshot.offsets()[&partition] as u32);
    }
    snapshot.ids(9, &mut |ids| panic!("{ids:?}")).unwrap();
    assert_eq!(marks.len(), 1, "all of one snapshot");
    marks.pop_first().unwrap()
}

fn keeper(store: &Memory, loaded: Option<u64>) -> (Keeper, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    (Keeper::new(Arc::clone(&store), settings(), 2, loaded).unwrap(), store)
}

#[test]
fn the_newest_is_used_and_two_are_kept() {
    let memory = Memory::new();
    assert!(load_from(&memory).unwrap().is_none(), "no snapshot is no error");
    let (mut keeper_of_run, store) = keeper(&memory, None);
    for mark in [100, 200, 300] {
        take(&mut keeper_of_run, &store, mark).unwrap();
        assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), mark);
    }
    assert_eq!(memory.names().len(), 6, "{:?}", memory.names());

    // The next run goes on counting, keeps what it began with, and removes what was left of a snapshot.
    let loaded = load_from(&memory).unwrap().unwrap().manifest().sequence;
    put_whole(&memory, "snapshot-0000000009.part-0001", b"of a run that was killed").unwrap();
    put_whole(&memory, "something else", b"that is not ours").unwrap();
    let (mut keeper_of_run, store) = keeper(&memory, Some(loaded));
    assert!(!memory.names().iter().any(|name| name.contains("0009")));
    assert_eq!(take(&mut keeper_of_run, &store, 400).unwrap().sequence, 10);
    assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 400);
    let kept: Vec<String> = memory.names().into_iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(kept, ["snapshot-0000000003.json", "snapshot-0000000010.json"]);
    assert!(memory.names().contains(&"something else".to_owned()));
}

/// Every byte of the newest snapshot flipped, every file of it cut at every byte and missing: the one before is used.
#[test]
fn whatever_is_damaged_the_one_before_is_used() {
    let memory = Memory::new();
    let (mut keeper, store) = keeper(&memory, None);
    take(&mut keeper, &store, 100).unwrap();
    take(&mut keeper, &store, 200).unwrap();
    let names = memory.names();
    let newest: Vec<&String> = names.iter().filter(|name| name.contains("0002.")).collect();
    assert_eq!(newest.len(), 3);
    let damaged = |name: &str, bytes: Option<Vec<u8>>| {
        let whole = match bytes {
            Some(bytes) => memory.things.lock().unwrap().insert(name.to_owned(), bytes),
            None => memory.things.lock().unwrap().remove(name),
        };
        let found = load_from(&memory).unwrap().unwrap().manifest().epoch;
        memory.things.lock().unwrap().insert(name.to_owned(), whole.unwrap());
        found
    };
    for name in newest {
        let whole = memory.things.lock().unwrap()[name].clone();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(damaged(name, Some(flipped)), 100, "bit {bit} of byte {at} of {name}");
            }
            assert_eq!(damaged(name, Some(whole[..at].to_vec())), 100, "{name} cut at {at}");
        }
        assert_eq!(damaged(name, Some([&whole[..], b"\n"].concat())), 100, "{name} and more");
        assert_eq!(damaged(name, None), 100, "{name} is missing");
    }
    assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 200, "all is well again");

    for name in names.iter().filter(|name| name.contains("part-0000")) {
        memory.delete(name).unwrap();
    }
    let error = load_from(&memory).err().unwrap().to_string();
    assert!(
        error.starts_with("no snapshot in memory is good: snapshot-0000000002.part-0000: it is missing; "),
        "{error}"
    );
}

#[test]
fn what_is_not_for_us_is_refused() {
    let memory = Memory::new();
    let (mut keeper, store) = keeper(&memory, None);
    let manifest = take(&mut keeper, &store, 100).unwrap();
    let other: StateSettings =
        [("format".to_owned(), "ga4".to_owned()), ("basket".to_owned(), "order".to_owned())].into();
    let error = load(&store, &other, &no_files).err().unwrap().to_string();
    assert!(error.contains("basket was not set and is order, format was json and is ga4, max-basket-items was 5 and is not set;"), "{error}");
    let error =
        load(&store, &settings(), &|partition| Some(format!("{partition}.csv"))).err().unwrap().to_string();
    assert!(error.contains("input 1 was not set and is 0.csv, input 2 was not set and is 1.csv;"), "{error}");

    let encoded = Manifest { codec: Some("abomonation 0.1".to_owned()), ..manifest.clone() };
    put_whole(&memory, &encoded.name(), &encoded.to_bytes()).unwrap();
    let error = load_from(&memory).err().unwrap().to_string();
    assert!(
        error.contains("is encoded as \"abomonation 0.1\": go on with the program that wrote it"),
        "{error}"
    );

    let newer = Manifest { format: FORMAT + 1, program: "9.9.9".to_owned(), ..manifest };
    put_whole(&memory, &newer.name(), &newer.to_bytes()).unwrap();
    let error = load_from(&memory).err().unwrap().to_string();
    assert!(
        error.contains(
            "snapshot-0000000001.json has format 3, written by deltacart 9.9.9; this program reads up to 2"
        ),
        "{error}"
    );
}

/// Wherever the store is full: the snapshot is not there, the one before is, and the next one is taken.
#[test]
fn a_full_store_costs_a_snapshot_and_no_more() {
    let memory = Memory::new();
    let (mut keeper, store) = keeper(&memory, None);
    take(&mut keeper, &store, 100).unwrap();
    let mut failed = 0;
    for room in (0..).step_by(7) {
        memory.set_room(room);
        match take(&mut keeper, &store, 200) {
            Ok(_) => break,
            Err(error) => {
                assert!(error.contains("cannot write snapshot-"), "{error}");
                failed += 1;
                keeper.give_up(failed + 1);
                assert_eq!(memory.names().len(), 3, "{:?}", memory.names());
                assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 100);
            }
        }
    }
    assert!(failed > 50, "{failed}");
    assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 200);
}
