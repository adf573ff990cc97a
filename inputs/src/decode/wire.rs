//! What serialisers of schema registries put around a value: the id of its schema, before it or in a header.
//!
//! ```text
//! Confluent   00 ┃ id, 4 bytes ┃ value                   or the header __value_schema_id: 00 id, or 01 and a GUID
//!             01 ┃ GUID, 16 bytes ┃ value
//! Apicurio    00 ┃ id, 4 or 8 bytes ┃ value              or the header apicurio.value.globalId or .contentId
//! Glue        03 ┃ 00, or 05: zlib ┃ UUID, 16 bytes ┃ value
//! ```
//!
//! # Notes
//! - No JSON text begins with a byte 0, 1 or 3, so a plain value is told from a framed one by its first byte.
//! - Of an id of 8 bytes the first four are 0, and no registry gives the id 0: so it is told from one of 4.

use super::{Limits, Reason, Reject};
use crate::Headers;
use flate2::read::ZlibDecoder;
use std::fmt;
use std::io::Read;

/// How a value names its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SchemaId {
    /// The id of a registry that speaks as Confluent's does; Apicurio calls it the content id.
    Content(u64),
    /// Apicurio's global id, one for each version of each artifact.
    Global(u64),
    /// Confluent's id that is the same in every registry.
    Guid([u8; 16]),
    /// The version of a schema in AWS Glue.
    Glue([u8; 16]),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Content(id) => write!(f, "schema {id}"),
            SchemaId::Global(id) => write!(f, "the schema with the global id {id}"),
            SchemaId::Guid(id) => write!(f, "schema {}", Hyphenated(id)),
            SchemaId::Glue(id) => write!(f, "schema version {} of AWS Glue", Hyphenated(id)),
        }
    }
}

/// Sixteen bytes as a UUID is written.
pub(crate) struct Hyphenated<'a>(pub(crate) &'a [u8; 16]);

impl fmt::Display for Hyphenated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// How a Protobuf value says which message of its schema it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageOf<'a> {
    /// By the path that Confluent's serialiser writes before it, or by the name that Apicurio's does.
    PathOrName,
    /// By the name that Apicurio's serialiser writes before it; without one it is the schema's first.
    NameOrFirst,
    /// By the path in a header; without one it is the schema's first.
    Path(&'a [u8]),
    /// By the name in a header; without one it is the schema's first.
    Name(Option<&'a str>),
    /// By the number that Glue's serialiser writes before it: the place among all names in their order.
    Number,
}

/// A value in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framed<'a> {
    pub(crate) schema: SchemaId,
    pub(crate) message: MessageOf<'a>,
    /// Whose frame it is, for a person.
    pub(crate) by: &'static str,
    /// The value is compressed by zlib.
    is_packed: bool,
    payload: &'a [u8],
}

impl<'a> Framed<'a> {
    /// The value in its frame; `None` where nothing names a schema.
    pub(crate) fn find(headers: Headers<'a>, value: &'a [u8]) -> Option<Framed<'a>> {
        if !headers.is_empty()
            && let Some(framed) = by_headers(headers, value)
        {
            return Some(framed);
        }
        let framed = |schema, message, by, payload| Framed { schema, message, by, is_packed: false, payload };
        match value {
            [0, 0, 0, 0, 0, a, b, c, d, payload @ ..] if !matches!(a, b'{' | b'[') => {
                let id = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
                let by = "the prefix of Apicurio's serialiser";
                Some(framed(SchemaId::Global(id), MessageOf::NameOrFirst, by, payload))
            }
            [0, a, b, c, d, payload @ ..] => {
                let id = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
                let by = "the prefix of Confluent's serialiser";
                Some(framed(SchemaId::Content(id), MessageOf::PathOrName, by, payload))
            }
            [1, rest @ ..] => {
                let (id, payload) = rest.split_first_chunk::<16>()?;
                let by = "the prefix of Confluent's serialiser";
                Some(framed(SchemaId::Guid(*id), MessageOf::PathOrName, by, payload))
            }
            [3, packing @ (0 | 5), rest @ ..] => {
                let (id, payload) = rest.split_first_chunk::<16>()?;
                let by = "the prefix of AWS Glue's serialiser";
                let framed = framed(SchemaId::Glue(*id), MessageOf::Number, by, payload);
                Some(Framed { is_packed: *packing == 5, ..framed })
            }
            _ => None,
        }
    }

    /// What is in the frame; unpacked into `buffer` where it has to be.
    pub(crate) fn payload<'b>(&self, buffer: &'b mut Vec<u8>, limits: &Limits) -> Result<&'b [u8], Reject>
    where
        'a: 'b,
    {
        if !self.is_packed {
            return Ok(self.payload);
        }
        buffer.clear();
        let most = limits.record_bytes_max;
        let unpacked = ZlibDecoder::new(self.payload).take(most as u64 + 1).read_to_end(buffer);
        let no_zlib = "value: no zlib, which AWS Glue's prefix says that it is: was it cut off?";
        unpacked.map_err(|_| Reject::new(Reason::Malformed, no_zlib))?;
        if buffer.len() > most {
            let detail = format!("the value, unpacked, is longer than {most} bytes");
            return Err(Reject::new(Reason::TooLarge, detail));
        }
        Ok(buffer)
    }
}

