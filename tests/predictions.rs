//! Predictions while a job runs: to files and topics, whatever the workers and however often a job is killed.
//!
//! The test of a topic is skipped unless `DELTACART_TEST_BROKERS` names a broker.

use crate::kafka::{Broker, unused};
use crate::notes::events;
use crate::recovery::kill_at_random;
use crate::support::{Folder, Random, run};
use deltacart::output::wait_for_open_transactions;
use deltacart_inputs::Share;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Tea and milk are in two carts; in a third cart milk follows tea, then a mug that nobody has seen.
#[test]
fn a_small_shop_by_hand() {
    let folder = Folder::new();
    let add = |basket: &str, item: &str| {
        format!(r#"{{"event":"add","basket":"{basket}","item":"{item}","time":1700000000000}}"#)
    };
    let lines =
        [("a", "tea"), ("a", "milk"), ("b", "tea"), ("b", "milk"), ("c", "tea"), ("c", "milk"), ("c", "mug")];
    let lines = lines.map(|(basket, item)| add(basket, item)).join("\n");
    let (input, predictions) = (folder.file("carts.jsonl", lines), folder.path("predictions.jsonl"));
    let (lists, carts) = (folder.path("lists.jsonl"), folder.path("answers.jsonl"));
    run(
        &format!(
            "run --input {input} --output {lists} --recommend items,carts --output-carts {carts} --epoch-events 1 \
             --prequential 1 --predictions {predictions}"
        ),
        &[],
    )
    .expect(0)
    .says("4 predictions, 2 of them among the first 10");
    let found: Vec<(String, String, Value)> = values(&fs::read(&predictions).unwrap())
        .into_iter()
        .map(|it| (text(&it, "cart"), text(&it, "predicted"), it["rank"].clone()))
        .collect();
    let expected = [
        ("a", "milk", Value::Null),
        ("b", "milk", 1.into()),
        ("c", "milk", 1.into()),
        ("c", "mug", Value::Null),
    ];
    assert_eq!(found, expected.map(|(cart, item, rank)| (cart.to_owned(), item.to_owned(), rank)));
}

/// The same predictions for any number of workers and processes, and the counts are theirs.
#[test]
fn a_file_is_the_same_for_any_number_of_workers() {
    let folder = Folder::new();
    let events: Vec<Vec<u8>> = events(4, 3000).into_iter().map(|(_key, value)| value).collect();
    let input = folder.file("carts.jsonl", events.join(&b'\n'));
    let [lists, carts, predictions] =
        ["lists", "answers", "predictions"].map(|name| folder.path(&format!("{name}.jsonl")));
    let job = format!(
        "run --input {input} --output {lists} --recommend carts --output-carts {carts} --epoch-events 40 --refresh 0 \
         --predictions {predictions} --overwrite"
    );
    let of = |flags: &str| {
        let done = run(&format!("{job} {flags}"), &[]).expect(0);
        let bytes = fs::read(&predictions).unwrap();
        let values = values(&bytes);
        let hits =
            values.iter().filter(|value| value["rank"].as_u64().is_some_and(|rank| rank <= 10)).count();
        done.says(&format!("{} predictions, {hits} of them among the first 10", values.len()));
        assert!(values.len() > 100 && hits > 10, "{} and {hits}", values.len());
        (bytes, values)
    };
    let (all, values) = of("--prequential 1");
    for workers in 2..=4 {
        assert!(of(&format!("--prequential 1 -w {workers}")).0 == all, "{workers} workers");
    }
    // A share has some carts, and each with all of its predictions.
    let (_bytes, some) = of("--prequential 0.5 -w 2");
    let carts: BTreeSet<String> = some.iter().map(|value| text(value, "cart")).collect();
    let of_them: Vec<&Value> = values.iter().filter(|value| carts.contains(&text(value, "cart"))).collect();
    assert!(of_them.into_iter().eq(&some) && some.len() < values.len());
}

/// Flags that need each other say so.
#[test]
fn flags_without_effect_are_refused() {
    let refused =
        |flags: &str, why: &str| drop(run(&format!("run --input x.jsonl {flags}"), &[]).expect(2).says(why));
    refused("--prequential 0.1", "--recommend carts");
    refused("--recommend carts --output-carts - --output l --predictions p", "--prequential");
    for share in ["0", "1.5", "-1", "nan", "some"] {
        refused(&format!("--recommend carts --output-carts c --prequential={share}"), "a share is above 0");
    }
}

/// A job is killed at random. No prediction is in the topic twice, and predictions go on after each start.
#[test]
fn killed_at_random_and_kafka_has_no_prediction_twice() {
    let Some(broker) = Broker::new() else { return };
    let mut random = Random::new(77);
    let (events, folder) = (events(6, 12_000), Folder::new());
    let topic = broker.topic("carts");
    let [lists, carts] = ["lists", "answers"].map(|name| broker.table_with_history(name));
    let predictions = unused("predictions");
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{lists} --recommend items,carts --output-carts kafka:{carts} \
         --prequential 0.7 --predictions kafka:{predictions} -G {} --epoch 10ms --slots 27 --open-for 8s",
        broker.flags,
        unused("group"),
    );
    kill_at_random(&broker, &folder, &job, &topic, &events, &mut random, "--carts-every 100ms");
    wait_for_open_transactions(&broker.settings, &predictions, Share::WHOLE, Duration::from_secs(20))
        .unwrap();
    let (mut seen, mut count, mut epochs) = (BTreeSet::new(), 0, BTreeSet::new());
    broker.read(&predictions, &mut |record| {
        let value: Value = serde_json::from_slice(record.value.unwrap()).unwrap();
        assert_eq!(record.key, Some(text(&value, "cart").as_bytes()));
        let place = ["partition", "offset", "index", "predicted"].map(|name| value[name].to_string());
        assert!(seen.insert(place), "it is there twice: {value}");
        epochs.insert(value["epoch"].as_u64().unwrap());
        count += 1;
    });
    println!("{count} predictions in {} epochs", epochs.len());
    assert!(count > 300 && epochs.len() > 20, "{count} predictions in {} epochs", epochs.len());
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

fn values(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
