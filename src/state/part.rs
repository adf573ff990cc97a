//! The layout of a part: the state of one worker at the end of the epoch.
//!
//! ```text
//! "dcpart", version u16 │ ids … │ baskets … │ end            blocks, see `frame`
//!
//! ids        partition · count · names               the event ids of a partition, the oldest first
//! baskets    count · names of items that are new     items are numbered through the part, in this order
//!            count · baskets
//! basket     name · partition · clock · time · count · touch … · count · users · count · lines · …
//! line       item · in the cart, times 2, plus 1 if it was viewed · bought
//!            count · line touches
//! line touch 0 · rank, or 1 · touch
//! touch      time · offset · partition · index
//! end        baskets · lines · ids                   the totals
//! partition  stream · number in the stream
//! ```
//!
//! A basket has one touch, or none where touches are not tracked. It has as many line touches as lines, or none.
//!
//! Numbers and names are encoded as in `fields`. A basket of more than [`ENTRY_MAX`] lines or users is split into
//! several consecutive entries.
//!
//! - Versions 1 to 4 had no views. What they have of a line is item, in the cart, bought.
//! - Versions 1 to 3 had no clocks and no touches. The clock is read as the time of the basket, as those versions used
//!   it.
//! - Versions 1 and 2 had one stream, and a partition was a single number.
//! - Version 1 had no times of baskets. They are read as 0: jobs that wrote version 1 did not use them.
//!
//! Reading is total: any bytes give baskets or an error, and memory is proportional to the bytes read.

#[cfg(feature = "abomonation")]
use super::abomonated::{Aligned, Filling};
#[cfg(not(feature = "abomonation"))]
use super::fields::Packing as Filling;
use super::fields::{Fields, NAME_BYTES_MAX, Packed, Packing};
use super::frame::{RAW_BYTES_MAX, invalid, read_block};
use crc32fast::Hasher;
use deltacart_dataflows::{BasketCopy, LineTouch, Name, Partition, Touch, Units};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 6] = b"dcpart";

/// The version that is written, and the newest that is read.
const VERSION: u16 = 5;

/// The first versions with times of baskets, with streams, with clocks and touches, and with views.
const VERSION_WITH_TIMES: u16 = 2;
const VERSION_WITH_STREAMS: u16 = 3;
const VERSION_WITH_TOUCHES: u16 = 4;
const VERSION_WITH_VIEWS: u16 = 5;

/// The approximate size, in bytes, at which a block is written.
const BLOCK_BYTES: usize = 1 << 20;

/// The maximum number of lines in an entry, and of users.
const ENTRY_MAX: usize = 1024;

const IDS: u8 = 1;
const BASKETS: u8 = 2;
const END: u8 = 3;

/// The kind of a block of baskets that is encoded by `abomonated`.
#[cfg(feature = "abomonation")]
const ABOMONATED: u8 = BASKETS | super::frame::PLAIN;

/// The encoding that a reader must share besides the format. `None` in the default build.
pub(super) fn codec() -> Option<String> {
    #[cfg(feature = "abomonation")]
    return Some(super::abomonated::codec());
    #[cfg(not(feature = "abomonation"))]
    None
}

/// The size and content of a written part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The length of the part in bytes.
    pub bytes: u64,
    /// The CRC-32 of those bytes.
    pub crc32: u32,
    /// The number of entries. A large basket has several.
    pub baskets: u64,
    /// The number of lines.
    pub lines: u64,
    /// The number of event ids.
    pub ids: u64,
}

/// A writer of one part.
pub struct PartWriter<W> {
    out: Counted<W>,
    /// The number of every item in the part.
    items: HashMap<Name, u32, RandomState>,
    /// The block that is being filled: items that are new in it, and its entries.
    names: Counter<Filling>,
    entries: Counter<Filling>,
    written: Written,
}

