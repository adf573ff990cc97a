//! A record's value as JSON text, whatever a schema registry's serialiser made of it.
//!
//! ```text
//!  value ─┬─ no frame ────────────────────────────────────▶ text
//!         └─ frame ─┬─ a registry is named: by the schema ─▶ text
//!                   └─ none is: JSON is seen by its first byte; anything else is named, and rejected
//! ```

use super::wire::Framed;
use super::{Limits, Reason, Reject};
use crate::Headers;
use crate::RawRecord;
use crate::registry::{Readiness, Registry, RegistryError, Schemas};

/// Opens values. Its buffers are used again for each.
#[derive(Default)]
pub(super) struct Values {
    schemas: Option<Schemas>,
    unpacked: Vec<u8>,
    text: Vec<u8>,
}

impl Values {
    pub(super) fn new(registry: Option<&Registry>) -> Values {
        Values { schemas: registry.map(Registry::schemas), ..Values::default() }
    }

    /// Sees to it that the record's schema is there.
    pub(super) fn prepare(&mut self, record: &RawRecord<'_>) -> Result<Readiness, RegistryError> {
        let Some(schemas) = &mut self.schemas else { return Ok(Readiness::Ready) };
        let framed = record.value.and_then(|value| Framed::find(record.headers, value));
        framed.map_or(Ok(Readiness::Ready), |framed| schemas.prepare(framed.schema))
    }

    /// The value's text, not yet checked to be any.
    pub(super) fn open<'b>(
        &'b mut self,
        headers: Headers<'b>,
        value: &'b [u8],
        limits: &Limits,
    ) -> Result<&'b [u8], Reject> {
        let Some(framed) = Framed::find(headers, value) else { return Ok(value) };
        let Values { schemas, unpacked, text } = self;
        let payload = framed.payload(unpacked, limits)?;
        match schemas {
            Some(schemas) => schemas.read(&framed, payload, text, limits),
            None if begins_json(payload) => Ok(payload),
            None => {
                let Framed { schema, by, .. } = framed;
                let detail = format!(
                    "the value is Avro or Protobuf of {schema}, by {by}: name the registry, --schema-registry URL"
                );
                Err(Reject::new(Reason::NeedsSchema, detail))
            }
        }
    }
}

/// Whether a text begins as JSON objects and lists do.
fn begins_json(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}
