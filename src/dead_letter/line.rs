//! One dead letter as a line of JSON.

use super::{Found, Origin, Rejected};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deltacart_inputs::RawRecord;
use serde::Serialize;

/// The fields in their order. Bytes that are not UTF-8 are encoded as base64 in a field of their own, and the text is
/// null.
#[derive(Serialize)]
struct Line<'a> {
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    partition: u32,
    offset: u64,
    /// The index of the event. This field and the next two are present for a part of a record only; `value` is then
    /// the part.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u32>,
    timestamp: Option<i64>,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<Header<'a>>,
    truncated: bool,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Appends the letter as JSON, without a line break.
pub(super) fn push_line(
    out: &mut Vec<u8>,
    origin: Origin<'_>,
    record: &RawRecord<'_>,
    rejected: &Rejected<'_>,
) {
    let (topic, file) = match origin.found {
        Found::Topic(name) => (Some(name), None),
        Found::File(path) => (None, Some(path)),
    };
    let (key, key_base64) = text_or_base64(record.key);
    let (value, value_base64) = text_or_base64(record.value);
    let headers = record.headers.iter().map(|&(name, value)| {
        let (value, value_base64) = text_or_base64(value);
        Header { name, value, value_base64 }
    });
    let line = Line {
        reason: rejected.reject.reason.name(),
        detail: &rejected.reject.detail,
        topic,
        file,
        partition: record.partition,
        offset: record.offset,
        event: rejected.event,
        line: rejected.line,
        more: rejected.is_part.then_some(rejected.more),
        timestamp: record.timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers: headers.collect(),
        truncated: record.truncated,
    };
    serde_json::to_writer(out, &line)
        .expect("the fields are texts and numbers, and a vector takes every byte");
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<&str>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| STANDARD.encode(bytes))) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(base64)) => (None, Some(base64)),
    }
}
