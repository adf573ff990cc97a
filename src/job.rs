//! The job: all settings of a run, and the function that runs it on a cluster of workers.
//!
//! ```text
//! job ──▶ workers (one a thread, over all processes)            ┌ publish ──▶ sink
//!            each: source ─▶ decoder ─▶ dataflow ─▶ lists ──────┤
//!                              └▶ dead letters                  └ verify (worker 0, if asked)
//! ```
//!
//! A cluster fails as a whole: the first worker that fails ends its process, and the other processes follow
//! ([`crate::cluster`]).

mod description;

use crate::cluster::{self, Joined, Settings, Turns, Watchdog};
use crate::files::{ExistingFile, Written, refuse_lost_files};
use crate::metrics::Meter;
use crate::output::{FileSink, Lines, OutputOptions, Sink, SinkError, TopicSpec, ensure_topic};
use crate::slow_reader::SlowReader;
use crate::state::open::State;
use crate::summary::Summary;
use crate::topics::{Kind, refuse_other_records};
use crate::unusable::Complaints;
use crate::worker;
use anyhow::{Context, Result, anyhow};
use deltacart_dataflows::Params;
use deltacart_inputs::file::{FileProgress, FileSource};
use deltacart_inputs::kafka::{KafkaSettings, TopicState, topic_partitions};
use deltacart_inputs::{OnExpired, Share};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use crate::cluster::{Cluster, Timeouts};
use crate::streams::share_of;
pub use crate::streams::{Input, Stream, Streams};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Job {
    /// The input streams, and how their bytes are decoded.
    pub streams: Streams,
    /// The settings of the computation.
    pub params: Params,
    /// The destination of changed lists.
    pub output: Destination,
    /// The layout of the output records.
    pub records: OutputOptions,
    /// The shortest interval between two publications of lists. `None` publishes with every epoch.
    pub lists_every: Option<Duration>,
    /// The number of partitions of a new output topic. `None` takes that of the largest input.
    pub output_partitions: Option<u32>,
    /// The destination of rejected records. `None` only counts them in the summary.
    pub dead_letters: Option<Destination>,
    /// The rule by which an epoch ends.
    pub cut: Cut,
    /// How far a worker may run ahead of delivery.
    pub limits: AheadLimits,
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
}

impl Job {
    /// Whether publishing resumes from what consumers have. That is always so for a topic, which outlives the job.
    pub fn resumes(&self) -> bool {
        match &self.output {
            Destination::Topic(_) => true,
            Destination::File(path) => self.existing == ExistingFile::Resume && path != "-",
        }
    }
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
    /// The file to which this process writes lists, if any.
    fn output_path(&self) -> Option<&str> {
        match &self.output {
            Destination::File(path) if self.cluster.process == 0 => Some(path),
            _ => None,
        }
    }

    /// The file to which this process writes dead letters, if any. Each process has its own. Processes after the
    /// first append their number to the path.
    fn dead_letter_path(&self) -> Option<String> {
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
        let output = self.output_path().map(str::to_owned);
        let written = [("--output", output), ("--dead-letter", self.dead_letter_path())];
        let written =
            written.into_iter().filter_map(|(flag, path)| Some(Written { flag, path: path?, existing }));
        refuse_lost_files(&read, &written.collect::<Vec<_>>())
    }

    /// The limits of a run, by their names in metrics.
    fn bounds(&self) -> Vec<(&'static str, u64)> {
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

/// A destination of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, or `-` for standard output.
    File(String),
    /// A topic.
    Topic(String),
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

/// The state that the threads of a process share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// Set from outside to end the job in good order.
    pub(crate) stop: Arc<AtomicBool>,
    /// The progress of reading the files.
    pub(crate) progress: FileProgress,
    /// The files that this process writes, shared by its workers.
    pub(crate) output: Option<FileSink>,
    pub(crate) dead_letters: Option<FileSink>,
    /// The output topic as it was at the start of the job, if there is one.
    pub(crate) output_topic: Option<TopicState>,
    /// The number of turns of the loop of each worker of this process.
    pub(crate) turns: Turns,
    /// The snapshots, and the one that the job resumes from.
    pub(crate) state: Option<Arc<State>>,
    /// The summary of the run. Worker 0 sets it at the end.
    pub(crate) summary: Arc<Mutex<Option<Summary>>>,
    /// The metrics of the run.
    pub(crate) meter: Meter,
    /// The reports about records and inputs that cannot be used.
    pub(crate) complaints: Complaints,
}

/// A handle to watch a run and to end it from outside.
#[derive(Clone, Default)]
pub struct Handle {
    shared: Shared,
}

impl Handle {
    /// A handle that ends the job when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Handle { shared: Shared { stop, ..Shared::default() } }
    }

