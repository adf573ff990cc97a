//! Events behind the ids of schemas, in a topic of a real broker, by a real schema registry: the lists of the same
//! events as JSON.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` says where a broker is and `DELTACART_TEST_REGISTRY` where a registry is, by
//! the address of its Confluent interface, as `scripts/registry` prints it.

mod gate;
mod written;

use crate::kafka::Broker;
use crate::support::{Folder, Random, lists_of_file, run, start, wait_until};
use gate::{Gate, http};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use written::{Framing, Sale, Schemas};

/// A broker and a registry, if the environment names both.
struct Places {
    broker: Broker,
    /// Where the registry is, as host and port.
    registry: String,
    schemas: Schemas,
}

impl Places {
    fn new() -> Option<Places> {
        let broker = Broker::new()?;
        let Ok(url) = std::env::var("DELTACART_TEST_REGISTRY") else {
            crate::skipped::skip("DELTACART_TEST_REGISTRY is not set");
            return None;
        };
        let registry = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        assert_eq!(registry.1, "apis/ccompat/v7");
        let registry = registry.0.to_owned();
        let schemas = Schemas::register(&registry);
        Some(Places { broker, registry, schemas })
    }

    fn confluent(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.registry)
    }

    fn apicurio(&self) -> String {
        format!("http://{}/apis/registry/v2", self.registry)
    }

    /// A topic with the sales, each framed as the choice says.
    fn topic(&self, sales: &[Sale], framing: impl Fn(usize) -> Framing) -> String {
        let topic = self.broker.topic("schemas");
        let records: Vec<(String, Vec<u8>)> = sales
            .iter()
            .enumerate()
            .map(|(at, sale)| (sale.basket.clone(), self.schemas.framed(sale, framing(at))))
            .collect();
        self.broker.produce(&topic, records.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        topic
    }
}

/// The sales of a small shop, in their order.
fn sales() -> Vec<Sale> {
    let mut random = Random::new(11);
    let sale = |at: usize| Sale {
        is_removal: at % 9 == 8,
        basket: format!("b{}", random.below(60)),
        user: format!("u{}", random.below(20)),
        item: format!("item-{}", random.below(25)),
        // Of a removal none is all.
        quantity: Some(1 + random.below(4) as i64).filter(|_| at % 9 != 8),
        time_ms: 1_769_860_800_000 + at as i64,
        id: format!("e{at}"),
    };
    (0..600).map(sale).collect()
}

/// The lists of the sales as lines of JSON.
fn expected(folder: &Folder, sales: &[Sale]) -> String {
    let lines: Vec<String> = sales.iter().map(|sale| sale.json().to_string()).collect();
    let input = folder.file("sales.jsonl", lines.join("\n"));
    let output = folder.path("expected.jsonl");
    run(&format!("run --input {input} --output {output}"), &[]).expect(0);
    lists_of_file(&output)
}

#[test]
fn every_language_gives_the_lists_of_json() {
    let Some(places) = Places::new() else { return };
    let folder = Folder::new();
    let sales = sales();
    let expected = expected(&folder, &sales);
    assert!(expected.lines().count() > 20);
    // One language a topic, and all of them in one, an evolved schema among them.
    for (name, some) in [
        ("json", &[Framing::Json][..]),
        ("avro", &[Framing::Avro]),
        ("evolved", &[Framing::AvroEvolved]),
        ("protobuf", &[Framing::Protobuf]),
        ("all", &[Framing::Json, Framing::Avro, Framing::AvroEvolved, Framing::Protobuf, Framing::None]),
    ] {
        let topic = places.topic(&sales, |at| some[at % some.len()]);
        let output = folder.path(&format!("{name}.jsonl"));
        let flags = format!("{} -w 2 --schema-registry {}", places.broker.flags, places.confluent());
        run(&format!("run --input kafka:{topic} --until-end --output {output} {flags} --verify"), &[])
            .expect(0);
        assert_eq!(lists_of_file(&output), expected, "{name}");
    }
}

#[test]
fn ids_of_apicurio_are_found_by_its_own_interface() {
    let Some(places) = Places::new() else { return };
    let folder = Folder::new();
    let sales = sales();
    let some = [Framing::AvroByGlobalId, Framing::ProtobufByGlobalId, Framing::Avro, Framing::JsonByGlobalId];
    let topic = places.topic(&sales, |at| some[at % some.len()]);
    let output = folder.path("lists.jsonl");
    let flags = format!("{} --schema-registry {}", places.broker.flags, places.apicurio());
    run(&format!("run --input kafka:{topic} --until-end --output {output} {flags}"), &[]).expect(0);
    assert_eq!(lists_of_file(&output), expected(&folder, &sales));
}

