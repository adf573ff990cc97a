//! What is wrong with a schema that the library refuses: the place, the value there, and what to do.
//!
//! The library says what it met, and not where. So a schema that it has refused is looked through once more here. For
//! a defect that is not found, its own sentence has to do.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The types that need no definition.
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The types that are defined by an object.
const COMPLEX: [&str; 6] = ["record", "error", "enum", "array", "map", "fixed"];

/// How like an unknown type must be to a primitive one to have been meant, from 0 to 1.
const LIKENESS_MIN: f64 = 0.5;

/// The description of the first defect of `text`, which refers to the types in `others`.
pub(super) fn explain<'a>(text: &str, others: impl Iterator<Item = &'a String>, library: &str) -> String {
    let schema = match serde_json::from_str::<Value>(text) {
        Ok(schema) => schema,
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            return format!("the schema is no JSON (at {place}): register one that is");
        }
    };
    let mut known = Known::default();
    others.filter_map(|text| serde_json::from_str(text).ok()).for_each(|other: Value| known.add(&other, ""));
    known.add(&schema, "");
    match known.check(&schema, "the schema", "") {
        Err(what) => format!("the schema is no Avro: {what}"),
        Ok(()) => format!("the schema is no Avro: {library}: register a corrected one"),
    }
}

/// The full names of the types that are defined somewhere.
#[derive(Default)]
struct Known(BTreeSet<String>);

impl Known {
    fn add(&mut self, schema: &Value, space: &str) {
        match schema {
            Value::Array(types) => types.iter().for_each(|it| self.add(it, space)),
            Value::Object(parts) => {
                let full =
                    parts.get("name").and_then(Value::as_str).map(|name| full_name(parts, name, space));
                let space = full.as_deref().and_then(|full| full.rsplit_once('.')).map_or(space, |it| it.0);
                let fields = parts.get("fields").and_then(Value::as_array).into_iter().flatten();
                let fields = fields.filter_map(|field| field.get("type"));
                let inner = ["items", "values", "type"].into_iter().filter_map(|part| parts.get(part));
                fields.chain(inner).filter(|it| !it.is_string()).for_each(|it| self.add(it, space));
                self.0.extend(full.clone());
            }
            _ => {}
        }
    }

    /// Looks for a defect in a part of a schema. `place` describes the part.
    fn check(&self, schema: &Value, place: &str, space: &str) -> Result<(), String> {
        match schema {
            Value::String(name) => self.check_name(name, place, space),
            Value::Array(types) => types.iter().try_for_each(|it| match it {
                Value::Array(_) => {
                    Err(format!("{place} is a union with a union in it: name all types in one"))
                }
                _ => self.check(it, place, space),
            }),
            Value::Object(parts) => self.check_object(parts, place, space),
            other => Err(format!("{place} is {other}: a type is a name, an object or a list")),
        }
    }

    fn check_name(&self, name: &str, place: &str, space: &str) -> Result<(), String> {
        let is_known = PRIMITIVES.contains(&name)
            || self.0.contains(name)
            || (!name.contains('.') && self.0.contains(&format!("{space}.{name}")));
        if is_known {
            return Ok(());
        }
        if COMPLEX.contains(&name) {
            return Err(format!(
                "{place} has the type {name:?} without its definition: write {{\"type\":{name:?},…}}"
            ));
        }
        let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(known, name);
        let nearest = PRIMITIVES.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let nearest = nearest.filter(|nearest| likeness(nearest) > LIKENESS_MIN);
        let hint = nearest.map_or(String::new(), |nearest| format!(", or {nearest:?} is meant"));
        Err(format!("{place} has the unknown type {name:?}: register it as a reference{hint}"))
    }

