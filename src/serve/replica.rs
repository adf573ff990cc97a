//! A replica: it follows topics or files of lists, and serves them without computing anything.
//!
//! Records are folded into lists as any consumer does it, and only committed ones are read. A replica is ready once it
//! has read what was there when it began.

use super::options::ServeOptions;
use super::server;
use super::service::Service;
use super::tables::{Kinds, Tables};
use crate::metrics::{InputProgress, Meter};
use crate::output::{Lists, RowKind};
use anyhow::{Context, Result};
use deltacart_dataflows::Epoch;
use deltacart_inputs::{RawRecord, Source};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most records that are read of a partition before the next one has its turn.
const BATCH_RECORDS: usize = 10_000;

/// The longest sleep when there is nothing to read. A record wakes the replica, and a request to stop does not.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How often the progress is measured for readiness and the page.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Lists that a replica follows.
pub struct Followed {
    /// What the lists are for.
    pub rows: RowKind,
    /// Where they are, for messages: `topic NAME`, or a path.
    pub place: String,
    /// The records of the lists.
    pub source: Box<dyn Source>,
}

/// Serves the lists of `followed` until `stop` is set.
///
/// # Errors
/// When the address cannot be bound, or a source cannot be read.
pub fn serve_replica(options: ServeOptions, followed: Vec<Followed>, stop: &AtomicBool) -> Result<()> {
    let has = |rows| followed.iter().any(|lists| lists.rows == rows);
    let kinds = Kinds { carts: has(RowKind::Cart), users: has(RowKind::User) };
    let tables = Tables::new(kinds, 1);
    let starting = InputProgress { waits_for: Some("starting".to_owned()), ..InputProgress::default() };
    let progress = Arc::new(Mutex::new(starting));
    let seen = Arc::clone(&progress);
    let progress_now = move || seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let meter = Meter::default().serves();
    server::start(Service::new(tables.clone(), None, Box::new(progress_now), meter), options)?;
    let mut readers: Vec<Reader> = followed.into_iter().map(Reader::new).collect();
    let (mut end, mut report_at) = (None, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let mut changes = 0;
        for reader in &mut readers {
            changes +=
                reader.read(&tables).with_context(|| format!("cannot read {}", reader.followed.place))?;
        }
        let has_caught_up = readers.iter().all(|reader| reader.followed.source.has_caught_up());
        // One epoch's records lie in several partitions: what was read of it may be a part.
        if has_caught_up && (changes > 0 || end.is_none()) {
            let newest = readers.iter().filter_map(|reader| reader.newest).max();
            end = Some(newest.map_or(0, |newest| newest + 1));
            tables.advance(0, end.unwrap_or_default());
        }
        if report_at <= Instant::now() || has_caught_up != (end.is_some() && changes == 0) {
            report_at = Instant::now() + REPORT_EVERY;
            *progress.lock().unwrap_or_else(PoisonError::into_inner) = report(&readers);
        }
        if changes == 0 {
            thread::park_timeout(PARK_MAX);
        }
    }
    Ok(())
}

fn report(readers: &[Reader]) -> InputProgress {
    let waiting = readers.iter().find(|reader| !reader.followed.source.has_caught_up());
    InputProgress {
        records: readers.iter().map(|reader| reader.records).sum(),
        left: readers.iter().flat_map(|reader| reader.followed.source.lags()).map(|lag| lag.offsets).sum(),
        waits_for: waiting.map(|reader| {
            format!("{} is being read: {} records so far", reader.followed.place, reader.records)
        }),
    }
}

/// Reads one source.
struct Reader {
    followed: Followed,
    lists: Lists,
    ended: BTreeSet<u32>,
    records: u64,
    /// Whether a record was met that is no list.
    has_complained: bool,
    /// The newest epoch of a list.
    newest: Option<Epoch>,
}

impl Reader {
    fn new(followed: Followed) -> Reader {
        let (lists, ended) = (Lists::of_rows(followed.rows), BTreeSet::new());
        Reader { followed, lists, ended, records: 0, has_complained: false, newest: None }
    }

    /// Reads a batch of every partition into the tables. Returns the number of records.
    fn read(&mut self, tables: &Tables) -> Result<u64> {
        let before = self.records;
        for partition in self.followed.source.partitions()? {
            if self.ended.contains(&partition) {
                continue;
            }
            let Reader { followed, lists, records, has_complained, newest, .. } = self;
            let Followed { rows, place, source } = followed;
            let fetched = source.fetch(partition, BATCH_RECORDS, &mut |record| {
                *records += 1;
                let RawRecord { key, value, offset, .. } = record;
                match lists.apply_in(partition, key, value) {
                    Ok(Some(id)) => {
                        let list = lists.get_shared(&id);
                        *newest = (*newest).max(list.as_ref().map(|list| list.epoch));
                        if let Some(table) = tables.of(*rows) {
                            table.put(id, list);
                        }
                    }
                    Ok(None) => {}
                    Err(error) if *has_complained => tracing::debug!(partition, offset, "{place}: {error}"),
                    Err(error) => {
                        *has_complained = true;
                        tracing::warn!(
                            partition,
                            offset,
                            "{place}: skipped a record: {error}; further ones are not logged"
                        );
                    }
                }
            })?;
            if fetched.ended {
                self.ended.insert(partition);
            }
        }
        Ok(self.records - before)
    }
}
