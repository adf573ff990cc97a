//! CloudEvents around the JSON formats, in both modes.

use crate::{check, check_headers, decoder, record, shown};
use deltacart_inputs::RawRecord;

const PLAIN: &str = r#"{"basket":"b","item":"i"}"#;

#[test]
fn binary_mode() {
    let headers: &[(&str, Option<&[u8]>)] = &[
        ("ce_specversion", Some(b"1.0")),
        ("ce_id", Some(b"e1")),
        ("ce_source", Some(b"/shop")),
        ("ce_time", Some(b"2026-01-31T12:00:00Z")),
        ("content-type", Some(b"application/json")),
    ];
    check_headers("--format json", headers, PLAIN, "b: add i 1");
    check_headers("--format json", headers, "", "reject empty");
    let product = r#"{"type":"track","event":"Product Added","properties":{"cart_id":"c","sku":"s"}}"#;
    check_headers("--format segment", headers, product, "c: add s 1");
    check_headers("--format json", &[("ce_id", Some(b""))], PLAIN, "b: add i 1");
    check_headers("--format json", &[("ce_id", Some(b"\xff"))], PLAIN, "b: add i 1; unreadable-event-id");
    check_headers("--format json", &[("ce_id", None)], PLAIN, "b: add i 1");
    check_headers("--format json", &[("ce_specversion", Some(b"2.0"))], PLAIN, "reject unknown-version");
    let late: &[(&str, Option<&[u8]>)] = &[("ce_id", Some(b"1")), ("ce_time", Some(b"soon"))];
    check_headers("--format json", late, PLAIN, "b: add i 1; unreadable-time");
}

#[test]
fn structured_mode() {
    let around =
        |data: &str| format!(r#"{{"specversion":"1.0","id":"e1","source":"/shop","type":"cart",{data}}}"#);
    let data = format!(r#""data":{PLAIN}"#);
    let text = format!(r#""data":{}"#, serde_json::to_string(PLAIN).unwrap());
    check(
        "--format json",
        &[
            (&around(&data), "b: add i 1"),
            (&around(&text), "b: add i 1"),
            (&around(r#""data_base64":"eyJiYXNrZXQiOiJiIiwiaXRlbSI6ImkifQ==""#), "b: add i 1"),
            (&around(r#""data_base64":"eyJiYXNrZXQiOiJiIiwiaXRlbSI6ImkifQ""#), "b: add i 1"),
            (&around(r#""data_base64":"!""#), "reject malformed"),
            (&around(r#""data_base64":"/w==""#), "reject invalid-utf8"),
            (&around(r#""data_base64":7"#), "reject wrong-type"),
            (&around(r#""data":7"#), "reject wrong-shape"),
            (&around(r#""time":"soon","data":{}"#), "reject missing-basket"),
            (&around(&format!(r#""time":"soon",{data}"#)), "b: add i 1; unreadable-time"),
            (&around(&data).replace("1.0", "9.0"), "reject unknown-version"),
            (&around(&data).replace(r#""e1""#, "{}"), "b: add i 1; unreadable-event-id"),
            // Without data it is a record like any other, and lacks a basket.
            (&around(r#""subject":"s""#), "reject missing-basket"),
            // The word alone makes no envelope.
            (r#"{"basket":"b","item":"i","note":{"specversion":"1.0","data":7}}"#, "b: add i 1"),
            (r#"{"basket":"b","item":"\"specversion\""}"#, "b: add \"specversion\" 1"),
        ],
    );
    let announced: &[(&str, Option<&[u8]>)] =
        &[("content-type", Some(b"application/cloudevents+json; charset=utf-8"))];
    check_headers("--format json", announced, &around(&data), "b: add i 1");
    check_headers("--format json", announced, &around(r#""subject":"s""#), "reject wrong-shape");
    check_headers("--format json", announced, PLAIN, "reject wrong-shape");
    check_headers("--format json", announced, "[]", "reject wrong-shape");
}

#[test]
fn an_id_counts_in_its_source() {
    let mut decoder = decoder("--format json");
    let mut add = |id: &'static str, source: &'static str, inner: u32| {
        let headers: &[(&str, Option<&[u8]>)] =
            &[("ce_id", Some(id.as_bytes())), ("ce_source", Some(source.as_bytes()))];
        let value = format!(r#"{{"basket":"b","item":"i","id":{inner}}}"#);
        shown(&mut *decoder, &RawRecord { headers, ..record(1, value.as_bytes()) }).join("; ")
    };
    assert_eq!(add("1", "/a", 1), "b: add i 1");
    assert_eq!(add("1", "/b", 1), "b: add i 1", "another source, and the id inside is not looked at");
    assert_eq!(add("1", "/a", 2), "duplicate");
}

#[test]
fn an_envelope_stands_for_all_its_events() {
    let request = r#"{"client_id":"d","events":[
        {"name":"add_to_cart","params":{"session_id":5,"items":[{"item_id":"i"}]}},
        {"name":"add_to_cart","params":{"session_id":5,"items":[{"item_id":"j"}]}}]}"#;
    let headers: &[(&str, Option<&[u8]>)] = &[("ce_id", Some(b"1"))];
    let record = RawRecord { headers, ..record(1, request.as_bytes()) };
    let mut decoder = decoder("--format ga4");
    assert_eq!(shown(&mut *decoder, &record), ["d/5 (d): add i 1", "d/5 (d): add j 1"]);
    assert_eq!(shown(&mut *decoder, &record), ["duplicate"]);
}
