//! Good, bad and nearly good records of plain JSON, and repeated ones.

use crate::{check, decoder, record, shown};
use deltacart_inputs::RawRecord;

#[test]
fn plain_kinds_and_quantities() {
    check(
        "--format json",
        &[
            (r#"{"basket":"b","item":"i"}"#, "b: add i 1"),
            (r#"{"event":"add","basket":"b","user":"u","item":"i","quantity":3}"#, "b (u): add i 3"),
            (r#"{"event":"add","basket":"b","item":"i","quantity":-3}"#, "b: remove i 3"),
            (r#"{"event":"add","basket":"b","item":"i","quantity":0}"#, "reject bad-quantity"),
            (r#"{"event":"remove","basket":"b","item":"i"}"#, "b: remove i all"),
            (r#"{"event":"remove","basket":"b","item":"i","quantity":2}"#, "b: remove i 2"),
            (r#"{"event":"remove","basket":"b","item":"i","quantity":-2}"#, "reject bad-quantity"),
            (r#"{"event":"set","basket":"b","item":"i","quantity":0}"#, "b: set i 0"),
            (r#"{"event":"set","basket":"b","item":"i"}"#, "reject bad-quantity"),
            (r#"{"event":"set","basket":"b","item":"i","quantity":-1}"#, "reject bad-quantity"),
            (r#"{"event":"clear","basket":"b"}"#, "b: clear"),
            (r#"{"event":"clear","basket":"b","item":{}}"#, "b: clear"),
            (r#"{"event":"purchase","basket":"b"}"#, "b: checkout"),
            (r#"{"event":"purchase","basket":"b","items":[]}"#, "b: checkout"),
            (r#"{"event":"purchase","basket":"b","item":"i"}"#, "b: purchase i 1"),
            (r#"{"event":"purchase","basket":"b","item":"i","quantity":-2}"#, "b: refund i 2"),
            (r#"{"event":"refund","basket":"b"}"#, "b: cancel"),
            (r#"{"event":"refund","basket":"b","item":"i"}"#, "b: refund i all"),
            (r#"{"event":"refund","basket":"b","item":"i","quantity":2}"#, "b: refund i 2"),
            (r#"{"event":"refund","basket":"b","item":"i","quantity":0}"#, "reject bad-quantity"),
            (r#"{"event":"cancel","basket":"b","items":[{"item":"i"}]}"#, "b: cancel"),
            (r#"{"event":"update","basket":"b","items":[{"item":"i"}]}"#, "b: cancel; b: purchase i 1"),
            (r#"{"event":"update","basket":"b"}"#, "other"),
            (r#"{"event":"view","item":"i"}"#, "view"),
            (r#"{"event":"other"}"#, "other"),
            (r#"{"event":"forget","basket":"b","user":"u"}"#, "b (u): forget"),
            (r#"{"event":"forget","user":"u"}"#, " (u): forgetuser"),
            (r#"{"event":"forget"}"#, "reject missing-basket"),
            (r#"{"event":"wish","basket":"b","item":"i"}"#, "reject unknown-event"),
            (r#"{"event":"Add","basket":"b","item":"i"}"#, "reject unknown-event"),
            (r#"{"event":7,"basket":"b","item":"i"}"#, "reject wrong-type"),
        ],
    );
}

#[test]
fn plain_shapes() {
    check(
        "--format json",
        &[
            (r#" {"version":1,"item":"i","basket":"b"} "#, "b: add i 1"),
            (r#"{"version":2,"item":"i","basket":"b"}"#, "reject unknown-version"),
            (r#"{"version":"1","item":"i","basket":"b"}"#, "reject unknown-version"),
            (
                r#"{"basket":"b","items":[{"item":"i","quantity":2},{"item":7},{"item":"j","quantity":-1}]}"#,
                "b: add i 2; b: add 7 1; b: remove j 1",
            ),
            (
                r#"{"basket":"b","items":[{"item":"i"},{"quantity":2}]}"#,
                "b: add i 1; reject line 1 missing-item",
            ),
            (
                r#"{"basket":"b","items":[{"item":"i"},{"item":""}]}"#,
                "b: add i 1; reject line 1 missing-item",
            ),
            (r#"{"basket":"b","items":["i"]}"#, "reject wrong-shape"),
            (r#"{"basket":"b","items":[["i",1]]}"#, "reject wrong-shape"),
            (r#"{"basket":"b","items":{"item":"i"}}"#, "reject wrong-shape"),
            (r#"{"basket":"b","items":[{"item":"i"}],"item":"j"}"#, "reject wrong-shape"),
            (r#"{"basket":"b","items":[{"item":"i"}],"quantity":2}"#, "reject wrong-shape"),
            (r#"{"basket":"b","quantity":2}"#, "reject missing-item"),
            (r#"{"basket":"b"}"#, "reject missing-item"),
            (r#"{"item":"i"}"#, "reject missing-basket"),
            (r#"{"basket":null,"item":"i"}"#, "reject missing-basket"),
            (r#"{"basket":"b","item":"i","item":"j"}"#, "reject wrong-shape"),
            (r#"{"basket":"b","item":"i","extra":{"item":[1,{}]}}"#, "b: add i 1"),
            (r#"["b","i"]"#, "reject wrong-shape"),
            (r#""b""#, "reject wrong-shape"),
            (r#"null"#, "reject wrong-shape"),
            (r#"{"basket":"b","item":"i"}{"basket":"b","item":"i"}"#, "reject malformed"),
            (r#"{'basket':'b','item':'i'}"#, "reject malformed"),
            (r#"{"basket":"b","item":"i",}"#, "reject malformed"),
            ("   ", "reject malformed"),
            ("", "reject empty"),
            ("\0\0\0\0\x07{\"basket\":\"b\",\"item\":\"i\"}", "b: add i 1"),
            ("\0\0\0\0", "reject malformed"),
        ],
    );
}

#[test]
fn plain_ids() {
    check(
        "--format json",
        &[
            (r#"{"basket":12,"item":-7}"#, "12: add -7 1"),
            (r#"{"basket":"12","item":0}"#, "12: add 0 1"),
            (
                r#"{"basket":123456789012345678901234567890,"item":1}"#,
                "123456789012345678901234567890: add 1 1",
            ),
            (r#"{"basket":1.0,"item":1}"#, "reject bad-id"),
            (r#"{"basket":1e3,"item":1}"#, "reject bad-id"),
            (r#"{"basket":-0,"item":1}"#, "reject bad-id"),
            (r#"{"basket":"","item":1}"#, "reject missing-basket"),
            (r#"{"basket":"b","item":""}"#, "reject missing-item"),
            (r#"{"basket":true,"item":1}"#, "reject wrong-type"),
            (r#"{"basket":["b"],"item":1}"#, "reject wrong-type"),
            (r#"{"basket":{"b":1},"item":1}"#, "reject wrong-type"),
            (r#"{"basket":"b","item":"i","user":""}"#, "b: add i 1"),
            (r#"{"basket":"b","item":"i","id":false}"#, "b: add i 1; unreadable-event-id"),
            (r#"{"basket":"b\u00e4\n","item":"\ud83d\ude00"}"#, "bä\n: add 😀 1"),
            (r#"{"basket":"b","item":"\ud83d"}"#, "reject malformed"),
            (r#"{"basket":"b","item":"\q"}"#, "reject malformed"),
            ("{\"basket\":\"b\",\"item\":\"a\nb\"}", "reject malformed"),
            ("{\"basket\":\"b\",\"unused\":\"a\nb\",\"item\":\"i\"}", "reject malformed"),
        ],
    );
    let at_limit = "x".repeat(256);
    check(
        "--format json",
        &[(&format!(r#"{{"basket":"b","item":"{at_limit}"}}"#), &format!("b: add {at_limit} 1"))],
    );
    check("--format json", &[(&format!(r#"{{"basket":"b","item":"{at_limit}x"}}"#), "reject id-too-long")]);
}

#[test]
fn plain_baskets_by_field() {
    let value = r#"{"basket":"b","order":"o","cart":"c","session":"s","user":"u","item":"i"}"#;
    for (basket, expected) in [("auto", "b"), ("order", "o"), ("cart", "c"), ("session", "s"), ("user", "u")]
    {
        check(&format!("--format json --basket {basket}"), &[(value, &format!("{expected} (u): add i 1"))]);
    }
    check("--format json --basket order", &[(r#"{"basket":"b","item":"i"}"#, "reject missing-basket")]);
}

#[test]
fn plain_with_the_shops_names() {
    let flags = "--format json --event-names add=put,add=more,clear=drop,other=ping";
    check(
        flags,
        &[
            (r#"{"event":"put","basket":"b","item":"i"}"#, "b: add i 1"),
            (r#"{"event":"more","basket":"b","item":"i"}"#, "b: add i 1"),
            (r#"{"event":"add","basket":"b","item":"i"}"#, "b: add i 1"),
            (r#"{"event":"drop","basket":"b"}"#, "b: clear"),
            (r#"{"event":"ping"}"#, "other"),
            (r#"{"event":"pong"}"#, "reject unknown-event"),
        ],
    );
    check("--format json --event-names other=*", &[(r#"{"event":"pong"}"#, "other")]);
    // The shop's name wins over ours of the same spelling.
    check(
        "--format json --event-names other=add",
        &[(r#"{"event":"add","basket":"b","item":"i"}"#, "other")],
    );
}

#[test]
fn plain_times() {
    for (time, expected) in [
        (r#""2026-01-31T12:00:00Z""#, "b: add i 1"),
        ("1769860800000", "b: add i 1"),
        ("null", "b: add i 1"),
        ("1769860800.5", "b: add i 1"),
        ("[2026,1,31,12,0,0]", "b: add i 1"),
        (r#""""#, "b: add i 1"),
        (r#""soon""#, "b: add i 1; unreadable-time"),
        ("-0", "b: add i 1; unreadable-time"),
        ("-1", "b: add i 1; unreadable-time"),
        ("1e400", "b: add i 1; unreadable-time"),
        (r#""+12026-01-31T12:00:00Z""#, "b: add i 1; unreadable-time"),
        ("true", "b: add i 1; unreadable-time"),
        ("{}", "b: add i 1; unreadable-time"),
    ] {
        check("--format json", &[(&format!(r#"{{"basket":"b","item":"i","time":{time}}}"#), expected)]);
    }
}

#[test]
fn repeated_ids_within_the_horizon() {
    let mut options = crate::options_of("--format json");
    let add = |id: &str| format!(r#"{{"basket":"b","item":"i","id":{id}}}"#);
    let play = |options: &deltacart_inputs::DecodeOptions, ids: &[(u32, &str)]| -> Vec<bool> {
        let mut decoder = options.decoder().unwrap();
        let dropped = |(partition, id): &(u32, &str)| {
            let value = add(id);
            let became =
                shown(&mut *decoder, &RawRecord { partition: *partition, ..record(1, value.as_bytes()) });
            became == ["duplicate"]
        };
        ids.iter().map(dropped).collect()
    };
    let ids = [(0, "1"), (0, "2"), (0, "1"), (1, "1"), (0, "3"), (0, "4"), (0, "1"), (0, "\"1\"")];
    options.duplicate_horizon = 3;
    assert_eq!(play(&options, &ids), [false, false, true, false, false, false, false, true]);
    options.duplicate_horizon = 0;
    assert_eq!(play(&options, &ids), [false; 8]);

    let mut decoder = decoder("--format json");
    let bad = r#"{"basket":"b","item":"i","quantity":0,"id":"1"}"#;
    assert_eq!(shown(&mut *decoder, &record(1, bad.as_bytes())), ["reject bad-quantity"]);
    assert_eq!(
        shown(&mut *decoder, &record(2, add("\"1\"").as_bytes())),
        ["b: add i 1"],
        "a reject's id is free"
    );
}