#[test]
fn an_id_that_nobody_knows_is_rejected_by_its_name() {
    let Some(places) = Places::new() else { return };
    let folder = Folder::new();
    let sales = sales();
    let topic = places.topic(&sales, |at| if at % 100 == 50 { Framing::UnknownId } else { Framing::Avro });
    let (output, letters) = (folder.path("lists.jsonl"), folder.path("letters.jsonl"));
    let flags = format!("{} --schema-registry {}", places.broker.flags, places.confluent());
    let line =
        format!("run --input kafka:{topic} --until-end --output {output} --dead-letter {letters} {flags}");
    run(&line, &[]).expect(0).says("unknown-schema 6");
    let rest: Vec<Sale> =
        sales.into_iter().enumerate().filter(|(at, _)| at % 100 != 50).map(|(_, sale)| sale).collect();
    assert_eq!(lists_of_file(&output), expected(&folder, &rest));
    let letters = fs::read_to_string(&letters).unwrap();
    assert_eq!(letters.lines().count(), 6);
    let sentence =
        "schema 987654, which the prefix of Confluent's serialiser names, is not in the registry at http://";
    assert!(letters.lines().all(|letter| letter.contains(sentence)), "{letters}");
}

#[test]
fn without_a_registry_json_is_read_and_the_rest_is_named() {
    let Some(places) = Places::new() else { return };
    let folder = Folder::new();
    let sales = sales();
    let some = [Framing::Json, Framing::JsonByGlobalId, Framing::Avro, Framing::Protobuf];
    let topic = places.topic(&sales, |at| some[at % 4]);
    let output = folder.path("lists.jsonl");
    let flags = &places.broker.flags;
    let done = run(&format!("run --input kafka:{topic} --until-end --output {output} {flags}"), &[]);
    done.expect(0).says("needs-schema 300");
    let read: Vec<Sale> =
        sales.into_iter().enumerate().filter(|(at, _)| at % 4 < 2).map(|(_, sale)| sale).collect();
    assert_eq!(lists_of_file(&output), expected(&folder, &read));
}

#[test]
fn a_registry_that_is_down_is_waited_for_and_nothing_is_lost() {
    let Some(places) = Places::new() else { return };
    let folder = Folder::new();
    let sales = sales();
    let some = [Framing::None, Framing::Avro, Framing::Protobuf];
    let topic = places.topic(&sales, |at| some[at % 3]);
    let gate = Gate::closed(&places.registry);
    let (output, state) = (folder.path("lists.jsonl"), folder.path("state"));
    let registry = format!("http://{}/apis/ccompat/v7", gate.address);
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let flags = format!("{} -w 2 --schema-registry {registry}", places.broker.flags);
    let line = format!(
        "run --input kafka:{topic} --until-end --output {output} --state {state} --metrics {metrics} {flags}"
    );
    let waits = || {
        let page = http(&metrics, "GET", "/metrics", "").map_or(String::new(), |answer| answer.1);
        page.contains("\ndeltacart_schema_registry_away 1\n")
            && !page.contains("\ndeltacart_records_waiting 0\n")
    };
    // Stopped while it waits, before the end, which is said by the exit code: the next run reads what was not read.
    let running = start(&line, &[]);
    wait_until("the job waits", waits);
    running.terminate();
    running.finish().expect(1).says("waiting for the schema registry at http://");
    let running = start(&line, &[]);
    wait_until("the job waits again", waits);
    gate.open();
    let done = running.finish().expect(0).says(&format!("the schema registry at {registry} answers again"));
    assert_eq!(done.stderr.matches("waiting for the schema registry").count(), 1, "{}", done.stderr);
    assert_eq!(lists_of_file(&output), expected(&folder, &sales));
}

#[test]
fn a_wrong_address_ends_the_job_and_says_so() {
    let Some(places) = Places::new() else { return };
    let topic = places.topic(&sales()[..10], |_| Framing::Avro);
    let line = format!("run --input kafka:{topic} --until-end {}", places.broker.flags);
    let registry = format!("http://alice:secret@{}", places.registry);
    let done = run(&line, &["--schema-registry", &registry]).expect(1);
    let done =
        done.says("is no schema registry (404 for /subjects): is a path missing, such as /apis/ccompat/v7?");
    assert!(!done.stderr.contains("secret"), "{}", done.stderr);
}

/// A schema under a subject of its own: its id, the one that Confluent's interface gives.
fn register(registry: &str, subject: &str, body: &Value) -> u64 {
    let path = format!("/apis/ccompat/v7/subjects/{subject}/versions");
    let (status, answer) = http(registry, "POST", &path, &body.to_string()).expect("the registry answers");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["id"].as_u64().unwrap()
}

/// The global id of the only version of a subject.
fn global_id(registry: &str, subject: &str) -> u64 {
    let path = format!("/apis/registry/v2/groups/default/artifacts/{subject}/versions/1/meta");
    let (status, answer) = http(registry, "GET", &path, "").expect("the registry answers");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["globalId"].as_u64().unwrap()
}

/// What a subject holds, for [`register`].
fn schema(kind: &str, text: &str, references: &[(&str, &str)]) -> Value {
    let references: Vec<Value> = references
        .iter()
        .map(|(name, subject)| json!({ "name": name, "subject": subject, "version": 1 }))
        .collect();
    json!({ "schemaType": kind, "schema": text, "references": references })
}
