//! Topics of a real broker in and out, through the binary: the lists are those of a file with the same events.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` says where a broker is. Topics have names that nobody used before.

use crate::skipped::skip;
use crate::support::{
    Finished, Folder, canonical, events_of, lists_of_file, run, run_cluster, start, wait_until,
};
use deltacart::output::{Lists, TopicSpec, ensure_topic};
use deltacart_inputs::generate::ShopSettings;
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource, Role, StartFrom, topic_partitions};
use deltacart_inputs::{RawRecord, Share, Source};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(20);

/// Partitions of the topics that are read.
const PARTITIONS: u32 = 4;

/// A broker, if the environment names one.
pub(crate) struct Broker {
    pub(crate) settings: KafkaSettings,
    pub(crate) flags: String,
}

impl Broker {
    pub(crate) fn new() -> Option<Broker> {
        let Ok(brokers) = std::env::var("DELTACART_TEST_BROKERS") else {
            skip("DELTACART_TEST_BROKERS is not set");
            return None;
        };
        Some(Broker { flags: format!("-b {brokers}"), settings: KafkaSettings::new(brokers) })
    }

    /// A topic with partitions, made here.
    pub(crate) fn topic(&self, name: &str) -> String {
        let name = unused(name);
        ensure_topic(&self.settings, &TopicSpec { name: &name, partitions: PARTITIONS, compacted: false })
            .unwrap();
        name
    }

