//! The outside world as a worker meets it: what it reads, what it writes, and the time.
//!
//! Everything a worker talks to comes from here, so a test can put a world of its own in this one's place.

use crate::dead_letter::{DeadLetters, Labels};
use crate::job::{Delivery, Destination, Input, Job, Shared, Stream};
use crate::output::{
    KafkaSink, OutputWatch, Sink, TransactionalSink, WORKER_SLOTS, Watch, fence, wait_for_open_transactions,
};
use crate::state::snapshot_writer::SnapshotWriter;
use crate::state::store::Store;
use anyhow::{Context, Result};
use deltacart_inputs::file::{FileParams, FileSource, Framing, Tables};
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource, StartFrom};
use deltacart_inputs::{Resume, Share, Source};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What a worker reads and writes. The methods that make something may wait for an answer from outside; what they make
/// does not.
pub(crate) trait Environment {
    /// A stream of the input, from where it is to be gone on with, if it is. What it holds now is what is there at the
    /// start. With `needs_header` the first record of a file is handed over in any case.
    fn source(
        &self,
        stream: &Stream,
        share: Share,
        from: Option<&Resume>,
        needs_header: bool,
    ) -> Result<Box<dyn Source>>;

    /// The output, taken over from whoever had this worker's part of it; `None` on a worker that writes nothing.
    fn sink(&self, share: Share) -> Result<Option<Box<dyn Sink>>>;

    /// Takes over the parts that earlier runs may have had and this one has no worker for.
    fn fence(&self, share: Share) -> Result<()>;

    /// What looks at the output while the job runs; on one worker, where there is something to look at.
    fn watch(&self, share: Share) -> Result<Option<Box<dyn Watch>>>;

    /// What consumers hold, if the job goes on where another stopped. Nobody else can write it any more.
    fn consumer_state(&self, share: Share) -> Result<Option<Box<dyn Source>>>;

    /// Where records go that cannot be used.
    fn dead_letters(&self, share: Share) -> Result<Option<DeadLetters>>;

    /// What writes this worker's parts of snapshots to `store`.
    fn snapshot_writer(&self, store: Arc<dyn Store>) -> Result<SnapshotWriter>;

    /// Does something beside the worker, which has no time to wait for a disk.
    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> Result<()>;

    /// Waits until consumers can read what was written: at an orderly end, when everything is out.
    fn settle(&self, share: Share) -> Result<()>;

    /// What time it is.
    fn now(&self) -> Instant;
}

/// The real one.
pub(crate) struct System<'a> {
    pub(crate) job: &'a Job,
    pub(crate) shared: &'a Shared,
}

/// The longest record of lists that is read back.
const LIST_BYTES_MAX: usize = 16 << 20;

/// How long is waited at the start for a transaction of somebody else. A producer that is gone is given up by the
/// broker after its `transaction.timeout.ms`, by default 60 s.
const OPEN_PATIENCE: Duration = Duration::from_secs(90);

/// How long is waited for open transactions at an orderly end. Mostly it takes milliseconds.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How often the topic of lists is looked at, where no flag says so.
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
                    asks_id: self.job.state.is_some(),
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
        Ok(match (&self.job.output, &self.job.delivery) {
            (Destination::File(_), _) => {
                let sink = self.shared.output.clone().filter(|_| share.worker == 0);
                sink.map(|sink| Box::new(sink) as Box<dyn Sink>)
            }
            (Destination::Topic(topic), Delivery::AtLeastOnce) => {
                Some(Box::new(KafkaSink::connect(self.kafka()?, topic)?))
            }
            (Destination::Topic(topic), Delivery::ExactlyOnce { job, .. }) => {
                let ids = std::array::from_fn(|at| slot(job, share.worker * WORKER_SLOTS + at));
                Some(Box::new(TransactionalSink::connect(self.kafka()?, topic, &ids)?))
            }
        })
    }

    fn fence(&self, share: Share) -> Result<()> {
        if let (Destination::Topic(topic), Delivery::ExactlyOnce { job, slots }) =
            (&self.job.output, &self.job.delivery)
        {
            let spare = share.workers * WORKER_SLOTS..*slots as usize;
            let spare = spare.filter(|slot| share.owns(*slot as u32));
            let ids: Vec<String> = spare.map(|number| slot(job, number)).collect();
            fence(self.kafka()?, topic, &ids)?;
        }
        Ok(())
    }

    fn watch(&self, share: Share) -> Result<Option<Box<dyn Watch>>> {
        let (Destination::Topic(topic), Some(began), 0) =
            (&self.job.output, &self.shared.output_topic, share.worker)
        else {
            return Ok(None);
        };
        let mut periods = self.job.streams.iter().filter_map(|(_number, stream)| match stream.input {
            Input::Topic { metadata_refresh, .. } => Some(metadata_refresh),
            Input::Files(_) => None,
        });
        let period = periods.next().unwrap_or(WATCH_PERIOD);
        Ok(Some(Box::new(OutputWatch::start(self.kafka()?, topic, began.clone(), period)?)))
    }

    fn consumer_state(&self, share: Share) -> Result<Option<Box<dyn Source>>> {
        let record_bytes_max = LIST_BYTES_MAX;
        Ok(match &self.job.output {
            Destination::File(path) if self.job.resumes() => {
                let progress = Default::default();
                let (framing, tables) = (Framing::Lines, Tables::Refused);
                let params = FileParams { framing, tables, record_bytes_max, share, progress };
                Some(Box::new(FileSource::new(&[PathBuf::from(path)], params)?))
            }
            Destination::Topic(topic) if self.job.resumes() => {
                wait_for_open_transactions(self.kafka()?, topic, share, OPEN_PATIENCE)?;
                let params = KafkaParams {
                    topic: topic.clone(),
                    from: StartFrom::Beginning,
                    until_end: true,
                    record_bytes_max,
                    metadata_refresh: Duration::from_secs(10),
                    share,
                    asks_id: false,
                    commits: false,
                };
                Some(Box::new(KafkaSource::new(&self.kafka()?.committed_only(), params)?))
            }
            _ => None,
        })
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

    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        thread::Builder::new().name("aside".to_owned()).spawn(work).context("no thread")?;
        Ok(())
    }

    fn settle(&self, share: Share) -> Result<()> {
        if let (Destination::Topic(topic), Delivery::ExactlyOnce { .. }) =
            (&self.job.output, &self.job.delivery)
            && let Err(error) = wait_for_open_transactions(self.kafka()?, topic, share, SETTLE_PATIENCE)
        {
            // Everything is committed; that somebody else holds readers up is no failure of this job.
            tracing::warn!("{error}");
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The transactional id of a slot: a worker's, or one that an earlier run may have had.
fn slot(job: &str, number: usize) -> String {
    format!("{job}-{number}")
}
