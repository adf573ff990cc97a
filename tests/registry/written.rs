//! Sales as serialisers write them: the bytes are put together here, by the specifications, and not by the crates that
//! read them.

use super::{global_id, register, schema};
use crate::kafka::unused;
use serde_json::{Value, json};

/// One event of a shop.
pub(super) struct Sale {
    pub(super) is_removal: bool,
    pub(super) basket: String,
    pub(super) user: String,
    pub(super) item: String,
    pub(super) quantity: Option<i64>,
    pub(super) time_ms: i64,
    pub(super) id: String,
}

/// How a sale is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Json,
    JsonByGlobalId,
    Avro,
    AvroEvolved,
    AvroByGlobalId,
    Protobuf,
    ProtobufByGlobalId,
    /// Avro behind an id that no registry has given.
    UnknownId,
}

/// The ids of the schemas that sales are written by: of Confluent's interface, and global.
pub(super) struct Schemas {
    json: (u64, u64),
    avro: (u64, u64),
    evolved: (u64, u64),
    protobuf: (u64, u64),
}

const JSON: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;

/// A time with a logical type, a quantity that may be absent, and an item in a record of its own schema.
const LINE: &str = r#"{"type":"record","name":"shop.Line","fields":[
    {"name":"item","type":"string"},{"name":"quantity","type":["null","long"],"default":null}]}"#;

const AVRO: &str = r#"{"type":"record","name":"shop.Sale","fields":[
    {"name":"event","type":{"type":"enum","name":"Kind","symbols":["add","remove"]}},
    {"name":"basket","type":"string"},
    {"name":"items","type":{"type":"array","items":"shop.Line"}},
    {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"id","type":"string"}]}"#;