    /// Writes records and waits until they are there.
    pub(crate) fn produce<'a>(&self, topic: &str, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let producer: BaseProducer = self.settings.client_config(Role::Producer).create().unwrap();
        for (key, value) in records {
            let mut record = BaseRecord::to(topic).key(key).payload(value);
            while let Err((_full, back)) = producer.send(record) {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Writes records in some parts, over so many milliseconds.
    pub(crate) fn produce_slowly(&self, topic: &str, records: &[(String, Vec<u8>)], millis: u64) {
        const PARTS: usize = 10;
        for part in records.chunks(records.len().div_ceil(PARTS).max(1)) {
            self.produce(topic, part.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
            thread::sleep(Duration::from_millis(millis / PARTS as u64));
        }
    }

    fn source(&self, topic: &str) -> KafkaSource {
        let params = KafkaParams {
            topic: topic.to_owned(),
            from: StartFrom::Beginning,
            until_end: true,
            record_bytes_max: 16 << 20,
            metadata_refresh: Duration::from_secs(10),
            share: Share::WHOLE,
            asks_id: false,
            commits: false,
        };
        KafkaSource::new(&self.settings, params).unwrap()
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow(&self, topic: &str, partitions: u32) {
        let admin: AdminClient<DefaultClientContext> =
            self.settings.client_config(Role::Admin).create().unwrap();
        let more = NewPartitions::new(topic, partitions as usize);
        let made = block_on(admin.create_partitions([&more], &AdminOptions::new())).unwrap();
        assert_eq!(made, [Ok(topic.to_owned())]);
    }

    /// Hands over all records of a topic.
    pub(crate) fn read(&self, topic: &str, each: &mut dyn FnMut(RawRecord<'_>)) {
        let mut source = self.source(topic);
        for partition in source.partitions().unwrap() {
            let start = Instant::now();
            while !source.fetch(partition, 10_000, each).unwrap().ended {
                assert!(start.elapsed() < PATIENCE, "{topic}[{partition}] does not end");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// The lists that the records of a topic add up to.
    fn lists(&self, topic: &str) -> String {
        let mut lists = Lists::new();
        self.read(topic, &mut |record| drop(lists.apply(record.key, record.value).unwrap()));
        canonical(&lists)
    }

    /// How many records of a topic can be read now; none of one that is not there yet.
    pub(crate) fn records(&self, topic: &str) -> usize {
        let mut records = 0;
        if topic_partitions(&self.settings, topic).unwrap().is_some() {
            self.read(topic, &mut |_record| records += 1);
        }
        records
    }

    /// The lists that the last values of all keys add up to: what a consumer holds, also after a change of envelope.
    pub(crate) fn lists_held(&self, topic: &str) -> String {
        let mut held = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        self.read(topic, &mut |record| {
            let key = record.key.unwrap().to_vec();
            match record.value {
                Some(value) => drop(held.insert(key, value.to_vec())),
                None => drop(held.remove(&key)),
            }
        });
        let mut lists = Lists::new();
        held.iter().for_each(|(key, value)| drop(lists.apply(Some(key), Some(value)).unwrap()));
        canonical(&lists)
    }

    /// Where each partition of a topic ends, and where the group has got.
    pub(crate) fn ends_and_committed(&self, topic: &str, group: &str) -> (Vec<i64>, Vec<i64>) {
        let mut config = self.settings.client_config(Role::Consumer);
        let consumer: BaseConsumer = config.set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, PARTITIONS as i32 - 1);
        // The first to ask for a group's place is told to ask again.
        let start = Instant::now();
        let committed = loop {
            match consumer.committed_offsets(asked.clone(), PATIENCE) {
                Ok(committed) => break committed,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            thread::sleep(Duration::from_millis(50));
        };
        let committed = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
        ((0..PARTITIONS as i32).map(end).collect(), committed.collect())
    }
}

/// A name that nobody used before, in this run or another.
pub(crate) fn unused(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("test-{name}-{now:x}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for an answer of the broker.
pub(crate) fn block_on<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(value) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A few thousand events of a shop, with the id of the basket as the key.
fn shop_events() -> Vec<(String, Vec<u8>)> {
    let settings = ShopSettings {
        seed: 5,
        items: 200,
        users: 300,
        open_sessions: 100,
        forget_share: 0.02,
        duplicate_share: 0.01,
        events: Some(4000),
        ..ShopSettings::default()
    };
    events_of(settings)
}

/// The shop's events in a topic and in a file.
fn shop(broker: &Broker, folder: &Folder) -> (String, String) {
    let events = shop_events();
    let topic = broker.topic("carts");
    broker.produce(&topic, events.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let lines: Vec<&[u8]> = events.iter().map(|(_key, value)| value.as_slice()).collect();
    (topic, folder.file("carts.jsonl", lines.join(&b'\n')))
}

/// The lists of a run over the file.
fn lists_of_file_run(folder: &Folder, input: &str, flags: &str) -> String {
    let output = folder.path("lists.jsonl");
    run(&format!("run --input {input} --output {output} --overwrite {flags} --verify"), &[]).expect(0);
    lists_of_file(&output)
}

/// A run from topic to topic gives the file's lists in every envelope, whatever the cluster.
fn check_topic_to_topic(processes: usize) {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, file) = shop(&broker, &folder);
    for flags in [
        "",
        "--envelope changes",
        "--envelope debezium --measure llr -k 5",
        "--scores off --epoch-events 100",
    ] {
        let expected = lists_of_file_run(&folder, &file, &flags.replace("--epoch-events 100", ""));
        assert!(expected.lines().count() > 100, "{flags}: {expected}");
        let (output, group) = (unused("lists"), unused("group"));
        let places = format!("--input kafka:{topic} --until-end --output kafka:{output} -G {group} --verify");
        let job = format!("run {} {places} -w 2 {flags}", broker.flags);
        for process in run_cluster(&folder, processes, &job, &[]) {
            process.expect(0);
        }
        assert_eq!(broker.lists(&output), expected, "{processes} processes, {flags}");
        let (ends, committed) = broker.ends_and_committed(&topic, &group);
        assert_eq!((ends.iter().sum::<i64>(), &committed), (4000, &ends), "{processes} processes, {flags}");
    }
}

#[test]
fn topic_to_topic_is_file_to_file() {
    check_topic_to_topic(1);
}

#[test]
fn topic_to_topic_on_two_processes_is_file_to_file() {
    check_topic_to_topic(2);
}

#[test]
fn file_to_topic_to_table() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (_topic, file) = shop(&broker, &folder);
    let output = unused("lists");
    run(&format!("run --input {file} --output kafka:{output} --output-partitions 3 {}", broker.flags), &[])
        .expect(0);
    assert_eq!(broker.lists(&output), lists_of_file_run(&folder, &file, ""));
    assert_eq!(broker.source(&output).partitions().unwrap(), [0, 1, 2]);
    let table = run(&format!("top --input kafka:{output} --limit 5 {}", broker.flags), &[]).expect(0);
    assert!(table.stdout.starts_with(b"item") && table.stdout.split(|&byte| byte == b'\n').count() > 6);
}

/// Jobs that write to topics of their own do not know of each other, though none was given a name. All had the same
/// transactional ids: found as one that was ended by another.
#[test]
fn jobs_with_outputs_of_their_own_leave_each_other_alone() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, file) = shop(&broker, &folder);
    let (first, second) = (unused("lists"), unused("lists"));
    let follow = format!("run --input kafka:{topic} --output kafka:{first} {}", broker.flags);
    let running = start(&follow, &[]);
    let expected = lists_of_file_run(&folder, &file, "");
    wait_until("the first job writes", || broker.records(&first) > 0 && broker.lists(&first) == expected);
    run(&format!("run --input {file} --output kafka:{second} {}", broker.flags), &[]).expect(0);
    assert_eq!(broker.lists(&second), expected);
    let more = ["x", "y"].map(|item| format!(r#"{{"basket":"b","item":"{item}","action":"add"}}"#));
    broker.produce(&topic, more.iter().map(|event| ("b", event.as_bytes())));
    wait_until("the first job goes on", || broker.lists(&first) != expected);
    running.terminate();
    running.finish().expect(0);
}

/// What a group has read is not read again; what came since is.
#[test]
fn committed_is_where_the_group_stopped() {
    let Some(broker) = Broker::new() else { return };
    let topic = broker.topic("carts");
    let group = unused("group");
    let job =
        format!("run {} --input kafka:{topic} --until-end --from committed -G {group} -w 2", broker.flags);
    let event = |number: usize| format!(r#"{{"basket":{},"item":{number}}}"#, number / 3);
    let events: Vec<(String, String)> =
        (0..60).map(|number| ((number / 3).to_string(), event(number))).collect();
    let (first, second) = events.split_at(42);
    for (part, said) in [
        (first, "42 events of 42 records"),
        (second, "18 events of 18 records"),
        (&[], "0 events of 0 records"),
    ] {
        broker.produce(&topic, part.iter().map(|(key, value)| (key.as_str(), value.as_bytes())));
        run(&job, &[]).expect(0).says(said);
    }
}

#[test]
fn dead_letters_have_the_headers_of_connect() {
    let Some(broker) = Broker::new() else { return };
    let topic = broker.topic("carts");
    let (letters, output) = (unused("letters"), unused("lists"));
    let producer: BaseProducer = broker.settings.client_config(Role::Producer).create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("17") });
    let bad = BaseRecord::to(&topic).partition(2).key("b1").payload(r#"{"basket":"b1","item":"#);
    producer.send(bad.headers(headers).timestamp(1_700_000_000_000)).map_err(|(error, _)| error).unwrap();
    let tombstone: BaseRecord<'_, str, str> = BaseRecord::to(&topic).partition(1).key("b2");
    producer.send(tombstone).map_err(|(error, _)| error).unwrap();
    let good = BaseRecord::to(&topic)
        .partition(2)
        .key("b1")
        .payload(r#"{"basket":"b1","items":[{"item":1},{"item":2}]}"#);
    producer.send(good).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let places =
        format!("--input kafka:{topic} --until-end --output kafka:{output} --dead-letter kafka:{letters}");
    run(&format!("run {} {places} -w 2", broker.flags), &[])
        .expect(0)
        .says("2 rejects (empty 1, malformed 1)");
    assert_eq!(broker.lists(&output).lines().count(), 2);

    let mut found = 0;
    broker.read(&letters, &mut |record| {
        found += 1;
        let header = |name: &str| {
            let value = record.headers.iter().find(|(header, _value)| *header == name)?.1?;
            Some(String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(header("__connect.errors.topic").as_ref(), Some(&topic));
        assert_eq!(header("__connect.errors.offset").as_deref(), Some("0"));
        assert!(header("__connect.errors.exception.message").is_some_and(|text| !text.is_empty()));
        let reason = header("__connect.errors.exception.class.name").unwrap();
        let partition = header("__connect.errors.partition").unwrap();
        match record.key {
            Some(b"b1") => {
                assert_eq!((reason.as_str(), partition.as_str()), ("malformed", "2"));
                assert_eq!(record.value, Some(&br#"{"basket":"b1","item":"#[..]));
                assert_eq!(
                    (header("trace").as_deref(), record.timestamp),
                    (Some("17"), Some(1_700_000_000_000))
                );
            }
            key => {
                assert_eq!((reason.as_str(), partition.as_str()), ("empty", "1"));
                assert_eq!((key, record.value), (Some(&b"b2"[..]), None));
            }
        }
    });
    assert_eq!(found, 2);
}

/// A job without an end takes in what is produced later, in a partition made later too, until it is told to stop.
#[test]
fn follows_new_records_and_new_partitions_until_sigterm() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, group) = (broker.topic("carts"), unused("group"));
    let output = folder.path("lists.jsonl");
    let places = format!("--input kafka:{topic} --output {output} -G {group} --metadata-refresh 200ms");
    let running = start(&format!("run {} {places} -w 2 --verify", broker.flags), &[]);
    let basket = |id: &str, item: &str| {
        format!(r#"{{"basket":"{id}","items":[{{"item":"tea"}},{{"item":"{item}"}}]}}"#)
    };
    let has = |text: &str| {
        std::fs::read_to_string(&output).is_ok_and(|lists| lists.contains(text) && lists.ends_with('\n'))
    };

    broker.produce(&topic, [("a", basket("a", "lemon").as_bytes())]);
    wait_until("the first list", || has(r#""item":"lemon""#));
    thread::sleep(Duration::from_millis(300));
    broker.produce(&topic, [("b", basket("b", "mug").as_bytes())]);
    wait_until("the second list", || has(r#""item":"mug""#));

    broker.grow(&topic, PARTITIONS + 1);
    wait_until("the new partition is known to the broker", || {
        broker.source(&topic).partitions().unwrap().len() > PARTITIONS as usize
    });
    let producer: BaseProducer = broker.settings.client_config(Role::Producer).create().unwrap();
    let value = basket("c", "honey");
    let record = BaseRecord::to(&topic).partition(PARTITIONS as i32).key("c").payload(&value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    wait_until("the list of the new partition", || has(r#""item":"honey""#));

    running.terminate();
    running.finish().expect(0).says("6 events of 3 records, 0 rejects");
    assert_eq!(lists_of_file(&output).lines().count(), 4);
    let (ends, committed) = broker.ends_and_committed(&topic, &group);
    assert_eq!((ends.iter().sum::<i64>(), &committed), (2, &ends));
}

/// One message, within bounded time, that names the thing.
fn check_refused(done: Finished, named: &str) {
    let done = done.expect(1).says(named);
    assert!(done.took < Duration::from_secs(20), "took {:?}", done.took);
    // Perhaps with a warning before it, while there is still hope.
    assert!(done.stderr.lines().count() <= 2, "one message: {}", done.stderr);
    assert!(!done.stderr.contains('\x1b'), "colours are for terminals: {}", done.stderr);
}

#[test]
fn what_is_not_there_is_named() {
    let Some(broker) = Broker::new() else { return };
    let Broker { flags, .. } = &broker;
    let (nowhere, topic) = (unused("nowhere"), broker.topic("carts"));
    check_refused(run(&format!("run {flags} --input kafka:{nowhere} --until-end"), &[]), &nowhere);
    check_refused(run(&format!("run {flags} --input kafka:{nowhere} -w 2"), &[]), &nowhere);
    check_refused(run(&format!("top {flags} --input kafka:{nowhere}"), &[]), &nowhere);
    let bad = "no/such/name";
    check_refused(
        run(&format!("run {flags} --input kafka:{topic} --until-end --output kafka:{bad}"), &[]),
        bad,
    );
    check_refused(run(&format!("run {flags} --input kafka:{topic} -X no.such=1"), &[]), "no.such");
}

#[test]
fn a_broker_that_does_not_answer_is_named() {
    if Broker::new().is_none() {
        return;
    }
    // A port of this machine that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let job = format!("run -b {free} --input kafka:carts --until-end --startup-timeout 3s");
    check_refused(run(&job, &[]), &free.to_string());
    let job = format!("run -b {free} --input - --output kafka:lists --startup-timeout 3s");
    check_refused(run(&job, &[]), &free.to_string());
}
