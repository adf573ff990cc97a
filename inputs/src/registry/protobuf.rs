//! Protobuf values as JSON text, by the messages of their schema.
//!
//! Fields keep the names that they have in the schema. What has its default value and no presence of its own is left
//! out, as in Protobuf's own mapping to JSON: the value does not tell it from a field that was never set.
//!
//! # Notes
//! - 64-bit numbers are numbers, unlike in that mapping, which is made for JavaScript.

use super::schema::{Broken, Source, is_too_long};
use crate::decode::{Limits, MessageOf};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FileDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::collections::HashSet;

/// The file that a schema is, for what imports it: nothing does.
const MAIN: &str = "schema.proto";

/// How deep messages may lie in one another: a path to one has as many numbers.
const PATH_MAX: usize = 64;

/// The messages of a schema.
#[derive(Debug)]
pub(crate) struct Protobuf {
    file: FileDescriptor,
    /// All messages of the file, in the order of their full names.
    sorted: Vec<MessageDescriptor>,
    /// Whether any of them has a map, whose entries come in no order.
    has_maps: bool,
}

/// What is wrong with a schema, where, and what to do.
fn explain(error: &protox::Error) -> String {
    let what = error.to_string();
    // Only its `Debug` text has the place: FILE:LINE:COLUMN: WHAT.
    let debug = format!("{error:?}");
    let place = debug.strip_suffix(&what).and_then(|place| place.trim_end().strip_suffix(':'));
    let mut numbers = place.unwrap_or_default().rsplitn(3, ':');
    let place = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(column), Some(line), Some(MAIN)) => format!(" (at line {line}, column {column})"),
        (Some(column), Some(line), Some(file)) => format!(" (at line {line}, column {column} of {file})"),
        _ => String::new(),
    };
    let remedy = match error.is_file_not_found() {
        true => "register it as a reference under that name",
        false => "register a corrected schema",
    };
    format!("the schema is no Protobuf{place}: {what}: {remedy}")
}

/// The files that a schema imports.
struct Imports(Vec<(String, String)>);

