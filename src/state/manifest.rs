//! The manifest, which makes parts a snapshot: a line of JSON, and a line with its checksum.
//!
//! ```json
//! {"format":4,"program":"0.1.0","sequence":7,"epoch":5141,"workers":2,"settings":{"max-basket-items":"10000"},
//!  "streams":[{"name":"kafka:carts","settings":{"format":"json", …},"topic_id":"q6B2…"}, …],
//!  "offsets":[{"partition":[0,3],"offset":48211,"clock":1769860800000,"source":null}, …],
//!  "parts":[{"name":"snapshot-0000000007.part-0000","bytes":81234, …,"partitions":[[0,3], …]}, …]}
//! {"crc32":"89abcdef"}
//! ```
//!
//! A partition is two numbers, its stream's and its own. Readers of any version can check the last line and read
//! `format` and `program` of the first. These will not change.

use super::{StateError, part};
use deltacart_dataflows::{Epoch, Millis, Partition};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The format that is written, and the newest that is read.
///
/// - Format 1 had no times, neither clocks nor, in parts, those of baskets.
/// - Format 2 had one stream, and a partition was a single number.
/// - Format 3 had no touches in its parts.
pub const FORMAT: u32 = 4;

/// The newest format with one stream.
const FORMAT_OF_ONE_STREAM: u32 = 2;

/// The settings of formats 1 and 2 that concern the whole job. All others concern its one stream.
const SETTINGS_OF_THE_JOB: [&str; 2] = ["max-basket-items", "basket-idle"];

/// Settings by name: only those that shape the baskets. With other values, the saved baskets would differ.
pub type StateSettings = BTreeMap<String, String>;

/// A stream of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Its name: `kafka:TOPIC`, or `files`.
    pub name: String,
    /// The settings by which its records become events.
    pub settings: StateSettings,
    /// The id that the brokers gave the topic, if they give ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

/// The settings and streams that shape the baskets of a job. A job can resume from a snapshot of the same shape, or
/// of the same shape with fewer streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateShape {
    /// The settings of the whole job.
    pub settings: StateSettings,
    /// The streams by their numbers. Their topic ids are not compared.
    pub streams: Vec<StreamState>,
}

/// The manifest of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this manifest and its parts.
    pub format: u32,
    /// The version of deltacart that wrote it.
    pub program: String,
    /// The number of the snapshot. Snapshots of one store are numbered consecutively, across runs.
    pub sequence: u64,
    /// The epoch at whose end it was taken, in the run that took it.
    pub epoch: Epoch,
    /// The number of workers of that run.
    pub workers: usize,
    /// The encoding of the parts, if it is not the default. Only programs with the same encoding can read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// The settings of the whole job that shape the baskets.
    pub settings: StateSettings,
    /// The streams of the input, by their numbers.
    pub streams: Vec<StreamState>,
    /// The position of each partition.
    pub offsets: Vec<PartitionOffset>,
    /// The parts, in the order of their workers.
    pub parts: Vec<Part>,
}

/// The position in one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionOffset {
    /// The partition.
    pub partition: Partition,
    /// The next offset to read.
    pub offset: u64,
    /// The largest event time before it, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub clock: Millis,
    /// The path of the partition's file. `None` for a partition of a topic.
    // NB: never skipped. Processes also exchange it, in a format in which every field must be present.
    #[serde(default)]
    pub source: Option<String>,
}

/// One part, written by one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the store.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its CRC-32.
    pub crc32: u32,
    /// The number of its baskets. A very large basket counts several times.
    pub baskets: u64,
    /// The number of its lines.
    pub lines: u64,
    /// The number of its event ids.
    pub ids: u64,
    /// The partitions whose event ids are in it.
    pub partitions: Vec<Partition>,
}

/// The fields that manifests of all formats have.
#[derive(Deserialize)]
struct AnyManifest {
    format: u32,
    #[serde(default)]
    program: String,
}

/// The longest manifest, in bytes, that is read. One with a hundred thousand partitions fits.
pub(super) const MANIFEST_BYTES_MAX: u64 = 32 << 20;

impl Manifest {
    /// Its name in the store.
    pub fn name(&self) -> String {
        manifest_name(self.sequence)
    }

    /// A hash that identifies the snapshot: processes that resume from the same one have the same value.
    pub fn id(&self) -> u32 {
        crc32fast::hash(&self.to_bytes())
    }

