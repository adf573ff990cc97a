//! Recovery: resumes where another run stopped.
//!
//! The workers read the output streams back: of a table, the last record of each key, which is what consumers hold; of
//! a log, its end. They hand it to the publishers. When every worker has also read the input as far as it went at the
//! start, the publishers begin with the tables.

use crate::output::consumer_state::{ConsumerRecord, envelope_of, read_consumer_record, rows_of};
use crate::output::{Envelope, LogFormat, Mark, RowKind};
use crate::outputs::OutputStream;
use crate::publish::{Begin, Resumption};
use crate::worker::coordination::{Coordination, Stage};
use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::Epoch;
use deltacart_inputs::{RawRecord, Source};
use std::collections::BTreeSet;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;

/// The input by which records that were read back reach the publishers.
pub(super) type ReadBackInput<D> = InputHandle<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// The most records of one partition in one fetch.
const BATCH_RECORDS: usize = 4096;

/// The number that a worker passes with [`Stage::ConsumerState`] and [`Stage::CaughtUp`] if the job is stopped before
/// the worker has come so far.
const NEVER: u64 = u64::MAX;

/// The largest epoch that a job resumes from. The epochs of its run are added to it.
const EPOCH_MAX: Epoch = Epoch::MAX >> 1;

/// Takes the records of one stream as they are read back, and hands them to the publishers. They have all when it is
/// dropped.
pub(super) trait ReadBack {
    /// Takes one record. Returns its epoch, which a tombstone does not have.
    ///
    /// # Errors
    /// When the record is not one of the stream.
    fn take(&mut self, record: &RawRecord<'_>) -> Result<Option<Epoch>>;
}

/// Reads a table back.
pub(super) struct TableReadBack {
    pub(super) input: ReadBackInput<ConsumerRecord>,
    /// The only envelope that is accepted. A file cannot change its envelope, because it has no tombstones.
    pub(super) only: Option<Envelope>,
    /// What the lists are for.
    pub(super) rows: RowKind,
}

impl ReadBack for TableReadBack {
    fn take(&mut self, record: &RawRecord<'_>) -> Result<Option<Epoch>> {
        let (consumer_record, epoch) = read_consumer_record(record.partition, record.key, record.value)?;
        if let (Some(only), Some(found)) = (self.only, envelope_of(&consumer_record)) {
            ensure!(found == only, "its envelope is {found}, and the job's is {only}");
        }
        if let Some(found) = rows_of(&consumer_record)
            && found != self.rows
        {
            bail!(
                "it is the list of one {}, and the stream has lists of one {}",
                found.field(),
                self.rows.field()
            );
        }
        self.input.send(consumer_record);
        Ok(epoch)
    }
}

/// Reads a log back.
pub(super) struct LogReadBack<F: LogFormat> {
    pub(super) input: ReadBackInput<Mark<F>>,
    pub(super) format: Rc<F>,
}

impl<F: LogFormat> ReadBack for LogReadBack<F> {
    fn take(&mut self, record: &RawRecord<'_>) -> Result<Option<Epoch>> {
        let value = record.value.context("it has no value")?;
        let (epoch, place) = self.format.read(value)?;
        if let Some((lane, place)) = place {
            self.input.send((lane, epoch, place));
        }
        Ok(Some(epoch))
    }
}

/// One worker's part of the recovery.
pub(super) struct Recovery {
    step: Step,
    resumption: Rc<Resumption>,
}

/// A worker's progress through the recovery.
enum Step {
    /// It reads the output streams back and hands them to the publishers.
    Reading(Vec<Reader>),
    /// It reads the input as far as it went at the start. If the output has not been read to its end (`knows_all` is
    /// false), it never catches up.
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

/// Reads one stream of the output.
pub(super) struct Reader {
    source: Box<dyn Source>,
    read_back: Box<dyn ReadBack>,
    /// The file's path or the topic's name, for messages.
    place: String,
    /// The flag of the stream, for messages.
    flag: &'static str,
    ended: BTreeSet<u32>,
    largest: Option<Epoch>,
    records: u64,
}

impl Recovery {
    /// Begins to read the output streams back. Without a `resumption` there is nothing to resume, and the recovery is
    /// over at once.
    pub(super) fn new(readers: Vec<Reader>, resumption: Option<Rc<Resumption>>) -> Self {
        match resumption {
            None => Recovery { step: Step::Over, resumption: Rc::default() },
            Some(resumption) => Recovery { step: Step::Reading(readers), resumption },
        }
    }

