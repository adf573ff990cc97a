//! Against librdkafka's mock broker, and, where `DELTACART_TEST_BROKERS` names one, against a real one.

pub(crate) mod mock;

use super::super::{Envelope, ListChange, Lists, OutputOptions, RowKind, encode};
use super::*;
use crate::skipped::skip;
use deltacart_dataflows::Neighbour;
use mock::{Mock, consume, settings};
use rdkafka::ClientConfig;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::Instant;

const PARTITIONS: i32 = 8;

fn mock() -> Mock {
    Mock::new("lists", PARTITIONS)
}

/// One change for each item: a list of one neighbour is added, or removed.
fn records(items: &[&str], gone: bool, envelope: Envelope) -> Records {
    let mut records = Records::new();
    for item in items {
        let list = vec![Neighbour { item: "n".into(), score: 1, count: 1 }];
        let (before, after) = if gone { (list, Vec::new()) } else { (Vec::new(), list) };
        let change = ListChange { item: (*item).into(), epoch: 1, before, after };
        encode(
            &change,
            &OutputOptions { rows: RowKind::Item, envelope, scores: true, score_digits: 3 },
            &mut records,
        );
    }
    records
}

#[test]
fn keys_lie_where_java_clients_look() {
    // The golden values of Kafka's own UtilsTest.testMurmur2.
    let hashes = [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107_i32),
    ];
    let mock = mock();
    let mut sink = KafkaSink::connect(&mock.settings(&[]), &["lists"]).unwrap();
    let items: Vec<&str> = hashes.iter().map(|(item, _)| *item).collect();
    let mut sent = records(&items, false, Envelope::Upsert);
    let bytes = sent.bytes() as u64;
    sink.send(0, &mut sent).unwrap();
    sink.close_epoch(1).unwrap();
    sink.finish(Duration::from_secs(10)).unwrap();
    assert_eq!(sink.sent(), Sent { records: 6, bytes });
    for record in mock.consume(hashes.len()) {
        let key = record.key.unwrap();
        let (_, hash) = hashes.iter().find(|(item, _)| item.as_bytes() == key).unwrap();
        assert_eq!(record.partition, (hash & 0x7fff_ffff) % PARTITIONS, "{}", String::from_utf8_lossy(&key));
    }
}

#[test]
fn what_is_read_back_adds_up() {
    for envelope in Envelope::ALL {
        let mock = mock();
        let mut sink = KafkaSink::connect(&mock.settings(&[]), &["lists"]).unwrap();
        let mut sent = 0;
        for mut records in [records(&["a", "b"], false, envelope), records(&["a"], true, envelope)] {
            sent += records.len();
            sink.send(0, &mut records).unwrap();
            assert!(records.is_empty());
        }
        sink.finish(Duration::from_secs(10)).unwrap();
        assert_eq!(sink.poll().unwrap(), Delivery::default());
        let mut lists = Lists::new();
        for record in mock.consume(sent) {
            lists.apply(record.key.as_deref(), record.value.as_deref()).unwrap();
        }
        let items: Vec<&str> = lists.iter().map(|(item, _)| item.as_str()).collect();
        assert_eq!(items, ["b"], "{envelope}");
    }
}

#[test]
fn a_full_queue_makes_nobody_wait() {
    let mock = mock();
    let settings = mock.settings(&[("queue.buffering.max.messages", "10")]);
    let mut sink = KafkaSink::connect(&settings, &["lists"]).unwrap();
    mock.cluster.broker_down(1).unwrap();
    let items: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let mut waiting = records(&items, false, Envelope::Upsert);
    let start = Instant::now();
    sink.send(0, &mut waiting).unwrap();
    sink.send(0, &mut waiting).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!((waiting.len(), sink.poll().unwrap().records), (15, 10));
    mock.cluster.broker_up(1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !waiting.is_empty() {
        assert!(Instant::now() < deadline);
        sink.poll().unwrap();
        sink.send(0, &mut waiting).unwrap();
    }
    sink.finish(Duration::from_secs(10)).unwrap();
    assert_eq!(mock.consume(25).len(), 25);
}

#[test]
fn errors_name_the_thing_and_the_setting() {
    let mock = mock();
    let connect = |properties: &[_], topic| KafkaSink::connect(&mock.settings(properties), &[topic]);
    let mut sink = connect(&[("message.max.bytes", "1000")], "lists").unwrap();
    let long = "\u{1b}".repeat(2000);
    let error = sink.send(0, &mut records(&[&long], false, Envelope::Upsert)).unwrap_err().to_string();
    assert!(error.contains("--top-k") && error.contains("message.max.bytes"), "{error}");
    assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");

    let mut sink = connect(&[], "lists").unwrap();
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    mock.cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    sink.send(0, &mut records(&["a"], false, Envelope::Upsert)).unwrap();
    let error = sink.finish(Duration::from_secs(10)).unwrap_err().to_string();
    assert!(error.contains("no permission to write to topic lists") && error.contains("WRITE"), "{error}");
    assert!(sink.poll().is_err(), "what was lost stays lost");

    for property in [("acks", "1"), ("no.such", "1")] {
        let error = connect(&[property], "lists").err().unwrap().to_string();
        assert!(error.contains(property.0) && error.contains("-X"), "{error}");
    }
    let nowhere = settings("127.0.0.1:1", &[]).with_startup_timeout(Duration::from_secs(1));
    for error in [
        KafkaSink::connect(&nowhere, &["lists"]).err().unwrap(),
        ensure_topic(&nowhere, &TopicSpec { name: "lists", partitions: 1, compacted: true }).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("127.0.0.1:1") && error.contains("refused") && error.contains("-b"),
            "{error}"
        );
    }
}

#[test]
fn a_topic_that_exists_is_left_alone() {
    let mock = mock();
    let spec = |name| TopicSpec { name, partitions: 3, compacted: false };
    ensure_topic(&mock.settings(&[]), &spec("lists")).unwrap();
    assert_eq!(
        deltacart_inputs::kafka::topic_partitions(&mock.settings(&[]), "lists").unwrap(),
        Some(PARTITIONS as usize)
    );
    // The mock refuses to make topics: it was not asked to.
    assert!(ensure_topic(&mock.settings(&[]), &spec("missing")).is_err());
}

#[test]
fn a_real_broker() {
    let Ok(brokers) = std::env::var("DELTACART_TEST_BROKERS") else {
        return skip("DELTACART_TEST_BROKERS is not set");
    };
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("lists-{nanos}");
    let topic = TopicSpec { name: &name, partitions: 3, compacted: true };
    ensure_topic(&settings(&brokers, &[]), &topic).unwrap();
    ensure_topic(&settings(&brokers, &[]), &topic).unwrap();

    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let options = rdkafka::admin::AdminOptions::new();
    let resource = rdkafka::admin::ResourceSpecifier::Topic(&name);
    let described =
        topic::block_on(admin.describe_configs([&resource], &options)).unwrap().remove(0).unwrap();
    assert_eq!(described.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
    let metadata = admin.inner().fetch_metadata(Some(&name), Duration::from_secs(10)).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);

    let mut sink = KafkaSink::connect(&settings(&brokers, &[]), &[name.as_str()]).unwrap();
    let mut sent = records(&["a", "b"], false, Envelope::Upsert);
    sink.send(0, &mut sent).unwrap();
    sink.send(0, &mut records(&["b"], true, Envelope::Upsert)).unwrap();
    sink.finish(Duration::from_secs(20)).unwrap();
    let found = consume(&brokers, &name, 3, 3);
    assert_eq!(found.iter().filter(|record| record.value.is_none()).count(), 1);
}
