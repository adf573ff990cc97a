//! Where the records of a JSON file end, whichever of three ways the file has.
//!
//! ```text
//! {"a":1}        lines: the usual one.   [            an array: each        {           values: each takes
//! {"a":2}        A bad line spoils         {"a":1},   element is a            "a": 1    several lines, as
//!                no other.                 {"a":2}    record, on one        }           tools print it.
//!                                        ]            line or several.      { …
//! ```
//!
//! The first byte that is no blank tells an array; the first line end tells lines from values, by whether the first
//! value is complete there.
//!
//! # Notes
//! - A string ends at a line end at the latest, as JSON has it. So a missing quote spoils one line.
//! - Outside of an array, a line that begins with a brace begins a record. So a missing brace spoils one record.
//! - Commas between the elements of an array are not missed, and one too many is not minded.

use super::End;
use memchr::{memchr, memchr3};

/// What a file is, as far as it has been read, and where in it the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Json {
    way: Way,
    /// Between the brackets of an array whose elements are records.
    in_array: bool,
    /// How many braces and brackets of the record are open.
    depth: usize,
    /// Inside a string of the record; a backslash came last.
    string: Option<Escaped>,
    /// The last byte was a line end.
    at_line_start: bool,
    /// Some bytes of the record have been met.
    has_begun: bool,
}

type Escaped = bool;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// The first value has not come to its end, nor has its line.
    #[default]
    Unknown,
    Lines,
    /// The elements of arrays, and values of several lines.
    Values,
}

/// What a byte does to a value.
enum Step {
    /// It belongs to the value.
    Inside,
    /// It is the value's last.
    Last,
    /// It is behind the value.
    Behind,
}

impl Json {
    pub(super) fn is_in_array(&self) -> bool {
        self.in_array
    }

    /// How many bytes at the front of `input` stand between records. Called where no record has begun.
    pub(super) fn skip(&mut self, input: &[u8]) -> usize {
        if self.way == Way::Lines {
            return 0;
        }
        for (at, byte) in input.iter().enumerate() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'[' if !self.in_array => (self.way, self.in_array) = (Way::Values, true),
                b']' if self.in_array => self.in_array = false,
                b',' if self.in_array => {}
                _ => return at,
            }
        }
        input.len()
    }

    /// Where the record ends that began before `input`, or begins with it.
    pub(super) fn find_end(&mut self, input: &[u8]) -> Option<End> {
        if self.way == Way::Lines {
            return memchr(b'\n', input).map(End::at_newline);
        }
        let end = self.find_value_end(input)?;
        (self.depth, self.string, self.has_begun, self.at_line_start) = (0, None, false, false);
        Some(end)
    }

    fn find_value_end(&mut self, input: &[u8]) -> Option<End> {
        let mut at = 0;
        while at < input.len() {
            if self.string == Some(false) {
                // Nothing else matters inside a string.
                let Some(next) = memchr3(b'"', b'\\', b'\n', &input[at..]) else { break };
                at += next;
            }
            let byte = input[at];
            if self.way == Way::Unknown && byte == b'\n' {
                // A string does not go over a line end: such a line is damaged, and so is one that holds no value.
                let is_open = self.depth > 0 && self.string.is_none();
                self.way = if is_open { Way::Values } else { Way::Lines };
                if self.way == Way::Lines {
                    return Some(End::at_newline(at));
                }
            }
            let begins_another = self.at_line_start && !self.in_array && matches!(byte, b'{' | b'[');
            if begins_another && self.way == Way::Values {
                return Some(End::before(at));
            }
            self.at_line_start = byte == b'\n';
            match self.step(byte) {
                Step::Inside => {}
                Step::Behind if self.way == Way::Values => return Some(End::before(at)),
                Step::Last if self.way == Way::Values => return Some(End::before(at + 1)),
                // The first value is complete on its line: the rest of the line is the record's, as in every line.
                Step::Last => {
                    self.way = Way::Lines;
                    return memchr(b'\n', &input[at..]).map(|newline| End::at_newline(at + newline));
                }
                Step::Behind => {}
            }
            self.has_begun = true;
            at += 1;
        }
        None
    }

    fn step(&mut self, byte: u8) -> Step {
        match (self.string, byte) {
            (Some(_), b'\n') => self.string = None,
            (Some(true), _) => self.string = Some(false),
            (Some(false), b'\\') => self.string = Some(true),
            (Some(false), b'"') => {
                self.string = None;
                if self.depth == 0 {
                    return Step::Last;
                }
            }
            (Some(false), _) => {}
            (None, b'"') => self.string = Some(false),
            (None, b'{' | b'[') => self.depth += 1,
            (None, b'}' | b']') if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Last;
                }
            }
            (None, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']') if self.depth == 0 && self.has_begun => {
                return Step::Behind;
            }
            (None, _) => {}
        }
        Step::Inside
    }
}
