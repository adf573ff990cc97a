//! Records that nobody should send: each ends in the dead letters with its reason, and those between them count.

use crate::support::{Finished, Folder, lists_of_file, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Two baskets of tea and lemon, which stand before, between and behind the hostile records, in `--format json`.
const GOOD: [&str; 3] = [
    r#"{"basket":"good-1","item":"tea"}"#,
    r#"{"basket":"good-2","items":[{"item":"tea"},{"item":"lemon"}]}"#,
    r#"{"basket":"good-1","item":"lemon"}"#,
];

const GOOD_LISTS: &str = r#"{"item":"lemon","recommendations":[{"item":"tea","score":1,"count":2}]}
{"item":"tea","recommendations":[{"item":"lemon","score":1,"count":2}]}
"#;

/// A record and the reason that it must be rejected with.
type Hostile = (Vec<u8>, &'static str);

fn hostile(record: impl Into<Vec<u8>>, reason: &'static str) -> Hostile {
    (record.into(), reason)
}

/// A nest of so many brackets.
fn nest(depth: usize, open: &str, close: &str) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

fn broken_json() -> Vec<Hostile> {
    let long = "x".repeat(10 << 20);
    vec![
        hostile(r#"{"basket":"b","item":"i""#, "malformed"),
        hostile(r#"{"basket":"b","item":"#, "malformed"),
        hostile(r#"{"basket":"b","item":"i"}}"#, "malformed"),
        hostile(r#"{"basket":"b","item":"i"}{"basket":"b","item":"i"}"#, "malformed"),
        hostile("{", "malformed"),
        hostile("}", "malformed"),
        hostile("not json at all", "malformed"),
        hostile("\0\0\0\0", "malformed"),
        hostile(r#"{'basket':'b','item':'i'}"#, "malformed"),
        hostile(r#"{"basket":"\ud800","item":"i"}"#, "malformed"),
        hostile(format!(r#"{{"basket":"b","item":"{long}"}}"#), "too-large"),
        hostile(long, "too-large"),
        hostile(nest(10_000, "[", "]"), "too-deep"),
        hostile(format!(r#"{{"basket":"b","item":{}}}"#, nest(10_000, "[", "]")), "too-deep"),
        hostile(
            format!(
                r#"{{"basket":"b","item":"i","other":{}1{}}}"#,
                r#"{"a":"#.repeat(10_000),
                "}".repeat(10_000)
            ),
            "too-deep",
        ),
        hostile("[".repeat(10_000), "too-deep"),
        hostile(&b"{\"basket\":\"b\",\"item\":\"\xff\xfe\"}"[..], "invalid-utf8"),
        hostile(&b"\xc3\x28"[..], "invalid-utf8"),
        hostile("null", "wrong-shape"),
        hostile("[]", "wrong-shape"),
        hostile("17", "wrong-shape"),
        hostile(r#""text""#, "wrong-shape"),
    ]
}

fn odd_fields() -> Vec<Hostile> {
    let with = |fields: &str, reason| hostile(format!(r#"{{"basket":"b","item":"i",{fields}}}"#), reason);
    let long_id = "x".repeat(257);
    let many = vec![r#"{"item":"i"}"#; 10_001].join(",");
    vec![
        with(r#""quantity":NaN"#, "malformed"),
        with(r#""quantity":Infinity"#, "malformed"),
        with(r#""quantity":01"#, "malformed"),
        with(r#""quantity":1e999"#, "bad-quantity"),
        with(r#""quantity":-0"#, "bad-quantity"),
        with(r#""quantity":-0.0"#, "bad-quantity"),
        with(r#""quantity":1e-400"#, "bad-quantity"),
        with(r#""quantity":1000001"#, "quantity-out-of-range"),
        with(r#""quantity":-1000001"#, "quantity-out-of-range"),
        with(r#""quantity":9223372036854775808"#, "quantity-out-of-range"),
        with(r#""quantity":-99999999999999999999999999999999"#, "quantity-out-of-range"),
        with(r#""quantity":"one""#, "bad-quantity"),
        with(r#""quantity":true"#, "wrong-type"),
        with(r#""quantity":[1]"#, "wrong-type"),
        with(r#""event":"remove","quantity":-1"#, "bad-quantity"),
        with(r#""event":"set""#, "bad-quantity"),
        with(r#""event":"steal""#, "unknown-event"),
        with(r#""event":{"a":1}"#, "wrong-type"),
        with(r#""event":"""#, "unknown-event"),
        with(r#""version":2"#, "unknown-version"),
        with(r#""items":[]"#, "wrong-shape"),
        with(r#""item":"j""#, "wrong-shape"),
        hostile(r#"{"basket":"","item":"i"}"#, "missing-basket"),
        hostile(r#"{"basket":"b","item":""}"#, "missing-item"),
        hostile(r#"{"basket":1.5,"item":"i"}"#, "bad-id"),
        hostile(r#"{"basket":"b","item":{"id":"i"}}"#, "wrong-type"),
        hostile(r#"{"basket":["b"],"item":"i"}"#, "wrong-type"),
        hostile(format!(r#"{{"basket":"b","item":"{long_id}"}}"#), "id-too-long"),
        hostile(format!(r#"{{"basket":"b","items":[{many}]}}"#), "too-many-items"),
        hostile(r#"{"basket":"b","items":[{"item":""},{"quantity":1}]}"#, "missing-item"),
        hostile(r#"{"basket":"b","items":[{"item":"i","quantity":0},{"item":""}]}"#, "bad-quantity"),
        hostile(r#"{"basket":"b","items":"i"}"#, "wrong-shape"),
        hostile(r#"{"basket":"b","items":[null]}"#, "wrong-shape"),
        hostile(r#"{"item":"i"}"#, "missing-basket"),
        hostile(r#"{"basket":null,"item":"i"}"#, "missing-basket"),
        hostile(r#"{"basket":"b"}"#, "missing-item"),
        hostile("{}", "missing-basket"),
    ]
}

/// Puts the good records among the hostile ones and runs the job over them.
fn run_among(folder: &Folder, flags: &str, good: [&str; 3], records: &[Hostile]) -> Finished {
    let mut text = Vec::new();
    let half = records.len() / 2;
    let mut push = |record: &[u8]| text.extend_from_slice(&[record, b"\n"].concat());
    push(good[0].as_bytes());
    records[..half].iter().for_each(|(record, _)| push(record));
    push(good[1].as_bytes());
    records[half..].iter().for_each(|(record, _)| push(record));
    push(good[2].as_bytes());
    let input = folder.file("hostile", text);
    let (output, letters) = (folder.path("lists"), folder.path("letters"));
    let places = format!("--input {input} --output {output} --dead-letter {letters}");
    run(&format!("run {flags} {places} --epoch-events 3 --verify-every 1"), &[]).expect(0)
}

/// Every hostile record is a dead letter, in order, with its reason and its place.
fn check_letters(folder: &Folder, what: &str, records: &[Hostile], done: &Finished) {
    let letters = fs::read_to_string(folder.path("letters")).unwrap();
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut wrong, mut reasons) = (Vec::new(), BTreeMap::new());
    for ((record, reason), letter) in records.iter().zip(&letters) {
        let begins = String::from_utf8_lossy(&record[..record.len().min(80)]).into_owned();
        if letter["reason"] != *reason || letter["detail"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{begins} should be {reason}: {} {}", letter["reason"], letter["detail"]));
        }
        let kept = letter["value"].as_str().map(str::as_bytes).unwrap_or_default();
        if letter["value_base64"].is_null() && !record.starts_with(kept) {
            wrong.push(format!("{begins} is kept as {}", letter["value"]));
        }
        *reasons.entry(*reason).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    assert_eq!(letters.len(), records.len(), "{what}: {}", done.stderr);
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let counted = format!("{} rejects ({})", records.len(), reasons.join(", "));
    assert!(done.stderr.contains(&counted), "{what}: the summary should say {counted}: {}", done.stderr);
}

fn check(what: &str, flags: &str, good: [&str; 3], records: &[Hostile]) {
    let folder = Folder::new();
    let done = run_among(&folder, flags, good, records);
    check_letters(&folder, what, records, &done);
    assert_eq!(lists_of_file(&folder.path("lists")), GOOD_LISTS, "{what}");
}

#[test]
fn json_that_is_broken() {
    check("broken json", "--format json", GOOD, &broken_json());
}

#[test]
fn json_with_odd_fields() {
    check("odd fields", "--format json", GOOD, &odd_fields());
    check("odd fields", "--format json --engine reference -w 2", GOOD, &odd_fields());
}

#[test]
fn odd_times_and_lines_lose_nothing() {
    let folder = Folder::new();
    let good = [
        r#"{"basket":"good-1","item":"tea","time":[2026,1,31,12,0,0]}"#,
        r#"{"basket":"good-2","items":[{"item":"tea"},{"item":null},{"item":"lemon"}],"time":-1}"#,
        r#"{"basket":"good-1","item":"lemon","user":{},"time":"yesterday"}"#,
    ];
    let done = run_among(&folder, "--format json --basket-idle 1h", good, &[]);
    assert_eq!(lists_of_file(&folder.path("lists")), GOOD_LISTS);
    done.says("4 events of 3 records, 0 rejects, 1 rejected line (missing-item 1)")
        .says("3 unreadable fields (unreadable-time 2, unreadable-user 1)")
        .says(r#"unreadable-time: time: "-1" is no time"#);
    let letter: Value = serde_json::from_str(&fs::read_to_string(folder.path("letters")).unwrap()).unwrap();
    assert_eq!((&letter["offset"], &letter["line"]), (&Value::from(1), &Value::from(1)), "{letter}");
    assert_eq!(
        (&letter["value"], &letter["reason"]),
        (&Value::from(r#"{"item":null}"#), &Value::from("missing-item"))
    );
}

/// One record cannot fill the dead letters: what it has beyond the bound is counted.
#[test]
fn letters_of_one_record_are_bounded() {
    let folder = Folder::new();
    let bad = [r#"{"item":null}"#; 5].join(",");
    let input =
        folder.file("in", format!(r#"{{"basket":"b","items":[{bad},{{"item":"tea"}},{{"item":"mug"}}]}}"#));
    let letters = folder.path("letters");
    for (bound, kept, said) in
        [("2", 2, ", 3 dead letters left out,"), ("4", 4, ", 1 dead letter left out,"), ("5", 5, "")]
    {
        let flags = format!("--dead-letter {letters} --overwrite --max-letters-per-record {bound}");
        let done = run(&format!("run --input {input} {flags}"), &[]).expect(0).says(said);
        assert!(done.summary().contains("5 rejected lines (missing-item 5)"), "{}", done.summary());
        assert_eq!(done.summary().contains("left out"), !said.is_empty(), "{}", done.summary());
        let found = fs::read_to_string(&letters).unwrap();
        let last: Value = serde_json::from_str(found.lines().last().unwrap()).unwrap();
        assert_eq!((found.lines().count(), &last["more"]), (kept, &Value::from(5 - kept)), "{found}");
    }
    run(&format!("run --input {input} --max-letters-per-record 2"), &[]).expect(2).says("--dead-letter");
    let none = format!("run --input {input} --dead-letter {letters} --overwrite --max-letters-per-record 0");
    run(&none, &[]).expect(2).says("--max-letters-per-record");
}

/// Before the first time that is known, events counted as of 1970: that time made their baskets idle at once.
#[test]
fn baskets_before_the_first_time_are_not_idle() {
    let good =
        |basket: &str, item: &str, more: &str| format!(r#"{{"basket":"{basket}","item":"{item}"{more}}}"#);
    let at = |clock: &str| format!(r#","time":"2026-01-31T{clock}:00Z""#);
    let lists = |last: &str| {
        let folder = Folder::new();
        let input = [
            good("good-1", "tea", r#","time":"yesterday""#),
            good("good-1", "lemon", ""),
            good("other", "mug", &at("12:00")),
            good("good-2", "tea", &at("12:30")),
            good("good-2", "lemon", &at(last)),
        ];
        let input = folder.file("input", input.join("\n"));
        let output = folder.path("lists");
        for epochs in ["--epoch-events 1 --verify-every 1", "--verify"] {
            let job = format!("run --input {input} --output {output} --overwrite --basket-idle 1h {epochs}");
            run(&job, &[]).expect(0);
        }
        lists_of_file(&output)
    };
    assert_eq!(lists("12:59"), GOOD_LISTS);
    assert_eq!(
        lists("13:00"),
        GOOD_LISTS.replace(r#""count":2"#, r#""count":1"#),
        "an hour after the first time"
    );
}

#[test]
fn all_at_once_on_several_workers() {
    let records = [broken_json(), odd_fields()].concat();
    check("everything", "--format json -w 3", GOOD, &records);
}

#[test]
fn csv_rows() {
    let good = ["good-1,tea,\ngood-2,tea,", "good-2,lemon,1", "good-1,lemon,1"];
    let long = "x".repeat(2 << 20);
    let records = [
        hostile("alone", "wrong-columns"),
        hostile("b,tea,white,1", "wrong-columns"),
        hostile(",tea,1", "missing-basket"),
        hostile("b,,1", "missing-item"),
        hostile("b,tea,inf", "bad-quantity"),
        hostile("b,tea,-0", "bad-quantity"),
        hostile("b,tea,0", "bad-quantity"),
        hostile("b,tea,99999999999999999999", "quantity-out-of-range"),
        hostile(&b"b,\xff\xfe,1"[..], "invalid-utf8"),
        hostile(format!("b,{long},1"), "too-large"),
        hostile(format!("b,{},1", "x".repeat(300)), "id-too-long"),
    ];
    // The header is the first line of the file.
    let first = format!("basket,item,quantity\n{}", good[0]);
    let flags = "--format csv --columns basket=basket,item=item,quantity=quantity";
    check("csv", flags, [&first, good[1], good[2]], &records);
}

#[test]
fn a_quotation_mark_that_is_never_closed() {
    let folder = Folder::new();
    let rows = "basket,item\na,tea\nb,\"".to_owned() + &"lemon\n".repeat(1 << 20);
    let input = folder.file("open.csv", rows);
    let letters = folder.path("letters");
    let flags = "run --format csv --columns basket=basket,item=item";
    run(&format!("{flags} --input {input} --dead-letter {letters}"), &[]).expect(0).says("1 event of ");
    let letters = fs::read_to_string(letters).unwrap();
    assert!(letters.lines().count() > 0);
}

#[test]
fn ga4_events() {
    let event = |name: &str, session: &str, item: &str| {
        format!(r#"{{"name":"{name}","client_id":"c","params":{{"session_id":{session},"items":[{item}]}}}}"#)
    };
    let good = [("1", "tea"), ("2", "tea"), ("2", "lemon"), ("1", "lemon")]
        .map(|(session, item)| event("add_to_cart", session, &format!(r#"{{"item_id":"{item}"}}"#)));
    let two = format!("{}\n{}", good[1], good[2]);
    let records = [
        hostile(r#"{"name":"add_to_cart""#, "malformed"),
        hostile(event("add_to_cart", "1", r#"{"item_name":"tea"}"#), "missing-item"),
        hostile(event("add_to_cart", "1", r#"{"item_id":"tea","quantity":"NaN"}"#), "bad-quantity"),
        hostile(event("add_to_cart", "1", r#"{"item_id":"tea","quantity":-0}"#), "bad-quantity"),
        hostile(event("add_to_cart", "null", r#"{"item_id":"tea"}"#), "missing-basket"),
        hostile(event("add_to_cart", "1", &nest(10_000, "[", "]")), "too-deep"),
        hostile("[]", "wrong-shape"),
        hostile(&b"\xff"[..], "invalid-utf8"),
    ];
    check("ga4", "--format ga4", [&good[0], &two, &good[3]], &records);
}

#[test]
fn segment_calls() {
    let added = |cart: &str, product: &str| {
        format!(
            r#"{{"type":"track","event":"Product Added","userId":"u","properties":{{"cart_id":{cart},{product}}}}}"#
        )
    };
    let good = [("1", "tea"), ("2", "tea"), ("2", "lemon"), ("1", "lemon")]
        .map(|(cart, item)| added(&format!("\"{cart}\""), &format!(r#""product_id":"{item}""#)));
    let two = format!("{}\n{}", good[1], good[2]);
    let records = [
        hostile(r#"{"type":"track","event":"Product Added","#, "malformed"),
        hostile(added("\"c\"", r#""name":"tea""#), "missing-item"),
        hostile(added("null", r#""product_id":"tea""#), "missing-basket"),
        hostile(added("\"\"", r#""product_id":"tea""#), "missing-basket"),
        hostile(added("\"c\"", r#""product_id":"tea","quantity":1e300"#), "bad-quantity"),
        hostile(added("\"c\"", r#""product_id":{"a":1}"#), "wrong-type"),
        hostile(nest(10_000, "[", "]"), "too-deep"),
    ];
    check("segment", "--format segment", [&good[0], &two, &good[3]], &records);
}

#[test]
fn snowplow_events() {
    let action = |session: &str, product: &str| {
        let event = r#""event":"unstruct","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"add_to_cart"}"#;
        let products = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1";
        format!(r#"{{{event},"user_id":"u","domain_sessionid":{session},"{products}":[{product}]}}"#)
    };
    let good = [("1", "tea"), ("2", "tea"), ("2", "lemon"), ("1", "lemon")]
        .map(|(session, item)| action(&format!("\"{session}\""), &format!(r#"{{"id":"{item}"}}"#)));
    let two = format!("{}\n{}", good[1], good[2]);
    let records = [
        hostile(r#"{"event":"unstruct","#, "malformed"),
        hostile(action("\"s\"", r#"{"name":"tea"}"#), "missing-item"),
        hostile(action("null", r#"{"id":"tea"}"#), "missing-basket"),
        hostile(action("\"s\"", r#"{"id":"tea","quantity":0}"#), "bad-quantity"),
        hostile(action("\"s\"", r#"{"id":"tea","quantity":-0.0}"#), "bad-quantity"),
        hostile(action("\"s\"", &nest(10_000, "[", "]")), "too-deep"),
        hostile("17", "wrong-shape"),
    ];
    check("snowplow", "--format snowplow", [&good[0], &two, &good[3]], &records);
}
