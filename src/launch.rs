//! Launching a job: the cluster is joined, topics and files are prepared, and the workers run until they end.
//!
//! ```text
//! job ──▶ workers (one a thread, over all processes)            ┌ publish ──▶ sink
//!            each: source ─▶ decoder ─▶ dataflow ─▶ lists ──────┤
//!                              └▶ dead letters                  └ verify (worker 0, if asked)
//! ```
//!
//! A cluster fails as a whole: the first worker that fails ends its process, and the other processes follow
//! ([`crate::cluster`]).

use crate::cluster::{self, Cluster, Joined, Settings, Turns, Watchdog};
use crate::job::{Destination, Job, OutputStream};
use crate::output::{FileSink, Lines, Sink, SinkError, StreamNumber, TopicSpec, ensure_topic};
use crate::parquet_output::{ParquetOutput, is_parquet};
use crate::process::{Handle, Shared};
use crate::slow_reader::SlowReader;
use crate::state::open::State;
use crate::streams::{Input, Streams, share_of};
use crate::summary::Summary;
use crate::topics::{Kind, refuse_other_records};
use crate::worker;
use anyhow::{Context, Result, anyhow};
use deltacart_inputs::Share;
use deltacart_inputs::file::FileSource;
use deltacart_inputs::kafka::{KafkaSettings, TopicState, topic_partitions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        let topics = prepare_topics(job)?;
        tracing::info!("{}", job.described());
        Ok(topics)
    })
}

/// Runs a job whose topics are known to exist with the right properties.
pub(crate) fn run_prepared(job: Job, handle: &Handle) -> Result<Option<Summary>> {
    join_and_run(job, handle, |_job| Ok(BTreeMap::new()))
}

/// Creates the topics that a job writes, and returns the states of its output topics.
type Prepare = fn(&Job) -> Result<OutputTopics>;

/// The output topics of a job, by the number of the stream.
type OutputTopics = BTreeMap<StreamNumber, TopicState>;

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
    let output_topics = prepare(&job)?;
    handle.meter().wait_no_more();
    let parquet = parquet_output(&job)?;
    let shared = Shared {
        outputs: output_files(&job, parquet.as_ref())?,
        dead_letters: dead_letter_file(&job)?,
        output_topics,
        turns: Turns::new(job.cluster.threads),
        state,
        ..handle.shared.clone()
    };
    let files: Vec<FileSink> = shared.outputs.values().chain(&shared.dead_letters).cloned().collect();
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
    for mut file in files {
        file.finish(Duration::ZERO).unwrap_or_else(|error| fail(&error.into()));
    }
    if let Some(parquet) = parquet {
        parquet.write()?;
    }
    let summary = handle.shared.summary.lock().map_err(|_| anyhow!("a worker stopped"))?.take();
    Ok(summary.map(|summary| Summary { elapsed: start.elapsed(), ..summary }))
}

/// Starts the watchdog of this process's workers, unless they write to standard output: its reader may be slow.
fn watchdog(job: &Job, shared: &Shared) -> Result<Option<Watchdog>> {
    let standard_output = Destination::File("-".to_owned());
    let mut written =
        job.outputs.iter().map(|(_number, stream)| &stream.destination).chain(&job.dead_letters);
    if written.any(|destination| *destination == standard_output) {
        return Ok(None);
    }
    let first = job.cluster.process * job.cluster.threads;
    let watchdog = Watchdog::start(shared.turns.clone(), first, job.cluster.timeouts.stall);
    Ok(Some(watchdog.context("cannot start a thread")?))
}

/// Watches the readers of this process's output and dead letters, where these are not regular files.
fn slow_readers(job: &Job, shared: &Shared) -> Result<Vec<SlowReader>> {
    let mut watched = Vec::new();
    for sink in shared.outputs.values().chain(&shared.dead_letters) {
        let (written, patience) = (sink.clone(), job.cluster.timeouts.stop);
        let is_writing = move || written.is_being_written();
        let reader = SlowReader::watch(sink.path(), &shared.stop, patience, is_writing);
        watched.extend(reader.context("cannot start a thread")?);
    }
    Ok(watched)
}

/// The lists, if they go to a Parquet file. It is written when the workers have ended.
fn parquet_output(job: &Job) -> Result<Option<ParquetOutput>> {
    let path = job.output_files().find_map(|(_number, _stream, path)| is_parquet(path).then_some(path));
    path.map(|path| ParquetOutput::open(path, job.existing)).transpose()
}

/// The output streams that are files. Worker 0 writes them.
fn output_files(job: &Job, parquet: Option<&ParquetOutput>) -> Result<BTreeMap<StreamNumber, FileSink>> {
    let open = |(number, stream, path): (StreamNumber, &OutputStream, &str)| {
        let sink = match parquet.filter(|_| is_parquet(path)) {
            Some(parquet) => parquet.sink(),
            None => FileSink::open(path, job.existing, stream.content.lines())?,
        };
        Ok((number, sink))
    };
    job.output_files().map(open).collect()
}

/// The dead letters, if they go to a file.
fn dead_letter_file(job: &Job) -> Result<Option<FileSink>> {
    let path = job.dead_letter_path();
    Ok(path.map(|path| FileSink::open(&path, job.existing, Lines::DEAD_LETTERS)).transpose()?)
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

/// Creates missing output topics and returns the states of those of output streams. The inputs, and topics that hold
/// something already, are checked first, so that a misspelt name leaves no topic behind.
fn prepare_topics(job: &Job) -> Result<OutputTopics> {
    let Some(kafka) = &job.kafka else { return Ok(OutputTopics::new()) };
    let of_input = partitions_of_inputs(&job.streams, kafka)?;
    for (_number, stream) in job.outputs.iter() {
        if let (Some(name), None) = (stream.topic(), stream.content.table()) {
            let kind = Kind::Lines(stream.content.lines());
            refuse_other_records(kafka, (stream.content.flag(), name), kind)?;
        }
    }
    if let Some(Destination::Topic(name)) = &job.dead_letters {
        refuse_other_records(kafka, ("--dead-letter", name), Kind::DeadLetters)?;
    }
    let partitions = job.output_partitions.unwrap_or(of_input);
    let mut topics = OutputTopics::new();
    for (number, stream) in job.outputs.iter() {
        let Some(name) = stream.topic() else { continue };
        let spec = TopicSpec { name, partitions, compacted: stream.content.table().is_some() };
        let state = ensure_topic(kafka, &spec);
        topics.insert(
            number,
            state.with_context(|| format!("cannot prepare the topic of {}", stream.content.flag()))?,
        );
    }
    if let Some(Destination::Topic(name)) = &job.dead_letters {
        ensure_topic(kafka, &TopicSpec { name, partitions, compacted: false })
            .context("cannot prepare the dead-letter topic")?;
    }
    Ok(topics)
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
