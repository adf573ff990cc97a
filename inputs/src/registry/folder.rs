//! Schemas from a folder, for registries that have an interface of their own, and for machines that reach none.
//!
//! A schema lies in the file `ID.json`, as the registry answers when it is asked for it: `{"schema":…,"schemaType":…}`
//! of Confluent's interface, or `{"SchemaDefinition":…,"DataFormat":…}` of AWS Glue.

use super::client::{Failure, Found};
use super::schema::{Kind, Source};
use crate::decode::{Hyphenated, SchemaId};
use serde::Deserialize;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A folder with a file for each schema.
pub(super) struct Folder(pub(super) PathBuf);

#[derive(Deserialize)]
struct Saved {
    #[serde(alias = "SchemaDefinition")]
    schema: String,
    #[serde(rename = "schemaType", alias = "DataFormat", default)]
    kind: Option<String>,
}

impl Folder {
    /// Reads one schema.
    pub(super) fn find(&self, id: SchemaId) -> Result<Found, Failure> {
        let name = match id {
            SchemaId::Content(id) | SchemaId::Global(id) => id.to_string(),
            SchemaId::Guid(id) | SchemaId::Glue(id) => Hyphenated(&id).to_string(),
        };
        let path = self.0.join(format!("{name}.json"));
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && self.0.is_dir() => {
                return Ok(Found::Missing);
            }
            Err(error) => return Err(Failure::Away(format!("{}: {error}", path.display()))),
        };
        let Ok(saved) = serde_json::from_str::<Saved>(&text) else {
            let wanted = "want an object with schema and schemaType, or with SchemaDefinition and DataFormat";
            return Ok(Found::Unusable(format!("{name}.json: {wanted}")));
        };
        let kind = match saved.kind.as_deref() {
            None | Some("AVRO") => Kind::Avro,
            Some("PROTOBUF") => Kind::Protobuf,
            Some("JSON") => Kind::Json,
            Some(other) => {
                return Ok(Found::Unusable(format!("schemas of the type {other:?} are unknown here")));
            }
        };
        Ok(Found::Schema(Source { kind, text: saved.schema, others: Vec::new() }))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
