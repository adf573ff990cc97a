//! What one worker reads: records of its partitions, decoded, counted, and accounted for when their epoch is out.

mod batch;

use crate::dead_letter::{DeadLetters, Found};
use crate::job::{Job, Shared, Stream, Streams};
use crate::metrics::{PartitionLabel, Probe, Step, Turn};
use crate::state::manifest::PartitionOffset;
use crate::state::open;
use crate::summary::{Counter, Tally};
use crate::unusable::{Complaints, Uses};
use crate::worker::backlog::Backlog;
use crate::worker::counts::Counts;
use crate::worker::environment::Environment;
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

/// A worker's partitions and what has been read of them.
pub(super) struct Ingest<'a> {
    streams: &'a Streams,
    inputs: Inputs<'a>,
    dead_letters: Option<DeadLetters>,
    tally: Rc<RefCell<Tally>>,
    complaints: Complaints,
    /// Whether the times of events decide what is held.
    times_matter: bool,
    partitions: BTreeMap<Partition, Progress>,
    /// The partition that is read first: the one for which there was no room.
    first: Partition,
    /// The clocks of partitions as an earlier run left them.
    clocks: BTreeMap<Partition, Millis>,
    epoch_events: usize,
    epoch_bytes: usize,
    epochs: u64,
    /// Offsets that belong to epochs that have ended, oldest first, until they are out.
    ended: VecDeque<(Epoch, Vec<(Partition, u64)>)>,
    /// Offsets that belong to epochs that are out, and are not committed.
    out: BTreeMap<Partition, u64>,
    committed_at: Instant,
    /// When it was looked at last what has no records and is to be committed all the same.
    passed_at: Instant,
    /// Dead letters that had not arrived when they were asked for last.
    letters_under_way: usize,
    /// The last fetch passed records over that an earlier run had read.
    is_skipping: bool,
    /// Whether the source was asked for records once.
    has_looked: bool,
    events: Vec<Event>,
}

/// What of the intake belongs to a snapshot.
pub(super) struct InputState {
    /// How far every partition has been read.
    pub(super) offsets: Vec<PartitionOffset>,
    /// The event ids that are remembered, by partition.
    pub(super) ids: Vec<(Partition, EventIds)>,
}

/// How far a partition has been read.
#[derive(Default)]
struct Progress {
    /// The offset after the last record read.
    next_offset: u64,
    /// The offset before which everything is out, as far as it was committed, or is about to be.
    committed: u64,
    /// The largest time of an event: those that come later and say less happened now, as far as anything depends on it.
    clock: Millis,
    /// Records read in this epoch.
    epoch_records: u64,
    /// Records that wait for their schema; nothing is read behind them.
    backlog: Backlog,
    uses: Uses,
    /// That its clock is ahead has been told.
    has_leapt: bool,
    ended: bool,
    /// Everything had been read that was there at some moment.
    reached_end: bool,
}

impl Progress {
    /// A batch of it has been read.
    fn take(&mut self, counts: Counts, next_offset: u64, clock: Millis, fetched: &Fetched) {
        (self.next_offset, self.clock) = (next_offset, clock);
        self.epoch_records += counts.records;
        self.ended = fetched.ended;
        self.reached_end |= fetched.ended || fetched.at_end;
        self.uses.add(counts.uses());
    }

    /// Says once that its clock is ahead of the machine's: what is older than `--basket-idle` by it is forgotten.
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

/// How far ahead of the machine's clock the time of an event may be, in milliseconds, before that is told: a day, for
/// times written without their zone.
const LEAP_MAX: i64 = 86_400_000;

/// How much may be read into an epoch.
#[derive(Clone, Copy)]
pub(super) struct EpochBudget {
    /// Records of each partition.
    pub(super) partition_records: u64,
    /// Events of all. A record may have several: those of the last one may be over.
    pub(super) events: usize,
    /// Bytes of records of all, but for the last batch.
    pub(super) bytes: usize,
}

/// Records of one partition that are read at a time.
const BATCH_RECORDS: usize = 4096;

/// Offsets are committed this often: for those who watch the lag, not for the job.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Dead letters that arrive wake nobody, so they are asked for this often while some are under way.
const POLL_LETTERS: Duration = Duration::from_millis(5);

/// Signals to stop, errors of clients, new partitions and offsets to commit wake nobody either, and are looked for this
/// often. An idle job does nothing else.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How long an orderly end waits for dead letters and commits to be safe.
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
            complaints: shared.complaints.clone(),
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

