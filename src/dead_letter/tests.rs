//! Letters to a file, and to a topic of librdkafka's mock broker.

use super::*;
use crate::files::ExistingFile;
use crate::output::Lines;
use crate::output::kafka::mock::{Consumed, Mock};
use deltacart_inputs::{PartReject, Reason};
use serde_json::{Value, json};

const HEADERS: &[(&str, Option<&[u8]>)] =
    &[("trace", Some(b"17")), ("none", None), ("raw", Some(b"\xff\x00"))];

fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RawRecord<'a> {
    RawRecord {
        partition: 3,
        offset: 4711,
        key,
        value,
        headers: HEADERS,
        timestamp: Some(1_700_000_000_123),
        truncated: false,
    }
}

fn reject() -> Reject {
    Reject { reason: Reason::Empty, detail: "no value at all".into() }
}

fn labels() -> Labels {
    Labels { connector: "lists".into(), task: 2 }
}

fn of(found: Found<'_>) -> Origin<'_> {
    Origin { found, format: "json" }
}

fn line(origin: Origin<'_>, record: &RawRecord<'_>) -> Value {
    let mut bytes = Vec::new();
    line::push_line(&mut bytes, origin, record, &Rejected::record(&reject()));
    assert!(!bytes.contains(&b'\n'));
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_line_says_everything() {
    let mut found = line(of(Found::Topic("carts")), &record(Some(b"k\n"), Some(b"{\"a\":")));
    assert_eq!(
        found,
        json!({
            "reason": "empty", "detail": "no value at all", "topic": "carts", "partition": 3, "offset": 4711,
            "timestamp": 1_700_000_000_123_i64, "key": "k\n", "value": "{\"a\":",
            "headers": [
                {"name": "trace", "value": "17"},
                {"name": "none", "value": null},
                {"name": "raw", "value": null, "value_base64": "/wA="}
            ],
            "truncated": false
        })
    );
    let binary = RawRecord { timestamp: None, headers: &[], truncated: true, ..record(None, Some(b"\xff")) };
    found = line(of(Found::File("carts.jsonl")), &binary);
    assert_eq!(
        found,
        json!({
            "reason": "empty", "detail": "no value at all", "file": "carts.jsonl", "partition": 3, "offset": 4711,
            "timestamp": null, "key": null, "value": null, "value_base64": "/w==", "headers": [], "truncated": true
        })
    );
}

fn part() -> PartReject {
    PartReject { event: None, line: Some(2), text: r#"{"item":null}"#.into(), reject: reject() }
}

#[test]
fn a_part_of_a_record_says_which_it_was() {
    let (part, mut bytes) = (part(), Vec::new());
    let value = RawRecord { value: Some(part.text.as_bytes()), ..record(Some(b"k"), Some(b"whole")) };
    line::push_line(&mut bytes, of(Found::Topic("carts")), &value, &Rejected::part(&part, 7));
    let found: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&found["line"], &found["more"], &found["value"]), (&json!(2), &json!(7), &json!(part.text)));
    assert_eq!((&found["offset"], &found["key"]), (&json!(4711), &json!("k")));
    assert!(found.get("event").is_none(), "the record is one event");
}

#[test]
fn letters_reach_a_file_when_polled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejects.jsonl");
    let mut letters = DeadLetters::to_file(
        FileSink::open(path.to_str().unwrap(), ExistingFile::Refuse, Lines::DEAD_LETTERS).unwrap(),
    );
    for _ in 0..3 {
        letters.write(of(Found::Topic("carts")), &record(None, None), &Rejected::record(&reject())).unwrap();
    }
    assert!(!letters.is_full());
    assert_eq!(letters.poll().unwrap(), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert_eq!(letters.sent().records, 3);
}

fn header<'a>(consumed: &'a Consumed, name: &str) -> Option<&'a str> {
    let (_, value) = consumed.headers.iter().find(|(found, _)| found == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}