/// A field more at the front, one without a use, and another unit of time: read by the other schema, it is nonsense.
const EVOLVED: &str = r#"{"type":"record","name":"shop.Sale","fields":[
    {"name":"user","type":["null","string"],"default":null},
    {"name":"event","type":{"type":"enum","name":"Kind","symbols":["add","remove"]}},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
    {"name":"basket","type":"string"},
    {"name":"items","type":{"type":"array","items":"shop.Line"}},
    {"name":"time","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"id","type":"string"}]}"#;

const PROTOBUF_LINE: &str = r#"
    syntax = "proto3";
    package shop;
    message Line { string item = 1; optional int64 quantity = 2; }"#;

/// The sale is the second message of a message, so its path has two numbers.
const PROTOBUF: &str = r#"
    syntax = "proto3";
    package shop;
    import "line.proto";
    import "google/protobuf/timestamp.proto";
    message Nothing {}
    message Events {
      message Nothing {}
      message Sale {
        string event = 1;
        string basket = 2;
        string user = 3;
        repeated Line items = 4;
        google.protobuf.Timestamp time = 5;
        string id = 6;
      }
    }"#;

impl Schemas {
    /// Registers all of them, under names that nobody used before.
    pub(super) fn register(registry: &str) -> Schemas {
        let both = |name: &str, kind: &str, text: &str, references: &[(&str, &str)]| {
            let subject = unused(name);
            let id = register(registry, &subject, &schema(kind, text, references));
            (subject.clone(), (id, global_id(registry, &subject)))
        };
        // One more than the ids of the contents, so that a global id is another number.
        both("json-again", "JSON", JSON, &[]);
        let line = both("line", "AVRO", LINE, &[]).0;
        let imported = both("line.proto", "PROTOBUF", PROTOBUF_LINE, &[]).0;
        Schemas {
            json: both("json", "JSON", JSON, &[]).1,
            avro: both("avro", "AVRO", AVRO, &[("shop.Line", &line)]).1,
            evolved: both("evolved", "AVRO", EVOLVED, &[("shop.Line", &line)]).1,
            protobuf: both("protobuf", "PROTOBUF", PROTOBUF, &[("line.proto", &imported)]).1,
        }
    }

    /// A sale behind the id of its schema.
    pub(super) fn framed(&self, sale: &Sale, framing: Framing) -> Vec<u8> {
        let short = |ids: (u64, u64)| [&[0], &(ids.0 as u32).to_be_bytes()[..]].concat();
        let long = |ids: (u64, u64)| [&[0], &ids.1.to_be_bytes()[..]].concat();
        let json = || sale.json().to_string().into_bytes();
        match framing {
            Framing::None => json(),
            Framing::Json => [short(self.json), json()].concat(),
            Framing::JsonByGlobalId => [long(self.json), json()].concat(),
            Framing::Avro => [short(self.avro), sale.avro()].concat(),
            Framing::AvroEvolved => [short(self.evolved), sale.evolved()].concat(),
            Framing::AvroByGlobalId => [long(self.avro), sale.avro()].concat(),
            // Two numbers, 1 and 1.
            Framing::Protobuf => [short(self.protobuf), vec![4, 2, 2], sale.protobuf()].concat(),
            // The name, as Apicurio's serialiser writes it.
            Framing::ProtobufByGlobalId => {
                [long(self.protobuf), [&[6, 0x0a, 4], &b"Sale"[..]].concat(), sale.protobuf()].concat()
            }
            Framing::UnknownId => [short((987_654, 0)), sale.avro()].concat(),
        }
    }
}

impl Sale {
    fn event(&self) -> &'static str {
        if self.is_removal { "remove" } else { "add" }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "event": self.event(), "basket": self.basket, "user": self.user, "time": self.time_ms, "id": self.id,
            "items": [{ "item": self.item, "quantity": self.quantity }],
        })
    }

    fn avro(&self) -> Vec<u8> {
        let mut bytes = signed(i64::from(self.is_removal));
        bytes.extend(string(&self.basket));
        bytes.extend(self.lines());
        bytes.extend(signed(self.time_ms));
        bytes.extend(string(&self.id));
        bytes
    }

    fn evolved(&self) -> Vec<u8> {
        let mut bytes = [signed(1), string(&self.user), signed(i64::from(self.is_removal))].concat();
        // 12.34 of whatever it costs in.
        bytes.extend([signed(1), signed(2), vec![0x04, 0xd2]].concat());
        bytes.extend(string(&self.basket));
        bytes.extend(self.lines());
        bytes.extend([signed(1), signed(self.time_ms * 1000)].concat());
        bytes.extend(string(&self.id));
        bytes
    }

    /// A list of one line, in a block of one, and the block that ends it.
    fn lines(&self) -> Vec<u8> {
        let quantity = self.quantity.map_or(signed(0), |quantity| [signed(1), signed(quantity)].concat());
        [signed(1), string(&self.item), quantity, signed(0)].concat()
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut line = field(1, self.item.as_bytes());
        line.extend(
            self.quantity.map_or(vec![], |quantity| [vec![2 << 3], unsigned(quantity as u64)].concat()),
        );
        let (seconds, nanos) = (self.time_ms / 1000, self.time_ms % 1000 * 1_000_000);
        let time = [vec![1 << 3], unsigned(seconds as u64), vec![2 << 3], unsigned(nanos as u64)].concat();
        [
            field(1, self.event().as_bytes()),
            field(2, self.basket.as_bytes()),
            field(3, self.user.as_bytes()),
            field(4, &line),
            field(5, &time),
            field(6, self.id.as_bytes()),
        ]
        .concat()
    }
}

/// A number as Avro writes it.
fn signed(number: i64) -> Vec<u8> {
    unsigned(((number << 1) ^ (number >> 63)) as u64)
}

/// A string as Avro writes it.
fn string(text: &str) -> Vec<u8> {
    [signed(text.len() as i64), text.as_bytes().to_vec()].concat()
}

/// Bytes of a field as Protobuf writes them.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], unsigned(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Seven bits a byte, the lowest first.
fn unsigned(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
