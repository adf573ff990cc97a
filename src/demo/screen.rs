//! What the demo writes: a few sentences, then a block every second, which a terminal shows in the place of the last.
//!
//! ```text
//! 12 s · 4400 events in · 38201 list changes out · 187 items have a list
//!   tea-3        → cup-4 0.412 · +coffee-8 0.377 · spice-2 0.301  −bed-40
//! ```
//!
//! # Notes
//!
//! Ids may come from anybody who reaches the broker, so they are escaped. A terminal does not wrap the lines of a
//! block, or it would be higher than it is told.

use super::SCORE_DIGITS;
use super::reader::ChangedList;
use crate::output::Entry;
use crate::top::escaped;
use std::io::{self, Write};
use std::time::Duration;

/// How long the longest usual id is.
const ITEM_WIDTH: usize = 11;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
/// Lines longer than the terminal is wide are cut, then wrapped again.
const CUT_LINES: &str = "\x1b[?7l";
const WRAP_LINES: &str = "\x1b[?7h";
/// From here to the end of the screen.
const ERASE_BELOW: &str = "\x1b[J";

/// Where the demo is shown.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    /// Colours, and blocks in place.
    is_terminal: bool,
    /// How many lines the block has that is on the terminal.
    height: usize,
}

/// What a block says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) elapsed: Duration,
    /// Events sent to the job.
    pub(super) events: u64,
    /// List changes read.
    pub(super) changes: u64,
    /// Items with a list.
    pub(super) lists: usize,
    pub(super) changed: Vec<ChangedList>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, is_terminal: bool) -> Self {
        Screen { out, is_terminal, height: 0 }
    }

    /// Writes text that stays.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.height = 0;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Writes a block, over the one before where that is possible.
    pub(super) fn show(&mut self, block: &Block) -> io::Result<()> {
        let lines = self.lines(block);
        if self.is_terminal {
            write!(self.out, "{CUT_LINES}")?;
            if self.height > 0 {
                write!(self.out, "\x1b[{}A{ERASE_BELOW}", self.height)?;
            }
        }
        for line in &lines {
            writeln!(self.out, "{line}")?;
        }
        if self.is_terminal {
            write!(self.out, "{WRAP_LINES}")?;
        }
        self.height = lines.len();
        self.out.flush()
    }

    fn lines(&self, block: &Block) -> Vec<String> {
        let Block { elapsed, events, changes, lists, changed } = block;
        let seconds = elapsed.as_secs();
        let head = format!(
            "{seconds} s · {events} events in · {changes} list changes out · {lists} items have a list"
        );
        let head = self.painted(BOLD, head);
        std::iter::once(head).chain(changed.iter().map(|list| self.line(list))).collect()
    }

    fn line(&self, list: &ChangedList) -> String {
        let entry = |entry: &Entry| {
            let score =
                entry.score.map_or(String::new(), |score| format!(" {}", score.to_fixed(SCORE_DIGITS)));
            let item = escaped(&entry.item);
            match list.is_new(&entry.item) {
                true => self.painted(GREEN, format!("+{item}{score}")),
                false => format!("{item}{score}"),
            }
        };
        let entries: Vec<String> = list.after.iter().map(entry).collect();
        let entries = if entries.is_empty() { "(no list any more)".to_owned() } else { entries.join(" · ") };
        let left: String =
            list.left().map(|item| self.painted(RED, format!("  −{}", escaped(item)))).collect();
        format!("  {:ITEM_WIDTH$} → {entries}{left}", escaped(&list.item))
    }

    fn painted(&self, colour: &str, text: String) -> String {
        if self.is_terminal { format!("{colour}{text}{PLAIN}") } else { text }
    }
}
