//! Lines on standard error: none that does not matter, one line for each message, in both formats.

use super::free_address;
use crate::support::{Folder, run, run_with_input};
use serde_json::Value;
use std::net::TcpListener;

/// The lines as objects, each with its time, level and message.
#[track_caller]
fn objects(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
        line
    });
    lines.collect()
}

#[test]
fn a_summary_and_a_last_message_are_objects() {
    let view: &[u8] = br#"{"event":"view","basket":"a","item":"b"}"#;
    let done = run_with_input("run --input - --log-format json", &[], view).expect(0);
    let [beginning, summary] = &objects(&done.stderr)[..] else { panic!("{}", done.stderr) };
    assert!(
        beginning["message"].as_str().unwrap().starts_with("reading standard input as json"),
        "{beginning}"
    );
    assert_eq!(summary["level"], "INFO");
    assert!(summary["message"].as_str().unwrap().starts_with("0 events of 1 record, 1 view"), "{summary}");
    assert_eq!([&summary["records"], &summary["views"], &summary["events"]], [1, 1, 0]);
    assert!(summary["rejects"].as_object().is_some_and(serde_json::Map::is_empty), "{summary}");

    let done = run("--log-format json run --input no-such-file", &[]).expect(1);
    let [last] = &objects(&done.stderr)[..] else { panic!("{}", done.stderr) };
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("no-such-file"), "{last}");

    let done = run("run --input - --alpha 7 --log-format json", &[]).expect(2);
    assert!(objects(&done.stderr)[0]["message"].as_str().unwrap().contains("--alpha"), "{}", done.stderr);
}

#[test]
fn every_line_has_the_label_of_the_run() {
    let view: &[u8] = br#"{"event":"view","basket":"a","item":"b"}"#;
    let done = run_with_input("run --input - --run-label blue/2026-11", &[], view).expect(0);
    assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr);
    assert!(done.stderr.lines().all(|line| line.starts_with("[blue/2026-11] ")), "{}", done.stderr);

    let flags = "run --input - --log-format json --run-label blue/2026-11";
    let done = run_with_input(flags, &[], view).expect(0);
    assert_eq!(objects(&done.stderr).len(), 2);
    assert!(objects(&done.stderr).iter().all(|line| line["run_label"] == "blue/2026-11"), "{}", done.stderr);
    let failed = run("run --input no-such-file --log-format json --run-label blue/2026-11-no", &[]).expect(1);
    assert_eq!(objects(&failed.stderr)[0]["run_label"], "blue/2026-11-no");

    for label in ["", "two words", "\"", "{", &"a".repeat(65)] {
        run("run --input - --run-label", &[label]).expect(2).says("want 1 to 64 letters");
    }
}

#[test]
fn a_line_is_a_message_whatever_is_in_it() {
    let hostile = "no\u{1b}[2Jsuch\nfile\u{85}\u{202e}";
    let done = run("run --input", &[hostile]).expect(1);
    let said = done.stderr.strip_suffix('\n').unwrap();
    assert!(said.starts_with("deltacart: ") && !said.contains(char::is_control), "{said:?}");
    assert!(said.contains("no\\u{1b}[2Jsuch\\nfile\\u{85}\\u{202e}"), "{said:?}");

    let done = run("run --log-format json --input", &[hostile]).expect(1);
    let said = done.stderr.strip_suffix('\n').unwrap();
    assert!(!said.contains(char::is_control) && !said.contains('\u{202e}'), "{said:?}");
    assert!(objects(said)[0]["message"].as_str().unwrap().contains(hostile), "{said}");
}

#[test]
fn the_level_decides_what_is_said() {
    // No broker listens at this address.
    let flags = format!("run -b {} --input kafka:carts --startup-timeout 1s", free_address());
    let quiet = run(&flags, &[]).expect(1);
    let [warning, last] = &quiet.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", quiet.stderr) };
    assert!(warning.contains("WARN") && last.starts_with("deltacart: "), "{}", quiet.stderr);
    let debug = run(&format!("{flags} --log debug"), &[]).expect(1);
    assert!(debug.stderr.contains("DEBUG"), "{}", debug.stderr);
    assert!(debug.summary().starts_with("deltacart: "), "{}", debug.stderr);
    let json = run(&format!("{flags} --log warn,librdkafka=debug --log-format json"), &[]).expect(1);
    let lines = objects(&json.stderr);
    assert!(
        lines.iter().any(|line| line["level"] == "DEBUG" && line["target"] == "librdkafka"),
        "{}",
        json.stderr
    );
    assert_eq!(lines.last().unwrap()["level"], "ERROR");
    let off = run(&format!("{flags} --log off"), &[]).expect(1);
    assert_eq!(off.stderr, format!("{last}\n"), "the last message is not filtered");
}

#[test]
fn wrong_flags_are_named() {
    run("run --input - --log wran", &[]).expect(2).says("--log");
    run("run --input - --log-format xml", &[]).expect(2).says("--log-format");
    for address in ["here", ":9464", "localhost:", "localhost:99999", "99999", ""] {
        run("run --input - --metrics", &[address]).expect(2).says("--metrics");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&format!("run --input - --metrics {address}"), &[]).expect(1).says(&address).says("--metrics");
    // A bare port is one of loopback.
    let folder = Folder::new();
    let port = taken.local_addr().unwrap().port();
    let output = folder.path("lists.jsonl");
    run(&format!("run --input - --output {output} --metrics {port}"), &[]).expect(1).says(&address);
}
