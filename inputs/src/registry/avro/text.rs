//! One value, read from its beginning to its end and written as JSON text.

use super::scalar::{
    push_big_decimal, push_date, push_decimal, push_duration, push_moment, push_time_of_day,
};
use super::{Avro, Node, Size};
use crate::decode::{Hyphenated, Limits, json_string, json_text};
use crate::registry::schema::{Broken, is_too_long};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io::Write;

impl Avro {
    /// Appends the JSON text of a value to `text`.
    pub(crate) fn write_json(&self, value: &[u8], text: &mut Vec<u8>, limits: &Limits) -> Result<(), Broken> {
        let mut writer = Writer { nodes: &self.nodes, left: value, text, limits };
        writer.write(self.root, 0)?;
        match writer.left.len() {
            0 => Ok(()),
            left => Err(Broken::malformed(format!("{left} bytes are left over: is it another schema's?"))),
        }
    }
}

struct Writer<'a> {
    nodes: &'a [Node],
    left: &'a [u8],
    text: &'a mut Vec<u8>,
    limits: &'a Limits,
}

impl<'a> Writer<'a> {
    fn write(&mut self, node: usize, depth: usize) -> Result<(), Broken> {
        if depth > self.limits.nesting_max {
            return Err(Broken::too_deep(self.limits));
        }
        match &self.nodes[node] {
            Node::Null => self.text.extend_from_slice(b"null"),
            Node::Boolean => {
                let word: &[u8] = if self.take(1)?[0] == 0 { b"false" } else { b"true" };
                self.text.extend_from_slice(word);
            }
            Node::Integer => {
                let number = self.integer()?;
                self.push(&number);
            }
            Node::Float => {
                let number = f32::from_le_bytes(self.array()?);
                if number.is_finite() { self.push(&number) } else { self.push(&number.to_string()) }
            }
            Node::Double => {
                let number = f64::from_le_bytes(self.array()?);
                if number.is_finite() { self.push(&number) } else { self.push(&number.to_string()) }
            }
            Node::Bytes => self.base64(Size::Said)?,
            Node::Fixed(size) => self.base64(Size::Always(*size))?,
            Node::String => self.string()?,
            Node::Array(item) => self.array_of(*item, depth)?,
            Node::Map(value) => self.map_of(*value, depth)?,
            Node::Union(variants) => {
                let at = self.integer()?;
                let variant = usize::try_from(at).ok().and_then(|at| variants.get(at));
                let &variant = variant.ok_or_else(|| {
                    Broken::malformed(format!("{at} is none of {} variants", variants.len()))
                })?;
                // No level of its own in the text, but one more call.
                self.write(variant, depth + 1)?;
            }
            Node::Record(fields) => {
                self.text.push(b'{');
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        self.text.push(b',');
                    }
                    self.text.extend_from_slice(field.key.as_bytes());
                    self.write(field.node, depth + 1).map_err(|broken| in_field(&field.key, broken))?;
                }
                self.text.push(b'}');
            }
            Node::Enum(symbols) => {
                let at = self.integer()?;
                let symbol = usize::try_from(at).ok().and_then(|at| symbols.get(at));
                let symbol = symbol
                    .ok_or_else(|| Broken::malformed(format!("{at} is none of {} symbols", symbols.len())))?;
                self.text.extend_from_slice(symbol.as_bytes());
            }
            node => self.logical(node)?,
        }
        Ok(())
    }

    /// What means more than it is.
    fn logical(&mut self, node: &Node) -> Result<(), Broken> {
        match node {
            Node::Decimal(size, scale) => {
                let digits = self.sized(*size)?;
                push_decimal(self.text, digits, *scale);
            }
            Node::BigDecimal => {
                let bytes = self.sized(Size::Said)?;
                let mut inner =
                    Writer { nodes: self.nodes, left: bytes, text: self.text, limits: self.limits };
                let digits = inner.sized(Size::Said)?;
                let scale = inner.integer()?;
                push_big_decimal(inner.text, digits, scale);
            }
            Node::Uuid(size) => {
                let bytes = self.sized(*size)?;
                match bytes.try_into() {
                    Ok(uuid) => self.push(&Hyphenated(uuid).to_string()),
                    Err(_) => self.push(&BASE64_STANDARD.encode(bytes)),
                }
            }
            Node::Duration => {
                let parts = self.array::<12>()?;
                push_duration(self.text, parts);
            }
            Node::Date => {
                let days = self.integer()?;
                push_date(self.text, days);
            }
            Node::TimeOfDay(per_second) => {
                let time = self.integer()?;
                push_time_of_day(self.text, time, *per_second);
            }
            Node::Moment { per_second, is_local } => {
                let moment = self.integer()?;
                push_moment(self.text, moment, *per_second, *is_local);
            }
            plain => unreachable!("{plain:?} is written by its parent"),
        }
        Ok(())
    }

    fn array_of(&mut self, item: usize, depth: usize) -> Result<(), Broken> {
        self.text.push(b'[');
        self.blocks(|writer| writer.write(item, depth + 1))?;
        self.text.push(b']');
        Ok(())
    }

    fn map_of(&mut self, value: usize, depth: usize) -> Result<(), Broken> {
        self.text.push(b'{');
        self.blocks(|writer| {
            writer.string()?;
            writer.text.push(b':');
            writer.write(value, depth + 1)
        })?;
        self.text.push(b'}');
        Ok(())
    }

    /// Writes the items of all blocks up to the empty one, with commas between them.
    fn blocks(&mut self, mut write: impl FnMut(&mut Self) -> Result<(), Broken>) -> Result<(), Broken> {
        let mut is_first = true;
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if !std::mem::take(&mut is_first) {
                    self.text.push(b',');
                }
                write(self)?;
                self.check_length()?;
            }
        }
    }

    /// How many items the next block has. A negative number is followed by the block's length in bytes, for readers
    /// that pass over it.
    fn block(&mut self) -> Result<u64, Broken> {
        let count = self.integer()?;
        if count < 0 {
            self.integer()?;
        }
        Ok(count.unsigned_abs())
    }

    /// Items may be nothing at all, so that their number says nothing about the value's length.
    fn check_length(&self) -> Result<(), Broken> {
        if is_too_long(self.text, self.limits) { Err(Broken::too_long(self.limits)) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<(), Broken> {
        let bytes = self.sized(Size::Said)?;
        match std::str::from_utf8(bytes) {
            Ok(string) => self.push(string),
            // It costs nothing, unless somebody reads it.
            Err(_) => self.text.extend_from_slice(json_string(&json_text(bytes)).as_bytes()),
        }
        Ok(())
    }

    fn base64(&mut self, size: Size) -> Result<(), Broken> {
        let bytes = self.sized(size)?;
        let encoded = BASE64_STANDARD.encode(bytes);
        self.push(encoded.as_str());
        Ok(())
    }

    /// Appends something as JSON.
    fn push<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut *self.text, value).expect("memory takes everything");
    }

    fn sized(&mut self, size: Size) -> Result<&'a [u8], Broken> {
        let size = match size {
            Size::Always(size) => size,
            Size::Said => {
                let said = self.integer()?;
                usize::try_from(said).map_err(|_| Broken::malformed(format!("a length of {said}")))?
            }
        };
        self.take(size)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], Broken> {
        let taken = self.left.split_at_checked(size);
        let (taken, left) = taken.ok_or_else(|| {
            Broken::malformed(format!(
                "it ends too soon: {size} bytes are wanted, and {} are there",
                self.left.len()
            ))
        })?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    /// A whole number: seven bits a byte, the lowest first, and the sign in the lowest bit.
    fn integer(&mut self) -> Result<i64, Broken> {
        let mut bits = 0u64;
        for (at, &byte) in self.left.iter().enumerate().take(10) {
            let part = u64::from(byte & 0x7f);
            if at == 9 && byte > 1 {
                return Err(Broken::malformed("a number of more than 64 bits"));
            }
            bits |= part << (7 * at);
            if byte < 0x80 {
                self.left = &self.left[at + 1..];
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(Broken::malformed("it ends within a number"))
    }
}

/// Says in which field something is wrong, from the outside to the inside.
fn in_field(key: &str, broken: Broken) -> Broken {
    let name = key.trim_end_matches(':').trim_matches('"');
    let Broken { reason, what } = broken;
    let joint =
        if what.starts_with("field ") { what.replacen("field ", ".", 1) } else { format!(": {what}") };
    Broken { reason, what: format!("field {name}{joint}") }
}

/// Text that needs no quotes added.
pub(super) fn push_text(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("memory takes everything");
}
