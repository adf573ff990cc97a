//! The layout of a part: what one worker had at the end of the epoch.
//!
//! ```text
//! "dcpart", version u16 │ ids … │ baskets … │ end            blocks, see `frame`
//!
//! ids        partition · count · names               the event ids remembered of a partition, the oldest first
//! baskets    count · names of items met first here   items are numbered through the part, in this order
//!            count · baskets:  name · partition · time · count · users · count · (item, in the cart, bought) …
//! end        baskets · lines · ids                   how many there were in all
//! partition  stream · number in the stream
//! ```
//!
//! Numbers and names are as `fields` has them. A basket of more than [`ENTRY_MAX`] lines or users is several entries,
//! one after the other: each goes on with the one before.
//!
//! Versions 1 and 2 had one stream, and partitions were numbers. Version 1 had no times of baskets, and is read as if
//! nobody knew them: it was written where they do not matter.
//!
//! Reading is total: whatever the bytes, baskets or an error, and memory in proportion to what was read.

#[cfg(feature = "abomonation")]
use super::abomonated::{Aligned, Filling};
#[cfg(not(feature = "abomonation"))]
use super::fields::Packing as Filling;
use super::fields::{Fields, NAME_BYTES_MAX, Packed, Packing};
use super::frame::{RAW_BYTES_MAX, invalid, read_block};
use crc32fast::Hasher;
use deltacart_dataflows::{BasketCopy, Millis, Name, Partition};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 6] = b"dcpart";

/// The version that is written, and the newest that is read.
const VERSION: u16 = 3;

/// The first versions with times of baskets, and with streams.
const VERSION_WITH_TIMES: u16 = 2;
const VERSION_WITH_STREAMS: u16 = 3;

/// Blocks are written when they are about this large.
const BLOCK_BYTES: usize = 1 << 20;

/// Lines of an entry, and users.
const ENTRY_MAX: usize = 1024;

const IDS: u8 = 1;
const BASKETS: u8 = 2;
const END: u8 = 3;

/// Baskets that are not packed.
#[cfg(feature = "abomonation")]
const ABOMONATED: u8 = BASKETS | super::frame::PLAIN;

/// What else than the format a reader has to know, if anything.
pub(super) fn codec() -> Option<String> {
    #[cfg(feature = "abomonation")]
    return Some(super::abomonated::codec());
    #[cfg(not(feature = "abomonation"))]
    None
}

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
    names: Counter<Filling>,
    entries: Counter<Filling>,
    written: Written,
}

/// Things, and how many.
#[derive(Default)]
struct Counter<F> {
    count: u64,
    fields: F,
}

impl<W: Write> PartWriter<W> {
    /// Begins a part.
    pub fn new(out: W) -> io::Result<Self> {
        let mut out = Counted { inner: out, bytes: 0, hasher: Hasher::new() };
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let (names, entries) = (Counter::default(), Counter::default());
        Ok(PartWriter { out, items: HashMap::default(), names, entries, written: Written::default() })
    }

    /// Adds event ids of a partition, the oldest first. All ids come before the first basket.
    pub fn ids<'a>(&mut self, partition: Partition, ids: impl Iterator<Item = &'a Name>) -> io::Result<()> {
        let mut block = Counter::<Packing>::default();
        for id in ids {
            block.fields.name(id)?;
            block.count += 1;
            if block.fields.bytes() >= BLOCK_BYTES {
                self.write_ids(partition, std::mem::take(&mut block))?;
            }
        }
        if block.count > 0 { self.write_ids(partition, block) } else { Ok(()) }
    }

    fn write_ids(&mut self, partition: Partition, mut ids: Counter<Packing>) -> io::Result<()> {
        let mut block = Packing::default();
        block.number(partition.stream().into());
        block.number(partition.number().into());
        block.number(ids.count);
        block.append(&mut ids.fields);
        self.written.ids += ids.count;
        block.write(&mut self.out, IDS)
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
        (partition, last): (Partition, Millis),
        users: &[Name],
        lines: &[(Name, u32, u32)],
    ) -> io::Result<()> {
        let fields = &mut self.entries.fields;
        fields.name(basket)?;
        fields.number(partition.stream().into());
        fields.number(partition.number().into());
        fields.number(last);
        fields.number(users.len() as u64);
        users.iter().try_for_each(|user| fields.name(user))?;
        fields.number(lines.len() as u64);
        for (item, cart, bought) in lines {
            let number = match self.items.get(item) {
                Some(&number) => number,
                None => {
                    let number = u32::try_from(self.items.len()).expect("items are numbered by 32 bits");
                    self.names.fields.name(item)?;
                    self.names.count += 1;
                    self.items.insert(item.clone(), number);
                    number
                }
            };
            [number, *cart, *bought].into_iter().for_each(|number| fields.number(number.into()));
        }
        self.entries.count += 1;
        self.written.baskets += 1;
        self.written.lines += lines.len() as u64;
        if self.entries.fields.bytes() + self.names.fields.bytes() >= BLOCK_BYTES {
            self.write_entries()
        } else {
            Ok(())
        }
    }

    fn write_entries(&mut self) -> io::Result<()> {
        let mut block = Filling::default();
        for counter in [&mut self.names, &mut self.entries] {
            block.number(std::mem::take(&mut counter.count));
            block.append(&mut counter.fields);
        }
        block.write(&mut self.out, BASKETS)
    }

    /// Ends the part; what it was written to is not flushed.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        if self.entries.count > 0 {
            self.write_entries()?;
        }
        let mut block = Packing::default();
        let Written { baskets, lines, ids, .. } = self.written;
        [baskets, lines, ids].into_iter().for_each(|count| block.number(count));
        block.write(&mut self.out, END)?;
        let Counted { inner, bytes, hasher } = self.out;
        Ok((inner, Written { bytes, crc32: hasher.finalize(), ..self.written }))
    }
}

