//! One row, cut into its columns.

use super::super::columns::Delimiter;
use super::super::utf8::utf8;
use super::super::{Reason, Reject};
use super::Place;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// The columns of one row, in buffers that are used again for the next.
pub(in super::super) struct Row {
    reader: Reader,
    delimiter: u8,
    /// The columns one behind the other, without quotes and delimiters.
    text: Vec<u8>,
    /// Where each column ends in `text`.
    ends: Vec<usize>,
}

impl Row {
    pub(in super::super) fn new(delimiter: Delimiter) -> Row {
        let reader = ReaderBuilder::new().delimiter(delimiter.0).build();
        Row { reader, delimiter: delimiter.0, text: Vec::new(), ends: Vec::new() }
    }

    /// Reads the one row that `value` holds.
    pub(in super::super) fn read(&mut self, value: &[u8]) -> Result<(), Reject> {
        let malformed = |what: &str| Err(Reject::new(Reason::Malformed, what));
        if is_unclosed(value, self.delimiter) {
            return malformed("a quoted column does not end: a quote is missing, or one too many");
        }
        self.reader.reset();
        // Columns are never longer than the row, and there are at most as many as bytes, and one more.
        self.text.resize(value.len() + 1, 0);
        self.ends.resize(self.ends.capacity().max(16), 0);
        let (mut read, mut written, mut columns) = (0, 0, 0);
        loop {
            let (result, bytes_in, bytes_out, ends_out) =
                self.reader.read_record(&value[read..], &mut self.text[written..], &mut self.ends[columns..]);
            read += bytes_in;
            written += bytes_out;
            columns += ends_out;
            match result {
                // The next round has no input, which ends the row.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return malformed("no row, only line ends"),
            }
        }
        self.text.truncate(written);
        self.ends.truncate(columns);
        if value[read..].iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return malformed("more than one row");
        }
        Ok(())
    }

    /// How many columns there are.
    pub(in super::super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the column at `position` from 0.
    pub(in super::super) fn column(&self, position: usize) -> Option<&[u8]> {
        let end = *self.ends.get(position)?;
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    /// The text of a column, which must be there but may be empty.
    pub(super) fn text(&self, place: &Place) -> Result<&str, Reject> {
        let Some(bytes) = self.column(place.position) else {
            let detail =
                format!("{}: column {} of {} columns", place.name, place.position + 1, self.ends.len());
            return Err(Reject::new(Reason::MissingColumn, detail));
        };
        utf8(place.field(), bytes)
    }
}

/// Whether the row ends inside quotes, which the reader would let pass. As there, a quote opens a column at its
/// beginning only: `12" pipe` is a plain column.
fn is_unclosed(row: &[u8], delimiter: u8) -> bool {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', &row[at..]) {
        let opening = at + quote;
        at = opening + 1;
        if opening > 0 && row[opening - 1] != delimiter {
            continue;
        }
        loop {
            let Some(quote) = memchr::memchr(b'"', &row[at..]) else { return true };
            at += quote + 1;
            // A doubled quote stands for one, and the column goes on.
            if row.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
    false
}
