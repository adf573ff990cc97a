//! A record's key as an id: where the key is the basket, or a tombstone says which basket is gone.
//!
//! | key | id |
//! |---|---|
//! | text | the text |
//! | a JSON string or integer | its text |
//! | a JSON object of one field, as Debezium writes keys | the value of that field |
//! | the same in Connect's `schema` and `payload` | the value in the payload |
//! | any of these behind the prefix of a schema registry | likewise |
//! | four or eight bytes of which the first is 0, as Java writes integers | the decimal text |

use super::fields::{Field, Raw};
use super::json::object;
use super::utf8::utf8;
use super::{Limits, Reason, Reject};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What the key is called in rejects.
const KEY: Field<'static> = Field::named("key of the record");

/// A key in Connect's envelope.
#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(borrow)]
    schema: Raw<'a>,
    #[serde(borrow)]
    payload: Raw<'a>,
}

/// The id that a record's key is; none where there is no key, or an empty one.
pub(super) fn id<'a>(key: Option<&'a [u8]>, limits: &Limits) -> Result<Option<Cow<'a, str>>, Reject> {
    match key {
        None => Ok(None),
        Some([0, _, _, _, _, json @ ..]) if matches!(json, [b'"' | b'{', .., b'"' | b'}']) => {
            text_id(json, limits)
        }
        Some([0, rest @ ..]) if rest.len() == 3 || rest.len() == 7 => {
            let integer = rest.iter().fold(0u64, |integer, &byte| integer << 8 | u64::from(byte));
            Ok(Some(Cow::Owned(integer.to_string())))
        }
        Some(key) => text_id(key, limits),
    }
}

fn text_id<'a>(key: &'a [u8], limits: &Limits) -> Result<Option<Cow<'a, str>>, Reject> {
    let text = utf8(KEY, key)?;
    if text.contains('\0') {
        return Err(KEY.reject(Reason::BadId, "it is neither text nor an integer of Java's serializers"));
    }
    match text.as_bytes() {
        [b'"', .., b'"'] => match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => limits.id(KEY, Some(raw)),
            Err(_) => limits.id_text(KEY, Cow::Borrowed(text)),
        },
        [b'{', .., b'}'] => object_id(text, limits),
        _ => limits.id_text(KEY, Cow::Borrowed(text)),
    }
}

fn object_id<'a>(text: &'a str, limits: &Limits) -> Result<Option<Cow<'a, str>>, Reject> {
    let connect: Connect<'a> = object(KEY, text, limits)?;
    let text = match connect.payload {
        Some(payload) if connect.schema.is_some() && payload.get().starts_with('{') => payload.get(),
        Some(payload) if connect.schema.is_some() => return limits.id(KEY, Some(payload)),
        _ => text,
    };
    let fields: BTreeMap<Cow<'a, str>, &'a RawValue> = object(KEY, text, limits)?;
    let mut values = fields.values();
    match (values.next(), values.next()) {
        (Some(value), None) => limits.id(KEY, Some(value).filter(|value| value.get() != "null").copied()),
        _ => {
            let names: Vec<&str> = fields.keys().take(10).map(|name| name.as_ref()).collect();
            let what = format!("{} fields ({}), which of them is the id?", fields.len(), names.join(", "));
            Err(KEY.reject(Reason::WrongShape, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_producers_write_them() {
        let read = |key: &[u8]| {
            id(Some(key), &Limits::default())
                .map(|id| id.map(Cow::into_owned))
                .map_err(|reject| reject.reason)
        };
        for (key, expected) in [
            (&b"cart-1"[..], "cart-1"),
            (b"1001", "1001"),
            (br#""cart-1""#, "cart-1"),
            (br#"{"id":1001}"#, "1001"),
            (br#"{"id":"cart-1"}"#, "cart-1"),
            (br#"{"schema":{"type":"string"},"payload":"cart-1"}"#, "cart-1"),
            (br#"{"schema":{"type":"struct"},"payload":{"id":7}}"#, "7"),
            (b"\0\0\0\0\x07{\"id\":7}", "7"),
            (b"\0\0\0\0\x07\"a\"", "a"),
            (b"\0\0\0\0\0\0\x03\xe9", "1001"),
            (b"\0\0\x03\xe9", "1001"),
            // Two that differ in high bytes only are two.
            (b"\0\0\0\0\x01\0\x03\xe9", "16778217"),
            ("käse".as_bytes(), "käse"),
            (b"\"", "\""),
        ] {
            assert_eq!(read(key), Ok(Some(expected.to_owned())), "{key:?}");
        }
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(br#"{"id":null}"#), Ok(None));
        assert_eq!(id(None, &Limits::default()), Ok(None));
        for (key, reason) in [
            (&b"\xff\xfe"[..], Reason::InvalidUtf8),
            (b"\0\0\0\0\0\0\0\0\x05", Reason::BadId),
            (br#"{"a":1,"b":2}"#, Reason::WrongShape),
            (b"{}", Reason::WrongShape),
            (b"{nonsense}", Reason::Malformed),
            (br#"{"id":1.5}"#, Reason::BadId),
            (&[b'x'; 257], Reason::IdTooLong),
        ] {
            assert_eq!(read(key), Err(reason), "{key:?}");
        }
    }
}
