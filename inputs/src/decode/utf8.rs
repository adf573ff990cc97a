//! Bytes as text, also where they are no UTF-8.
//!
//! In a record of JSON, bytes that nobody reads cost nothing. So bytes that are no UTF-8 become an escape which JSON
//! may hold inside of a text, and which is none: half of a surrogate pair. Whoever reads such a text finds that it is
//! none. Outside of a text, the record is no JSON any more.

use super::fields::Field;
use super::{Reason, Reject};
use std::borrow::Cow;

/// What stands for bytes that are no UTF-8. It is there twice, since one half before it in the record may make the
/// first of them a whole pair.
pub(super) const NO_UTF8: &str = r"\udfff\udfff";

/// The same in a text that is a string of JSON inside of another.
pub(super) const NO_UTF8_INSIDE: &str = r"\\udfff\\udfff";

/// The bytes as text. Fails where they are no UTF-8.
pub(super) fn utf8<'a>(field: Field<'_>, bytes: &'a [u8]) -> Result<&'a str, Reject> {
    std::str::from_utf8(bytes).map_err(|error| {
        let what = format!("no UTF-8 from byte {} on; is it Latin-1?", error.valid_up_to());
        field.reject(Reason::InvalidUtf8, what)
    })
}

/// The bytes as a text of JSON, with [`NO_UTF8`] in the place of those that are no UTF-8.
pub(crate) fn json_text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(marked(bytes)), Cow::Borrowed)
}

#[cold]
fn marked(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push_str(NO_UTF8);
        }
    }
    text
}

/// A text for people: with U+FFFD where bytes were no UTF-8.
pub(super) fn as_shown(text: &str) -> String {
    text.replace(NO_UTF8, "\u{fffd}")
}

/// A text as a JSON string, in which [`NO_UTF8`] stands for the same bytes as before.
pub(crate) fn json_string(text: &str) -> String {
    let string = serde_json::to_string(text).expect("any text has a JSON string");
    if text.contains(NO_UTF8) { string.replace(NO_UTF8_INSIDE, NO_UTF8) } else { string }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    /// Whatever stands around them, such bytes pass over as a part of the text that nobody reads, and are none.
    #[test]
    fn bytes_that_are_no_utf8_never_become_text() {
        for before in ["", "\\\\", "\\n", "\\ud83d", "\\ud83d\\udc80", "a\\udfff", "ä"] {
            for (bad, after) in [(&b"\xe4"[..], ""), (b"\xc0\x80", "\\udc80"), (b"\xf0\x9f", "z")] {
                let json = [b"\"", before.as_bytes(), bad, after.as_bytes(), b"\""].concat();
                let text = json_text(&json);
                assert!(serde_json::from_str::<&RawValue>(&text).is_ok(), "{text}");
                assert!(serde_json::from_str::<String>(&text).is_err(), "{text}");
            }
        }
        // The backslash is that of the record, so this is no text and no token.
        assert!(serde_json::from_str::<String>(&json_text(b"\"\\\xff\"")).is_err());
        let name = json_string(&json_text(b"a\"\xe4"));
        assert_eq!(name, r#""a\"\udfff\udfff""#);
        assert_eq!(json_text("{\"a\":\"ä\"}".as_bytes()), "{\"a\":\"ä\"}");
    }
}