    /// Whether the recovery is over. From then on, delivered epochs are what consumers should hold.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// What is added to an epoch to give the published one.
    pub(super) fn base(&self) -> Epoch {
        self.resumption.base().unwrap_or(0)
    }

    /// How many records of the output have been read; `None` once all have been read.
    pub(super) fn reads_output(&self) -> Option<u64> {
        match &self.step {
            Step::Reading(readers) => Some(readers.iter().map(|reader| reader.records).sum()),
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
            Step::Reading(readers) => {
                let (mut found, mut knows_all) = (false, true);
                for reader in &mut *readers {
                    found |= reader.read()?;
                    knows_all &= reader.has_ended()?;
                }
                if !knows_all && !coordination.is_stopped() {
                    return Ok(found);
                }
                tracing::debug!("what consumers hold is read");
                let largest = readers.iter().filter_map(|reader| reader.largest).max();
                let base = largest.map_or(0, |largest| largest + 1);
                coordination.pass(Stage::ConsumerState, if knows_all { base } else { NEVER });
                Step::CatchingUp { knows_all }
            }
            Step::CatchingUp { knows_all } => {
                let read = read.filter(|_| *knows_all);
                let base = coordination.all_passed(Stage::ConsumerState);
                if let Some(base) = base.filter(|base| *base != NEVER) {
                    self.resumption.know(base);
                }
                if base.is_none() || (read.is_none() && !coordination.is_stopped()) {
                    return Ok(false);
                }
                if let Some(epoch) = read.filter(|_| goes_on) {
                    // NB: the epoch may have no records, and it must end all the same.
                    coordination.report_used(epoch);
                }
                coordination.pass(Stage::CaughtUp, read.unwrap_or(NEVER));
                Step::Waiting
            }
            Step::Waiting => match coordination.all_passed(Stage::CaughtUp) {
                Some(NEVER) => {
                    self.resumption.begin(Begin::Never);
                    Step::Never
                }
                Some(caught_up) => {
                    self.resumption.begin(Begin::At(caught_up));
                    Step::Publishing
                }
                None => return Ok(false),
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
    /// Reads `stream` from `source`, and hands its records to `read_back`.
    pub(super) fn new(stream: &OutputStream, source: Box<dyn Source>, read_back: Box<dyn ReadBack>) -> Self {
        let (place, flag) = (stream.place(), stream.content.flag());
        Reader { source, read_back, place, flag, ended: BTreeSet::new(), largest: None, records: 0 }
    }

    /// Reads a batch of each partition. Returns whether any record was read.
    fn read(&mut self) -> Result<bool> {
        let Reader { source, read_back, place, flag, ended, largest, records } = self;
        let mut found = false;
        for partition in source.partitions()? {
            if ended.contains(&partition) {
                continue;
            }
            let mut read = Ok(());
            let fetched = source.fetch(partition, BATCH_RECORDS, &mut |record| {
                if read.is_ok() {
                    read = take(&record, &mut **read_back, largest)
                        .with_context(|| refusal(&record, place, flag));
                }
            })?;
            read?;
            *records += fetched.records as u64;
            found |= fetched.records > 0;
            if fetched.ended {
                ended.insert(partition);
            }
        }
        Ok(found)
    }

    fn has_ended(&mut self) -> Result<bool> {
        let partitions = self.source.partitions()?;
        Ok(partitions.iter().all(|partition| self.ended.contains(partition)))
    }
}

fn take(record: &RawRecord<'_>, read_back: &mut dyn ReadBack, largest: &mut Option<Epoch>) -> Result<()> {
    ensure!(!record.truncated, "it is longer than any record of a job");
    let epoch = read_back.take(record)?;
    ensure!(
        epoch.is_none_or(|epoch| epoch <= EPOCH_MAX),
        "the output holds an epoch after which there is no other: {}",
        epoch.unwrap_or_default()
    );
    *largest = epoch.max(*largest);
    Ok(())
}

fn refusal(record: &RawRecord<'_>, place: &str, flag: &str) -> String {
    let RawRecord { partition, offset, .. } = record;
    format!(
        "{place}, partition {partition}, offset {offset} is not a record that this job can resume from: give it another \
         {flag}, or delete that one"
    )
}
