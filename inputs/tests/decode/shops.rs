//! What shops were seen to send that no specification says: each is read, or counted under a name of its own.

use crate::{check, decoder, record, shown};
use deltacart_inputs::{Decoder, RawRecord};

/// What one more record becomes.
fn next(decoder: &mut dyn Decoder, value: &str) -> String {
    shown(decoder, &record(1, value.as_bytes())).join("; ")
}

/// What a record with a key becomes.
fn keyed(flags: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    shown(&mut *decoder(flags), &RawRecord { key, value, ..record(1, b"") }).join("; ")
}

/// A hit of a GA4 export with these ids and this session.
fn ga4_hit(ids: &str, session: &str) -> String {
    format!(
        r#"{{"event_name":"add_to_cart",{ids},"event_params":[{{"key":"ga_session_id","value":{session}}}],"items":[{{"item_id":"i"}}]}}"#
    )
}

#[test]
fn a_session_cookie_that_changes_with_every_hit_is_one_session() {
    let hit =
        |cookie: &str| ga4_hit(r#""user_pseudo_id":"9.1""#, &format!(r#"{{"string_value":"{cookie}"}}"#));
    check(
        "--format ga4",
        &[
            (&hit("s1769860800$o3$g0$t1769860811$j60$l0$h0"), "9.1/1769860800 (9.1): add i 1"),
            (&hit("s1769860800$o3$g1$t1769860999$j12$l0$h0"), "9.1/1769860800 (9.1): add i 1"),
            (&hit("GS2.1.s1769860800$o3$g1$t1769860999$j12$l0$h0"), "9.1/1769860800 (9.1): add i 1"),
            (&hit("GS1.1.1769860800.3.1.1769860999.12.0.0"), "9.1/1769860800 (9.1): add i 1"),
            (&hit("1769860800"), "9.1/1769860800 (9.1): add i 1"),
            // What looks alike and is none stays as it is.
            (&hit("summer$2026"), "9.1/summer$2026 (9.1): add i 1"),
        ],
    );
}

#[test]
fn sessions_that_begin_in_the_same_second_are_two() {
    let session = r#"{"int_value":"1769860800"}"#;
    check(
        "--format ga4",
        &[
            (
                &ga4_hit(r#""user_id":"u1","user_pseudo_id":null"#, session),
                "user/u1/1769860800 (u1): add i 1",
            ),
            (&ga4_hit(r#""user_id":"u2""#, session), "user/u2/1769860800 (u2): add i 1"),
            (&ga4_hit(r#""user_id":"u2","user_pseudo_id":"d""#, session), "d/1769860800 (u2): add i 1"),
            // In nobody's scope it is nobody's.
            (&ga4_hit(r#""user_id":"""#, session), "reject missing-basket"),
            (&ga4_hit(r#""user_pseudo_id":"(not set)""#, session), "reject missing-basket"),
            // No characters of the ids make two of them one.
            (&ga4_hit(r#""user_pseudo_id":"a/b""#, r#"{"string_value":"c"}"#), "a%2Fb/c (a/b): add i 1"),
            (&ga4_hit(r#""user_pseudo_id":"a""#, r#"{"string_value":"b/c"}"#), "a/b%2Fc (a): add i 1"),
        ],
    );
    let call = |ids: &str| {
        format!(
            r#"{{"type":"track","event":"Product Added",{ids}"context":{{"sessionId":1769860800}},"properties":{{"product_id":"p"}}}}"#
        )
    };
    check(
        "--format segment --basket session",
        &[
            (&call(r#""anonymousId":"a","userId":"u","#), "a/1769860800 (u): add p 1"),
            (&call(r#""anonymousId":"b","#), "b/1769860800 (b): add p 1"),
            (&call(r#""userId":"u","#), "user/u/1769860800 (u): add p 1"),
            (&call(""), "reject missing-basket"),
        ],
    );
}

/// A purchase of `items` in each format that has ids of orders; the items are given as JSON.
const PURCHASES: [(&str, &str, &str); 4] = [
    (
        "--format json --repeated-orders drop",
        r#"{"event":"purchase","basket":"b","order":"ORDER","items":[ITEMS]}"#,
        "item",
    ),
    (
        "--format ga4 --basket order",
        r#"{"event_name":"purchase","ecommerce":{"transaction_id":"ORDER"},"items":[ITEMS]}"#,
        "item_id",
    ),
    (
        "--format segment --basket order",
        r#"{"type":"track","event":"Order Completed","properties":{"order_id":"ORDER","products":[ITEMS]}}"#,
        "product_id",
    ),
    (
        "--format snowplow --basket order",
        r#"{"event":"unstruct","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"transaction"},"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[ITEMS],"contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1":[{"transaction_id":"ORDER"}]}"#,
        "id",
    ),
];

#[test]
fn a_purchase_that_is_sent_twice_counts_once() {
    for (flags, purchase, id) in PURCHASES {
        let mut decoder_of_all = decoder(flags);
        let mut buy = |order: &str, items: &[&str]| {
            let items: Vec<String> = items.iter().map(|item| format!(r#"{{"{id}":"{item}"}}"#)).collect();
            let value = purchase.replace("ORDER", order).replace("ITEMS", &items.join(","));
            next(&mut *decoder_of_all, &value)
        };
        assert!(buy("t1", &["i", "j"]).ends_with("purchase j 1"), "{flags}");
        assert_eq!(buy("t1", &["i", "j"]), "repeated order", "{flags}");
        assert_eq!(buy("t1", &["j", "i"]), "repeated order", "{flags}: in another order");
        assert!(buy("t2", &["i", "j"]).ends_with("purchase j 1"), "{flags}: another order");
        assert!(buy("t1", &["k"]).ends_with("purchase k 1"), "{flags}: an order that comes in parts");
        assert_eq!(buy("t1", &["k"]), "repeated order", "{flags}");
        let keep = flags.split(" --repeated").next().unwrap().to_owned() + " --repeated-orders keep";
        let value = purchase.replace("ORDER", "t1").replace("ITEMS", &format!(r#"{{"{id}":"i"}}"#));
        let mut keeps = decoder(&keep);
        assert_eq!(next(&mut *keeps, &value), next(&mut *keeps, &value), "{keep}");
    }
    // An order that is a record a line is no repetition of itself, and neither are two without an id.
    let mut plain = decoder("--format json");
    let line = r#"{"event":"purchase","basket":"b","order":"t","item":"i"}"#;
    assert_eq!([next(&mut *plain, line), next(&mut *plain, line)], ["b: purchase i 1"; 2]);
    let mut ga4 = decoder("--format ga4 --basket user");
    let unset = r#"{"event_name":"purchase","user_id":"u","ecommerce":{"transaction_id":"(not set)"},"items":[{"item_id":"i"}]}"#;
    assert_eq!([next(&mut *ga4, unset), next(&mut *ga4, unset)], ["u (u): purchase i 1"; 2]);
    let odd = r#"{"event_name":"purchase","user_id":"u","ecommerce":{"transaction_id":{}},"items":[{"item_id":"i"}]}"#;
    assert_eq!(next(&mut *ga4, odd), "u (u): purchase i 1; unreadable-order");
}

#[test]
fn an_order_is_remembered_across_a_restart() {
    let (flags, purchase, id) = PURCHASES[1];
    let value = purchase.replace("ORDER", "t").replace("ITEMS", &format!(r#"{{"{id}":"i"}}"#));
    let mut first = decoder(flags);
    assert_eq!(next(&mut *first, &value), "t: purchase i 1");
    let mut second = decoder(flags);
    for (partition, ids) in first.remembered() {
        second.remember(partition, &mut ids.iter().cloned());
    }
    assert_eq!(next(&mut *second, &value), "repeated order");
}

#[test]
fn half_a_kilo_is_held() {
    for (flags, purchase, id) in PURCHASES {
        let kilos = |flags: &str, kilos: &str| {
            let item = format!(r#"{{"{id}":"apples","quantity":{kilos}}},{{"{id}":"bread"}}"#);
            let value = purchase.replace("ORDER", "t").replace("ITEMS", &item);
            next(&mut *decoder(flags), &value).replace("b: ", "").replace("t: ", "")
        };
        assert_eq!(kilos(flags, "0.5"), "purchase apples 1; purchase bread 1; rounded-quantity", "{flags}");
        assert_eq!(
            kilos(flags, r#""0.5""#),
            "purchase apples 1; purchase bread 1; rounded-quantity",
            "{flags}"
        );
        let exact = format!("{flags} --quantity-decimals 3");
        assert_eq!(kilos(&exact, "0.5"), "purchase apples 500; purchase bread 1000", "{exact}");
        assert_eq!(kilos(&exact, "0.0001"), "purchase apples 1; purchase bread 1000; rounded-quantity");
    }
    let csv = "--format csv --columns basket=#1,item=#2,quantity=#3";
    check(
        csv,
        &[
            ("b,apples,0.5", "b: add apples 1; rounded-quantity"),
            ("b,apples,-.5", "b: remove apples 1; rounded-quantity"),
        ],
    );
    // Sums are exact: two halves bought and one kilo back is nothing.
    let flags = "--format json --quantity-decimals 2";
    check(
        flags,
        &[
            (r#"{"event":"purchase","basket":"b","item":"i","quantity":0.25}"#, "b: purchase i 25"),
            (r#"{"event":"refund","basket":"b","item":"i","quantity":0.5}"#, "b: refund i 50"),
            (r#"{"event":"remove","basket":"b","item":"i","quantity":1}"#, "b: remove i 100"),
            (r#"{"event":"set","basket":"b","item":"i","quantity":0}"#, "b: set i 0"),
            (r#"{"basket":"b","item":"i"}"#, "b: add i 100"),
            (r#"{"basket":"b","item":"i","quantity":1000001}"#, "reject quantity-out-of-range"),
        ],
    );
}

#[test]
fn a_batch_of_calls_is_read_call_by_call() {
    let call = |id: u32, product: &str| {
        format!(
            r#"{{"type":"track","event":"Product Added","messageId":"{id}","userId":"u","properties":{{"cart_id":"c","product_id":{product}}}}}"#
        )
    };
    let batch = format!(
        r#"{{"batch":[{},{{"type":"page"}},{},{},7],"context":{{"sessionId":5}},"sentAt":"2026-01-31T12:00:00Z"}}"#,
        call(1, r#""p""#),
        call(2, "null"),
        call(3, r#""q""#)
    );
    let rejects = "reject event 2 missing-item; reject event 4 wrong-shape";
    check("--format segment", &[(&batch, &format!("c (u): add p 1; c (u): add q 1; other; {rejects}"))]);
    check(
        "--format segment --basket session",
        &[(&batch, &format!("user/u/5 (u): add p 1; user/u/5 (u): add q 1; other; {rejects}"))],
    );
    check("--format segment", &[(r#"{"batch":[]}"#, ""), (r#"{"batch":7}"#, "reject wrong-shape")]);
}

#[test]
fn a_list_of_records_is_read_record_by_record() {
    check(
        "--format json",
        &[
            (
                r#"[{"basket":"b","item":"i"},{"basket":"b"},7,{"basket":"c","item":"j"}]"#,
                "b: add i 1; c: add j 1; reject event 1 missing-item; reject event 2 wrong-shape",
            ),
            ("[]", "reject wrong-shape"),
            (r#"["b"]"#, "reject wrong-shape"),
            ("[[[[[[", "reject malformed"),
        ],
    );
}

#[test]
fn a_list_that_php_wrote_with_gaps_is_a_list() {
    let order = |products: &str| {
        format!(
            r#"{{"type":"track","event":"Order Completed","properties":{{"order_id":"o","products":{products}}}}}"#
        )
    };
    check(
        "--format segment",
        &[
            (
                &order(r#"{"0":{"product_id":"i"},"2":{"product_id":"j","quantity":2}}"#),
                "o: purchase i 1; o: purchase j 2",
            ),
            (&order(r#"{"0":{"product_id":"i"},"2":7}"#), "o: purchase i 1; reject line 1 wrong-shape"),
            (&order(r#"{"product_id":"i"}"#), "reject wrong-shape"),
            (&order("{}"), "o: checkout"),
        ],
    );
    check("--format json", &[(r#"{"basket":"b","items":{"3":{"item":"i"}}}"#, "b: add i 1")]);
}

/// An enriched event of Snowplow in its columns.
fn snowplow_row(session: &str, action: &str) -> String {
    let mut columns = vec![String::new(); 131];
    let ecommerce = "iglu:com.snowplowanalytics.snowplow.ecommerce";
    for (place, text) in [
        (0, "shop".to_owned()),
        (5, "unstruct".to_owned()),
        (6, "e1".to_owned()),
        (15, "d".to_owned()),
        (
            52,
            format!(
                r#"{{"data":[{{"schema":"{ecommerce}/product/jsonschema/1-0-0","data":{{"id":"i","quantity":2}}}}]}}"#
            ),
        ),
        (
            58,
            format!(
                r#"{{"data":{{"schema":"{ecommerce}/snowplow_ecommerce_action/jsonschema/1-0-2","data":{{"type":"{action}"}}}}}}"#
            ),
        ),
        (120, "another user".to_owned()),
        (123, session.to_owned()),
        (124, "2026-01-31 12:00:00.000".to_owned()),
    ] {
        columns[place] = text;
    }
    columns.join("\t")
}

#[test]
fn snowplows_enriched_columns_are_read() {
    let flags = "--format snowplow";
    let row = snowplow_row("s", "add_to_cart");
    check(
        flags,
        &[
            (&row, "s (d): add i 2"),
            (&format!("{row}\r\n"), "s (d): add i 2"),
            (&snowplow_row("s", "product_view"), "view"),
            (&snowplow_row("", "add_to_cart"), "reject missing-basket"),
            (&row.replacen('\t', "", 1), "reject wrong-shape"),
            (&format!("{row}\t"), "reject wrong-shape"),
            ("a\tb", "reject wrong-shape"),
            (&row.replace(r#"{"data":{"schema""#, r#"{"data":{"schema"#), "reject malformed"),
        ],
    );
    let mut events = Vec::new();
    decoder(flags).decode(&record(1, row.as_bytes()), &mut events).unwrap();
    assert_eq!(events[0].time, 1_769_860_800_000);
    let mut twice = decoder(flags);
    assert_eq!([next(&mut *twice, &row), next(&mut *twice, &row)], ["s (d): add i 2", "duplicate"]);
    let page = snowplow_row("s", "add_to_cart").replace("snowplow_ecommerce_action", "link_click");
    check(flags, &[(&page, "other")]);
}

#[test]
fn snowplows_columns_by_version_are_read() {
    let action = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action";
    let entity = "contexts_com_snowplowanalytics_snowplow_ecommerce";
    let event = |columns: &str| format!(r#"{{"event":"unstruct","domain_sessionid":"s",{columns}}}"#);
    check(
        "--format snowplow",
        &[
            (
                &event(&format!(
                    r#""{action}_1_0_0":null,"{action}_1_0_2":{{"type":"add_to_cart"}},"{entity}_product_1_0_0":[{{"id":"i"}}],"{entity}_product_1_1_0":[]"#
                )),
                "s: add i 1",
            ),
            (
                &event(&format!(
                    r#""{action}_1_0_0":{{"type":"add_to_cart"}},"{entity}_product_1":[{{"id":"i"}}]"#
                )),
                "s: add i 1",
            ),
            (&event(&format!(r#""{action}_1_0_0":null"#)), "other"),
            (&event(&format!(r#""{action}_2_0_0":{{"type":"add_to_cart"}}"#)), "other"),
        ],
    );
    check(
        "--format snowplow --basket order",
        &[(
            &event(&format!(
                r#""{action}_1_0_0":{{"type":"transaction"}},"{entity}_product_1_0_0":[{{"id":"i"}}],"{entity}_transaction_1_0_0":[{{"transaction_id":"t"}}]"#
            )),
            "t: purchase i 1",
        )],
    );
}

#[test]
fn the_session_of_a_mobile_app_is_a_session() {
    let event = |entities: &str| {
        format!(
            r#"{{"event":"unstruct","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{{"type":"add_to_cart"}},"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{{"id":"i"}}]{entities}}}"#
        )
    };
    let session =
        r#","contexts_com_snowplowanalytics_snowplow_client_session_1":[{"sessionId":"ms","userId":"mu"}]"#;
    check("--format snowplow", &[(&event(session), "ms (mu): add i 1")]);
    check("--format snowplow --basket user", &[(&event(session), "mu (mu): add i 1")]);
    let web = format!(r#"{session},"domain_sessionid":"s","domain_userid":"d""#);
    check("--format snowplow", &[(&event(&web), "s (d): add i 1")]);
    // A tracker that may know nobody sends neither a session nor a user.
    check("--format snowplow", &[(&event(""), "anonymous")]);
    check("--format snowplow", &[(&event(r#","domain_userid":"d""#), "reject missing-basket")]);
    let sent = r#"{"e":"ue","ue_pr":{"data":{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2","data":{"type":"add_to_cart"}}},"co":{"data":[{"schema":"iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2","data":{"sessionId":"ms","userId":"mu"}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{"id":"i"}}]}}"#;
    check("--format snowplow", &[(sent, "ms (mu): add i 1")]);
}

#[test]
fn the_basket_may_be_the_key() {
    let value = Some(&br#"{"item":"i"}"#[..]);
    let flags = "--format json --basket key";
    assert_eq!(keyed(flags, Some(b"cart-1"), value), "cart-1: add i 1");
    assert_eq!(keyed(flags, Some(br#"{"id":7}"#), value), "7: add i 1");
    assert_eq!(keyed(flags, None, value), "reject missing-basket");
    assert_eq!(keyed(flags, Some(b""), value), "reject missing-basket");
    assert_eq!(keyed(flags, Some(b"\xff\xff\xff"), value), "reject invalid-utf8");
    let hit = Some(&br#"{"name":"add_to_cart","client_id":"d","params":{"items":[{"item_id":"i"}]}}"#[..]);
    assert_eq!(keyed("--format ga4 --basket key", Some(b"k"), hit), "k (d): add i 1");
    let call = Some(&br#"{"type":"track","event":"Product Added","properties":{"product_id":"i"}}"#[..]);
    assert_eq!(keyed("--format segment --basket key", Some(b"k"), call), "k: add i 1");
    let row = snowplow_row("s", "add_to_cart");
    assert_eq!(keyed("--format snowplow --basket key", Some(b"k"), Some(row.as_bytes())), "k (d): add i 2");
}

#[test]
fn a_tombstone_means_what_it_was_said_to() {
    for format in ["json", "ga4", "segment", "snowplow"] {
        let forget = format!("--format {format} --tombstones forget");
        assert_eq!(keyed(&forget, Some(b"c1"), None), "c1: forget");
        assert_eq!(keyed(&forget, None, None), "reject empty");
        assert_eq!(keyed(&format!("--format {format} --tombstones ignore"), Some(b"c1"), None), "other");
        assert_eq!(keyed(&format!("--format {format}"), Some(b"c1"), None), "reject empty");
        // A value without a byte is none.
        assert_eq!(keyed(&forget, Some(b"c1"), Some(b"")), "reject empty");
    }
}

#[test]
fn connects_envelope_is_opened() {
    let around =
        |payload: &str| format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{payload}}}"#);
    check(
        "--format json",
        &[
            (&around(r#"{"basket":"b","item":"i"}"#), "b: add i 1"),
            (r#"{"payload":{"basket":"b","item":"i"},"schema":null}"#, "b: add i 1"),
            (r#"{"payload":{"item":"i"},"schema":null}"#, "reject missing-basket"),
            (&around("null"), "reject missing-basket"),
            (&around("7"), "reject missing-basket"),
            // A payload beside the fields is one that nobody reads.
            (r#"{"basket":"b","item":"i","payload":{"basket":"c","item":"j"}}"#, "b: add i 1"),
            (&around(&around(&around(&around(r#"{"basket":"b","item":"i"}"#)))), "reject missing-basket"),
        ],
    );
    let hit = r#"{"name":"add_to_cart","client_id":"d","params":{"session_id":5,"items":[{"item_id":"i"}]}}"#;
    check("--format ga4", &[(&around(hit), "d/5 (d): add i 1")]);
    let call = r#"{"type":"track","event":"Product Added","properties":{"cart_id":"c","product_id":"i"}}"#;
    check("--format segment", &[(&around(call), "c: add i 1")]);
    check("--format snowplow", &[(&around(r#"{"event":"page_view"}"#), "other")]);
}

#[test]
fn debeziums_changes_are_followed() {
    let change = |op: &str, before: &str, after: &str| {
        format!(
            r#"{{"before":{before},"after":{after},"source":{{"table":"lines"}},"op":"{op}","ts_ms":1769860800000}}"#
        )
    };
    let line = r#"{"basket":"b","item":"i","quantity":2}"#;
    let more = r#"{"basket":"b","item":"i","quantity":3}"#;
    let other = r#"{"basket":"b","item":"j"}"#;
    let logged = r#"{"event":"remove","basket":"b","item":"i"}"#;
    check(
        "--format json",
        &[
            (&change("c", "null", line), "b: add i 2"),
            (&change("r", "null", line), "b: add i 2"),
            (&change("u", line, more), "b: set i 3"),
            (&change("u", "null", more), "b: set i 3"),
            (&change("u", line, other), "b: remove i all; b: remove j all; b: add j 1"),
            (&change("d", line, "null"), "b: remove i all"),
            (&change("d", "null", "null"), "reject missing-basket"),
            (&change("t", "null", "null"), "other"),
            (&change("c", "null", logged), "b: remove i all"),
            (&change("u", logged, logged), "other"),
            (&change("d", logged, "null"), "other"),
            (&change("u", "null", r#"{"basket":"b","items":[{"item":"i"}]}"#), "reject wrong-shape"),
            (&format!(r#"{{"schema":{{}},"payload":{}}}"#, change("c", "null", line)), "b: add i 2"),
        ],
    );
    let mut events = Vec::new();
    decoder("--format json").decode(&record(1, change("c", "null", line).as_bytes()), &mut events).unwrap();
    assert_eq!(events[0].time, 1_769_860_800_000);
}
