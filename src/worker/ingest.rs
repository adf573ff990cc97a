//! Ingest: reads and decodes the records of a worker's partitions, and commits the offsets of delivered epochs.

mod batch;

use crate::dead_letter::{DeadLetters, Found, Origin};
use crate::job::{Job, Stream, Streams};
use crate::metrics::{PartitionLabel, Probe, Step, Turn};
use crate::process::Shared;
use crate::state::manifest::PartitionOffset;
use crate::state::open;
use crate::summary::{Counter, Tally};
use crate::unusable::{UnusableReports, Uses};
use crate::worker::backlog::Backlog;
use crate::worker::counts::Counts;
use crate::worker::environment::Environment;
use crate::worker::epoch_scheduler::EpochBudget;
use crate::worker::inputs::{Inputs, StreamInput};
use anyhow::{Context, Result};
use batch::Reader;
use deltacart_dataflows::{Epoch, Event, Millis, Partition};
use deltacart_inputs::registry::Registry;
use deltacart_inputs::{EventIds, Fetched, Lag, RawRecord, Share};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A worker's partitions, and how far each has been read.
pub(super) struct Ingest<'a> {
    streams: &'a Streams,
    inputs: Inputs<'a>,
    dead_letters: Option<DeadLetters>,
    tally: Rc<RefCell<Tally>>,
    unusable_reports: UnusableReports,
    /// Whether event times matter: they do if idle baskets expire.
    times_matter: bool,
    partitions: BTreeMap<Partition, Progress>,
    /// The partition that is read first: the one that found no room in the last fetch.
    first: Partition,
    /// The partitions' clocks as the snapshot has them.
    clocks: BTreeMap<Partition, Millis>,
    epoch_events: usize,
    epoch_bytes: usize,
    epochs: u64,
    /// Offsets of epochs that have ended and are not delivered, oldest first.
    ended: VecDeque<(Epoch, Vec<(Partition, u64)>)>,
    /// Offsets of delivered epochs that are not committed.
    out: BTreeMap<Partition, u64>,
    committed_at: Instant,
    /// When [`Ingest::pass_markers`] ran last.
    passed_at: Instant,
    /// Dead letters that had not arrived when they were last polled.
    letters_under_way: usize,
    /// Whether the last fetch skipped records that an earlier run had read.
    is_skipping: bool,
    /// Whether records have been fetched at least once.
    has_looked: bool,
    events: Vec<Event>,
}

/// The input's part of a snapshot.
pub(super) struct InputState {
    /// The offset that every partition has been read up to.
    pub(super) offsets: Vec<PartitionOffset>,
    /// The event ids that are remembered for duplicate detection, by partition.
    pub(super) ids: Vec<(Partition, EventIds)>,
}

/// The progress of one partition.
#[derive(Default)]
struct Progress {
    /// The offset after the last record read.
    next_offset: u64,
    /// All records before this offset are delivered, and their offsets are committed or about to be.
    committed: u64,
    /// The largest event time so far, in milliseconds. An event with an earlier time is given this one.
    clock: Millis,
    /// Records read in the current epoch.
    epoch_records: u64,
    /// Records that wait for their schema. Nothing behind them is read.
    backlog: Backlog,
    uses: Uses,
    /// Whether the warning about a clock ahead of the machine's has been logged.
    has_leapt: bool,
    ended: bool,
    /// Whether the partition has been read to its end at least once.
    reached_end: bool,
}

impl Progress {
    /// A partition of which nothing has been read. `clock` is its clock at the end of an earlier run.
    fn new(next_offset: u64, clock: Option<Millis>) -> Progress {
        Progress { next_offset, clock: clock.unwrap_or_default(), ..Progress::default() }
    }

    /// Adds the result of one batch.
    fn take(&mut self, counts: Counts, next_offset: u64, clock: Millis, fetched: &Fetched) {
        (self.next_offset, self.clock) = (next_offset, clock);
        self.epoch_records += counts.records;
        self.ended = fetched.ended;
        self.reached_end |= fetched.ended || fetched.at_end;
        self.uses.add(counts.uses());
    }

