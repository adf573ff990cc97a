//! The output as one worker writes it, a transaction an epoch, as `TransactionalSink` does; and as it is read back.

use super::broker::{Broker, Entry, Owner, home};
use super::fate::{Bug, Fate, Fault};
use super::fuse::Fuse;
use crate::output::{Records, Sent, Sink, SinkError, WORKER_SLOTS, Watch};
use deltacart_dataflows::Epoch;
use deltacart_inputs::{Fetched, RawRecord, Share, Source, SourceError};
use std::collections::BTreeMap;

/// What one transaction takes before it ends with the next whole list.
const RECORDS_MAX: usize = 5;

pub(super) struct Output {
    broker: Broker,
    fate: Fate,
    fuse: Fuse,
    owners: [Owner; WORKER_SLOTS],
    /// How many partitions the topic had.
    partitions: u32,
    /// Whose turn it is.
    turn: usize,
    state: State,
    sent: Sent,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    Open {
        records: usize,
        is_closing: bool,
    },
    /// The broker has been asked so often; the answer is on its way, or not.
    Committing {
        is_done: bool,
    },
}

impl Output {
    pub(super) fn new(broker: &Broker, fate: &Fate, fuse: &Fuse, slots: &[String; WORKER_SLOTS]) -> Output {
        let owners = slots.each_ref().map(|slot| broker.own(slot, fuse.life()));
        let (partitions, state, sent) = (broker.partitions(), State::Idle, Sent::default());
        let (broker, fate, fuse) = (broker.clone(), fate.clone(), fuse.clone());
        Output { broker, fate, fuse, owners, partitions, turn: 0, state, sent }
    }

    fn owner(&self) -> &Owner {
        &self.owners[self.turn]
    }

    /// What fails takes its transaction back, if it can.
    fn failed(&mut self, why: &str) -> SinkError {
        self.fuse.excuse();
        if !self.fuse.is_dead() && self.fate.one_in(2) {
            let _ = self.broker.end(self.owner(), false);
        }
        SinkError::Kafka { message: format!("simulated: {why}") }
    }

    fn fenced(&mut self) -> SinkError {
        self.fate.hit(Fault::Fenced);
        self.failed("somebody has taken over")
    }

    fn burn(&mut self) -> Result<(), SinkError> {
        self.fuse.burn().map_err(|cut| self.failed(&cut.to_string()))
    }

    /// Asks the broker to commit; what it answers is known later.
    fn commit(&mut self) -> Result<usize, SinkError> {
        if self.fate.strikes(Fault::CommitRetried) {
            return Ok(1);
        }
        if self.fate.strikes(Fault::CommitLost) {
            return Err(self.failed("no answer to a commit"));
        }
        self.broker.end(self.owner(), true).map_err(|_fenced| self.fenced())?;
        if self.fate.strikes(Fault::CommitUnanswered) {
            return Err(self.failed("no answer to a commit"));
        }
        self.state = State::Committing { is_done: true };
        Ok(1)
    }
}

impl Sink for Output {
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError> {
        self.burn()?;
        let (mut count, mut is_closing) = match self.state {
            State::Idle => (0, false),
            State::Open { records, is_closing } => (records, is_closing),
            State::Committing { .. } => return Ok(()),
        };
        let room = if self.fate.strikes(Fault::SinkFull) { self.fate.below(3) } else { 100 };
        for _ in 0..room {
            let Some(record) = records.front().filter(|_| !is_closing) else { break };
            let partition = record.partition.unwrap_or_else(|| home(record.key, self.partitions));
            let written = self.broker.write(self.owner(), partition, record.key, record.value);
            written.map_err(|_fenced| self.fenced())?;
            self.sent.records += 1;
            count += 1;
            is_closing = count >= RECORDS_MAX && record.is_last;
            records.pop();
        }
        if count > 0 {
            self.state = State::Open { records: count, is_closing };
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<usize, SinkError> {
        self.burn()?;
        match self.state {
            State::Idle => Ok(0),
            State::Open { records, is_closing } => {
                if self.fate.strikes(Fault::DeliveryFailed) {
                    return Err(self.failed("a record cannot be delivered"));
                }
                // Acknowledgements take their time.
                if is_closing && self.fate.one_in(2) {
                    self.state = State::Committing { is_done: false };
                    return Ok(1);
                }
                Ok(records)
            }
            State::Committing { is_done: false } => self.commit(),
            State::Committing { is_done: true } if self.fate.one_in(2) => Ok(1),
            State::Committing { is_done: true } => {
                self.turn = (self.turn + 1) % WORKER_SLOTS;
                self.state = State::Idle;
                Ok(0)
            }
        }
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        if let State::Open { is_closing, .. } = &mut self.state {
            *is_closing = true;
        }
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), SinkError> {
        self.burn()?;
        let confirmed = self.broker.write(self.owner(), 0, b"deltacart", None);
        let confirmed = confirmed.and_then(|()| self.broker.end(self.owner(), false));
        confirmed.map_err(|_fenced| self.fenced())
    }

    fn partition_of(&self, key: &[u8]) -> Option<u32> {
        (!self.fate.has(Bug::KeysLeftBehind)).then(|| home(key, self.partitions))
    }

    fn sent(&self) -> Sent {
        self.sent
    }
}

/// Whoever sees sooner or later that the topic has grown.
pub(super) struct Growth {
    broker: Broker,
    fate: Fate,
    fuse: Fuse,
    partitions: u32,
}

impl Growth {
    /// Of a topic that had so many partitions when the job began.
    pub(super) fn new(broker: &Broker, fate: &Fate, fuse: &Fuse, partitions: u32) -> Growth {
        Growth { broker: broker.clone(), fate: fate.clone(), fuse: fuse.clone(), partitions }
    }
}

impl Watch for Growth {
    fn check(&mut self) -> Result<(), SinkError> {
        if self.broker.partitions() == self.partitions || !self.fate.one_in(5) {
            return Ok(());
        }
        self.fuse.excuse();
        Err(SinkError::Kafka { message: "simulated: the output has grown".to_owned() })
    }
}

/// What consumers hold, as it was when this was made.
pub(super) struct Held {
    fate: Fate,
    fuse: Fuse,
    partitions: BTreeMap<u32, (usize, Vec<Entry>)>,
}

impl Held {
    pub(super) fn new(broker: &Broker, fate: &Fate, fuse: &Fuse, share: Share) -> Held {
        let partitions = (0..broker.partitions()).filter(|partition| share.owns(*partition));
        let partitions = partitions.map(|partition| (partition, (0, broker.committed(partition)))).collect();
        Held { fate: fate.clone(), fuse: fuse.clone(), partitions }
    }
}

impl Source for Held {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        Ok(self.partitions.keys().copied().collect())
    }

    fn fetch(
        &mut self,
        number: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        self.fuse.burn().map_err(|cut| SourceError::Kafka { message: cut.to_string() })?;
        let (next, entries) = self.partitions.get_mut(&number).unwrap();
        let mut fetched = Fetched::default();
        for _ in 0..self.fate.below(20).min(records_max as u64) {
            let Some(Entry { key, value, .. }) = entries.get(*next) else { break };
            let value = value.clone().map(|value| match self.fate.has(Bug::EpochsStartOver) {
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

/// A value as if it had been told in the first epoch.
fn without_epoch(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(value.to_vec()).unwrap();
    let (before, after) = text.split_once("\"epoch\":").unwrap();
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}\"epoch\":0{rest}").into_bytes()
}
