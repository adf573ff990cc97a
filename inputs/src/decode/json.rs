//! What the JSON formats share: the way from bytes to checked text, and typed parsing of objects.
//!
//! Parsing is by typed structs that borrow from the record. Fields that only some kinds of events need stay raw
//! tokens until the kind is known: most records of a shop's stream are page views, and an odd field in one of those
//! is no defect.

use super::cloudevents::Envelopes;
use super::fields::{Field, Raw};
use super::list::texts;
use super::mapped::Mapped;
use super::options::{BasketField, DecodeOptions};
use super::reject::quoted;
use super::sink::{Kind, Line, Sink, Vocabulary};
use super::utf8::json_text;
use super::values::Values;
use super::wrapped::{Op, WRAPPED_MAX, Wrapped, begins_as_one, open};
use super::{Flaw, Limits, Reason, Reject, broken, ga4, plain, segment, snowplow};
use crate::registry::{Readiness, RegistryError};
use crate::{Headers, RawRecord};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The JSON formats.
pub(super) enum Shape {
    Plain,
    /// Any JSON, by the paths of its fields.
    Mapped(Box<Mapped>),
    Ga4,
    Segment,
    Snowplow,
}

/// The decoder of the JSON formats.
pub(super) struct Json {
    shape: Shape,
    values: Values,
    envelopes: Envelopes,
    settings: Settings,
}

/// What the user chose, for the formats to look at.
pub(super) struct Settings {
    pub(super) basket: BasketField,
    pub(super) names: Vocabulary,
    /// Whether a purchase that repeats an order is dropped.
    drops_repeated_orders: bool,
}

impl Settings {
    /// The order's id, where a purchase that repeats one is to be dropped.
    pub(super) fn order<'a>(&self, name: &str, order: Raw<'a>, sink: &mut Sink<'_>) -> Option<Cow<'a, str>> {
        if !self.drops_repeated_orders {
            return None;
        }
        sink.spare(Flaw::UnreadableOrder, sink.limits.id(Field::named(name), order))
    }
}

impl Json {
    pub(super) fn new(shape: Shape, basket: BasketField, options: &DecodeOptions) -> Json {
        let own = &options.event_names;
        // A shop's stream is full of events about other things; in records made for this job, an unknown name is a
        // defect.
        let names = match &shape {
            Shape::Plain | Shape::Mapped(_) => Vocabulary::new(own, Kind::NAMES, false),
            Shape::Ga4 => Vocabulary::new(own, ga4::NAMES, true),
            Shape::Segment => Vocabulary::new(own, segment::NAMES, true),
            Shape::Snowplow => Vocabulary::new(own, snowplow::NAMES, true),
        };
        Json {
            shape,
            values: Values::new(options.registry.as_ref()),
            envelopes: Envelopes::new(),
            settings: Settings { basket, names, drops_repeated_orders: options.drops_repeated_orders() },
        }
    }

    /// Sees to it that the record can be decoded.
    pub(super) fn prepare(&mut self, record: &RawRecord<'_>) -> Result<Readiness, RegistryError> {
        self.values.prepare(record)
    }