    fn check_object(&self, parts: &Map<String, Value>, place: &str, space: &str) -> Result<(), String> {
        let kind = match parts.get("type") {
            None => return Err(format!("{place} has no \"type\": add it")),
            Some(Value::String(kind)) => kind.as_str(),
            Some(inner) => return self.check(inner, place, space),
        };
        match kind {
            "array" => self.check_part(parts, "items", place, space),
            "map" => self.check_part(parts, "values", place, space),
            "record" | "error" | "enum" | "fixed" => self.check_named(parts, kind, place, space),
            _ => self.check_name(kind, place, space),
        }
    }

    fn check_part(
        &self,
        parts: &Map<String, Value>,
        part: &str,
        place: &str,
        space: &str,
    ) -> Result<(), String> {
        let inner =
            parts.get(part).ok_or_else(|| format!("{place} has no {part:?}: add the type of its {part}"))?;
        self.check(inner, &format!("{part} of {place}"), space)
    }

    fn check_named(
        &self,
        parts: &Map<String, Value>,
        kind: &str,
        place: &str,
        space: &str,
    ) -> Result<(), String> {
        let name = match parts.get("name") {
            Some(Value::String(name)) => name,
            Some(other) => return Err(format!("{place} has the name {other}: a name is a text")),
            None => return Err(format!("{place} is of type {kind:?} and has no \"name\": add it")),
        };
        if !name.split('.').all(is_name) {
            let letters = "letters, digits and _, no digit first";
            return Err(format!("{place} has the name {name:?}: a name has {letters}"));
        }
        let full = full_name(parts, name, space);
        let space = full.rsplit_once('.').map_or("", |(space, _name)| space);
        match kind {
            "enum" => check_symbols(parts, &full),
            "fixed" if parts.get("size").and_then(Value::as_u64).is_none() => {
                Err(format!("the fixed type {full} has no \"size\" in bytes: add it"))
            }
            "fixed" => Ok(()),
            _ => self.check_fields(parts, &full, space),
        }
    }

    fn check_fields(&self, parts: &Map<String, Value>, record: &str, space: &str) -> Result<(), String> {
        let Some(Value::Array(fields)) = parts.get("fields") else {
            return Err(format!("the record {record} has no list of \"fields\": add it"));
        };
        let mut names = BTreeSet::new();
        for (number, field) in (1..).zip(fields) {
            let Some(name) = field.get("name").and_then(Value::as_str) else {
                return Err(format!("field {number} of the record {record} has no \"name\": add it"));
            };
            let place = format!("the field {name:?} of {record}");
            if !is_name(name) {
                return Err(format!(
                    "{place} has a name that Avro does not allow: letters, digits and _ only"
                ));
            }
            if !names.insert(name) {
                return Err(format!("{place} is there twice: rename one"));
            }
            let schema = field.get("type").ok_or_else(|| format!("{place} has no \"type\": add it"))?;
            self.check(schema, &place, space)?;
        }
        Ok(())
    }
}

