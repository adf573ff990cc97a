//! Blocks of baskets by abomonation: memory is written as it is, and used in place when it is read.
//!
//! ```text
//! (numbers: Vec<u32>, names: Vec<u8>) ──▶ the words of the two vectors │ the numbers │ the names     not compressed
//! ```
//!
//! **Do not use this where the default is good enough.** The crate is unmaintained and unsound (RUSTSEC-2021-0120).
//! It takes what it reads for memory, so a file that somebody else could have written must not be read. What it
//! writes contains addresses of this process. docs/snapshots.md says what it gains.
//!
//! # Notes
//! These measures keep it in bounds:
//! - Checksums are compared first.
//! - The type has no padding, and needs no alignment beyond that of the buffer, which has it.
//! - Lengths are compared with the number of bytes before anything is taken for a vector.
//! - The manifest records how this program lays out vectors ([`codec`]), so a program with another layout refuses it.

use super::fields::{Fields, check_name};
use super::frame::{PLAIN, invalid, write_block};
use abomonation::{decode, encode};
use deltacart_dataflows::Name;
use std::io::{self, Write};

/// The numbers, including the lengths of names, and the bytes of all names.
type Columns = (Vec<u32>, Vec<u8>);

const WORD: usize = size_of::<usize>();

/// The words of the two vectors.
const WORDS: usize = size_of::<Columns>() / WORD;

/// A marker before a number of this size or larger, which follows as two halves. Few are that large: times of
/// baskets.
const WIDE: u32 = u32::MAX;

/// A buffer of fields that are written.
#[derive(Default)]
pub(super) struct Filling(Columns);

impl Filling {
    pub(super) fn number(&mut self, number: u64) {
        match u32::try_from(number) {
            Ok(number) if number < WIDE => self.0.0.push(number),
            _ => self.0.0.extend([WIDE, number as u32, (number >> u32::BITS) as u32]),
        }
    }

    pub(super) fn name(&mut self, name: &Name) -> io::Result<()> {
        check_name(name)?;
        self.number(name.len() as u64);
        self.0.1.extend_from_slice(name.as_bytes());
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.0.len() * size_of::<u32>() + self.0.1.len()
    }

    pub(super) fn append(&mut self, other: &mut Filling) {
        self.0.0.append(&mut other.0.0);
        self.0.1.append(&mut other.0.1);
    }

    pub(super) fn write(&self, out: &mut dyn Write, kind: u8) -> io::Result<()> {
        write_block(out, kind | PLAIN, &bytes_of(&self.0)?)
    }
}

#[allow(unsafe_code)]
fn bytes_of(columns: &Columns) -> io::Result<Vec<u8>> {
    let mut bytes =
        Vec::with_capacity(size_of::<Columns>() + columns.0.len() * size_of::<u32>() + columns.1.len());
    // SAFETY: two vectors of plain numbers are six words without padding, and the numbers have none either.
    unsafe { encode(columns, &mut bytes)? };
    Ok(bytes)
}

/// The encoding that the manifest states: only a program with the same layout may read the parts.
pub(super) fn codec() -> String {
    let order = if cfg!(target_endian = "little") { "little" } else { "big" };
    format!("abomonation 0.7, {WORD} bytes {order}-endian, {}", layout().join(" "))
}

/// The meaning of each word of the columns in this program, found by encoding vectors of known lengths.
fn layout() -> [&'static str; WORDS] {
    let (mut numbers, mut names) = (Vec::with_capacity(1000), Vec::with_capacity(2000));
    numbers.extend([7u32; 11]);
    names.extend([7u8; 13]);
    let known = [
        (numbers.len(), "numbers"),
        (names.len(), "names"),
        (numbers.capacity(), "room"),
        (names.capacity(), "room"),
        (numbers.as_ptr().addr(), "numbers-at"),
        (names.as_ptr().addr(), "names-at"),
    ];
    let bytes = bytes_of(&(numbers, names)).unwrap_or_default();
    let mut words = words(&bytes);
    std::array::from_fn(|_| {
        let word = words.next();
        known.iter().find(|(value, _)| Some(*value) == word).map_or("unknown", |(_, name)| name)
    })
}

fn words(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.as_chunks::<WORD>().0.iter().map(|word| usize::from_ne_bytes(*word))
}

/// A block in memory with the alignment of a word.
pub(super) struct Aligned {
    words: Vec<u64>,
    bytes: usize,
}

impl Aligned {
    /// Copies a block whose checksum is right, after checking its lengths.
    pub(super) fn new(block: &[u8]) -> io::Result<Aligned> {
        let (mut numbers, mut names) = (0, 0);
        for (word, value) in layout().iter().zip(words(block)) {
            match *word {
                "numbers" => numbers = value,
                "names" => names = value,
                "unknown" => return Err(invalid("this program does not know its own layout")),
                _ => {}
            }
        }
        let wanted = numbers.checked_mul(size_of::<u32>()).and_then(|bytes| bytes.checked_add(names));
        if wanted.and_then(|bytes| bytes.checked_add(size_of::<Columns>())) != Some(block.len()) {
            return Err(invalid("a block does not have the length that it says"));
        }
        let words = block.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        Ok(Aligned { words: words.collect(), bytes: block.len() })
    }

    /// The fields of the block.
    #[allow(unsafe_code)]
    pub(super) fn fields(&mut self) -> io::Result<InColumns<'_>> {
        // SAFETY: the words are as many bytes as were copied into them, and nothing else refers to them.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast::<u8>(), self.bytes) };
        // SAFETY: only as safe as the header of this file says.
        let columns = unsafe { decode::<Columns>(bytes) };
        let ((numbers, names), _rest) = columns.ok_or_else(|| invalid("a block is cut off"))?;
        Ok(InColumns { numbers, names })
    }
}

/// Fields in columns: those that remain.
pub(super) struct InColumns<'a> {
    numbers: &'a [u32],
    names: &'a [u8],
}

impl InColumns<'_> {
    fn word(&mut self) -> io::Result<u64> {
        let (&word, rest) = self.numbers.split_first().ok_or_else(|| invalid("a number is missing"))?;
        self.numbers = rest;
        Ok(word.into())
    }
}

impl Fields for InColumns<'_> {
    fn number(&mut self) -> io::Result<u64> {
        match self.word()? {
            number if number == u64::from(WIDE) => Ok(self.word()? | self.word()? << u32::BITS),
            number => Ok(number),
        }
    }

    fn name(&mut self) -> io::Result<Name> {
        let length = self.small()? as usize;
        let (name, rest) = self.names.split_at_checked(length).ok_or_else(|| invalid("a name is cut off"))?;
        self.names = rest;
        Name::from_utf8(name).map_err(|_| invalid("a name is no UTF-8"))
    }

    fn left(&self) -> usize {
        self.numbers.len() + self.names.len()
    }
}
