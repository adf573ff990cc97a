//! The command `deltacart top`: reads a recommendation topic or file and shows its lists.
//!
//! Records of any envelope are folded into lists ([`Lists`]). When all existing records are read, the lists are shown
//! as a table or as lines of JSON. With `follow`, each list that changes later is shown with the items that entered
//! and left.

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

/// The most records that are read of a partition before the next one has its turn.
const BATCH_RECORDS: usize = 10_000;

/// The longest time that a changed list waits to be shown while records keep coming.
const REFRESH: Duration = Duration::from_millis(500);

/// The pause when no partition had a record.
const PAUSE: Duration = Duration::from_millis(10);

/// The options of `deltacart top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopOptions {
    /// The item whose list is shown. Without it, lists of all items are shown.
    pub item: Option<Name>,
    /// Whether to show lists that change later, until the command is stopped or the source ends.
    pub follow: bool,
    /// The most lists that are shown at a time.
    pub limit: usize,
    /// Which lists come first.
    pub sort: Sort,
    /// Whether to write each list as a line of JSON instead of a table.
    pub json: bool,
}

/// The order in which lists are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By falling support, then by rising item id.
    ///
    /// The support of a list here is the largest count of its entries: the most baskets that hold the item and one of
    /// its neighbours. In records without counts, all supports are equal.
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

/// The numbers of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopSummary {
    /// Records read.
    pub records: u64,
    /// Of these, records that are not records of lists.
    pub unreadable: u64,
    /// Lists that exist at the end.
    pub lists: usize,
    /// Lists that were written. A list counts each time that it is written.
    pub shown: usize,
    /// Whether the command was stopped before it had read all existing records.
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

/// Reads `source` until it ends or `stop` is set, and writes lists to `out`.
///
/// Without `options.follow`, `source` must be one that ends. If the reader of `out` has closed it, reading ends
/// without an error.
///
/// # Errors
/// When `source` cannot be read, or `out` cannot be written.
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
    /// Partitions that have ended: no more records come of them.
    ended: BTreeSet<u32>,
    summary: TopSummary,
}

/// The result of one turn over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Read,
    Idle,
    Ended,
}

impl Reader {
    /// Shows all lists when the existing records are read, then, with `follow`, the lists that change.
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

    /// Reads a batch of every partition that has not ended.
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

    /// Writes the current lists, in the order of the options and up to their limit.
    fn show_all(&mut self, options: &TopOptions, out: &mut dyn Write) -> Result<(), TopError> {
        self.watched.take_changed();
        let lists = self.watched.lists();
        let mut sorted: Vec<(&Name, &Published)> = lists.iter().collect();
        if options.sort == Sort::Support {
            // The sort is stable: lists of equal support stay in the order of their ids.
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

    /// Writes the lists that have changed since they were shown, up to the limit, and how many are left out.
    fn show_changed(&mut self, options: &TopOptions, out: &mut dyn Write) -> Result<(), TopError> {
        let mut changed = self.watched.take_changed();
        if !options.json && options.item.is_none() {
            // One event changes the scores of many lists. People can follow changes of members and order only.
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

/// The largest count of a list: the most baskets that hold the item and one of its neighbours. 0 without counts.
fn support(list: &Published) -> u32 {
    list.entries.iter().filter_map(|entry| entry.count).max().unwrap_or_default()
}

fn writeln_json(lists: &Lists, item: &Name, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    lists.push_json(item, &mut line);
    line.push(b'\n');
    out.write_all(&line)
}