fn check_symbols(parts: &Map<String, Value>, name: &str) -> Result<(), String> {
    let Some(Value::Array(symbols)) = parts.get("symbols") else {
        return Err(format!("the enum {name} has no list of \"symbols\": add it"));
    };
    let mut found = BTreeSet::new();
    for symbol in symbols {
        if !symbol.as_str().is_some_and(is_name) {
            return Err(format!("the enum {name} has the symbol {symbol}: letters, digits and _ only"));
        }
        if !found.insert(symbol.as_str()) {
            return Err(format!("the enum {name} has the symbol {symbol} twice: remove one"));
        }
    }
    match parts.get("default") {
        Some(default) if !symbols.contains(default) => {
            Err(format!("the enum {name} has the default {default}, which is none of its symbols"))
        }
        _ => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn full_name(parts: &Map<String, Value>, name: &str, space: &str) -> String {
    let space = parts.get("namespace").and_then(Value::as_str).unwrap_or(space);
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

#[cfg(test)]
mod tests {
    use crate::registry::avro::Avro;
    use crate::registry::schema::{Kind, Source};

    fn refused(text: &str) -> String {
        let others =
            vec![("Money".to_owned(), r#"{"type":"record","name":"shop.Money","fields":[]}"#.to_owned())];
        let source = Source { kind: Kind::Avro, text: text.to_owned(), others };
        Avro::new(&source).err().unwrap_or_else(|| panic!("it is a schema: {text}"))
    }

    /// A record with one field, which has this type.
    fn with_field(schema: &str) -> String {
        format!(
            r#"{{"type":"record","name":"Event","namespace":"shop","fields":[{{"name":"n","type":{schema}}}]}}"#
        )
    }

    /// Each defect is told with its place, its value and what to do.
    #[test]
    fn defects_are_said_in_plain_words() {
        let of_field = |schema: &str, said: &str| {
            (with_field(schema), said.replace('@', r#"the field "n" of shop.Event"#))
        };
        let of_record = |fields: &str, said: &str| {
            (format!(r#"{{"type":"record","name":"a","fields":[{fields}]}}"#), said.to_owned())
        };
        for (text, said) in [
            ("{".into(), "the schema is no JSON (at line 1, column 1): register one that is".into()),
            ("7".into(), "the schema is 7: a type is a name, an object or a list".into()),
            ("{}".into(), r#"the schema has no "type": add it"#.into()),
            (r#"{"type":"record"}"#.into(), r#"is of type "record" and has no "name": add it"#.into()),
            (r#"{"type":"record","name":"1a"}"#.into(), r#"has the name "1a": a name has letters"#.into()),
            (r#"{"type":"record","name":"a"}"#.into(), r#"the record a has no list of "fields""#.into()),
            of_record(r#"{"type":"int"}"#, r#"field 1 of the record a has no "name": add it"#),
            of_record(r#"{"name":"x"}"#, r#"the field "x" of a has no "type": add it"#),
            of_record(
                r#"{"name":"x","type":"int"},{"name":"x","type":"int"}"#,
                r#"the field "x" of a is there twice: rename one"#,
            ),
            of_field(
                r#""itn""#,
                r#"@ has the unknown type "itn": register it as a reference, or "int" is meant"#,
            ),
            of_field(r#""shop.Line""#, r#"@ has the unknown type "shop.Line": register it as a reference"#),
            of_field(r#""record""#, r#"@ has the type "record" without its definition"#),
            of_field(r#"["null",["int"]]"#, "@ is a union with a union in it"),
            of_field(r#"{"type":"array"}"#, r#"@ has no "items": add the type of its items"#),
            of_field(r#"{"type":"map","values":"text"}"#, r#"values of @ has the unknown type "text""#),
            of_field(r#"{"type":"enum","name":"K"}"#, r#"the enum shop.K has no list of "symbols": add it"#),
            of_field(
                r#"{"type":"enum","name":"K","symbols":["a b"]}"#,
                r#"the enum shop.K has the symbol "a b""#,
            ),
            of_field(
                r#"{"type":"enum","name":"K","symbols":["a","a"]}"#,
                r#"has the symbol "a" twice: remove one"#,
            ),
            of_field(
                r#"{"type":"enum","name":"K","symbols":["a"],"default":"b"}"#,
                r#"has the default "b", which is none"#,
            ),
            of_field(
                r#"{"type":"fixed","name":"F"}"#,
                r#"the fixed type shop.F has no "size" in bytes: add it"#,
            ),
        ] {
            let why = refused(&text);
            assert!(why.starts_with("the schema is no ") && why.contains(&said), "{text}: {why}");
        }
        // What is not found here has the library's sentence.
        let why = refused(&with_field(r#"["int","int"]"#));
        assert!(why.contains("duplicate") && why.ends_with(": register a corrected one"), "{why}");
    }

    #[test]
    fn types_that_are_defined_elsewhere_are_no_defect() {
        let bad = r#"{"type":"record","name":"shop.Event","fields":[{"name":"price","type":"Money"},
            {"name":"next","type":["null","Event"]},{"name":"x","type":"y"}]}"#;
        assert!(
            refused(bad).contains(r#"the field "x" of shop.Event has the unknown type "y""#),
            "{}",
            refused(bad)
        );
    }
}
