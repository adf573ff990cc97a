//! What is wrong with a text of JSON, as a person would say it: what it is, behind which characters, what to do.

use super::fields::Field;
use super::reject::quoted;
use super::utf8::NO_UTF8;
use super::{Reason, Reject};

/// How many characters before a defect a reject repeats.
const HEARD_CHARS: usize = 40;

const CUT: &str = ": was it cut off?";
const HALF: &str = "half of a surrogate pair, which is no character";

/// What the parser says of texts that are no JSON, and what a person would, with the remedy.
const WORDS: &[(&str, &str, &str)] = &[
    ("EOF while parsing a value", "it ends where a value is needed", CUT),
    ("EOF while parsing a list", "it ends in the middle of a list", CUT),
    ("EOF while parsing an object", "it ends in the middle of an object", CUT),
    ("EOF while parsing a string", "it ends in the middle of a text", CUT),
    ("expected value", "something that is no value of JSON", ": are its quotes double ones?"),
    ("expected ident", "a word that is not true, false or null", ": does it lack its quotes?"),
    ("expected `:`", "no colon behind the name of a field", ""),
    ("expected `,` or `]`", "no comma and no end of the list", ""),
    ("expected `,` or `}`", "no comma and no end of the object", ""),
    ("key must be a string", "the name of a field that has no double quotes", ""),
    ("trailing comma", "a comma with nothing behind it", ""),
    ("trailing characters", "more where it should end", ": are these two records in one?"),
    ("invalid escape", "a backslash before a character that takes none", ""),
    ("invalid number", "a number that is not written as in JSON", ""),
    ("number out of range", "a number beyond all bounds", ""),
    (
        "control character",
        "a line end or another control character inside of a text",
        ": write it with a backslash",
    ),
    ("lone leading surrogate", HALF, ""),
    ("unexpected end of hex escape", HALF, ""),
    ("invalid unicode code point", HALF, ""),
];

/// The reject of a text that a field holds, by what the parser says of it.
pub(super) fn reject(field: Field<'_>, error: &serde_json::Error, text: &str) -> Reject {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let (before, is_start) = before(error, text);
    if error.is_data() {
        return field.reject(Reason::WrongShape, format_args!("{}{before}", of_shape(said)));
    }
    if text.contains(NO_UTF8) {
        return field.reject(Reason::InvalidUtf8, format_args!("no UTF-8{before}; is it Latin-1?"));
    }
    if is_start && !text.trim_ascii().is_empty() {
        let what = format!("{} is no JSON; is --format another one?", quoted(text.trim_ascii()));
        return field.reject(Reason::Malformed, what);
    }
    let known = WORDS.iter().find(|(theirs, ..)| said.starts_with(theirs));
    let (what, remedy) = known.map_or(("it is no JSON", ""), |&(_, what, remedy)| (what, remedy));
    field.reject(Reason::Malformed, format_args!("{what}{before}{remedy}"))
}

/// What the parser says of JSON that is no record.
fn of_shape(said: &str) -> String {
    if let Some((found, wanted)) =
        said.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let found = match found.split_once(' ') {
            None if found == "map" => "an object".to_owned(),
            None if found == "sequence" => "a list".to_owned(),
            Some(("string", text)) => format!("the text {}", quoted(text.trim_matches('"'))),
            Some(("boolean", value)) => value.trim_matches('`').to_owned(),
            Some(("integer", value)) => format!("the number {}", value.trim_matches('`')),
            Some(("floating", value)) => {
                format!("the number {}", value.trim_start_matches("point ").trim_matches('`'))
            }
            _ => "null".to_owned(),
        };
        return format!("{found} where {wanted} is needed");
    }
    match said.strip_prefix("duplicate field ") {
        Some(name) => format!("the field {name} is there twice"),
        None => said.to_owned(),
    }
}

