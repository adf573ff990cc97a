//! Good, bad and nearly good records of the shops' streams: GA4, Segment, Snowplow.

use crate::{check, decoder, record, shown};

#[test]
fn ga4_events() {
    let flags = "--format ga4";
    let single =
        |name: &str, params: &str| format!(r#"{{"name":"{name}","client_id":"d","params":{params}}}"#);
    let one = r#"{"session_id":5,"transaction_id":"t","items":[{"item_id":"i","quantity":2}]}"#;
    check(
        flags,
        &[
            (&single("add_to_cart", one), "d/5 (d): add i 2"),
            (
                &single("remove_from_cart", r#"{"ga_session_id":"5","items":[{"item_id":"i"}]}"#),
                "d/5 (d): remove i all",
            ),
            (&single("purchase", one), "d/5 (d): purchase i 2"),
            (&single("purchase", r#"{"session_id":5,"items":[]}"#), "d/5 (d): checkout"),
            (&single("refund", r#"{"session_id":5}"#), "d/5 (d): cancel"),
            (&single("refund", one), "d/5 (d): refund i 2"),
            (&single("view_item", "7"), "view"),
            (&single("view_cart", one), "view"),
            (&single("page_view", r#"[[]]"#), "other"),
            (
                &single("add_to_cart", r#"{"session_id":5,"items":[{"item_id":"(not set)"}]}"#),
                "reject missing-item",
            ),
            (
                &single("add_to_cart", r#"{"session_id":5,"items":[{"item_name":"Tea"}]}"#),
                "reject missing-item",
            ),
            (&single("add_to_cart", r#"{"session_id":5}"#), "reject missing-item"),
            (&single("add_to_cart", r#"{"items":[{"item_id":"i"}]}"#), "reject missing-basket"),
            (&single("add_to_cart", "7"), "reject wrong-shape"),
            (&single("add_to_cart", r#"{"session_id":5,"items":{"item_id":"i"}}"#), "reject wrong-shape"),
            (&single("add_to_cart", r#"{"session_id":5.5,"items":[{"item_id":"i"}]}"#), "reject bad-id"),
            (r#"{"event":"add","basket":"b","item":"i"}"#, "reject missing-event"),
            (r#"{"name":["add_to_cart"]}"#, "reject wrong-type"),
        ],
    );
    check("--format ga4 --basket order", &[(&single("purchase", one), "t (d): purchase i 2")]);
    check(
        "--format ga4 --basket order",
        &[(&single("add_to_cart", r#"{"items":[{"item_id":"i"}]}"#), "other")],
    );
    check(
        "--format ga4 --basket order",
        &[(&single("purchase", r#"{"session_id":5}"#), "reject missing-basket")],
    );
    check("--format ga4 --basket user", &[(&single("add_to_cart", one), "d (d): add i 2")]);
    check("--format ga4 --basket cart", &[(&single("add_to_cart", one), "reject missing-basket")]);
    check("--format ga4 --basket cart", &[(&single("purchase", one), "other")]);
}

#[test]
fn ga4_requests_lose_no_more_than_what_is_bad() {
    let request = |second: &str| {
        format!(
            r#"{{"client_id":"d","user_id":"u","timestamp_micros":"1769860800000000","events":[
                {{"name":"add_to_cart","params":{{"session_id":5,"items":[{{"item_id":"i"}}]}}}},
                {{"name":"page_view"}}, {second}]}}"#
        )
    };
    let good = r#"{"name":"purchase","params":{"session_id":5,"items":[{"item_id":"j","quantity":"2"}]}}"#;
    let bad = r#"{"name":"purchase","params":{"session_id":5,"items":[{"item_id":"j","quantity":"two"}]}}"#;
    let late = r#"{"name":"purchase","timestamp_micros":-1,"params":{"session_id":5,"items":[]}}"#;
    check("--format ga4", &[(&request(good), "d/5 (u): add i 1; d/5 (u): purchase j 2; other")]);
    check("--format ga4", &[(&request(bad), "d/5 (u): add i 1; other; reject event 2 bad-quantity")]);
    check("--format ga4", &[(&request(late), "d/5 (u): add i 1; d/5 (u): checkout; other; unreadable-time")]);
    check("--format ga4", &[(&request("7"), "d/5 (u): add i 1; other; reject event 2 wrong-shape")]);
    check("--format ga4", &[(r#"{"events":[]}"#, "")]);
}

#[test]
fn ga4_export() {
    let row = |name: &str| {
        format!(
            r#"{{"event_date":"20260131","event_timestamp":"1769860800000000","event_name":"{name}","user_id":null,
                "user_pseudo_id":"12.34","ecommerce":{{"transaction_id":"t"}},
                "event_params":[{{"key":"page_location","value":{{"string_value":"https://shop"}}}},
                    {{"key":"ga_session_id","value":{{"string_value":null,"int_value":"77","double_value":null}}}}],
                "items":[{{"item_id":"i","item_name":"I","quantity":"2"}},{{"item_id":"j","quantity":null}}]}}"#
        )
    };
    check(
        "--format ga4",
        &[(&row("purchase"), "12.34/77 (12.34): purchase i 2; 12.34/77 (12.34): purchase j 1")],
    );
    check(
        "--format ga4 --basket order",
        &[(&row("purchase"), "t (12.34): purchase i 2; t (12.34): purchase j 1")],
    );
    check("--format ga4", &[(&row("session_start"), "other")]);
}

#[test]
fn segment_calls() {
    let call = |event: &str, properties: &str| {
        format!(
            r#"{{"type":"track","event":"{event}","messageId":"m","anonymousId":"a","userId":"u",
                "timestamp":"2026-01-31T12:00:00.000Z","context":{{"sessionId":9}},"properties":{properties}}}"#
        )
    };
    let product = r#"{"cart_id":"c","product_id":"p","sku":"s","quantity":2}"#;
    let order = r#"{"order_id":"o","products":[{"product_id":"p","quantity":2},{"sku":"s"}]}"#;
    let v1 = r#"{"orderId":"o","products":[{"id":"p","sku":"s","quantity":"2"}]}"#;
    check(
        "--format segment",
        &[
            (&call("Product Added", product), "c (u): add p 2"),
            (&call("Added Product", r#"{"cart_id":"c","id":"p","sku":"s"}"#), "c (u): add p 1"),
            (&call("Product Removed", product), "c (u): remove p 2"),
            (&call("Removed Product", r#"{"cart_id":"c","sku":"s"}"#), "c (u): remove s all"),
            (&call("Order Completed", order), "o (u): purchase p 2; o (u): purchase s 1"),
            (&call("Completed Order", v1), "o (u): purchase p 2"),
            (&call("Order Refunded", order), "o (u): refund p 2; o (u): refund s all"),
            (&call("Order Refunded", r#"{"order_id":"o"}"#), "o (u): cancel"),
            (&call("Order Cancelled", order), "o (u): cancel"),
            (&call("Order Updated", order), "o (u): cancel; o (u): purchase p 2; o (u): purchase s 1"),
            (&call("Order Updated", r#"{"order_id":"o"}"#), "other"),
            (&call("Product Viewed", "7"), "view"),
            (&call("Cart Viewed", order), "view"),
            (&call("Signed Up", "7"), "other"),
            (r#"{"type":"page","name":"Home"}"#, "other"),
            (r#"{"type":"track"}"#, "reject missing-event"),
            (r#"{"basket":"b","item":"i"}"#, "reject missing-event"),
            (&call("Product Added", r#"{"cart_id":"c"}"#), "reject missing-item"),
            (&call("Product Added", r#"{"product_id":"p"}"#), "reject missing-basket"),
            (&call("Product Added", r#"{"cart_id":"c","product_id":{}}"#), "reject wrong-type"),
            (
                &call("Product Added", r#"{"cart_id":"c","product_id":"p","quantity":"1,5"}"#),
                "reject bad-quantity",
            ),
            (&call("Order Completed", r#"{"order_id":"o","products":"p"}"#), "reject wrong-shape"),
            (
                &call("Order Completed", r#"{"order_id":"o","products":[{"name":"P"}]}"#),
                "reject missing-item",
            ),
        ],
    );
    check("--format segment --basket user", &[(&call("Product Added", product), "u (u): add p 2")]);
    check("--format segment --basket session", &[(&call("Product Added", product), "a/9 (u): add p 2")]);
    check("--format segment --basket order", &[(&call("Product Added", product), "other")]);
    check("--format segment --basket cart", &[(&call("Order Completed", order), "other")]);
    check(
        "--format segment --basket cart",
        &[(&call("Product Added", r#"{"product_id":"p"}"#), "reject missing-basket")],
    );
}

const UE: &str = r#"{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2","data":{"type":"TYPE"}}}"#;
const CO: &str = r#"{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0","data":[{"schema":"iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0","data":{"id":"page"}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0","data":{"id":"p","quantity":2}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/cart/jsonschema/1-0-0","data":{"cart_id":"c"}},{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/transaction/jsonschema/1-0-0","data":{"transaction_id":"t"}}]}"#;

/// An event as a tracker sends it, with JSON in strings.
fn sent(id: &str, action: &str) -> String {
    let text = |json: &str| serde_json::to_string(json).unwrap();
    let ue = text(&UE.replace("TYPE", action));
    format!(
        r#"{{"e":"ue","eid":"{id}","uid":"u","duid":"d","sid":"s","dtm":"1769860800000","ue_pr":{ue},"co":{}}}"#,
        text(CO)
    )
}

/// Where views are evidence, they are events, in every format that has them. Their quantities do not matter, and views
/// of carts stay ignored.
#[test]
fn views_are_events_where_they_are_evidence() {
    let both = |flags: &str, value: &str, expected: &str| {
        check(flags, &[(value, "view")]);
        check(&format!("{flags} --evidence view,add"), &[(value, expected)]);
    };
    let plain = r#"{"event":"view","basket":"b","user":"u","item":"i","quantity":"some"}"#;
    both("--format json", plain, "b (u): view i");
    let list = r#"{"event":"view","basket":"b","items":[{"item":"i","quantity":0},{"item":"j"}]}"#;
    both("--format json", list, "b: view i; b: view j");
    both("--format json", r#"{"event":"view","basket":"b"}"#, "reject missing-item");
    both("--format json", r#"{"event":"view","item":"i"}"#, "reject missing-basket");
    let paths = "--format json --fields basket=s,item=i,quantity=n,event=e --event-names view=seen";
    both(paths, r#"{"e":"seen","s":"b","i":"i","n":-3}"#, "b: view i");
    both("--format csv --columns basket=#1,item=#2,quantity=#3,event=#4", "b,i,x,view", "b: view i");

    let ga4 = |name: &str, params: &str| format!(r#"{{"name":"{name}","client_id":"d","params":{params}}}"#);
    let params = r#"{"session_id":5,"items":[{"item_id":"i","quantity":{}}]}"#;
    both("--format ga4", &ga4("view_item", params), "d/5 (d): view i");
    both("--format ga4", &ga4("view_cart", params), "view");
    both("--format ga4 --basket order", &ga4("view_item", params), "other");

    let segment = |event: &str| {
        format!(
            r#"{{"type":"track","event":"{event}","userId":"u","context":{{"sessionId":9}},"properties":{{"sku":"s"}}}}"#
        )
    };
    both("--format segment --basket session", &segment("Product Viewed"), "user/u/9 (u): view s");
    both("--format segment --basket user", &segment("Viewed Product"), "u (u): view s");
    both("--format segment", &segment("Product Viewed"), "other");
    both("--format segment --basket user", &segment("Cart Viewed"), "view");

    both("--format snowplow", &sent("1", "product_view"), "s (u): view p");
    both("--format snowplow --basket user", &sent("1", "product_view"), "u (u): view p");
    let twice = format!("[{},{}]", sent("1", "product_view"), sent("1", "product_view"));
    check("--format snowplow --evidence view", &[(&twice, "s (u): view p; duplicate")]);

    let mut rows = decoder("--format rees46 --evidence view");
    let header = "event_time,event_type,product_id,price,user_id,user_session";
    assert_eq!(shown(&mut *rows, &record(0, header.as_bytes())), ["header"]);
    let view = "2022-10-01 00:00:03 UTC,view,5773203,2.62,463240011,26dd6e6e";
    assert_eq!(shown(&mut *rows, &record(1, view.as_bytes())), ["26dd6e6e (463240011): view 5773203"]);
}

#[test]
fn snowplow_as_trackers_send_it() {
    let payload = |events: &[String]| {
        let schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
        format!(r#"{{"schema":"{schema}","data":[{}]}}"#, events.join(","))
    };
    let page = r#"{"e":"pv","eid":"9","url":"https://shop"}"#.to_string();
    check(
        "--format snowplow",
        &[
            (&sent("1", "add_to_cart"), "s (u): add p 2"),
            (&sent("1", "remove_from_cart"), "s (u): remove p 2"),
            (&sent("1", "transaction"), "s (u): purchase p 2"),
            (&sent("1", "refund"), "s (u): refund p 2"),
            (&sent("1", "product_view"), "view"),
            (&sent("1", "checkout_step"), "other"),
            (&page, "other"),
            (
                &payload(&[sent("1", "add_to_cart"), page.clone(), sent("2", "transaction")]),
                "s (u): add p 2; s (u): purchase p 2; other",
            ),
            (&payload(&[sent("1", "add_to_cart"), sent("1", "add_to_cart")]), "s (u): add p 2; duplicate"),
            (
                &payload(&[sent("1", "add_to_cart"), "{}".into()]),
                "s (u): add p 2; reject event 1 missing-event",
            ),
            (&payload(&[sent("1", "add_to_cart"), "7".into()]), "s (u): add p 2; reject event 1 wrong-shape"),
            (&payload(&["{}".into(), "7".into()]), "reject missing-event"),
            (r#"{"e":"ue","ue_pr":"{\"schema\""}"#, "reject malformed"),
            (r#"{"e":"ue","ue_px":"%%%"}"#, "reject malformed"),
            (r#"{"e":"ue","ue_pr":7}"#, "reject wrong-shape"),
            (r#"{"e":"ue"}"#, "other"),
            (
                &sent("1", "add_to_cart").replace(r#"\"quantity\":2"#, r#"\"quantity\":0"#),
                "reject bad-quantity",
            ),
            (&sent("1", "add_to_cart").replace(r#"\"id\":\"p\","#, ""), "reject missing-item"),
            (&sent("1", "add_to_cart").replace(r#""sid":"s","#, ""), "reject missing-basket"),
            (&sent("1", "add_to_cart").replace("1769860800000", "-1"), "s (u): add p 2; unreadable-time"),
        ],
    );
    check("--format snowplow --basket cart", &[(&sent("1", "add_to_cart"), "c (u): add p 2")]);
    check("--format snowplow --basket order", &[(&sent("1", "transaction"), "t (u): purchase p 2")]);
    check("--format snowplow --basket user", &[(&sent("1", "transaction"), "u (u): purchase p 2")]);
    let unpacked =
        format!(r#"{{"e":"ue","sid":"s","ue_pr":{},"co":{CO}}}"#, UE.replace("TYPE", "add_to_cart"));
    check("--format snowplow", &[(&unpacked, "s: add p 2")]);
}

#[test]
fn snowplow_in_base64() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (ue, co) = (URL_SAFE_NO_PAD.encode(UE.replace("TYPE", "add_to_cart")), URL_SAFE_NO_PAD.encode(CO));
    let event = format!(r#"{{"e":"ue","sid":"s","ue_px":"{ue}","cx":"{co}"}}"#);
    check("--format snowplow", &[(&event, "s: add p 2")]);
}

#[test]
fn snowplow_enriched() {
    let event = |action: &str| {
        format!(
            r#"{{"event":"unstruct","event_id":"1","user_id":null,"domain_userid":"d","domain_sessionid":"s",
                "derived_tstamp":"2026-01-31T12:00:00.000Z",
                "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{{"type":"{action}"}},
                "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{{"id":"p","quantity":2}},{{"id":"q"}}],
                "contexts_com_snowplowanalytics_snowplow_ecommerce_cart_1":[{{"cart_id":"c"}}],
                "contexts_com_snowplowanalytics_snowplow_ecommerce_refund_1":[{{"transaction_id":"t"}}]}}"#
        )
    };
    check(
        "--format snowplow",
        &[
            (&event("add_to_cart"), "s (d): add p 2; s (d): add q 1"),
            (&event("remove_from_cart"), "s (d): remove p 2; s (d): remove q all"),
            (&event("list_view"), "other"),
            (r#"{"event":"page_view","event_id":"1"}"#, "other"),
            (r#"{"event_id":"1"}"#, "reject missing-event"),
        ],
    );
    check(
        "--format snowplow --basket order",
        &[(&event("refund"), "t (d): refund p 2; t (d): refund q all")],
    );
    check("--format snowplow --basket cart", &[(&event("add_to_cart"), "c (d): add p 2; c (d): add q 1")]);
}