    /// The metrics of the run.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Why this process did not complete its task although nothing failed: it was interrupted before the end of its
    /// input, or nothing of an input could be used. `None` if it completed it.
    pub fn verdict(&self) -> Option<String> {
        self.shared.complaints.verdict()
    }

    /// Why the first record was rejected, if one was.
    pub fn first_reject(&self) -> Option<String> {
        self.shared.complaints.first()
    }

    /// The progress of reading the input files.
    pub fn progress(&self) -> &FileProgress {
        &self.shared.progress
    }
}

/// Runs a job until its input ends or its handle stops it. Returns the summary, on the process that has worker 0.
///
/// # Errors
/// When an input, a destination, a snapshot or another process is not available at the start. A later failure ends
/// the process with exit code 1, because no worker of the cluster may continue without the failed one.
pub fn run(job: Job, handle: &Handle) -> Result<Option<Summary>> {
    // Before any file or topic is created or emptied.
    job.check_files()?;
    check_input(&job)?;
    join_and_run(job, handle, |job| {
        let output = prepare_topics(job)?;
        tracing::info!("{}", job.described());
        Ok(output)
    })
}

/// Runs a job whose topics are known to exist with the right properties.
pub(crate) fn run_prepared(job: Job, handle: &Handle) -> Result<Option<Summary>> {
    join_and_run(job, handle, |_job| Ok(None))
}

/// Creates the topics that a job writes, and returns the state of its output topic.
type Prepare = fn(&Job) -> Result<Option<TopicState>>;

fn join_and_run(job: Job, handle: &Handle, prepare: Prepare) -> Result<Option<Summary>> {
    let processes = job.cluster.addresses.len();
    if processes > 1 {
        handle.meter().wait_for(format!("the other processes of the cluster, {processes} in all"));
    }
    let joined = cluster::join(&job.cluster, Settings::of(&job), &handle.shared.stop)?;
    let Some(mut joined) = joined else { return Ok(None) };
    run_joined(job, handle, &mut joined, prepare).inspect_err(|error| joined.tell(error))
}

/// Runs this process's workers, in a cluster whose processes are connected.
fn run_joined(job: Job, handle: &Handle, joined: &mut Joined, prepare: Prepare) -> Result<Option<Summary>> {
    let start = Instant::now();
    handle.meter().starts(job.cluster.threads, job.bounds());
    let mut config = timely::WorkerConfig::default();
    // Without this effort, an arrangement that gets no updates keeps updates that cancel each other. The value is the
    // customary one.
    let merging = differential_dataflow::Config::default().idle_merge_effort(Some(1000));
    differential_dataflow::configure(&mut config, &merging);
    // Before the output is changed: a job that cannot resume must leave it as it is.
    handle.meter().wait_for("the newest good snapshot to be found");
    let state = State::open(&job)?.map(Arc::new);
    handle.meter().wait_for("the brokers to answer about the topics");
    let output_topic = prepare(&job)?;
    handle.meter().wait_no_more();
    let shared = Shared {
        output: output_file(&job)?,
        dead_letters: dead_letter_file(&job)?,
        output_topic,
        turns: Turns::new(job.cluster.threads),
        state,
        ..handle.shared.clone()
    };
    let files = [shared.output.clone(), shared.dead_letters.clone()];
    let _watchdog = watchdog(&job, &shared)?;
    let _slow_readers = slow_readers(&job, &shared)?;
    let job = Arc::new(job);
    let (builders, others) = joined.workers()?;
    let guards = timely::execute::execute_from(builders, others, config, move |worker| {
        if let Err(error) = worker::run(worker, &job, &shared) {
            fail(&error);
        }
    })
    .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
    for result in guards.join() {
        result.map_err(|error| anyhow!("a worker stopped: {error}"))?;
    }
    for mut file in files.into_iter().flatten() {
        file.finish(Duration::ZERO).unwrap_or_else(|error| fail(&error.into()));
    }
    let summary = handle.shared.summary.lock().map_err(|_| anyhow!("a worker stopped"))?.take();
    Ok(summary.map(|summary| Summary { elapsed: start.elapsed(), ..summary }))
}

