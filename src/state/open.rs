//! Opening the snapshots of a job before its workers start, and finding the one to resume from.

use super::folder::Folder;
use super::load::{Snapshot, load};
use super::manifest::{StateSettings, StateShape, StreamState};
use super::store::Store;
use crate::job::{Job, StatePlace, Stream, Streams};
use anyhow::Result;
use deltacart_dataflows::{Evidence, Partition};
use std::sync::Arc;
use std::time::Duration;

/// The snapshot storage of a process at its start.
pub(crate) struct State {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shape: StateShape,
    /// The snapshot that the job resumes from.
    pub(crate) snapshot: Option<Snapshot>,
}

impl State {
    /// Opens the snapshot store of a job, if it keeps snapshots. The first process claims the store for the job.
    pub(crate) fn open(job: &Job) -> Result<Option<State>> {
        let Some(options) = &job.state else { return Ok(None) };
        let store = store(&options.place, job.cluster.process == 0)?;
        State::in_store(job, store).map(Some)
    }

    /// Finds the snapshot to resume from in a store that is open.
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

/// The settings that shape the baskets of a job. Settings that shape only the lists may change from run to run.
fn shape(job: &Job) -> StateShape {
    let mut settings = StateSettings::new();
    settings.insert("max-basket-items".to_owned(), job.params.basket_items_max.to_string());
    if job.params.evidence != Evidence::default() {
        settings.insert("evidence".to_owned(), job.params.evidence.to_string());
    }
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

/// The name of a partition's file. `None` if it belongs to a topic.
pub(crate) fn source(streams: &Streams, partition: Partition) -> Option<String> {
    let stream = streams.of(partition).filter(|stream| stream.topic().is_none())?;
    Some(stream.file(partition.number()).map_or_else(String::new, |path| path.display().to_string()))
}
