//! What the JSON formats share: the way from bytes to checked text, and typed parsing of objects.
//!
//! Parsing is by typed structs that borrow from the record. Fields that only some kinds of events need stay raw
//! tokens until the kind is known: most records of a shop's stream are page views, and an odd field in one of those
//! is no defect.

use super::cloudevents::Envelopes;
use super::fields::{Field, Raw};
use super::options::{BasketField, EventNames};
use super::sink::{Kind, Line, Sink, Vocabulary};
use super::{Flaw, Limits, Reason, Reject, ga4, plain, segment, snowplow};
use crate::Headers;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The JSON formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Ga4,
    Segment,
    Snowplow,
}

/// The decoder of the JSON formats.
pub(super) struct Json {
    shape: Shape,
    envelopes: Envelopes,
    settings: Settings,
}

/// What the user chose, for the formats to look at.
pub(super) struct Settings {
    pub(super) basket: BasketField,
    pub(super) names: Vocabulary,
}

impl Json {
    pub(super) fn new(shape: Shape, basket: BasketField, own: &EventNames) -> Json {
        // A shop's stream is full of events about other things; in records made for this job, an unknown name is a
        // defect.
        let names = match shape {
            Shape::Plain => Vocabulary::new(own, Kind::NAMES, false),
            Shape::Ga4 => Vocabulary::new(own, ga4::NAMES, true),
            Shape::Segment => Vocabulary::new(own, segment::NAMES, true),
            Shape::Snowplow => Vocabulary::new(own, snowplow::NAMES, true),
        };
        Json { shape, envelopes: Envelopes::new(), settings: Settings { basket, names } }
    }

    pub(super) fn decode(
        &mut self,
        headers: Headers<'_>,
        value: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Reject> {
        let text = utf8(Field::named("value"), without_wire_prefix(value))?;
        // RFC 8259 lets a parser pass over a byte order mark, and editors put one at the front of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Some(envelope) = self.envelopes.open(headers, text, sink.limits)? else {
            return self.decode_text(text, sink);
        };
        sink.happened(envelope.time);
        let id = sink.spare(Flaw::UnreadableEventId, envelope.id);
        match id {
            Some(id) if !sink.is_new_record(&id) => Ok(()),
            _ => self.decode_text(&envelope.data, sink),
        }
    }

    fn decode_text(&self, text: &str, sink: &mut Sink<'_>) -> Result<(), Reject> {
        match self.shape {
            Shape::Plain => plain::decode(text, &self.settings, sink),
            Shape::Ga4 => ga4::decode(text, &self.settings, sink),
            Shape::Segment => segment::decode(text, &self.settings, sink),
            Shape::Snowplow => snowplow::decode(text, &self.settings, sink),
        }
    }
}

/// The value without the prefix of a schema registry: a zero byte, which begins no JSON, and four of a schema's id.
fn without_wire_prefix(value: &[u8]) -> &[u8] {
    match value {
        [0, _, _, _, _, rest @ ..] => rest,
        _ => value,
    }
}

/// The bytes as text. All of a JSON record is checked, also what is not used: JSON is UTF-8 by definition.
pub(super) fn utf8<'a>(field: Field<'_>, bytes: &'a [u8]) -> Result<&'a str, Reject> {
    std::str::from_utf8(bytes).map_err(|error| {
        Reject::new(Reason::InvalidUtf8, format!("{field}: no UTF-8 from byte {} on", error.valid_up_to()))
    })
}

/// One object, parsed from all of `text`.
pub(super) fn object<'a, T: Deserialize<'a>>(
    field: Field<'_>,
    text: &'a str,
    limits: &Limits,
) -> Result<T, Reject> {
    parse::<Object<T>>(field, text, limits).map(|Object(value)| value)
}

/// The object that a field holds; the default where it is absent.
pub(super) fn object_or_default<'a, T: Deserialize<'a> + Default>(
    field: Field<'_>,
    raw: Raw<'a>,
    limits: &Limits,
) -> Result<T, Reject> {
    raw.map_or_else(|| Ok(T::default()), |raw| object(field, raw.get(), limits))
}

/// All of `text`, parsed.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    field: Field<'_>,
    text: &'a str,
    limits: &Limits,
) -> Result<T, Reject> {
    if is_deeper(text.as_bytes(), limits.nesting_max) {
        let detail = format!("{field}: nested deeper than {}", limits.nesting_max);
        return Err(Reject::new(Reason::TooDeep, detail));
    }
    serde_json::from_str(text).map_err(|error| {
        let reason = if error.is_data() { Reason::WrongShape } else { Reason::Malformed };
        Reject::new(reason, format!("{field}: {error}"))
    })
}

/// Whether brackets are nested deeper than `depth_max`. The parser skips what nobody reads without recursion, and so
/// without a limit of its own.
fn is_deeper(text: &[u8], depth_max: usize) -> bool {
    // Nearly every record has fewer brackets in all.
    if memchr::memchr2_iter(b'{', b'[', text).take(depth_max + 1).count() <= depth_max {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

/// One line of a shop's stream, with its item's id under one of several names: the first that is there.
pub(super) fn line<'a>(
    limits: &Limits,
    list: Option<(&'a str, usize)>,
    items: &[(&'a str, Raw<'a>)],
    quantity: Raw<'a>,
) -> Result<Line<'a>, Reject> {
    let field = |name| match list {
        Some((list, place)) => Field::listed(list, place, name),
        None => Field::named(name),
    };
    for &(name, raw) in items {
        if let Some(item) = limits.id(field(name), raw)? {
            let quantity = limits.quantity(field("quantity"), quantity)?;
            return Ok(Line { item, quantity, field: field("quantity") });
        }
    }
    let name = items.first().map_or("item", |&(name, _)| name);
    Err(Reject::new(Reason::MissingItem, format!("{}: the item has no id", field(name))))
}

/// Text in base64, of either alphabet, with or without padding.
pub(super) fn from_base64(field: Field<'_>, text: &str) -> Result<String, Reject> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine
        .decode(text)
        .map_err(|error| Reject::new(Reason::Malformed, format!("{field}: no base64: {error}")))?;
    utf8(field, &bytes)?;
    Ok(String::from_utf8(bytes).expect("checked in the line above"))
}

/// A JSON object and nothing else: a derived struct alone would also take an array, field by field.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::is_deeper;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert!(!is_deeper(b"[[[]]]", 3));
        assert!(is_deeper(b"[[[[]]]]", 3));
        assert!(is_deeper(br#"{"a":[{"b":[1]}]}"#, 3));
        assert!(!is_deeper(br#"["[[[[[[", "\"[[[", [[]], [[]], [[]]]"#, 3));
        assert!(!is_deeper(b"[],[],[],[],[]", 1));
    }
}
