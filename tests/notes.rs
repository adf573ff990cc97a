//! Notes of what was odd: to files and topics, whatever the workers and however often a job is killed, each note of the
//! model is there once.
//!
//! The tests of topics are skipped unless `DELTACART_TEST_BROKERS` names a broker.

use crate::kafka::{Broker, unused};
use crate::recovery::{check_history, kill_at_random, resume};
use crate::support::{Folder, Random, canonical, lists_of_file, run};
use clap::Parser;
use deltacart::cli::{Cli, Command};
use deltacart::config;
use deltacart::output::wait_for_open_transactions;
use deltacart_dataflows::{Model, Note, NoteCause, NoteKind, Partition};
use deltacart_inputs::{DecodeOptions, Format, RawRecord, Share};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Flags under which baskets fill up and expire.
const FLAGS: &str = "--max-basket-items 4 --basket-idle 2s";

/// Events of a shop, each with its user as the key. Many of them have no effect.
pub(crate) fn events(seed: u64, count: u64) -> Vec<(String, Vec<u8>)> {
    let (mut random, mut time) = (Random::new(seed), 1_700_000_000_000_u64);
    let mut events = Vec::new();
    for _ in 0..count {
        time += random.below(60);
        let basket = random.below(60);
        let (user, basket) = (format!("u{}", basket % 12), format!("b{basket}"));
        let item = format!("i{}", random.below(12));
        let about = json!({ "basket": basket, "user": user, "time": time });
        let with = |event: &str, item: Option<&str>| {
            let mut value = about.clone();
            value["event"] = event.into();
            if let Some(item) = item {
                value["items"] = json!([{ "item": item }, { "item": format!("{item}-too") }]);
            }
            value
        };
        let value = match random.below(20) {
            0..9 => with("add", Some(&item)),
            9..13 => with("remove", Some(&item)),
            13 => with("purchase", None),
            14 => with("clear", None),
            15 => with("refund", Some(&item)),
            16 => with("forget", None),
            17 => json!({ "event": "forget", "user": user, "time": time }),
            _ => with("add", Some(&item)),
        };
        events.push((user, value.to_string().into_bytes()));
    }
    events
}

/// One note: its kind, basket and item, its partition, and its offset and index, or the time of the last event.
type Found = (String, String, Option<String>, u64, Value);

fn found(value: &[u8]) -> Found {
    let value: Value = serde_json::from_slice(value).unwrap();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let at = match value["time"].as_u64() {
        Some(time) => json!(time),
        None => json!([value["offset"], value["index"]]),
    };
    assert!(value["epoch"].is_u64() && value["version"] == 1, "{value}");
    (text("note").unwrap(), text("basket").unwrap(), text("item"), value["partition"].as_u64().unwrap(), at)
}

/// The plain model's notes of the records of some partitions.
fn expected(partitions: &BTreeMap<u32, Vec<Vec<u8>>>) -> Vec<Found> {
    let mut decoder = DecodeOptions::new(Format::Json).decoder().unwrap();
    let line = format!("deltacart run --input kafka:carts -b localhost:1 {FLAGS}");
    let Command::Run(arguments) = Cli::parse_from(line.split_whitespace()).command else { panic!("{line}") };
    let mut model = Model::new(config::job(*arguments).unwrap().params);
    for (&partition, records) in partitions {
        let mut clock = 0;
        for (offset, value) in (0..).zip(records) {
            let (key, headers, timestamp) = (None, &[][..], None);
            let value = Some(value.as_slice());
            let record = RawRecord { partition, offset, key, value, headers, timestamp, truncated: false };
            let mut events = Vec::new();
            decoder.decode(&record, &mut events).unwrap();
            for mut event in events {
                clock = clock.max(event.time);
                event.time = clock;
                event.position.partition = Partition::new(0, partition).unwrap();
                model.apply(&event);
            }
        }
    }
    model.end_epoch();
    let found = |note: Note| {
        let kind = match note.kind {
            NoteKind::NoEffect => "no-effect",
            NoteKind::SplitBasket => "split-basket",
            NoteKind::LineEvicted => "line-evicted",
            NoteKind::BasketExpired => "basket-expired",
        };
        let (partition, at) = match note.cause {
            NoteCause::Event(position) => (position.partition, json!([position.offset, position.index])),
            NoteCause::Idle { partition, last } => (partition, json!(last)),
            NoteCause::Restore => panic!("nothing is restored: {note:?}"),
        };
        let (basket, item) = (note.basket.to_string(), note.item.map(|item| item.to_string()));
        (kind.to_owned(), basket, item, u64::from(partition.number()), at)
    };
    sorted(model.take_notes().into_iter().map(found).collect())
}

