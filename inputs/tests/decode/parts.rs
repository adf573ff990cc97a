//! One unusable line or event costs the others nothing, and neither does a field that nothing needs.

use crate::{check, decoder, record, shown};
use deltacart_inputs::{Defects, Flaw, RawRecord, Reason};

/// What could not be used of a record of which something was.
fn defects(flags: &str, value: &str) -> Defects {
    let mut events = Vec::new();
    let decoded = decoder(flags).decode(&record(1, value.as_bytes()), &mut events).unwrap();
    *decoded.defects.unwrap_or_default()
}

/// One order of three lines in each format, of which the second line is `LINE`.
const ORDERS: [(&str, &str, &str); 6] = [
    (
        "--format json",
        r#"{"event":"purchase","basket":"b","items":[{"item":"i"},LINE,{"item":"j"}]}"#,
        r#"{"item":ID,"quantity":1}"#,
    ),
    (
        "--format ga4",
        r#"{"name":"purchase","client_id":"d","params":{"session_id":5,"items":[{"item_id":"i"},LINE,{"item_id":"j"}]}}"#,
        r#"{"item_id":ID,"item_name":"Gift wrap"}"#,
    ),
    (
        "--format ga4 --basket order",
        r#"{"event_name":"purchase","ecommerce":{"transaction_id":"t"},"items":[{"item_id":"i"},LINE,{"item_id":"j"}]}"#,
        r#"{"item_id":ID,"quantity":"1"}"#,
    ),
    (
        "--format segment",
        r#"{"type":"track","event":"Order Completed","properties":{"order_id":"o","products":[{"product_id":"i"},LINE,{"product_id":"j"}]}}"#,
        r#"{"product_id":ID,"name":"Gift wrap"}"#,
    ),
    (
        "--format snowplow",
        r#"{"event":"unstruct","domain_sessionid":"s","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"transaction"},"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{"id":"i"},LINE,{"id":"j"}]}"#,
        r#"{"id":ID,"name":"Gift wrap"}"#,
    ),
    (
        "--format snowplow",
        r#"{"e":"ue","sid":"s","ue_pr":{"data":{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2","data":{"type":"transaction"}}},"co":{"data":[{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{"id":"i"}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":LINE},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{"id":"j"}}]}}"#,
        r#"{"id":ID,"name":"Gift wrap"}"#,
    ),
];

