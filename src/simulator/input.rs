//! A simulated input topic, as one worker reads it.

use super::job_run::World;
use super::kill_switch::KillSwitch;
use super::retention::Retention;
use super::shop::Shop;
use super::sim_context::{Bug, Fault, SimContext};
use deltacart_dataflows::Partition;
use deltacart_inputs::{Fetched, OnExpired, RawRecord, Resume, Share, Source, SourceError};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A callback for every offset commit of a run. The checks use it to see that commits are not ahead of the output.
pub(super) type Witness = Rc<dyn Fn(usize, Partition, u64)>;

pub(super) struct Input {
    shop: Shop,
    topic: u8,
    sim: SimContext,
    kill_switch: KillSwitch,
    share: Share,
    until_end: bool,
    witness: Witness,
    retention: Retention,
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
    /// Opens a topic, at `from` if the job resumes.
    ///
    /// # Errors
    /// When records that the job has not read are deleted, and it does not want to continue without them.
    pub(super) fn open(
        World { sim, shop, witness, retention, .. }: &World,
        topic: u8,
        kill_switch: &KillSwitch,
        share: Share,
        until_end: bool,
        from: Option<&Resume>,
    ) -> Result<Input, SourceError> {
        let known = shop.partitions_of(topic);
        let (shop, sim, kill_switch) = (shop.clone(), sim.clone(), kill_switch.clone());
        let (witness, retention, partitions) = (Rc::clone(witness), retention.clone(), BTreeMap::new());
        let mut input =
            Input { shop, topic, sim, kill_switch, share, until_end, witness, retention, partitions, known };
        for number in (0..known).filter(|number| share.owns(*number)) {
            let reading = input.begin(number, from)?;
            input.partitions.insert(number, reading);
        }
        Ok(input)
    }

    fn begin(&self, number: u32, from: Option<&Resume>) -> Result<Reading, SourceError> {
        let at = self.partition(number);
        let (oldest, end) = (self.shop.first(at), self.shop.end(at));
        let ahead = u64::from(self.sim.has(Bug::OffsetsAhead));
        let resumed =
            from.and_then(|from| Some((end.min(from.offsets.get(&number)? + ahead), from.on_expired)));
        if let Some((first, OnExpired::Fail)) = resumed.filter(|(first, _on_expired)| *first < oldest) {
            self.kill_switch.excuse();
            self.retention.refuse(self.kill_switch.run());
            self.sim.hit(Fault::InputExpired);
            let message = format!("simulated: {at:?} begins at {oldest}, and is to go on at {first}");
            return Err(SourceError::Kafka { message });
        }
        let first = resumed.map_or(0, |(first, _on_expired)| first);
        if first < oldest {
            self.sim.hit(Fault::InputExpired);
            self.retention.skip(self.kill_switch.run(), at, first..oldest);
        }
        let first = first.max(oldest);
        Ok(Reading { first, next: first, end })
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
            for number in (self.known..count).filter(|number| self.share.owns(*number)) {
                let reading = Reading { end: 0, ..self.begin(number, None)? };
                self.partitions.insert(number, reading);
            }
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
        let oldest = self.shop.first(at);
        let partition = self.partitions.get_mut(&number).unwrap();
        if partition.next < oldest {
            self.sim.hit(Fault::InputOvertaken);
            self.kill_switch.excuse();
            return Err(SourceError::Kafka { message: format!("simulated: {at:?} begins at {oldest} now") });
        }
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
            (self.witness)(run, self.partition(number), offset);
        }
        Ok(())
    }
}
