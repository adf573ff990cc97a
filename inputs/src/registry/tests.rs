//! Schemas that come late, are not there, or come from something that is no registry; and what values become by them.
//!
//! A real registry answers in `tests/registry.rs` of the job. Here a few lines of HTTP do what a real one cannot be
//! made to do: refuse, be away, be something else.

use super::*;
use crate::decode::SchemaId;
use crate::{DecodeOptions, Decoder, Format, RawRecord};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

const SCHEMA: &str = r#"{"type":"record","name":"E","fields":[{"name":"basket","type":"string"},{"name":"item","type":"string"}]}"#;

/// Answers every request by `answer`, from its path and how many came before: a status and a body. Keeps their heads.
fn server(
    answer: impl Fn(&str, usize) -> (u16, String) + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head[0].split(' ').nth(1).unwrap().to_owned();
            let before = kept.lock().unwrap().len();
            kept.lock().unwrap().push(head.join("\n"));
            let (status, body) = answer(&path, before);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    (address, heads)
}

fn registered(schema: &str) -> String {
    serde_json::json!({ "schema": schema }).to_string()
}

/// Prepares a record until it is ready, as a reader would; counts how often it was not.
fn prepared(decoder: &mut dyn Decoder, value: &[u8]) -> Result<usize, RegistryError> {
    let start = Instant::now();
    for times in 0.. {
        match decoder.prepare(&record(value))? {
            Readiness::Ready => return Ok(times),
            Readiness::Waiting => thread::park_timeout(Duration::from_millis(100)),
        }
        assert!(start.elapsed() < PATIENCE, "the schema does not come");
    }
    unreachable!("numbers do not end")
}

fn record(value: &[u8]) -> RawRecord<'_> {
    RawRecord {
        partition: 0,
        offset: 0,
        key: None,
        value: Some(value),
        headers: &[],
        timestamp: None,
        truncated: false,
    }
}

fn decoder(place: &str) -> Box<dyn Decoder> {
    let registry = Some(Registry::new(place, None).unwrap());
    DecodeOptions { registry, ..DecodeOptions::new(Format::Json) }.decoder().unwrap()
}

/// What one value becomes, whose schema is 7: items, or a reason and a sentence.
fn decoded(decoder: &mut dyn Decoder, value: &[u8]) -> Result<Vec<String>, String> {
    let mut events = Vec::new();
    let result = decoder.decode(&record(value), &mut events);
    result.map_err(|reject| format!("{}: {}", reject.reason, reject.detail))?;
    Ok(events.iter().map(|event| format!("{} {}", event.basket, event.action.item().unwrap())).collect())
}

/// The basket b, the item tea.
const VALUE: &[u8] = b"\0\0\0\0\x07\x02b\x06tea";

#[test]
fn a_schema_is_asked_for_once_and_kept() {
    let (address, heads) = server(|_, _| (200, registered(SCHEMA)));
    let mut one = decoder(&format!("http://{address}/api/"));
    assert!(prepared(&mut *one, VALUE).unwrap() > 0, "nobody may wait for a registry");
    assert_eq!(prepared(&mut *one, VALUE), Ok(0));
    assert_eq!(decoded(&mut *one, VALUE), Ok(vec!["b tea".to_owned()]));
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("GET /api/schemas/ids/7 HTTP/1.1"), "{heads:?}");
}

#[test]
fn values_without_a_schema_need_no_registry() {
    // Nobody listens there.
    let mut decoder = decoder("http://127.0.0.1:9");
    let value = br#"{"basket":"b","item":"tea"}"#;
    assert_eq!(prepared(&mut *decoder, value), Ok(0));
    assert_eq!(decoded(&mut *decoder, value), Ok(vec!["b tea".to_owned()]));
    assert_eq!(decoder.prepare(&RawRecord { value: None, ..record(b"") }), Ok(Readiness::Ready));
}

#[test]
fn a_registry_that_is_away_is_asked_again() {
    let (address, heads) = server(|_, before| match before {
        0 => (503, "busy".to_owned()),
        1 => (429, String::new()),
        _ => (200, registered(SCHEMA)),
    });
    let registry = Registry::new(&format!("http://{address}"), None).unwrap();
    let options = DecodeOptions { registry: Some(registry.clone()), ..DecodeOptions::new(Format::Json) };
    let mut decoder = options.decoder().unwrap();
    prepared(&mut *decoder, VALUE).unwrap();
    assert_eq!(decoded(&mut *decoder, VALUE), Ok(vec!["b tea".to_owned()]));
    assert_eq!(heads.lock().unwrap().len(), 3);
    let expected = RegistryStatus { is_away: false, schemas: 1, requests: 1, failures: 2 };
    assert_eq!(registry.status(), expected);
}