impl FileResolver for Imports {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(known, _text)| known == name) {
            Some((_name, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl Protobuf {
    pub(crate) fn new(source: &Source) -> Result<Protobuf, String> {
        let mut files = source.others.clone();
        files.push((MAIN.to_owned(), source.text.clone()));
        let mut resolver = ChainFileResolver::new();
        resolver.add(Imports(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(MAIN).map_err(|error| explain(&error))?;
        Protobuf::of_file(&compiler.descriptor_pool(), MAIN)
    }

    fn of_file(pool: &DescriptorPool, name: &str) -> Result<Protobuf, String> {
        let file = pool.get_file_by_name(name).ok_or("the schema is no Protobuf: it has no file")?;
        let mut sorted: Vec<MessageDescriptor> = file.messages().collect();
        let mut at = 0;
        while let Some(message) = sorted.get(at) {
            // Glue numbers the entries of maps like other messages.
            let children: Vec<MessageDescriptor> = message.child_messages().collect();
            sorted.extend(children);
            at += 1;
        }
        sorted.sort_by(|one, other| one.full_name().cmp(other.full_name()));
        if sorted.is_empty() {
            return Err("the schema has no message: register one that has".to_owned());
        }
        let has_maps = has_maps(&sorted);
        Ok(Protobuf { file, sorted, has_maps })
    }

    /// Appends the JSON text of a value to `text`.
    pub(crate) fn write_json(
        &self,
        message: MessageOf<'_>,
        value: &[u8],
        text: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(), Broken> {
        let (descriptor, value) = self.message(message, value)?;
        let dynamic = DynamicMessage::decode(descriptor.clone(), value)
            .map_err(|_| Broken::malformed(format!("no {}, as its schema says", descriptor.full_name())))?;
        let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
        let no_json = |_: serde_json::Error| {
            let name = dynamic.descriptor().full_name().to_owned();
            Broken::malformed(format!("a {name} that JSON cannot say"))
        };
        if self.has_maps {
            let value = dynamic.serialize_with_options(serde_json::value::Serializer, &options);
            let mut value = value.map_err(no_json)?;
            value.sort_all_objects();
            serde_json::to_writer(&mut *text, &value).map_err(no_json)?;
        } else {
            let mut serializer = serde_json::Serializer::new(&mut *text);
            dynamic.serialize_with_options(&mut serializer, &options).map_err(no_json)?;
        }
        if is_too_long(text, limits) { Err(Broken::too_long(limits)) } else { Ok(()) }
    }

    /// Which message a value is, and where it begins.
    fn message<'b>(
        &self,
        message: MessageOf<'_>,
        value: &'b [u8],
    ) -> Result<(MessageDescriptor, &'b [u8]), Broken> {
        let first = || self.at_path(&[]);
        match message {
            MessageOf::Number => {
                let (number, value) = varint(value)?;
                let found = usize::try_from(number).ok().and_then(|number| self.sorted.get(number));
                let found = found
                    .ok_or_else(|| Broken::malformed(format!("message {number} of {}", self.sorted.len())))?;
                Ok((found.clone(), value))
            }
            MessageOf::Name(Some(name)) => {
                let found = self.named(name.as_bytes());
                found
                    .map(|found| (found, value))
                    .ok_or_else(|| Broken::malformed(format!("no message {name:?}")))
            }
            MessageOf::Name(None) => Ok((first()?, value)),
            MessageOf::Path([]) => Ok((first()?, value)),
            MessageOf::Path(path) => Ok((self.at_path(&path_at(path)?.0)?, value)),
            MessageOf::PathOrName | MessageOf::NameOrFirst => {
                if let Some((found, value)) = self.name_before(value) {
                    return Ok((found, value));
                }
                if message == MessageOf::NameOrFirst {
                    return Ok((first()?, value));
                }
                let (path, value) = path_at(value)?;
                Ok((self.at_path(&path)?, value))
            }
        }
    }

    /// The message that Apicurio's serialiser names: a small message of its own, its length before it, with the name
    /// in field 1.
    fn name_before<'b>(&self, value: &'b [u8]) -> Option<(MessageDescriptor, &'b [u8])> {
        let [length, 0x0a, name_length, rest @ ..] = value else { return None };
        if *length >= 0x80 || usize::from(*length) != usize::from(*name_length) + 2 {
            return None;
        }
        let (name, rest) = rest.split_at_checked(usize::from(*name_length))?;
        Some((self.named(name)?, rest))
    }

    fn named(&self, name: &[u8]) -> Option<MessageDescriptor> {
        let full = self.sorted.iter().find(|message| message.full_name().as_bytes() == name);
        full.or_else(|| self.sorted.iter().find(|message| message.name().as_bytes() == name)).cloned()
    }

    /// The message at a path: a number of the file's, a number of that message's, and so on; the first without one.
    fn at_path(&self, path: &[u64]) -> Result<MessageDescriptor, Broken> {
        let none = || Broken::malformed(format!("no message at {path:?} of the schema"));
        let (first, rest) = path.split_first().unwrap_or((&0, &[]));
        let nth = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut found = self.file.messages().nth(nth(*first)).ok_or_else(none)?;
        for number in rest {
            let child = found.child_messages().nth(nth(*number));
            found = child.ok_or_else(none)?;
        }
        Ok(found)
    }
}

/// A path as Confluent's serialiser writes it, and what follows: how many numbers, then the numbers; the path of the
/// first message is a single 0.
fn path_at(bytes: &[u8]) -> Result<(Vec<u64>, &[u8]), Broken> {
    let (count, mut rest) = signed_varint(bytes)?;
    if count > PATH_MAX as u64 {
        return Err(Broken::malformed(format!("a message that lies {count} deep")));
    }
    let mut path = Vec::new();
    for _ in 0..count {
        let (number, after) = signed_varint(rest)?;
        path.push(number);
        rest = after;
    }
    Ok((path, rest))
}

/// A number that may have a sign, and must have none.
fn signed_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Broken> {
    let (bits, rest) = varint(bytes)?;
    if bits & 1 == 1 {
        return Err(Broken::malformed("no message is named: a negative number stands there"));
    }
    Ok((bits >> 1, rest))
}

/// A number: seven bits a byte, the lowest first.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Broken> {
    let mut bits = 0u64;
    // More than five bytes are no number of a message.
    for (at, &byte) in bytes.iter().enumerate().take(5) {
        bits |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok((bits, &bytes[at + 1..]));
        }
    }
    Err(Broken::malformed("no message is named"))
}

/// Whether a map is anywhere in messages, or in those that they hold.
fn has_maps(messages: &[MessageDescriptor]) -> bool {
    let mut seen: HashSet<String> = HashSet::new();
    let mut left: Vec<MessageDescriptor> = messages.to_vec();
    while let Some(message) = left.pop() {
        if message.is_map_entry() || message.full_name() == "google.protobuf.Struct" {
            return true;
        }
        if seen.insert(message.full_name().to_owned()) {
            left.extend(message.fields().filter_map(|field| match field.kind() {
                Kind::Message(message) => Some(message),
                _ => None,
            }));
        }
    }
    false
}

#[cfg(test)]
mod tests;
