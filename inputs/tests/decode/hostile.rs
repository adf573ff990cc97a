//! Everything a hostile producer can think of: rejected with a reason, in bounded time, without a panic.

use crate::{decoder, record, shown};
use deltacart_inputs::{Format, RawRecord};

/// Each with the reason that plain JSON gives; the other formats need only reject.
fn hostile() -> Vec<(Vec<u8>, &'static str)> {
    let add = |rest: &str| format!(r#"{{"basket":"b","item":"i",{rest}}}"#).into_bytes();
    let deep =
        |open: &str, close: &str| add(&format!(r#""x":{}1{}"#, open.repeat(10_000), close.repeat(10_000)));
    let many = vec![r#"{"item":"i"}"#; 10_001].join(",");
    vec![
        (br#"{"basket":"b","item":"#.to_vec(), "malformed"),
        (br#"{"basket":"b","item":"i"#.to_vec(), "malformed"),
        (br#"{"basket":"b","item":"i\"#.to_vec(), "malformed"),
        (br#"{"#.to_vec(), "malformed"),
        (add(&format!(r#""x":"{}""#, "x".repeat(10 << 20))), "too-large"),
        ("[".repeat(10_000).into_bytes(), "too-deep"),
        (r#"{"items":"#.repeat(10_000).into_bytes(), "too-deep"),
        (deep("[", "]"), "too-deep"),
        (deep(r#"{"x":"#, "}"), "too-deep"),
        (add(r#""quantity":NaN"#), "malformed"),
        (add(r#""quantity":Infinity"#), "malformed"),
        (add(r#""quantity":-0"#), "bad-quantity"),
        (add(r#""quantity":-0.0"#), "bad-quantity"),
        (add(r#""quantity":1e-9"#), "bad-quantity"),
        (add(r#""quantity":1e400"#), "bad-quantity"),
        (add(r#""quantity":01"#), "malformed"),
        (add(r#""quantity":1e6"#), "bad-quantity"),
        (add(r#""quantity":99999999999999999999999999"#), "quantity-out-of-range"),
        (add(r#""quantity":-9223372036854775808"#), "quantity-out-of-range"),
        (add(r#""quantity":"three""#), "bad-quantity"),
        (add(r#""quantity":[3]"#), "wrong-type"),
        (add(r#""quantity":true"#), "wrong-type"),
        (br#"{"basket":"","item":"i"}"#.to_vec(), "missing-basket"),
        (br#"{"basket":"b","item":""}"#.to_vec(), "missing-item"),
        (br#"{"basket":{},"item":"i"}"#.to_vec(), "wrong-type"),
        (br#"{"basket":"b","item":[]}"#.to_vec(), "wrong-type"),
        (br#"{"basket":"b","basket":"c","item":"i"}"#.to_vec(), "wrong-shape"),
        (format!(r#"{{"basket":"b","item":"{}"}}"#, "i".repeat(100_000)).into_bytes(), "id-too-long"),
        (format!(r#"{{"basket":"b","item":{}}}"#, "1".repeat(100_000)).into_bytes(), "id-too-long"),
        (format!(r#"{{"basket":"b","items":[{many}]}}"#).into_bytes(), "too-many-items"),
        (b"{\"basket\":\"b\xff\",\"item\":\"i\"}".to_vec(), "invalid-utf8"),
        (b"{\"basket\":\"b\",\"item\":\"i\",\"x\xc0\x80\":1}".to_vec(), "invalid-utf8"),
        (b"\xef\xbb\xbf{}".to_vec(), "missing-basket"),
        (b"\xff\xfe{\0}\0".to_vec(), "invalid-utf8"),
        (b"\0".to_vec(), "malformed"),
        (b"\0\0\0\0\x01\x02\x03".to_vec(), "needs-schema"),
        (b"\n".to_vec(), "malformed"),
        (b"".to_vec(), "empty"),
        (b"add i1 to b1".to_vec(), "malformed"),
        (b"<event/>".to_vec(), "malformed"),
    ]
}

#[test]
fn all_are_rejected_with_a_reason() {
    let mut plain = decoder("--format json");
    for (offset, (value, reason)) in hostile().iter().enumerate() {
        let beginning = String::from_utf8_lossy(&value[..value.len().min(80)]);
        let became = shown(&mut *plain, &record(offset as u64, value));
        assert_eq!(became, [format!("reject {reason}")], "{beginning}");
    }
    for format in [Format::Ga4, Format::Segment, Format::Snowplow, Format::Rees46] {
        let mut decoder = decoder(&format!("--format {}", format.name()));
        for (offset, (value, _)) in hostile().iter().enumerate() {
            let became = shown(&mut *decoder, &record(1 + offset as u64, value)).join("; ");
            assert!(became.starts_with("reject "), "{}: {became}", format.name());
        }
    }
}

#[test]
fn tombstones_and_cut_records() {
    for format in Format::ALL.iter().filter(|format| **format != Format::Csv) {
        let mut decoder = decoder(&format!("--format {}", format.name()));
        let tombstone = RawRecord { value: None, ..record(1, b"") };
        assert_eq!(shown(&mut *decoder, &tombstone), ["reject empty"]);
        let cut = RawRecord { truncated: true, ..record(1, br#"{"basket":"b","item":"i"}"#) };
        assert_eq!(shown(&mut *decoder, &cut), ["reject too-large"]);
    }
}

#[test]
fn details_name_the_field_and_stay_short() {
    let detail = |flags: &str, value: &str| {
        decoder(flags).decode(&record(1, value.as_bytes()), &mut Vec::new()).unwrap_err().detail
    };
    let tabs = "\\u0007".repeat(300);
    let long = detail("--format json", &format!(r#"{{"basket":"b","item":"{tabs}"}}"#));
    assert!(long.starts_with(r#"item: "\u{7}\u{7}"#) && long.len() <= 200, "{long}");
    let listed = detail("--format json", r#"{"basket":"b","items":[{"item":"i","quantity":"many"}]}"#);
    assert_eq!(listed, r#"items[0].quantity: "many" is no quantity"#);
    let column = detail("--format csv --columns basket=#1,item=#3", "b,i");
    assert_eq!(column, "column 3: column 3 of 2 columns");
    let header =
        decoder("--format csv --columns basket=b,item=i").decode(&record(0, b"b,j"), &mut Vec::new());
    assert_eq!(header.unwrap_err().detail, r#"no column is called "i"; there are b, j"#);
    let text = detail("--format json", &format!(r#""{}""#, "ä".repeat(500)));
    assert!(text.starts_with("value: the text \"ä") && text.chars().count() <= 200, "{text}");
}