    /// Warns once if the partition's clock is ahead of the machine's. By that clock `--basket-idle` expires baskets
    /// too early.
    fn warn_of_leap(&mut self, found: Found<'_>, partition: u32) {
        let now = jiff::Timestamp::now().as_millisecond();
        let clock = i64::try_from(self.clock).unwrap_or(i64::MAX);
        if self.has_leapt || clock <= now.saturating_add(LEAP_MAX) {
            return;
        }
        self.has_leapt = true;
        let time = jiff::Timestamp::from_millisecond(clock).unwrap_or(jiff::Timestamp::MAX);
        tracing::warn!(
            "{}, partition {partition}: an event says {time}, which is ahead of this machine's clock; by it \
             --basket-idle forgets the baskets of the partition",
            found.name()
        );
    }
}

/// How far an event time may be ahead of the machine's clock before a warning, in milliseconds. It is a day, which
/// allows for times written without their zone.
const LEAP_MAX: i64 = 86_400_000;

/// The most records of one partition in one fetch.
const BATCH_RECORDS: usize = 4096;

/// How often offsets are committed. They are for tools that watch the lag; the job does not need them.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How often dead letters are polled while some have not arrived. Their arrival does not wake the worker.
const POLL_LETTERS: Duration = Duration::from_millis(5);

/// The longest sleep of an idle worker. Requests to stop, client errors, new partitions and due commits do not wake
/// it, so it looks for them this often.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How long an orderly shutdown waits until dead letters and commits are safe.
const END_PATIENCE: Duration = Duration::from_secs(30);

impl<'a> Ingest<'a> {
    pub(super) fn new(
        job: &'a Job,
        shared: &Shared,
        environment: &dyn Environment,
        share: Share,
        tally: Rc<RefCell<Tally>>,
    ) -> Result<Self> {
        let snapshot = shared.state.as_ref().and_then(|state| state.snapshot.as_ref());
        let clocks = snapshot.map(|snapshot| snapshot.manifest().clocks()).unwrap_or_default();
        for (number, stream) in job.streams.iter() {
            count_of_input(&job.streams, number, stream, 0, &mut tally.borrow_mut());
        }
        Ok(Ingest {
            streams: &job.streams,
            inputs: Inputs::open(job, shared, environment, share)?,
            dead_letters: environment.dead_letters(share)?,
            tally,
            unusable_reports: shared.unusable_reports.clone(),
            times_matter: job.params.basket_idle.is_some(),
            partitions: BTreeMap::new(),
            first: Partition::default(),
            clocks,
            epoch_events: 0,
            epoch_bytes: 0,
            epochs: 0,
            ended: VecDeque::new(),
            out: BTreeMap::new(),
            committed_at: environment.now(),
            passed_at: environment.now(),
            letters_under_way: 0,
            is_skipping: false,
            has_looked: false,
            events: Vec::new(),
        })
    }

    /// Reads a batch of each partition, within the budget, and hands the events to `send`. Returns whether any record
    /// was read.
    pub(super) fn fetch(
        &mut self,
        budget: EpochBudget,
        send: &mut dyn FnMut(&mut Vec<Event>),
    ) -> Result<bool> {
        let mut found = false;
        self.is_skipping = false;
        self.has_looked = true;
        let mut missed = None;
        for number in self.in_turn()? {
            let first = || Progress::new(self.inputs.first_offset(number), self.clocks.get(&number).copied());
            let partition = self.partitions.entry(number).or_insert_with(first);
            let events_left = budget.events.saturating_sub(self.epoch_events);
            if events_left == 0 || self.epoch_bytes >= budget.bytes {
                missed.get_or_insert(number);
                continue;
            }
            let records_left = budget.partition_records.saturating_sub(partition.epoch_records);
            let batch =
                BATCH_RECORDS.min(events_left).min(usize::try_from(records_left).unwrap_or(usize::MAX));
            if partition.ended || batch == 0 || self.dead_letters.as_ref().is_some_and(DeadLetters::is_full) {
                continue;
            }
            let StreamInput { stream, source, decoder } = self.inputs.of(number);
            let mut reader = Reader {
                stream,
                partition: number,
                decoder: &mut **decoder,
                dead_letters: self.dead_letters.as_mut(),
                tally: &mut self.tally.borrow_mut(),
                unusable_reports: &self.unusable_reports,
                events: &mut self.events,
                send,
                counts: Counts::default(),
                next_offset: partition.next_offset,
                clock: partition.clock,
                failed: Ok(()),
            };
            let take = &mut |record: &RawRecord<'_>| reader.take(record);
            let fetched = partition.backlog.read(&mut **source, number.number(), batch, take)?;
            let Reader { next_offset, clock, failed, counts, tally, .. } = reader;
            failed?;
            counts.add_to(tally);
            if counts.records > 0 {
                count_of_input(self.streams, number.stream(), stream, counts.records, tally);
            }
            partition.take(counts, next_offset, clock, &fetched);
            let origin = Origin::of(stream, number.number());
            if counts.records > 0 || fetched.ended {
                let is_whole = fetched.ended && source.first_offset(number.number()) == 0;
                let is_last = is_whole && matches!(origin.found, Found::File(_));
                self.unusable_reports.judge(origin, partition.uses, is_last);
            }
            if self.times_matter {
                partition.warn_of_leap(origin.found, number.number());
            }
            self.epoch_events += counts.events as usize;
            self.epoch_bytes += fetched.bytes;
            found |= counts.records > 0;
            self.is_skipping |= fetched.skipped;
            send(&mut self.events);
            self.events.clear();
        }
        // The next fetch begins with the first partition that found no room, so that none starves.
        self.first = missed.unwrap_or_default();
        Ok(found)
    }

