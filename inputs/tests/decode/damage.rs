//! Ways of damage, each on a record of each format: no panic, nothing invented, nothing merged, and a message that
//! names the field.
//!
//! A new format is a line of [`SAMPLES`], a new way of damage one of [`DAMAGES`]. Of `baskets` there is none: any text
//! between its commas is an id.

use crate::{check_reject, decoder, record, shown};
use deltacart_dataflows::{Action, Event};
use deltacart_inputs::Reject;
use std::collections::BTreeSet;

/// A record of one format. `{B}` stands for the basket, `{I}` and `{J}` for two items, `{Q}` for a quantity and `{T}`
/// for a time.
struct Sample {
    flags: &'static str,
    header: Option<&'static str>,
    template: &'static str,
    /// The basket and the items of two records.
    ids: [[&'static str; 3]; 2],
    /// What basket, item and quantity are called in messages.
    names: [&'static str; 3],
}

const IDS: [[&str; 3]; 2] = [["b-one", "i-one", "j-one"], ["b-two", "i-two", "j-two"]];

const SAMPLES: &[Sample] = &[
    Sample {
        flags: "--format json",
        header: None,
        template: r#"{"event":"add","basket":"{B}","time":"{T}","id":"e","items":[{"item":"{I}","quantity":{Q}},{"item":"{J}"}],"note":"n"}"#,
        ids: IDS,
        names: ["basket", "item", "quantity"],
    },
    Sample {
        flags: "--format ga4 --basket order",
        header: None,
        template: r#"{"event_name":"purchase","event_timestamp":"{T}","user_pseudo_id":"d","ecommerce":{"transaction_id":"{B}"},"items":[{"item_id":"{I}","quantity":{Q}},{"item_id":"{J}"}]}"#,
        ids: IDS,
        names: ["transaction_id", "item", "quantity"],
    },
    Sample {
        flags: "--format ga4",
        header: None,
        template: r#"{"client_id":"d","timestamp_micros":"{T}","events":[{"name":"add_to_cart","params":{"session_id":"{B}","items":[{"item_id":"{I}","quantity":{Q}},{"item_id":"{J}"}]}}]}"#,
        ids: IDS,
        names: ["session_id", "item", "quantity"],
    },
    Sample {
        flags: "--format segment",
        header: None,
        template: r#"{"type":"track","event":"Order Completed","messageId":"m","userId":"u","timestamp":"{T}","properties":{"order_id":"{B}","products":[{"product_id":"{I}","quantity":{Q}},{"product_id":"{J}"}]}}"#,
        ids: IDS,
        names: ["_id", "product", "quantity"],
    },
    Sample {
        flags: "--format snowplow",
        header: None,
        template: r#"{"event":"unstruct","event_id":"e","domain_sessionid":"{B}","domain_userid":"d","derived_tstamp":"{T}","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"add_to_cart"},"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{"id":"{I}","quantity":{Q}},{"id":"{J}"}]}"#,
        ids: IDS,
        names: ["domain_sessionid", "product", "quantity"],
    },
    Sample {
        flags: "--format csv --columns basket=b,item=i,quantity=q,time=t",
        header: Some("note,b,i,q,t"),
        template: r#"a note that nobody reads and that is longer than all behind it together,{B},"{I}",{Q},{T}"#,
        ids: IDS,
        names: ["b", "i", "q"],
    },
    Sample {
        flags: "--format fimi",
        header: None,
        template: "{I} {J} ",
        ids: [["", "1", "2"], ["", "3", "4"]],
        names: ["line", "line", "line"],
    },
    Sample {
        flags: "--format json --fields basket=id,item=lines[].sku,quantity=lines[].count,time=at,user=customer.id",
        header: None,
        template: r#"{"id":"{B}","at":"{T}","customer":{"id":"u"},"lines":[{"sku":"{I}","count":{Q}},{"sku":"{J}"}],"note":"n"}"#,
        ids: IDS,
        names: ["id", "sku", "count"],
    },
    Sample {
        flags: "--format json",
        header: None,
        template: r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"event":"add","basket":"{B}","time":"{T}","items":[{"item":"{I}","quantity":{Q}},{"item":"{J}"}]},"op":"c","ts_ms":1769860800000}}"#,
        ids: IDS,
        names: ["basket", "item", "quantity"],
    },
    Sample {
        flags: "--format json",
        header: None,
        template: r#"{"specversion":"1.0","id":"e","source":"/shop","time":"{T}","data":{"event":"add","basket":"{B}","items":[{"item":"{I}","quantity":{Q}},{"item":"{J}"}]}}"#,
        ids: IDS,
        names: ["basket", "item", "quantity"],
    },
];