/// Where the parser stopped, in a text that nobody sees in lines; and whether that is where it begins.
fn before(error: &serde_json::Error, text: &str) -> (String, bool) {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let behind = (0..=error.column().min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    let before = &line[..behind.unwrap_or_default()];
    // The parser stops within what stands for bytes that are no UTF-8.
    let before = before.strip_suffix(&NO_UTF8[..NO_UTF8.len() / 2]).unwrap_or(before);
    let is_start = error.line() <= 1 && before.trim_ascii().chars().nth(1).is_none();
    let said = match before.char_indices().rev().nth(HEARD_CHARS - 1) {
        _ if before.is_empty() => String::new(),
        Some((0, _)) | None => format!(" after \"{before}\""),
        Some((start, _)) => format!(" after \"…{}\"", &before[start..]),
    };
    (said, is_start && !text.trim_ascii_start().starts_with(['{', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Limits;
    use crate::decode::json::{Object, parse};
    use serde::de::IgnoredAny;
    use serde_json::value::RawValue;

    #[test]
    fn defects_are_said_with_field_place_and_remedy() {
        let said = |text: &str| {
            let parsed = parse::<Object<std::collections::BTreeMap<String, &RawValue>>>(
                Field::named("value"),
                text,
                &Limits::default(),
            );
            parsed.err().map_or_else(String::new, |reject| format!("{} {}", reject.reason, reject.detail))
        };
        for (text, expected) in [
            (
                "{\"a\":1",
                "malformed value: it ends in the middle of an object after \"{\"a\":1\": was it cut off?",
            ),
            (
                "{\"a\":",
                "malformed value: it ends where a value is needed after \"{\"a\":\": was it cut off?",
            ),
            (
                "{\"a\":\"x",
                "malformed value: it ends in the middle of a text after \"{\"a\":\"x\": was it cut off?",
            ),
            ("", "malformed value: it ends where a value is needed: was it cut off?"),
            (
                "{\"a\":'x'}",
                "malformed value: something that is no value of JSON after \"{\"a\":'\": are its quotes double ones?",
            ),
            (
                "{\"a\":nil}",
                "malformed value: a word that is not true, false or null after \"{\"a\":ni\": does it lack its quotes?",
            ),
            ("{a:1}", "malformed value: the name of a field that has no double quotes after \"{a\""),
            ("{\"a\" 1}", "malformed value: no colon behind the name of a field after \"{\"a\" 1\""),
            ("{\"a\":1 2}", "malformed value: no comma and no end of the object after \"{\"a\":1 2\""),
            ("{\"a\":1,}", "malformed value: a comma with nothing behind it after \"{\"a\":1,}\""),
            ("{\"a\":01}", "malformed value: a number that is not written as in JSON after \"{\"a\":01\""),
            (
                "{\"a\":1}{",
                "malformed value: more where it should end after \"{\"a\":1}{\": are these two records in one?",
            ),
            (
                "{\"a\":\"\\x\"}",
                "malformed value: a backslash before a character that takes none after \"{\"a\":\"\\x\"",
            ),
            ("INFO {}", "malformed value: \"INFO {}\" is no JSON; is --format another one?"),
            ("7", "wrong-shape value: the number 7 where an object is needed after \"7\""),
            ("[]", "wrong-shape value: a list where an object is needed"),
            ("null", "wrong-shape value: null where an object is needed after \"null\""),
            ("\"text\"", "wrong-shape value: the text \"text\" where an object is needed after \"\"text\"\""),
            ("{\"a\\udfff\\udfff\":1}", "invalid-utf8 value: no UTF-8 after \"{\"a\"; is it Latin-1?"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    /// A parser of another version may use other words: these are those of the one that is linked.
    #[test]
    fn every_word_is_one_that_the_parser_says() {
        let texts = [
            "",
            "[",
            "{",
            "\"",
            "{\"a\":?}",
            "nil",
            "{\"a\"}",
            "[1 2]",
            "{\"a\":1 2}",
            "{1:1}",
            "[1,]",
            "1 2",
            "\"\\q\"",
            "-",
            "1e999",
            "\"\n\"",
            "\"\\udfff\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
        ];
        let said: Vec<String> = texts
            .iter()
            .flat_map(|text| {
                let text_of = serde_json::from_str::<String>(text).err();
                [
                    text_of,
                    serde_json::from_str::<serde_json::Value>(text).err(),
                    serde_json::from_str::<IgnoredAny>(text).err(),
                ]
            })
            .flatten()
            .map(|error| error.to_string())
            .collect();
        for (theirs, ..) in WORDS.iter().filter(|(theirs, ..)| *theirs != "invalid unicode code point") {
            assert!(
                said.iter().any(|said| said.starts_with(theirs)),
                "{theirs} is said of nothing: {said:?}"
            );
        }
    }
}
