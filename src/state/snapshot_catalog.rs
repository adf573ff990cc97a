//! The snapshot catalog of one worker: it completes snapshots, and removes old and abandoned ones.
//!
//! A snapshot is complete when its manifest is written, which happens once all of its parts are durable.

use super::StateError;
use super::manifest::{
    FORMAT, Manifest, Part, PartitionOffset, StateShape, StreamState, part_name, sequence_of,
};
use super::part::codec;
use super::store::{Store, put_whole};
use deltacart_dataflows::Epoch;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The number of good snapshots that are kept: the newest, and the one before in case the newest is damaged later.
const KEPT: usize = 2;

/// The snapshots of a store.
pub struct SnapshotCatalog {
    store: Arc<dyn Store>,
    shape: StateShape,
    workers: usize,
    /// The sequence numbers of snapshots that are known to be good, the newest last.
    good: Vec<u64>,
    next: u64,
}

/// The reports of all workers about one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// The sequence number of the snapshot.
    pub sequence: u64,
    /// The epoch at whose end it was taken.
    pub epoch: Epoch,
    /// The topic id of each stream, by the stream's number. `None` without an id.
    pub topic_ids: Vec<Option<String>>,
    /// The next offset of each partition.
    pub offsets: Vec<PartitionOffset>,
    /// The parts that the workers wrote, in any order.
    pub parts: Vec<Part>,
}

impl SnapshotCatalog {
    /// Opens the catalog of `store`. `loaded` is a snapshot that is known to be good. Parts without a manifest are
    /// removed.
    ///
    /// # Errors
    /// When the store cannot be listed or a part cannot be removed.
    pub fn new(
        store: Arc<dyn Store>,
        shape: StateShape,
        workers: usize,
        loaded: Option<u64>,
    ) -> Result<SnapshotCatalog, StateError> {
        let names = store.list()?;
        let found: Vec<(u64, bool)> = names.iter().filter_map(|name| sequence_of(name)).collect();
        let next = found.iter().map(|(sequence, _)| sequence + 1).max().unwrap_or(1);
        let mut catalog = SnapshotCatalog { store, shape, workers, good: Vec::from_iter(loaded), next };
        let whole: BTreeSet<u64> =
            found.iter().filter(|(_, is_manifest)| *is_manifest).map(|(sequence, _)| *sequence).collect();
        catalog.remove_all(|sequence| !whole.contains(&sequence))?;
        Ok(catalog)
    }

    /// Begins a snapshot and returns its sequence number.
    pub fn begin(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The name of the part that a worker writes.
    pub fn part_name(sequence: u64, worker: usize) -> String {
        part_name(sequence, worker)
    }

    /// Writes the manifest of a snapshot whose parts are all durable, then removes older snapshots.
    ///
    /// # Errors
    /// When the manifest cannot be written. A failed removal is only logged.
    pub fn complete(&mut self, taken: Taken) -> Result<Manifest, StateError> {
        let Taken { sequence, epoch, topic_ids, mut offsets, mut parts } = taken;
        let StateShape { settings, streams } = self.shape.clone();
        let topic_ids = topic_ids.into_iter().chain(std::iter::repeat(None));
        let with_id = |(stream, topic_id)| StreamState { topic_id, ..stream };
        offsets.sort();
        parts.sort_by(|x, y| x.name.cmp(&y.name));
        let manifest = Manifest {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            sequence,
            epoch,
            workers: self.workers,
            codec: codec(),
            settings,
            streams: streams.into_iter().zip(topic_ids).map(with_id).collect(),
            offsets,
            parts,
        };
        put_whole(&*self.store, &manifest.name(), &manifest.to_bytes())?;
        self.good.push(sequence);
        let old = self.good.len().saturating_sub(KEPT);
        self.good.drain(..old);
        let good = self.good.clone();
        // The new snapshot exists, whether or not the older ones can be removed.
        if let Err(error) = self.remove_all(|sequence| !good.contains(&sequence)) {
            tracing::warn!(error = %anyhow::Error::from(error), "an old snapshot stays");
        }
        Ok(manifest)
    }

    /// Removes the parts of a snapshot that will never be complete. A failure is only logged.
    pub fn give_up(&mut self, sequence: u64) {
        if let Err(error) = self.remove_all(|other| other == sequence) {
            tracing::debug!(error = %anyhow::Error::from(error), "parts of a snapshot stay");
        }
    }

    /// Removes snapshots, manifests first, so that no manifest is ever there without its parts.
    fn remove_all(&mut self, which: impl Fn(u64) -> bool) -> Result<(), StateError> {
        let mut names = self.store.list()?;
        names.retain(|name| sequence_of(name).is_some_and(|(sequence, _)| which(sequence)));
        names.sort_by_key(|name| sequence_of(name).map(|(sequence, is_manifest)| (sequence, !is_manifest)));
        names.iter().try_for_each(|name| self.store.delete(name))
    }
}