/// A value whose schema is named in a header: nothing stands before it then.
fn by_headers<'a>(headers: Headers<'a>, value: &'a [u8]) -> Option<Framed<'a>> {
    // Of headers of one name the last counts, as for the serialisers' own readers.
    let header = |name| headers.iter().rev().find(|(known, _)| *known == name).and_then(|(_, value)| *value);
    let framed = |schema, message, by| Framed { schema, message, by, is_packed: false, payload: value };
    let by = "the header __value_schema_id";
    match header("__value_schema_id") {
        Some([0, a, b, c, d, path @ ..]) => {
            let id = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
            return Some(framed(SchemaId::Content(id), MessageOf::Path(path), by));
        }
        Some([1, rest @ ..]) => {
            let (id, path) = rest.split_first_chunk::<16>()?;
            return Some(framed(SchemaId::Guid(*id), MessageOf::Path(path), by));
        }
        _ => {}
    }
    let id = |name| header(name).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
    let name = header("apicurio.protobuf.type").and_then(|name| std::str::from_utf8(name).ok());
    if let Some(id) = id("apicurio.value.globalId") {
        let by = "the header apicurio.value.globalId";
        return Some(framed(SchemaId::Global(id), MessageOf::Name(name), by));
    }
    let by = "the header apicurio.value.contentId";
    id("apicurio.value.contentId").map(|id| framed(SchemaId::Content(id), MessageOf::Name(name), by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = *b"0123456789abcdef";

    #[track_caller]
    fn check(headers: Headers<'_>, value: &[u8], schema: SchemaId, message: MessageOf<'_>, payload: &[u8]) {
        let framed = Framed::find(headers, value).unwrap();
        assert_eq!((framed.schema, framed.message, framed.payload), (schema, message, payload));
    }

    #[test]
    fn every_layout_is_known() {
        let path = MessageOf::PathOrName;
        check(&[], &[0, 0, 0, 1, 2, b'x'], SchemaId::Content(258), path, b"x");
        check(&[], &[0, 0, 0, 0, 0, 0, 0, 1, 2, b'x'], SchemaId::Global(258), MessageOf::NameOrFirst, b"x");
        check(&[], &[&[1][..], &ID, b"x"].concat(), SchemaId::Guid(ID), path, b"x");
        check(&[], &[&[3, 0][..], &ID, b"x"].concat(), SchemaId::Glue(ID), MessageOf::Number, b"x");
        // The id 0 before JSON is none of 8 bytes.
        check(&[], b"\0\0\0\0\0{\"a\":1}", SchemaId::Content(0), path, b"{\"a\":1}");
        let id: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 7];
        let global: Headers<'_> = &[("apicurio.value.globalId", Some(id))];
        check(global, b"x", SchemaId::Global(7), MessageOf::Name(None), b"x");
        let content: Headers<'_> =
            &[("apicurio.value.contentId", Some(id)), ("apicurio.protobuf.type", Some(b"Event"))];
        check(content, b"x", SchemaId::Content(7), MessageOf::Name(Some("Event")), b"x");
        let confluent: Headers<'_> = &[("__value_schema_id", Some(&[0, 0, 0, 0, 7, 2, 4]))];
        check(confluent, b"x", SchemaId::Content(7), MessageOf::Path(&[2, 4]), b"x");
        let guid = [&[1][..], &ID].concat();
        let confluent: Headers<'_> = &[("__value_schema_id", Some(&guid))];
        check(confluent, b"x", SchemaId::Guid(ID), MessageOf::Path(&[]), b"x");
    }

    #[test]
    fn what_has_no_frame_has_none() {
        let odd: Headers<'_> = &[("apicurio.value.globalId", Some(b"7")), ("__value_schema_id", None)];
        for value in [&b"{}"[..], b"", b"\0\0\0\0", b"\x01short", b"\x03\0short", b"\x03\x06", b"Obj\x01"] {
            assert_eq!(Framed::find(&[], value), None, "{value:?}");
            assert_eq!(Framed::find(odd, value), None, "{value:?}");
        }
    }

    #[test]
    fn packed_values_are_unpacked_up_to_the_limit() {
        let packed = |bytes: &[u8]| {
            use std::io::Write;
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            [&[3, 5][..], &ID, &encoder.finish().unwrap()].concat()
        };
        let limits = Limits { record_bytes_max: 1000, ..Limits::default() };
        let mut buffer = Vec::new();
        let mut open = |value: &[u8]| {
            let framed = Framed::find(&[], value).unwrap();
            framed.payload(&mut buffer, &limits).map(<[u8]>::to_vec).map_err(|reject| reject.reason)
        };
        assert_eq!(open(&packed(b"value")), Ok(b"value".to_vec()));
        assert_eq!(open(&packed(&[b' '; 1000])), Ok(vec![b' '; 1000]));
        assert_eq!(open(&packed(&[b' '; 1001])), Err(Reason::TooLarge));
        assert_eq!(open(&[&[3, 5][..], &ID, b"no zlib"].concat()), Err(Reason::Malformed));
    }

    #[test]
    fn ids_are_written_as_registries_write_them() {
        let id = 0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8_u128.to_be_bytes();
        assert_eq!(SchemaId::Guid(id).to_string(), "schema 67e55044-10b1-426f-9247-bb680e5fe0c8");
        assert_eq!(SchemaId::Content(7).to_string(), "schema 7");
    }
}
