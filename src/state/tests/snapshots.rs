//! Which snapshot is used, which are kept, and which errors are reported when none can be.

use super::{Memory, basket, name, partition, shape, stream};
use crate::state::StateError;
use crate::state::load::{Snapshot, load};
use crate::state::manifest::{FORMAT, Manifest, PartitionOffset, StateShape, trailer};
use crate::state::snapshot_catalog::{SnapshotCatalog, Taken};
use crate::state::snapshot_writer::{Outcome, SnapshotWriter};
use crate::state::store::{Store, put_whole};
use deltacart_dataflows::{Action, Event, Name, Partition, SnapshotSink};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn no_files(_partition: Partition) -> Option<String> {
    None
}

pub(super) fn newest(store: &Arc<dyn Store>) -> Result<Option<Snapshot>, StateError> {
    load(store, &shape(), &no_files)
}

fn load_from(store: &Memory) -> Result<Option<Snapshot>, StateError> {
    newest(&(Arc::new(store.clone()) as Arc<dyn Store>))
}

/// The outcome of a writer's part.
fn outcome(snapshot_writer: &SnapshotWriter) -> Outcome {
    let start = Instant::now();
    loop {
        if let Some(outcome) = snapshot_writer.outcome() {
            return outcome;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the scribe says nothing");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Takes a snapshot of two workers. The quantity in the first basket is its mark.
pub(super) fn take(
    catalog: &mut SnapshotCatalog,
    store: &Arc<dyn Store>,
    mark: u32,
) -> Result<Manifest, String> {
    let sequence = catalog.begin();
    let mut taken = Taken { sequence, epoch: mark.into(), ..Taken::default() };
    for worker in 0..2usize {
        let mut snapshot_writer = match worker {
            0 => SnapshotWriter::inline(Arc::clone(store)),
            _ => SnapshotWriter::spawn(Arc::clone(store)).unwrap(),
        };
        let ids = [name(format_args!("id {worker}")), name(mark)].into_iter().collect();
        snapshot_writer
            .begin(SnapshotCatalog::part_name(sequence, worker), vec![(partition(worker as u8, 4), ids)]);
        let mut baskets: Vec<_> = (0..3).map(|number| basket(10 * worker + number, 2, 1)).collect();
        baskets[0].lines[0].1.cart = mark;
        snapshot_writer.take(0, baskets);
        snapshot_writer.finish(0);
        taken.parts.push(outcome(&snapshot_writer)?);
        taken.offsets.push(PartitionOffset {
            partition: partition(worker as u8, 4),
            offset: mark.into(),
            clock: 0,
            source: None,
        });
    }
    catalog.complete(taken).map_err(|error| error.to_string())
}

/// The mark of a snapshot, after reading all of it with several numbers of workers.
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
            ("basket 0" | "basket 10", 0, Action::Restore(_, restored)) => Some(restored.units.cart),
            _ => None,
        };
        marks.extend(events.iter().filter_map(mark));
    }
    for stream in 0..2 {
        let mut ids = Vec::new();
        snapshot.ids(partition(stream, 4), &mut |more| ids.extend(more)).unwrap();
        assert_eq!(ids[0], format!("id {stream}"));
        marks.insert(ids[1].parse().unwrap());
        marks.insert(snapshot.offsets(stream)[&4] as u32);
    }
    assert!(snapshot.offsets(2).is_empty());
    snapshot.ids(partition(0, 9), &mut |ids| panic!("{ids:?}")).unwrap();
    assert_eq!(marks.len(), 1, "all of one snapshot");
    marks.pop_first().unwrap()
}

fn catalog(store: &Memory, loaded: Option<u64>) -> (SnapshotCatalog, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    (SnapshotCatalog::new(Arc::clone(&store), shape(), 2, loaded).unwrap(), store)
}

#[test]
fn the_newest_is_used_and_two_are_kept() {
    let memory = Memory::new();
    assert!(load_from(&memory).unwrap().is_none(), "no snapshot is no error");
    let (mut keeper_of_run, store) = catalog(&memory, None);
    for mark in [100, 200, 300] {
        take(&mut keeper_of_run, &store, mark).unwrap();
        assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), mark);
    }
    assert_eq!(memory.names().len(), 6, "{:?}", memory.names());

    // The next run continues the numbering, keeps the loaded snapshot, and removes the incomplete one.
    let loaded = load_from(&memory).unwrap().unwrap().manifest().sequence;
    put_whole(&memory, "snapshot-0000000009.part-0001", b"of a run that was killed").unwrap();
    put_whole(&memory, "something else", b"that is not ours").unwrap();
    let (mut keeper_of_run, store) = catalog(&memory, Some(loaded));
    assert!(!memory.names().iter().any(|name| name.contains("0009")));
    assert_eq!(take(&mut keeper_of_run, &store, 400).unwrap().sequence, 10);
    assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 400);
    let kept: Vec<String> = memory.names().into_iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(kept, ["snapshot-0000000003.json", "snapshot-0000000010.json"]);
    assert!(memory.names().contains(&"something else".to_owned()));
}