    pub(super) fn decode(
        &mut self,
        headers: Headers<'_>,
        value: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Reject> {
        // The text may lie in a buffer of theirs, so they are taken out for as long as it is read.
        let mut values = std::mem::take(&mut self.values);
        let result = values
            .open(headers, value, sink.limits)
            .and_then(|value| self.decode_value(headers, value, sink));
        self.values = values;
        result
    }

    fn decode_value(&self, headers: Headers<'_>, value: &[u8], sink: &mut Sink<'_>) -> Result<(), Reject> {
        let text = json_text(value);
        // RFC 8259 lets a parser pass over a byte order mark, and editors put one at the front of a file.
        let text = text.trim_start_matches('\u{feff}');
        let Some(envelope) = self.envelopes.open(headers, text, sink.limits)? else {
            return self.decode_text(text, 0, sink);
        };
        sink.happened(envelope.time);
        let id = sink.spare(Flaw::UnreadableEventId, envelope.id);
        match id {
            Some(id) if !sink.is_new_record(&id) => Ok(()),
            _ => self.decode_text(&envelope.data, 0, sink),
        }
    }

    /// A record, or what has one inside; `depth` envelopes are open already.
    fn decode_text(&self, text: &str, depth: usize, sink: &mut Sink<'_>) -> Result<(), Reject> {
        let whole = text;
        let text = whole.trim_ascii_start();
        if depth < WRAPPED_MAX && text.starts_with('[') {
            return self.decode_list(text, depth, sink);
        }
        if depth < WRAPPED_MAX
            && begins_as_one(text)
            && let Some(wrapped) = open(text, sink.limits)
        {
            return self.decode_wrapped(&wrapped, depth, sink);
        }
        let mark = sink.mark();
        self.decode_record(whole, sink).or_else(|reject| match open(text, sink.limits) {
            Some(wrapped) if depth < WRAPPED_MAX => {
                sink.take_back(mark);
                self.decode_wrapped(&wrapped, depth, sink)
            }
            _ => Err(reject),
        })
    }

    /// Several records in a list.
    fn decode_list(&self, text: &str, depth: usize, sink: &mut Sink<'_>) -> Result<(), Reject> {
        let value = Field::named("value");
        let list: &RawValue = parse(value, text, sink.limits)?;
        let records = texts("value", Some(list), sink.limits)?;
        let count_max = sink.limits.record_items_max;
        if records.is_empty() || records.len() > count_max {
            let detail = format!("value: a list of {} records; it must be 1 to {count_max}", records.len());
            return Err(Reject::new(Reason::WrongShape, detail));
        }
        for (place, record) in records.iter().enumerate() {
            let decode = |sink: &mut Sink<'_>| self.decode_text(record.get(), depth + 1, sink);
            sink.one_of_many(place, || record.get().to_owned(), decode);
        }
        Ok(())
    }

    fn decode_wrapped(&self, wrapped: &Wrapped<'_>, depth: usize, sink: &mut Sink<'_>) -> Result<(), Reject> {
        match wrapped {
            Wrapped::Record(record) => self.decode_text(record, depth + 1, sink),
            Wrapped::Change(change) => {
                sink.happened(sink.limits.time(Field::named("ts_ms"), change.time));
                match (change.op, change.after, &self.shape) {
                    (Op::Insert, Some(row), _) => self.decode_text(row, depth + 1, sink),
                    (Op::Update | Op::Delete, _, Shape::Plain) => {
                        plain::decode_change(change, &self.settings, sink)
                    }
                    _ => {
                        sink.counts.others += 1;
                        Ok(())
                    }
                }
            }
        }
    }

    fn decode_record(&self, whole: &str, sink: &mut Sink<'_>) -> Result<(), Reject> {
        let text = whole.trim_ascii_start();
        match &self.shape {
            Shape::Mapped(mapped) => mapped.decode(text, &self.settings.names, sink),
            Shape::Plain => plain::decode(text, &self.settings, sink),
            Shape::Ga4 => ga4::decode(text, &self.settings, sink),
            Shape::Segment => segment::decode(text, &self.settings, sink),
            // The first columns of its rows may be empty.
            Shape::Snowplow => snowplow::decode(whole, &self.settings, sink),
        }
    }
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
    check_depth(field, text, limits)?;
    serde_json::from_str(text).map_err(|error| broken::reject(field, &error, text))
}

/// Fails when `text` is nested deeper than it may be.
pub(super) fn check_depth(field: Field<'_>, text: &str, limits: &Limits) -> Result<(), Reject> {
    if is_deeper(text.as_bytes(), limits.nesting_max) {
        let detail = format!("{field}: nested deeper than {}", limits.nesting_max);
        return Err(Reject::new(Reason::TooDeep, detail));
    }
    Ok(())
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

/// A session's id that is no number of its own: unique on its device only, or with its user where no device is known.
/// The parts of the name are kept apart, whatever characters they have.
pub(super) fn scoped_session(
    session: Option<Cow<'_, str>>,
    device: Option<&str>,
    user: Option<&str>,
) -> Option<String> {
    let escaped = |part: &str| part.replace('%', "%25").replace('/', "%2F");
    let session = escaped(&session?);
    match (device, user) {
        (Some(device), _) => Some(format!("{}/{session}", escaped(device))),
        (None, Some(user)) => Some(format!("user/{}/{session}", escaped(user))),
        (None, None) => None,
    }
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

/// A text of JSON in base64, of either alphabet, with or without padding.
pub(super) fn from_base64(field: Field<'_>, text: &str) -> Result<String, Reject> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine
        .decode(text)
        .map_err(|_| field.reject(Reason::Malformed, format_args!("{} is no base64", quoted(text))))?;
    Ok(json_text(&bytes).into_owned())
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
