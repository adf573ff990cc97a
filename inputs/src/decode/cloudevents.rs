//! CloudEvents 1.0 around any JSON format, in both modes of the Kafka binding.
//!
//! Binary: the attributes are headers (`ce_id`, `ce_source`, `ce_time`) and the value is the data. Structured: the
//! value is an object with `specversion` and the data in `data` or `data_base64`; the content type
//! `application/cloudevents+json` announces it, and without one it is recognised by these fields.

use super::fields::{Field, Raw, inner_text, string};
use super::json::{from_base64, object};
use super::reject::quoted;
use super::utf8::utf8;
use super::{Limits, Reason, Reject};
use crate::Headers;
use deltacart_dataflows::Millis;
use memchr::memmem::Finder;
use serde::Deserialize;
use std::borrow::Cow;

/// Recognises envelopes.
pub(super) struct Envelopes {
    /// Most records hold no such field: one fast search tells, before anything is parsed.
    specversion: Finder<'static>,
}

/// An envelope, opened.
pub(super) struct Envelope<'a> {
    /// The event's id in the scope of its source: two sources may number their events alike.
    pub(super) id: Result<Option<String>, Reject>,
    /// When it happened, if the envelope says.
    pub(super) time: Result<Option<Millis>, Reject>,
    /// What is in the envelope.
    pub(super) data: Cow<'a, str>,
}

/// An envelope as an object.
#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    source: Raw<'a>,
    #[serde(borrow)]
    time: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    data_base64: Raw<'a>,
}

impl Envelopes {
    pub(super) fn new() -> Envelopes {
        Envelopes { specversion: Finder::new(b"\"specversion\"") }
    }

    /// The envelope around the record's data, if there is one.
    pub(super) fn open<'a>(
        &self,
        headers: Headers<'a>,
        value: &'a str,
        limits: &Limits,
    ) -> Result<Option<Envelope<'a>>, Reject> {
        let content_type = header(headers, "content-type").unwrap_or_default();
        const STRUCTURED: &[u8] = b"application/cloudevents+json";
        let is_announced =
            content_type.get(..STRUCTURED.len()).is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED));
        if is_announced || self.specversion.find(value.as_bytes()).is_some() {
            let structured: Structured<'a> = object(Field::named("value"), value, limits)?;
            let has_data = structured.data.is_some() || structured.data_base64.is_some();
            if is_announced || (structured.specversion.is_some() && has_data) {
                return structured.open(limits).map(Some);
            }
        }
        if header(headers, "ce_specversion").or(header(headers, "ce_id")).is_some() {
            return binary(headers, value, limits).map(Some);
        }
        Ok(None)
    }
}

impl<'a> Structured<'a> {
    fn open(self, limits: &Limits) -> Result<Envelope<'a>, Reject> {
        let version = string(Field::named("specversion"), self.specversion)?;
        check_version(version.as_deref())?;
        let time = limits.time(Field::named("time"), self.time);
        let source = string(Field::named("source"), self.source);
        let id = limits.id(Field::named("id"), self.id).and_then(|id| Ok(scoped(source?.as_deref(), id)));
        let data = if let Some(data) = self.data {
            // Some producers put the data in as a string of JSON.
            inner_text(Field::named("data"), data)?.unwrap_or(Cow::Borrowed(data.get()))
        } else if let Some(encoded) = string(Field::named("data_base64"), self.data_base64)? {
            Cow::Owned(from_base64(Field::named("data_base64"), &encoded)?)
        } else {
            return Err(Reject::new(
                Reason::WrongShape,
                "neither data nor data_base64 in the CloudEvents envelope",
            ));
        };
        Ok(Envelope { id, time, data })
    }
}

/// Opens an envelope made of headers.
fn binary<'a>(headers: Headers<'_>, value: &'a str, limits: &Limits) -> Result<Envelope<'a>, Reject> {
    let attribute = |name| header(headers, name).map(|value| utf8(Field::named(name), value)).transpose();
    check_version(attribute("ce_specversion")?)?;
    let time = attribute("ce_time")
        .and_then(|time| time.map(|time| limits.time_text(Field::named("ce_time"), time)).transpose());
    let id = attribute("ce_id").and_then(|id| {
        let id = limits.id_text(Field::named("ce_id"), Cow::Borrowed(id.unwrap_or_default()))?;
        Ok(scoped(attribute("ce_source")?, id))
    });
    Ok(Envelope { id, time, data: Cow::Borrowed(value) })
}

/// Versions 1.x, and 0.3, whose attributes have the same names; an absent one is let pass.
fn check_version(version: Option<&str>) -> Result<(), Reject> {
    match version {
        Some(version) if version != "0.3" && !version.starts_with("1.") => {
            let detail = format!("specversion {} of CloudEvents is unknown", quoted(version));
            Err(Reject::new(Reason::UnknownVersion, detail))
        }
        _ => Ok(()),
    }
}

/// An id in the scope of its source, kept apart by a character that neither is likely to hold.
fn scoped(source: Option<&str>, id: Option<Cow<'_, str>>) -> Option<String> {
    id.map(|id| format!("{}\u{0}{id}", source.unwrap_or_default()))
}

/// The first header of that name; names of CloudEvents are lower case.
fn header<'a>(headers: Headers<'a>, name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|&(_, value)| value)
}
