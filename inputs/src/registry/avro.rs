//! Avro values as JSON text, by the schema that they were written with.
//!
//! ```text
//! schema (JSON) ── apache-avro ──▶ Schema ── flat ──▶ nodes      value ── nodes ──▶ JSON text
//! ```
//!
//! Records and maps become objects, arrays lists, unions what is in them, enums their symbol. Times are RFC 3339,
//! decimals numbers with all their digits, bytes base64. `docs/formats.md` has the table.
//!
//! # Notes
//! - The text is written while the value is read, and nothing is allocated in between: a value of its own for every
//!   field would cost more than all else that happens to a record.

mod explain;
mod scalar;
mod text;
#[cfg(test)]
mod tests;

use super::schema::Source;
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, NamespaceRef, RecordSchema, UuidSchema};
use explain::explain;
use std::collections::HashMap;

/// A schema, made flat.
#[derive(Debug)]
pub(crate) struct Avro {
    nodes: Vec<Node>,
    root: usize,
}

/// A part of a schema; others by their place among the nodes.
#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    /// `int` and `long`, which are written alike.
    Integer,
    Float,
    Double,
    Bytes,
    String,
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<Field>),
    /// The symbols, as JSON strings.
    Enum(Vec<String>),
    Fixed(usize),
    Decimal(Size, usize),
    BigDecimal,
    /// A UUID in 16 bytes; as text it is a string like any other.
    Uuid(Size),
    Duration,
    Date,
    /// The time of a day, in parts of a second.
    TimeOfDay(i64),
    /// A moment, in parts of a second since 1970.
    Moment {
        per_second: i64,
        is_local: bool,
    },
}

/// How many bytes a value has.
#[derive(Clone, Copy, Debug)]
enum Size {
    /// The value says.
    Said,
    Always(usize),
}

#[derive(Debug)]
struct Field {
    /// What stands before the value: the name as a JSON string, and a colon.
    key: String,
    node: usize,
}

impl Avro {
    pub(crate) fn new(source: &Source) -> Result<Avro, String> {
        let others = source.others.iter().map(|(_name, text)| text);
        let read = Schema::parse_str_with_list(&source.text, others.clone());
        let (schema, others) = read.map_err(|error| explain(&source.text, others, &error.to_string()))?;
        let mut flat = Flat { nodes: Vec::new(), names: HashMap::new() };
        // A type that refers to another is read after it, whatever the order in which they came.
        let mut left: Vec<&Schema> = others.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|other| flat.add(other, None).is_err());
            if left.len() == before {
                break;
            }
        }
        let root = flat.add(&schema, None)?;
        Ok(Avro { nodes: flat.nodes, root })
    }
}

/// A schema on its way to be flat.
struct Flat {
    nodes: Vec<Node>,
    names: HashMap<Name, usize>,
}

impl Flat {
    /// Adds a part, and those it has.
    fn add(&mut self, schema: &Schema, space: NamespaceRef<'_>) -> Result<usize, String> {
        let moment = |per_second, is_local| Node::Moment { per_second, is_local };
        let node = match schema {
            Schema::Ref { name } => {
                let known = self.names.get(name.fully_qualified_name(space).as_ref());
                return known.copied().ok_or_else(|| format!("the type {name} is nowhere explained"));
            }
            Schema::Record(record) => return self.add_record(record, space),
            Schema::Enum(symbols) => {
                let node = Node::Enum(symbols.symbols.iter().map(|symbol| json_string(symbol)).collect());
                return Ok(self.add_named(&symbols.name, space, node));
            }
            Schema::Fixed(fixed) => return Ok(self.add_named(&fixed.name, space, Node::Fixed(fixed.size))),
            Schema::Duration(fixed) => return Ok(self.add_named(&fixed.name, space, Node::Duration)),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Node::Decimal(Size::Said, decimal.scale),
                InnerDecimalSchema::Fixed(fixed) => {
                    let node = Node::Decimal(Size::Always(fixed.size), decimal.scale);
                    return Ok(self.add_named(&fixed.name, space, node));
                }
            },
            Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                return Ok(self.add_named(&fixed.name, space, Node::Uuid(Size::Always(fixed.size))));
            }
            Schema::Uuid(UuidSchema::Bytes) => Node::Uuid(Size::Said),
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
            Schema::Array(array) => Node::Array(self.add(&array.items, space)?),
            Schema::Map(map) => Node::Map(self.add(&map.types, space)?),
            Schema::Union(union) => {
                let variants = union.variants().iter().map(|variant| self.add(variant, space));
                Node::Union(variants.collect::<Result<_, _>>()?)
            }
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Long => Node::Integer,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes => Node::Bytes,
            Schema::BigDecimal => Node::BigDecimal,
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::TimeOfDay(1_000),
            Schema::TimeMicros => Node::TimeOfDay(1_000_000),
            Schema::TimestampMillis => moment(1_000, false),
            Schema::TimestampMicros => moment(1_000_000, false),
            Schema::TimestampNanos => moment(1_000_000_000, false),
            Schema::LocalTimestampMillis => moment(1_000, true),
            Schema::LocalTimestampMicros => moment(1_000_000, true),
            Schema::LocalTimestampNanos => moment(1_000_000_000, true),
        };
        Ok(self.push(node))
    }

    /// A record may hold itself, so its place is taken before its fields are known.
    fn add_record(&mut self, record: &RecordSchema, space: NamespaceRef<'_>) -> Result<usize, String> {
        let name = record.name.fully_qualified_name(space).into_owned();
        let place = self.add_named(&record.name, space, Node::Null);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let node = self.add(&field.schema, name.namespace())?;
            fields.push(Field { key: format!("{}:", json_string(&field.name)), node });
        }
        self.nodes[place] = Node::Record(fields);
        Ok(place)
    }

    fn add_named(&mut self, name: &Name, space: NamespaceRef<'_>, node: Node) -> usize {
        let place = self.push(node);
        self.names.insert(name.fully_qualified_name(space).into_owned(), place);
        place
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
