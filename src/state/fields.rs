//! The fields of a part's blocks: numbers and names, one after the other.
//!
//! Numbers are LEB128. A name is its length and its UTF-8 bytes. Reading is total: any bytes give fields or an error.

use super::frame::{invalid, write_block};
use deltacart_dataflows::Name;
use std::io::{self, Write};

/// The longest name, in bytes, that is read or written. The decoder limits ids of events to 256 bytes.
pub(super) const NAME_BYTES_MAX: usize = 4096;

/// The largest capacity that a list gets in advance, so that a wrong count allocates little.
const LIST_ROOM_MAX: usize = 1024;

/// A source of fields.
pub(super) trait Fields: Sized {
    fn number(&mut self) -> io::Result<u64>;

    fn name(&mut self) -> io::Result<Name>;

    /// An upper bound on the number of remaining fields; 0 at the end.
    fn left(&self) -> usize;

    fn small(&mut self) -> io::Result<u32> {
        u32::try_from(self.number()?).map_err(|_| invalid("a number is too large"))
    }

    /// Reads a count, and as many elements. Each has at least one field.
    fn list<T>(&mut self, mut thing: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.small()? as usize;
        if count > self.left() {
            return Err(invalid("a count is too large"));
        }
        let mut things = Vec::with_capacity(count.min(LIST_ROOM_MAX));
        for _ in 0..count {
            things.push(thing(self)?);
        }
        Ok(things)
    }
}

/// Fields as bytes: those that remain.
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

impl Fields for Packed<'_> {
    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| invalid("a number is cut off"))?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(invalid("a number is too large"))
    }

    fn name(&mut self) -> io::Result<Name> {
        let length = self.small()? as usize;
        if length > NAME_BYTES_MAX || length > self.0.len() {
            return Err(invalid("a name is too long"));
        }
        let (name, rest) = self.0.split_at(length);
        self.0 = rest;
        Name::from_utf8(name).map_err(|_| invalid("a name is no UTF-8"))
    }

    fn left(&self) -> usize {
        self.0.len()
    }
}

/// A buffer of fields that are written.
#[derive(Default)]
pub(super) struct Packing(Vec<u8>);

impl Packing {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn name(&mut self, name: &Name) -> io::Result<()> {
        check_name(name)?;
        self.number(name.len() as u64);
        self.0.extend_from_slice(name.as_bytes());
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn append(&mut self, other: &mut Packing) {
        self.0.append(&mut other.0);
    }

    pub(super) fn write(&self, out: &mut dyn Write, kind: u8) -> io::Result<()> {
        write_block(out, kind, &self.0)
    }
}

/// Fails if the name would be too long to be read again.
pub(super) fn check_name(name: &Name) -> io::Result<()> {
    if name.len() > NAME_BYTES_MAX {
        let what = format!("a name of {} bytes is too long", name.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}