    /// Reads some records of each partition, as far as there is room for them; hands their events to `send`. True if
    /// there was a record.
    pub(super) fn fetch(
        &mut self,
        budget: EpochBudget,
        send: &mut dyn FnMut(&mut Vec<Event>),
    ) -> Result<bool> {
        let mut found = false;
        self.is_skipping = false;
        self.has_looked = true;
        let mut partitions = self.inputs.partitions()?;
        let first = partitions.partition_point(|&partition| partition < self.first);
        partitions.rotate_left(first);
        let mut missed = None;
        for number in partitions {
            let first = || Progress {
                next_offset: self.inputs.first_offset(number),
                clock: self.clocks.get(&number).copied().unwrap_or_default(),
                ..Progress::default()
            };
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
                complaints: &self.complaints,
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
            let origin = stream.origin(number.number());
            if counts.records > 0 || fetched.ended {
                let is_whole = fetched.ended && source.first_offset(number.number()) == 0;
                let is_last = is_whole && matches!(origin.found, Found::File(_));
                self.complaints.judge(origin, partition.uses, is_last);
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
        // It begins when there is room again, so that none waits for ever.
        self.first = missed.unwrap_or_default();
        Ok(found)
    }

    /// How far every partition has been read, and the event ids that are remembered: what belongs to a snapshot at the
    /// end of the epoch that has just ended.
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

    /// Which topics the streams are, by their ids, of those that have one.
    pub(super) fn topic_ids(&self) -> Vec<Option<String>> {
        self.inputs.topic_ids()
    }

    /// Whether it is on its way to where it goes on: there is more to do, although nothing was read.
    pub(super) fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// Whether all dead letters have arrived, as far as is known.
    pub(super) fn letters_are_out(&self) -> bool {
        self.letters_under_way == 0
    }

    /// How far reading has come, for those who watch.
    pub(super) fn turn(&self, epoch: Epoch, oldest: Option<Epoch>, oldest_ahead: Option<Epoch>) -> Turn {
        Turn {
            epoch,
            oldest,
            oldest_ahead,
            step: Step::Reading,
            has_read: self.partitions.values().any(|partition| partition.epoch_records > 0),
            reached_end: self.has_looked && self.partitions.values().all(|partition| partition.reached_end),
        }
    }

    /// What takes more than a look, for those who watch.
    pub(super) fn probe(&self) -> Probe {
        let waiting =
            |number: Partition| self.partitions.get(&number).map_or(0, |read| read.backlog.len() as u64);
        // The sources have handed over what waits.
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

    /// Whether nothing will ever come any more.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        let partitions = self.inputs.partitions()?;
        let ended =
            |partition: &Partition| self.partitions.get(partition).is_some_and(|partition| partition.ended);
        Ok(partitions.iter().all(ended) && !self.inputs.may_grow())
    }

    /// Whether every partition gave so many records in this epoch, or has ended.
    pub(super) fn all_gave(&self, records: u64) -> bool {
        self.partitions.values().all(|partition| partition.ended || partition.epoch_records >= records)
    }

    /// The epoch is over: what comes now belongs to another.
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

    /// Whether everything has been read that was there when the job began.
    pub(super) fn has_caught_up(&self) -> bool {
        self.inputs.has_caught_up() && self.partitions.values().all(|partition| partition.backlog.is_empty())
    }

    /// Commits the offsets of epochs before `oldest`, the oldest that is not out; of all, without one.
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

    /// Where all records of a partition are out, the offsets behind them that hold none are, too: a transaction ends
    /// in a marker, and a group that stopped before it would lag by one for ever.
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

    /// How long this may be left alone when no record comes.
    pub(super) fn patience(&self) -> Duration {
        if self.letters_under_way > 0 { POLL_LETTERS } else { PARK_MAX }
    }

    /// Waits until dead letters and the offsets of what is out are safe: all there are, if `is_out`.
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

/// Counts records of an input, where there are several.
fn count_of_input(streams: &Streams, number: u8, stream: &Stream, records: u64, tally: &mut Tally) {
    if streams.count() > 1 {
        tally.add(Counter::RecordsOf(number, stream.name()), records);
    }
}
