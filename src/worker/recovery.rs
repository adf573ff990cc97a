//! Recovery: resumes where another run stopped.
//!
//! The workers read the consumer state back from the output: the last record of each key, which is what consumers
//! hold. They hand it to the publishers. When every worker has also read the input as far as it went at the start,
//! the publishers begin.

use crate::job::{Destination, Job};
use crate::output::Envelope;
use crate::output::consumer_state::{ConsumerRecord, envelope_of, read_consumer_record};
use crate::publish::{Begin, Resumption};
use crate::worker::coordination::{Coordination, Stage};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::Epoch;
use deltacart_inputs::{RawRecord, Source};
use std::collections::BTreeSet;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

pub(super) type ConsumerInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<ConsumerRecord>>>;

/// The most records of one partition in one fetch.
const BATCH_RECORDS: usize = 4096;

/// The number that a worker passes with [`Stage::CaughtUp`] if the job is stopped before the worker has caught up.
const NEVER: u64 = u64::MAX;

/// One worker's part of the recovery.
pub(super) struct Recovery {
    step: Step,
    resumption: Rc<Resumption>,
}

/// A worker's progress through the recovery.
enum Step {
    /// It reads the consumer state and hands it to the publishers.
    Reading(Box<Reader>, ConsumerInput),
    /// It reads the input as far as it went at the start. If the consumer state is incomplete (`knows_all` is false),
    /// it never catches up.
    CatchingUp { knows_all: bool },
    /// It waits for the other workers.
    Waiting,
    /// The difference to the consumer state is being delivered.
    Publishing,
    /// This worker's difference has been delivered; other workers' may not have been.
    Published,
    /// The recovery is over. Every epoch is published.
    Over,
    /// The job was stopped before all workers had caught up. Nothing is published.
    Never,
}

/// Reads the consumer state.
struct Reader {
    source: Box<dyn Source>,
    ended: BTreeSet<u32>,
    largest: Option<Epoch>,
    records: u64,
    /// The file's path or the topic's name, for messages.
    place: String,
    /// The only envelope that is accepted. A file cannot change its envelope, because it has no tombstones.
    only: Option<Envelope>,
}

impl Recovery {
    /// Begins to read `from`. Without it there is nothing to resume, and the recovery is over at once.
    pub(super) fn new(
        job: &Job,
        from: Option<(Box<dyn Source>, Rc<Resumption>)>,
        input: ConsumerInput,
    ) -> Self {
        let Some((source, resumption)) = from else {
            return Recovery { step: Step::Over, resumption: Rc::default() };
        };
        let (place, only) = match &job.output {
            Destination::File(path) => (path.clone(), Some(job.records.envelope)),
            Destination::Topic(topic) => (format!("topic {topic}"), None),
        };
        let reader = Reader { source, ended: BTreeSet::new(), largest: None, records: 0, place, only };
        Recovery { step: Step::Reading(Box::new(reader), input), resumption }
    }

    /// Whether the recovery is over. From then on, delivered epochs are what consumers should hold.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// How many records of the consumer state have been read; `None` once it has been read.
    pub(super) fn reads_output(&self) -> Option<u64> {
        match &self.step {
            Step::Reading(reader, _) => Some(reader.records),
            _ => None,
        }
    }

    /// Whether the job was stopped before all workers had caught up.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.step, Step::Never)
    }

    /// Takes the next step, if possible. `read` is the epoch by which this worker had read all records present at the
    /// start, once it has. `goes_on` says whether more records may follow. Returns whether there is more to do at
    /// once.
    pub(super) fn turn(
        &mut self,
        coordination: &mut Coordination,
        read: Option<Epoch>,
        goes_on: bool,
    ) -> Result<bool> {
        let next = match &mut self.step {
            Step::Reading(reader, input) => {
                let found = reader.read(input)?;
                let knows_all = reader.has_ended()?;
                if !knows_all && !coordination.is_stopped() {
                    return Ok(found);
                }
                tracing::debug!("what consumers hold is read");
                coordination.pass(
                    Stage::ConsumerState,
                    reader.largest.map_or(0, |largest| largest.saturating_add(1)),
                );
                Step::CatchingUp { knows_all }
            }
            Step::CatchingUp { knows_all } => {
                let read = read.filter(|_| *knows_all);
                if coordination.all_passed(Stage::ConsumerState).is_none()
                    || (read.is_none() && !coordination.is_stopped())
                {
                    return Ok(false);
                }
                if let Some(epoch) = read.filter(|_| goes_on) {
                    // NB: the epoch may have no records, and it must end all the same.
                    coordination.report_used(epoch);
                }
                coordination.pass(Stage::CaughtUp, read.unwrap_or(NEVER));
                Step::Waiting
            }
            Step::Waiting => match (
                coordination.all_passed(Stage::ConsumerState),
                coordination.all_passed(Stage::CaughtUp),
            ) {
                (_, Some(NEVER)) => {
                    self.resumption.begin(Begin::Never);
                    Step::Never
                }
                (Some(base), Some(caught_up)) => {
                    self.resumption.begin(Begin::At { base, caught_up });
                    Step::Publishing
                }
                _ => return Ok(false),
            },
            Step::Publishing if self.resumption.is_published() => {
                coordination.pass(Stage::Published, 0);
                Step::Published
            }
            Step::Published if coordination.all_passed(Stage::Published).is_some() => {
                tracing::debug!("caught up: every epoch is published from now on");
                Step::Over
            }
            Step::Publishing | Step::Published | Step::Over | Step::Never => return Ok(false),
        };
        self.step = next;
        Ok(true)
    }
}

impl Reader {
    /// Reads a batch of each partition. Returns whether any record was read.
    fn read(&mut self, input: &mut ConsumerInput) -> Result<bool> {
        let mut found = false;
        for partition in self.source.partitions()? {
            if self.ended.contains(&partition) {
                continue;
            }
            let (largest, place, only) = (&mut self.largest, &self.place, self.only);
            let mut read = Ok(());
            let fetched = self.source.fetch(partition, BATCH_RECORDS, &mut |record| {
                if read.is_ok() {
                    read = take(&record, only, largest, input).with_context(|| refusal(&record, place));
                }
            })?;
            read?;
            self.records += fetched.records as u64;
            found |= fetched.records > 0;
            if fetched.ended {
                self.ended.insert(partition);
            }
        }
        Ok(found)
    }

    fn has_ended(&mut self) -> Result<bool> {
        let partitions = self.source.partitions()?;
        Ok(partitions.iter().all(|partition| self.ended.contains(partition)))
    }
}

fn take(
    record: &RawRecord<'_>,
    only: Option<Envelope>,
    largest: &mut Option<Epoch>,
    input: &mut ConsumerInput,
) -> Result<()> {
    ensure!(!record.truncated, "it is too long for a list");
    let (consumer_state, epoch) = read_consumer_record(record.partition, record.key, record.value)?;
    if let (Some(only), Some(found)) = (only, envelope_of(&consumer_state)) {
        ensure!(found == only, "its envelope is {found}, and the job's is {only}");
    }
    *largest = epoch.max(*largest);
    input.send(consumer_state);
    Ok(())
}

fn refusal(record: &RawRecord<'_>, place: &str) -> String {
    let RawRecord { partition, offset, .. } = record;
    format!(
        "{place}, partition {partition}, offset {offset} is not a record that this job can go on from: give it another \
         --output, or delete that one"
    )
}
