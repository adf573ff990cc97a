//! The layout of a part: what one worker had at the end of the epoch.
//!
//! ```text
//! "dcpart", version u16 │ ids … │ baskets … │ end            blocks, see `frame`
//!
//! ids      partition · count · names               the event ids remembered of a partition, the oldest first
//! baskets  count · names of items met first here   items are numbered through the part, in this order
//!          count · baskets:  name · partition · time · count · users · count · (item, in the cart, bought) …
//! end      baskets · lines · ids                   how many there were in all
//! ```
//!
//! Numbers are LEB128, names a length and UTF-8. A basket of more than [`ENTRY_MAX`] lines or users is several entries,
//! one after the other: each goes on with the one before.
//!
//! Version 1 had no times of baskets, and is read as if nobody knew them: it was written where they do not matter.
//!
//! Reading is total: whatever the bytes, baskets or an error, and memory in proportion to what was read.

use super::frame::{RAW_BYTES_MAX, invalid, read_block, write_block};
use crc32fast::Hasher;
use deltacart_dataflows::{BasketCopy, Millis, Name};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"dcpart\x02\x00";
const MAGIC_1: &[u8; 8] = b"dcpart\x01\x00";

/// Blocks are written when they are about this large.
const BLOCK_BYTES: usize = 1 << 20;

/// Lines of an entry, and users.
const ENTRY_MAX: usize = 1024;

/// The longest name that is read or written; ids of events are bounded to 256 bytes where they are decoded.
const NAME_BYTES_MAX: usize = 4096;

const IDS: u8 = 1;
const BASKETS: u8 = 2;
const END: u8 = 3;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the part.
    pub bytes: u64,
    /// Their CRC-32.
    pub crc32: u32,
    /// Baskets in it; one that is several entries counts as often.
    pub baskets: u64,
    /// Lines in it.
    pub lines: u64,
    /// Event ids in it.
    pub ids: u64,
}

/// Writes a part.
pub struct PartWriter<W> {
    out: Counted<W>,
    /// Every item's number in the part.
    items: HashMap<Name, u32, RandomState>,
    /// Items met first in the block that is being filled, and its entries.
    names: Counter,
    entries: Counter,
    written: Written,
}

/// Encoded things, and how many.
#[derive(Default)]
struct Counter {
    count: u64,
    bytes: Vec<u8>,
}

impl<W: Write> PartWriter<W> {
    /// Begins a part.
    pub fn new(out: W) -> io::Result<Self> {
        let mut out = Counted { inner: out, bytes: 0, hasher: Hasher::new() };
        out.write_all(MAGIC)?;
        let (names, entries) = (Counter::default(), Counter::default());
        Ok(PartWriter { out, items: HashMap::default(), names, entries, written: Written::default() })
    }

    /// Adds event ids of a partition, the oldest first. All ids come before the first basket.
    pub fn ids<'a>(&mut self, partition: u32, ids: impl Iterator<Item = &'a Name>) -> io::Result<()> {
        let mut block = Counter::default();
        for id in ids {
            put_name(&mut block.bytes, id)?;
            block.count += 1;
            if block.bytes.len() >= BLOCK_BYTES {
                self.write_ids(partition, std::mem::take(&mut block))?;
            }
        }
        if block.count > 0 { self.write_ids(partition, block) } else { Ok(()) }
    }

    fn write_ids(&mut self, partition: u32, block: Counter) -> io::Result<()> {
        let mut raw = Vec::with_capacity(block.bytes.len() + 20);
        put(&mut raw, partition.into());
        put(&mut raw, block.count);
        raw.extend(block.bytes);
        self.written.ids += block.count;
        write_block(&mut self.out, IDS, &raw)
    }

    /// Adds a basket, which has a line.
    pub fn basket(&mut self, basket: &BasketCopy) -> io::Result<()> {
        let BasketCopy { basket, partition, last: time, users, lines } = basket;
        let Some(last) = lines.chunks(ENTRY_MAX).next_back() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a basket without lines"));
        };
        let entries = lines.chunks(ENTRY_MAX).count().max(users.chunks(ENTRY_MAX).count());
        for index in 0..entries {
            // More users than lines: they need lines to come with.
            let lines = lines.chunks(ENTRY_MAX).nth(index).unwrap_or(last);
            let users = users.chunks(ENTRY_MAX).nth(index).unwrap_or_default();
            self.entry(basket, (*partition, *time), users, lines)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        basket: &Name,
        (partition, last): (u32, Millis),
        users: &[Name],
        lines: &[(Name, u32, u32)],
    ) -> io::Result<()> {
        let bytes = &mut self.entries.bytes;
        put_name(bytes, basket)?;
        put(bytes, partition.into());
        put(bytes, last);
        put(bytes, users.len() as u64);
        users.iter().try_for_each(|user| put_name(bytes, user))?;
        put(bytes, lines.len() as u64);
        for (item, cart, bought) in lines {
            let number = match self.items.get(item) {
                Some(&number) => number,
                None => {
                    let number = u32::try_from(self.items.len()).expect("items are numbered by 32 bits");
                    put_name(&mut self.names.bytes, item)?;
                    self.names.count += 1;
                    self.items.insert(item.clone(), number);
                    number
                }
            };
            [number, *cart, *bought].into_iter().for_each(|number| put(bytes, number.into()));
        }
        self.entries.count += 1;
        self.written.baskets += 1;
        self.written.lines += lines.len() as u64;
        if self.entries.bytes.len() + self.names.bytes.len() >= BLOCK_BYTES {
            self.write_entries()
        } else {
            Ok(())
        }
    }

    fn write_entries(&mut self) -> io::Result<()> {
        let mut raw = Vec::with_capacity(self.names.bytes.len() + self.entries.bytes.len() + 20);
        for counter in [&mut self.names, &mut self.entries] {
            put(&mut raw, std::mem::take(&mut counter.count));
            raw.append(&mut counter.bytes);
        }
        write_block(&mut self.out, BASKETS, &raw)
    }

    /// Ends the part; what it was written to is not flushed.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        if self.entries.count > 0 {
            self.write_entries()?;
        }
        let mut raw = Vec::new();
        let Written { baskets, lines, ids, .. } = self.written;
        [baskets, lines, ids].into_iter().for_each(|count| put(&mut raw, count));
        write_block(&mut self.out, END, &raw)?;
        let Counted { inner, bytes, hasher } = self.out;
        Ok((inner, Written { bytes, crc32: hasher.finalize(), ..self.written }))
    }
}

