//! Decoding from the outside: bytes in, events or a reject out.
//!
//! What a record became is compared as text, a line an event: `basket (user): action`, then `view`, `other`,
//! `anonymous`, `duplicate` and `header` as often as they were counted, then what could not be used: `reject line 1
//! REASON` of a part of the record, and the names of flaws. A rejected record is `reject REASON`.

// Helpers outside of the test functions unwrap as those do.
#![allow(clippy::unwrap_used)]

/// Plain JSON, and repeated records.
mod plain;
/// The shops' streams: GA4, Segment, Snowplow.
mod streams;
/// CSV, its presets, and baskets by line.
mod rows;
/// Tables as they are exported: other headers, other dates, words for nothing, columns that slipped.
mod tables;
/// Any JSON by the paths of its fields, and the orders of shops.
mod orders;
/// Records of which a part cannot be used, and what nothing needs.
mod parts;
/// What shops were seen to send: sessions, repeated orders, weights, batches, keys, rows of a database.
mod shops;
/// Thirty ways of damage, on a record of each format.
mod damage;
/// CloudEvents around them.
mod envelopes;
/// JSON behind the ids of schema registries, and what is not JSON there.
mod schemas;
/// Everything a hostile producer can think of.
mod hostile;
/// Any bytes at all, and valid records damaged at random.
mod properties;
/// The examples of docs/formats.md and the files of sample/.
mod documents;
/// The settings, as typed.
mod options;
/// Real data, where it is at hand.
mod real;
/// What a test does that lacks something here.
#[path = "../../../tests/skipped.rs"]
mod skipped;

use deltacart_dataflows::{Action, Event};
use deltacart_inputs::{DecodeOptions, Decoder, Headers, PartReject, RawRecord, Reject};

/// The decoder for flags as they are typed: `--format ga4 --basket session`.
fn decoder(flags: &str) -> Box<dyn Decoder> {
    options_of(flags).decoder().unwrap_or_else(|error| panic!("{flags}: {error}"))
}

/// The options for flags as they are typed. Values have no blanks, but `_` in an event's name stands for one.
fn options_of(flags: &str) -> DecodeOptions {
    let words: Vec<&str> = flags.split_whitespace().collect();
    let value = |flag: &str| words.iter().position(|word| *word == flag).map(|place| words[place + 1]);
    let mut options = DecodeOptions::new(value("--format").expect("--format").parse().unwrap());
    if let Some(basket) = value("--basket") {
        options.basket = basket.parse().unwrap();
    }
    if let Some(columns) = value("--columns") {
        options.columns = columns.parse().unwrap();
    }
    if let Some(fields) = value("--fields") {
        options.fields = fields.parse().unwrap();
    }
    if let Some(words) = value("--null-words") {
        options.null_words = words.parse().unwrap();
    }
    if let Some(format) = value("--time-format") {
        options.time_format = Some(format.replace('_', " ").parse().unwrap());
    }
    if let Some(names) = value("--event-names") {
        options.event_names = names.parse().unwrap();
    }
    if let Some(repeated_orders) = value("--repeated-orders") {
        options.repeated_orders = repeated_orders.parse().unwrap();
    }
    if let Some(tombstones) = value("--tombstones") {
        options.tombstones = tombstones.parse().unwrap();
    }
    options.views = value("--evidence").is_some_and(|kinds| kinds.contains("view"));
    if let Some(decimals) = value("--quantity-decimals") {
        options.limits.quantity_decimals = decimals.parse().unwrap();
    }
    if let Some(delimiter) = value("--delimiter") {
        options.delimiter = delimiter.parse().unwrap();
    }
    options
}

/// A record of partition 0 without key, headers or time.
fn record(offset: u64, value: &[u8]) -> RawRecord<'_> {
    RawRecord {
        partition: 0,
        offset,
        key: None,
        value: Some(value),
        headers: &[],
        timestamp: None,
        truncated: false,
    }
}