/// With every byte of the newest snapshot flipped, and every file of it cut at every byte or missing, the one before
/// is used.
#[test]
fn whatever_is_damaged_the_one_before_is_used() {
    let memory = Memory::new();
    let (mut catalog, store) = catalog(&memory, None);
    take(&mut catalog, &store, 100).unwrap();
    take(&mut catalog, &store, 200).unwrap();
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
    let (mut catalog, store) = catalog(&memory, None);
    let manifest = take(&mut catalog, &store, 100).unwrap();
    let refused = |other: StateShape| load(&store, &other, &no_files).err().unwrap().to_string();
    let carts = stream("kafka:carts", &[("format", "ga4"), ("basket", "order")]);
    let error = refused(StateShape { streams: vec![carts.clone()], ..StateShape::default() });
    let differences = "basket of kafka:carts was not set and is order, format of kafka:carts was json and is ga4, input \
                       2 was files and is not set, max-basket-items was 5 and is not set;";
    assert!(error.contains(differences), "{error}");
    let [first, second] = <[_; 2]>::try_from(shape().streams).unwrap();
    let error = refused(StateShape { streams: vec![second.clone(), first.clone()], ..shape() });
    assert!(error.contains("input 1 was kafka:carts and is files"), "{error}");
    assert!(error.contains("input 2 was files and is kafka:carts"), "{error}");
    let file = |it: Partition| (it.stream() == 1).then(|| format!("{}.csv", it.number()));
    let error = load(&store, &shape(), &file).err().unwrap().to_string();
    assert!(error.contains("input 5 was not set and is 4.csv;"), "{error}");
    let more = StateShape { streams: vec![first, second, carts], ..shape() };
    assert_eq!(mark_of(&load(&store, &more, &no_files).unwrap().unwrap()), 100, "a stream more");

    let encoded = Manifest { codec: Some("abomonation 0.1".to_owned()), ..manifest.clone() };
    put_whole(&memory, &encoded.name(), &encoded.to_bytes()).unwrap();
    let error = load_from(&memory).err().unwrap().to_string();
    assert!(
        error.contains("is encoded as \"abomonation 0.1\": continue with the program that wrote it"),
        "{error}"
    );

    let newer = Manifest { format: FORMAT + 1, program: "9.9.9".to_owned(), ..manifest };
    put_whole(&memory, &newer.name(), &newer.to_bytes()).unwrap();
    let error = load_from(&memory).err().unwrap().to_string();
    assert!(
        error.contains(
            "snapshot-0000000001.json has format 5, written by deltacart 9.9.9; this program reads up to 4"
        ),
        "{error}"
    );
}

/// Wherever the store gets full, the snapshot does not exist, the one before does, and the next one is taken.
#[test]
fn a_full_store_costs_a_snapshot_and_no_more() {
    let memory = Memory::new();
    let (mut catalog, store) = catalog(&memory, None);
    take(&mut catalog, &store, 100).unwrap();
    let mut failed = 0;
    for room in (0..).step_by(7) {
        memory.set_room(room);
        match take(&mut catalog, &store, 200) {
            Ok(_) => break,
            Err(error) => {
                assert!(error.contains("cannot write snapshot-"), "{error}");
                failed += 1;
                catalog.give_up(failed + 1);
                assert_eq!(memory.names().len(), 3, "{:?}", memory.names());
                assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 100);
            }
        }
    }
    assert!(failed > 50, "{failed}");
    assert_eq!(mark_of(&load_from(&memory).unwrap().unwrap()), 200);
}

/// A manifest of formats 1 and 2 is read as one of one stream.
#[test]
fn a_manifest_of_one_stream_is_read() {
    let document = br#"{"format":2,"program":"0.1.0","sequence":7,"epoch":41,"workers":1,"settings":{"basket":"auto","basket-idle":"72h","format":"json","input":"kafka:carts","max-basket-items":"5"},"topic_id":"an id","offsets":[{"partition":3,"offset":48,"clock":17,"source":null}],"parts":[{"name":"snapshot-0000000007.part-0000","bytes":8,"crc32":1,"baskets":2,"lines":3,"ids":1,"partitions":[3]}]}"#;
    let manifest = Manifest::from_bytes("it", &[document, trailer(document).as_bytes()].concat()).unwrap();
    let of_the_stream = stream("kafka:carts", &[("basket", "auto"), ("format", "json")]);
    let expected = StateShape {
        settings: super::settings(&[("basket-idle", "72h"), ("max-basket-items", "5")]),
        streams: vec![of_the_stream],
    };
    assert!(manifest.differences(&expected, &no_files).is_empty());
    assert_eq!(manifest.streams[0].topic_id.as_deref(), Some("an id"));
    let offset = &manifest.offsets[0];
    assert_eq!((offset.partition, offset.offset, offset.clock), (partition(0, 3), 48, 17));
    assert_eq!(manifest.parts[0].partitions, [partition(0, 3)]);
    let other = StateShape { streams: vec![stream("kafka:orders", &[("format", "json")])], ..expected };
    assert_eq!(
        manifest.differences(&other, &no_files),
        ["input was kafka:carts and is kafka:orders", "basket was auto and is not set"]
    );
}