    /// The partitions in the order in which they are read: first the one that found no room in the last fetch.
    fn in_turn(&mut self) -> Result<Vec<Partition>> {
        let mut partitions = self.inputs.partitions()?;
        let first = partitions.partition_point(|&partition| partition < self.first);
        partitions.rotate_left(first);
        Ok(partitions)
    }

    /// The input's part of a snapshot at the end of the epoch that has just ended: offsets and remembered event ids.
    pub(super) fn kept(&mut self) -> Result<InputState> {
        let mut offsets = Vec::new();
        for partition in self.inputs.partitions()? {
            let read = self.partitions.get(&partition).map(|read| (read.next_offset, read.clock));
            let clock = || self.clocks.get(&partition).copied().unwrap_or_default();
            let (offset, clock) = read.unwrap_or_else(|| (self.inputs.first_offset(partition), clock()));
            offsets.push(PartitionOffset {
                partition,
                offset,
                clock,
                source: open::source(self.streams, partition),
            });
        }
        Ok(InputState { offsets, ids: self.inputs.remembered()? })
    }

    /// The topic id of each stream, in the order of streams; `None` for a stream that has none.
    pub(super) fn topic_ids(&self) -> Vec<Option<String>> {
        self.inputs.topic_ids()
    }

    /// Whether the source is skipping to the offset that it resumes at. Then there is more to do although nothing was
    /// read.
    pub(super) fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// Whether all dead letters had arrived at the last poll.
    pub(super) fn letters_are_out(&self) -> bool {
        self.letters_under_way == 0
    }

    /// How far this worker has read, for metrics and health checks.
    pub(super) fn turn(
        &self,
        step: Step,
        epoch: Epoch,
        oldest: Option<Epoch>,
        oldest_ahead: Option<Epoch>,
    ) -> Turn {
        Turn {
            epoch,
            oldest,
            oldest_ahead,
            step,
            has_read: self.partitions.values().any(|partition| partition.epoch_records > 0),
            reached_end: self.has_looked && self.partitions.values().all(|partition| partition.reached_end),
        }
    }

    /// Measurements that cost more than reading a field, for metrics.
    pub(super) fn probe(&self) -> Probe {
        let waiting =
            |number: Partition| self.partitions.get(&number).map_or(0, |read| read.backlog.len() as u64);
        // The sources count records of the backlog as read, so they are added to the lag.
        let lags = self.inputs.lags().into_iter().map(|(number, stream, lag)| {
            let label = PartitionLabel::new(stream, lag.partition);
            (label, Lag { offsets: lag.offsets + waiting(number), ..lag })
        });
        let clocks = self.partitions.iter().filter(|(_number, partition)| partition.clock > 0);
        let clocks = clocks.filter_map(|(&number, partition)| {
            let label = PartitionLabel::new(self.streams.of(number)?, number.number());
            Some((label, partition.clock))
        });
        Probe {
            lags: lags.collect(),
            waiting: self.partitions.keys().map(|&number| waiting(number)).sum(),
            registry: self.streams.registry().map(Registry::status).unwrap_or_default(),
            clocks: clocks.collect(),
            ids_remembered: self.inputs.ids_remembered(),
        }
    }