/// What the next block of a part holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// Event ids of a partition, the oldest first. More may follow.
    Ids(Partition, Vec<Name>),
    /// Baskets.
    Baskets(Vec<BasketCopy>),
}

/// Reads a part, block by block. Errors that are not those of `from` itself are of the kind `InvalidData`.
pub struct PartReader<R> {
    from: R,
    version: u16,
    items: Vec<Name>,
    raw: Vec<u8>,
    read: Written,
    ended: bool,
}

impl<R: Read> PartReader<R> {
    /// Begins to read.
    pub fn new(mut from: R) -> io::Result<Self> {
        let (mut magic, mut version) = ([0; MAGIC.len()], [0; 2]);
        let read = from.read_exact(&mut magic).and_then(|()| from.read_exact(&mut version));
        let version = u16::from_le_bytes(version);
        if read.is_err() || magic != *MAGIC || !(1..=VERSION).contains(&version) {
            return Err(invalid("it does not begin as a part of this format does"));
        }
        let (items, raw) = (Vec::new(), Vec::new());
        Ok(PartReader { from, version, items, raw, read: Written::default(), ended: false })
    }

    /// The next block; none at the end, which has been checked then.
    pub fn block(&mut self) -> io::Result<Option<Block>> {
        let kind = read_block(&mut self.from, &mut self.raw)?;
        if self.ended {
            return kind.map_or(Ok(None), |_| Err(invalid("it goes on behind its end")));
        }
        let raw = std::mem::take(&mut self.raw);
        let mut bytes = Packed(&raw);
        let block = match kind {
            None => return Err(invalid("its end is missing")),
            Some(IDS) => Some(self.ids(&mut bytes)?),
            Some(BASKETS) => Some(self.baskets(&mut bytes)?),
            #[cfg(feature = "abomonation")]
            Some(ABOMONATED) => {
                bytes = Packed(&[]);
                Some(self.baskets(&mut Aligned::new(&raw)?.fields()?)?)
            }
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
        check_end(&bytes)?;
        match block {
            Some(block) => Ok(Some(block)),
            None => self.block(),
        }
    }

    fn ids(&mut self, bytes: &mut Packed<'_>) -> io::Result<Block> {
        if self.read.baskets > 0 {
            return Err(invalid("ids come behind baskets"));
        }
        let partition = partition(self.version, bytes)?;
        let ids = bytes.list(Packed::name)?;
        self.read.ids += ids.len() as u64;
        Ok(Block::Ids(partition, ids))
    }

    fn baskets<F: Fields>(&mut self, fields: &mut F) -> io::Result<Block> {
        self.items.extend(fields.list(F::name)?);
        let items = &self.items;
        let line = |fields: &mut F| {
            let item =
                items.get(fields.small()? as usize).ok_or_else(|| invalid("a line has an unknown item"))?;
            Ok((item.clone(), fields.small()?, fields.small()?))
        };
        let version = self.version;
        let baskets = fields.list(|fields| {
            let (basket, partition) = (fields.name()?, partition(version, fields)?);
            let last = if version >= VERSION_WITH_TIMES { fields.number()? } else { 0 };
            let (users, lines) = (fields.list(F::name)?, fields.list(line)?);
            Ok(BasketCopy { basket, partition, last, users, lines })
        })?;
        if baskets.iter().any(|basket| basket.lines.is_empty()) {
            return Err(invalid("a basket has no lines"));
        }
        check_end(fields)?;
        self.read.baskets += baskets.len() as u64;
        self.read.lines += baskets.iter().map(|basket| basket.lines.len() as u64).sum::<u64>();
        Ok(Block::Baskets(baskets))
    }
}

fn partition(version: u16, fields: &mut impl Fields) -> io::Result<Partition> {
    let stream = if version >= VERSION_WITH_STREAMS { fields.small()? } else { 0 };
    let stream = u8::try_from(stream).map_err(|_| invalid("there is no such stream"))?;
    Partition::new(stream, fields.small()?).ok_or_else(|| invalid("there is no such partition"))
}

fn check_end(fields: &impl Fields) -> io::Result<()> {
    match fields.left() {
        0 => Ok(()),
        _ => Err(invalid("a block is longer than what it holds")),
    }
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
