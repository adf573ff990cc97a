//! The simulated output of one worker: a sink with transactions, and a source that reads it back.
//!
//! As in `TransactionalSink`, a transaction has whole epochs, unless an epoch is large: then a transaction ends with
//! a list. One is filled while the one before is committed.

use super::broker::{Broker, Entry, LISTS, NOTES, Owner, home};
use super::kill_switch::KillSwitch;
use super::sim_context::{Bug, Fault, SimContext};
use crate::output::{Delivery, Records, Sent, Sink, SinkError, StreamNumber, WORKER_SLOTS, Watch};
use deltacart_dataflows::Epoch;
use deltacart_inputs::{Fetched, RawRecord, Share, Source, SourceError};
use std::collections::BTreeMap;

/// The records after which a transaction ends with the next complete list.
const RECORDS_MAX: usize = 5;

pub(super) struct Output {
    broker: Broker,
    sim: SimContext,
    kill_switch: KillSwitch,
    owners: [Owner; WORKER_SLOTS],
    /// How many partitions each topic had when the sink was opened.
    partitions: Vec<u32>,
    /// The slot of the open transaction, or of the next one.
    turn: usize,
    open: Open,
    committing: Option<Committing>,
    /// How many epochs are closed.
    closed: usize,
    sent: Sent,
}

/// The transaction that is being filled. It has begun once it has records.
#[derive(Default)]
struct Open {
    records: usize,
    epochs: usize,
    is_whole: bool,
    is_closing: bool,
}

/// The transaction that is being committed.
struct Committing {
    slot: usize,
    records: usize,
    epochs: usize,
    /// The broker has committed it. The answer may not have arrived.
    is_done: bool,
}

impl Output {
    pub(super) fn new(
        broker: &Broker,
        sim: &SimContext,
        kill_switch: &KillSwitch,
        slots: &[String; WORKER_SLOTS],
        streams: usize,
    ) -> Output {
        let owners = slots.each_ref().map(|slot| broker.own(slot, kill_switch.run()));
        let partitions = (0..streams).map(|stream| broker.partitions(stream)).collect();
        let sent = Sent::default();
        let (broker, sim, kill_switch) = (broker.clone(), sim.clone(), kill_switch.clone());
        let (open, committing) = (Open::default(), None);
        Output { broker, sim, kill_switch, owners, partitions, turn: 0, open, committing, closed: 0, sent }
    }

    fn owner(&self) -> &Owner {
        &self.owners[self.turn]
    }

    /// Makes a sink error and allows the job to fail. Each open transaction is randomly aborted or left open.
    fn failed(&mut self, why: &str) -> SinkError {
        self.kill_switch.excuse();
        if !self.kill_switch.is_dead() && self.sim.one_in(2) {
            let _ = self.broker.end(self.owner(), false);
        }
        if let Some(Committing { slot, .. }) = self.committing.take()
            && !self.kill_switch.is_dead()
            && self.sim.one_in(2)
        {
            let _ = self.broker.end(&self.owners[slot], false);
        }
        SinkError::Kafka { message: format!("simulated: {why}") }
    }

    fn fenced(&mut self) -> SinkError {
        self.sim.hit(Fault::Fenced);
        self.failed("somebody has taken over")
    }

    fn burn(&mut self) -> Result<(), SinkError> {
        self.kill_switch.burn().map_err(|cut| self.failed(&cut.to_string()))
    }

    /// Continues the commit. The broker's answer arrives at a later call.
    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(Committing { slot, is_done, .. }) = &mut self.committing else { return Ok(()) };
        if *is_done {
            if self.sim.one_in(2) {
                self.committing = None;
            }
            return Ok(());
        }
        if self.sim.strikes(Fault::CommitRetried) {
            return Ok(());
        }
        if self.sim.strikes(Fault::CommitLost) {
            return Err(self.failed("no answer to a commit"));
        }
        *is_done = true;
        self.broker.end(&self.owners[*slot], true).map_err(|_fenced| self.fenced())?;
        if self.sim.strikes(Fault::CommitUnanswered) {
            return Err(self.failed("no answer to a commit"));
        }
        Ok(())
    }
}

