//! Any JSON by the paths of its fields, and the orders of shops.

use crate::{check, decoder, record, shown};

const SHOPIFY: &str = r##"{"id":9001,"name":"#1001","created_at":"2026-01-31T12:00:00+01:00","cancelled_at":null,
    "customer":{"id":11},"line_items":[{"id":1,"sku":"KETTLE","quantity":1},{"id":2,"sku":"TEAPOT","quantity":2}]}"##;

const WOOCOMMERCE: &str = r#"{"id":727,"status":"processing","customer_id":5,"date_created":"2026-01-31T12:00:00",
    "line_items":[{"id":315,"product_id":93,"sku":"KETTLE","quantity":2},{"id":316,"product_id":22,"sku":"","quantity":1}]}"#;

#[test]
fn fields_by_path() {
    let flags = "--format json --fields basket=id,item=lines[].sku,quantity=lines[].n,time=at,user=who.id,id=uid,event=what";
    check(
        flags,
        &[
            (r#"{"id":1,"lines":[{"sku":"a","n":2},{"sku":7}]}"#, "1: add a 2; 1: add 7 1"),
            (r#"{"lines":[{"n":"2","sku":"a"}],"who":{"x":[{}],"id":"u"},"id":"b"}"#, "b (u): add a 2"),
            (r#"{"id":1,"what":"remove","lines":[{"sku":"a"}]}"#, "1: remove a all"),
            (r#"{"id":1,"what":"clear"}"#, "1: clear"),
            (r#"{"id":1,"what":"purchase","lines":[]}"#, "1: checkout"),
            (r#"{"id":1,"what":"NULL","lines":[{"sku":"a"}]}"#, "1: add a 1"),
            (r#"{"id":1,"what":"wish","lines":[{"sku":"a"}]}"#, "reject unknown-event"),
            // A list that is not there is a path gone wrong, not an empty one.
            (r#"{"id":1,"what":"purchase","line":[{"sku":"a"}]}"#, "reject missing-item"),
            (r#"{"id":1,"lines":null}"#, "reject missing-item"),
            (r#"{"id":1,"lines":[]}"#, "reject missing-item"),
            // PHP's lists; other objects and values are none.
            (r#"{"id":1,"lines":{"0":{"sku":"a"},"4":{"sku":"b"}}}"#, "1: add a 1; 1: add b 1"),
            (r#"{"id":1,"lines":{"sku":"a"}}"#, "reject wrong-shape"),
            (r#"{"id":1,"lines":"[{}]"}"#, "reject wrong-shape"),
            // One bad line costs the others nothing.
            (
                r#"{"id":1,"lines":[{"sku":"a"},{"n":1},3,null,{"sku":"b","n":"many"},{"sku":"NULL"},{"sku":"c"}]}"#,
                "1: add a 1; 1: add c 1; reject line 1 missing-item; reject line 2 missing-item; \
                 reject line 3 missing-item; reject line 4 bad-quantity; reject line 5 missing-item",
            ),
            // Fields that nothing needs.
            (r#"{"id":1,"at":"soon","lines":[{"sku":"a"}]}"#, "1: add a 1; unreadable-time"),
            (r#"{"id":1,"who":{"id":true},"lines":[{"sku":"a"}]}"#, "1: add a 1; unreadable-user"),
            (r#"{"id":1,"who":"u","lines":[{"sku":"a"}]}"#, "1: add a 1"),
            (r#"{"id":1,"who":{"id":"nan"},"lines":[{"sku":"a"}]}"#, "1: add a 1"),
            (r#"{"lines":[{"sku":"a"}]}"#, "reject missing-basket"),
            (r#"{"id":"","lines":[{"sku":"a"}]}"#, "reject missing-basket"),
            (r#"{"id":"NULL","lines":[{"sku":"a"}]}"#, "reject missing-basket"),
            (r#"{"id":1,"id":2,"lines":[{"sku":"a"}]}"#, "reject wrong-shape"),
            ("[1]", "reject wrong-shape"),
            ("7", "reject wrong-shape"),
            (r#"{"id":1,"lines":[{"sku":"a"}"#, "reject malformed"),
            (r#"{"id":1}{}"#, "reject malformed"),
        ],
    );
    let mut decoder = decoder(flags);
    let mut twice =
        || shown(&mut *decoder, &record(1, br#"{"id":1,"uid":"e1","lines":[{"sku":"a"}]}"#)).join("; ");
    assert_eq!((twice(), twice()), ("1: add a 1".to_owned(), "duplicate".to_owned()));
}

#[test]
fn paths_of_every_kind() {
    check(
        "--format json --fields basket=a.b|c,item=i,quantity=n",
        &[
            (r#"{"a":{"b":"x"},"c":"y","i":"p","n":2}"#, "x: add p 2"),
            (r#"{"a":{"b":null},"c":"y","i":"p"}"#, "y: add p 1"),
            (r#"{"a":[],"c":"y","i":"p"}"#, "y: add p 1"),
            (r#"{"c":"y"}"#, "reject missing-item"),
        ],
    );
    check(
        "--format json --fields basket=m[1].v,item=ids[]",
        &[(
            r#"{"m":[{"v":1},{"v":2},{"v":3}],"ids":["p",7,null,""]}"#,
            "2: add p 1; 2: add 7 1; reject line 2 missing-item; reject line 3 missing-item",
        )],
    );
    check(
        "--format json --fields basket=id,item=parcels[].lines[].sku,quantity=parcels[].lines[].n",
        &[(
            r#"{"id":1,"parcels":[{"lines":[{"sku":"p"}]},{"lines":[{"n":3,"sku":"q"},{"sku":"r"}]},{}]}"#,
            "1: add p 1; 1: add q 3; 1: add r 1",
        )],
    );
    check(
        "--format json --fields basket=member+\"a.day\",item=i,time=t --time-format %d.%m.%Y",
        &[
            (r#"{"member":1,"a.day":"mon","i":"p","t":"31.01.2026"}"#, "1+mon: add p 1"),
            (r#"{"member":1,"i":"p"}"#, "reject missing-basket"),
        ],
    );
    check(
        "--format json --fields item=i --basket member+day",
        &[(r#"{"day":3,"member":"m","i":"p"}"#, "m+3: add p 1")],
    );
    check("--format json --fields user=u,item=i --basket user", &[(r#"{"u":3,"i":"p"}"#, "3 (3): add p 1")]);
    // An escaped name is the same name.
    check("--format json --fields basket=b,item=i", &[("{\"\\u0062\":1,\"i\":\"p\"}", "1: add p 1")]);
}

#[test]
fn shopify_orders() {
    check(
        "--format shopify",
        &[(SHOPIFY, "9001 (11): cancel; 9001 (11): purchase KETTLE 1; 9001 (11): purchase TEAPOT 2")],
    );
    let order = |more: &str, lines: &str| format!(r##"{{"id":1,"name":"#1",{more}"line_items":[{lines}]}}"##);
    let cases = [
        // What is left of a line after a return.
        (
            order(
                "",
                r#"{"sku":"a","quantity":2,"current_quantity":1},{"sku":"b","quantity":1,"current_quantity":0}"#,
            ),
            "1: cancel; 1: purchase a 1",
        ),
        (
            order(
                "",
                r#"{"sku":"","variant_id":5,"product_id":3},{"sku":null,"variant_id":null,"product_id":4}"#,
            ),
            "1: cancel; 1: purchase 5 1; 1: purchase 4 1",
        ),
        (
            order("", r#"{"title":"Gift wrap","product_id":null},{"sku":"a"}"#),
            "1: cancel; 1: purchase a 1; reject line 0 missing-item",
        ),
        (order(r#""cancelled_at":"2026-02-01T12:00:00Z","#, r#"{"sku":"a"}"#), "1: cancel"),
        // A shipment, a checkout, a draft, a cart, an order that was deleted: no orders.
        (order(r#""order_id":7,"#, r#"{"sku":"a"}"#), "other"),
        (order(r#""abandoned_checkout_url":"https://shop/1","#, r#"{"sku":"a"}"#), "other"),
        (order(r#""invoice_url":"https://shop/1","#, r#"{"sku":"a"}"#), "other"),
        (r#"{"id":"c1","token":"c1","line_items":[{"sku":"a","quantity":1}]}"#.to_owned(), "other"),
        (r#"{"id":1}"#.to_owned(), "other"),
    ];
    let cases: Vec<(&str, &str)> =
        cases.iter().map(|(value, expected)| (value.as_str(), *expected)).collect();
    check("--format shopify", &cases);
    check(
        "--format shopify --basket user",
        &[(SHOPIFY, "11 (11): cancel; 11 (11): purchase KETTLE 1; 11 (11): purchase TEAPOT 2")],
    );
    check(
        "--format shopify --fields item=line_items[].id",
        &[(SHOPIFY, "9001 (11): cancel; 9001 (11): purchase 1 1; 9001 (11): purchase 2 2")],
    );
}

#[test]
fn woocommerce_orders() {
    check(
        "--format woocommerce",
        &[(WOOCOMMERCE, "727 (5): cancel; 727 (5): purchase KETTLE 2; 727 (5): purchase 22 1")],
    );
    let order = |status: &str| {
        format!(r#"{{"id":1,"status":"{status}","customer_id":0,"line_items":[{{"sku":"a"}}]}}"#)
    };
    for status in ["processing", "completed", "on-hold", "shipped"] {
        check("--format woocommerce", &[(&order(status), "1: cancel; 1: purchase a 1")]);
    }
    for status in ["pending", "checkout-draft", "cancelled", "refunded", "failed", "trash"] {
        check("--format woocommerce", &[(&order(status), "1: cancel")]);
    }
    // Guests share nothing; a product is no order.
    check("--format woocommerce --basket user", &[(&order("completed"), "reject missing-basket")]);
    check("--format woocommerce", &[(r#"{"id":93,"name":"Kettle","sku":"a","status":"publish"}"#, "other")]);
}
