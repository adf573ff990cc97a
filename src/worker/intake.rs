//! What one worker reads: records of its partitions, decoded, counted, and accounted for when their epoch is out.

use crate::dead_letter::{DeadLetters, Labels};
use crate::job::{Destination, Input, Job, Shared};
use crate::metrics::{Probe, Turn};
use crate::summary::{Counter, Tally};
use anyhow::{Context, Result};
use deltacart_dataflows::{Epoch, Event};
use deltacart_inputs::file::{FileParams, FileSource};
use deltacart_inputs::kafka::{KafkaParams, KafkaSource};
use deltacart_inputs::{Decoded, Decoder, RawRecord, Share, Source};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A worker's partitions and what has been read of them.
pub(super) struct Intake<'a> {
    job: &'a Job,
    source: Box<dyn Source>,
    decoder: Box<dyn Decoder>,
    dead_letters: Option<DeadLetters>,
    tally: Rc<RefCell<Tally>>,
    partitions: BTreeMap<u32, Partition>,
    epoch_events: usize,
    epoch_bytes: usize,
    epochs: u64,
    /// Offsets that belong to epochs that have ended, oldest first, until they are out.
    ended: VecDeque<(Epoch, Vec<(u32, u64)>)>,
    /// Offsets that belong to epochs that are out, and are not committed.
    out: BTreeMap<u32, u64>,
    committed_at: Instant,
    /// Dead letters that had not arrived when they were asked for last.
    letters_under_way: usize,
    /// Whether the source was asked for records once.
    has_looked: bool,
    events: Vec<Event>,
}

#[derive(Default)]
struct Partition {
    /// The offset after the last record read.
    next_offset: u64,
    /// Records read in this epoch.
    epoch_records: u64,
    ended: bool,
    /// Everything had been read that was there at some moment.
    reached_end: bool,
}

/// Offsets are committed this often: for those who watch the lag, not for the job.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Dead letters that arrive wake nobody, so they are asked for this often while some are under way.
const POLL_LETTERS: Duration = Duration::from_millis(5);

/// Signals to stop, errors of clients, new partitions and offsets to commit wake nobody either, and are looked for this
/// often. An idle job does nothing else.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How long an orderly end waits for dead letters and commits to be safe.
const END_PATIENCE: Duration = Duration::from_secs(30);

impl<'a> Intake<'a> {
    pub(super) fn new(
        job: &'a Job,
        share: Share,
        shared: &Shared,
        tally: Rc<RefCell<Tally>>,
    ) -> Result<Self> {
        let record_bytes_max = job.decode.limits.record_bytes_max;
        let kafka = || job.kafka.as_ref().context("a topic needs brokers: add -b/--brokers");
        let source: Box<dyn Source> = match &job.input {
            Input::Files(paths) => {
                let progress = shared.progress.clone();
                let framing = job.decode.framing();
                Box::new(FileSource::new(paths, FileParams { framing, record_bytes_max, share, progress })?)
            }
            Input::Topic { name, from, until_end, metadata_refresh } => {
                let (topic, from, until_end) = (name.clone(), *from, *until_end);
                let metadata_refresh = *metadata_refresh;
                let params =
                    KafkaParams { topic, from, until_end, record_bytes_max, metadata_refresh, share };
                Box::new(KafkaSource::new(kafka()?, params)?)
            }
        };
        let dead_letters = match &job.dead_letters {
            None => None,
            Some(Destination::File(_)) => shared.dead_letters.clone().map(DeadLetters::to_file),
            Some(Destination::Topic(name)) => {
                let class = format!("deltacart.format.{}", job.decode.format.name());
                let labels = Labels { connector: "deltacart".to_owned(), task: share.worker, class };
                Some(DeadLetters::to_topic(kafka()?, name, labels)?)
            }
        };
        Ok(Intake {
            job,
            source,
            decoder: job.decode.decoder()?,
            dead_letters,
            tally,
            partitions: BTreeMap::new(),
            epoch_events: 0,
            epoch_bytes: 0,
            epochs: 0,
            ended: VecDeque::new(),
            out: BTreeMap::new(),
            committed_at: Instant::now(),
            letters_under_way: 0,
            has_looked: false,
            events: Vec::new(),
        })
    }

    /// Reads at most `batch` records of each partition, and of each no more in this epoch than `records_max`; hands
    /// their events to `send`. True if there was a record.
    pub(super) fn fetch(
        &mut self,
        batch: usize,
        records_max: u64,
        send: &mut dyn FnMut(&mut Vec<Event>),
    ) -> Result<bool> {
        let mut found = false;
        self.has_looked = true;
        for number in self.source.partitions()? {
            let partition = self.partitions.entry(number).or_default();
            let room = records_max.saturating_sub(partition.epoch_records);
            let room = batch.min(usize::try_from(room).unwrap_or(usize::MAX));
            if partition.ended || room == 0 || self.dead_letters.as_ref().is_some_and(DeadLetters::is_full) {
                continue;
            }
            let mut reader = Reader {
                input: &self.job.input,
                decoder: &mut *self.decoder,
                dead_letters: self.dead_letters.as_mut(),
                tally: &mut self.tally.borrow_mut(),
                events: &mut self.events,
                send,
                counts: Counts::default(),
                next_offset: partition.next_offset,
                failed: Ok(()),
            };
            let fetched = self.source.fetch(number, room, &mut |record| reader.take(&record))?;
            let Reader { next_offset, failed, counts, tally, .. } = reader;
            failed?;
            counts.add_to(tally);
            partition.next_offset = next_offset;
            partition.epoch_records += fetched.records as u64;
            partition.ended = fetched.ended;
            partition.reached_end |= fetched.ended || fetched.at_end;
            self.epoch_events += counts.events as usize;
            self.epoch_bytes += fetched.bytes;
            found |= fetched.records > 0;
            send(&mut self.events);
            self.events.clear();
        }
        Ok(found)
    }