    /// Whether no record can come any more.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        let partitions = self.inputs.partitions()?;
        let ended =
            |partition: &Partition| self.partitions.get(partition).is_some_and(|partition| partition.ended);
        Ok(partitions.iter().all(ended) && !self.inputs.may_grow())
    }

    /// Whether every partition has given this many records in the current epoch, or has ended.
    pub(super) fn all_gave(&self, records: u64) -> bool {
        self.partitions.values().all(|partition| partition.ended || partition.epoch_records >= records)
    }

    /// Ends the epoch. Records read from now on belong to a later one.
    pub(super) fn end_epoch(&mut self, epoch: Epoch) {
        let read = self.partitions.iter_mut().filter(|(_number, partition)| partition.epoch_records > 0);
        let offsets: Vec<(Partition, u64)> = read
            .map(|(&number, partition)| {
                partition.epoch_records = 0;
                (number, partition.next_offset)
            })
            .collect();
        if !offsets.is_empty() {
            self.epochs += 1;
            self.ended.push_back((epoch, offsets));
        }
        self.epoch_events = 0;
        self.epoch_bytes = 0;
    }

    /// Whether all records that were there when the job began have been read.
    pub(super) fn has_caught_up(&self) -> bool {
        self.inputs.has_caught_up() && self.partitions.values().all(|partition| partition.backlog.is_empty())
    }

    /// Commits the offsets of epochs before `oldest`, the oldest undelivered epoch; of all epochs if it is `None`.
    pub(super) fn commit(&mut self, oldest: Option<Epoch>, now: Instant) -> Result<()> {
        while let Some((epoch, offsets)) = self.ended.front() {
            if oldest.is_some_and(|oldest| *epoch >= oldest) {
                break;
            }
            for &(number, offset) in offsets {
                self.out.insert(number, offset);
                if let Some(partition) = self.partitions.get_mut(&number) {
                    partition.committed = partition.committed.max(offset);
                }
            }
            self.ended.pop_front();
        }
        if let Some(dead_letters) = &mut self.dead_letters {
            self.letters_under_way = dead_letters.poll()?;
        }
        if oldest != Some(0) && now.saturating_duration_since(self.passed_at) >= COMMIT_EVERY {
            self.passed_at = now;
            self.pass_markers()?;
        }
        let is_due = now.saturating_duration_since(self.committed_at) >= COMMIT_EVERY;
        if is_due && self.letters_under_way == 0 && !self.out.is_empty() {
            let offsets: Vec<(Partition, u64)> = std::mem::take(&mut self.out).into_iter().collect();
            self.inputs.commit(&offsets)?;
            self.committed_at = now;
        }
        Ok(())
    }

    /// Commits offsets that hold no records, behind the last record of a partition, once all its records are
    /// delivered. A transaction ends in a marker, which takes an offset. A group that stopped before it would show a
    /// lag of one for ever.
    fn pass_markers(&mut self) -> Result<()> {
        for (number, position) in self.inputs.positions()? {
            let is_waiting = |(_epoch, offsets): &(Epoch, Vec<(Partition, u64)>)| {
                offsets.iter().any(|(waiting, _offset)| *waiting == number)
            };
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            let is_read = partition.epoch_records == 0 && partition.backlog.is_empty();
            let is_out = is_read && !self.ended.iter().any(is_waiting);
            if is_out && position > partition.committed {
                self.out.insert(number, position);
                partition.committed = position;
            }
        }
        Ok(())
    }

    /// How long this part needs no turn if no record comes.
    pub(super) fn patience(&self) -> Duration {
        if self.letters_under_way > 0 { POLL_LETTERS } else { PARK_MAX }
    }

    /// Waits until dead letters and offsets are safe. The offsets are those of delivered epochs; of all epochs, if
    /// `is_out`.
    pub(super) fn finish(&mut self, is_out: bool, now: Instant) -> Result<()> {
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.finish(END_PATIENCE).context("dead letters are not delivered")?;
        }
        self.commit(if is_out { None } else { Some(0) }, now)?;
        if is_out {
            self.pass_markers()?;
        }
        let offsets: Vec<(Partition, u64)> = std::mem::take(&mut self.out).into_iter().collect();
        self.inputs.commit(&offsets)?;
        self.inputs.close(END_PATIENCE)?;
        self.tally.borrow_mut().add(Counter::Epochs, self.epochs);
        Ok(())
    }
}

/// Counts the records of one input if there are several inputs.
fn count_of_input(streams: &Streams, number: u8, stream: &Stream, records: u64, tally: &mut Tally) {
    if streams.count() > 1 {
        tally.add(Counter::RecordsOf(number, stream.name()), records);
    }
}