fn sorted(mut notes: Vec<Found>) -> Vec<Found> {
    notes.sort_by_cached_key(|note| format!("{note:?}"));
    notes
}

/// Compares notes as a reader found them, in any order, with the model's.
#[track_caller]
fn check(notes: Vec<Found>, expected: &[Found], what: &str) {
    let notes = sorted(notes);
    let twice = notes.windows(2).find(|two| two[0] == two[1]);
    assert!(twice.is_none(), "{what}: there twice: {twice:?}");
    let difference = notes.iter().zip(expected).find(|(note, expected)| note != expected);
    assert!(notes == expected, "{what}: {} of {}, {difference:?}", notes.len(), expected.len());
}

fn lines(path: &str) -> Vec<Found> {
    let text = fs::read(path).unwrap();
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(found).collect()
}

/// The file of notes has the model's notes. It is the same to the byte for any number of workers, and says which
/// records it is about.
#[test]
fn a_file_has_the_models_notes() {
    let folder = Folder::new();
    let events: Vec<Vec<u8>> = events(1, 3000).into_iter().map(|(_key, value)| value).collect();
    let (input, lists) = (folder.file("carts.jsonl", events.join(&b'\n')), folder.path("lists.jsonl"));
    let job = format!("run --input {input} --output {lists} --overwrite --epoch-events 40 {FLAGS}");
    let expected = expected(&BTreeMap::from([(0, events)]));
    for kind in ["no-effect", "line-evicted", "basket-expired"] {
        assert!(expected.iter().any(|note| note.0 == kind), "{kind}");
    }
    let mut first = None;
    for workers in 1..=3 {
        let notes = folder.path("notes.jsonl");
        run(&format!("{job} --notes {notes} -w {workers}"), &[]).expect(0);
        check(lines(&notes), &expected, &format!("{workers} workers"));
        let bytes = fs::read(&notes).unwrap();
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{workers} workers");
        let first_line = String::from_utf8(bytes).unwrap();
        assert!(first_line.contains(&format!("\"file\":\"{input}\"")), "{}", &first_line[..300]);
    }
    // Lists are the same with and without notes.
    let with = fs::read(&lists).unwrap();
    run(&job, &[]).expect(0);
    assert!(fs::read(&lists).unwrap() == with);
    // Notes to standard output, lists to a file.
    let done = run(&format!("{job} --notes -"), &[]).expect(0);
    let printed = done.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    check(printed.map(found).collect(), &expected, "standard output");
}

/// A file of notes that was cut off at any byte is resumed. Each note is there once, and the lists are right, too.
#[test]
fn a_file_is_resumed_behind_its_last_note() {
    let folder = Folder::new();
    let events: Vec<Vec<u8>> = events(2, 1500).into_iter().map(|(_key, value)| value).collect();
    let input = folder.file("carts.jsonl", events.join(&b'\n'));
    let (lists, notes) = (folder.path("lists.jsonl"), folder.path("notes.jsonl"));
    let job = format!("run --input {input} --output {lists} --notes {notes} {FLAGS}");
    run(&format!("{job} --epoch-events 30"), &[]).expect(0);
    let whole = fs::read(&notes).unwrap();
    let expected = expected(&BTreeMap::from([(0, events)]));
    let mut random = Random::new(5);
    for (workers, epoch) in [(1, 30), (2, 7), (3, 400)] {
        let torn = &whole[..random.below(whole.len() as u64) as usize];
        fs::write(&notes, torn).unwrap();
        resume(&format!("{job} -w {workers} --epoch-events {epoch}"));
        let resumed = fs::read(&notes).unwrap();
        let kept = torn.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
        assert!(resumed.starts_with(&torn[..kept]));
        check(lines(&notes), &expected, &format!("torn at {} of {}", torn.len(), whole.len()));
        resume(&format!("{job} -w {workers} --epoch-events {epoch}"));
        assert!(fs::read(&notes).unwrap() == resumed, "another run has nothing to add");
    }
}

