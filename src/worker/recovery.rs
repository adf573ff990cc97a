//! Going on where another run stopped: what consumers hold is read and handed to the publishers, and they are told to
//! begin when every worker has read the input as far as it went at the start.

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

/// Records of a partition that are read at a time.
const BATCH_RECORDS: usize = 4096;

/// What a worker says of itself that will not catch up because the job is to end.
const NEVER: u64 = u64::MAX;

/// A worker's part of it.
pub(super) struct Recovery {
    step: Step,
    resumption: Rc<Resumption>,
}

/// How far a worker has got.
enum Step {
    /// It reads what consumers hold, and hands it over.
    Reading(Box<Reader>, ConsumerInput),
    /// It reads the input as far as it went at the start; never, if not all that is held is known.
    CatchingUp { knows_all: bool },
    /// It waits for the others.
    Waiting,
    /// The difference is on its way.
    Publishing,
    /// It has arrived; perhaps not everywhere.
    Published,
    /// Nothing is held back any more.
    Over,
    /// The job ends before it has caught up, and nothing is published.
    Never,
}

/// Reads what consumers hold.
struct Reader {
    source: Box<dyn Source>,
    ended: BTreeSet<u32>,
    largest: Option<Epoch>,
    records: u64,
    /// The file or the topic.
    place: String,
    /// A file cannot change its envelope: it has no tombstones.
    only: Option<Envelope>,
}

impl Recovery {
    /// Begins to read, if there is something to go on from; else it is over at once.
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

    /// Whether nothing is held back any more: what is out is what consumers are to have.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// How many records have been read of what consumers hold, while they are being read.
    pub(super) fn reads_output(&self) -> Option<u64> {
        match &self.step {
            Step::Reading(reader, _) => Some(reader.records),
            _ => None,
        }
    }

    /// Whether the job ends before it has caught up.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.step, Step::Never)
    }

    /// Goes on. `read` is the epoch in which this worker has read all that was there at the start, if it has; `goes_on`
    /// says whether there may be more. True if there is more to do at once.
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
                    // Perhaps nothing is in it, and it is to end all the same.
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
    /// Reads a batch of each partition; true if there was a record.
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