/// What the next block of a part holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// Event ids of a partition, the oldest first. More may follow.
    Ids(u32, Vec<Name>),
    /// Baskets.
    Baskets(Vec<BasketCopy>),
}

/// Reads a part, block by block. Errors that are not those of `from` itself are of the kind `InvalidData`.
pub struct PartReader<R> {
    from: R,
    has_times: bool,
    items: Vec<Name>,
    raw: Vec<u8>,
    read: Written,
    ended: bool,
}

impl<R: Read> PartReader<R> {
    /// Begins to read.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        let read = from.read_exact(&mut magic);
        if read.is_err() || ![MAGIC, MAGIC_1].contains(&&magic) {
            return Err(invalid("it does not begin as a part of this format does"));
        }
        let (items, raw, has_times) = (Vec::new(), Vec::new(), magic == *MAGIC);
        Ok(PartReader { from, has_times, items, raw, read: Written::default(), ended: false })
    }

    /// The next block; none at the end, which has been checked then.
    pub fn block(&mut self) -> io::Result<Option<Block>> {
        let kind = read_block(&mut self.from, &mut self.raw)?;
        if self.ended {
            return kind.map_or(Ok(None), |_| Err(invalid("it goes on behind its end")));
        }
        let raw = std::mem::take(&mut self.raw);
        let mut bytes = Bytes(&raw);
        let block = match kind {
            None => return Err(invalid("its end is missing")),
            Some(IDS) => Some(self.ids(&mut bytes)?),
            Some(BASKETS) => Some(self.baskets(&mut bytes)?),
            Some(END) => {
                let counts = [bytes.number()?, bytes.number()?, bytes.number()?];
                if counts != [self.read.baskets, self.read.lines, self.read.ids] {
                    return Err(invalid("it holds less or more than it says"));
                }
                self.ended = true;
                None
            }
            Some(_) => return Err(invalid("a block is of an unknown kind")),
        };
        if !bytes.0.is_empty() {
            return Err(invalid("a block is longer than what it holds"));
        }
        match block {
            Some(block) => Ok(Some(block)),
            None => self.block(),
        }
    }

    fn ids(&mut self, bytes: &mut Bytes<'_>) -> io::Result<Block> {
        if self.read.baskets > 0 {
            return Err(invalid("ids come behind baskets"));
        }
        let partition = bytes.small()?;
        let ids = bytes.list(Bytes::name)?;
        self.read.ids += ids.len() as u64;
        Ok(Block::Ids(partition, ids))
    }

    fn baskets(&mut self, bytes: &mut Bytes<'_>) -> io::Result<Block> {
        self.items.extend(bytes.list(Bytes::name)?);
        let items = &self.items;
        let line = |bytes: &mut Bytes<'_>| {
            let item =
                items.get(bytes.small()? as usize).ok_or_else(|| invalid("a line has an unknown item"))?;
            Ok((item.clone(), bytes.small()?, bytes.small()?))
        };
        let baskets = bytes.list(|bytes| {
            let (basket, partition) = (bytes.name()?, bytes.small()?);
            let last = if self.has_times { bytes.number()? } else { 0 };
            let (users, lines) = (bytes.list(Bytes::name)?, bytes.list(line)?);
            Ok(BasketCopy { basket, partition, last, users, lines })
        })?;
        if baskets.iter().any(|basket| basket.lines.is_empty()) {
            return Err(invalid("a basket has no lines"));
        }
        self.read.baskets += baskets.len() as u64;
        self.read.lines += baskets.iter().map(|basket| basket.lines.len() as u64).sum::<u64>();
        Ok(Block::Baskets(baskets))
    }
}

/// What is left of a block.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
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

    fn small(&mut self) -> io::Result<u32> {
        u32::try_from(self.number()?).map_err(|_| invalid("a number is too large"))
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

    /// A count, and as many things; each is at least a byte.
    fn list<T>(&mut self, mut thing: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.small()? as usize;
        if count > self.0.len() {
            return Err(invalid("a count is too large"));
        }
        // Grows as things come: a count that is a lie allocates little.
        let mut things = Vec::with_capacity(count.min(ENTRY_MAX));
        for _ in 0..count {
            things.push(thing(self)?);
        }
        Ok(things)
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_name(bytes: &mut Vec<u8>, name: &Name) -> io::Result<()> {
    if name.len() > NAME_BYTES_MAX {
        let what = format!("a name of {} bytes is too long", name.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    put(bytes, name.len() as u64);
    bytes.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Counts and hashes what goes through.
struct Counted<W> {
    inner: W,
    bytes: u64,
    hasher: Hasher,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The largest entry fits a block: a basket's name, as many users and lines as there may be, and new items.
const _: () = assert!(BLOCK_BYTES + (2 * ENTRY_MAX + 1) * (NAME_BYTES_MAX + 20) < RAW_BYTES_MAX);