#[test]
fn an_id_that_is_not_there_is_a_reject() {
    let missing = |code: i64| (404, format!(r#"{{"error_code":{code},"message":"no"}}"#));
    // With Confluent's own code, and from something that has another but is a registry.
    for code in [40403, 404] {
        let (address, _heads) = server(move |path, _| match path {
            "/subjects" => (200, "[]".to_owned()),
            _ => missing(code),
        });
        let mut decoder = decoder(&format!("http://{address}"));
        prepared(&mut *decoder, VALUE).unwrap();
        let detail =
            "schema 7, which the prefix of Confluent's serialiser names, is not in the registry at http://";
        assert_eq!(decoded(&mut *decoder, VALUE), Err(format!("unknown-schema: {detail}{address}")));
        // No registry gives such an id, so none is asked.
        let value = b"\0\xff\xff\xff\xff\x02b\x06tea";
        prepared(&mut *decoder, value).unwrap();
        assert!(decoded(&mut *decoder, value).unwrap_err().starts_with("unknown-schema: schema 4294967295"));
    }
}

#[test]
fn schemas_that_cannot_be_used_are_rejects() {
    for (status, body, why) in [
        (200, registered("{"), "the schema is no JSON (at line 1, column 1): register one that is"),
        (200, "{}".to_owned(), "the registry's answer has no schema in it"),
        (
            200,
            r#"{"schema":"a","schemaType":"XSD"}"#.to_owned(),
            r#"schemas of the type "XSD" are unknown here"#,
        ),
        (422, String::new(), "the registry answers 422"),
    ] {
        let (address, _heads) = server(move |_, _| (status, body.clone()));
        let mut decoder = decoder(&format!("http://{address}"));
        prepared(&mut *decoder, VALUE).unwrap();
        let reject = decoded(&mut *decoder, VALUE).unwrap_err();
        assert!(reject.starts_with("bad-schema: schema 7 at http://") && reject.contains(why), "{reject}");
    }
}

#[test]
fn what_nobody_can_wait_for_ends_the_job() {
    for (status, why) in [
        (401, "refuses the login (401): check the user and the password"),
        (403, "refuses the login (403)"),
        (307, "says that it is elsewhere (307)"),
        (404, "is no schema registry (404 for /subjects): is a path missing, such as /apis/ccompat/v7?"),
    ] {
        let (address, heads) = server(move |_, _| (status, "<html>".to_owned()));
        let mut decoder = decoder(&format!("http://alice:secret@{address}"));
        let error = prepared(&mut *decoder, VALUE).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(&format!("http://{address}")), "{error}");
        assert!(!error.contains("secret") && !error.contains("alice"), "{error}");
        // Afterwards it is said at once.
        assert_eq!(decoder.prepare(&record(VALUE)).unwrap_err().to_string(), error);
        let head = heads.lock().unwrap()[0].to_ascii_lowercase();
        assert!(head.contains("authorization: basic ywxpy2u6c2vjcmv0"), "{head}");
    }
}

#[test]
fn a_login_is_hidden() {
    let registry = Registry::new("http://alice:secret@127.0.0.1:9", None).unwrap();
    let options = DecodeOptions { registry: Some(registry), ..DecodeOptions::new(Format::Json) };
    let shown = format!("{options:?} {:?}", options.meaning());
    assert!(shown.contains("127.0.0.1:9") && !shown.contains("secret"), "{shown}");
}

#[test]
fn schemas_may_lie_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let uuid = "30313233-3435-3637-3839-616263646566";
    let glue =
        serde_json::json!({ "SchemaVersionId": uuid, "DataFormat": "AVRO", "SchemaDefinition": SCHEMA });
    std::fs::write(folder.path().join(format!("{uuid}.json")), glue.to_string()).unwrap();
    std::fs::write(folder.path().join("7.json"), registered(SCHEMA)).unwrap();
    std::fs::write(folder.path().join("8.json"), "no JSON").unwrap();
    let mut decoder = decoder(folder.path().to_str().unwrap());
    let glue = b"\x03\x000123456789abcdef\x02b\x06pot";
    for (value, item) in [(VALUE, "b tea"), (&glue[..], "b pot")] {
        prepared(&mut *decoder, value).unwrap();
        assert_eq!(decoded(&mut *decoder, value), Ok(vec![item.to_owned()]));
    }
    for (value, reason) in
        [(b"\0\0\0\0\x08\x02b\x06tea", "bad-schema"), (b"\0\0\0\0\x09\x02b\x06tea", "unknown-schema")]
    {
        prepared(&mut *decoder, value).unwrap();
        assert!(decoded(&mut *decoder, value).unwrap_err().starts_with(reason));
    }
}

#[test]
fn ids_that_a_registry_cannot_know_say_which_can() {
    let (address, heads) = server(|_, _| (200, registered(SCHEMA)));
    let mut decoder = decoder(&format!("http://{address}"));
    for (value, why) in [
        (&b"\0\0\0\0\0\0\0\0\x07\x02b\x06tea"[..], "/apis/registry/v2"),
        (b"\x03\x000123456789abcdef\x02b\x06tea", "save the schema in a folder"),
    ] {
        prepared(&mut *decoder, value).unwrap();
        let reject = decoded(&mut *decoder, value).unwrap_err();
        assert!(reject.starts_with("bad-schema: ") && reject.contains(why), "{reject}");
    }
    assert!(heads.lock().unwrap().is_empty());
}

#[test]
fn too_many_schemas_are_forgotten_and_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path().to_str().unwrap(), None).unwrap();
    let mut schemas = registry.schemas();
    for id in 1..=3_000 {
        while schemas.prepare(SchemaId::Content(id)).unwrap() == Readiness::Waiting {
            thread::park_timeout(Duration::from_millis(100));
        }
    }
    assert!(registry.status().schemas <= 1_000);
    assert_eq!(registry.status().requests, 3_000);
}