#[test]
fn a_line_without_an_id_does_not_lose_the_order() {
    for (flags, order, line) in ORDERS {
        for id in ["null", r#""""#] {
            let line = line.replace("ID", id);
            let order = order.replace("LINE", &line);
            let became = shown(&mut *decoder(flags), &record(1, order.as_bytes()));
            let [first, second, rejected] = became.as_slice() else { panic!("{flags}: {became:?}") };
            assert!(first.ends_with("purchase i 1") && second.ends_with("purchase j 1"), "{became:?}");
            assert_eq!(rejected, "reject line 1 missing-item", "{flags}");
            let parts = defects(flags, &order).parts;
            assert_eq!(parts[0].text, line, "{flags}: the dead letter is the line, as it was");
        }
    }
    // What GA4 exports where nothing was set.
    let (flags, order, line) = ORDERS[2];
    let order = order.replace("LINE", &line.replace("ID", r#""(not set)""#));
    check(flags, &[(&order, "t: purchase i 1; t: purchase j 1; reject line 1 missing-item")]);
}

#[test]
fn a_line_with_any_other_defect_does_not_lose_the_order() {
    for (flags, order, line) in ORDERS {
        for (bad, reason) in [
            (line.replace("ID", "[]"), "wrong-type"),
            (line.replace("ID", "1.5"), "bad-id"),
            (line.replace("ID", &format!("{:?}", "x".repeat(300))), "id-too-long"),
            (
                line.replace("ID", r#""x","quantity":"many""#).replace(r#","quantity":1}"#, "}"),
                "bad-quantity",
            ),
            (line.replace("ID", r#""x","quantity":0"#).replace(r#","quantity":1}"#, "}"), "bad-quantity"),
        ] {
            // A field that stands twice is a defect of its own.
            let twice = bad.matches("quantity").count() > 1;
            let expected = format!("reject line 1 {}", if twice { "wrong-shape" } else { reason });
            let became = shown(&mut *decoder(flags), &record(1, order.replace("LINE", &bad).as_bytes()));
            assert_eq!(became.last(), Some(&expected), "{flags} {bad}: {became:?}");
            assert_eq!(became.len(), 3, "{flags} {bad}: {became:?}");
        }
        for odd in ["null", "7", r#""x""#, "[]", r#"["x"]"#, "true", "1.5"] {
            let became = shown(&mut *decoder(flags), &record(1, order.replace("LINE", odd).as_bytes()));
            // An entity without data says nothing at all.
            let expected = if odd == "null" && order.contains("ue_pr") { 2 } else { 3 };
            assert_eq!(became.len(), expected, "{flags} {odd}: {became:?}");
            assert!(expected == 2 || became[2] == "reject line 1 wrong-shape", "{flags} {odd}: {became:?}");
        }
    }
}

#[test]
fn an_order_of_which_no_line_can_be_used_is_rejected() {
    for (flags, order, line) in ORDERS {
        let (bad, open) = (line.replace("ID", "null"), order.find("LINE").unwrap());
        let lone = order.replace("LINE", &bad).replace(r#":"i""#, r#":"""#).replace(r#":"j""#, r#":"""#);
        assert!(open > 0);
        assert_eq!(
            shown(&mut *decoder(flags), &record(1, lone.as_bytes())),
            ["reject missing-item"],
            "{flags}"
        );
    }
    // Neither a checkout of the cart nor the cancel of an order is invented, and no update takes one back.
    for event in ["purchase", "refund", "update"] {
        let value = format!(r#"{{"event":"{event}","basket":"b","items":[{{"item":""}},7]}}"#);
        check("--format json", &[(&value, "reject missing-item")]);
    }
    check(
        "--format json",
        &[(
            r#"{"event":"update","basket":"b","items":[{"item":"i"},7]}"#,
            "b: cancel; b: purchase i 1; reject line 1 wrong-shape",
        )],
    );
}

#[test]
fn an_event_of_several_that_is_rejected_leaves_nothing() {
    let event = |id: u32, item: &str| {
        format!(
            r#"{{"e":"ue","eid":"{id}","sid":"s","ue_pr":{{"data":{{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2","data":{{"type":"transaction"}}}}}},"co":{{"data":[{{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{{"id":{item}}}}}]}}}}"#
        )
    };
    let payload = |events: &[String]| format!(r#"{{"data":[{}]}}"#, events.join(","));
    let mut decoder = decoder("--format snowplow");
    let mut decode = |value: &str| shown(&mut *decoder, &record(1, value.as_bytes())).join("; ");
    let first = payload(&[event(1, r#""i""#), event(2, "null"), event(3, r#""j""#)]);
    assert_eq!(decode(&first), "s: purchase i 1; s: purchase j 1; reject event 1 missing-item");
    // The id of the event that was rejected is free for its correction, and the others are met.
    let again = payload(&[event(1, r#""i""#), event(2, r#""k""#), event(3, r#""j""#)]);
    assert_eq!(decode(&again), "s: purchase k 1; duplicate; duplicate");
}

#[test]
fn what_is_kept_of_a_record_is_bounded_and_the_rest_is_counted() {
    let bad = vec![r#"{"item":null}"#; 150].join(",");
    let value = format!(r#"{{"basket":"b","items":[{bad},{{"item":"i","quantity":"x"}},{{"item":"i"}}]}}"#);
    let defects = defects("--format json", &value);
    assert_eq!(defects.parts.len(), 100);
    assert_eq!(defects.parts[99].line, Some(99));
    assert_eq!(defects.rejects()[&Reason::MissingItem], 150);
    assert_eq!(defects.rejects()[&Reason::BadQuantity], 1);
}

#[test]
fn what_nothing_needs_costs_nothing() {
    check(
        "--format json",
        &[
            (r#"{"basket":"b","item":"i","user":{}}"#, "b: add i 1; unreadable-user"),
            (r#"{"basket":"b","item":"i","user":1.5}"#, "b: add i 1; unreadable-user"),
            (
                r#"{"basket":"b","item":"i","time":{},"id":[],"user":[]}"#,
                "b: add i 1; unreadable-time; unreadable-user; unreadable-event-id",
            ),
            (r#"{"event":"view","basket":{},"time":{},"id":[],"user":[],"quantity":{}}"#, "view"),
            // Here they are needed.
            (r#"{"event":"forget","user":{}}"#, "reject missing-basket"),
        ],
    );
    check("--format json --basket user", &[(r#"{"basket":"b","item":"i","user":{}}"#, "reject wrong-type")]);
    let found = defects("--format json", r#"{"basket":"b","item":"i","time":"soon"}"#);
    assert_eq!(found.flaws[&Flaw::UnreadableTime], 1);
    let first = found.first_flaw.unwrap();
    assert_eq!(first, r#"time: "soon" is no time this job can read; RFC 3339 is safe"#);
}

/// Bytes of another encoding in a note lost the whole order.
#[test]
fn bytes_that_are_no_utf8_cost_nothing_where_nobody_reads() {
    let became = |flags: &str, value: &[u8]| shown(&mut *decoder(flags), &record(1, value)).join("; ");
    let with_note = |order: &str, at: usize| {
        [&order.as_bytes()[..at], b"\"note\":\"caf\xe9 \xf0\x9f\",", &order.as_bytes()[at..]].concat()
    };
    for (flags, order, line) in ORDERS {
        let order = order.replace("LINE", &line.replace("ID", r#""k""#));
        let good = became(flags, order.as_bytes());
        assert_eq!(good.matches("purchase").count(), 3, "{flags}: {good}");
        let in_line = order.find(&line[..line.find("ID").unwrap()]).unwrap() + 1;
        // Behind the brace that begins the record, and behind that of a line.
        for at in [1, in_line] {
            assert_eq!(became(flags, &with_note(&order, at)), good, "{flags}");
        }
        // In what is read it is a defect, of the line alone.
        let mut bad = order.clone().into_bytes();
        bad.insert(order.find(r#""k""#).unwrap() + 2, b'\xe9');
        let rejected = became(flags, &bad);
        assert!(rejected.ends_with("; reject line 1 invalid-utf8"), "{flags}: {rejected}");
        assert_eq!(rejected.matches("purchase").count(), 2, "{flags}: {rejected}");
    }
    for (flags, value, expected) in [
        ("--format json", &b"{\"basket\":\"b\xe9\",\"item\":\"i\"}"[..], "reject invalid-utf8"),
        ("--format json", b"{\"basket\":\"b\",\"item\":\"i\",\"user\":\"\xe9\"}", "b: add i 1; unreadable-user"),
        ("--format json", b"{\"basket\":\"b\",\"item\":\"i\"}\xe9", "reject invalid-utf8"),
        // No half of a pair of the record makes a character of it.
        ("--format json", b"{\"basket\":\"b\",\"item\":\"\\ud83d\x80\"}", "reject invalid-utf8"),
        (
            "--format json --fields basket=b,item=i[].s",
            b"{\"b\":\"b\",\"n\":\"\xe9\",\"i\":[{\"s\":\"x\",\"n\":\"\xe9\"},{\"s\":\"\xe9\"}]}",
            "b: add x 1; reject line 1 invalid-utf8",
        ),
        (
            "--format json",
            b"{\"specversion\":\"1.0\",\"id\":\"\xe9\",\"data\":\"{\\\"basket\\\":\\\"b\\\",\\\"item\\\":\\\"i\\\",\\\"n\\\":\\\"\xe9\\\"}\"}",
            "b: add i 1; unreadable-event-id",
        ),
        ("--format csv --columns basket=#1,item=#2", b"b,i,\xe9", "b: add i 1"),
        ("--format csv --columns basket=#1,item=#2", b"b,\xe9,n", "reject invalid-utf8"),
        ("--format baskets", b"i,\xe9", "2: purchase i 1; reject line 1 invalid-utf8"),
    ] {
        assert_eq!(became(flags, value), expected, "{flags} {}", value.escape_ascii());
    }
}

/// The enriched event of Snowplow has documents between its tabs, and most of its columns are read by nobody.
#[test]
fn a_row_of_snowplow_may_have_any_bytes_where_nobody_reads() {
    let row = |columns: &[(usize, &[u8])]| {
        let mut row = vec![&b""[..]; 131];
        columns.iter().for_each(|&(at, value)| row[at] = value);
        row.join(&b'\t')
    };
    let action = br#"{"data":{"data":{"type":"add_to_cart"},"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"}}"#;
    let entity = |item: &[u8], name: &[u8]| {
        let schema = br#"{"data":[{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{"id":""#;
        [schema, item, br#"","name":""#, name, br#""}}]}"#].concat()
    };
    let became = |page: &[u8], session: &[u8], item: &[u8], name: &[u8]| {
        let row =
            row(&[(5, b"unstruct"), (32, page), (52, &entity(item, name)), (58, action), (123, session)]);
        shown(&mut *decoder("--format snowplow"), &record(1, &row)).join("; ")
    };
    assert_eq!(became(b"caf\xe9", b"s", b"i", b"n\xe9"), "s: add i 1");
    assert_eq!(became(b"", b"s\xe9", b"i", b""), "reject invalid-utf8");
    assert_eq!(became(b"", b"s", b"i\xe9", b""), "reject invalid-utf8");
    // What only looks as if it stood for such bytes is an id like any other.
    assert_eq!(became(b"", br"s\udfff", b"i", b""), r"s\udfff: add i 1");
}

#[test]
fn the_time_of_a_record_has_the_limits_of_times() {
    let at = |timestamp: i64, time: &str| {
        let value = format!(r#"{{"basket":"b","item":"i"{time}}}"#);
        let record = RawRecord { timestamp: Some(timestamp), ..record(1, value.as_bytes()) };
        let mut events = Vec::new();
        let decoded = decoder("--format json").decode(&record, &mut events).unwrap();
        (events[0].time, decoded.defects.map(|defects| defects.flaws.into_keys().collect::<Vec<_>>()))
    };
    let noon = 1_769_860_800_000;
    assert_eq!(at(noon, ""), (noon as u64, None));
    assert_eq!(at(noon, r#","time":1769860800999"#), (noon as u64, None), "a sender whose clock is ahead");
    assert_eq!(at(noon, r#","time":"soon""#), (noon as u64, Some(vec![Flaw::UnreadableTime])));
    // A producer that counts microseconds does not move any clock to the year 58000.
    let in_microseconds = Some(vec![Flaw::UnreadableRecordTime]);
    assert_eq!(at(noon * 1000, ""), (0, in_microseconds.clone()));
    assert_eq!(at(noon * 1000, r#","time":1769860800000"#), (noon as u64, in_microseconds));
}

#[test]
fn pings_without_consent_are_no_rejects() {
    let ping = |privacy: &str, user: &str| {
        format!(
            r#"{{"event_name":"add_to_cart","user_pseudo_id":null{user},"privacy_info":{privacy},"event_params":[{{"key":"page_location","value":{{"string_value":"https://shop"}}}}],"items":[{{"item_id":"i"}}]}}"#
        )
    };
    let denied = r#"{"analytics_storage":"No","ads_storage":"No"}"#;
    check(
        "--format ga4",
        &[
            (&ping(denied, ""), "anonymous"),
            (&ping(r#"{"analytics_storage":"Yes"}"#, ""), "reject missing-basket"),
            (&ping("null", ""), "reject missing-basket"),
            (&ping("7", ""), "reject missing-basket"),
        ],
    );
    check("--format ga4 --basket user", &[(&ping(denied, r#","user_id":"u""#), "u (u): add i 1")]);
    check("--format ga4 --basket user", &[(&ping(denied, ""), "anonymous")]);
}