/// Starts the watchdog of this process's workers, unless they write to standard output: its reader may be slow.
fn watchdog(job: &Job, shared: &Shared) -> Result<Option<Watchdog>> {
    let standard_output = Destination::File("-".to_owned());
    if job.output == standard_output || job.dead_letters.as_ref() == Some(&standard_output) {
        return Ok(None);
    }
    let first = job.cluster.process * job.cluster.threads;
    let watchdog = Watchdog::start(shared.turns.clone(), first, job.cluster.timeouts.stall);
    Ok(Some(watchdog.context("cannot start a thread")?))
}

/// Watches the readers of this process's output and dead letters, where these are not regular files.
fn slow_readers(job: &Job, shared: &Shared) -> Result<Vec<SlowReader>> {
    let mut watched = Vec::new();
    for sink in [&shared.output, &shared.dead_letters].into_iter().flatten() {
        let (written, patience) = (sink.clone(), job.cluster.timeouts.stop);
        let is_writing = move || written.is_being_written();
        let reader = SlowReader::watch(sink.path(), &shared.stop, patience, is_writing);
        watched.extend(reader.context("cannot start a thread")?);
    }
    Ok(watched)
}

/// The output, if it is a file. Worker 0 writes it.
fn output_file(job: &Job) -> Result<Option<FileSink>> {
    let path = job.output_path();
    Ok(path.map(|path| FileSink::open(path, job.existing, Lines::Lists)).transpose()?)
}

/// The dead letters, if they go to a file.
fn dead_letter_file(job: &Job) -> Result<Option<FileSink>> {
    let path = job.dead_letter_path();
    Ok(path.map(|path| FileSink::open(&path, job.existing, Lines::DeadLetters)).transpose()?)
}

/// Checks that the files that this process reads exist.
fn check_input(job: &Job) -> Result<()> {
    let Cluster { threads, process, ref addresses, .. } = job.cluster;
    let workers = threads * addresses.len().max(1);
    for (number, stream) in job.streams.iter() {
        for worker in process * threads..(process + 1) * threads {
            let share = share_of(Share { worker, workers }, number);
            FileSource::check(stream.files(), stream.decode.tables(), share)?;
        }
    }
    Ok(())
}

/// Ends the process, and with it the cluster. The exit code is 0 if a reader closed its pipe. Otherwise it is 1, with
/// a message.
pub(crate) fn fail(error: &anyhow::Error) -> ! {
    if let Some(SinkError::Closed { .. }) = error.downcast_ref::<SinkError>() {
        cluster::leave();
    }
    cluster::die(&format!("{error:#}"));
}

/// Creates missing output topics and returns the state of the output topic. The inputs are checked first, so that a
/// misspelt name leaves no topic behind.
fn prepare_topics(job: &Job) -> Result<Option<TopicState>> {
    let Some(kafka) = &job.kafka else { return Ok(None) };
    let of_input = partitions_of_inputs(&job.streams, kafka)?;
    if let Some(Destination::Topic(name)) = &job.dead_letters {
        refuse_other_records(kafka, ("--dead-letter", name), Kind::DeadLetters)?;
    }
    let partitions = job.output_partitions.unwrap_or(of_input);
    let output = match &job.output {
        Destination::Topic(name) => Some(
            ensure_topic(kafka, &TopicSpec { name, partitions, compacted: true })
                .context("cannot prepare the output topic")?,
        ),
        Destination::File(_) => None,
    };
    if let Some(Destination::Topic(name)) = &job.dead_letters {
        ensure_topic(kafka, &TopicSpec { name, partitions, compacted: false })
            .context("cannot prepare the dead-letter topic")?;
    }
    Ok(output)
}

/// The number of partitions of the largest input. Fails if a topic does not exist.
fn partitions_of_inputs(streams: &Streams, kafka: &KafkaSettings) -> Result<u32> {
    let mut partitions = 1;
    for (_number, stream) in streams.iter() {
        partitions = partitions.max(partitions_of_input(&stream.input, kafka)?);
    }
    Ok(partitions)
}

/// The number of partitions of an input. Files, which were checked before, count as one. Fails if a topic does not
/// exist.
fn partitions_of_input(input: &Input, kafka: &KafkaSettings) -> Result<u32> {
    match input {
        Input::Topic { name, .. } => {
            let partitions = topic_partitions(kafka, name)?;
            let absent = || {
                let brokers = kafka.brokers();
                anyhow!("topic {name} does not exist at {brokers}: create it, or check its name")
            };
            Ok(partitions.with_context(absent)? as u32)
        }
        Input::Files(_) => Ok(1),
    }
}