    /// The clock of each partition.
    pub fn clocks(&self) -> BTreeMap<Partition, Millis> {
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
        let manifest: Manifest = match any.format {
            0..=FORMAT_OF_ONE_STREAM => {
                let mut document = serde_json::from_slice(document).map_err(unreadable)?;
                upgrade(&mut document);
                serde_json::from_value(document).map_err(unreadable)?
            }
            _ => serde_json::from_slice(document).map_err(unreadable)?,
        };
        match manifest.codec {
            Some(codec) if part::codec().as_ref() != Some(&codec) => {
                Err(StateError::OtherCodec { name: name.to_owned(), codec })
            }
            _ => Ok(manifest),
        }
    }

    /// The settings and streams that shaped the baskets.
    pub(super) fn shape(&self) -> StateShape {
        StateShape { settings: self.settings.clone(), streams: self.streams.clone() }
    }

    /// The differences from the job's present shape, as text: settings, streams and, where partitions are files,
    /// paths. Streams after those of the snapshot are no difference, because nothing of them has been read.
    pub(super) fn differences(
        &self,
        shape: &StateShape,
        source_of: &dyn Fn(Partition) -> Option<String>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let is_one = self.streams.len() == 1 && shape.streams.len() == 1;
        for (index, then) in self.streams.iter().enumerate() {
            let what = if is_one { "input".to_owned() } else { ordinal(index) };
            let Some(now) = shape.streams.get(index) else {
                differences.push(format!("{what} was {} and is not set", then.name));
                continue;
            };
            if then.name != now.name {
                differences.push(format!("{what} was {} and is {}", then.name, now.name));
            }
            let of = if is_one { String::new() } else { format!(" of {}", then.name) };
            differences.extend(settings_that_differ(&of, &then.settings, &now.settings));
        }
        differences.extend(settings_that_differ("", &self.settings, &shape.settings));
        if differences.is_empty() {
            differences.extend(self.offsets.iter().filter_map(|offset| {
                let (then, now) = (offset.source.as_ref(), source_of(offset.partition));
                let file = ordinal(offset.partition.number() as usize);
                let differs = then != now.as_ref();
                differs.then(|| format!("{file} was {} and is {}", shown(then), shown(now.as_ref())))
            }));
        }
        differences
    }
}

fn settings_that_differ(of: &str, then: &StateSettings, now: &StateSettings) -> Vec<String> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differing = names.into_iter().filter(|&name| then.get(name) != now.get(name));
    differing
        .map(|name| format!("{name}{of} was {} and is {}", shown(then.get(name)), shown(now.get(name))))
        .collect()
}

fn shown(value: Option<&String>) -> &str {
    value.map_or("not set", String::as_str)
}

/// Upgrades a document of a format with one stream to the present format, as far as it has the expected fields. The
/// deserialiser refuses the rest.
fn upgrade(document: &mut Value) {
    let Value::Object(manifest) = document else { return };
    let Some(Value::Object(settings)) = manifest.get_mut("settings") else { return };
    let name = settings.remove("input").unwrap_or_else(|| "".into());
    let names: Vec<String> = settings.keys().cloned().collect();
    let of_the_stream = names.iter().filter(|name| !SETTINGS_OF_THE_JOB.contains(&name.as_str()));
    let of_the_stream: Map<String, Value> =
        of_the_stream.filter_map(|name| Some((name.clone(), settings.remove(name)?))).collect();
    let topic_id = manifest.remove("topic_id");
    let stream = json!({ "name": name, "settings": of_the_stream, "topic_id": topic_id });
    manifest.insert("streams".to_owned(), json!([stream]));
    manifest.insert("format".to_owned(), FORMAT.into());
    for offset in manifest.get_mut("offsets").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(partition) = offset.get_mut("partition") {
            *partition = json!([0, partition]);
        }
    }
    for part in manifest.get_mut("parts").and_then(Value::as_array_mut).into_iter().flatten() {
        for partition in part.get_mut("partitions").and_then(Value::as_array_mut).into_iter().flatten() {
            *partition = json!([0, partition]);
        }
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

/// The sequence number in an object's name, and whether it is a manifest. `None` if the name is not one of ours.
pub(super) fn sequence_of(name: &str) -> Option<(u64, bool)> {
    let (sequence, rest) = name.strip_prefix("snapshot-")?.split_once('.')?;
    let sequence = sequence.parse().ok()?;
    match rest {
        "json" => Some((sequence, true)),
        _ => rest.strip_prefix("part-").map(|_worker| (sequence, false)),
    }
}

/// The name of an input, by its index, in messages. People count from 1.
fn ordinal(index: usize) -> String {
    format!("input {}", index + 1)
}
