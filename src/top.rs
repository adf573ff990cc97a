//! Reading a recommendation topic, or file, as a table: the command `deltacart top`.
//!
//! The records are folded into lists ([`Lists`]), whatever their envelope. When all that is there has been read, the
//! lists are shown, as a table or as lines of JSON. When following, each list that changes later is shown with what
//! came and what went.

mod changed;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use changed::{ChangedList, Part, Watched};
pub use table::{escaped, write_table};

use crate::output::{Lists, Published};
use deltacart_dataflows::Name;
use deltacart_inputs::{RawRecord, Source, SourceError};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::str::FromStr;
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
    /// Shows lists that change, too, until stopped or until the source ends.
    pub follow: bool,
    /// At most so many lists at a time.
    pub limit: usize,
    /// Which lists come first.
    pub sort: Sort,
    /// A line of JSON for each list, rather than a table.
    pub json: bool,
}

/// The order of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By falling support, then by rising item id. The support of a list is the largest count of its entries: in how
    /// many baskets the item and one of its neighbours are together. Where records have no counts, all are equal.
    #[default]
    Support,
    /// By rising item id.
    Item,
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "support" => Ok(Sort::Support),
            "item" => Ok(Sort::Item),
            _ => Err("want support or item".to_owned()),
        }
    }
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
    /// It was stopped before it had read all there was.
    pub interrupted: bool,
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

/// Reads `source` to its end, or until `stop` is set, and writes lists to `out`. Without `options.follow` the source
/// must be one that ends. A reader of `out` that has gone is an end like any other.
///
/// # Errors
/// When the source cannot be read, or `out` cannot be written.
pub fn top(
    source: &mut dyn Source,
    options: &TopOptions,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<TopSummary, TopError> {
    let lists = options.item.clone().map_or_else(Lists::new, Lists::of_item);
    let mut reader =
        Reader { watched: Watched::of(lists), ended: BTreeSet::new(), summary: TopSummary::default() };
    let written = reader.show(source, options, stop, out);
    reader.summary.lists = reader.watched.lists().len();
    match written {
        Err(TopError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(reader.summary),
        Err(error) => Err(error),
        Ok(()) => Ok(reader.summary),
    }
}

struct Reader {
    watched: Watched,
    /// Partitions of which nothing more will come.
    ended: BTreeSet<u32>,
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
    /// Shows the lists that there are, then, when following, those that change.
    fn show(
        &mut self,
        source: &mut dyn Source,
        options: &TopOptions,
        stop: &AtomicBool,
        out: &mut dyn Write,
    ) -> Result<(), TopError> {
        let mut is_first = true;
        let mut shown = Instant::now();
        loop {
            let progress = self.read(source)?;
            let is_stopped = stop.load(Ordering::Relaxed);
            let is_last = progress == Progress::Ended || is_stopped;
            let is_due = progress == Progress::Idle || (!is_first && shown.elapsed() >= REFRESH);
            if is_last || (options.follow && is_due && source.has_caught_up()) {
                if is_first {
                    self.show_all(options, out)?;
                } else {
                    self.show_changed(options, out)?;
                }
                (is_first, shown) = (false, Instant::now());
            }
            if is_last {
                self.summary.interrupted = progress != Progress::Ended && !options.follow;
                return Ok(());
            }
            if progress == Progress::Idle {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Reads a batch of every partition.
    fn read(&mut self, source: &mut dyn Source) -> Result<Progress, SourceError> {
        let mut records = 0;
        let mut all_ended = true;
        for partition in source.partitions()? {
            if self.ended.contains(&partition) {
                continue;
            }
            let fetched = source.fetch(partition, BATCH_RECORDS, &mut |record| self.take(&record))?;
            records += fetched.records;
            if fetched.ended {
                self.ended.insert(partition);
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
        if let Err(error) = self.watched.take(record) {
            if self.summary.unreadable == 0 {
                let RawRecord { partition, offset, .. } = record;
                tracing::warn!(partition, offset, "skipped a record: {error}; further ones are only counted");
            }
            self.summary.unreadable += 1;
        }
    }

    /// Writes the lists as they are.
    fn show_all(&mut self, options: &TopOptions, out: &mut dyn Write) -> Result<(), TopError> {
        self.watched.take_changed();
        let lists = self.watched.lists();
        let mut sorted: Vec<(&Name, &Published)> = lists.iter().collect();
        if options.sort == Sort::Support {
            // Those that are equal stay in the order of their ids.
            sorted.sort_by_key(|(_item, list)| Reverse(support(list)));
        }
        sorted.truncate(options.limit);
        if options.json {
            for (item, _list) in &sorted {
                writeln_json(lists, item, out)?;
            }
        } else if !sorted.is_empty() {
            write_table(out, sorted.iter().map(|(item, list)| (item.as_str(), Some(*list))))?;
        }
        out.flush()?;
        self.summary.shown += sorted.len();
        Ok(())
    }

    /// Writes the lists that have changed since they were shown, if any, and how many there was no room for.
    fn show_changed(&mut self, options: &TopOptions, out: &mut dyn Write) -> Result<(), TopError> {
        let mut changed = self.watched.take_changed();
        if !options.json && options.item.is_none() {
            // An event moves the scores of many lists: what one can follow is what is in them.
            changed.retain(ChangedList::has_other_order);
        }
        if changed.is_empty() {
            return Ok(());
        }
        if options.json {
            for list in &changed {
                writeln_json(self.watched.lists(), &list.item, out)?;
            }
            self.summary.shown += changed.len();
        } else {
            for list in changed.iter().take(options.limit) {
                writeln!(out, "{}", list.line(&|_part, text| text))?;
            }
            let more = changed.len().saturating_sub(options.limit);
            if more > 0 {
                writeln!(out, "  … and {more} more")?;
            }
            self.summary.shown += changed.len() - more;
        }
        out.flush()?;
        Ok(())
    }
}

/// In how many baskets an item and one of its neighbours are together, at most.
fn support(list: &Published) -> u32 {
    list.entries.iter().filter_map(|entry| entry.count).max().unwrap_or_default()
}

fn writeln_json(lists: &Lists, item: &Name, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    lists.push_json(item, &mut line);
    line.push(b'\n');
    out.write_all(&line)
}
