//! Finding and reading the newest good snapshot.
//!
//! A snapshot is good if its manifest and all its parts exist and have their checksums. All of it is read once before
//! any of it is used, so no worker finds damage too late. A damaged snapshot is skipped with a warning. One that is
//! whole but has a newer format or other settings is an error: to skip it silently would lose progress unnoticed.

use super::StateError;
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, Part, StateShape, sequence_of};
use super::part::{Block, PartReader};
use super::store::{Store, get_whole};
use deltacart_dataflows::{BasketCopy, Event, Name, Partition};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

/// The size, in bytes, of the buffer for reading.
const BUFFER_BYTES: usize = 1 << 16;

/// A good snapshot.
#[derive(Clone)]
pub struct Snapshot {
    manifest: Manifest,
    store: Arc<dyn Store>,
}

/// Finds the newest good snapshot of `store`. Returns `None` if there is no snapshot at all. `source_of` gives a
/// partition's file.
///
/// # Errors
/// If the store cannot be read, or if there are snapshots and none is good. Also if the newest whole snapshot has a
/// newer format, another encoding, or other settings.
pub fn load(
    store: &Arc<dyn Store>,
    shape: &StateShape,
    source_of: &dyn Fn(Partition) -> Option<String>,
) -> Result<Option<Snapshot>, StateError> {
    let names = store.list()?;
    let mut manifests: Vec<(u64, &String)> = names
        .iter()
        .filter_map(|name| {
            sequence_of(name).filter(|(_, is_manifest)| *is_manifest).map(|(it, _)| (it, name))
        })
        .collect();
    manifests.sort_unstable();
    let mut reasons = Vec::new();
    for (sequence, name) in manifests.into_iter().rev() {
        match check(store, sequence, name) {
            Ok(manifest) => {
                let differences = manifest.differences(shape, source_of);
                if !differences.is_empty() {
                    return Err(StateError::OtherSettings { name: name.clone(), differences });
                }
                return Ok(Some(Snapshot { manifest, store: Arc::clone(store) }));
            }
            Err(StateError::Damaged { name, what }) => {
                tracing::warn!("{name} is damaged and not used: {what}");
                reasons.push(format!("{name}: {what}"));
            }
            Err(error) => return Err(error),
        }
    }
    match reasons.is_empty() {
        true => Ok(None),
        false => Err(StateError::NoneGood { place: store.place(), reasons }),
    }
}

/// Reads and checks the manifest `name` and all its parts.
fn check(store: &Arc<dyn Store>, sequence: u64, name: &str) -> Result<Manifest, StateError> {
    let manifest = Manifest::from_bytes(name, &get_whole(&**store, name, MANIFEST_BYTES_MAX)?)?;
    if manifest.sequence != sequence || manifest.parts.len() != manifest.workers {
        return Err(StateError::damaged(name, "it is not that of this snapshot"));
    }
    manifest.parts.iter().try_for_each(|part| check_part(&**store, part))?;
    Ok(manifest)
}

fn check_part(store: &dyn Store, part: &Part) -> Result<(), StateError> {
    let mut from = match store.get(&part.name) {
        Err(StateError::Store { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::damaged(&part.name, "it is missing"));
        }
        from => from?,
    };
    let mut hasher = crc32fast::Hasher::new();
    let (mut bytes, mut buffer) = (0, vec![0; BUFFER_BYTES]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StateError::store(format!("read {}", part.name))(error)),
        };
        bytes += read as u64;
        hasher.update(&buffer[..read]);
    }
    if bytes != part.bytes {
        return Err(StateError::damaged(&part.name, format!("it has {bytes} bytes, not {}", part.bytes)));
    }
    if hasher.finalize() != part.crc32 {
        return Err(StateError::damaged(&part.name, "its checksum is wrong"));
    }
    Ok(())
}

impl Snapshot {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next offset of each partition of `stream` that was read, by the partition's number.
    pub fn offsets(&self, stream: u8) -> BTreeMap<u32, u64> {
        let offsets = self.manifest.offsets.iter().filter(|offset| offset.partition.stream() == stream);
        offsets.map(|offset| (offset.partition.number(), offset.offset)).collect()
    }

    /// The events that restore the baskets: this worker's share of the parts.
    pub fn events(&self, worker: usize, workers: usize) -> Events {
        let parts = self.manifest.parts.iter().skip(worker).step_by(workers).map(|part| part.name.clone());
        Events {
            store: Arc::clone(&self.store),
            parts: parts.collect::<Vec<_>>().into_iter(),
            reader: None,
            entries: 0,
        }
    }

    /// Passes the event ids of `partition` to `each`, the oldest first.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn ids(&self, partition: Partition, each: &mut dyn FnMut(Vec<Name>)) -> Result<(), StateError> {
        // A partition is read by one worker at a time, so one part has its ids.
        let Some(part) = self.manifest.parts.iter().find(|part| part.partitions.contains(&partition)) else {
            return Ok(());
        };
        let mut reader = open(&*self.store, &part.name)?;
        while let Some(Block::Ids(of, ids)) = reader.block().map_err(|error| unreadable(&part.name, error))? {
            if of == partition {
                each(ids);
            }
        }
        Ok(())
    }
}

type Reader = PartReader<Box<dyn Read + Send>>;

fn open(store: &dyn Store, name: &str) -> Result<Reader, StateError> {
    PartReader::new(store.get(name)?).map_err(|error| unreadable(name, error))
}

fn unreadable(name: &str, error: io::Error) -> StateError {
    match error.kind() {
        io::ErrorKind::InvalidData => StateError::damaged(name, error.to_string()),
        _ => StateError::store(format!("read {name}"))(error),
    }
}

/// A reader of one worker's share of a snapshot.
pub struct Events {
    store: Arc<dyn Store>,
    parts: std::vec::IntoIter<String>,
    reader: Option<(Reader, String)>,
    /// The number of entries returned so far. A large basket is several entries, which must keep their order.
    entries: u64,
}

impl Events {
    /// Appends the events of one block of baskets to `events`. Returns false at the end.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn next(&mut self, events: &mut Vec<Event>) -> Result<bool, StateError> {
        loop {
            let Some((reader, name)) = &mut self.reader else {
                let Some(name) = self.parts.next() else { return Ok(false) };
                self.reader = Some((open(&*self.store, &name)?, name));
                continue;
            };
            match reader.block().map_err(|error| unreadable(name, error))? {
                Some(Block::Baskets(baskets)) => {
                    for basket in baskets {
                        events.extend(BasketCopy::into_events(basket, self.entries));
                        self.entries += 1;
                    }
                    return Ok(true);
                }
                Some(Block::Ids(..)) => {}
                None => self.reader = None,
            }
        }
    }
}
