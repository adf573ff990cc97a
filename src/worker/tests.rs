//! How much a worker reads into an epoch, from a source that has more than fits.

use super::environment::Environment;
use super::epoch_scheduler::EpochBudget;
use super::ingest::Ingest;
use crate::cli::{Cli, Command};
use crate::config;
use crate::dead_letter::DeadLetters;
use crate::job::{Job, OutputStream, Stream};
use crate::output::{Sink, Watch};
use crate::process::Shared;
use crate::state::snapshot_writer::SnapshotWriter;
use crate::state::store::Store;
use anyhow::Result;
use clap::Parser;
use deltacart_inputs::{Fetched, RawRecord, Resume, Share, Source, SourceError};
use std::sync::Arc;
use std::time::Instant;

/// A source with this many records in each of three partitions.
struct Plenty([u64; 3]);

impl Source for Plenty {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        Ok(vec![0, 1, 2])
    }

    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        let left = &mut self.0[partition as usize];
        let records = (*left).min(records_max as u64);
        let value = br#"{"event":"add","basket":"b","item":"i"}"#;
        for _ in 0..records {
            let offset = *left;
            *left -= 1;
            each(RawRecord {
                partition,
                offset,
                key: None,
                value: Some(value),
                headers: &[],
                timestamp: None,
                truncated: false,
            });
        }
        Ok(Fetched { records: records as usize, bytes: value.len() * records as usize, ..Fetched::default() })
    }
}

/// An environment with an input only.
struct Inside;

impl Environment for Inside {
    fn source(&self, _: &Stream, _: Share, _: Option<&Resume>, _: bool) -> Result<Box<dyn Source>> {
        Ok(Box::new(Plenty([10_000; 3])))
    }

    fn sink(&self, _: Share) -> Result<Option<Box<dyn Sink>>> {
        Ok(None)
    }

    fn fence(&self, _: Share) -> Result<()> {
        Ok(())
    }

    fn watches(&self, _: Share) -> Result<Vec<Box<dyn Watch>>> {
        Ok(Vec::new())
    }

    fn consumer_state(&self, _: &OutputStream, _: Share) -> Result<Option<Box<dyn Source>>> {
        Ok(None)
    }

    fn dead_letters(&self, _: Share) -> Result<Option<DeadLetters>> {
        Ok(None)
    }

    fn snapshot_writer(&self, store: Arc<dyn Store>) -> Result<SnapshotWriter> {
        Ok(SnapshotWriter::inline(store))
    }

    fn run_in_background(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        work();
        Ok(())
    }

    fn wait_until_readable(&self, _: Share) -> Result<()> {
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

fn job() -> Job {
    let Command::Run(args) = Cli::parse_from(["deltacart", "run", "--input", "x"]).command else {
        unreachable!("it is a run")
    };
    config::job(*args).unwrap()
}

/// Reads `count` epochs within the budget. Returns the events of each of the three partitions, by epoch.
fn epochs(budget: EpochBudget, count: u64) -> Vec<[u64; 3]> {
    let (job, shared) = (job(), Shared::default());
    let mut ingest = Ingest::new(&job, &shared, &Inside, Share::WHOLE, Default::default()).unwrap();
    let mut epochs = Vec::new();
    for epoch in 0..count {
        let mut events = [0; 3];
        // More turns than an epoch needs.
        for _ in 0..10 {
            let mut count = |batch: &mut Vec<deltacart_dataflows::Event>| {
                batch.iter().for_each(|event| events[event.position.partition.number() as usize] += 1);
            };
            ingest.fetch(budget, &mut count).unwrap();
        }
        ingest.end_epoch(epoch);
        epochs.push(events);
    }
    epochs
}

const NO_LIMIT: EpochBudget =
    EpochBudget { partition_records: u64::MAX, events: usize::MAX, bytes: usize::MAX };

#[test]
fn an_epoch_has_no_more_than_it_may_and_no_partition_waits_for_ever() {
    // One partition after the other: an epoch that is full begins the next with the partition that had no room.
    assert_eq!(
        epochs(EpochBudget { events: 100, ..NO_LIMIT }, 4),
        [[100, 0, 0], [0, 100, 0], [0, 0, 100], [100, 0, 0]]
    );
    let some = epochs(EpochBudget { events: 6000, ..NO_LIMIT }, 3);
    assert!(some.iter().all(|epoch| epoch.iter().sum::<u64>() == 6000), "{some:?}");
    let bytes = epochs(EpochBudget { bytes: 1, ..NO_LIMIT }, 3);
    assert_eq!(bytes, [[4096, 0, 0], [0, 4096, 0], [0, 0, 4096]]);
}

#[test]
fn epochs_by_count_take_of_each_partition() {
    assert_eq!(epochs(EpochBudget { partition_records: 7, ..NO_LIMIT }, 2), [[7; 3], [7; 3]]);
    assert_eq!(epochs(NO_LIMIT, 1), [[10_000; 3]]);
}
