//! Values behind the ids of schemas: the frame, and what is in it.

use super::HEADERS;
use crate::decode::{Framed, SchemaId};
use crate::{Headers, Limits};

/// A value in a frame, with headers that the first byte chooses. Where there is a frame, what is in it is the end of
/// the value, or unpacked and within the limit.
pub fn wire(data: &[u8]) {
    let [which, value @ ..] = data else { return };
    let start = &value[..value.len().min(21)];
    let named: [Headers<'_>; 3] = [
        &[("__value_schema_id", Some(start))],
        &[("apicurio.value.globalId", Some(start)), ("apicurio.protobuf.type", Some(b"\xff"))],
        &[("apicurio.value.contentId", Some(start)), ("apicurio.protobuf.type", Some(b"Event"))],
    ];
    let all: Vec<Headers<'_>> = HEADERS.into_iter().chain(named).collect();
    let headers = all[usize::from(*which) % all.len()];
    let Some(framed) = Framed::find(headers, value) else { return };
    assert_eq!(Framed::find(headers, value), Some(framed));
    let limits = Limits { record_bytes_max: 1000, ..Limits::default() };
    let mut buffer = Vec::new();
    if let Ok(payload) = framed.payload(&mut buffer, &limits) {
        let is_packed = matches!(framed.schema, SchemaId::Glue(_)) && value[1] == 5;
        assert!(if is_packed { payload.len() <= 1000 } else { value.ends_with(payload) });
    }
}

#[cfg(feature = "schema-registry")]
pub use languages::{avro, protobuf, schemas};
#[cfg(not(feature = "schema-registry"))]
pub use wire as avro;
#[cfg(not(feature = "schema-registry"))]
pub use wire as protobuf;
#[cfg(not(feature = "schema-registry"))]
pub use wire as schemas;

/// What is in the frame, by schemas that have a bit of everything.
#[cfg(feature = "schema-registry")]
mod languages {
    use super::super::BETWEEN_RECORDS;
    use super::wire;
    use crate::Limits;
    use crate::decode::Framed;
    use crate::registry::schema::{Kind, Schema, Source};
    use std::sync::OnceLock;

    const AVRO: [&str; 3] = [
        r#"{"type":"record","name":"shop.Event","fields":[
            {"name":"event","type":{"type":"enum","name":"Kind","symbols":["add","remove"]}},
            {"name":"basket","type":"string"},
            {"name":"items","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
                {"name":"item","type":"string"},{"name":"quantity","type":["null","int","double"]}]}}},
            {"name":"time","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
            {"name":"next","type":["null","Event"]}]}"#,
        r#"{"type":"map","values":["null","boolean","float","bytes",
            {"type":"fixed","name":"F","size":3},
            {"type":"fixed","name":"U","size":16,"logicalType":"uuid"},
            {"type":"fixed","name":"D","size":12,"logicalType":"duration"},
            {"type":"array","items":"null"},
            {"type":"record","name":"Nothing","fields":[]}]}"#,
        r#"{"type":"array","items":[
            {"type":"bytes","logicalType":"decimal","precision":20,"scale":4},
            {"type":"int","logicalType":"date"},
            {"type":"long","logicalType":"time-micros"}]}"#,
    ];

    const PROTOBUF: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/struct.proto";
        message Event {
          message Line {
            string item = 1;
            optional int64 quantity = 2;
            oneof price { double cost = 3; string text = 4; }
          }
          enum Kind { ADD = 0; REMOVE = 1; }
          Kind event = 1;
          string basket = 2;
          repeated Line items = 3;
          google.protobuf.Timestamp time = 4;
          map<string, Event> more = 5;
          google.protobuf.Struct rest = 6;
          repeated sint32 numbers = 7;
          bytes raw = 8;
        }
        message Other { Event event = 1; }"#;

    /// A value of Avro, by the schema that the first byte chooses.
    pub fn avro(data: &[u8]) {
        static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
        let schemas = SCHEMAS.get_or_init(|| AVRO.map(|text| schema(Kind::Avro, text)).into());
        let [which, value @ ..] = data else { return };
        // Nothing is to be found of a message's name in it.
        let frame = [0, 0, 0, 0, 7];
        read(&schemas[usize::from(*which) % schemas.len()], &frame, value);
        wire(data);
    }

    /// A value of Protobuf, in a frame that the first byte chooses.
    pub fn protobuf(data: &[u8]) {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        let schema = SCHEMA.get_or_init(|| schema(Kind::Protobuf, PROTOBUF));
        let [which, value @ ..] = data else { return };
        let frames: [&[u8]; 3] = [&[0, 0, 0, 0, 7], &[0, 0, 0, 0, 0, 0, 0, 0, 7], &[3; 18]];
        let frame = match usize::from(*which) % 3 {
            2 => [&[3, 0], &frames[2][2..]].concat(),
            at => frames[at].to_vec(),
        };
        read(schema, &frame, value);
        wire(data);
    }

    /// A value by any schema: the first byte chooses the language, and a byte that no schema has ends its text.
    pub fn schemas(data: &[u8]) {
        let [which, rest @ ..] = data else { return };
        let mut parts = rest.splitn(3, |&byte| byte == BETWEEN_RECORDS);
        let [text, other] = [(); 2].map(|()| String::from_utf8_lossy(parts.next().unwrap_or_default()));
        let kind = if which % 2 == 0 { Kind::Avro } else { Kind::Protobuf };
        let others = vec![("other.proto".to_owned(), other.into_owned())];
        let source = Source { kind, text: text.into_owned(), others };
        match Schema::new(&source) {
            Ok(schema) => read(&schema, &[0, 0, 0, 0, 7], parts.next().unwrap_or_default()),
            Err(why) => {
                assert_eq!(Schema::new(&source).err(), Some(why), "the same schema is something else")
            }
        }
    }

    fn schema(kind: Kind, text: &str) -> Schema {
        Schema::new(&Source { kind, text: text.to_owned(), others: Vec::new() }).expect("it is a schema")
    }

    /// What is read is JSON, bounded, and the same every time.
    fn read(schema: &Schema, frame: &[u8], value: &[u8]) {
        let limits = Limits { record_bytes_max: 1000, nesting_max: 20, ..Limits::default() };
        let whole = [frame, value].concat();
        let framed = Framed::find(&[], &whole).expect("it is in a frame");
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let first = schema.read(&framed, value, &mut one, &limits);
        assert_eq!(
            first,
            schema.read(&framed, value, &mut other, &limits),
            "the same value is something else"
        );
        if let Ok(text) = first {
            // One field more may be in it than was looked at last.
            assert!(text.len() <= 40 * limits.record_bytes_max.max(value.len()), "{} bytes", text.len());
            serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("it is JSON");
        }
    }
}