    /// Events read in this epoch.
    pub(super) fn epoch_events(&self) -> usize {
        self.epoch_events
    }

    /// Bytes of the records read in this epoch.
    pub(super) fn epoch_bytes(&self) -> usize {
        self.epoch_bytes
    }

    /// How far reading has come, for those who watch.
    pub(super) fn turn(&self, epoch: Epoch, oldest: Option<Epoch>) -> Turn {
        Turn {
            epoch,
            oldest,
            has_read: self.partitions.values().any(|partition| partition.epoch_records > 0),
            reached_end: self.has_looked && self.partitions.values().all(|partition| partition.reached_end),
        }
    }

    /// What takes more than a look, for those who watch.
    pub(super) fn probe(&self) -> Probe {
        Probe { lags: self.source.lags(), ids_remembered: self.decoder.ids_remembered() }
    }

    /// Whether nothing will ever come any more.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        let partitions = self.source.partitions()?;
        let ended = |partition: &u32| self.partitions.get(partition).is_some_and(|partition| partition.ended);
        Ok(partitions.iter().all(ended) && !self.source.may_grow())
    }

    /// Whether every partition gave so many records in this epoch, or has ended.
    pub(super) fn all_gave(&self, records: u64) -> bool {
        self.partitions.values().all(|partition| partition.ended || partition.epoch_records >= records)
    }

    /// The epoch is over: what comes now belongs to another.
    pub(super) fn end_epoch(&mut self, epoch: Epoch) {
        let read = self.partitions.iter_mut().filter(|(_number, partition)| partition.epoch_records > 0);
        let offsets: Vec<(u32, u64)> = read
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

    /// Commits the offsets of epochs before `oldest`, the oldest that is not out; of all, without one.
    pub(super) fn commit(&mut self, oldest: Option<Epoch>) -> Result<()> {
        while let Some((epoch, offsets)) = self.ended.front() {
            if oldest.is_some_and(|oldest| *epoch >= oldest) {
                break;
            }
            self.out.extend(offsets.iter().copied());
            self.ended.pop_front();
        }
        if let Some(dead_letters) = &mut self.dead_letters {
            self.letters_under_way = dead_letters.poll()?;
        }
        if self.letters_under_way == 0 && !self.out.is_empty() && self.committed_at.elapsed() >= COMMIT_EVERY
        {
            let offsets: Vec<(u32, u64)> = std::mem::take(&mut self.out).into_iter().collect();
            self.source.commit(&offsets)?;
            self.committed_at = Instant::now();
        }
        Ok(())
    }

    /// How long this may be left alone when no record comes.
    pub(super) fn patience(&self) -> Duration {
        if self.letters_under_way > 0 { POLL_LETTERS } else { PARK_MAX }
    }

    /// Waits until dead letters and the last offsets are safe. Everything is out.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.finish(END_PATIENCE).context("dead letters are not delivered")?;
        }
        self.commit(None)?;
        let offsets: Vec<(u32, u64)> = std::mem::take(&mut self.out).into_iter().collect();
        self.source.commit(&offsets)?;
        self.source.close(END_PATIENCE)?;
        self.tally.borrow_mut().add(Counter::Epochs, self.epochs);
        Ok(())
    }
}

/// Events go on when so many are together: few enough to stay in the cache until they are dealt with.
const CHUNK_EVENTS: usize = 1024;

/// What a batch was made of, counted apart: a tally is looked up for each count.
#[derive(Clone, Copy, Default)]
struct Counts {
    records: u64,
    events: u64,
    views: u64,
    others: u64,
    duplicates: u64,
    headers: u64,
}

impl Counts {
    fn add(&mut self, decoded: Decoded) {
        let Decoded { events, views, others, duplicate, header } = decoded;
        self.events += u64::from(events);
        self.views += u64::from(views);
        self.others += u64::from(others);
        self.duplicates += u64::from(duplicate);
        self.headers += u64::from(header);
    }

    fn add_to(self, tally: &mut Tally) {
        let Counts { records, events, views, others, duplicates, headers } = self;
        tally.add(Counter::Records, records);
        tally.add(Counter::Events, events);
        tally.add(Counter::Views, views);
        tally.add(Counter::Others, others);
        tally.add(Counter::Duplicates, duplicates);
        tally.add(Counter::Headers, headers);
    }
}

/// Takes the records of one batch.
struct Reader<'a> {
    input: &'a Input,
    decoder: &'a mut dyn Decoder,
    dead_letters: Option<&'a mut DeadLetters>,
    tally: &'a mut Tally,
    events: &'a mut Vec<Event>,
    send: &'a mut dyn FnMut(&mut Vec<Event>),
    counts: Counts,
    next_offset: u64,
    failed: Result<()>,
}

impl Reader<'_> {
    fn take(&mut self, record: &RawRecord<'_>) {
        self.next_offset = record.offset + 1;
        self.counts.records += 1;
        match self.decoder.decode(record, self.events) {
            Ok(decoded) => {
                self.counts.add(decoded);
                if self.events.len() >= CHUNK_EVENTS {
                    (self.send)(self.events);
                    self.events.clear();
                    self.events.reserve(CHUNK_EVENTS);
                }
            }
            Err(reject) => {
                self.tally.add(Counter::Rejects(reject.reason.name().to_owned()), 1);
                if let Some(dead_letters) = &mut self.dead_letters {
                    let origin = self.input.origin(record.partition);
                    if let Err(error) = dead_letters.write(origin, record, &reject) {
                        self.failed = Err(error.into());
                    }
                }
            }
        }
    }
}
