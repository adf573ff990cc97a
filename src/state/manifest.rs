//! What makes parts a snapshot: the manifest, a line of JSON and a line with its checksum.
//!
//! ```json
//! {"format":3,"program":"0.1.0","sequence":7,"epoch":5141,"workers":2,"settings":{"max-basket-items":"10000"},
//!  "streams":[{"name":"kafka:carts","settings":{"format":"json", …},"topic_id":"q6B2…"}, …],
//!  "offsets":[{"partition":[0,3],"offset":48211,"clock":1769860800000,"source":null}, …],
//!  "parts":[{"name":"snapshot-0000000007.part-0000","bytes":81234, …,"partitions":[[0,3], …]}, …]}
//! {"crc32":"89abcdef"}
//! ```
//!
//! A partition is two numbers, its stream's and its own. A reader of any version can check the last line, and read
//! `format` and `program` of the first: both stay.

use super::{StateError, part};
use deltacart_dataflows::{Epoch, Millis, Partition};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The format that is written, and the newest that is read. Format 1 had no times: neither clocks nor, in parts, those
/// of baskets. Format 2 had one stream, and its partitions were numbers.
pub const FORMAT: u32 = 3;

/// The newest format with one stream.
const FORMAT_OF_ONE_STREAM: u32 = 2;

/// The settings of formats 1 and 2 that are the whole job's; the others are those of its one stream.
const SETTINGS_OF_THE_JOB: [&str; 2] = ["max-basket-items", "basket-idle"];

/// Settings by name: only those that shape what is saved, so that with others it would be something else.
pub type StateSettings = BTreeMap<String, String>;

/// A stream of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// What it is called: `kafka:TOPIC`, or `files`.
    pub name: String,
    /// How its records become events.
    pub settings: StateSettings,
    /// Which topic it was, by the id that brokers give it, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

/// What shapes the baskets of a job. A snapshot is of use to a job of the same shape, or of one with more streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateShape {
    /// The settings of the whole job.
    pub settings: StateSettings,
    /// The streams by their numbers. The ids of their topics do not matter here.
    pub streams: Vec<StreamState>,
}

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
    /// What shaped the baskets, whatever stream they are from.
    pub settings: StateSettings,
    /// The streams of the input, by their numbers.
    pub streams: Vec<StreamState>,
    /// How far the input had been read.
    pub offsets: Vec<PartitionOffset>,
    /// What the workers had, in their order.
    pub parts: Vec<Part>,
}

/// How far a partition had been read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionOffset {
    /// Which.
    pub partition: Partition,
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
    pub partitions: Vec<Partition>,
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

    /// What shaped the baskets.
    pub(super) fn shape(&self) -> StateShape {
        StateShape { settings: self.settings.clone(), streams: self.streams.clone() }
    }

    /// What is different now, in words: settings, streams, and where partitions are files, which file. Streams behind
    /// those of the snapshot are no difference: nothing of them has been read.
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

/// Makes a document of a format with one stream one of the present format, as far as it can be understood: what reads
/// it refuses the rest.
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

/// Which snapshot a thing belongs to, and whether it is its manifest; none if it is not ours.
pub(super) fn sequence_of(name: &str) -> Option<(u64, bool)> {
    let (sequence, rest) = name.strip_prefix("snapshot-")?.split_once('.')?;
    let sequence = sequence.parse().ok()?;
    match rest {
        "json" => Some((sequence, true)),
        _ => rest.strip_prefix("part-").map(|_worker| (sequence, false)),
    }
}

/// How messages call the input at this place of a list: as people count.
fn ordinal(index: usize) -> String {
    format!("input {}", index + 1)
}
