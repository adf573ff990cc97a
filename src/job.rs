//! The job: everything a run needs to know, and the cluster of workers that runs it.
//!
//! ```text
//! job ──▶ workers (one a thread, over all processes)            ┌ publish ──▶ sink
//!            each: source ─▶ decoder ─▶ dataflow ─▶ lists ──────┤
//!                              └▶ dead letters                  └ verify (worker 0, if asked)
//! ```
//!
//! A cluster fails whole: the first worker that cannot go on ends its process, and the others follow
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

/// All of a run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where events come from, and how their bytes are read.
    pub streams: Streams,
    /// What to compute.
    pub params: Params,
    /// Where changed lists go.
    pub output: Destination,
    /// How they are written.
    pub records: OutputOptions,
    /// At most how often lists leave; with every epoch, without.
    pub lists_every: Option<Duration>,
    /// How many partitions an output topic gets if it has to be made; as many as the input has without a number.
    pub output_partitions: Option<u32>,
    /// Where records go that cannot be used; nowhere, but into the summary, without a place.
    pub dead_letters: Option<Destination>,
    /// Where an epoch ends.
    pub cut: Cut,
    /// How far a worker may run ahead.
    pub limits: AheadLimits,
    /// When the lists are compared with a computation from scratch.
    pub verify: Option<Verify>,
    /// The workers.
    pub cluster: Cluster,
    /// The brokers, if any of the places is a topic.
    pub kafka: Option<KafkaSettings>,
    /// How often consumers of an output topic get a record.
    pub delivery: Delivery,
    /// What becomes of files that are there already, where lists and dead letters are written.
    pub existing: ExistingFile,
    /// Where snapshots are kept; none are taken without.
    pub state: Option<StateOptions>,
}

impl Job {
    /// Whether publishing goes on from what consumers hold: always in a topic, which outlives the job.
    pub fn resumes(&self) -> bool {
        match &self.output {
            Destination::Topic(_) => true,
            Destination::File(path) => self.existing == ExistingFile::Resume && path != "-",
        }
    }
}

/// How often consumers of an output topic get a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Once: each epoch is a transaction, and an earlier run cannot write any more.
    ExactlyOnce {
        /// The job's name: what its transactional ids begin with.
        job: String,
        /// How many transactional ids any run of the job may have, [`WORKER_SLOTS`](crate::output::WORKER_SLOTS) for
        /// each worker, over all processes.
        slots: u32,
    },
    /// Again after a crash, some of them. For brokers without transactions.
    AtLeastOnce,
}

/// How snapshots are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// Where.
    pub place: StatePlace,
    /// How often one is taken; without, only at an orderly end.
    pub every: Option<Duration>,
    /// What to do when the input does not go back to where the newest one was taken.
    pub on_expired: OnExpired,
}

/// Where snapshots are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// A folder.
    Folder(PathBuf),
    /// A prefix of an object store, by its URL.
    Bucket(String),
}

impl Job {
    /// The file that this process writes lists to, if any.
    fn output_path(&self) -> Option<&str> {
        match &self.output {
            Destination::File(path) if self.cluster.process == 0 => Some(path),
            _ => None,
        }
    }

    /// The file that this process writes dead letters to, if any: each process has its own, those after the first with
    /// their number.
    fn dead_letter_path(&self) -> Option<String> {
        match (&self.dead_letters, self.cluster.process) {
            (Some(Destination::File(path)), 0) => Some(path.clone()),
            (Some(Destination::File(path)), _) if path == "-" => Some(path.clone()),
            (Some(Destination::File(path)), process) => Some(format!("{path}.{process}")),
            _ => None,
        }
    }

    /// Whether no file is read and written by this process, or written twice, or lost.
    ///
    /// # Errors
    /// When one is; the message names the flags.
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

    /// The limits of a run, by the names that metrics have for them.
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

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, or `-` for standard output.
    File(String),
    /// A topic.
    Topic(String),
}

/// Where an epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// When so much time has passed: what arrives together is counted together.
    Tick(Duration),
    /// After so many records of each partition: the same epochs in every run of the same input.
    Records(NonZeroU64),
}

/// How far a worker may run ahead of what is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AheadLimits {
    /// Epochs that are open at a time.
    pub epochs: u64,
    /// Events of one worker in one epoch.
    pub epoch_events: usize,
    /// Bytes of records of one worker in one epoch.
    pub epoch_bytes: usize,
}

/// When the lists are compared with a computation from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// When the input has ended.
    AtEnd,
    /// Every so many epochs, and at the end.
    Every(NonZeroU64),
}