/// Encoded elements and their number.
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

    /// Adds event ids of a partition, the oldest first. All ids must precede the first basket.
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

    /// Adds a basket, which must have a line.
    pub fn basket(&mut self, basket: &BasketCopy) -> io::Result<()> {
        let BasketCopy { users, lines, touches, .. } = basket;
        let Some(last) = lines.chunks(ENTRY_MAX).len().checked_sub(1) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a basket without lines"));
        };
        let entries = (last + 1).max(users.chunks(ENTRY_MAX).len());
        for index in 0..entries {
            // If users need more entries than lines do, the last lines are repeated, because an entry must have
            // lines.
            let lines_index = index.min(last);
            let lines = lines.chunks(ENTRY_MAX).nth(lines_index).unwrap_or_default();
            let touches = touches.chunks(ENTRY_MAX).nth(lines_index).unwrap_or_default();
            let users = users.chunks(ENTRY_MAX).nth(index).unwrap_or_default();
            self.entry(basket, users, lines, touches)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        basket: &BasketCopy,
        users: &[Name],
        lines: &[(Name, Units)],
        touches: &[LineTouch],
    ) -> io::Result<()> {
        let fields = &mut self.entries.fields;
        fields.name(&basket.basket)?;
        number_partition(fields, basket.partition);
        let numbers = [basket.clock, basket.last, u64::from(basket.touch.is_some())];
        numbers.into_iter().for_each(|number| fields.number(number));
        basket.touch.iter().for_each(|touch| number_touch(fields, touch));
        fields.number(users.len() as u64);
        users.iter().try_for_each(|user| fields.name(user))?;
        fields.number(lines.len() as u64);
        for (item, Units { cart, bought, viewed }) in lines {
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
            let cart = u64::from(*cart) << 1 | u64::from(*viewed);
            [number.into(), cart, (*bought).into()].into_iter().for_each(|number| fields.number(number));
        }
        fields.number(touches.len() as u64);
        for touch in touches {
            match touch {
                LineTouch::Before(rank) => {
                    [0, (*rank).into()].into_iter().for_each(|number| fields.number(number))
                }
                LineTouch::At(touch) => {
                    fields.number(1);
                    number_touch(fields, touch);
                }
            }
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

    /// Ends the part. `W` is returned without a flush.
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

fn number_partition(fields: &mut Filling, partition: Partition) {
    fields.number(partition.stream().into());
    fields.number(partition.number().into());
}

fn number_touch(fields: &mut Filling, touch: &Touch) {
    let Touch { time, offset, partition, index } = *touch;
    fields.number(time);
    fields.number(offset);
    number_partition(fields, partition);
    fields.number(index.into());
}

/// The content of one block of a part.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// Event ids of a partition, the oldest first. More may follow in the next block.
    Ids(Partition, Vec<Name>),
    /// Baskets, or entries of large ones.
    Baskets(Vec<BasketCopy>),
}

/// A reader of a part, block by block. All errors except those of `from` have the kind `InvalidData`.
pub struct PartReader<R> {
    from: R,
    version: u16,
    items: Vec<Name>,
    raw: Vec<u8>,
    read: Written,
    ended: bool,
}

impl<R: Read> PartReader<R> {
    /// Begins a part: reads its magic bytes and version.
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

    /// Reads the next block. Returns `None` at the end, after the totals have been checked.
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
        let (items, version) = (&self.items, self.version);
        let line = |fields: &mut F| {
            let item =
                items.get(fields.small()? as usize).ok_or_else(|| invalid("a line has an unknown item"))?;
            Ok((item.clone(), units(version, fields)?))
        };
        let baskets = fields.list(|fields| {
            let (basket, partition) = (fields.name()?, partition(version, fields)?);
            let has_touches = version >= VERSION_WITH_TOUCHES;
            let clock = if has_touches { Some(fields.number()?) } else { None };
            let last = if version >= VERSION_WITH_TIMES { fields.number()? } else { 0 };
            let touch = if has_touches { fields.list(|fields| touch(version, fields))? } else { Vec::new() };
            let (users, lines) = (fields.list(F::name)?, fields.list(line)?);
            let touches =
                if has_touches { fields.list(|fields| line_touch(version, fields))? } else { Vec::new() };
            let (clock, touch) = (clock.unwrap_or(last), at_most_one(&touch)?);
            Ok(BasketCopy { basket, partition, clock, last, touch, users, lines, touches })
        })?;
        if baskets.iter().any(|basket| basket.lines.is_empty()) {
            return Err(invalid("a basket has no lines"));
        }
        if baskets.iter().any(|basket| ![0, basket.lines.len()].contains(&basket.touches.len())) {
            return Err(invalid("a basket has more or fewer touches than lines"));
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

fn units(version: u16, fields: &mut impl Fields) -> io::Result<Units> {
    let (cart, viewed) = match fields.number()? {
        cart if version < VERSION_WITH_VIEWS => (cart, false),
        cart => (cart >> 1, cart & 1 == 1),
    };
    let cart = u32::try_from(cart).map_err(|_| invalid("a number is too large"))?;
    Ok(Units { cart, bought: fields.small()?, viewed })
}

fn touch(version: u16, fields: &mut impl Fields) -> io::Result<Touch> {
    let (time, offset) = (fields.number()?, fields.number()?);
    Ok(Touch { time, offset, partition: partition(version, fields)?, index: fields.small()? })
}

fn line_touch(version: u16, fields: &mut impl Fields) -> io::Result<LineTouch> {
    match fields.number()? {
        0 => Ok(LineTouch::Before(fields.small()?)),
        1 => Ok(LineTouch::At(touch(version, fields)?)),
        _ => Err(invalid("a line has a touch of an unknown kind")),
    }
}

fn at_most_one(touches: &[Touch]) -> io::Result<Option<Touch>> {
    match touches {
        [] => Ok(None),
        [touch] => Ok(Some(*touch)),
        _ => Err(invalid("a basket has more than one touch")),
    }
}

fn check_end(fields: &impl Fields) -> io::Result<()> {
    match fields.left() {
        0 => Ok(()),
        _ => Err(invalid("a block is longer than what it holds")),
    }
}

/// A writer that counts and hashes the bytes written to it.
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

/// The largest entry fits a block: the name of a basket, the maximum of users and lines, new items, and touches.
const _: () = assert!(BLOCK_BYTES + (2 * ENTRY_MAX + 1) * (NAME_BYTES_MAX + 60) < RAW_BYTES_MAX);
