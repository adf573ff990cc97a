//! A simulated input topic, as one worker reads it.

use super::kill_switch::KillSwitch;
use super::shop::Shop;
use super::sim_context::{Bug, Fault, SimContext};
use deltacart_dataflows::Partition;
use deltacart_inputs::{Fetched, RawRecord, Resume, Share, Source, SourceError};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A callback for every offset commit. The checks use it to see that commits are not ahead of the output.
pub(super) type Witness = Rc<dyn Fn(Partition, u64)>;

pub(super) struct Input {
    shop: Shop,
    topic: u8,
    sim: SimContext,
    kill_switch: KillSwitch,
    share: Share,
    until_end: bool,
    witness: Witness,
    partitions: BTreeMap<u32, Reading>,
    /// How many partitions the topic had when they were last listed.
    known: u32,
}

struct Reading {
    first: u64,
    next: u64,
    /// The end of the partition when the source was opened.
    end: u64,
}

impl Input {
    pub(super) fn new(
        (shop, topic): (&Shop, u8),
        sim: &SimContext,
        kill_switch: &KillSwitch,
        share: Share,
        until_end: bool,
        from: Option<&Resume>,
        witness: Witness,
    ) -> Input {
        let known = shop.partitions_of(topic);
        let ahead = u64::from(sim.has(Bug::OffsetsAhead));
        let partition = |number: u32| {
            let end = shop.end(Partition::new(topic, number).unwrap());
            let first =
                from.and_then(|from| from.offsets.get(&number)).map_or(0, |first| end.min(first + ahead));
            (number, Reading { first, next: first, end })
        };
        let partitions = (0..known).filter(|number| share.owns(*number)).map(partition).collect();
        let (shop, sim, kill_switch) = (shop.clone(), sim.clone(), kill_switch.clone());
        Input { shop, topic, sim, kill_switch, share, until_end, witness, partitions, known }
    }

    fn partition(&self, number: u32) -> Partition {
        Partition::new(self.topic, number).unwrap()
    }

    fn burn(&self) -> Result<(), SourceError> {
        self.kill_switch.burn().map_err(|cut| SourceError::Kafka { message: cut.to_string() })
    }
}

impl Source for Input {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        self.burn()?;
        let count = self.shop.partitions_of(self.topic);
        if !self.until_end && count > self.known && self.sim.one_in(5) {
            // A partition that appeared later had no records at the start.
            let appeared = (self.known..count).filter(|number| self.share.owns(*number));
            self.partitions.extend(appeared.map(|number| (number, Reading { first: 0, next: 0, end: 0 })));
            self.known = count;
        }
        Ok(self.partitions.keys().copied().collect())
    }

    fn fetch(
        &mut self,
        number: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        self.burn()?;
        if self.sim.strikes(Fault::ReadFailed) {
            self.kill_switch.excuse();
            return Err(SourceError::Kafka { message: "simulated: the input cannot be read".to_owned() });
        }
        let mut fetched = Fetched::default();
        let at = self.partition(number);
        let partition = self.partitions.get_mut(&number).unwrap();
        let end = if self.until_end { partition.end } else { self.shop.end(at) };
        let room = match self.sim.strikes(Fault::SlowPartition) {
            true => 0,
            false => (1 + self.sim.below(8)).min(records_max as u64),
        };
        for offset in partition.next..end.min(partition.next + room) {
            let value = self.shop.record(at, offset).unwrap();
            fetched.records += 1;
            fetched.bytes += value.len();
            partition.next = offset + 1;
            each(RawRecord {
                partition: number,
                offset,
                key: None,
                value: Some(&value),
                headers: &[],
                timestamp: None,
                truncated: false,
            });
        }
        fetched.at_end = partition.next >= end;
        fetched.ended = self.until_end && fetched.at_end;
        if fetched.records > 0 {
            let (worker, next) = (self.share.worker, partition.next);
            self.sim.note(format_args!(
                "{} worker {worker} reads {}.{number} to {next}",
                self.kill_switch.run(),
                self.topic
            ));
        }
        Ok(fetched)
    }

    fn first_offset(&self, number: u32) -> u64 {
        self.partitions.get(&number).map_or(0, |partition| partition.first)
    }

    fn may_grow(&self) -> bool {
        !self.until_end
    }

    fn has_caught_up(&self) -> bool {
        let has_all = |partition: &Reading| partition.next >= partition.end;
        self.sim.has(Bug::PublishDuringReplay) || self.partitions.values().all(has_all)
    }

    fn commit(&mut self, offsets: &[(u32, u64)]) -> Result<(), SourceError> {
        self.burn()?;
        for &(number, offset) in offsets {
            let (run, topic) = (self.kill_switch.run(), self.topic);
            self.sim.note(format_args!("{run} commits offset {topic}.{number}:{offset}"));
            (self.witness)(self.partition(number), offset);
        }
        Ok(())
    }
}
