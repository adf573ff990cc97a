//! The output of the demo: a few sentences, then one block every second. On a terminal, each block replaces the one
//! before.
//!
//! ```text
//! 12 s · 4400 events in · 38201 list changes out · 187 items have a list
//!   tea-3        → cup-4 0.412 · +coffee-8 0.377 · spice-2 0.301  −bed-40
//! ```
//!
//! # Notes
//!
//! Ids may come from anybody who reaches the broker, so they are escaped. The terminal is told not to wrap the lines
//! of a block: a wrapped block would have more lines than are erased for the next one.

use crate::top::{ChangedList, Part};
use std::io::{self, Write};
use std::time::Duration;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
/// Makes the terminal cut lines that are wider than it is; [`WRAP_LINES`] makes it wrap them again.
const CUT_LINES: &str = "\x1b[?7l";
const WRAP_LINES: &str = "\x1b[?7h";
/// Erases from the cursor to the end of the screen.
const ERASE_BELOW: &str = "\x1b[J";

/// The output that blocks are written to.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    /// Whether the output has colours and blocks that replace each other.
    is_terminal: bool,
    /// The lines of the block that was written last. 0 if text came after it, or no block has been written.
    height: usize,
}

/// The content of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) elapsed: Duration,
    /// Events sent to the job so far.
    pub(super) events: u64,
    /// List changes read so far.
    pub(super) changes: u64,
    /// Items that have a list now.
    pub(super) lists: usize,
    pub(super) changed: Vec<ChangedList>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, is_terminal: bool) -> Self {
        Screen { out, is_terminal, height: 0 }
    }

    /// Writes text that no block replaces.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.height = 0;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Writes a block. On a terminal, it replaces the block before.
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
        let paint = |part: Part, text: String| match part {
            Part::Came => self.painted(GREEN, text),
            Part::Went => self.painted(RED, text),
        };
        std::iter::once(head).chain(changed.iter().map(|list| list.line(&paint))).collect()
    }

    fn painted(&self, colour: &str, text: String) -> String {
        if self.is_terminal { format!("{colour}{text}{PLAIN}") } else { text }
    }
}
