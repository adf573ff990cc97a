//! Reading a recommendation topic, or file, as a table: the command `deltacart top`.
//!
//! The records are folded into lists ([`Lists`]), whatever their envelope. At the end, or, when following, whenever
//! some lists have changed and the source has nothing more for a moment, lists are written as a table.

mod table;
#[cfg(test)]
mod tests;

pub use table::{escaped, write_table};

use crate::output::Lists;
use deltacart_dataflows::Name;
use deltacart_inputs::{RawRecord, Source, SourceError};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How many records of a partition are read before it is the next one's turn.
const BATCH_RECORDS: usize = 10_000;

/// How long a changed list waits to be shown at most, while records keep coming.
const REFRESH: Duration = Duration::from_millis(500);

/// How long is slept when there was nothing to read.
const PAUSE: Duration = Duration::from_millis(10);

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopOptions {
    /// Only this item's list.
    pub item: Option<Name>,
    /// Shows lists whenever they change, until stopped or until the source ends.
    pub follow: bool,
    /// At most so many lists in one table, by rising item id.
    pub limit: usize,
}

/// What was read and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopSummary {
    /// Records read.
    pub records: u64,
    /// Records among them that are none of a job's.
    pub unreadable: u64,
    /// Lists there were at the end.
    pub lists: usize,
    /// Lists written, a list counting each time.
    pub shown: usize,
}

/// Why lists cannot be shown.
#[derive(Debug, Error)]
pub enum TopError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The table cannot be written.
    #[error("cannot write the table")]
    Write(#[from] io::Error),
}

/// Reads `source` to its end, or until `stop` is set, and writes tables to `out`. Without `options.follow` the source
/// must be one that ends. A reader of `out` that has gone is an end like any other.
pub fn top(
    source: &mut dyn Source,
    options: &TopOptions,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<TopSummary, TopError> {
    let lists = options.item.clone().map_or_else(Lists::new, Lists::of_item);
    let mut reader = Reader { lists, changed: BTreeSet::new(), summary: TopSummary::default() };
    let written = match options.follow {
        true => follow(&mut reader, source, options, stop, out),
        false => show_at_end(&mut reader, source, options, stop, out),
    };
    reader.summary.lists = reader.lists.len();
    match written {
        Err(TopError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(reader.summary),
        Err(error) => Err(error),
        Ok(()) => Ok(reader.summary),
    }
}

fn show_at_end(
    reader: &mut Reader,
    source: &mut dyn Source,
    options: &TopOptions,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<(), TopError> {
    let mut ended = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        match reader.read(source, &mut ended)? {
            Progress::Ended => break,
            Progress::Idle => thread::sleep(PAUSE),
            Progress::Read => {}
        }
    }
    reader.changed = reader.lists.iter().map(|(item, _)| item.clone()).collect();
    reader.show_changed(options.limit, out)
}

fn follow(
    reader: &mut Reader,
    source: &mut dyn Source,
    options: &TopOptions,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<(), TopError> {
    let mut ended = BTreeSet::new();
    let mut shown = Instant::now();
    loop {
        let progress = reader.read(source, &mut ended)?;
        let last = progress == Progress::Ended || stop.load(Ordering::Relaxed);
        if last || progress == Progress::Idle || shown.elapsed() >= REFRESH {
            reader.show_changed(options.limit, out)?;
            shown = Instant::now();
        }
        if last {
            return Ok(());
        }
        if progress == Progress::Idle {
            thread::sleep(PAUSE);
        }
    }
}

struct Reader {
    lists: Lists,
    /// Items whose lists have changed since they were shown.
    changed: BTreeSet<Name>,
    summary: TopSummary,
}

/// What one turn over all partitions brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Read,
    Idle,
    Ended,
}

impl Reader {
    /// Reads a batch of every partition. Partitions that have ended are kept in `ended`.
    fn read(&mut self, source: &mut dyn Source, ended: &mut BTreeSet<u32>) -> Result<Progress, SourceError> {
        let mut records = 0;
        let mut all_ended = true;
        for partition in source.partitions()? {
            if ended.contains(&partition) {
                continue;
            }
            let fetched = source.fetch(partition, BATCH_RECORDS, &mut |record| self.take(&record))?;
            records += fetched.records;
            if fetched.ended {
                ended.insert(partition);
            } else {
                all_ended = false;
            }
        }
        Ok(match records {
            _ if all_ended && !source.may_grow() => Progress::Ended,
            0 => Progress::Idle,
            _ => Progress::Read,
        })
    }

    fn take(&mut self, record: &RawRecord<'_>) {
        self.summary.records += 1;
        match self.lists.apply_in(record.partition, record.key, record.value) {
            Ok(changed) => self.changed.extend(changed),
            Err(error) => {
                if self.summary.unreadable == 0 {
                    let RawRecord { partition, offset, .. } = record;
                    tracing::warn!(
                        partition,
                        offset,
                        "skipped a record: {error}; further ones are only counted"
                    );
                }
                self.summary.unreadable += 1;
            }
        }
    }

    /// Writes the lists that have changed, if any, and a line about those for which there is no room.
    fn show_changed(&mut self, limit: usize, out: &mut dyn Write) -> Result<(), TopError> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let shown = self.changed.iter().take(limit);
        write_table(out, shown.map(|item| (item.as_str(), self.lists.get(item))))?;
        if self.changed.len() > limit {
            writeln!(out, "… and {} more", self.changed.len() - limit)?;
        }
        out.flush()?;
        self.summary.shown += self.changed.len().min(limit);
        self.changed.clear();
        Ok(())
    }
}
