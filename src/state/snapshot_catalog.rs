//! Makes snapshots of parts, on one worker: the manifest when all parts are safe; what is old or was given up goes.

use super::StateError;
use super::manifest::{
    FORMAT, Manifest, Part, PartitionOffset, StateShape, StreamState, part_name, sequence_of,
};
use super::part::codec;
use super::store::{Store, put_whole};
use deltacart_dataflows::Epoch;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Good snapshots that are kept: the newest, and the one before in case that is damaged later.
const KEPT: usize = 2;

/// The snapshots of a store.
pub struct SnapshotCatalog {
    store: Arc<dyn Store>,
    shape: StateShape,
    workers: usize,
    /// Known to be good, the newest last.
    good: Vec<u64>,
    next: u64,
}

/// What the workers have told about a snapshot, all together.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Which.
    pub sequence: u64,
    /// The epoch at whose end it was taken.
    pub epoch: Epoch,
    /// The ids of the streams' topics, of those that have one.
    pub topic_ids: Vec<Option<String>>,
    /// How far the input was read.
    pub offsets: Vec<PartitionOffset>,
    /// What each worker wrote, in any order.
    pub parts: Vec<Part>,
}

impl SnapshotCatalog {
    /// Keeps the snapshots of `store`, of which `loaded` is known to be good. Parts that never became a snapshot are
    /// removed.
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

    /// The number of the next snapshot, which is begun now.
    pub fn begin(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The name of the part that a worker writes.
    pub fn part_name(sequence: u64, worker: usize) -> String {
        part_name(sequence, worker)
    }

    /// Makes the snapshot, whose parts are all safe, and removes older ones.
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
        // It is there, whatever becomes of the older ones.
        if let Err(error) = self.remove_all(|sequence| !good.contains(&sequence)) {
            tracing::warn!(error = %anyhow::Error::from(error), "an old snapshot stays");
        }
        Ok(manifest)
    }

    /// Removes what there is of a snapshot that will never be whole.
    pub fn give_up(&mut self, sequence: u64) {
        if let Err(error) = self.remove_all(|other| other == sequence) {
            tracing::debug!(error = %anyhow::Error::from(error), "parts of a snapshot stay");
        }
    }

    /// Removes snapshots: manifests first, so that none is ever there without its parts.
    fn remove_all(&mut self, which: impl Fn(u64) -> bool) -> Result<(), StateError> {
        let mut names = self.store.list()?;
        names.retain(|name| sequence_of(name).is_some_and(|(sequence, _)| which(sequence)));
        names.sort_by_key(|name| sequence_of(name).map(|(sequence, is_manifest)| (sequence, !is_manifest)));
        names.iter().try_for_each(|name| self.store.delete(name))
    }
}
