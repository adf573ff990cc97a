//! The worker's environment: its inputs, its outputs and its clock.
//!
//! A worker reaches the outside world only through an [`Environment`]. Tests and the simulator supply their own.

use crate::dead_letter::{DeadLetters, Labels};
use crate::job::{Delivery, Destination, Input, Job, OutputStream, Stream};
use crate::output::{
    KafkaSink, OutputWatch, Sink, SinkSet, StreamNumber, TransactionalSink, WORKER_SLOTS, Watch, fence,
    wait_for_open_transactions,
};
use crate::process::Shared;
use crate::state::snapshot_writer::SnapshotWriter;
use crate::state::store::Store;
use anyhow::{Context, Result};
use deltacart_inputs::file::{FileParams, FileSource, Framing, Tables};
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource};
use deltacart_inputs::{Resume, Share, Source};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The inputs, outputs and clock of a worker. A method that opens something may wait for an answer from outside. The
/// objects that it returns never wait.
pub(crate) trait Environment {
    /// Opens a stream of the input, at `from` if the job resumes. The data present at this moment is the input that a
    /// restart has to catch up with. With `needs_header`, the first record of a file is delivered even if `from` lies
    /// behind it.
    fn source(
        &self,
        stream: &Stream,
        share: Share,
        from: Option<&Resume>,
        needs_header: bool,
    ) -> Result<Box<dyn Source>>;

    /// Opens all output streams and fences the previous owner of this worker's part of them. `None` on a worker that
    /// writes nothing.
    fn sink(&self, share: Share) -> Result<Option<Box<dyn Sink>>>;

    /// Fences the transactional ids that earlier runs may have used and that no worker of this run uses.
    fn fence(&self, share: Share) -> Result<()>;

    /// Opens watches that check the output topics while the job runs. None on workers that have nothing to check.
    fn watches(&self, share: Share) -> Result<Vec<Box<dyn Watch>>>;

    /// Opens an output stream for reading, as consumers see it, if the stream resumes. By now nobody else can write to
    /// it.
    fn consumer_state(&self, stream: &OutputStream, share: Share) -> Result<Option<Box<dyn Source>>>;

    /// Opens the destination of records that cannot be used.
    fn dead_letters(&self, share: Share) -> Result<Option<DeadLetters>>;

    /// Opens the writer of this worker's parts of snapshots in `store`.
    fn snapshot_writer(&self, store: Arc<dyn Store>) -> Result<SnapshotWriter>;

    /// Runs `work` outside the worker's thread, because a worker must not wait for a disk.
    fn run_in_background(&self, work: Box<dyn FnOnce() + Send>) -> Result<()>;

    /// Waits until consumers can read the output. Called at an orderly shutdown, once everything has been delivered.
    fn wait_until_readable(&self, share: Share) -> Result<()>;

    /// The current time.
    fn now(&self) -> Instant;
}

/// The real environment.
pub(crate) struct System<'a> {
    pub(crate) job: &'a Job,
    pub(crate) shared: &'a Shared,
}

/// The longest record, in bytes, that is accepted when the output is read back.
const READ_BACK_BYTES_MAX: usize = 16 << 20;

/// How long a start waits for the open transactions of other producers. The broker aborts the transaction of a dead
/// producer after its `transaction.timeout.ms`, by default 60 s.
const OPEN_PATIENCE: Duration = Duration::from_secs(90);

/// How long an orderly shutdown waits for open transactions. It usually takes milliseconds.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How often the output topics are checked if no input topic sets a metadata refresh.
const WATCH_PERIOD: Duration = Duration::from_secs(10);

impl System<'_> {
    fn kafka(&self) -> Result<&KafkaSettings> {
        self.job.kafka.as_ref().context("a topic needs brokers: add -b/--brokers")
    }
}

