//! Where one record ends and the next begins, in bytes that arrive in pieces.
//!
//! A record that lies in one piece is handed over where it lies; one that spans pieces is gathered in a buffer that is
//! used again. Neither holds more of a record than the limit.
//!
//! # Notes
//! - A record ends at a newline; `\r` before it is not part of the record. Empty records are passed over.
//! - In CSV a newline inside a quoted field does not end the record (RFC 4180). A quote opens a field only at the
//!   field's beginning: `12" pipe` is a plain field. What follows a closing quote is plain until the next delimiter.
//! - A quote that is never closed makes the rest of the file one record, of which the beginning is kept.
//! - In JSON a record is a line, an element of an array that is all of the file, or one of several values of many
//!   lines each: what the file begins with tells which.

mod json;

use json::Json;
use memchr::{memchr, memchr2};

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A newline.
    Lines,
    /// A newline outside quotes.
    Csv {
        /// What stands between fields: one ASCII character, usually a comma.
        delimiter: u8,
    },
    /// A newline, or where a JSON value ends: an element of an array, or a value of several lines.
    Json,
}

/// One record, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a [u8],
    /// There was more of it than the limit.
    pub(crate) truncated: bool,
}

/// Where in a CSV record the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside quotes.
    Plain,
    /// Inside quotes.
    Quoted,
    /// After a quote inside quotes: the end of the field, unless another quote follows.
    QuoteInQuoted,
}

/// Where a record ends in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// How many bytes of the piece are the record's.
    record: usize,
    /// How many bytes are done with.
    used: usize,
}

impl End {
    fn at_newline(newline: usize) -> End {
        End { record: newline, used: newline + 1 }
    }

    fn before(next: usize) -> End {
        End { record: next, used: next }
    }
}

/// Cuts a sequence of pieces into records.
#[derive(Debug)]
pub(crate) struct Framer {
    framing: Framing,
    record_bytes_max: usize,
    place: Place,
    json: Json,
    /// The beginning of the record that an earlier piece began: at most `record_bytes_max` bytes.
    held: Vec<u8>,
    /// How long that record is so far; more than `held.len()` once it is over the limit.
    length: usize,
    /// The last byte of that record so far; a line end at its beginning.
    last: u8,
    /// The record in `held` has been handed over.
    spent: bool,
}

impl Framer {
    pub(crate) fn new(framing: Framing, record_bytes_max: usize) -> Framer {
        Framer {
            framing,
            record_bytes_max,
            place: Place::Plain,
            json: Json::default(),
            held: Vec::new(),
            length: 0,
            last: b'\n',
            spent: false,
        }
    }

    /// Takes bytes off the front of `input`, which must not be empty, and returns how many: up to and including the
    /// end of the first record that ends there, with the record unless it is empty, or all of them. None are taken
    /// when the record ended with what came before.
    pub(crate) fn next<'a>(&'a mut self, input: &'a [u8]) -> (usize, Option<Frame<'a>>) {
        self.restart();
        if self.framing == Framing::Json && self.length == 0 {
            let between = self.json.skip(input);
            if between > 0 {
                return (between, None);
            }
        }
        let Some(End { record, used }) = self.find_end(input) else {
            self.hold(input);
            return (input.len(), None);
        };
        self.place = Place::Plain;
        self.spent = true;
        if self.length == 0 {
            self.last = b'\n';
            let last = record.checked_sub(1).map(|at| input[at]);
            return (used, frame(&input[..record], record, last, self.record_bytes_max));
        }
        self.hold(&input[..record]);
        (used, frame(&self.held, self.length, Some(self.last), self.record_bytes_max))
    }

    /// Whether the input ended inside an array whose elements are the records: the rest of it is missing.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.json.is_in_array()
    }

    /// The last record, if the input ended without a newline.
    pub(crate) fn finish(&mut self) -> Option<Frame<'_>> {
        self.restart();
        self.place = Place::Plain;
        self.spent = true;
        let last = (self.length > 0).then_some(self.last);
        frame(&self.held, self.length, last, self.record_bytes_max)
    }

    fn restart(&mut self) {
        if self.spent {
            self.held.clear();
            self.length = 0;
            self.last = b'\n';
            self.spent = false;
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = self.record_bytes_max - self.held.len();
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length = self.length.saturating_add(bytes.len());
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// Where the record ends, if it ends in `input`.
    fn find_end(&mut self, input: &[u8]) -> Option<End> {
        match self.framing {
            Framing::Lines => memchr(b'\n', input).map(End::at_newline),
            Framing::Csv { delimiter } => self.find_row_end(input, delimiter).map(End::at_newline),
            Framing::Json => self.json.find_end(input),
        }
    }

    /// Where the newline is that ends the row, if it is in `input`.
    fn find_row_end(&mut self, input: &[u8], delimiter: u8) -> Option<usize> {
        let mut at = 0;
        loop {
            match self.place {
                Place::Plain => {
                    at += memchr2(b'\n', b'"', &input[at..])?;
                    if input[at] == b'\n' {
                        return Some(at);
                    }
                    let before = if at == 0 { self.last } else { input[at - 1] };
                    if before == delimiter || before == b'\n' {
                        self.place = Place::Quoted;
                    }
                    at += 1;
                }
                Place::Quoted => {
                    at += memchr(b'"', &input[at..])? + 1;
                    self.place = Place::QuoteInQuoted;
                }
                Place::QuoteInQuoted => {
                    let escaped = *input.get(at)? == b'"';
                    self.place = if escaped { Place::Quoted } else { Place::Plain };
                    at += usize::from(escaped);
                }
            }
        }
    }
}

/// The record whose first bytes are `bytes` and which is `length` long; `last` is its last byte. None if it is empty.
fn frame(bytes: &[u8], length: usize, last: Option<u8>, record_bytes_max: usize) -> Option<Frame<'_>> {
    let length = length - usize::from(last == Some(b'\r'));
    let held = length.min(record_bytes_max).min(bytes.len());
    (length > 0).then(|| Frame { bytes: &bytes[..held], truncated: length > record_bytes_max })
}

#[cfg(test)]
mod tests;
