//! Corrections from any consumer state to any computed lists, for all envelopes and options.

use super::*;
use crate::output::Lists;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Two of them look like the keys of pairs.
const ITEMS: [&str; 6] = ["a", "b", "c", "[\"a\",\"b\"]", "[\"b\",\"c\"]", "ö\n"];

type Topic = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> impl Strategy<Value = OutputOptions> {
    (0..3_usize, any::<bool>(), 0..=Decimal::DIGITS_MAX).prop_map(|(envelope, scores, score_digits)| {
        OutputOptions { rows: RowKind::Item, envelope: Envelope::ALL[envelope], scores, score_digits }
    })
}

/// Lists of some items, with few values, so that some are equal by chance. Without `scores`, scores and counts are 0.
fn lists(scores: bool) -> impl Strategy<Value = HashMap<Name, List>> {
    let neighbour = (0..ITEMS.len(), 0..3_i64, 1..3_u32);
    let list = prop::collection::vec(neighbour, 1..4).prop_map(move |neighbours| {
        let mut list = List::new();
        for (item, score, count) in neighbours {
            if list.iter().all(|other| other.item != ITEMS[item]) {
                let (score, count) = if scores { (100 * score, count) } else { (0, 0) };
                list.push(Neighbour { item: ITEMS[item].into(), score, count });
            }
        }
        list
    });
    let lists = prop::collection::hash_map(0..ITEMS.len(), list, 0..ITEMS.len());
    lists.prop_map(|lists| lists.into_iter().map(|(item, list)| (ITEMS[item].into(), list)).collect())
}

fn run() -> impl Strategy<Value = (OutputOptions, HashMap<Name, List>)> {
    options().prop_flat_map(|options| (Just(options), lists(options.scores)))
}

fn consumer_state(topic: &Topic) -> ConsumerState {
    let mut consumer_state = ConsumerState::default();
    for (key, value) in topic {
        consumer_state.apply(read_consumer_record(0, Some(key), Some(value)).unwrap().0, None);
    }
    consumer_state
}

/// The records that correct the topic to the lists. Applies them to the topic.
fn correct(topic: &mut Topic, epoch: Epoch, options: &OutputOptions, lists: HashMap<Name, List>) -> Records {
    let mut records = Records::new();
    let mut correction = Correction::new(consumer_state(topic), lists, epoch, options).unwrap();
    while correction.encode_next(&mut records).is_some() {}
    for record in records.iter() {
        match record.value {
            Some(value) => drop(topic.insert(record.key.to_vec(), value.to_vec())),
            None => drop(topic.remove(record.key)),
        }
    }
    records
}

