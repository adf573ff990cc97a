//! Replicas: they follow files, pipes and topics, and compute nothing.

use super::client::{Events, free_address, get, json, post};
use super::{EVENTS, has, ids};
use crate::kafka::{Broker, unused};
use crate::support::{Folder, run, start, wait_until};
use serde_json::json;
use std::io::Write;

/// Lists of items as a job writes them.
const LISTS: &str = r#"{"version":1,"item":"tea","epoch":3,"recommendations":[{"item":"milk","score":0.816,"count":2},{"item":"mug","score":0.5,"count":1}],"changes":{"added":["milk","mug"],"removed":[],"rescored":[],"moved":[]}}
{"version":1,"item":"milk","epoch":3,"recommendations":[{"item":"tea","score":0.816,"count":2}],"changes":{"added":["tea"],"removed":[],"rescored":[],"moved":[]}}
"#;

#[test]
fn a_replica_of_a_pipe_follows_it() {
    let folder = Folder::new();
    let carts = folder.file(
        "carts.jsonl",
        r#"{"version":1,"cart":"c1","epoch":2,"recommendations":[{"item":"mug","score":1.5,"count":1}]}"#,
    );
    let address = free_address();
    let mut running = start(&format!("serve --input - --carts {carts} --serve {address}"), &[]);
    let mut stdin = running.stdin();
    stdin.write_all(LISTS.as_bytes()).unwrap();
    wait_until("the lists are there", || {
        has(&address, "/v1/items/tea/similar?fallback=none", &["milk", "mug"])
    });
    wait_until("it is ready", || get(&address, "/readyz").is_some_and(|answer| answer.status == 200));
    let answer = json(&address, "/v1/items/tea/similar?n=1");
    assert_eq!(
        answer,
        json!({"item": "tea", "epoch": 3, "changed": 3, "items": [{"item": "milk", "score": 0.816, "count": 2}]})
    );
    assert_eq!(ids(&json(&address, "/v1/carts/c1/recommendations")), ["mug"]);
    assert_eq!(get(&address, "/v1/users/u1/recommendations").unwrap().status, 404);
    assert_eq!(post(&address, "/v1/recommendations", r#"{"items":["tea"]}"#).unwrap().status, 501);
    assert_eq!(json(&address, "/v1/status")["role"], "replica");
    // What is no list is skipped, and so is a list of something else.
    writeln!(stdin, "nonsense\n{{\"version\":1,\"cart\":\"c\",\"epoch\":9,\"recommendations\":[]}}").unwrap();
    let mut events = Events::open(&address, "/v1/items/tea/stream", None);
    assert_eq!(ids(&events.next().data), ["milk", "mug"]);
    writeln!(
        stdin,
        r#"{{"version":1,"item":"tea","epoch":7,"recommendations":[{{"item":"mug","score":0.5,"count":1}}]}}"#
    )
    .unwrap();
    let event = events.next();
    assert_eq!((ids(&event.data), event.id.as_str()), (vec!["mug"], "7"));
    assert_eq!(json(&address, "/v1/items/tea/similar?at_least_epoch=7")["epoch"], 7);
    drop(stdin);
    running.terminate();
    running.finish().expect(0).says("skipped a record");
}

#[test]
fn a_replica_refuses_what_makes_no_sense() {
    let folder = Folder::new();
    let lists = folder.file("lists.jsonl", LISTS);
    for (flags, code, words) in [
        (format!("--input {lists} -b localhost:1"), 2, "-b/--brokers has no effect"),
        (format!("--input {lists} --carts {lists}"), 2, "cannot be the same"),
        ("--input missing.jsonl".to_owned(), 1, "missing.jsonl"),
    ] {
        run(&format!("serve {flags} --serve 0"), &[]).expect(code).says(words);
    }
}

/// The topics of a running job, behind a real broker.
#[test]
fn a_replica_of_kafka_topics_has_the_lists_of_the_job() {
    let Some(broker) = Broker::new() else { return };
    let (lists, carts) = (unused("replica-lists"), unused("replica-carts"));
    let flags = &broker.flags;
    let (job, replica) = (free_address(), free_address());
    let line = format!(
        "run {flags} --input - --output kafka:{lists} --recommend items,carts --output-carts kafka:{carts} \
         --answer-by lists --epoch 10ms --serve {job} -w 2"
    );
    let mut running = start(&line, &[]);
    let mut stdin = running.stdin();
    stdin.write_all(EVENTS.as_bytes()).unwrap();
    wait_until("the job has the lists", || has(&job, "/v1/items/milk/similar?fallback=none", &["tea"]));
    let line = format!("serve {flags} --input kafka:{lists} --carts kafka:{carts} --serve {replica}");
    let follower = start(&line, &[]);
    wait_until("it is ready", || get(&replica, "/readyz").is_some_and(|answer| answer.status == 200));
    for path in ["/v1/items/tea/similar", "/v1/items/milk/similar", "/v1/carts/a/recommendations"] {
        assert_eq!(json(&replica, path)["items"], json(&job, path)["items"], "{path}");
    }
    let mut events = Events::open(&replica, "/v1/items/milk/stream", None);
    assert_eq!(ids(&events.next().data), ["tea"]);
    writeln!(stdin, r#"{{"event":"remove","basket":"b","user":"ben","item":"milk"}}"#).unwrap();
    assert_eq!(events.next().data["items"], json(&job, "/v1/items/milk/similar")["items"]);
    // A tombstone takes a list away.
    writeln!(stdin, r#"{{"event":"clear","basket":"c","user":"cleo"}}"#).unwrap();
    wait_until("the list is gone", || {
        has(&replica, "/v1/items/mug%2Fblue,%20large/similar?fallback=none", &[])
    });
    drop(stdin);
    for process in [follower, running] {
        process.terminate();
        process.finish().expect(0);
    }
}
