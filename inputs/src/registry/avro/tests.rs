//! Values that the crate of Avro itself has written, and values that nobody would write.

use super::*;
use crate::decode::{Limits, Reason};
use crate::registry::schema::{Broken, Kind};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

fn avro(schema: &str) -> Avro {
    with_others(schema, &[]).unwrap()
}

fn with_others(schema: &str, others: &[&str]) -> Result<Avro, String> {
    let others = others.iter().map(|other| (String::new(), (*other).to_owned())).collect();
    Avro::new(&Source { kind: Kind::Avro, text: schema.to_owned(), others })
}

fn read(schema: &str, value: &[u8]) -> Result<String, Broken> {
    let mut text = Vec::new();
    avro(schema).write_json(value, &mut text, &Limits::default())?;
    Ok(String::from_utf8(text).unwrap())
}

fn written(schema: &str, value: Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

#[track_caller]
fn check(schema: &str, value: Value, expected: &str) {
    let text = read(schema, &written(schema, value)).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    assert_eq!(text, expected);
}

#[test]
fn plain_types() {
    check(r#""null""#, Value::Null, "null");
    check(r#""boolean""#, Value::Boolean(true), "true");
    check(r#""boolean""#, Value::Boolean(false), "false");
    for number in [0, 1, -1, 63, 64, -64, -65, i64::from(i32::MAX), i64::MAX, i64::MIN] {
        check(r#""long""#, Value::Long(number), &number.to_string());
    }
    check(r#""int""#, Value::Int(-7), "-7");
    check(r#""float""#, Value::Float(0.1), "0.1");
    check(r#""double""#, Value::Double(-2.5e300), "-2.5e+300");
    check(r#""double""#, Value::Double(2.0), "2.0");
    check(r#""double""#, Value::Double(f64::NAN), r#""NaN""#);
    check(r#""float""#, Value::Float(f32::INFINITY), r#""inf""#);
    check(r#""string""#, Value::String("a \"b\"\\\n ü".to_owned()), r#""a \"b\"\\\n ü""#);
    check(r#""bytes""#, Value::Bytes(vec![0, 255]), r#""AP8=""#);
}

#[test]
fn types_with_names() {
    let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
    check(fixed, Value::Fixed(2, vec![0, 255]), r#""AP8=""#);
    let symbols = r#"{"type":"enum","name":"E","symbols":["add","remove"]}"#;
    check(symbols, Value::Enum(1, "remove".to_owned()), r#""remove""#);
}

#[test]
fn types_of_types() {
    let list = r#"{"type":"array","items":"int"}"#;
    check(list, Value::Array(vec![]), "[]");
    check(list, Value::Array(vec![Value::Int(1), Value::Int(2)]), "[1,2]");
    let map = r#"{"type":"map","values":"int"}"#;
    check(map, Value::Map([("a\"".to_owned(), Value::Int(1))].into()), r#"{"a\"":1}"#);
    let union = r#"["null","string",{"type":"array","items":"string"}]"#;
    check(union, Value::Union(0, Box::new(Value::Null)), "null");
    check(union, Value::Union(1, Box::new(Value::String("a".to_owned()))), r#""a""#);
    check(union, Value::Union(2, Box::new(Value::Array(vec![]))), "[]");
    let tree = r#"{"type":"record","name":"shop.Tree","fields":[
        {"name":"value","type":"int"},{"name":"next","type":["null","Tree"]}]}"#;
    let node = |value, next: Value| {
        let at = u32::from(next != Value::Null);
        let next = Value::Union(at, Box::new(next));
        Value::Record(vec![("value".to_owned(), Value::Int(value)), ("next".to_owned(), next)])
    };
    check(tree, node(1, node(2, Value::Null)), r#"{"value":1,"next":{"value":2,"next":null}}"#);
}

#[test]
fn blocks_may_say_their_length() {
    // Two items in a block of 2 bytes, then one in a block without a length.
    let value = [3, 4, 2, 4, 2, 6, 0];
    assert_eq!(read(r#"{"type":"array","items":"int"}"#, &value).unwrap(), "[1,2,3]");
}

#[test]
fn times() {
    let of = |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
    let long = |logical: &str, value: i64, expected: &str| {
        let schema = of("long", logical);
        assert_eq!(read(&schema, &written(r#""long""#, Value::Long(value))).unwrap(), expected, "{logical}");
    };
    long("timestamp-millis", 1_769_860_800_123, r#""2026-01-31T12:00:00.123Z""#);
    long("timestamp-millis", -1, r#""1969-12-31T23:59:59.999Z""#);
    long("timestamp-micros", 1_769_860_800_000_001, r#""2026-01-31T12:00:00.000001Z""#);
    long("timestamp-nanos", 1_769_860_800_000_000_001, r#""2026-01-31T12:00:00.000000001Z""#);
    long("local-timestamp-millis", 1_769_860_800_000, r#""2026-01-31T12:00:00.000""#);
    // Beyond the year 9999 there is no text.
    long("timestamp-millis", i64::MAX, "9223372036854775807");
    long("timestamp-micros", i64::MIN, "-9223372036854775808");
    long("time-micros", 43_200_000_001, r#""12:00:00.000001""#);
    long("time-micros", -1, "-1");
    let int = |logical: &str, value: i32, expected: &str| {
        let schema = of("int", logical);
        assert_eq!(read(&schema, &written(r#""int""#, Value::Int(value))).unwrap(), expected, "{logical}");
    };
    int("date", 20_484, r#""2026-01-31""#);
    int("date", i32::MAX, "2147483647");
    int("time-millis", 3_661_007, r#""01:01:01.007""#);
    int("time-millis", 86_400_000, "86400000");
    let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    assert_eq!(read(duration, &[1, 0, 0, 0, 2, 0, 0, 0, 184, 11, 0, 0]).unwrap(), r#""P1M2DT3.000S""#);
}

#[test]
fn decimals() {
    let of =
        |scale: u32| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":30,"scale":{scale}}}"#);
    let check = |scale, bytes: &[u8], expected: &str| {
        let value = written(r#""bytes""#, Value::Bytes(bytes.to_vec()));
        assert_eq!(read(&of(scale), &value).unwrap(), expected);
    };
    check(2, &[0x04, 0xd2], "12.34");
    check(2, &[0xfb, 0x2e], "-12.34");
    check(2, &[5], "0.05");
    check(2, &[0xfb], "-0.05");
    check(0, &[5], "5");
    check(3, &[], "0.000");
    check(
        0,
        &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "-170141183460469231731687303715884105728",
    );
    // No number that a shop has.
    check(0, &[1; 17], r#""AQEBAQEBAQEBAQEBAQEBAQE=""#);
    let fixed = r#"{"type":"fixed","name":"P","size":2,"logicalType":"decimal","precision":4,"scale":1}"#;
    assert_eq!(read(fixed, &[0x04, 0xd2]).unwrap(), "123.4");
    let big = r#"{"type":"bytes","logicalType":"big-decimal"}"#;
    assert_eq!(read(big, &[8, 4, 0x04, 0xd2, 4]).unwrap(), "12.34");
}

#[test]
fn uuids() {
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let text = r#"{"type":"string","logicalType":"uuid"}"#;
    assert_eq!(read(text, &written(r#""string""#, Value::String(uuid.into()))).unwrap(), format!("{uuid:?}"));
    let fixed = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    let bytes = 0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8_u128.to_be_bytes();
    assert_eq!(read(fixed, &bytes).unwrap(), format!("{uuid:?}"));
}

#[test]
fn schemas_may_refer_to_others_in_any_order() {
    let order = r#"{"type":"record","name":"shop.Order","fields":[{"name":"lines","type":{"type":"array","items":"shop.Line"}}]}"#;
    let line = r#"{"type":"record","name":"shop.Line","fields":[{"name":"item","type":"shop.Item"}]}"#;
    let item = r#"{"type":"record","name":"shop.Item","fields":[{"name":"sku","type":"string"}]}"#;
    for others in [[line, item], [item, line]] {
        let avro = with_others(order, &others).unwrap();
        let mut text = Vec::new();
        avro.write_json(&[2, 2, b'a', 0], &mut text, &Limits::default()).unwrap();
        assert_eq!(text, br#"{"lines":[{"item":{"sku":"a"}}]}"#);
    }
    assert!(with_others(order, &[line]).is_err());
}

#[test]
fn what_is_no_schema_is_refused() {
    for text in [
        "",
        "{",
        "7",
        r#"{"type":"object"}"#,
        r#"{"type":"record","name":"a b","fields":[]}"#,
        "\"shop.Order\"",
    ] {
        assert!(with_others(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn values_that_end_too_soon_say_in_which_field() {
    let schema = r#"{"type":"record","name":"E","fields":[{"name":"items","type":{"type":"array","items":
        {"type":"record","name":"L","fields":[{"name":"item","type":"string"}]}}},{"name":"rest","type":"long"}]}"#;
    let whole = [2, 2, b'a', 0, 8];
    assert!(read(schema, &whole).is_ok());
    for end in 0..whole.len() {
        assert!(read(schema, &whole[..end]).is_err(), "{end} bytes");
    }
    let broken = read(schema, &[2, 20, b'a']).unwrap_err();
    assert_eq!(broken.what, "field items.item: it ends too soon: 10 bytes are wanted, and 1 are there");
    let broken = read(schema, &[2, 2, b'a', 0, 8, 9]).unwrap_err();
    assert_eq!(broken.what, "1 bytes are left over: is it another schema's?");
}

#[test]
fn hostile_values_are_refused() {
    let reason = |schema: &str, value: &[u8]| read(schema, value).unwrap_err().reason;
    let nothing = r#"{"type":"array","items":"null"}"#;
    // 2^62 items of no bytes, with and without a length.
    let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
    assert_eq!(reason(nothing, &many), Reason::TooLarge);
    assert_eq!(
        reason(nothing, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]),
        Reason::TooLarge
    );
    let itself = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
    assert_eq!(reason(itself, &[]), Reason::TooDeep);
    let lists = r#"{"type":"record","name":"R","fields":[{"name":"r","type":{"type":"array","items":"R"}}]}"#;
    assert_eq!(reason(lists, &[2; 1000]), Reason::TooDeep);
    // Whoever reads it finds that it is no text.
    assert_eq!(read(r#""string""#, &[4, 0xff, 0xfe]).unwrap(), r#""\udfff\udfff\udfff\udfff""#);
    assert_eq!(reason(r#""string""#, &[1]), Reason::Malformed);
    assert_eq!(reason(r#""long""#, &[0xff; 11]), Reason::Malformed);
    assert_eq!(
        reason(r#""long""#, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
        Reason::Malformed
    );
    assert_eq!(reason(r#"["null","int"]"#, &[4]), Reason::Malformed);
    assert_eq!(reason(r#"["null","int"]"#, &[1]), Reason::Malformed);
    assert_eq!(reason(r#"{"type":"enum","name":"E","symbols":["a"]}"#, &[2]), Reason::Malformed);
    assert_eq!(reason(r#"{"type":"bytes","logicalType":"big-decimal"}"#, &[2, 8]), Reason::Malformed);
}