impl Sink for Output {
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        self.burn()?;
        let room = if self.sim.strikes(Fault::SinkFull) { self.sim.below(3) } else { 100 };
        for _ in 0..room {
            let Some(record) = records.front().filter(|_| !self.open.is_closing) else { break };
            let partition = record.partition.unwrap_or_else(|| home(record.key, self.partitions[stream]));
            let place = (stream, partition, self.closed);
            let written = self.broker.write(self.owner(), place, record.key, record.value);
            written.map_err(|_fenced| self.fenced())?;
            self.sent.records += 1;
            self.open.records += 1;
            self.open.is_whole = false;
            self.open.is_closing = self.open.records >= RECORDS_MAX && record.is_last;
            records.pop();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Delivery, SinkError> {
        self.burn()?;
        if self.open.records > 0 && self.sim.strikes(Fault::DeliveryFailed) {
            return Err(self.failed("a record cannot be delivered"));
        }
        self.commit()?;
        if self.committing.is_none() {
            self.open.is_closing |= self.open.is_whole;
            // Acknowledgements take some time.
            if self.open.is_closing && self.sim.one_in(2) {
                let Open { records, epochs, .. } = std::mem::take(&mut self.open);
                self.committing = Some(Committing { slot: self.turn, records, epochs, is_done: false });
                self.turn = (self.turn + 1) % WORKER_SLOTS;
            }
        }
        let (records, epochs) = self.committing.as_ref().map_or((0, 0), |it| (it.records, it.epochs));
        Ok(Delivery { records: self.open.records + records, epochs: self.open.epochs + epochs })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        self.closed += 1;
        match &mut self.committing {
            _ if self.open.records > 0 => {
                self.open.epochs += 1;
                self.open.is_whole = true;
            }
            Some(committing) => committing.epochs += 1,
            None => {}
        }
        Ok(())
    }

    fn check_not_fenced(&mut self) -> Result<(), SinkError> {
        self.burn()?;
        let confirmed = self.broker.write(self.owner(), (LISTS, 0, 0), b"deltacart", None);
        let confirmed = confirmed.and_then(|()| self.broker.end(self.owner(), false));
        confirmed.map_err(|_fenced| self.fenced())
    }

    fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        (!self.sim.has(Bug::KeysLeftBehind)).then(|| home(key, self.partitions[stream]))
    }

    fn sent(&self) -> Sent {
        self.sent
    }
}

/// A watch that notices, after some time, that the topic of lists has grown.
pub(super) struct Growth {
    broker: Broker,
    sim: SimContext,
    kill_switch: KillSwitch,
    partitions: u32,
}

impl Growth {
    /// Watches a topic that had this many partitions when the job began.
    pub(super) fn new(
        broker: &Broker,
        sim: &SimContext,
        kill_switch: &KillSwitch,
        partitions: u32,
    ) -> Growth {
        Growth { broker: broker.clone(), sim: sim.clone(), kill_switch: kill_switch.clone(), partitions }
    }
}

impl Watch for Growth {
    fn check(&mut self) -> Result<(), SinkError> {
        if self.broker.partitions(LISTS) == self.partitions || !self.sim.one_in(5) {
            return Ok(());
        }
        self.kill_switch.excuse();
        Err(SinkError::Kafka { message: "simulated: the output has grown".to_owned() })
    }
}

/// A source with the consumer state at the time when it was opened.
pub(super) struct ReadBack {
    sim: SimContext,
    kill_switch: KillSwitch,
    partitions: BTreeMap<u32, (usize, Vec<Entry>)>,
}

impl ReadBack {
    pub(super) fn new(
        (broker, stream): (&Broker, StreamNumber),
        sim: &SimContext,
        kill_switch: &KillSwitch,
        share: Share,
    ) -> ReadBack {
        let partitions = (0..broker.partitions(stream)).filter(|partition| share.owns(*partition));
        let is_forgotten = stream == NOTES && sim.has(Bug::NotesForgotten);
        let records = |partition| match is_forgotten {
            true => (partition, (0, Vec::new())),
            false => (partition, (0, broker.committed(stream, partition))),
        };
        let partitions = partitions.map(records).collect();
        ReadBack { sim: sim.clone(), kill_switch: kill_switch.clone(), partitions }
    }
}

impl Source for ReadBack {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        Ok(self.partitions.keys().copied().collect())
    }

    fn fetch(
        &mut self,
        number: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        self.kill_switch.burn().map_err(|cut| SourceError::Kafka { message: cut.to_string() })?;
        let (next, entries) = self.partitions.get_mut(&number).unwrap();
        let mut fetched = Fetched::default();
        for _ in 0..self.sim.below(20).min(records_max as u64) {
            let Some(Entry { key, value, .. }) = entries.get(*next) else { break };
            let value = value.clone().map(|value| match self.sim.has(Bug::EpochsStartOver) {
                true => without_epoch(&value),
                false => value,
            });
            each(RawRecord {
                partition: number,
                offset: *next as u64,
                key: Some(key),
                value: value.as_deref(),
                headers: &[],
                timestamp: None,
                truncated: false,
            });
            *next += 1;
            fetched.records += 1;
        }
        (fetched.at_end, fetched.ended) = (*next == entries.len(), *next == entries.len());
        Ok(fetched)
    }
}

/// A value as if it had been published in epoch 0.
fn without_epoch(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(value.to_vec()).unwrap();
    let (before, after) = text.split_once("\"epoch\":").unwrap();
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}\"epoch\":0{rest}").into_bytes()
}