/// What one record became.
fn shown(decoder: &mut dyn Decoder, record: &RawRecord<'_>) -> Vec<String> {
    let mut events = Vec::new();
    match decoder.decode(record, &mut events) {
        Err(reject) => {
            assert!(events.is_empty(), "rejected, and yet: {events:?}");
            check_reject(&reject);
            vec![format!("reject {}", reject.reason)]
        }
        Ok(decoded) => {
            assert_eq!(decoded.events as usize, events.len());
            for (index, event) in events.iter().enumerate() {
                let at = (record.offset, index as u32);
                assert_eq!((event.position.offset, event.position.index), at);
            }
            let mut lines: Vec<String> = events.iter().map(show).collect();
            lines.extend((0..decoded.views).map(|_| "view".into()));
            lines.extend((0..decoded.others).map(|_| "other".into()));
            lines.extend((0..decoded.anonymous).map(|_| "anonymous".into()));
            lines.extend((0..decoded.duplicates).map(|_| "duplicate".into()));
            lines.extend((0..decoded.repeated_orders).map(|_| "repeated order".into()));
            lines.extend(decoded.header.then(|| "header".into()));
            if let Some(defects) = &decoded.defects {
                lines.extend(defects.parts.iter().map(show_part));
                lines.extend(defects.more.iter().map(|(reason, count)| format!("{count} more {reason}")));
                lines.extend(defects.flaws.keys().map(|flaw| flaw.to_string()));
            }
            lines
        }
    }
}

/// A part of a record that was not used.
fn show_part(part: &PartReject) -> String {
    check_reject(&part.reject);
    let event = part.event.map(|event| format!(" event {event}")).unwrap_or_default();
    let line = part.line.map(|line| format!(" line {line}")).unwrap_or_default();
    format!("reject{event}{line} {}", part.reject.reason)
}

/// Words of parsers, which mean nothing to who sent the record.
const JARGON: [&str; 16] = [
    "at line ",
    "line 1 column",
    "invalid ",
    "Invalid ",
    "expected",
    "EOF",
    "serde",
    "trailing",
    "unexpected",
    "missing field",
    "unknown field",
    "a map",
    "sequence",
    "surrogate in",
    "offset ",
    "symbol ",
];

fn check_reject(reject: &Reject) {
    for word in JARGON {
        assert!(!reject.detail.contains(word), "{word:?} is a parser's word: {}", reject.detail);
    }
    assert!(reject.detail.chars().count() <= 200 && !reject.detail.is_empty(), "{reject:?}");
    assert!(!reject.detail.contains(char::is_control), "{reject:?}");
}

/// One event on one line.
fn show(event: &Event) -> String {
    let some = |quantity: &Option<u32>| quantity.map_or("all".into(), |quantity| quantity.to_string());
    let action = match &event.action {
        Action::View(item) => format!("view {item}"),
        Action::Add(item, quantity) => format!("add {item} {quantity}"),
        Action::Remove(item, quantity) => format!("remove {item} {}", some(quantity)),
        Action::Set(item, quantity) => format!("set {item} {quantity}"),
        Action::Purchase(item, quantity) => format!("purchase {item} {quantity}"),
        Action::Refund(item, quantity) => format!("refund {item} {}", some(quantity)),
        other => format!("{other:?}").to_lowercase(),
    };
    match &event.user {
        Some(user) => format!("{} ({user}): {action}", event.basket),
        None => format!("{}: {action}", event.basket),
    }
}

/// Checks what single records become, each with a decoder of its own.
#[track_caller]
fn check(flags: &str, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        let became = shown(&mut *decoder(flags), &record(1, value.as_bytes())).join("; ");
        assert_eq!(became, *expected, "{flags}: {value}");
    }
}

/// Checks what one record with headers becomes.
#[track_caller]
fn check_headers(flags: &str, headers: Headers<'_>, value: &str, expected: &str) {
    let record = RawRecord { headers, ..record(1, value.as_bytes()) };
    assert_eq!(shown(&mut *decoder(flags), &record).join("; "), expected, "{flags}: {headers:?} {value}");
}