impl Sample {
    fn write(&self, which: usize, quantity: &str, time: &str) -> String {
        let [basket, item, other] = self.ids[which];
        let text = self.template.replace("{B}", basket).replace("{I}", item).replace("{J}", other);
        text.replace("{Q}", quantity).replace("{T}", time)
    }

    fn good(&self, which: usize) -> String {
        self.write(which, "23", "2026-01-31T12:00:00Z")
    }

    /// The record with something else for the token of its first item, as JSON where the format is JSON.
    fn with_item(&self, which: usize, json: &str) -> String {
        self.with_token(which, self.ids[which][1], json)
    }

    fn with_basket(&self, which: usize, json: &str) -> String {
        self.with_token(which, self.ids[which][0], json)
    }

    /// Damages JSON only: in a row it would make another text of the same shape.
    fn if_json(&self, which: usize, damage: impl Fn(String) -> String) -> Vec<u8> {
        let good = self.good(which);
        if self.template.starts_with("{\"") { damage(good).into_bytes() } else { good.into_bytes() }
    }

    /// In a row, where anything is text, only an id that is not there or too long is a defect.
    fn with_token(&self, which: usize, id: &str, json: &str) -> String {
        let good = self.good(which);
        match (self.template.starts_with("{\""), json) {
            (true, _) => good.replacen(&format!("\"{id}\""), json, 1),
            (false, "null" | r#""""#) if self.header.is_some() => good.replacen(id, "", 1),
            (false, long) if self.header.is_some() && long.len() > 256 => {
                good.replacen(id, long.trim_matches('"'), 1)
            }
            _ => good,
        }
    }
}

/// Which field of the record is damaged, so that a message has to name it.
#[derive(Clone, Copy, PartialEq)]
enum Touches {
    All,
    Basket,
    Item,
    Quantity,
    /// Of which no record is ever lost.
    Time,
}

type Damage = (&'static str, Touches, fn(&Sample, usize) -> Vec<u8>);

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

fn inserted(sample: &Sample, which: usize, bytes: &[u8]) -> Vec<u8> {
    let mut text = sample.good(which).into_bytes();
    text.splice(text.len() / 2..text.len() / 2, bytes.iter().copied());
    text
}

fn before(prefix: &[u8], sample: &Sample, which: usize) -> Vec<u8> {
    [prefix, sample.good(which).as_bytes()].concat()
}

#[rustfmt::skip]
const DAMAGES: &[Damage] = &[
    // Encodings.
    ("a byte of Latin-1", Touches::All, |s, w| inserted(s, w, b"\xe4")),
    ("an overlong zero", Touches::All, |s, w| inserted(s, w, b"\xc0\x80")),
    ("zero bytes behind", Touches::All, |s, w| [s.good(w).as_bytes(), &[0; 8]].concat()),
    ("UTF-16, little end first", Touches::All, |s, w| utf16(&s.good(w), u16::to_le_bytes)),
    ("UTF-16, big end first", Touches::All, |s, w| utf16(&s.good(w), u16::to_be_bytes)),
    ("two byte order marks", Touches::All, |s, w| before("\u{feff}\u{feff}".as_bytes(), s, w)),
    ("half of a surrogate pair", Touches::Item, |s, w| s.with_item(w, r#""\ud83d""#).into_bytes()),
    // Ends and beginnings.
    ("cut in the middle", Touches::All, |s, w| s.good(w).as_bytes()[..s.good(w).len() / 2].to_vec()),
    ("without its last byte", Touches::All, |s, w| s.good(w).as_bytes()[..s.good(w).len() - 1].to_vec()),
    ("twice in one", Touches::All, |s, w| [s.good(w), s.good(w)].concat().into_bytes()),
    ("a bracket too many", Touches::All, |s, w| (s.good(w) + "}").into_bytes()),
    ("words of a log before it", Touches::All, |s, w| before(b"INFO ", s, w)),
    ("a gzip's beginning", Touches::All, |s, w| before(b"\x1f\x8b\x08\0", s, w)),
    ("a zip's beginning", Touches::All, |s, w| before(b"PK\x03\x04", s, w)),
    ("a registry's prefix of eight bytes", Touches::All, |s, w| before(b"\0\0\0\0\0\0\0\0\x07", s, w)),
    ("a registry's prefix twice", Touches::All, |s, w| before(b"\0\0\0\0\x07\0\0\0\0\x07", s, w)),
    // Quoting.
    ("single quotes", Touches::All, |s, w| s.if_json(w, |it| it.replace('"', "'"))),
    ("no quotes", Touches::All, |s, w| s.good(w).replace('"', "").into_bytes()),
    ("an open quote", Touches::All, |s, w| s.if_json(w, |it| it.replacen('"', "", 1))),
    ("JSON in a string", Touches::All, |s, w| serde_json::to_vec(&s.good(w)).unwrap()),
    ("a bad escape", Touches::Item, |s, w| s.with_item(w, r#""\q""#).into_bytes()),
    // Nulls and types.
    ("no item", Touches::Item, |s, w| s.with_item(w, "null").into_bytes()),
    ("an empty item", Touches::Item, |s, w| s.with_item(w, r#""""#).into_bytes()),
    ("an item that is true", Touches::Item, |s, w| s.with_item(w, "true").into_bytes()),
    ("an item that is an object", Touches::Item, |s, w| s.with_item(w, r#"{"id":1}"#).into_bytes()),
    ("an item that is a list", Touches::Item, |s, w| s.with_item(w, r#"["x"]"#).into_bytes()),
    ("an item that is a fraction", Touches::Item, |s, w| s.with_item(w, "1.0").into_bytes()),
    ("an item of 300 letters", Touches::Item, |s, w| s.with_item(w, &format!("\"{}\"", "x".repeat(300))).into_bytes()),
    ("no basket", Touches::Basket, |s, w| s.with_basket(w, "null").into_bytes()),
    ("an empty basket", Touches::Basket, |s, w| s.with_basket(w, r#""""#).into_bytes()),
    ("a basket that is an object", Touches::Basket, |s, w| s.with_basket(w, "{}").into_bytes()),
    ("a basket that is a float", Touches::Basket, |s, w| s.with_basket(w, "1e3").into_bytes()),
    // Lists and nesting.
    ("a list of one", Touches::All, |s, w| format!("[{}]", s.good(w)).into_bytes()),
    ("a list of a list", Touches::All, |s, w| format!("[[{}]]", s.good(w)).into_bytes()),
    ("an object for the list", Touches::All, |s, w| s.good(w).replacen(":[{", ":{\"x\":{", 1).replacen("}]", "}}", 1).into_bytes()),
    ("deeper than anybody reads", Touches::All, |s, w| format!("{}{}{}", "[".repeat(5000), s.good(w), "]".repeat(5000)).into_bytes()),
    ("a field twice", Touches::All, |s, w| s.good(w).replacen('{', r#"{"items":[],"items":[],"#, 1).into_bytes()),
    // Quantities.
    ("many", Touches::Quantity, |s, w| s.write(w, "\"many\"", "").into_bytes()),
    ("none", Touches::Quantity, |s, w| s.write(w, "0", "").into_bytes()),
    ("more than there are", Touches::Quantity, |s, w| s.write(w, "99999999999999999999", "").into_bytes()),
    ("a quantity with an exponent", Touches::Quantity, |s, w| s.write(w, "1e99", "").into_bytes()),
    ("a quantity that is a list", Touches::Quantity, |s, w| s.write(w, "[1]", "").into_bytes()),
    ("minus nothing", Touches::Quantity, |s, w| s.write(w, "-0", "").into_bytes()),
    // Times.
    ("yesterday", Touches::Time, |s, w| s.write(w, "23", "yesterday").into_bytes()),
    ("the 30th of February", Touches::Time, |s, w| s.write(w, "23", "2026-02-30T12:00:00Z").into_bytes()),
    ("before there were shops", Touches::Time, |s, w| s.write(w, "23", "-62135596800000").into_bytes()),
    ("after the year 9999", Touches::Time, |s, w| s.write(w, "23", "99999999999999999999999").into_bytes()),
];

/// What a record became, with everything that is said about what it did not.
fn decode(sample: &Sample, which: usize, value: &[u8]) -> (Vec<Event>, Vec<Reject>) {
    let mut decoder = decoder(sample.flags);
    if let Some(header) = sample.header {
        assert_eq!(shown(&mut *decoder, &record(0, header.as_bytes())), ["header"]);
    }
    let mut events = Vec::new();
    let rejects = match decoder.decode(&record(1 + which as u64, value), &mut events) {
        Err(reject) => vec![reject],
        Ok(decoded) => {
            let parts = decoded.defects.unwrap_or_default().parts;
            parts.into_iter().map(|part| part.reject).collect()
        }
    };
    (events, rejects)
}

fn lines(events: &[Event]) -> BTreeSet<(String, String)> {
    let item = |event: &Event| event.action.item().map(ToString::to_string).unwrap_or_default();
    events.iter().map(|event| (event.basket.to_string(), item(event))).collect()
}

/// Whether the action is about one line and no more than was in the record.
fn is_of_a_line(action: &Action<deltacart_dataflows::Name>) -> bool {
    match action {
        Action::Add(_, quantity) | Action::Purchase(_, quantity) => *quantity <= 23,
        _ => false,
    }
}

#[test]
fn undamaged_they_are_lines_of_a_basket() {
    for sample in SAMPLES {
        for which in [0, 1] {
            let (events, rejects) = decode(sample, which, sample.good(which).as_bytes());
            let count = if sample.header.is_some() { 1 } else { 2 };
            assert_eq!((lines(&events).len(), rejects.len()), (count, 0), "{}: {rejects:?}", sample.flags);
            assert!(events.iter().all(|event| is_of_a_line(&event.action)), "{events:?}");
        }
    }
    assert!(DAMAGES.len() >= 30);
}

#[test]
fn damaged_nothing_is_invented_and_nothing_merged() {
    for (name, touches, damage) in DAMAGES {
        let mut has_any_effect = false;
        for sample in SAMPLES {
            let what = format!("{name}, {}", sample.flags);
            let mut baskets = Vec::new();
            for which in [0, 1] {
                let (good, value) = (sample.good(which), damage(sample, which));
                has_any_effect |= value != good.as_bytes();
                let there = lines(&decode(sample, which, good.as_bytes()).0);
                let (events, rejects) = decode(sample, which, &value);
                let found = lines(&events);
                assert!(found.is_subset(&there), "{what}: {found:?} of {there:?}");
                assert!(events.iter().all(|event| is_of_a_line(&event.action)), "{what}: {events:?}");
                assert!(!events.is_empty() || !rejects.is_empty(), "{what}: lost without a word");
                rejects.iter().for_each(|reject| check_message(sample, *touches, &what, reject));
                if *touches == Touches::Time {
                    assert_eq!((found, rejects), (there, vec![]), "{what}: no record is lost for its time");
                }
                baskets.push(events.into_iter().map(|event| event.basket).collect::<BTreeSet<_>>());
            }
            assert!(baskets[0].is_disjoint(&baskets[1]), "{what}: {baskets:?}");
        }
        assert!(has_any_effect, "{name} damages nothing");
    }
}

fn check_message(sample: &Sample, touches: Touches, what: &str, reject: &Reject) {
    check_reject(reject);
    let detail = &reject.detail;
    let [basket, item, quantity] = sample.names;
    let field = match touches {
        Touches::All | Touches::Time => return,
        Touches::Basket => basket,
        Touches::Item => item,
        Touches::Quantity => quantity,
    };
    // What breaks the JSON itself is told by where it breaks.
    let is_broken = reject.reason.name() == "malformed";
    assert!(detail.contains(field) || is_broken, "{what}: {detail} does not name {field}");
}