/// The records of a topic, by partition.
fn records(broker: &Broker, topic: &str) -> BTreeMap<u32, Vec<Vec<u8>>> {
    let mut records: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    broker.read(topic, &mut |record| {
        records.entry(record.partition).or_default().push(record.value.unwrap().to_vec());
    });
    records
}

/// The notes in a topic, as a consumer of committed records sees them.
fn notes_in(broker: &Broker, topic: &str) -> Vec<Found> {
    wait_for_open_transactions(&broker.settings, topic, Share::WHOLE, Duration::from_secs(20)).unwrap();
    let mut notes = Vec::new();
    broker.read(topic, &mut |record| {
        let value = record.value.unwrap();
        let note = found(value);
        assert_eq!(record.key, Some(note.1.as_bytes()));
        let value: Value = serde_json::from_slice(value).unwrap();
        assert!(value["topic"].is_string() && value["topic_id"].is_string(), "{value}");
        notes.push(note);
    });
    notes
}

/// The lists of a run over a topic that nothing interrupts, without notes.
fn plain_lists(broker: &Broker, folder: &Folder, topic: &str) -> String {
    let lists = folder.path("plain.jsonl");
    let job = format!("run {} --input kafka:{topic} --until-end {FLAGS}", broker.flags);
    run(&format!("{job} --output {lists} --overwrite"), &[]).expect(0);
    lists_of_file(&lists)
}

/// Kills a job at random moments while events stream in, and starts it again with other workers and processes, with and
/// without snapshots. A consumer of committed records sees each note of the model once, and each list once.
#[test]
fn killed_at_random_and_each_note_is_there_once() {
    let Some(broker) = Broker::new() else { return };
    let mut random = Random::new(7);
    let events = events(3, 30_000);
    let folder = Folder::new();
    let (topic, output) = (broker.topic("carts"), broker.table_with_history("lists"));
    let (notes, group) = (unused("notes"), unused("group"));
    let places = format!("--input kafka:{topic} --output kafka:{output} --notes kafka:{notes} -G {group}");
    let job = format!("run {} {places} --output-partitions 3 --epoch 10ms --slots 27 {FLAGS}", broker.flags);
    kill_at_random(&broker, &folder, &job, &topic, &events, &mut random, "--lists-every 150ms");
    let expected = expected(&records(&broker, &topic));
    check(notes_in(&broker, &notes), &expected, "the end");
    println!("{} notes", expected.len());
    let seen = check_history(&broker, &output);
    assert!(canonical(&seen.lists) == plain_lists(&broker, &folder, &topic));
    // One more run has nothing to add.
    run(&format!("{job} --until-end -w 3"), &[]).expect(0).says(", 0 lists changed in 0 records");
    check(notes_in(&broker, &notes), &expected, "one more run");
}

/// Lists in a file, notes in a topic, and the other way round: each place has what it would have alone. At least once,
/// too.
#[test]
fn a_topic_and_a_file() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let events = events(4, 2000);
    let topic = broker.topic("carts");
    broker.produce(&topic, events.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let expected = expected(&records(&broker, &topic));
    let lists = plain_lists(&broker, &folder, &topic);
    let job =
        |more: &str| format!("run {} --input kafka:{topic} --until-end {FLAGS} -w 2 {more}", broker.flags);
    let (to_file, to_topic) = (folder.path("lists-here.jsonl"), unused("lists"));
    let (notes_file, notes_topic) = (folder.path("notes.jsonl"), unused("notes"));
    for _ in 0..2 {
        run(&job(&format!("--output {to_file} --notes kafka:{notes_topic} --slots 6 --overwrite")), &[])
            .expect(0);
        check(notes_in(&broker, &notes_topic), &expected, "a topic of notes");
        assert!(lists_of_file(&to_file) == lists);
        run(&job(&format!("--output kafka:{to_topic} --notes {notes_file} --slots 6 --overwrite")), &[])
            .expect(0);
        check(lines(&notes_file), &expected, "a file of notes");
        assert!(broker.lists_held(&to_topic) == lists);
    }
    let (again, once_more) = (unused("lists"), unused("notes"));
    let line = job(&format!("--output kafka:{again} --notes kafka:{once_more} --delivery at-least-once"));
    run(&line, &[]).expect(0);
    check(notes_in(&broker, &once_more), &expected, "at least once");
}
