//! What makes parts a snapshot: the manifest, a line of JSON and a line with its checksum.
//!
//! ```json
//! {"format":2,"program":"0.1.0","sequence":7,"epoch":5141,"workers":2,"settings":{"format":"json", …},
//!  "offsets":[{"partition":0,"offset":48211,"clock":1769860800000}], "parts":[{"name":"snapshot-0000000007.part-0000","bytes":81234, …}]}
//! {"crc32":"89abcdef"}
//! ```
//!
//! A reader of any version can check the last line, and read `format` and `program` of the first: both stay.

use super::{StateError, part};
use deltacart_dataflows::{Epoch, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that is written, and the newest that is read. Format 1 had no times: neither clocks nor, in parts, those
/// of baskets.
pub const FORMAT: u32 = 2;

/// Settings by name: only those that shape what is saved, so that with others it would be something else.
pub type StateSettings = BTreeMap<String, String>;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this manifest and its parts.
    pub format: u32,
    /// The version of deltacart that wrote it.
    pub program: String,
    /// Snapshots of one store are numbered, over all runs.
    pub sequence: u64,
    /// The epoch at whose end it was taken, in the run that took it.
    pub epoch: Epoch,
    /// How many workers that run had.
    pub workers: usize,
    /// How the parts are encoded, if not as the format has it: then they are for programs with the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// What shaped the baskets.
    pub settings: StateSettings,
    /// Which topic it was, by the id that brokers give it, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// How far the input had been read.
    pub offsets: Vec<PartitionOffset>,
    /// What the workers had, in their order.
    pub parts: Vec<Part>,
}

/// How far a partition had been read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionOffset {
    /// Its number.
    pub partition: u32,
    /// The next offset.
    pub offset: u64,
    /// The largest time of an event before it.
    #[serde(default)]
    pub clock: Millis,
    /// Which file it is; a topic's partitions have no name.
    // NB: never left out. It also goes from process to process, in a format in which every field is there.
    #[serde(default)]
    pub source: Option<String>,
}

/// What one worker wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the store.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its CRC-32.
    pub crc32: u32,
    /// How many baskets are in it; very large ones count several times.
    pub baskets: u64,
    /// How many lines.
    pub lines: u64,
    /// How many event ids.
    pub ids: u64,
    /// The partitions whose event ids are in it.
    pub partitions: Vec<u32>,
}

/// What manifests of all formats have.
#[derive(Deserialize)]
struct AnyManifest {
    format: u32,
    #[serde(default)]
    program: String,
}

/// The longest manifest that is read: a hundred thousand partitions fit.
pub(super) const MANIFEST_BYTES_MAX: u64 = 32 << 20;

impl Manifest {
    /// Its name in the store.
    pub fn name(&self) -> String {
        manifest_name(self.sequence)
    }

    /// What identifies it: processes that go on from the same snapshot have the same.
    pub fn id(&self) -> u32 {
        crc32fast::hash(&self.to_bytes())
    }

    /// The clocks of partitions.
    pub fn clocks(&self) -> BTreeMap<u32, Millis> {
        self.offsets.iter().map(|offset| (offset.partition, offset.clock)).collect()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("numbers, strings and lists of them are JSON");
        let trailer = trailer(&bytes);
        bytes.extend(trailer.into_bytes());
        bytes
    }

    pub(super) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Manifest, StateError> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| StateError::damaged(name, "its checksum is missing"))?;
        let (document, rest) = bytes.split_at(end);
        if rest != trailer(document).as_bytes() {
            return Err(StateError::damaged(name, "its checksum is wrong"));
        }
        let unreadable = |error: serde_json::Error| StateError::damaged(name, error.to_string());
        let any: AnyManifest = serde_json::from_slice(document).map_err(unreadable)?;
        if any.format > FORMAT {
            let AnyManifest { format, program } = any;
            return Err(StateError::TooNew { name: name.to_owned(), format, program, known: FORMAT });
        }
        let manifest: Manifest = serde_json::from_slice(document).map_err(unreadable)?;
        match manifest.codec {
            Some(codec) if part::codec().as_ref() != Some(&codec) => {
                Err(StateError::OtherCodec { name: name.to_owned(), codec })
            }
            _ => Ok(manifest),
        }
    }

    /// What is different now, in words: settings, and where partitions are files, which file.
    pub(super) fn differences(
        &self,
        settings: &StateSettings,
        source_of: &dyn Fn(u32) -> Option<String>,
    ) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.settings.keys().chain(settings.keys()).collect();
        let value = |value: Option<&String>| value.map_or("not set".to_owned(), String::clone);
        let mut differences: Vec<String> = names
            .into_iter()
            .filter(|&name| self.settings.get(name) != settings.get(name))
            .map(|name| {
                let (then, now) = (value(self.settings.get(name)), value(settings.get(name)));
                format!("{name} was {then} and is {now}")
            })
            .collect();
        if differences.is_empty() {
            differences.extend(self.offsets.iter().filter_map(|offset| {
                let (then, now) = (offset.source.as_ref(), source_of(offset.partition));
                let differs = then != now.as_ref();
                differs.then(|| {
                    let (then, now) = (value(then), value(now.as_ref()));
                    format!("input {} was {then} and is {now}", offset.partition + 1)
                })
            }));
        }
        differences
    }
}

pub(super) fn trailer(document: &[u8]) -> String {
    format!("\n{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(document))
}

/// The name of a manifest.
pub(super) fn manifest_name(sequence: u64) -> String {
    format!("snapshot-{sequence:010}.json")
}

/// The name of a worker's part.
pub fn part_name(sequence: u64, worker: usize) -> String {
    format!("snapshot-{sequence:010}.part-{worker:04}")
}

/// Which snapshot a thing belongs to, and whether it is its manifest; none if it is not ours.
pub(super) fn sequence_of(name: &str) -> Option<(u64, bool)> {
    let (sequence, rest) = name.strip_prefix("snapshot-")?.split_once('.')?;
    let sequence = sequence.parse().ok()?;
    match rest {
        "json" => Some((sequence, true)),
        _ => rest.strip_prefix("part-").map(|_worker| (sequence, false)),
    }
}