/// What the threads of a process share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// Set from outside to end the job in good order.
    pub(crate) stop: Arc<AtomicBool>,
    /// How far the files have been read.
    pub(crate) progress: FileProgress,
    /// The files that this process writes, shared by its workers.
    pub(crate) output: Option<FileSink>,
    pub(crate) dead_letters: Option<FileSink>,
    /// The topic of lists as it was when the job began, if the lists go to one.
    pub(crate) output_topic: Option<TopicState>,
    /// How often each worker of this process has come round.
    pub(crate) turns: Turns,
    /// The snapshots, and the one that the job begins with.
    pub(crate) state: Option<Arc<State>>,
    /// The run as worker 0 knows it when all is done.
    pub(crate) summary: Arc<Mutex<Option<Summary>>>,
    /// What can be seen of the run from outside.
    pub(crate) meter: Meter,
    /// What is said of what cannot be used.
    pub(crate) complaints: Complaints,
}

/// How a run is watched and ended from outside.
#[derive(Clone, Default)]
pub struct Handle {
    shared: Shared,
}

impl Handle {
    /// A handle that ends the job when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Handle { shared: Shared { stop, ..Shared::default() } }
    }

    /// What can be seen of the run from outside.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Why this process has not done what it was to do, though nothing failed: it was interrupted before the end of its
    /// input, or nothing of an input could be used.
    pub fn verdict(&self) -> Option<String> {
        self.shared.complaints.verdict()
    }

    /// Why the first record was rejected, if one was.
    pub fn first_reject(&self) -> Option<String> {
        self.shared.complaints.first()
    }

    /// How far the input files have been read.
    pub fn progress(&self) -> &FileProgress {
        &self.shared.progress
    }
}

/// Runs a job until its input ends or it is told to stop. Returns what it did, on the process that has worker 0.
///
/// # Errors
/// When a place cannot be reached at the start. A failure later on ends the process with exit code 1: its workers, and
/// those of other processes, are not to go on without it.
pub fn run(job: Job, handle: &Handle) -> Result<Option<Summary>> {
    // Before anything is made or emptied.
    job.check_files()?;
    check_input(&job)?;
    join_and_run(job, handle, |job| {
        let output = prepare_topics(job)?;
        tracing::info!("{}", job.described());
        Ok(output)
    })
}

/// Runs a job whose topics are known to be there and as they should be.
pub(crate) fn run_prepared(job: Job, handle: &Handle) -> Result<Option<Summary>> {
    join_and_run(job, handle, |_job| Ok(None))
}

/// What makes the topics that a job writes; describes the one of its lists.
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
    // Without it, a quiet arrangement keeps updates that cancel each other; the value is that of long practice.
    let merging = differential_dataflow::Config::default().idle_merge_effort(Some(1000));
    differential_dataflow::configure(&mut config, &merging);
    // Before the output is touched: what cannot go on is to leave it as it is.
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

/// Watches the workers of this process, unless they write to standard output: whoever reads that may take their time.
fn watchdog(job: &Job, shared: &Shared) -> Result<Option<Watchdog>> {
    let standard_output = Destination::File("-".to_owned());
    if job.output == standard_output || job.dead_letters.as_ref() == Some(&standard_output) {
        return Ok(None);
    }
    let first = job.cluster.process * job.cluster.threads;
    let watchdog = Watchdog::start(shared.turns.clone(), first, job.cluster.timeouts.stall);
    Ok(Some(watchdog.context("cannot start a thread")?))
}

/// Watches the readers of what this process writes, where that is no file.
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

/// The output, if it is a file: worker 0 writes it.
fn output_file(job: &Job) -> Result<Option<FileSink>> {
    let path = job.output_path();
    Ok(path.map(|path| FileSink::open(path, job.existing, Lines::Lists)).transpose()?)
}

/// The dead letters, if they go to a file.
fn dead_letter_file(job: &Job) -> Result<Option<FileSink>> {
    let path = job.dead_letter_path();
    Ok(path.map(|path| FileSink::open(&path, job.existing, Lines::DeadLetters)).transpose()?)
}

/// Whether the files that this process reads are there.
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

/// Ends the process, and with it the cluster: with 0 where a reader has simply had enough, else with a message and 1.
pub(crate) fn fail(error: &anyhow::Error) -> ! {
    if let Some(SinkError::Closed { .. }) = error.downcast_ref::<SinkError>() {
        cluster::leave();
    }
    cluster::die(&format!("{error:#}"));
}

/// Makes the topics that are to be written, where they are missing: once the input is known to be there, so that a name
/// with a typo leaves no topic behind. Describes the topic of lists.
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

/// How many partitions the largest of the inputs has. Fails if one is not there.
fn partitions_of_inputs(streams: &Streams, kafka: &KafkaSettings) -> Result<u32> {
    let mut partitions = 1;
    for (_number, stream) in streams.iter() {
        partitions = partitions.max(partitions_of_input(&stream.input, kafka)?);
    }
    Ok(partitions)
}

/// How many partitions an input has; files, which were looked at before, count as one. Fails if it is not
/// there.
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