impl Environment for System<'_> {
    fn source(
        &self,
        stream: &Stream,
        share: Share,
        from: Option<&Resume>,
        needs_header: bool,
    ) -> Result<Box<dyn Source>> {
        let record_bytes_max = stream.decode.limits.record_bytes_max;
        Ok(match &stream.input {
            Input::Files(paths) => {
                let (framing, progress) = (stream.decode.framing(), self.shared.progress.clone());
                let tables = stream.decode.tables();
                let params = FileParams { framing, tables, record_bytes_max, share, progress };
                let mut source = FileSource::new(paths, params)?;
                if let Some(resume) = from {
                    source.resume(&resume.offsets, needs_header);
                }
                Box::new(source)
            }
            Input::Topic { name, from: start, until_end, metadata_refresh } => {
                let params = KafkaParams {
                    topic: name.clone(),
                    from: *start,
                    until_end: *until_end,
                    record_bytes_max,
                    metadata_refresh: *metadata_refresh,
                    share,
                    // The positions in a log are those of one topic.
                    asks_id: self.job.state.is_some() || self.job.outputs.have_log(),
                    commits: true,
                };
                Box::new(match from {
                    Some(resume) => KafkaSource::resume(self.kafka()?, params, resume)?,
                    None => KafkaSource::new(self.kafka()?, params)?,
                })
            }
        })
    }

    fn sink(&self, share: Share) -> Result<Option<Box<dyn Sink>>> {
        let mut sinks = SinkSet::default();
        let (numbers, topics): (Vec<StreamNumber>, Vec<&str>) = self.job.outputs.topics().unzip();
        if !topics.is_empty() {
            let sink: Box<dyn Sink> = match &self.job.delivery {
                Delivery::AtLeastOnce => Box::new(KafkaSink::connect(self.kafka()?, &topics)?),
                Delivery::ExactlyOnce { job, .. } => {
                    let ids = std::array::from_fn(|at| slot(job, share.worker * WORKER_SLOTS + at));
                    Box::new(TransactionalSink::connect(self.kafka()?, &topics, &ids)?)
                }
            };
            sinks.add(sink, numbers);
        }
        if share.worker == 0 {
            let files = self.shared.outputs.iter();
            files.for_each(|(&number, file)| sinks.add(Box::new(file.clone()), [number]));
        }
        Ok((!sinks.is_empty()).then(|| Box::new(sinks) as Box<dyn Sink>))
    }

    fn fence(&self, share: Share) -> Result<()> {
        if let (Some((_number, topic)), Delivery::ExactlyOnce { job, slots }) =
            (self.job.outputs.topics().next(), &self.job.delivery)
        {
            let spare = share.workers * WORKER_SLOTS..*slots as usize;
            let spare = spare.filter(|slot| share.owns(*slot as u32));
            let ids: Vec<String> = spare.map(|number| slot(job, number)).collect();
            fence(self.kafka()?, topic, &ids)?;
        }
        Ok(())
    }

    fn watches(&self, share: Share) -> Result<Vec<Box<dyn Watch>>> {
        let mut watches = Vec::new();
        if share.worker > 0 {
            return Ok(watches);
        }
        let mut periods = self.job.streams.iter().filter_map(|(_number, stream)| match stream.input {
            Input::Topic { metadata_refresh, .. } => Some(metadata_refresh),
            Input::Files(_) => None,
        });
        let period = periods.next().unwrap_or(WATCH_PERIOD);
        for (number, stream) in self.job.outputs.iter() {
            let began = self.shared.output_topics.get(&number);
            let Some((topic, began)) = stream.topic().zip(began) else { continue };
            let topic = (topic, stream.content.table().is_some());
            let watch = OutputWatch::start(self.kafka()?, topic, began.clone(), period)?;
            watches.push(Box::new(watch) as Box<dyn Watch>);
        }
        Ok(watches)
    }

    fn consumer_state(&self, stream: &OutputStream, share: Share) -> Result<Option<Box<dyn Source>>> {
        if !stream.resumes(self.job.existing) {
            return Ok(None);
        }
        let record_bytes_max = READ_BACK_BYTES_MAX;
        Ok(Some(match &stream.destination {
            Destination::File(path) => {
                let progress = Default::default();
                let (framing, tables) = (Framing::Lines, Tables::Refused);
                let params = FileParams { framing, tables, record_bytes_max, share, progress };
                Box::new(FileSource::new(&[PathBuf::from(path)], params)?)
            }
            Destination::Topic(topic) => {
                wait_for_open_transactions(self.kafka()?, topic, share, OPEN_PATIENCE)?;
                let params = KafkaParams { share, ..KafkaParams::whole(topic, record_bytes_max) };
                Box::new(KafkaSource::new(&self.kafka()?.committed_only(), params)?)
            }
        }))
    }

    fn dead_letters(&self, share: Share) -> Result<Option<DeadLetters>> {
        Ok(match &self.job.dead_letters {
            None => None,
            Some(Destination::File(_)) => self.shared.dead_letters.clone().map(DeadLetters::to_file),
            Some(Destination::Topic(name)) => {
                let labels = Labels { connector: "deltacart".to_owned(), task: share.worker };
                Some(DeadLetters::to_topic(self.kafka()?, name, labels)?)
            }
        })
    }

    fn snapshot_writer(&self, store: Arc<dyn Store>) -> Result<SnapshotWriter> {
        SnapshotWriter::spawn(store).context("no thread to write snapshots")
    }

    fn run_in_background(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        thread::Builder::new().name("aside".to_owned()).spawn(work).context("no thread")?;
        Ok(())
    }

    fn wait_until_readable(&self, share: Share) -> Result<()> {
        if self.job.delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        for (_number, topic) in self.job.outputs.topics() {
            if let Err(error) = wait_for_open_transactions(self.kafka()?, topic, share, SETTLE_PATIENCE) {
                // All records are committed. An open transaction of another producer delays readers and is no failure
                // of this job.
                tracing::warn!("{error}");
            }
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The transactional id of a slot: of a worker of this run, or of one that an earlier run may have had.
fn slot(job: &str, number: usize) -> String {
    format!("{job}-{number}")
}
