//! What it takes to decode a record of Avro, beside the same record as JSON.
//!
//! What: the events of a made-up shop, once as JSON and once as Avro behind the id of its schema, are decoded from
//! memory, by turns. The events that come out are compared first. Printed are the medians of `RUNS` runs, in
//! nanoseconds a record, and by how much Avro takes longer.
//!
//! Shapes: `whole` has records of all the shop's kinds, with a user, a time and an event's id; `compact` has them
//! without a user and a time, where the text that is written in between weighs most.
//!
//! ```text
//! cargo bench -p deltacart-inputs --features schema-registry --bench schemas
//! ```

use deltacart_dataflows::Event;
use deltacart_inputs::generate::{CartAction, CartEvent, CartLine, Shop, ShopSettings};
use deltacart_inputs::registry::{Readiness, Registry};
use deltacart_inputs::{DecodeOptions, Decoder, Format, RawRecord};
use serde_json::json;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

const EVENTS: u64 = 200_000;
const RUNS: usize = 15;

const SCHEMA: &str = r#"{"type":"record","name":"shop.Event","fields":[
    {"name":"event","type":{"type":"enum","name":"Kind",
        "symbols":["add","remove","set","view","purchase","clear","forget"]}},
    {"name":"basket","type":["null","string"]},
    {"name":"user","type":["null","string"]},
    {"name":"item","type":["null","string"]},
    {"name":"quantity","type":["null","int"]},
    {"name":"items","type":["null",{"type":"array","items":{"type":"record","name":"Line",
        "fields":[{"name":"item","type":"string"},{"name":"quantity","type":"int"}]}}]},
    {"name":"time","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
    {"name":"id","type":["null","string"]}]}"#;

fn main() {
    let folder = tempfile::tempdir().expect("there is room for a schema");
    let answer = json!({ "schemaType": "AVRO", "schema": SCHEMA }).to_string();
    std::fs::write(folder.path().join("7.json"), answer).expect("there is room for a schema");
    let place = folder.path().to_str().expect("the path is text");
    let registry = Registry::new(place, None).expect("it is a folder");

    let settings = ShopSettings { events: Some(EVENTS), ..ShopSettings::default() };
    let events: Vec<CartEvent> = Shop::new(settings).expect("the settings are its own").collect();
    for (shape, is_compact) in [("whole", false), ("compact", true)] {
        let json: Vec<Vec<u8>> = events.iter().map(|event| json_of(event, is_compact)).collect();
        let avro: Vec<Vec<u8>> = events.iter().map(|event| avro_of(event, is_compact)).collect();
        compare(shape, &json, &avro, &registry);
    }
}

fn compare(shape: &str, json: &[Vec<u8>], avro: &[Vec<u8>], registry: &Registry) {
    let with = |registry| DecodeOptions { registry, ..DecodeOptions::new(Format::Json) };
    let decoder = |registry| with(registry).decoder().expect("the options go together");
    let decoded = |records: &[Vec<u8>], registry| {
        let (mut decoder, mut all) = (decoder(registry), Vec::new());
        decode(&mut *decoder, records, &mut |events| all.append(events));
        all
    };
    assert_eq!(decoded(json, None), decoded(avro, Some(registry.clone())), "Avro is something else");
    let (mut of_json, mut of_avro) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        of_json.push(nanos(&mut *decoder(None), json));
        of_avro.push(nanos(&mut *decoder(Some(registry.clone())), avro));
    }
    let (json, avro) = (median(of_json), median(of_avro));
    println!("schemas/{shape}: json {json:.0} ns, avro {avro:.0} ns, ratio {:.2}", avro / json);
}

/// Decodes records as a job does, a chunk of events at a time.
fn decode(decoder: &mut dyn Decoder, records: &[Vec<u8>], take: &mut dyn FnMut(&mut Vec<Event>)) {
    let mut events = Vec::new();
    for (offset, value) in (0..).zip(records) {
        let record = RawRecord {
            partition: 0,
            offset,
            key: None,
            value: Some(value),
            headers: &[],
            timestamp: None,
            truncated: false,
        };
        while decoder.prepare(&record).expect("the folder is there") == Readiness::Waiting {
            thread::park_timeout(Duration::from_millis(10));
        }
        decoder.decode(&record, &mut events).expect("the shop makes sense");
        if events.len() >= 1024 {
            take(&mut events);
        }
    }
    take(&mut events);
}

fn nanos(decoder: &mut dyn Decoder, records: &[Vec<u8>]) -> f64 {
    // The schema is there, and the tables have their size.
    decode(decoder, &records[..1000], &mut |events| events.clear());
    let start = Instant::now();
    decode(decoder, records, &mut |events| black_box(events).clear());
    start.elapsed().as_nanos() as f64 / records.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn json_of(event: &CartEvent, is_compact: bool) -> Vec<u8> {
    let mut text = Vec::new();
    event.write_json(&mut text);
    if !is_compact {
        return text;
    }
    let mut value: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let fields = value.as_object_mut().expect("it is an object");
    fields.remove("time");
    if event.action != CartAction::ForgetUser {
        fields.remove("user");
    }
    value.to_string().into_bytes()
}

/// The record as Avro, by hand: what is read here is not to be written by the crate that reads.
fn avro_of(event: &CartEvent, is_compact: bool) -> Vec<u8> {
    let text = json_of(event, is_compact);
    let value: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let kinds = ["add", "remove", "set", "view", "purchase", "clear", "forget"];
    let kind = kinds.iter().position(|kind| *kind == event.action.kind()).expect("all kinds are there");
    let mut bytes = vec![0, 0, 0, 0, 7];
    push_number(kind as i64, &mut bytes);
    let optional = |name: &str, bytes: &mut Vec<u8>| match value[name].as_str() {
        Some(text) => {
            bytes.push(2);
            push_text(text, bytes);
        }
        None => bytes.push(0),
    };
    optional("basket", &mut bytes);
    optional("user", &mut bytes);
    optional("item", &mut bytes);
    match value["quantity"].as_i64() {
        Some(quantity) => {
            bytes.push(2);
            push_number(quantity, &mut bytes);
        }
        None => bytes.push(0),
    }
    match &event.action {
        CartAction::Purchase(lines) => {
            bytes.push(2);
            push_number(lines.len() as i64, &mut bytes);
            for CartLine { item, quantity } in lines {
                push_text(&item.name(), &mut bytes);
                push_number(i64::from(*quantity), &mut bytes);
            }
            bytes.push(0);
        }
        _ => bytes.push(0),
    }
    if is_compact {
        bytes.push(0);
    } else {
        bytes.push(2);
        push_number(event.time_ms, &mut bytes);
    }
    optional("id", &mut bytes);
    bytes
}

fn push_text(text: &str, bytes: &mut Vec<u8>) {
    push_number(text.len() as i64, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn push_number(number: i64, bytes: &mut Vec<u8>) {
    let mut bits = ((number << 1) ^ (number >> 63)) as u64;
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
}
