//! Any bytes at all, and valid records damaged at random: never a panic, and never a reject beside events.

use crate::{decoder, record, shown};
use deltacart_inputs::RawRecord;
use proptest::prelude::*;

/// A valid record of every shape, with the flags that read it.
const VALID: &[(&str, &str)] = &[
    (
        "--format json",
        r#"{"event":"add","basket":"b1","user":"u1","item":"i1","quantity":1,"time":"2026-01-31T12:00:00Z","id":"e"}"#,
    ),
    (
        "--format json",
        r#"{"version":1,"event":"purchase","basket":7,"items":[{"item":"i\u00e4","quantity":-2},{"item":8}]}"#,
    ),
    ("--format json", r#"{"specversion":"1.0","id":"1","source":"s","data":{"basket":"b","item":"i"}}"#),
    (
        "--format json",
        r#"{"specversion":"1.0","id":"1","source":"s","data_base64":"eyJiYXNrZXQiOiJiIiwiaXRlbSI6ImkifQ=="}"#,
    ),
    (
        "--format ga4",
        r#"{"client_id":"c","events":[{"name":"purchase","params":{"session_id":1,"items":[{"item_id":"i","quantity":2}]}}]}"#,
    ),
    (
        "--format ga4",
        r#"{"event_name":"refund","event_timestamp":"1","user_pseudo_id":"p","event_params":[{"key":"ga_session_id","value":{"int_value":"7"}}],"items":[{"item_id":"i"}]}"#,
    ),
    (
        "--format segment",
        r#"{"type":"track","event":"Order Updated","messageId":"m","userId":"u","properties":{"order_id":"o","products":[{"sku":"s","quantity":2}]}}"#,
    ),
    (
        "--format snowplow",
        r#"{"e":"ue","eid":"1","sid":"s","ue_pr":"{\"schema\":\"x\",\"data\":{\"schema\":\"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2\",\"data\":{\"type\":\"add_to_cart\"}}}","co":"{\"data\":[{\"schema\":\"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0\",\"data\":{\"id\":\"p\"}}]}"}"#,
    ),
    (
        "--format csv --columns basket=#1,item=#2,quantity=#3,event=#4,time=#5,id=#6",
        "b,\"i \"\"1\"\"\",2,add,2026-01-31 12:00:00,1",
    ),
    ("--format fimi", "1 2 30"),
];

/// How a record is damaged.
#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Put(prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    const TOKENS: &[&str] =
        &["{", "}", "[", "]", "\"", ",", ":", "\\", "\\ud800", "-0", "1e999", "null", "\0", "\"item\":", "é"];
    let place = any::<prop::sample::Index>;
    prop_oneof![
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        place().prop_map(Damage::Drop),
        (place(), place()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (place(), prop::sample::select(TOKENS)).prop_map(|(at, token)| Damage::Insert(at, token)),
    ]
}

fn apply(value: &mut Vec<u8>, damage: &Damage) {
    let length = value.len() + 1;
    match damage {
        Damage::Cut(at) => value.truncate(at.index(length)),
        Damage::Put(at, byte) => {
            if let Some(place) = value.get_mut(at.index(length)) {
                *place = *byte;
            }
        }
        Damage::Drop(at) => {
            if at.index(length) < value.len() {
                value.remove(at.index(length));
            }
        }
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let part = value[from.min(to)..from.max(to)].to_vec();
            value.splice(to..to, part);
        }
        Damage::Insert(at, token) => {
            let at = at.index(length);
            value.splice(at..at, token.bytes());
        }
    }
}

#[test]
fn undamaged_they_are_valid() {
    for (flags, value) in VALID {
        let became = shown(&mut *decoder(flags), &record(1, value.as_bytes()));
        assert!(!became.is_empty() && !became[0].starts_with("reject"), "{value}: {became:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// `shown` asserts that a rejected record has no events and that positions and counts agree.
    #[test]
    fn damaged_records(which in 0..VALID.len(), damages in prop::collection::vec(damage(), 1..4)) {
        let (flags, value) = VALID[which];
        let mut value = value.as_bytes().to_vec();
        damages.iter().for_each(|damage| apply(&mut value, damage));
        shown(&mut *decoder(flags), &record(1, &value));
    }

    #[test]
    fn any_bytes(
        value in prop::collection::vec(any::<u8>(), 0..200),
        header in prop::collection::vec(any::<u8>(), 0..20),
        offset in 0u64..3,
    ) {
        let headers: &[(&str, Option<&[u8]>)] = &[("content-type", Some(&header)), ("ce_id", Some(&header))];
        for (flags, _) in VALID {
            let bytes = RawRecord { headers, ..record(offset, &value) };
            shown(&mut *decoder(flags), &bytes);
        }
        shown(&mut *decoder("--format rees46"), &record(offset, &value));
    }

    /// Integers are kept as they are written, whatever their size.
    #[test]
    fn integers_as_ids(digits in "-?[1-9][0-9]{0,100}") {
        let value = format!(r#"{{"basket":{digits},"item":"i"}}"#);
        let expected = vec![format!("{digits}: add i 1")];
        prop_assert_eq!(shown(&mut *decoder("--format json"), &record(1, value.as_bytes())), expected);
    }

    /// Any text is an id, and survives the way through JSON.
    #[test]
    fn texts_as_ids(text in ".{1,40}") {
        let value = format!(r#"{{"basket":"b","item":{}}}"#, serde_json::to_string(&text).unwrap());
        let expected = vec![format!("b: add {text} 1")];
        prop_assert_eq!(shown(&mut *decoder("--format json"), &record(1, value.as_bytes())), expected);
    }
}
