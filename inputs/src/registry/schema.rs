//! A schema as text, and what it becomes: something that turns a value into JSON text.

use super::avro::Avro;
use super::protobuf::Protobuf;
use crate::decode::{Framed, Limits, Reason, Reject};

/// How much longer the JSON text of a value may be than the longest record: names are not in the value, and an array
/// of nothing is long.
pub(super) const TEXT_GROWTH_MAX: usize = 16;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Avro,
    Protobuf,
}

impl Kind {
    /// The language of a schema of which nobody says it: a content type helps where it is a special one.
    pub(super) fn told_by(content_type: &str, text: &str) -> Kind {
        if content_type.contains("protobuf") {
            return Kind::Protobuf;
        }
        match serde_json::from_str::<serde_json::Value>(text) {
            Err(_) => Kind::Protobuf,
            Ok(_) if apache_avro::Schema::parse_str(text).is_ok() => Kind::Avro,
            // A schema of Avro that refers to others cannot be read by itself.
            Ok(value) if value["type"] == "record" => Kind::Avro,
            Ok(_) => Kind::Json,
        }
    }
}

/// A schema as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// What it refers to, by the names that it uses.
    pub(crate) others: Vec<(String, String)>,
}

/// A schema that values can be read by.
pub(crate) enum Schema {
    /// The value is JSON; what the schema asks of it is not checked.
    Json,
    Avro(Avro),
    Protobuf(Protobuf),
}

impl Schema {
    /// Reads a schema, or says why it cannot be used.
    pub(crate) fn new(source: &Source) -> Result<Schema, String> {
        match source.kind {
            Kind::Json => Ok(Schema::Json),
            Kind::Avro => Avro::new(source).map(Schema::Avro),
            Kind::Protobuf => Protobuf::new(source).map(Schema::Protobuf),
        }
    }

    /// The JSON text of a value, in `text` unless it is the value itself.
    pub(crate) fn read<'b>(
        &self,
        framed: &Framed<'_>,
        payload: &'b [u8],
        text: &'b mut Vec<u8>,
        limits: &Limits,
    ) -> Result<&'b [u8], Reject> {
        text.clear();
        let read = match self {
            Schema::Json => return Ok(payload),
            Schema::Avro(avro) => avro.write_json(payload, text, limits),
            Schema::Protobuf(protobuf) => protobuf.write_json(framed.message, payload, text, limits),
        };
        read.map_err(|broken| {
            let kind = if matches!(self, Schema::Avro(_)) { "Avro" } else { "Protobuf" };
            let Broken { reason, what } = broken;
            Reject::new(reason, format!("value: read as {kind} by {}: {what}", framed.schema))
        })?;
        Ok(text)
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) reason: Reason,
    pub(crate) what: String,
}

impl Broken {
    pub(crate) fn malformed(what: impl Into<String>) -> Broken {
        Broken { reason: Reason::Malformed, what: what.into() }
    }

    pub(super) fn too_long(limits: &Limits) -> Broken {
        let most = limits.record_bytes_max.saturating_mul(TEXT_GROWTH_MAX);
        Broken { reason: Reason::TooLarge, what: format!("as JSON it is longer than {most} bytes") }
    }

    pub(super) fn too_deep(limits: &Limits) -> Broken {
        Broken { reason: Reason::TooDeep, what: format!("nested deeper than {}", limits.nesting_max) }
    }
}

/// Whether a text is longer than a value may become.
pub(super) fn is_too_long(text: &[u8], limits: &Limits) -> bool {
    text.len() > limits.record_bytes_max.saturating_mul(TEXT_GROWTH_MAX)
}
