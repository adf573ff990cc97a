//! What a record of a topic says beside its value: its key is the basket, a key without a value takes the basket back,
//! and its stamp is where reading begins.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` says where a broker is.

use crate::kafka::{Broker, unused};
use crate::support::{Finished, run, start, wait_until};
use deltacart_inputs::kafka::Role;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// A key, a value or none, and a stamp in milliseconds.
type Record<'a> = (&'a str, Option<&'a str>, i64);

const NOON: i64 = 1_769_860_800_000;

fn send(broker: &Broker, topic: &str, records: &[Record<'_>]) {
    let producer: BaseProducer = broker.settings.client_config(Role::Producer).create().unwrap();
    for &(key, value, stamp) in records {
        let record = BaseRecord::to(topic).key(key).timestamp(stamp);
        let record = value.into_iter().fold(record, BaseRecord::payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// Runs over all of a topic: what the job said, and the lists.
fn run_over(broker: &Broker, topic: &str, flags: &str) -> (Finished, String) {
    let output = unused("lists");
    let places = format!("--input kafka:{topic} --until-end --output kafka:{output}");
    let done = run(&format!("run {} {places} {flags} --verify", broker.flags), &[]).expect(0);
    (done, broker.lists_held(&output))
}

/// The list of an item and its one neighbour.
fn pair(item: &str, other: &str, count: u32) -> String {
    format!(r#"{{"item":"{item}","recommendations":[{{"item":"{other}","score":1,"count":{count}}}]}}"#)
        + "\n"
}

#[test]
fn the_key_is_the_basket() {
    let Some(broker) = Broker::new() else { return };
    let expected = pair("cup", "pot", 2) + &pair("pot", "cup", 2);
    let plain = [r#"{"item":"pot","quantity":1}"#, r#"{"item":"cup","quantity":1}"#];
    let segment = ["pot", "cup"].map(|item| {
        format!(r#"{{"type":"track","event":"Product Added","properties":{{"product_id":"{item}"}}}}"#)
    });
    for (flags, values) in [
        ("", plain),
        ("--format segment", [segment[0].as_str(), segment[1].as_str()]),
        ("--fields item=sku,quantity=n", [r#"{"sku":"pot"}"#, r#"{"sku":"cup","n":2}"#]),
    ] {
        let topic = broker.topic("keyed");
        // As text, as JSON, and as Debezium writes keys; the first two are one basket.
        let keys = ["cart-1", r#""cart-1""#, r#"{"id":2}"#, r#"{"id":2}"#];
        let records: Vec<Record<'_>> =
            keys.iter().zip(values.iter().cycle()).map(|(key, value)| (*key, Some(*value), NOON)).collect();
        send(&broker, &topic, &records);
        let (done, lists) = run_over(&broker, &topic, &format!("{flags} --basket key"));
        assert_eq!(lists, expected, "{flags}");
        assert!(
            done.summary().contains("4 events of 4 records") && done.summary().contains(", 0 rejects"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn without_a_key_there_is_no_basket() {
    let Some(broker) = Broker::new() else { return };
    let topic = broker.topic("keyed");
    send(
        &broker,
        &topic,
        &[("", Some(r#"{"item":"pot"}"#), NOON), ("cart-1", Some(r#"{"item":"pot"}"#), NOON)],
    );
    let (done, _lists) = run_over(&broker, &topic, "--basket key");
    done.says("1 event of 2 records").says("1 reject (missing-basket 1)").says("the record's key is absent");
    // And who has not said that it is the key is told which flag says so.
    let job = format!("run {} --input kafka:{topic} --until-end", broker.flags);
    run(&job, &[]).expect(1).says("2 rejects (missing-basket 2)").says("basket is absent (--basket)");
}

/// A compacted topic of whole carts: a tombstone deletes one, and its lists went on as if nothing had happened.
#[test]
fn a_tombstone_takes_its_basket_back() {
    let Some(broker) = Broker::new() else { return };
    let (topic, output) = (unused("carts"), unused("lists"));
    broker.make(&topic, &[("cleanup.policy", "compact")]);
    let cart = |id: &str, item: &str| {
        format!(r#"{{"event":"update","basket":"{id}","items":[{{"item":"kettle"}},{{"item":"{item}"}}]}}"#)
    };
    let (first, second) = (cart("c1", "pot"), cart("c2", "mug"));
    send(&broker, &topic, &[("c1", Some(&first), NOON), ("c2", Some(&second), NOON)]);
    let job = format!("run {} --input kafka:{topic} --output kafka:{output}", broker.flags);
    let running = start(&format!("{job} --tombstones forget"), &[]);
    let has = |item: &str| {
        broker.has(&output) && broker.lists_held(&output).contains(&format!(r#"{{"item":"{item}","#))
    };
    wait_until("the lists of both", || has("pot") && has("mug"));
    send(&broker, &topic, &[("c1", None, NOON), ("c9", None, NOON)]);
    wait_until("that of the first is taken back", || !has("pot"));
    running.terminate();
    let done = running.finish().expect(0);
    assert!(
        done.summary().contains("of 4 records") && done.summary().contains(", 0 rejects"),
        "{}",
        done.stderr
    );
    let expected = pair("kettle", "mug", 1) + &pair("mug", "kettle", 1);
    assert_eq!(broker.lists_held(&output), expected);
    // The same from the beginning; and where it means nothing, or a mistake.
    let (_done, lists) = run_over(&broker, &topic, "--tombstones forget -w 2");
    assert_eq!(lists, expected);
    let (done, lists) = run_over(&broker, &topic, "--tombstones ignore");
    assert!(lists.contains("pot") && done.summary().contains("2 others"), "{}", done.stderr);
    let (done, lists) = run_over(&broker, &topic, "");
    done.says("2 rejects (empty 2)").says("--tombstones forget");
    assert!(lists.contains("pot"));
}

/// Seconds where milliseconds are meant read the whole topic.
#[test]
fn reading_begins_at_a_time() {
    let Some(broker) = Broker::new() else { return };
    let topic = broker.topic("carts");
    let carts = ["old", "new"]
        .map(|item| format!(r#"{{"basket":"{item}","items":[{{"item":"kettle"}},{{"item":"{item}"}}]}}"#));
    send(&broker, &topic, &[("old", Some(&carts[0]), NOON - 1000), ("new", Some(&carts[1]), NOON)]);
    let seconds = NOON / 1000;
    let refused = format!("run {} --input kafka:{topic} --until-end --from {seconds}", broker.flags);
    run(&refused, &[]).expect(2).says(&format!("{seconds} is 1970-01-21")).says(&format!("is {NOON}"));
    for from in [NOON.to_string(), "2026-01-31T12:00:00Z".to_owned()] {
        let (done, lists) = run_over(&broker, &topic, &format!("--from {from}"));
        assert_eq!(lists, pair("kettle", "new", 1) + &pair("new", "kettle", 1), "{from}: {}", done.stderr);
    }
}
