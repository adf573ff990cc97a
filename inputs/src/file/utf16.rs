//! UTF-16 as UTF-8, a piece at a time.
//!
//! What is no text (half of a surrogate pair, half of a unit at the end) becomes a byte that UTF-8 does not have, so
//! that the record it is in is rejected where it matters, and no other.

use super::kind::Endian;
use super::read::read_some;
use std::io::{self, Read};
use std::ops::Range;

/// How much is decoded at a time.
const PIECE_BYTES: usize = 64 << 10;

/// No text in UTF-8.
const NO_TEXT: u8 = 0xff;

/// Reads UTF-8 from an input of UTF-16, whose byte order mark has been taken off.
pub(super) struct Utf16<R> {
    input: R,
    endian: Endian,
    /// Bytes that were read and not decoded: fewer than four between two calls.
    units: Vec<u8>,
    text: Vec<u8>,
    /// The bytes of `text` that nobody has taken.
    left: Range<usize>,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(input: R, endian: Endian) -> Utf16<R> {
        Utf16 { input, endian, units: Vec::new(), text: Vec::new(), left: 0..0 }
    }

    /// Decodes some more into `text`. False at the end.
    fn refill(&mut self) -> io::Result<bool> {
        let held = self.units.len();
        self.units.resize(held + PIECE_BYTES, 0);
        let length = read_some(&mut self.input, &mut self.units[held..])?;
        self.units.truncate(held + length);
        if self.units.is_empty() {
            return Ok(false);
        }
        let is_end = length == 0;
        let unit = |bytes: &[u8]| match self.endian {
            Endian::Little => u16::from_le_bytes([bytes[0], bytes[1]]),
            Endian::Big => u16::from_be_bytes([bytes[0], bytes[1]]),
        };
        let mut whole = self.units.len() & !1;
        let is_half = |bytes: &[u8]| (0xd800..0xdc00).contains(&unit(bytes));
        if !is_end && whole > 0 && is_half(&self.units[whole - 2..]) {
            whole -= 2;
        }
        self.text.clear();
        let mut utf8 = [0; 4];
        for decoded in char::decode_utf16(self.units[..whole].chunks_exact(2).map(unit)) {
            match decoded {
                Ok(c) => self.text.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                Err(_) => self.text.push(NO_TEXT),
            }
        }
        self.units.drain(..whole);
        if is_end && !self.units.is_empty() {
            self.units.clear();
            self.text.push(NO_TEXT);
        }
        self.left = 0..self.text.len();
        Ok(true)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let length = self.left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.text[self.left.start..][..length]);
        self.left.start += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that gives at most so many bytes a call.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn text_is_the_same_however_it_comes() {
        let text = "s1\tЧай, 茶\r\n\u{10FFFF}🫖🫖";
        for endian in [Endian::Little, Endian::Big] {
            let bytes = |unit: u16| match endian {
                Endian::Little => unit.to_le_bytes(),
                Endian::Big => unit.to_be_bytes(),
            };
            let utf16: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            for at_once in 1..=utf16.len() {
                let mut read = String::new();
                Utf16::new(Slow(&utf16, at_once), endian).read_to_string(&mut read).unwrap();
                assert_eq!(read, text, "{endian:?}, {at_once} bytes at once");
            }
        }
    }

    #[test]
    fn what_is_no_text_spoils_nothing_beside_it() {
        for (units, rest, expected) in [
            (&[0x61, 0xd83e, 0x62][..], &b""[..], &b"a\xffb"[..]),
            (&[0xdd56, 0x61], b"", b"\xffa"),
            (&[0x61, 0xd83e], b"", b"a\xff"),
            (&[0x61], b"b", b"a\xff"),
            (&[], b"b", b"\xff"),
            (&[], b"", b""),
        ] {
            let mut utf16: Vec<u8> = units.iter().flat_map(|unit: &u16| unit.to_le_bytes()).collect();
            utf16.extend_from_slice(rest);
            for at_once in 1..=4 {
                let mut read = Vec::new();
                Utf16::new(Slow(&utf16, at_once), Endian::Little).read_to_end(&mut read).unwrap();
                assert_eq!(read, expected, "{units:x?} and {rest:?}, {at_once} bytes at once");
            }
        }
    }
}