fn canonical(topic: &Topic) -> String {
    let mut lists = Lists::new();
    topic.iter().for_each(|(key, value)| drop(lists.apply(Some(key), Some(value)).unwrap()));
    let mut text = Vec::new();
    lists.write_canonical(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The topic that results if it was empty before.
fn from_nothing(options: &OutputOptions, lists: HashMap<Name, List>) -> Topic {
    let mut topic = Topic::new();
    for (item, after) in lists {
        let mut records = Records::new();
        encode(&ListChange { item, epoch: 1, before: List::new(), after }, options, &mut records);
        for record in records.iter() {
            topic.insert(record.key.to_vec(), record.value.unwrap().to_vec());
        }
    }
    topic
}

proptest! {
    /// However much changes between two runs, the topic ends with the lists of the last run. A run that changes
    /// nothing writes no record.
    #[test]
    fn any_runs_one_after_the_other(runs in prop::collection::vec(run(), 1..5)) {
        let mut topic = Topic::new();
        for (epoch, (options, lists)) in (1..).zip(runs) {
            let records = correct(&mut topic, epoch, &options, lists.clone());
            prop_assert_eq!(canonical(&topic), canonical(&from_nothing(&options, lists.clone())));
            let mut keys: Vec<&[u8]> = records.iter().filter_map(|record| record.value.map(|_| record.key)).collect();
            let parsed = keys.len();
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(parsed, keys.len(), "a key has two values");
            prop_assert_eq!(correct(&mut topic, epoch + 1, &options, lists).len(), 0);
        }
    }

    /// The worker that receives a stale key is the one that writes it, if it is written.
    #[test]
    fn records_of_one_key_meet((options, lists) in run()) {
        for (key, value) in from_nothing(&options, lists) {
            let (record, _epoch) = read_consumer_record(0, Some(&key), Some(&value)).unwrap();
            let told = route_consumer_record(&record, options.envelope);
            let gone = route_consumer_record(&read_consumer_record(0, Some(&key), None).unwrap().0, options.envelope);
            prop_assert_eq!(told, gone);
            let parsed = parsed_record::read(&value).unwrap();
            prop_assert_eq!(told, route(&parsed.item));
        }
    }
}

/// A topic with partitions, each read separately: the keys and values in each.
type Partitions = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

fn home(key: &[u8], partitions: u32) -> u32 {
    key.iter().fold(7, |hash: u32, &byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % partitions
}

/// Corrects a topic with partitions, some of whose keys may be in a partition that they do not belong to.
fn correct_partitions(
    topic: &mut Partitions,
    partitions: u32,
    epoch: Epoch,
    options: &OutputOptions,
    lists: HashMap<Name, List>,
) -> Records {
    let mut consumer_state = ConsumerState::default();
    for ((partition, key), value) in &*topic {
        let record = read_consumer_record(*partition, Some(key), Some(value)).unwrap().0;
        consumer_state.apply(record, Some(home(key, partitions)));
    }
    let mut records = Records::new();
    let mut correction = Correction::new(consumer_state, lists, epoch, options).unwrap();
    while correction.encode_next(&mut records).is_some() {}
    assert!(records.iter().last().is_none_or(|record| record.is_last));
    for record in records.iter() {
        let partition = record.partition.unwrap_or_else(|| home(record.key, partitions));
        let place = (partition, record.key.to_vec());
        let is_leave = |value: &&[u8]| value.starts_with(b"{\"version\":1,\"op\":\"leave\"");
        match record.value.filter(|value| !is_leave(value)) {
            Some(value) => drop(topic.insert(place, value.to_vec())),
            None => drop(topic.remove(&place)),
        }
    }
    records
}

proptest! {
    /// However the topic grows and whatever changes between two runs, every key ends in its partition, with the list
    /// of the last run. A list that consumers already have is not published again.
    #[test]
    fn a_topic_that_grows(runs in prop::collection::vec((run(), 1..6_u32), 1..5)) {
        let (mut topic, mut partitions) = (Partitions::new(), 1);
        for (epoch, ((options, lists), more)) in (1..).zip(runs) {
            partitions = partitions.max(more);
            let before = topic.clone();
            let records = correct_partitions(&mut topic, partitions, epoch, &options, lists.clone());
            let mut keys = BTreeMap::new();
            for (partition, key) in topic.keys() {
                prop_assert_eq!(*partition, home(key, partitions));
                keys.insert(key.clone(), topic[&(*partition, key.clone())].clone());
            }
            prop_assert_eq!(canonical(&keys), canonical(&from_nothing(&options, lists.clone())));
            for record in records.iter().filter(|record| record.value.is_none()) {
                let partition = record.partition.unwrap_or_else(|| home(record.key, partitions));
                let was_there = before.contains_key(&(partition, record.key.to_vec()));
                prop_assert!(was_there, "a tombstone of what is not there: {:?}", record);
            }
            let again = correct_partitions(&mut topic, partitions, epoch + 1, &options, lists);
            prop_assert_eq!(again.len(), 0);
        }
    }
}

#[test]
fn a_key_that_moves_leaves_with_its_list() {
    let value = |epoch: u64| {
        format!(r#"{{"version":1,"item":"a","epoch":{epoch},"recommendations":[{{"item":"b"}}]}}"#)
    };
    let options =
        OutputOptions { rows: RowKind::Item, envelope: Envelope::Upsert, scores: false, score_digits: 0 };
    let list = vec![Neighbour { item: "b".into(), score: 0, count: 0 }];
    let encode = |computed: HashMap<Name, List>| {
        let mut consumer_state = ConsumerState::default();
        for (partition, epoch) in [(0, 1), (2, 2)] {
            let record =
                read_consumer_record(partition, Some(b"a"), Some(value(epoch).as_bytes())).unwrap().0;
            consumer_state.apply(record, Some(1));
        }
        let (mut correction, mut records) =
            (Correction::new(consumer_state, computed, 3, &options).unwrap(), Records::new());
        while correction.encode_next(&mut records).is_some() {}
        let told = records.iter().map(|record| (record.partition, record.value.is_some(), record.is_last));
        told.collect::<Vec<_>>()
    };
    // In one transaction, because no record before the list ends it.
    let moved = encode(HashMap::from([(Name::from("a"), list)]));
    assert_eq!(moved, [(Some(0), false, false), (Some(2), false, false), (None, true, true)]);
    let gone = encode(HashMap::new());
    assert_eq!(gone, [(Some(0), false, true), (Some(2), false, true)]);
}

/// In a file, the end of an epoch is missing: the list is removed and published again.
#[test]
fn a_torn_list_is_mended() {
    let options =
        OutputOptions { rows: RowKind::Item, envelope: Envelope::Changes, scores: false, score_digits: 0 };
    let entry = |item: &str| Neighbour { item: item.into(), score: 0, count: 0 };
    let before = vec![entry("x"), entry("y"), entry("z")];
    let after = vec![entry("new"), entry("x"), entry("y")];
    let mut records = Records::new();
    let change = |before: &List, after: &List| ListChange {
        item: "a".into(),
        epoch: 1,
        before: before.clone(),
        after: after.clone(),
    };
    encode(&change(&List::new(), &before), &options, &mut records);
    let whole = records.len();
    encode(&change(&before, &after), &options, &mut records);
    let lines: Vec<Vec<u8>> = records.iter().filter_map(|record| Some(record.line?.to_vec())).collect();
    for torn in whole..=lines.len() {
        let (mut consumer_state, mut seen) = (ConsumerState::default(), Lists::new());
        for line in &lines[..torn] {
            consumer_state.apply(read_consumer_record(0, None, Some(line)).unwrap().0, None);
            seen.apply(None, Some(line)).unwrap();
        }
        let computed = HashMap::from([(Name::from("a"), after.clone())]);
        let mut correction = Correction::new(consumer_state, computed, 2, &options).unwrap();
        let mut records = Records::new();
        while correction.encode_next(&mut records).is_some() {}
        assert_eq!(records.is_empty(), torn == lines.len());
        records.iter().filter_map(|record| record.line).for_each(|line| {
            seen.apply(None, Some(line)).unwrap();
        });
        let ranks: Vec<(u32, &str)> =
            seen.get("a").unwrap().entries.iter().map(|entry| (entry.rank, entry.item.as_str())).collect();
        assert_eq!(ranks, [(1, "new"), (2, "x"), (3, "y")], "torn after {torn} lines");
    }
}

#[test]
fn a_key_that_is_not_its_values_is_refused() {
    let value = br#"{"version":1,"item":"a","epoch":1,"recommendations":[{"item":"b"}],"changes":{}}"#;
    assert!(read_consumer_record(0, Some(b"a"), Some(value)).is_ok());
    assert!(read_consumer_record(0, Some(b"b"), Some(value)).is_err());
    assert!(read_consumer_record(0, None, None).is_err());
}
