//! Messages, written by the crate that reads them, behind every way to name one.

use super::*;
use crate::registry::schema::{Kind as Language, Source};
use prost_reflect::prost::Message;
use serde::de::DeserializeSeed;

const SCHEMA: &str = r#"
    syntax = "proto3";
    package shop;
    import "shop/money.proto";
    import "google/protobuf/timestamp.proto";
    message Other { message Inner { string name = 1; } string name = 1; }
    message Event {
      message Line { string item = 1; optional int64 quantity = 2; }
      enum Kind { ADD = 0; REMOVE = 1; }
      Kind event = 1;
      string basket = 2;
      repeated Line items = 3;
      google.protobuf.Timestamp created_at = 4;
      Money price = 5;
      map<string, int32> tags = 6;
      bytes raw = 7;
      int64 user_id = 8;
    }"#;

const MONEY: &str = r#"syntax = "proto3"; package shop; message Money { int64 units = 1; double part = 2; }"#;

fn protobuf(text: &str) -> Result<Protobuf, String> {
    let others = vec![("shop/money.proto".to_owned(), MONEY.to_owned())];
    Protobuf::new(&Source { kind: Language::Protobuf, text: text.to_owned(), others })
}

fn written(protobuf: &Protobuf, message: &str, json: &str) -> Vec<u8> {
    let descriptor = protobuf.named(message.as_bytes()).unwrap();
    descriptor.deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap().encode_to_vec()
}

fn read(message: MessageOf<'_>, value: &[u8]) -> Result<String, Broken> {
    let mut text = Vec::new();
    protobuf(SCHEMA).unwrap().write_json(message, value, &mut text, &Limits::default())?;
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn fields_keep_their_names_and_types() {
    let json = r#"{"event":"REMOVE","basket":"b1","items":[{"item":"tea","quantity":0},{"item":"pot"}],
        "created_at":"2026-01-31T12:00:00.5Z","price":{"units":9007199254740993,"part":0.25},
        "tags":{"z":1,"a":2},"raw":"AP8=","user_id":"7"}"#;
    let value = written(&protobuf(SCHEMA).unwrap(), "shop.Event", json);
    let expected = concat!(
        r#"{"basket":"b1","created_at":"2026-01-31T12:00:00.500Z","event":"REMOVE","#,
        r#""items":[{"item":"tea","quantity":0},{"item":"pot"}],"#,
        r#""price":{"part":0.25,"units":9007199254740993},"raw":"AP8=","tags":{"a":2,"z":1},"user_id":7}"#
    );
    assert_eq!(read(MessageOf::Name(Some("Event")), &value).unwrap(), expected);
    // What was never set is not there.
    assert_eq!(read(MessageOf::Name(Some("shop.Event")), &[]).unwrap(), "{}");
}

#[test]
fn messages_are_found_by_path_name_and_number() {
    let protobuf = protobuf(SCHEMA).unwrap();
    let other = written(&protobuf, "shop.Other", r#"{"name":"a"}"#);
    let line = written(&protobuf, "shop.Event.Line", r#"{"item":"a"}"#);
    let behind = |before: &[u8], value: &[u8]| [before, value].concat();
    let both = MessageOf::PathOrName;
    // The first message, in its two forms; the first message of the second; the second of the first.
    assert_eq!(read(both, &behind(&[0], &other)).unwrap(), r#"{"name":"a"}"#);
    assert_eq!(read(both, &behind(&[2, 0], &other)).unwrap(), r#"{"name":"a"}"#);
    assert_eq!(read(both, &behind(&[4, 2, 0], &line)).unwrap(), r#"{"item":"a"}"#);
    assert_eq!(read(MessageOf::Path(&[4, 2, 0]), &line).unwrap(), r#"{"item":"a"}"#);
    assert_eq!(read(MessageOf::Path(&[]), &other).unwrap(), r#"{"name":"a"}"#);
    // By the name that Apicurio writes.
    let name = [&[6, 0x0a, 4], b"Line".as_slice()].concat();
    assert_eq!(read(both, &behind(&name, &line)).unwrap(), r#"{"item":"a"}"#);
    assert_eq!(read(MessageOf::NameOrFirst, &behind(&name, &line)).unwrap(), r#"{"item":"a"}"#);
    assert_eq!(read(MessageOf::NameOrFirst, &other).unwrap(), r#"{"name":"a"}"#);
    assert_eq!(read(MessageOf::Name(None), &other).unwrap(), r#"{"name":"a"}"#);
    // Event, Event.Line, Event.TagsEntry, Other, Other.Inner.
    assert_eq!(read(MessageOf::Number, &behind(&[1], &line)).unwrap(), r#"{"item":"a"}"#);
    assert_eq!(read(MessageOf::Number, &behind(&[3], &other)).unwrap(), r#"{"name":"a"}"#);
}

#[test]
fn messages_that_are_not_there_are_refused() {
    for (message, value) in [
        (MessageOf::PathOrName, &[][..]),
        (MessageOf::PathOrName, &[4, 2]),
        (MessageOf::PathOrName, &[2, 20]),
        (MessageOf::PathOrName, &[4, 0, 20]),
        (MessageOf::PathOrName, &[1]),
        (MessageOf::PathOrName, &[0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        (MessageOf::PathOrName, &[0xfe, 0xff, 0xff, 0xff, 1]),
        (MessageOf::Number, &[99]),
        (MessageOf::Number, &[]),
        (MessageOf::Name(Some("Nobody")), &[]),
        (MessageOf::Path(&[2]), &[]),
        // A field that ends too soon, and bytes that are no message.
        (MessageOf::Name(Some("Other")), &[0x0a, 9, b'a']),
        (MessageOf::Name(Some("Other")), &[0xff]),
        // No UTF-8.
        (MessageOf::Name(Some("Other")), &[0x0a, 1, 0xff]),
    ] {
        let broken = read(message, value).unwrap_err();
        assert_eq!(broken.reason, crate::Reason::Malformed, "{message:?} {value:?}");
    }
}

#[test]
fn what_is_no_schema_is_refused() {
    for (text, why) in [
        ("", "the schema has no message: register one that has"),
        ("message", "the schema is no Protobuf: expected an identifier, but reached end of file"),
        ("syntax = \"proto3\";\n message 7 {}", "the schema is no Protobuf (at line 2, column 10): expected"),
        (
            r#"syntax = "proto3"; import "nowhere.proto"; message A {}"#,
            "import 'nowhere.proto' not found: register it as a reference under that name",
        ),
        (r#"syntax = "proto3"; import "schema.proto"; message A {}"#, "import cycle detected"),
        (
            r#"syntax = "proto3"; message A { B b = 1; }"#,
            "(at line 1, column 32): name 'B' is not defined: register a corrected schema",
        ),
    ] {
        let error = protobuf(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}
