//! The job: all settings of a run. [`crate::launch`] runs it.

mod description;

use crate::files::{ExistingFile, Written, refuse_lost_files};
use crate::output::StreamNumber;
use crate::serve::Serving;
use anyhow::Result;
use deltacart_dataflows::{CartSample, Params};
use deltacart_inputs::OnExpired;
use deltacart_inputs::kafka::KafkaSettings;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::cluster::{Cluster, Timeouts};
pub use crate::outputs::{Destination, OutputStream, Outputs};
pub use crate::streams::{Input, Stream, Streams};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Job {
    /// The input streams, and how their bytes are decoded.
    pub streams: Streams,
    /// The settings of the computation.
    pub params: Params,
    /// The output streams, and how their records are laid out.
    pub outputs: Outputs,
    /// The number of partitions of a new output topic. `None` takes that of the largest input.
    pub output_partitions: Option<u32>,
    /// The destination of rejected records. `None` only counts them in the summary.
    pub dead_letters: Option<Destination>,
    /// The rule by which an epoch ends.
    pub cut: Cut,
    /// How far a worker may run ahead of delivery.
    pub limits: AheadLimits,
    /// The carts whose answers are compared with what comes into the cart next.
    pub prequential: Option<CartSample>,
    /// When the lists are compared with a computation from scratch. `None` is never.
    pub verify: Option<Verify>,
    /// The processes and workers.
    pub cluster: Cluster,
    /// The connection to the brokers, if any input or destination is a topic.
    pub kafka: Option<KafkaSettings>,
    /// The delivery guarantee for an output topic.
    pub delivery: Delivery,
    /// What happens to existing files at the destinations.
    pub existing: ExistingFile,
    /// The storage and timing of snapshots. `None` takes none.
    pub state: Option<StateOptions>,
    /// What the job shares with the server of `--serve`. `None` serves nothing. A job that serves goes on when its
    /// input has ended, until it is stopped.
    pub serving: Option<Serving>,
}

/// The delivery guarantee for an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each epoch is a transaction, and an earlier run is fenced.
    ExactlyOnce {
        /// The job's name, the prefix of its transactional ids.
        job: String,
        /// The maximum number of transactional ids of any run of the job, over all processes. Each worker takes
        /// [`WORKER_SLOTS`](crate::output::WORKER_SLOTS).
        slots: u32,
    },
    /// After a crash, some records are sent again. For brokers without transactions.
    AtLeastOnce,
}

/// The storage and timing of snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// The storage.
    pub place: StatePlace,
    /// The interval between snapshots. `None` takes one only at an orderly end.
    pub every: Option<Duration>,
    /// What to do if the input no longer has the offsets of the newest snapshot.
    pub on_expired: OnExpired,
}

/// The storage of snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// A folder.
    Folder(PathBuf),
    /// A prefix of an object store, by its URL.
    Bucket(String),
}

impl Job {
    /// The output streams that this process writes to files, with their numbers and paths. The first process writes
    /// all of them.
    pub(crate) fn output_files(&self) -> impl Iterator<Item = (StreamNumber, &OutputStream, &str)> {
        let written = self.outputs.iter().filter(|_| self.cluster.process == 0);
        written.filter_map(|(number, stream)| Some((number, stream, stream.file()?)))
    }

    /// The file to which this process writes dead letters, if any. Each process has its own. Processes after the
    /// first append their number to the path.
    pub(crate) fn dead_letter_path(&self) -> Option<String> {
        match (&self.dead_letters, self.cluster.process) {
            (Some(Destination::File(path)), 0) => Some(path.clone()),
            (Some(Destination::File(path)), _) if path == "-" => Some(path.clone()),
            (Some(Destination::File(path)), process) => Some(format!("{path}.{process}")),
            _ => None,
        }
    }

    /// Checks that this process neither reads a file that it writes, nor writes a file twice, nor loses an existing
    /// file.
    ///
    /// # Errors
    /// If one of these would happen. The message names the flags.
    pub fn check_files(&self) -> Result<()> {
        let files = self.streams.iter().flat_map(|(_number, stream)| stream.files());
        let read: Vec<(&'static str, &Path)> = files.map(|path| ("--input", path.as_path())).collect();
        let existing = self.existing;
        let outputs =
            self.output_files().map(|(_number, stream, path)| (stream.content.flag(), path.to_owned()));
        let written = outputs.chain(self.dead_letter_path().map(|path| ("--dead-letter", path)));
        let written = written.map(|(flag, path)| Written { flag, path, existing });
        refuse_lost_files(&read, &written.collect::<Vec<_>>())
    }

    /// The limits of a run, by their names in metrics.
    pub(crate) fn bounds(&self) -> Vec<(&'static str, u64)> {
        // These three are the same for all streams.
        let decode = &self.streams.first().decode;
        let mut bounds = vec![
            ("duplicate_horizon", decode.duplicate_horizon as u64),
            ("record_bytes", decode.limits.record_bytes_max as u64),
            ("letters_per_record", decode.limits.part_rejects_max as u64),
            ("basket_items", self.params.basket_items_max as u64),
            ("epochs_ahead", self.limits.epochs),
            ("epoch_events", self.limits.epoch_events as u64),
            ("epoch_bytes", self.limits.epoch_bytes as u64),
        ];
        bounds.extend(self.params.basket_idle.map(|idle| ("basket_idle_ms", idle.get())));
        bounds.extend(self.params.item_baskets_max.map(|most| ("item_baskets", u64::from(most.get()))));
        bounds
    }
}

/// The rule by which an epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// When this time has passed: events that arrive together are counted together.
    Tick(Duration),
    /// After this many records of each partition. Every run over the same input then has the same epochs.
    Records(NonZeroU64),
}

/// How far a worker may run ahead of the delivered epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AheadLimits {
    /// The maximum number of open epochs.
    pub epochs: u64,
    /// The maximum number of events of one worker in one epoch.
    pub epoch_events: usize,
    /// The maximum size of the records of one worker in one epoch, in bytes.
    pub epoch_bytes: usize,
}

/// When the lists are compared with a computation from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// When the input has ended.
    AtEnd,
    /// Every this many epochs, and at the end.
    Every(NonZeroU64),
}
