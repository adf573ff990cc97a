//! The snapshots of a job: opened before its workers start, and the one to go on from found.

use super::folder::Folder;
use super::load::{Snapshot, load};
use super::manifest::{StateSettings, StateShape, StreamState};
use super::store::Store;
use crate::job::{Job, StatePlace, Stream, Streams};
use anyhow::Result;
use deltacart_dataflows::Partition;
use std::sync::Arc;
use std::time::Duration;

/// What the workers of a process know of snapshots at the start.
pub(crate) struct State {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shape: StateShape,
    /// What the job begins with.
    pub(crate) snapshot: Option<Snapshot>,
}

impl State {
    /// Opens the snapshots of a job that keeps any. The first process claims them for the job.
    pub(crate) fn open(job: &Job) -> Result<Option<State>> {
        let Some(options) = &job.state else { return Ok(None) };
        let store = store(&options.place, job.cluster.process == 0)?;
        State::in_store(job, store).map(Some)
    }

    /// The same in a store that is open.
    pub(crate) fn in_store(job: &Job, store: Arc<dyn Store>) -> Result<State> {
        let shape = shape(job);
        let snapshot = load(&store, &shape, &|partition| source(&job.streams, partition))?;
        if let Some(snapshot) = &snapshot {
            let name = snapshot.manifest().name();
            tracing::info!(name, epoch = snapshot.manifest().epoch, "going on from a snapshot");
        }
        Ok(State { store, shape, snapshot })
    }
}

fn store(place: &StatePlace, claim: bool) -> Result<Arc<dyn Store>> {
    Ok(match place {
        StatePlace::Folder(path) => Arc::new(Folder::open(path, claim)?),
        #[cfg(feature = "object-store")]
        StatePlace::Bucket(url) => Arc::new(super::bucket::Bucket::open(url, claim)?),
        #[cfg(not(feature = "object-store"))]
        StatePlace::Bucket(url) => anyhow::bail!("{url} needs a build with --features object-store"),
    })
}

/// What shapes the baskets of a job. What shapes the lists only may change from run to run.
fn shape(job: &Job) -> StateShape {
    let mut settings = StateSettings::new();
    settings.insert("max-basket-items".to_owned(), job.params.basket_items_max.to_string());
    if let Some(idle) = job.params.basket_idle {
        settings.insert("basket-idle".to_owned(), format!("{:?}", Duration::from_millis(idle.get())));
    }
    StateShape {
        settings,
        streams: job.streams.iter().map(|(_number, stream)| stream_state(stream)).collect(),
    }
}

fn stream_state(stream: &Stream) -> StreamState {
    let settings = stream.decode.meaning().into_iter().map(|(flag, value)| (flag.to_owned(), value));
    StreamState { name: stream.name(), settings: settings.collect(), topic_id: None }
}

/// What a partition is called, where it is a file.
pub(crate) fn source(streams: &Streams, partition: Partition) -> Option<String> {
    let stream = streams.of(partition).filter(|stream| stream.topic().is_none())?;
    Some(stream.file(partition.number()).map_or_else(String::new, |path| path.display().to_string()))
}