#[test]
fn letters_in_a_topic_are_as_kafka_connect_writes_them() {
    let mock = Mock::new("rejects", 1);
    let mut letters = DeadLetters::to_topic(&mock.settings(&[]), "rejects", labels()).unwrap();
    letters
        .write(of(Found::Topic("carts")), &record(Some(b"\xff"), Some(b"{")), &Rejected::record(&reject()))
        .unwrap();
    let old = RawRecord { timestamp: Some(-1), truncated: true, ..record(None, None) };
    letters.write(of(Found::File("carts.csv")), &old, &Rejected::record(&reject())).unwrap();
    let part = PartReject { event: Some(1), ..part() };
    letters
        .write(of(Found::Topic("carts")), &record(None, Some(b"line")), &Rejected::part(&part, 0))
        .unwrap();
    letters.finish(Duration::from_secs(10)).unwrap();
    assert_eq!((letters.sent().records, letters.poll().unwrap()), (3, 0));

    let consumed = mock.consume(3);
    for (name, value) in [("event", "1"), ("line", "2"), ("more", "0")] {
        assert_eq!(header(&consumed[2], &format!("deltacart.{name}")), Some(value), "{name}");
    }
    let first = &consumed[0];
    assert_eq!((first.key.as_deref(), first.value.as_deref()), (Some(&b"\xff"[..]), Some(&b"{"[..])));
    assert_eq!(first.timestamp, Some(1_700_000_000_123));
    let own: Vec<(&str, Option<&[u8]>)> =
        first.headers[..3].iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(own, HEADERS);
    let errors = [
        ("topic", "carts"),
        ("partition", "3"),
        ("offset", "4711"),
        ("connector.name", "lists"),
        ("task.id", "2"),
        ("stage", "VALUE_CONVERTER"),
        ("class.name", "deltacart.format.json"),
        ("exception.class.name", "empty"),
        ("exception.message", "no value at all"),
        ("exception.stacktrace", ""),
    ];
    assert_eq!(first.headers.len(), 3 + errors.len());
    for (name, value) in errors {
        assert_eq!(header(first, &format!("__connect.errors.{name}")), Some(value), "{name}");
    }
    assert_eq!((&consumed[1].key, &consumed[1].value), (&None, &None));
    assert_eq!(header(&consumed[1], "__connect.errors.topic"), Some("carts.csv"));
    assert_eq!(header(&consumed[1], "deltacart.truncated"), Some("true"));
}

#[test]
fn a_record_that_is_too_long_is_cut() {
    let mock = Mock::new("rejects", 1);
    let write = |max: &str, key: &[u8], value: &[u8]| {
        let settings = mock.settings(&[("message.max.bytes", max)]);
        let mut letters = DeadLetters::to_topic(&settings, "rejects", labels()).unwrap();
        letters
            .write(of(Found::Topic("carts")), &record(Some(key), Some(value)), &Rejected::record(&reject()))
            .unwrap();
        letters.finish(Duration::from_secs(10)).unwrap();
    };
    let long = vec![b'x'; 10 << 20];
    write("1000000", b"k", &long);
    write("1000000", &long, b"v");
    write("2000", b"k", &long);
    let lengths: Vec<(usize, usize)> = mock
        .consume(3)
        .iter()
        .map(|letter| {
            assert_eq!(header(letter, "deltacart.truncated"), Some("true"));
            assert_eq!(header(letter, "__connect.errors.offset"), Some("4711"));
            (letter.key.as_ref().unwrap().len(), letter.value.as_ref().unwrap().len())
        })
        .collect();
    assert_eq!(lengths, [(1, 64 << 10), (4 << 10, 1), (0, 0)]);
}

#[test]
fn letters_wait_for_room() {
    let mock = Mock::new("rejects", 1);
    let settings = mock.settings(&[("queue.buffering.max.messages", "2")]);
    let mut letters = DeadLetters::to_topic(&settings, "rejects", labels()).unwrap();
    mock.cluster.broker_down(1).unwrap();
    let long = vec![b'x'; 900_000];
    for sent in 0.. {
        assert_eq!(letters.is_full(), sent == 21, "{sent}");
        if letters.is_full() {
            break;
        }
        letters
            .write(of(Found::Topic("carts")), &record(None, Some(&long)), &Rejected::record(&reject()))
            .unwrap();
    }
    assert_eq!(letters.poll().unwrap(), 21);
    mock.cluster.broker_up(1).unwrap();
    letters.finish(Duration::from_secs(20)).unwrap();
    assert!(!letters.is_full());
    assert_eq!(letters.sent().records, 21);
}
