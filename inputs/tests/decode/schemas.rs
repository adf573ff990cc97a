//! JSON behind the ids of schemas, in every layout; and what is not JSON, named for what it is.

use crate::{decoder, record, shown};
use deltacart_inputs::{Headers, RawRecord};

const PLAIN: &[u8] = br#" {"basket":"b","item":"i"}"#;
const GA4: &[u8] =
    br#"{"name":"add_to_cart","client_id":"c","params":{"session_id":5,"items":[{"item_id":"i"}]}}"#;
const SEGMENT: &[u8] = br#"{"type":"track","event":"Product Added","properties":{"cart_id":"c","sku":"s"}}"#;
const SNOWPLOW: &[u8] = br#"{"event":"unstruct","domain_userid":"d","domain_sessionid":"s",
    "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"add_to_cart"},
    "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{"id":"i"}]}"#;

const UUID: &[u8] = b"0123456789abcdef";

const NONE: Headers<'static> = &[];
const CONFLUENT: Headers<'static> = &[("__value_schema_id", Some(b"\0\0\0\0\x07"))];
const GLOBAL: Headers<'static> = &[("apicurio.value.globalId", Some(b"\0\0\0\0\0\0\0\x07"))];
const CONTENT: Headers<'static> = &[("apicurio.value.contentId", Some(b"\0\0\0\0\0\0\0\x07"))];

/// Headers, what stands before the value, and whose it is.
fn layouts() -> Vec<(Headers<'static>, Vec<u8>, &'static str)> {
    vec![
        (NONE, b"\0\0\0\0\x07".to_vec(), "schema 7, by the prefix of Confluent's"),
        (NONE, b"\0\0\0\0\0\0\0\0\x07".to_vec(), "the global id 7, by the prefix of Apicurio's"),
        (
            NONE,
            [&b"\x01"[..], UUID].concat(),
            "schema 30313233-3435-3637-3839-616263646566, by the prefix of Confluent's",
        ),
        (
            NONE,
            [&b"\x03\0"[..], UUID].concat(),
            "30313233-3435-3637-3839-616263646566 of AWS Glue, by the prefix",
        ),
        (CONFLUENT, vec![], "schema 7, by the header __value_schema_id"),
        (GLOBAL, vec![], "the global id 7, by the header apicurio.value.globalId"),
        (CONTENT, vec![], "schema 7, by the header apicurio.value.contentId"),
    ]
}

#[test]
fn json_behind_every_prefix_is_read() {
    let formats = [
        ("--format json", PLAIN, "b: add i 1"),
        ("--format ga4", GA4, "c/5 (c): add i 1"),
        ("--format segment", SEGMENT, "c: add s 1"),
        ("--format snowplow", SNOWPLOW, "s (d): add i 1"),
    ];
    for (flags, value, expected) in formats {
        for (headers, before, whose) in layouts() {
            let value = [before.as_slice(), value].concat();
            let became = shown(&mut *decoder(flags), &RawRecord { headers, ..record(1, &value) });
            assert_eq!(became, [expected], "{flags}: {whose}");
        }
    }
}

#[test]
fn avro_and_protobuf_are_named_with_the_remedy() {
    // A string of two letters and one of six, as Avro writes them; a field, as Protobuf does, behind the first message.
    for value in [&b"\x04b1\x0ckettle"[..], b"\0\x12\x02b1"] {
        for (headers, before, whose) in layouts() {
            let value = [before.as_slice(), value].concat();
            let record = RawRecord { headers, ..record(1, &value) };
            let reject = decoder("--format json").decode(&record, &mut Vec::new()).unwrap_err();
            assert_eq!(reject.reason.name(), "needs-schema");
            let detail = &reject.detail;
            assert!(
                detail.starts_with("the value is Avro or Protobuf of ") && detail.contains(whose),
                "{detail}"
            );
            assert!(detail.ends_with("name the registry, --schema-registry URL"), "{detail}");
        }
    }
}
